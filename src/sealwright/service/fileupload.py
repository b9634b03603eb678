"""A file as a client uploads it: its octets in blocks, its length, and its digest as RFC 9530 says it.

with file_upload("drive.bin") as (headers, blocks): ...
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import NamedTuple

from sealwright.artifact.digest import HashName
from sealwright.artifact.source import open_artifact

BLOCK = 256 << 10


class Files(Enum):
    """Whether the files of a request that waits are uploaded, for the service to prepare them itself."""

    STAY = auto()
    UPLOADED = auto()


class FileUpload(NamedTuple):
    """headers: of the request; blocks: its body."""

    headers: Mapping[str, str]
    blocks: Iterator[bytes]


@contextmanager
def file_upload(path: str) -> Iterator[FileUpload]:
    """A regular file, open; Unreadable, ChangedWhileRead."""
    with open_artifact(path) as source:
        digest = source.digests({HashName.SHA256})[HashName.SHA256]
        headers = {
            "content-type": "application/octet-stream",
            "content-length": str(source.size),
            "content-digest": f"sha-256=:{base64.b64encode(digest.value).decode()}:",
        }
        yield FileUpload(headers, (source.read_at(at, BLOCK) for at in range(0, source.size, BLOCK)))
