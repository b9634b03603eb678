"""A courier as one file: a POSIX tar archive (ustar, pax for long names) of regular files alone, read by its headers and bounded.

Only the names, sizes and places of the members are believed of the archive; what they hold is checked by the manifest. Links, devices,
folders, sparse files, a name twice or a member beyond the end of the file are refused.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from sealwright.artifact.names import check_name, display
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_MEMBERS = 250_000
MAX_HEADER_BYTES = 64 << 10
_NEXT = "Copy the courier again, or have it packed again."


class Member(NamedTuple):
    """One file in the archive. start: where its bytes begin."""

    name: bytes
    start: int
    size: int


def member_header(name: bytes, size: int, executable: int = 0) -> bytes:
    """The header of a member, the same each time: no owner, no time, mode 0644."""
    info = tarfile.TarInfo(os.fsdecode(name))
    info.size = size
    info.mode = 0o755 if executable else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """The zeros behind a member's bytes."""
    return b"\0" * (-size % tarfile.BLOCKSIZE)


END = b"\0" * (2 * tarfile.BLOCKSIZE)


def members(file: BinaryIO, subject: str) -> Iterator[Member]:
    """The members of an archive, in order. Raises MalformedArtifact naming the member, LimitExceeded above 250,000 of them."""
    size_bytes = os.fstat(file.fileno()).st_size
    seen: set[bytes] = set()
    try:
        bounded = cast("BinaryIO", _Bounded(file))
        with tarfile.TarFile(fileobj=bounded, mode="r", encoding="utf-8", errors="strict") as archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep every one
                name = info.name.encode()
                shown = f"{subject}: {display(name[:200])}"
                if not info.isreg() or info.issparse():
                    raise MalformedArtifact(shown, "it is no regular file", _NEXT)
                check_name(name, shown)
                if name in seen:
                    raise MalformedArtifact(shown, "it is there twice", _NEXT)
                if info.offset_data + info.size > size_bytes:
                    raise MalformedArtifact(shown, "the archive ends inside it", _NEXT)
                seen.add(name)
                if len(seen) > MAX_MEMBERS:
                    raise LimitExceeded(subject, f"more than {MAX_MEMBERS} files", "Pack several couriers.")
                yield Member(name, info.offset_data, info.size)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as cause:
        raise MalformedArtifact(subject, f"it is no archive of a courier ({cause})"[:200], _NEXT) from cause


class _Bounded:
    """The archive as `tarfile` reads it: a header that wants to be read whole into memory is a short one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        """At most a header; ValueError."""
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(size)
