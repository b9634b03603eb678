"""What systemd is told (sd_notify(3)): ready when connections are taken, alive while the event loop turns, stopping at the end.

A state is one datagram to `$NOTIFY_SOCKET`; where there is none nothing is said. The watchdog's time is `$WATCHDOG_USEC`, and it is told twice
within it: a loop that stands still says nothing, and systemd starts the service again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_SOCKET, _WATCHDOG, _PROCESS = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


def say_ready() -> None:
    """Connections are taken from now on."""
    _say("READY=1")


@asynccontextmanager
async def alive() -> AsyncIterator[None]:
    """Say that the loop turns for as long as the block lasts, and then that it is stopping."""
    keeper = asyncio.create_task(_keep_saying(pause)) if (pause := _pause_s()) > 0 else None
    try:
        yield
    finally:
        _say("STOPPING=1")
        if keeper is not None:
            keeper.cancel()


async def _keep_saying(pause_s: float) -> None:
    while True:
        _say("WATCHDOG=1")
        await asyncio.sleep(pause_s)


def _pause_s() -> float:
    """Half of the watchdog's time in seconds, 0 where none is for this process."""
    time, process = os.environ.get(_WATCHDOG, ""), os.environ.get(_PROCESS, "")
    if not time.isdecimal() or process not in ("", str(os.getpid())):
        return 0
    return int(time) / 2_000_000


def _say(state: str) -> None:
    address = os.environ.get(_SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        line.sendto(state.encode(), address)
