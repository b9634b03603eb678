"""One file of a stick copied into the private place, read a second time, and refused where the stick does not keep to what it said (A071, A150).

1. A file is opened once, never through a link and never waiting, and must be a regular file; what is copied is read from that descriptor.
2. The copy is new, and as long as the medium said; what changes meanwhile, ends early or grows is half written, and is not taken.
3. A part of each file is read again past the system's memory and compared with the copy: a stick that answers differently then is no stick but a computer.
   Of small files beyond the first few hundred one in sixteen is, as each costs the stick as much as reading it did; all of all of them
   where that is asked for.
4. The next files of a folder are opened before their turn, and the system is asked for their first bytes: the stick reads on while one
   is copied.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.digestcopy import BLOCK, DigestingCopier, NotWritten
from sealwright.artifact.names import display
from sealwright.artifact.source import Stamp, stamp_of
from sealwright.errors import LimitExceeded, MediumGone, OutputRefused
from sealwright.findings import Finding, reject

MAX_FILES = 200_000
MAX_DEPTH = 40
SPARE_BYTES = 64 << 20  # stays free in the private place
# the last where the program that serves the file system ended
GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.ECONNABORTED}
GONE.add(getattr(errno, "ENOMEDIUM", errno.ENODEV))  # Windows has no such number
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_SAMPLE = 4096
_SAMPLES = 16
_SMALL = 256 * 1024
_SMALL_ALWAYS = 256
_SMALL_ONE_IN = 16
_PART = 50  # one fiftieth is read again
_AHEAD = 32
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


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


class Folder(NamedTuple):
    """One folder of the medium and its copy, both open. prefix: its path below the root, with `/`, b"" for the root."""

    source: int
    target: int
    prefix: bytes


@dataclass(slots=True)
class Copier:
    """Copies one file after the other. private: the folder of the copies; told: called with the bytes of each block; know: with what
    tells each copy from any other file, and its digest.

    files, size_bytes: what was copied so far.
    """

    private: str
    limits: Limits
    again: Again
    told: Callable[[int], None]
    know: Callable[[Stamp, Digest], None]
    files: int = 0
    size_bytes: int = 0
    _granted: int = 0
    _small: int = 0
    _copier: DigestingCopier = field(init=False)
    _dice: random.Random = field(default_factory=random.SystemRandom)

    def __post_init__(self) -> None:
        self._copier = DigestingCopier(self._advance)

    def close(self) -> None:
        """After the last file."""
        self._copier.close()

    def copy(self, folder: Folder, name: bytes, ahead: Ahead) -> Taken | Finding:
        """One file, or why it is not taken.

        Raises MediumGone, LimitExceeded or OutputRefused (the private place is full); then nothing of the medium counts.
        """
        shown = display(folder.prefix + name)
        try:
            descriptor = ahead.opened(name)
        except OSError as cause:
            return _unread(cause, shown)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return reject("SW-STATION-SPECIAL", shown)
            self._check_room(before.st_size, shown)
            copy = self._created(name, folder.target, before.st_mode)
            try:
                size, digest = self._copied(descriptor, copy, before.st_size)
                if size != before.st_size or stamp_of(before) != stamp_of(os.fstat(descriptor)):
                    return _dropped(folder.target, name, reject("SW-STATION-CHANGING", shown))
                if not self._is_same_again(descriptor, copy, size):
                    return _dropped(folder.target, name, reject("SW-STATION-DIFFERS", shown))
                self.know(stamp_of(os.fstat(copy)), digest)
            finally:
                os.close(copy)
        except OSError as cause:
            return _dropped(folder.target, name, _unread(cause, shown))
        finally:
            os.close(descriptor)
        self.files += 1
        return Taken(folder.prefix + name, size, digest)

    def full(self, cause: OSError) -> OutputRefused:
        """The private place takes no more."""
        return OutputRefused(self.private, why(cause), "Make room there, or name another --private.")

    def _created(self, name: bytes, target: int, mode: int) -> int:
        """A private file that may be executed where the medium's may: a tree's manifest says which do."""
        try:
            return os.open(name, _NEW, 0o600 | mode & stat.S_IXUSR, dir_fd=target)
        except OSError as cause:
            raise self.full(cause) from cause

    def _check_room(self, size: int, shown: str) -> None:
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
        """How much there was, at most a byte more than wanted, and the digest of the copy."""
        try:
            return self._copier.copy(descriptor, 0, wanted + 1, copy)
        except NotWritten as cause:
            raise self.full(cause) from cause
        except OSError as cause:
            if cause.errno in _FULL:
                raise self.full(cause) from cause
            raise

    def _advance(self, count: int) -> None:
        self.size_bytes += count
        self.told(count)

    def _is_same_again(self, descriptor: int, copy: int, size: int) -> bool:
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


class Ahead:
    """The files of one folder, opened before their turn in the order in which they will be asked for; a context manager that closes what is left.

    Owned by the one who copies. A file that cannot be opened is tried again when it is asked for, and raises then.
    """

    def __init__(self, folder: int, names: Sequence[bytes]) -> None:
        self._folder = folder
        self._coming = iter(names)
        self._open: dict[bytes, int] = {}

    def opened(self, name: bytes) -> int:
        """The descriptor of a file, whose owner the caller is now; OSError where there is none."""
        for coming in islice(self._coming, _AHEAD - len(self._open)):
            with suppress(OSError):
                self._open[coming] = os.open(coming, _FILE, dir_fd=self._folder)
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(self._open[coming], 0, _SMALL, os.POSIX_FADV_WILLNEED)
        descriptor = self._open.pop(name, -1)
        return descriptor if descriptor >= 0 else os.open(name, _FILE, dir_fd=self._folder)

    def let_go(self) -> None:
        """Close what is not asked for yet: it is opened in its turn."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()


def gone(cause: OSError, shown: str) -> MediumGone:
    """The medium does not answer any more."""
    return MediumGone(
        shown, f"it cannot be read any more ({why(cause)})", "Put the stick in again and wait to the end."
    )


def why(cause: OSError) -> str:
    """The system's reason."""
    return cause.strerror or "the system does not say why"


def _unread(cause: OSError, shown: str) -> Finding:
    if cause.errno in GONE:
        raise gone(cause, shown) from cause
    return reject("SW-STATION-UNREAD", shown, found=why(cause))


def _dropped(target: int, name: bytes, finding: Finding) -> Finding:
    """The finding, once there is no copy any more of what must not be judged."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=target)
    return finding
