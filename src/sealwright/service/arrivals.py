"""What threads finish, awaited in an event loop: however many are done together, the loop is woken once.

    arrivals = Arrivals()
    if await arrivals.within(future, 30.0): future.result()

Waking a loop is a system call, at which whoever wakes it loses the interpreter to it: a desk that tells sixteen clients would be stopped
sixteen times on its way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any


class Arrivals:
    """Of one event loop. A future that nobody waits for any more goes on."""

    def __init__(self) -> None:
        self._arrived: deque[asyncio.Future[None]] = deque()
        self._woken = False  # whether the loop will look, and has not begun to

    async def within(self, future: Future[Any], wait_s: float) -> bool:
        """Whether it is done, now or within so many seconds; whatever it came to."""
        if not future.done():
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            timer = loop.call_later(wait_s, _wake, waiter)
            future.add_done_callback(partial(self._arrive, loop, waiter))
            try:
                await waiter
            finally:
                timer.cancel()
        return future.done()

    def _arrive(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], _: object) -> None:
        """In any thread. Who finds the loop woken has put theirs where it has still to look."""
        self._arrived.append(waiter)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._woken = False
        while self._arrived:
            _wake(self._arrived.popleft())


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
