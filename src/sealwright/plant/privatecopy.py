"""A private copy of one artifact with everything that lies beside it as its signature or evidence: what is judged and handed on is the copy (A150).

1. The place is a new folder that only this account may enter, in one that nobody else could have exchanged.
2. Each file is read once, from one descriptor, and digested while it is written; one that changes meanwhile is not taken.
3. Before and after it is handed to somebody else's program every file must still have that digest.

On a system that does not say who may write where (Windows), the folder that is named has to be the account's own: nothing checks that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact, unreadable
from sealwright.artifact.walk import walk_tree
from sealwright.errors import LimitExceeded, OutputRefused, SealwrightError
from sealwright.formats.sidecar import EVIDENCE_SUFFIX, is_beside
from sealwright.plant.beside import goes_along, has_accepted_record, owner_of
from sealwright.plant.intakecopy import Taken
from sealwright.plant.station import private_place
from sealwright.trust.verdict import Verdict

PREFIX = "handover-"
MAX_BESIDE = 1000
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Source(NamedTuple):
    """What is copied, below the folder it lies in. names: its files first; links: name and target."""

    parent: str
    names: tuple[bytes, ...]
    links: tuple[tuple[bytes, bytes], ...]
    folders: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy. root: the private folder; path: of the artifact in it; taken: every file, under its name below the root.

    others: the names of its links and empty folders.
    """

    root: str
    path: str
    taken: tuple[Taken, ...]
    others: tuple[bytes, ...] = ()

    def inside(self, name: bytes) -> str:
        """The path of a file of the copy, by its name below the root."""
        return os.path.join(self.root, *os.fsdecode(name).split("/"))

    def along_with(self, verdict: Verdict) -> tuple[Taken, ...]:
        """The files of an allowed artifact that may go further: its own, and those beside it that are what they are called."""
        own = os.fsencode(os.path.basename(self.path))
        evidence = own + os.fsencode(EVIDENCE_SUFFIX) + b"/"
        return tuple(
            one
            for one in self.taken
            if one.name == own
            or one.name.startswith(own + b"/")
            or (
                has_accepted_record(verdict)
                if one.name.startswith(evidence)
                else goes_along(self.inside(one.name), verdict)
            )
        )

    def changed(self) -> tuple[bytes, ...]:
        """The names of files that are no longer what was copied."""
        return tuple(one.name for one in self.taken if _digest(self.inside(one.name)) != one.digest)


@contextmanager
def own_place(folder: str) -> Iterator[str]:
    """An empty folder that only this account may enter, removed at the end; OutputRefused as `private_place`."""
    if hasattr(os, "geteuid"):
        with private_place(folder) as place:
            yield place
        return
    try:
        place = tempfile.mkdtemp(prefix=PREFIX, dir=folder)
    except OSError as cause:
        what = cause.strerror or "it cannot be made"
        raise OutputRefused(folder, what, "Name a folder of your account with --private.") from cause
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def copied(path: str, root: str) -> Copy:
    """Copy a file or folder, and what lies beside it, into a private folder that is empty.

    Raises what `open_artifact` and `walk_tree` raise, ChangedWhileRead, OutputRefused where there is no room.
    """
    full = os.path.abspath(path)
    source = _source(full)
    taken = tuple(_copied_file(source.parent, name, root) for name in source.names)
    try:
        for name in source.folders:
            os.makedirs(os.path.join(os.fsencode(root), name), mode=0o700, exist_ok=True)
        for name, target in source.links:
            os.symlink(target, _made(root, name))
    except OSError as cause:
        raise _full(root, cause) from cause
    others = (*(name for name, _ in source.links), *(name for name in source.folders if not name.endswith(b"/")))
    return Copy(root, os.path.join(root, os.path.basename(full)), taken, others)


@contextmanager
def read_only(copy: Copy) -> Iterator[None]:
    """Its files cannot be written by mistake while somebody else's program has them; whoever owns them could still change that.

    What that program puts in a file's place keeps the mode it has: it may be a link to anything.
    """
    before = [(path, os.stat(path)) for path in map(copy.inside, (one.name for one in copy.taken))]
    for path, status in before:
        os.chmod(path, stat.S_IMODE(status.st_mode) & 0o500)
    try:
        yield
    finally:
        for path, status in before:
            with suppress(OSError):
                _give_back(path, status)


def _give_back(path: str, status: os.stat_result) -> None:
    """The mode that a file had, where it is the same file."""
    if sys.platform == "win32":
        if os.path.samestat(os.lstat(path), status):
            os.chmod(path, stat.S_IMODE(status.st_mode))
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if os.path.samestat(os.fstat(descriptor), status):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    finally:
        os.close(descriptor)


def _source(path: str) -> Source:
    parent, name = os.path.split(path)
    try:
        with os.scandir(parent) as found:
            entries = {one.name: one for one in found if one.name.startswith(f"{name}.") or one.name == name}
            files = {one.name for one in entries.values() if one.is_file(follow_symlinks=False)}
    except OSError as cause:
        raise unreadable(parent, cause) from cause
    folders = entries.keys() - files
    names: list[bytes] = []
    links: list[tuple[bytes, bytes]] = []
    empty: list[bytes] = []
    for tree in (name, name + EVIDENCE_SUFFIX):
        if tree in entries and entries[tree].is_dir(follow_symlinks=False):
            walked, inside = walk_tree(os.path.join(parent, tree)), os.fsencode(tree) + b"/"
            names += [inside + one for one in walked.files]
            links += [(inside + one.name, one.target) for one in walked.links]
            empty += [inside + one for one in (*walked.folders, b"")]
    if name not in folders:
        names.append(os.fsencode(name))
    judged = {one for one in files if one == name or not is_beside(os.path.join(parent, ""), one, files, folders)}
    beside = sorted(one for one in files - judged if owner_of(one, judged, folders, files) == name)
    if len(beside) > MAX_BESIDE:
        raise LimitExceeded(path, f"{len(beside)} files lie beside it", "Take it into a folder of its own.")
    return Source(parent, (*names, *map(os.fsencode, beside)), tuple(links), tuple(empty))


def _copied_file(parent: str, name: bytes, root: str) -> Taken:
    state, size = hashlib.sha256(), 0
    with open_artifact(os.path.join(parent, *os.fsdecode(name).split("/"))) as source:
        try:
            out = os.open(_made(root, name), _NEW, 0o600 | source.status().st_mode & stat.S_IXUSR)
        except OSError as cause:
            raise _full(root, cause) from cause
        try:
            for block in source.blocks([(0, source.size)]):
                state.update(block)
                size += len(block)
                _write(out, bytes(block), root)
        finally:
            os.close(out)
        source.check_unchanged()
    return Taken(name, size, Digest(HashName.SHA256, state.digest()))


def _write(descriptor: int, block: bytes, root: str) -> None:
    view = memoryview(block)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as cause:
        raise _full(root, cause) from cause


def _made(root: str, name: bytes) -> bytes:
    """The path of a name whose folders are there now."""
    path = os.path.join(os.fsencode(root), *name.split(b"/"))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    return path


def _full(root: str, cause: OSError) -> OutputRefused:
    what = cause.strerror or "it cannot be written"
    return OutputRefused(root, what, "Make room there, or name another folder with --private.")


def _digest(path: str) -> Digest | None:
    """SHA-256 of a file as it is now; None where it cannot be read any more."""
    try:
        with open_artifact(path) as source:
            return source.digests((HashName.SHA256,))[HashName.SHA256]
    except SealwrightError:
        return None
