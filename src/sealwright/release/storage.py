"""Where a repository is published: a folder that any file server serves, or a bucket (`bucket.py`). One seam, three verbs.

    metadata/3.root.json, metadata/7.snapshot.json, …     added, never changed
    targets/drives/vx-200/1.4.2/<sha256>.release.toml      added, never changed
    metadata/timestamp.json                                the one file that changes, last of all

1. What is added never gets other bytes (A160): a name that is there already must have the same. It is a copy of its own, of which the
   bytes that arrived were digested: whoever can write into the staging folder changes nothing that is published.
2. The pointer is exchanged as a whole, and only for the one that was published before: of two who publish, one is refused.
3. Everything that was added is durable before the pointer names it. So a crash at any instruction leaves the old repository or the
   new one, with at most files that no metadata names.

System calls relied on in a folder: copy, syncfs or fsync, link(2) (else rename(2)) for what is added, rename(2) for the pointer, fsync of
its folder. What a publication that was killed left (`NAME.new`) the next one of the same files takes away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.digestcopy import DigestingCopier
from sealwright.artifact.folders import alone_in, sync_folder
from sealwright.artifact.output import Replace, sync_file_system, write_atomic
from sealwright.artifact.source import open_artifact, read_file_or_none
from sealwright.errors import ReleaseRefused, RepositoryUnavailable, UsageError

METADATA = "metadata"
TARGETS = "targets"
POINTER = f"{METADATA}/timestamp.json"
MAX_METADATA_BYTES = 16 << 20
BESIDE = ".new"
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Added:
    """One file to be published. name: below the place; path: of a file with its bytes; size, digest: of them, SHA-256."""

    name: str
    path: str
    size: int
    digest: Digest


class Storage(Protocol):
    """A place. Used by one thread."""

    @property
    def place(self) -> str:
        """The place for people, without anything secret."""
        ...

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """A file, None where there is none; RepositoryUnavailable where that cannot be known."""
        ...

    def add(self, files: Sequence[Added]) -> None:
        """Publish files that never change, durable when it returns; ReleaseRefused where a name has other bytes, or a file has not those
        that were listed."""
        ...

    def exchange(self, before: bytes | None, after: bytes) -> None:
        """The pointer, from what it was to what it will be; ReleaseRefused where it is something else now."""
        ...


class FolderStorage:
    """A folder, which may be a mounted share."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def place(self) -> str:
        """Its path."""
        return self.folder

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """See `Storage`."""
        return read_file_or_none(self._path(name), limit_bytes)

    def add(self, files: Sequence[Added]) -> None:
        """See `Storage`."""
        folders = dict.fromkeys(os.path.dirname(self._path(one.name)) for one in files)
        missing: list[Added] = []
        try:
            for folder in folders:
                os.makedirs(folder, exist_ok=True)
            missing += [one for one in files if not self._is_there(one)]
            with closing(DigestingCopier(lambda _: None)) as copier:
                for one in missing:
                    self._copy(one, copier)
            # the bytes are on the disk before they have a name, which never gets others
            if not sync_file_system(self.folder):
                for one in missing:
                    _sync_file(self._beside(one))
            for one in missing:
                self._name(one)
            if not sync_file_system(self.folder):
                for folder in folders:
                    sync_folder(folder)
        except OSError as cause:
            raise RepositoryUnavailable(
                self.folder, f"it cannot be written ({cause.strerror})", "Make room or access, and publish again."
            ) from cause
        finally:
            for one in missing:
                with suppress(OSError):
                    os.unlink(self._beside(one))

    def exchange(self, before: bytes | None, after: bytes) -> None:
        """See `Storage`."""
        os.makedirs(self._path(METADATA), exist_ok=True)
        with alone_in(self.folder):
            found = self.read(POINTER, MAX_METADATA_BYTES)
            if found == after:
                return
            if found != before:
                raise other_pointer(self.place)
            write_atomic(self._path(POINTER), after, replace=Replace.YES)

    def _copy(self, one: Added, copier: DigestingCopier) -> None:
        """The file beside its name; ReleaseRefused where it has not the bytes that were listed."""
        beside = self._beside(one)
        with suppress(FileNotFoundError):
            os.unlink(beside)
        with opened(one) as source:
            copy = os.open(beside, _NEW, 0o644)
            try:
                found = copier.copy(source, 0, one.size, copy)
            finally:
                os.close(copy)
        if found != (one.size, one.digest):
            raise not_staged(one.name)

    def _name(self, one: Added) -> None:
        try:
            os.link(self._beside(one), self._path(one.name))
        except FileExistsError as cause:
            raise other_bytes(one.name) from cause
        except OSError:  # a file system without links
            os.rename(self._beside(one), self._path(one.name))

    def _is_there(self, one: Added) -> bool:
        path = self._path(one.name)
        if not os.path.lexists(path):
            return False
        with open_artifact(path) as there:
            if there.status().st_size != one.size or there.digests((HashName.SHA256,))[HashName.SHA256] != one.digest:
                raise other_bytes(one.name)
        return True

    def _beside(self, one: Added) -> str:
        return self._path(one.name) + BESIDE

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, *name.split("/"))


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def opened(one: Added) -> Iterator[int]:
    """A descriptor of a file to be published; ReleaseRefused where it is gone, or a link is in its place."""
    try:
        descriptor = os.open(one.path, _READ)
    except OSError as cause:
        raise not_staged(one.name) from cause
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise not_staged(one.name)
        yield descriptor
    finally:
        os.close(descriptor)


def not_staged(name: str) -> ReleaseRefused:
    """What was listed and signed does not lie in the staging folder any more."""
    return ReleaseRefused(name, "its bytes are not staged any more", "Add the release again.")


def other_bytes(name: str) -> ReleaseRefused:
    """What was published under a name has other bytes (A160)."""
    return ReleaseRefused(
        name,
        "it was published with other bytes",
        "Find out who wrote there; a version that was released gets no other bytes.",
    )


def other_pointer(place: str) -> ReleaseRefused:
    """Somebody else published meanwhile, or changed what was published."""
    return ReleaseRefused(
        f"{place}: timestamp.json",
        "it is not the one that was published from here last",
        "Find out who wrote there; one staging folder publishes to one place.",
    )


def open_storage(text: str, folder: str) -> Storage:
    """The place of a text: a folder, relative to the staging folder, or `s3://BUCKET/PREFIX`; UsageError for a URL of another kind."""
    if text.startswith("s3://"):
        from sealwright.release.bucket import open_bucket  # an extra, and slow to import

        return open_bucket(text)
    if "://" in text:
        raise UsageError(
            text[:100], "no repository is published to such a place", "Name a folder, or s3://BUCKET/PREFIX."
        )
    place = os.path.join(folder, text)
    os.makedirs(place, exist_ok=True)
    return FolderStorage(place)
