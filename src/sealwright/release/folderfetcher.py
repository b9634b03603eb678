"""A release repository that lies in a folder, on a stick or in a courier, as python-tuf's client reads it.

The URLs are `folder:metadata/NAME` and `folder:targets/NAME`. A file is opened below one descriptor, part by part, never through a
link, and must be a regular file: a stick chooses its names, not what they lead to (A150, A153).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

METADATA = "folder:metadata/"
TARGETS = "folder:targets/"
_BLOCK = 256 * 1024
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_MISSING = 404


class FolderFetcher(FetcherInterface):
    """Reads below one folder. The folder itself may be named through a link; nothing below it is followed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        where = url.removeprefix("folder:")
        # a role's name comes quoted, a target's name as it is: neither may leave the folder
        name = unquote(where) if url.startswith(METADATA) else where
        parts = name.split("/")
        if where == url or any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
            raise DownloadError(f"{url[:200]!r} is no name in a repository")
        try:
            descriptor = open_below(self.folder, parts)
        except OSError as cause:
            raise DownloadHTTPError(f"{name[:200]!r}: {cause.strerror}", _MISSING) from cause
        return _blocks(descriptor, name)


def open_below(folder: str, parts: Sequence[str]) -> int:
    """A descriptor of a file below a folder; OSError where a part is missing or a link. parts: no one is empty, `.` or `..`."""
    at = os.open(folder, _FOLDER)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER | getattr(os, "O_NOFOLLOW", 0), dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], _FILE, dir_fd=at)
    finally:
        os.close(at)


def _blocks(descriptor: int, name: str) -> Iterator[bytes]:
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DownloadError(f"{name[:200]!r} is no regular file")
        while block := os.read(descriptor, _BLOCK):
            yield block
    except OSError as cause:
        raise DownloadError(f"{name[:200]!r}: {cause.strerror}") from cause
    finally:
        os.close(descriptor)
