"""What a client may hold of a server before anybody knows who it is: handshakes, connections, heads, and time (A128).

1. A TLS handshake has `handshake_s`. `handshakes` may go on at once: one more makes the oldest give way, which is a slow one.
2. A head has `head_s` from its first octet, or from the connection's beginning, and `head_bytes`; the rest of the request with its whole
   answer has `request_s` from there, and for each `octets_a_s` of a body that is read a second more; an idle connection `idle_s`. Then it is cut.
3. A connection beyond `connections` is answered 503 and closed, and so is one beyond `strangers` that showed no certificate: those
   who have one keep the rest of the room. Far beyond the bound there is no answer either.
4. What still comes of a body after its answer is thrown away, `unread_bytes` of it and for `head_s`, so that whoever sends it reads
   the answer; then it is cut. A closed connection waits `GOODBYE_S` for the other side's word.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server

MAX_PIPELINED = 64
BACKLOG = 2048
GOODBYE_S = 2.0
AGAIN_S = 0.1
OTHER_FILES = 256  # of databases, tokens and logs


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may cost. Seconds, octets, connections."""

    request_s: float = 10.0
    octets_a_s: float = 1e9
    head_s: float = 10.0
    idle_s: int = 30
    stop_s: int = 10
    handshake_s: float = 10.0
    head_bytes: int = 16 * 1024
    unread_bytes: int = 4 << 20
    connections: int = 512
    strangers: int = 512
    handshakes: int = 256


def bounded(limits: Limits) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with points 2 and 3; `due` is what `cut_late_ones` looks at."""

    class Bounded(HttpToolsProtocol):
        due: float | None = None
        stranger = False
        _head = 0
        _counted = 0
        _in_body = False
        _unread = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            tls = transport.get_extra_info("ssl_object")
            self.stranger = tls is not None and tls.getpeercert(binary_form=True) is None
            super().connection_made(transport)
            self.due = self.loop.time() + limits.head_s
            if len(self.connections) > 2 * limits.connections:
                transport.abort()
            elif len(self.connections) > limits.connections or self._one_stranger_too_many():
                self._refuse(b"503 Service Unavailable")

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing() or self.parser is None:
                return
            if not self._in_body:
                self._head += len(data)
                if self.due is None:
                    self.due = self.loop.time() + limits.head_s
            elif self.cycle is not None and self.cycle.response_complete:
                self._unread += len(data)
                if self._unread > limits.unread_bytes:
                    self.transport.abort()
                    return
            elif self.due is not None:
                self.due += len(data) / limits.octets_a_s
            super().data_received(data)
            if self._head > limits.head_bytes and not self.transport.is_closing():
                self._refuse(b"431 Request Header Fields Too Large")

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            if b"#" in url:
                raise ValueError("a fragment is no part of a request (RFC 9112 section 3.2)")
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value) + len(b": \r\n"))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._head, self._counted, self._unread, self._in_body = 0, 0, 0, True
            if len(self.pipeline) >= MAX_PIPELINED:
                raise ValueError("too many pipelined requests")
            if self.cycle is None or self.cycle.response_complete:
                self.due = self.loop.time() + limits.request_s
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def on_response_complete(self) -> None:
            now = self.loop.time()
            if self.pipeline:
                self.due = now + limits.request_s
            else:
                self.due = now + limits.head_s if self._head or self._in_body else None
            super().on_response_complete()

        def send_400_response(self, msg: str) -> None:
            if not self.transport.is_closing():  # else it was told why already
                super().send_400_response(msg)

        def _count(self, octets: int) -> None:
            """A head that comes at once is counted by its parts, one that comes slowly by its octets."""
            self._counted += octets
            if self._counted > limits.head_bytes:
                self._refuse(b"431 Request Header Fields Too Large")
                raise ValueError("the head is too long")

        def _one_stranger_too_many(self) -> bool:
            return self.stranger and sum(getattr(one, "stranger", False) for one in self.connections) > limits.strangers

        def _refuse(self, status: bytes) -> None:
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    return Bounded


async def cut_late_ones(server: Server, limits: Limits) -> None:
    """Abort every connection that is past its time; one look over all of them costs less than a timer each."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(1.0, limits.request_s / 4, limits.head_s / 4))
        now = loop.time()
        for connection in list(server.server_state.connections):
            due = getattr(connection, "due", None)
            if due is not None and due < now and connection.transport is not None:
                connection.transport.abort()


class TlsListener:
    """Takes the connections of a listening socket and gives them their TLS, within point 1; stands in uvicorn's list of servers."""

    def __init__(
        self, bound: socket.socket, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol], limits: Limits
    ) -> None:
        self._bound = bound
        self._context = context
        self._make = make
        self._limits = limits
        self._going_on: dict[asyncio.Task[None], None] = {}  # oldest first
        bound.listen(BACKLOG)
        self._accepter = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Take no more, and give up the handshakes that go on."""
        for task in (self._accepter, *self._going_on):
            task.cancel()

    async def wait_closed(self) -> None:
        """Until that is done."""
        await asyncio.gather(self._accepter, *self._going_on, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._bound)
            except OSError:  # the client is gone, or there is no descriptor for it now
                await asyncio.sleep(AGAIN_S)
                continue
            if len(self._going_on) >= self._limits.handshakes:
                next(iter(self._going_on)).cancel()
            task = loop.create_task(self._shake(connection))
            self._going_on[task] = None
            task.add_done_callback(self._going_on.pop)

    async def _shake(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except OSError:  # also ssl.SSLError and a time-out: it is nobody, and is closed already
            connection.close()


def make_room(limits: Limits) -> None:
    """Let the process have as many files open as its clients may hold, where the system's hard limit allows it."""
    if sys.platform == "win32":
        return
    import resource  # not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limits.connections + limits.handshakes + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard)
            )
