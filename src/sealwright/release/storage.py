"""Where a repository is published: a folder that any file server serves, or a bucket (`bucket.py`). One seam, three verbs.

    metadata/3.root.json, metadata/7.snapshot.json, …     added, never changed
    targets/drives/vx-200/1.4.2/<sha256>.release.toml      added, never changed
    metadata/timestamp.json                                the one file that changes, last of all

1. What is added never gets other bytes (A160): a name that is there already must have the same.
2. The pointer is exchanged as a whole, and only for the one that was published before: of two who publish, one is refused.
3. Everything that was added is durable before the pointer names it. So a crash at any instruction leaves the old repository or the
   new one, with at most files that no metadata names.

System calls relied on in a folder: link(2) or copy and link for what is added, syncfs or fsync, rename(2) for the pointer, fsync of its folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealwright.artifact.digest import HashName
from sealwright.artifact.folders import alone_in, sync_folder
from sealwright.artifact.output import FileRange, Output, Replace, sync_file_system, write_atomic, write_batch
from sealwright.artifact.source import open_artifact, read_file_or_none
from sealwright.errors import ReleaseRefused, RepositoryUnavailable, UsageError

METADATA = "metadata"
TARGETS = "targets"
POINTER = f"{METADATA}/timestamp.json"
MAX_METADATA_BYTES = 16 << 20
_SHA256 = (HashName.SHA256,)


@dataclass(frozen=True, slots=True)
class Added:
    """One file to be published. name: below the place; path: of a file with its bytes; size: of them."""

    name: str
    path: str
    size: int


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
        """Publish files that never change, durable when it returns; ReleaseRefused where a name has other bytes."""
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
        try:
            for folder in folders:
                os.makedirs(folder, exist_ok=True)
            copies = [one for one in files if not self._linked(one)]
            missing = [one for one in copies if not self._is_there(one)]
            outputs = [Output(self._path(one.name), (FileRange(one.path, 0, one.size),)) for one in missing]
            if outputs:
                write_batch(outputs)
            self._sync(folders)
        except OSError as cause:
            raise RepositoryUnavailable(
                self.folder, f"it cannot be written ({cause.strerror})", "Make room or access, and publish again."
            ) from cause

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

    def _linked(self, one: Added) -> bool:
        """Whether the file has its name now, as a second name of the one that was staged.

        A role is copied: our own copy of it stays, and must not change when somebody writes into the published one.
        """
        if not one.name.startswith(f"{TARGETS}/"):
            return False
        try:
            os.link(one.path, self._path(one.name), follow_symlinks=False)
        except (OSError, NotImplementedError):
            return False  # it is there already, or on another file system
        return True

    def _is_there(self, one: Added) -> bool:
        path = self._path(one.name)
        if not os.path.lexists(path):
            return False
        if not _same_bytes(one.path, path):
            raise other_bytes(one.name)
        return True

    def _sync(self, folders: Iterable[str]) -> None:
        if sync_file_system(self.folder):
            return
        for folder in folders:
            sync_folder(folder)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, *name.split("/"))


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


def _same_bytes(one: str, other: str) -> bool:
    if os.path.samefile(one, other):
        return True
    with open_artifact(one) as left, open_artifact(other) as right:
        sizes = left.status().st_size, right.status().st_size
        return sizes[0] == sizes[1] and left.digests(_SHA256) == right.digests(_SHA256)
