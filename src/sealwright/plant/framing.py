"""Messages between a process and the one it was forked from: eight bytes with the length, then so many bytes, through a pipe."""

from __future__ import annotations

import os
import struct

_SIZE = struct.Struct("<Q")
_PIECE = 1 << 20


def send(descriptor: int, data: bytes) -> None:
    """One message, waiting for room; OSError (EPIPE) where nobody reads any more."""
    view = memoryview(_SIZE.pack(len(data)) + data)
    while view:
        view = view[os.write(descriptor, view) :]


def received(descriptor: int) -> bytes | None:
    """The next message, waited for; None where the other side is gone."""
    head = _exactly(descriptor, _SIZE.size)
    return None if head is None else _exactly(descriptor, _SIZE.unpack(head)[0])


def _exactly(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        data = os.read(descriptor, min(size, _PIECE))
        if not data:
            return None
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
