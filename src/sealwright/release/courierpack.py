"""Packing a courier: what goes into it is copied once, digested on the way, listed in the manifest, and that is signed.

The folder is built beside its place and gets its name when it is whole and synced, the file likewise: a stick that is pulled out early
carries no courier. What is packed is copied as it is; whoever unpacks it verifies it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import BinaryIO, NamedTuple, Protocol

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.digestcopy import DigestingCopier, write_all
from sealwright.artifact.folders import new_folder, sync_folder
from sealwright.artifact.manifest import Manifest, Over
from sealwright.artifact.names import check_distinct, check_name, display
from sealwright.artifact.output import sync_file_system
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import unreadable
from sealwright.artifact.sums import FileEntry
from sealwright.envelope.kinds import FILE
from sealwright.errors import ChangedWhileRead, OutputRefused, UsageError
from sealwright.formats.format import Prepared
from sealwright.formats.manifest import prepared_of
from sealwright.release.courier import DESCRIPTION, SUFFIX, Courier, courier_text
from sealwright.release.couriertar import END, member_header, padding
from sealwright.signing.home import TRUST
from sealwright.signing.place import SigningPlace
from sealwright.signing.sign import NotSigned, Signed, SignOptions, sign_each
from sealwright.trust.belief import CRL_FOLDER, DENY
from sealwright.trust.history import HISTORY

MAX_FILES = 200_000
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_FULL = ("the medium is full", "Make room there, or take a larger one.")
_NAME = (
    "the medium has no files of that name",
    "Pack it as one file (NAME.courier), or take a medium with ext4.",
)
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: (
        "the medium has no files of that length (FAT ends at 4 GiB)",
        "Take a medium with exFAT or ext4, or pack smaller couriers.",
    ),
    errno.EEXIST: (
        "the medium has a file of that name already, as FAT does not tell A from a",
        "Rename one of the two, or take an empty medium.",
    ),
    errno.EINVAL: _NAME,
    errno.ENAMETOOLONG: _NAME,
    errno.EILSEQ: _NAME,
}


class Part(NamedTuple):
    """One file to be carried. name: in the courier, with `/` between its parts; path: where it lies now."""

    name: bytes
    path: str


class _Target(Protocol):
    """Where a courier is being built: a folder, or an archive."""

    def add(self, name: bytes, source: int, size: int) -> tuple[int, Digest]:
        """Copy a file; how much there was, and its SHA-256."""

    def add_bytes(self, name: bytes, data: bytes) -> None:
        """A small file."""


def contents_of(where: str, folder: str) -> Iterator[Part]:
    """Everything in a folder as parts below `where`. Raises Unreadable, UsageError for a link or device."""
    inside = os.path.abspath(folder)
    for above, folders, files in os.walk(inside, onerror=_not_walked):
        folders.sort()
        for name in sorted(files):
            full = os.path.join(above, name)
            if not stat.S_ISREG(os.lstat(full).st_mode):
                raise UsageError(display(full), "it is a link or a device", "Carry the file itself.")
            yield Part(os.fsencode(f"{where}/{os.path.relpath(full, inside)}"), full)


def signed_parts(where: str, path: str) -> Iterator[Part]:
    """A signed file or folder and what lies beside it under its name and a dot. Raises the same, UsageError where nothing is there."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.lexists(path):
        raise UsageError(display(path), "there is no such file or folder", "Check the path.")
    yield from _named(where, folder, (one for one in os.listdir(folder) if one == name or one.startswith(f"{name}.")))


def trust_parts(where: str, path: str) -> Iterator[Part]:
    """A trust file with its signatures, its history, its deny list and its revocation lists. Raises the same."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.basename(path) != TRUST or not os.path.isfile(path):
        raise UsageError(
            display(path), f"a trust file is called {TRUST}", "Name the file, in the folder of its history."
        )
    own = (f"{TRUST}.", f"{DENY}.")
    also = {TRUST, DENY, CRL_FOLDER, HISTORY}
    yield from _named(where, folder, (one for one in os.listdir(folder) if one in also or one.startswith(own)))


def _named(where: str, folder: str, names: Iterable[str]) -> Iterator[Part]:
    for name in sorted(names):
        full = os.path.join(folder, name)
        if os.path.isdir(full) and not os.path.islink(full):
            yield from contents_of(f"{where}/{name}", full)
        elif stat.S_ISREG(os.lstat(full).st_mode):
            yield Part(os.fsencode(f"{where}/{name}"), full)
        else:
            raise UsageError(display(full), "it is a link or a device", "Carry the file itself.")


def pack_folder(
    courier: Courier, parts: Sequence[Part], into: str, place: SigningPlace, options: SignOptions, progress: Progress
) -> Signed:
    """A courier as a folder with its manifest and signature, in a folder that is there (a stick's).

    Raises UsageError, OutputRefused where something of that name is there or the medium is full, and what signing raises.
    """
    target = os.path.join(into, courier.name)
    with _leaving_nothing(target):
        with new_folder(target) as building, closing(DigestingCopier(progress.advance)) as copier:
            entries, total = _copied(_Folder(building, copier), courier, parts)
        signed = _signed(courier, target, entries, total, place, options)
        # the manifest got its name only now: a courier that lacks it was never one
        sync_file_system(into)
        sync_folder(into)
    return signed


def pack_file(
    courier: Courier, parts: Sequence[Part], path: str, place: SigningPlace, options: SignOptions, progress: Progress
) -> Signed:
    """The same as one file, whose name ends in `.courier`. Raises the same."""
    if not path.endswith(SUFFIX):
        raise UsageError(path, f"the file of a courier ends in {SUFFIX}", f"Name it NAME{SUFFIX}.")
    if os.path.lexists(path):
        raise OutputRefused(path, "something is there already", "Name a new file.")
    folder = os.path.dirname(os.path.abspath(path))
    with new_folder(os.path.join(folder, f".{courier.name}.sidecars")) as beside:
        building = os.path.join(beside, "archive")
        with _opened_new(building, path) as file:
            with closing(DigestingCopier(progress.advance)) as copier:
                archive = _Archive(courier.name, file, copier)
                entries, total = _copied(archive, courier, parts)
            signed = _signed(courier, os.path.join(beside, courier.name), entries, total, place, options)
            for output in sorted(os.listdir(beside)):
                if output.startswith(courier.name):
                    with open(os.path.join(beside, output), "rb") as made:
                        archive.add_bytes(os.fsencode(output), made.read(), outside=True)
            archive.finish()
        _named_once(building, path)
        sync_folder(folder)
    shutil.rmtree(os.path.join(folder, f".{courier.name}.sidecars"), ignore_errors=True)
    return signed


class _Folder:
    def __init__(self, folder: str, copier: DigestingCopier) -> None:
        self.folder = folder
        self.copier = copier

    def add(self, name: bytes, source: int, size: int) -> tuple[int, Digest]:
        with self._new(name) as target:
            _check_length(target, size)
            return self.copier.copy(source, 0, size + 1, target)

    def add_bytes(self, name: bytes, data: bytes) -> None:
        with self._new(name) as target:
            write_all(target, memoryview(data))

    @contextmanager
    def _new(self, name: bytes) -> Iterator[int]:
        path = os.path.join(os.fsencode(self.folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        target = os.open(path, _NEW, 0o644)
        try:
            yield target
        finally:
            os.close(target)


class _Archive:
    def __init__(self, courier: str, file: BinaryIO, copier: DigestingCopier) -> None:
        self.prefix = os.fsencode(courier) + b"/"
        self.file = file
        self.copier = copier

    def add(self, name: bytes, source: int, size: int) -> tuple[int, Digest]:
        descriptor = self.file.fileno()
        _check_length(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR) + size)
        write_all(descriptor, memoryview(member_header(self.prefix + name, size)))
        found = self.copier.copy(source, 0, size, descriptor)
        write_all(descriptor, memoryview(padding(size)))
        return found

    def add_bytes(self, name: bytes, data: bytes, *, outside: bool = False) -> None:
        full = name if outside else self.prefix + name
        write_all(self.file.fileno(), memoryview(member_header(full, len(data)) + data + padding(len(data))))

    def finish(self) -> None:
        write_all(self.file.fileno(), memoryview(END))
        os.fsync(self.file.fileno())


def _copied(target: _Target, courier: Courier, parts: Iterable[Part]) -> tuple[tuple[FileEntry, ...], int]:
    """The manifest's lines of what was copied, and how many bytes that was."""
    text = courier_text(courier)
    entries = [FileEntry(DESCRIPTION.encode(), Digest.of(text).value)]
    total = len(text)
    try:
        target.add_bytes(DESCRIPTION.encode(), text)
    except OSError as cause:
        raise _not_written(courier.name, cause) from cause
    for part in parts:
        check_name(part.name, courier.name)  # a repository's metadata chooses some of them
        if len(entries) > MAX_FILES:
            raise UsageError("courier", f"more than {MAX_FILES} files", "Pack several couriers.")
        try:
            source = os.open(part.path, _OPEN)
        except OSError as cause:
            raise unreadable(part.path, cause) from cause
        try:
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(display(part.path), "it is a link or a device", "Carry the file itself.")
            size = status.st_size
            done, digest = target.add(part.name, source, size)
            if done != size:
                raise ChangedWhileRead(part.path, "it changed while it was packed", "Pack again.")
        except OSError as cause:
            raise _not_written(display(part.name), cause) from cause
        finally:
            os.close(source)
        entries.append(FileEntry(part.name, digest.value))
        total += size
    entries.sort()
    check_distinct([entry.name for entry in entries], courier.name)
    return tuple(entries), total


def _check_length(target: int, end: int) -> None:
    """OSError where the file system has no files of that length (FAT from 4 GiB on): nobody can even stand at the end of one."""
    at = os.lseek(target, 0, os.SEEK_CUR)
    try:
        os.lseek(target, end, os.SEEK_SET)
    except OSError as cause:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from cause
    os.lseek(target, at, os.SEEK_SET)


def _not_written(what: str, cause: OSError) -> OutputRefused:
    why, next_step = _REFUSALS.get(
        cause.errno or 0, (f"it cannot be written ({cause.strerror})", "Look at the medium, or take another one.")
    )
    return OutputRefused(what, why, next_step)


def _signed(
    courier: Courier,
    path: str,
    entries: tuple[FileEntry, ...],
    total: int,
    place: SigningPlace,
    options: SignOptions,
) -> Signed:
    def prepare(path: str, algorithms: tuple[HashName, ...]) -> Prepared:
        manifest = Manifest(HashName.SHA256, Over.TREE, courier.claims, entries, total_bytes=total)
        return prepared_of(path, manifest, algorithms)

    (answer,) = sign_each([path], FILE, place, options, prepare)
    if isinstance(answer, NotSigned):
        raise answer.error
    return answer


@contextmanager
def _leaving_nothing(target: str) -> Iterator[None]:
    """With any error the folder and what lies beside it are removed: without a signature it is no courier, and would be in the way."""
    folder, name = os.path.split(target)
    if not os.path.isdir(folder or "."):
        raise OutputRefused(folder, "there is no such folder", "Name a folder that is there, or FILE.courier.")
    if any(one == name or one.startswith(f"{name}.") for one in os.listdir(folder or ".")):
        raise OutputRefused(target, "something is there already", "Wait a second and pack again, or name a --number.")
    try:
        yield
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        for name in os.listdir(os.path.dirname(target) or "."):
            if name.startswith(os.path.basename(target) + "."):
                with suppress(OSError):
                    os.unlink(os.path.join(os.path.dirname(target), name))
        raise


def _named_once(building: str, path: str) -> None:
    """The finished file under its name, which must be free; on a stick without links it is looked for and then renamed."""
    try:
        os.link(building, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise
        os.rename(building, path)


@contextmanager
def _opened_new(path: str, shown: str) -> Iterator[BinaryIO]:
    try:
        descriptor = os.open(path, _NEW, 0o644)
    except OSError as cause:
        raise OutputRefused(shown, f"it cannot be written ({cause.strerror})", "Check the folder.") from cause
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        yield file


def _not_walked(cause: OSError) -> None:
    raise unreadable(str(cause.filename), cause)
