"""Taking in a stick: every file is copied once into a private folder, and what is judged and handed on is the copy (A150, A153).

1. Folders are opened by descriptor and never through a link (A069); links, devices, FIFOs and sockets are not opened and not taken (A071).
2. A name that is not the same file on every system, or no text, is not taken; neither is one of two that differ in case only.
3. At most `Limits` are read. Above them nothing of the medium counts: a stick with a million files is nobody's delivery (A073).
4. A file that changes or ends while it is read is not taken: it was only half written, or something writes to it.
5. A part of each file is read a second time, past the memory of the system, and compared with the copy: a stick that answers
   differently then is no stick but a computer. Of small files beyond the first few hundred one in sixteen is, as each costs the stick
   as much as reading it did; all of all of them where that is asked for.
6. The leftovers of operating systems at the medium's root are left alone and named.
A medium that is pulled out ends everything with `MediumGone`.

The copy needs no sync: it is thrown away when the medium is done with.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display, usable_members
from sealwright.artifact.walk import LEFTOVERS
from sealwright.errors import LimitExceeded, MediumGone, OutputRefused
from sealwright.findings import Finding, note, reject, warning
from sealwright.formats.statementnames import received_by

BLOCK = 256 * 1024
MAX_FILES = 200_000
MAX_DEPTH = 40
SPARE_BYTES = 64 << 20  # stays free in the private place
TREE_SUFFIX = b".manifest"
EVIDENCE_SUFFIX = b".received"  # beside what was received, with a record of this name and TREE_SUFFIX
_SENT = 1 << 20
_INLINE = 4 << 20
_QUEUED = 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_SAMPLE = 4096
_SAMPLES = 16
_SMALL = 256 * 1024
_SMALL_ALWAYS = 256
_SMALL_ONE_IN = 16
_PART = 50  # one fiftieth is read again
_GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.ENOMEDIUM}
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_UNFINISHED = (b".part", b".partial", b".crdownload", b".download", b".filepart", b".tmp", b".!ut")


class Again(Enum):
    """How much of each file is read a second time: a PART, or ALL of it."""

    PART = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read of one medium at most. size_bytes: None for what the private place can hold."""

    files: int = MAX_FILES
    size_bytes: int | None = None
    depth: int = MAX_DEPTH


class Taken(NamedTuple):
    """A file that was copied. name: its raw path below the medium's root; digest: SHA-256 of what was copied."""

    name: bytes
    size: int
    digest: Digest


class Listing(NamedTuple):
    """The names in one folder of the medium, as the system's strings. path: of the folder, with `/`, "" for the root."""

    path: str
    files: frozenset[str]
    folders: frozenset[str]
    every: frozenset[str]


class Group(NamedTuple):
    """Files of one folder whose names begin alike, as those of a file and its signatures do; listing: of that folder.

    evidence: what is in the folders beside them where the evidence of a receiving record is kept.
    """

    files: tuple[Taken, ...]
    listing: Listing
    evidence: tuple[Taken, ...] = ()


class Tree(NamedTuple):
    """A folder with a manifest or receiving record beside it. files: all that are in it; beside: those beside it whose names begin with
    its own and a dot, whatever they are; listing: of the folder that it lies in."""

    name: bytes
    files: tuple[Taken, ...]
    beside: tuple[Taken, ...]
    listing: Listing
    evidence: tuple[Taken, ...] = ()


@dataclass(slots=True)
class Intake:
    """One medium on its way in. private: an empty folder that only this process may enter; told: called with the bytes of each block; know: with each copy, still open,
    and its digest.

    files and size_bytes: what was copied so far; differing: files that answered otherwise the second time.
    """

    root: str
    private: str
    limits: Limits = field(default_factory=Limits)
    again: Again = Again.PART
    told: Callable[[int], None] = lambda _: None
    know: Callable[[int, Digest], None] = lambda _descriptor, _digest: None
    files: int = 0
    size_bytes: int = 0
    members: int = 0
    differing: int = 0
    _granted: int = 0
    _small: int = 0
    _buffer: bytearray = field(default_factory=lambda: bytearray(BLOCK))
    _digested: bytearray = field(default_factory=lambda: bytearray(BLOCK))
    _digester: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _dice: random.Random = field(default_factory=random.SystemRandom)

    def __post_init__(self) -> None:
        self.root, self.private = os.path.abspath(self.root), os.path.abspath(self.private)

    def take(self) -> Iterator[Group | Tree | Finding]:
        """Everything on the medium, folder by folder: a unit as soon as all is here that its verdict needs.

        Raises MediumGone, LimitExceeded or OutputRefused (the private place is full); then nothing of the medium counts.
        """
        try:
            descriptor = os.open(self.root, _FOLDER)
        except OSError as cause:
            raise self._gone(cause, self.root) from cause
        target = os.open(self.private, _FOLDER)
        try:
            yield from self._folder(descriptor, target, b"", 0)
        finally:
            os.close(descriptor)
            os.close(target)
            self._digester.shutdown()

    def _folder(self, source: int, target: int, prefix: bytes, depth: int) -> Iterator[Group | Tree | Finding]:
        if depth > self.limits.depth:
            what = f"folders more than {self.limits.depth} deep"
            raise LimitExceeded(display(prefix), what, "Take a stick with the delivery alone.")
        names, folders, refused = self._listed(source, prefix)
        yield from refused
        present = frozenset((*names, *folders))
        listing = _listing(prefix, names, folders)
        evidence = {name: stem for name in folders if (stem := received_by(name, present))}
        trees: dict[bytes, list[Taken]] = {
            name: []
            for name in folders
            if name not in evidence and {name + TREE_SUFFIX, name + EVIDENCE_SUFFIX + TREE_SUFFIX} & present
        }
        for members in _grouped(names, present):
            answers = [self._file(source, target, prefix, name) for name in members]
            yield from (one for one in answers if isinstance(one, Finding))
            yield from (
                warning("SW-STATION-UNFINISHED", display(prefix + name))
                for name in members
                if name.lower().endswith(_UNFINISHED)
            )
            taken = tuple(one for one in answers if isinstance(one, Taken))
            for one in taken if trees else ():
                longest = [stem for stem in _stems(os.path.basename(one.name)) if stem in trees][-1:]
                for stem in longest:
                    trees[stem].append(one)
            kept: list[Taken] = []
            for name in (name for name, stem in evidence.items() if stem in members):
                kept += yield from self._evidence(source, target, prefix, name, depth)
            if taken or kept:
                yield Group(taken, listing, tuple(kept))
        for name in folders:
            if name in evidence:
                continue  # it is taken with what it is about
            inside: list[Taken] = []
            for found in self._inside(source, target, prefix, name, depth):
                if name in trees and not isinstance(found, Finding):
                    inside += (*found.files, *found.evidence)
                else:
                    yield found
            if name in trees:
                kept = []
                if name + EVIDENCE_SUFFIX in evidence:
                    kept += yield from self._evidence(source, target, prefix, name + EVIDENCE_SUFFIX, depth)
                yield Tree(prefix + name, tuple(inside), tuple(trees[name]), listing, tuple(kept))

    def _evidence(
        self, source: int, target: int, prefix: bytes, name: bytes, depth: int
    ) -> Generator[Finding, None, Iterable[Taken]]:
        """Everything in a folder of evidence, which is judged with what it is about; the findings are yielded."""
        taken: dict[bytes, Taken] = {}
        for found in self._inside(source, target, prefix, name, depth):
            if isinstance(found, Finding):
                yield found
            else:
                taken |= {one.name: one for one in (*found.files, *found.evidence)}
        return taken.values()

    def _inside(
        self, source: int, target: int, prefix: bytes, name: bytes, depth: int
    ) -> Iterator[Group | Tree | Finding]:
        try:
            below = os.open(name, _FOLDER, dir_fd=source)
        except OSError as cause:
            if cause.errno in _GONE:
                raise self._gone(cause, display(prefix + name)) from cause
            yield reject("SW-STATION-UNREAD", display(prefix + name), found=_why(cause))
            return
        try:
            if os.fstat(below).st_dev != os.fstat(source).st_dev:
                yield reject("SW-STATION-OTHER-MEDIUM", display(prefix + name))
                return
            try:
                os.mkdir(name, 0o700, dir_fd=target)
            except OSError as cause:
                raise self._full(cause) from cause
            inside = os.open(name, _FOLDER, dir_fd=target)
            try:
                yield from self._folder(below, inside, prefix + name + b"/", depth + 1)
            finally:
                os.close(inside)
        finally:
            os.close(below)

    def _listed(self, source: int, prefix: bytes) -> tuple[list[bytes], list[bytes], list[Finding]]:
        """Regular files, folders, and what is not taken; both sorted."""
        names: list[bytes] = []
        folders: list[bytes] = []
        refused: list[Finding] = []
        try:
            with os.scandir(source) as entries:
                for entry in entries:
                    self.members += 1
                    if self.members > self.limits.files:
                        what = f"more than {self.limits.files:,} files and folders"
                        raise LimitExceeded("the medium", what, "Take a stick with the delivery alone.")
                    name = os.fsencode(entry.name)
                    if not prefix and name in LEFTOVERS:
                        refused.append(note("SW-TREE-LEFTOVER", display(name)))
                    elif entry.is_symlink():
                        refused.append(reject("SW-STATION-LINK", display(prefix + name)))
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        names.append(name)
                    else:
                        refused.append(reject("SW-STATION-SPECIAL", display(prefix + name)))
        except OSError as cause:
            raise self._gone(cause, display(prefix) or "the medium") from cause
        good, problems = usable_members(prefix, [*names, *folders], "the medium")
        refused += [reject("SW-STATION-NAME", problem.subject, found=problem.what) for problem in problems]
        usable = {*good}
        return sorted(usable.intersection(names)), sorted(usable.intersection(folders)), refused

    def _file(self, source: int, target: int, prefix: bytes, name: bytes) -> Taken | Finding:
        shown = display(prefix + name)
        try:
            descriptor = os.open(name, _FILE, dir_fd=source)
        except OSError as cause:
            if cause.errno in _GONE:
                raise self._gone(cause, shown) from cause
            return reject("SW-STATION-UNREAD", shown, found=_why(cause))
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return reject("SW-STATION-SPECIAL", shown)
            self._room(before.st_size, shown)
            copy = self._created(name, target, before.st_mode)
            try:
                size, digest = self._copied(descriptor, copy, before.st_size)
                after = os.fstat(descriptor)
                if size != before.st_size or _identity(before) != _identity(after):
                    return self._dropped(target, name, reject("SW-STATION-CHANGING", shown))
                if not self._same_again(descriptor, copy, size):
                    self.differing += 1
                    return self._dropped(target, name, reject("SW-STATION-DIFFERS", shown))
                if size > _INLINE:
                    self.know(copy, digest)
            finally:
                os.close(copy)
        except OSError as cause:
            if cause.errno in _GONE:
                raise self._gone(cause, shown) from cause
            return self._dropped(target, name, reject("SW-STATION-UNREAD", shown, found=_why(cause)))
        finally:
            os.close(descriptor)
        self.files += 1
        return Taken(prefix + name, size, digest)

    def _created(self, name: bytes, target: int, mode: int) -> int:
        """A private file that may be executed where the medium's may: a tree's manifest says which do."""
        try:
            return os.open(name, _NEW, 0o600 | mode & stat.S_IXUSR, dir_fd=target)
        except OSError as cause:
            raise self._full(cause) from cause

    def _dropped(self, target: int, name: bytes, finding: Finding) -> Finding:
        """The finding, once there is no copy any more of what must not be judged."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=target)
        return finding

    def _room(self, size: int, shown: str) -> None:
        """LimitExceeded where a file is more than may be read, OutputRefused where it is more than the private place holds."""
        most = self.limits.size_bytes
        if most is not None and self.size_bytes + size > most:
            what = f"more than {most:,} bytes"
            raise LimitExceeded("the medium", what, "Take a stick with the delivery alone, or raise --max-bytes.")
        if self.size_bytes + size <= self._granted:
            return
        place = os.statvfs(self.private)
        free = place.f_bavail * place.f_frsize - SPARE_BYTES
        if size > free:
            what = f"there is no room for {shown} ({size:,} bytes)"
            raise OutputRefused(self.private, what, "Make room there, or name another --private.")
        self._granted = self.size_bytes + min(free, max(size, SPARE_BYTES // 2))

    def _copied(self, descriptor: int, copy: int, wanted: int) -> tuple[int, Digest]:
        """How much there was, at most a block more than wanted, and the digest of the copy."""
        state = hashlib.sha256()
        if wanted <= _INLINE:
            done = 0
            view = memoryview(self._buffer)
            while done <= wanted and (count := os.readv(descriptor, [view])):
                state.update(view[:count])
                self._write(copy, view[:count])
                done += count
                self._advance(count)
            return done, Digest(HashName.SHA256, state.digest())
        return self._copied_by_kernel(descriptor, copy, wanted, state), Digest(HashName.SHA256, state.digest())

    def _copied_by_kernel(self, descriptor: int, copy: int, wanted: int, state: hashlib._Hash) -> int:
        """sendfile(2), while a thread digests what is in the copy already."""
        done = 0
        digesting: deque[Future[None]] = deque()
        while done <= wanted:
            try:
                count = os.sendfile(copy, descriptor, done, _SENT)
            except OSError as cause:
                if cause.errno in _FULL:
                    raise self._full(cause) from cause
                raise
            if not count:
                break
            digesting.append(self._digester.submit(self._digest, copy, done, done + count, state))
            done += count
            self._advance(count)
            if len(digesting) > _QUEUED:
                digesting.popleft().result()
        while digesting:
            digesting.popleft().result()
        return done

    def _digest(self, copy: int, at: int, end: int, state: hashlib._Hash) -> None:
        view = memoryview(self._digested)
        while at < end and (count := os.preadv(copy, [view[: min(len(view), end - at)]], at)):
            state.update(view[:count])
            at += count

    def _advance(self, count: int) -> None:
        self.size_bytes += count
        self.told(count)

    def _write(self, copy: int, block: memoryview) -> None:
        try:
            while block:
                block = block[os.write(copy, block) :]
        except OSError as cause:
            raise self._full(cause) from cause

    def _full(self, cause: OSError) -> OutputRefused:
        return OutputRefused(self.private, _why(cause), "Make room there, or name another --private.")

    def _same_again(self, descriptor: int, copy: int, size: int) -> bool:
        """Whether the medium says the same a second time, asked past the system's memory of the first."""
        if self.again is Again.PART and size <= _SMALL:
            self._small += 1
            if self._small > _SMALL_ALWAYS and self._dice.randrange(_SMALL_ONE_IN):
                return True
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if self.again is Again.ALL or size <= _SAMPLE:
            places: list[int] = list(range(0, size, BLOCK))
            length = BLOCK
        else:
            count = max(1, min(_SAMPLES, size // _PART // _SAMPLE))
            places = [self._dice.randrange(0, size - _SAMPLE + 1) for _ in range(count)]
            length = _SAMPLE
        return all(os.pread(descriptor, length, at) == os.pread(copy, length, at) for at in places)

    def _gone(self, cause: OSError, shown: str) -> MediumGone:
        return MediumGone(
            shown, f"it cannot be read any more ({_why(cause)})", "Put the stick in again and wait to the end."
        )


def _listing(prefix: bytes, names: Sequence[bytes], folders: Sequence[bytes]) -> Listing:
    files, below = frozenset(map(os.fsdecode, names)), frozenset(map(os.fsdecode, folders))
    return Listing(os.fsdecode(prefix), files, below, files | below)


def _grouped(names: Sequence[bytes], present: Collection[bytes]) -> Iterator[list[bytes]]:
    """The names of a folder's files by what they may belong to: the shortest beginning up to a dot that is there too, or itself."""
    groups: dict[bytes, list[bytes]] = {}
    for name in names:
        groups.setdefault(next((stem for stem in _stems(name) if stem in present), name), []).append(name)
    yield from (members for _, members in sorted(groups.items()))


def _stems(name: bytes) -> Iterator[bytes]:
    """The beginnings of a name up to each of its dots, the shortest first."""
    at = 0
    while (at := name.find(b".", at + 1)) > 0:
        yield name[:at]


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def _why(cause: OSError) -> str:
    return cause.strerror or "the system does not say why"
