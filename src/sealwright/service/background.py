"""Work that goes on beside a service for as long as it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def going_on(work: Callable[[], Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """The work goes on while the block lasts, and is cancelled and waited for at its end. What it raised comes out there."""
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
