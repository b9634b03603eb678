"""Frames between a key's user and its worker process: four octets of length, big-endian, and one JSON object."""

from __future__ import annotations

import json
import struct
from typing import BinaryIO

Message = dict[str, object]
MAX_FRAME = 16 << 20


def read_frame(stream: BinaryIO) -> Message | None:
    """One frame, or None at the end of the stream; ValueError for a frame that is too long or torn."""
    head = stream.read(4)
    if not head:
        return None
    (size,) = struct.unpack(">I", head)
    if size > MAX_FRAME:
        raise ValueError("frame too long")
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("torn frame")
    message: Message = json.loads(data)
    return message


def write_frame(stream: BinaryIO, message: Message) -> None:
    """One frame, flushed."""
    stream.write(frame_of(message))
    stream.flush()


def frame_of(message: Message) -> bytes:
    """The octets of one frame."""
    data = json.dumps(message).encode()
    return struct.pack(">I", len(data)) + data
