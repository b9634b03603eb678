"""The files of a repository as they are served: exactly those that its metadata names, or none.

    files = RepositoryFiles("repository")
    sums = files.sums(target)               # read whole once, compared, and remembered for the file as it is
    with files.opened(target) as file: ...  # read at by blocks, each followed by `check_unchanged`

1. A file is found below the folder under its consistent name, never through a link, and must be regular (A150, A153).
2. Before its first byte is offered it is read whole and compared with the length and SHA-256 of the metadata.
3. That is remembered for size, times and identity of the file. Changed in any of them it is read whole again, and refused where it is another one.
   The time of its last change is the kernel's: whoever may write the file cannot set it.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from tuf.api.metadata import TargetFile

from sealwright.artifact.names import display
from sealwright.artifact.source import OpenArtifact, Stamp, opened_as, stamp_of, unreadable
from sealwright.errors import RepositoryRefused
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


class RepositoryFiles:
    """Of one folder; used by any thread, where one at a time reads a file whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Stamp, Sums]] = {}
        self._reading = threading.Lock()

    def sums(self, target: TargetFile) -> Sums:
        """Point 2; RepositoryRefused where the file is another one, Unreadable where it is not there."""
        with self._open(target) as file:
            return self._compare(target, file)

    def opened(self, target: TargetFile) -> OpenArtifact:
        """The file, compared; the caller closes it. Raises the same."""
        file = self._open(target)
        try:
            self._compare(target, file)
        except BaseException:
            file.close()
            raise
        return file

    def _open(self, target: TargetFile) -> OpenArtifact:
        folder, _, name = target.path.rpartition("/")
        if "sha256" not in target.hashes:
            raise RepositoryRefused(display(target.path), "its metadata names no SHA-256", _AGAIN)
        parts = (FOLDER, *folder.split("/"), f"{target.hashes['sha256']}.{name}")
        try:
            return opened_as(target.path, open_below(self._folder, parts))
        except OSError as cause:
            raise unreadable(target.path, cause) from cause

    def _compare(self, target: TargetFile, file: OpenArtifact) -> Sums:
        stamp = stamp_of(file.status())
        with self._reading:
            known = self._known.get(target.path)
            if known is not None and known[0] == stamp and known[1].sha256 == target.hashes["sha256"]:
                return known[1]
            found = _sums(file)
            file.check_unchanged()
            if (found.size, found.sha256) != (target.length, target.hashes["sha256"]):
                raise RepositoryRefused(display(target.path), "it is not the file that the metadata names", _AGAIN)
            self._known[target.path] = stamp, found
            return found


def _sums(file: OpenArtifact) -> Sums:
    sha256 = hashlib.sha256()
    sha1, md5 = hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    for block in file.blocks([(0, file.size)]):
        for one in (sha256, sha1, md5):
            one.update(block)
    return Sums(file.size, sha256.hexdigest(), sha1.hexdigest(), md5.hexdigest())
