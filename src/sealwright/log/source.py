"""Where a tlog-tiles log is read from: an export's folder, or a server by a `get` that the caller has.

source = FolderSource("export")
source.read("checkpoint", 65536)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from sealwright.artifact.source import read_file_or_none
from sealwright.errors import LimitExceeded, LogUnavailable


class Source(Protocol):
    """The files of a log by their paths."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """A whole file; None where there is none. LogUnavailable, LimitExceeded, Unreadable."""
        ...


class FolderSource:
    """A folder in the layout of tlog-tiles."""

    def __init__(self, folder: str) -> None:
        self.name = folder

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """The file."""
        return read_file_or_none(os.path.join(self.name, *path.split("/")), limit_bytes)


class Got(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


class UrlSource:
    """A server. get: asks for a URL, reads at most so many bytes and one more; raises OSError where it has no answer."""

    def __init__(self, prefix: str, get: Callable[[str, int], Got]) -> None:
        self.name = prefix.rstrip("/")
        self._get = get

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """What is behind the path."""
        again = "Try again; if it stays so, ask who runs the log."
        try:
            got = self._get(f"{self.name}/{path}", limit_bytes)
        except OSError as cause:
            raise LogUnavailable(f"{self.name}/{path}", str(cause)[:160] or "no answer", again) from cause
        if got.status in (404, 410):
            return None
        if got.status != 200:
            raise LogUnavailable(f"{self.name}/{path}", f"it answered {got.status}", again)
        if len(got.body) > limit_bytes:
            raise LimitExceeded(f"{self.name}/{path}", f"it has more than {limit_bytes} bytes", again)
        return got.body
