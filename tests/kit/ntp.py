"""An NTP server of the tests: real packets over real sockets, and every way of being wrong."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sealwright.pki.clocks import NTP_EPOCH, SntpSource, parse_source


def ntp(seconds: float) -> bytes:
    """An NTP timestamp of Unix time, in its era."""
    whole = int(seconds // 1)
    return struct.pack(">II", (whole + NTP_EPOCH) % 2**32, int((seconds - whole) * 2**32))


def packet(
    query: bytes, now: float, *, head: int = 0x24, stratum: int = 2, held: float = 0.0, reference: bytes = b"GPS\0"
) -> bytes:
    times = bytes(8) + query[40:48] + ntp(now) + ntp(now + held)
    return struct.pack(">BBbb", head, stratum, 6, -20) + struct.pack(">II", 655, 655) + reference + times


Answers = Callable[[bytes], list[bytes]]


@contextmanager
def server(answers: Answers) -> Iterator[tuple[SntpSource, list[bytes]]]:
    """An NTP server on a port of its own, and the queries it saw."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    query, client = line.recvfrom(1024)
                except TimeoutError:
                    continue
                seen.append(query)
                for answer in answers(query):
                    line.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        source = parse_source(f"sntp:127.0.0.1:{line.getsockname()[1]}")
        assert isinstance(source, SntpSource)
        try:
            yield source, seen
        finally:
            over.set()
            thread.join()
