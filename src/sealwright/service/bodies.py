"""Room for the bodies of requests: those of many artifacts are read a few at a time, so that no number of clients fills the memory (A128).

    bodies = LargeBodies()
    await bodies.take(scope)         # once it is known who asks; waits where `AT_ONCE` others are being read
    bodies.give_back(scope)          # when it is whole, or at the latest when it was answered; giving back twice is fine

Small bodies never wait, and files that are written down as they come have places of their own (`spool.py`). Who waits is cut where the whole request takes too long (`connections.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from litestar.types import Scope

LARGE_BYTES = 1 << 20
AT_ONCE = 4
STREAMED = "sealwright.streamed"  # of a resource's `opt`: its bodies are never in memory
_HELD = "sealwright.body"  # of a scope's `state`


class LargeBodies:
    """Of one event loop."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    async def take(self, scope: Scope) -> None:
        """Take room for a body that is large, or could be."""
        if _length(scope["headers"]) > LARGE_BYTES:
            await self._room.acquire()
            scope["state"][_HELD] = True

    def give_back(self, scope: Scope) -> None:
        """Let the next one be read."""
        if scope["state"].pop(_HELD, False):
            self._room.release()


def has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether octets come after a head."""
    return _length(headers) > 0


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """What a head promises; more than is large where it does not say. The server has refused what is no number."""
    length = b"0"
    for name, value in headers:
        match name.lower():
            case b"transfer-encoding":
                return LARGE_BYTES + 1
            case b"content-length":
                length = value.strip()
    return int(length) if length.isdigit() else LARGE_BYTES + 1
