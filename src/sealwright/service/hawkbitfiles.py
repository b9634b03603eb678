"""The files of a repository as they are served: exactly those that its metadata names, or none.

    files = RepositoryFiles("repository")
    sums = files.sums(target)               # read whole once, compared, and remembered for the file as it is
    with files.opened(target) as served:
        served.read(0)                      # to the end of a block, compared with what was read then

1. A file is found below the folder under its consistent name, never through a link, and must be regular (A150, A153).
2. Before its first byte is offered its length is compared with the metadata's, then it is read whole and its SHA-256 too.
3. That is remembered for size, times and identity of the file. Changed in any of them it is read whole again, and refused where it is another one.
4. Each block is compared once more before it leaves: times tell nothing of who writes through a mapping (mmap(2)), or twice within one tick.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tuf.api.metadata import TargetFile

from sealwright.artifact.names import display
from sealwright.artifact.source import OpenArtifact, Stamp, opened_as, stamp_of, unreadable
from sealwright.errors import ChangedWhileRead, RepositoryRefused
from sealwright.release.folderfetcher import open_below

FOLDER = "targets"
BLOCK = 256 * 1024
_AGAIN = "Publish the repository again, or ask who else writes there."


@dataclass(frozen=True, slots=True)
class Sums:
    """What clients of hawkBit compare a file with, hexadecimal. Only the SHA-256 says anything; the others are for what they ask for."""

    size: int
    sha256: str
    sha1: str
    md5: str


@dataclass(frozen=True, slots=True)
class _Compared:
    """A file as it was read whole. blocks: the SHA-256 of each, 32 bytes."""

    stamp: Stamp
    sums: Sums
    blocks: bytes


class ServedFile:
    """An open file that was compared. Owned by one reader; closed by `with`."""

    def __init__(self, file: OpenArtifact, blocks: bytes) -> None:
        self.file = file
        self._blocks = blocks

    def read(self, at: int) -> bytes:
        """From an offset within the file to the end of its block; ChangedWhileRead where that is not what was compared, Unreadable."""
        number, offset = divmod(at, BLOCK)
        data = self.file.read_at(number * BLOCK, min(BLOCK, self.file.size - number * BLOCK))
        self.file.check_unchanged()
        if hashlib.sha256(data).digest() != self._blocks[32 * number : 32 * (number + 1)]:
            raise ChangedWhileRead(self.file.path, "it is not what was compared any more", _AGAIN)
        return data[offset:]

    def close(self) -> None:
        """Give the file back. Closing twice is fine."""
        self.file.close()

    def __enter__(self) -> ServedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RepositoryFiles:
    """Of one folder; used by any thread, where one at a time reads a file whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, _Compared] = {}
        self._reading = threading.Lock()

    def sums(self, target: TargetFile) -> Sums:
        """Point 2; RepositoryRefused where the file is another one, Unreadable where it is not there."""
        with self._open(target) as file:
            return self._compared(target, file).sums

    def opened(self, target: TargetFile) -> ServedFile:
        """The file, compared; the caller closes it. Raises the same."""
        file = self._open(target)
        try:
            return ServedFile(file, self._compared(target, file).blocks)
        except BaseException:
            file.close()
            raise

    def _open(self, target: TargetFile) -> OpenArtifact:
        folder, _, name = target.path.rpartition("/")
        if "sha256" not in target.hashes:
            raise RepositoryRefused(display(target.path), "its metadata names no SHA-256", _AGAIN)
        parts = (FOLDER, *folder.split("/"), f"{target.hashes['sha256']}.{name}")
        try:
            return opened_as(target.path, open_below(self._folder, parts))
        except OSError as cause:
            raise unreadable(target.path, cause) from cause

    def _compared(self, target: TargetFile, file: OpenArtifact) -> _Compared:
        stamp = stamp_of(file.status())
        # without the lock: a large file that is read whole keeps nobody from those that were
        if (known := self._remembered(target, stamp)) is not None:
            return known
        if file.size != target.length:
            raise RepositoryRefused(display(target.path), "it is not as long as the metadata says", _AGAIN)
        with self._reading:
            if (known := self._remembered(target, stamp)) is not None:
                return known
            found = _read_whole(file, stamp)
            if found.sums.sha256 != target.hashes["sha256"]:
                raise RepositoryRefused(display(target.path), "it is not the file that the metadata names", _AGAIN)
            self._known[target.path] = found
            return found

    def _remembered(self, target: TargetFile, stamp: Stamp) -> _Compared | None:
        known = self._known.get(target.path)
        if known is None or known.stamp != stamp or known.sums.sha256 != target.hashes["sha256"]:
            return None
        return known


def _read_whole(file: OpenArtifact, stamp: Stamp) -> _Compared:
    sha256 = hashlib.sha256()
    sha1, md5 = hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    blocks = bytearray()
    for data in _blocks(file):
        blocks += hashlib.sha256(data).digest()
        for one in (sha256, sha1, md5):
            one.update(data)
    file.check_unchanged()
    return _Compared(stamp, Sums(file.size, sha256.hexdigest(), sha1.hexdigest(), md5.hexdigest()), bytes(blocks))


def _blocks(file: OpenArtifact) -> Iterator[bytes]:
    for at in range(0, file.size, BLOCK):
        yield file.read_at(at, min(BLOCK, file.size - at))
