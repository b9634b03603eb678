"""A folder of records: each in a folder of its own, which gets its number in one step or not at all.

    records/000000/000000017/record.txt        number 17; a thousand of them in each upper folder
                             record.txt.p7s    the station's signature, where it has a key
    records/.new-5f0c9a12…/                    one that is being written, or that a crash left: it has no number and counts for nothing

System calls relied on: open(O_CREAT|O_EXCL|O_NOFOLLOW); fsync of each file and its folder, or syncfs for a batch; rename(2) of a
folder, which never replaces one that has something in it, so that of two writers, on two machines as well, one gets the number
and the other takes the next; fsync of the folders above. There is no lock to be left over or to be ignored by a share.
| fault | what persisted | progress | fatal |
|---|---|---|---|
| killed or power lost before the rename | a `.new-` folder | yes | no: no verdict was given |
| between rename and the last fsync | the whole record, or nothing of it | yes | no: no verdict was given |
| disk full, read-only, quota, no permission | what was there | after room was made | yes, for this verdict: RecordNotWritten |
| the newest record damaged | it shows | no | yes: nothing is chained to it |
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import sync_folder
from sealwright.artifact.output import DEFAULT_MODE, sync_file_system
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.errors import OutputRefused, SealwrightError
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import FILE, FOLDER_DIGITS, MAX_BYTES, SIGNATURE, Link

IN_GROUP = 1000
MAX_NUMBER = 999_999_999
MAX_SIGNATURE_BYTES = 256 * 1024
MAX_ROUNDS = 200
_GROUP = re.compile(r"[0-9]{6}")
_RECORD = re.compile(r"[0-9]{9}")
NEW = ".new-"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
FEW = 4


Maker = Callable[[Link], bytes]
Sign = Callable[[Sequence[bytes]], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as it lies there. signature: None where there is none; problem: why it could not be read, or ""."""

    number: int
    path: str
    text: bytes
    signature: bytes | None
    problem: str = ""

    @property
    def digest(self) -> Digest:
        """By which the next one names it."""
        return Digest.of(self.text)


def place_of(folder: str, number: int) -> str:
    """The folder of a record."""
    return os.path.join(folder, f"{number // IN_GROUP:06}", f"{number:09}")


def check_folder(folder: str) -> None:
    """OutputRefused for what is no folder of its own: it must be there, so that a share that is not mounted is not mistaken for it."""
    try:
        status = os.lstat(folder)
    except OSError as cause:
        raise OutputRefused(
            folder, f"there is no such folder ({cause.strerror})", "Make it, or mount the share."
        ) from cause
    if stat.S_ISLNK(status.st_mode):
        raise OutputRefused(folder, "it is a symbolic link", "Name the folder itself: a link can be turned elsewhere.")
    if not stat.S_ISDIR(status.st_mode):
        raise OutputRefused(folder, "it is not a folder", "Name a folder.")


def end_of(folder: str) -> Link:
    """The place of the next record. Raises what `check_folder` raises, and MalformedArtifact for a newest record that is damaged."""
    check_folder(folder)
    newest = next(_downwards(folder), None)
    if newest is None:
        return Link(secrets.token_hex(FOLDER_DIGITS // 2), 1, None)
    if newest >= MAX_NUMBER:
        raise OutputRefused(folder, "it is full", "Begin another folder.")
    path = place_of(folder, newest)
    text = read_file(os.path.join(path, FILE), MAX_BYTES)
    last = parse_record(text, path)
    if last.link.number != newest:
        raise OutputRefused(
            path, f"it says that it is number {last.link.number}", "Keep the folder as evidence and begin another."
        )
    return Link(last.link.folder, newest + 1, Digest.of(text))


def append(folder: str, makers: Sequence[Maker], sign: Sign) -> list[str]:
    """Write records, durably; their paths in order.

    makers: each gives the text for a place, and is asked again where another writer took that one. sign: the signatures of texts, b""
    each where there is no key. Raises OutputRefused, and what `end_of` and `sign` raise; some may be there already then.
    """
    paths: list[str] = []
    for _ in range(MAX_ROUNDS):
        paths += _round(folder, makers[len(paths) :], sign)
        if len(paths) == len(makers):
            return paths
    raise OutputRefused(folder, "other writers take every number", "Try again, or use a folder for each station.")


def _round(folder: str, makers: Sequence[Maker], sign: Sign) -> list[str]:
    """Those that got their numbers: all of them, or as many as came before another writer's."""
    link = end_of(folder)
    first, texts = link.number, []
    for maker in makers:
        texts.append(maker(link))
        link = Link(link.folder, link.number + 1, Digest.of(texts[-1]))
    signatures = sign(texts)
    made: list[str] = []
    try:
        for text, signature in zip(texts, signatures, strict=True):
            made.append(os.path.join(folder, NEW + secrets.token_hex(8)))
            _write(made[-1], text, signature)
        _sync(folder, made)
        return _named(folder, made, first)
    except OSError as cause:
        raise _refused(folder, cause) from cause
    finally:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)


def _write(path: str, text: bytes, signature: bytes) -> None:
    os.mkdir(path)
    for name, data in ((FILE, text), (SIGNATURE, signature)):
        if not data:
            continue
        descriptor = os.open(os.path.join(path, name), _FLAGS, DEFAULT_MODE)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)


def _sync(folder: str, made: Sequence[str]) -> None:
    """All that was written, on disk: one syncfs where that is cheaper, else one fsync for each file and its folder."""
    if len(made) > FEW and sync_file_system(folder):
        return
    for path in made:
        for name in os.listdir(path):
            descriptor = os.open(os.path.join(path, name), os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(path)


def _named(folder: str, made: list[str], first: int) -> list[str]:
    """The folders under their numbers, up to the first that another writer has; durable."""
    named: list[str] = []
    groups: set[str] = set()
    for number, path in enumerate(list(made), first):
        target = place_of(folder, number)
        group = os.path.dirname(target)
        if group not in groups:
            with suppress(FileExistsError):
                os.mkdir(group)
            if not stat.S_ISDIR(os.lstat(group).st_mode):
                raise OutputRefused(group, "it is no folder", "Keep it as evidence and begin another folder.")
            groups.add(group)
        try:
            os.rename(path, target)
        except OSError as cause:
            if cause.errno not in _TAKEN:
                raise
            break
        made.remove(path)
        named.append(target)
    for group in groups:
        sync_folder(group)
    sync_folder(folder)
    return named


def _downwards(folder: str) -> Iterator[int]:
    """The numbers that are there, from the newest."""
    try:
        groups = sorted((name for name in os.listdir(folder) if _GROUP.fullmatch(name)), reverse=True)
        for group in groups:
            names = os.listdir(os.path.join(folder, group))
            yield from sorted((int(name) for name in names if _is_record(group, name)), reverse=True)
    except OSError as cause:
        raise _refused(folder, cause) from cause


def _is_record(group: str, name: str) -> bool:
    return bool(_RECORD.fullmatch(name)) and int(name) // IN_GROUP == int(group)


def stored(folder: str) -> Iterator[Stored]:
    """Every record, from the first; one that cannot be read says why. A thousand names are held at a time."""
    check_folder(folder)
    for group in sorted(name for name in _names(folder) if _GROUP.fullmatch(name)):
        above = os.path.join(folder, group)
        if os.path.islink(above):  # `strays` tells of it
            continue
        for name in sorted(name for name in _names(above) if _is_record(group, name)):
            yield read_stored(os.path.join(above, name), int(name))


def read_stored(path: str, number: int) -> Stored:
    """One record; what stands in the way of reading it is in `problem`."""
    try:
        if os.path.islink(path) or not os.path.isdir(path):
            return Stored(number, path, b"", None, "it is no folder")
        for name in (FILE, SIGNATURE):
            if os.path.islink(os.path.join(path, name)):
                return Stored(number, path, b"", None, f"{name} is a symbolic link")
        text = read_file(os.path.join(path, FILE), MAX_BYTES)
        signature = read_file_or_none(os.path.join(path, SIGNATURE), MAX_SIGNATURE_BYTES)
    except SealwrightError as cause:
        return Stored(number, path, b"", None, cause.what)
    return Stored(number, path, text, signature)


def strays(folder: str) -> Iterator[tuple[str, bool]]:
    """What lies in the folder and is no record; whether it is what an interrupted writer leaves."""
    for name in sorted(_names(folder)):
        path = os.path.join(folder, name)
        if not _GROUP.fullmatch(name):
            yield path, name.startswith(NEW)
            continue
        if os.path.islink(path) or not os.path.isdir(path):
            yield path, False
            continue
        for inner in sorted(_names(path)):
            if not _is_record(name, inner):
                yield os.path.join(path, inner), False
                continue
            for file in sorted(_names(os.path.join(path, inner))):
                if file not in (FILE, SIGNATURE):
                    yield os.path.join(path, inner, file), False


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except NotADirectoryError:
        return []
    except OSError as cause:
        raise _refused(folder, cause) from cause


def _refused(folder: str, cause: OSError) -> OutputRefused:
    what = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EROFS: "the medium is read-only",
        errno.EACCES: "this user may not write there",
        errno.EPERM: "this user may not write there",
    }.get(cause.errno or 0, (cause.strerror or "it cannot be written").lower())
    return OutputRefused(folder, what, "Make room or give this account the right to write there; nothing was changed.")
