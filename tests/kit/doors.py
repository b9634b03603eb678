"""Plain TLS sockets to a running signing service, for what no HTTP client would send."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from kit.service import wanted
from kit.signingservice import House

T = TypeVar("T")
WAIT_S = 30.0
HOST = b"Host: localhost\r\n"


@dataclass(frozen=True)
class Told:
    """An answer; status 0: the connection was closed without one. closed: whether the other side closed it."""

    status: int
    head: bytes
    body: bytes
    closed: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def context(service: House, name: str | None) -> ssl.SSLContext:
    """Trusting the service, as somebody or as nobody."""
    made = ssl.create_default_context(cafile=service.folder / "servers.pem")
    if name is not None:
        made.load_cert_chain(*service.identity(name))
    return made


@contextmanager
def line(service: House, name: str | None = None) -> Iterator[ssl.SSLSocket]:
    """A connection whose handshake is done."""
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=WAIT_S) as plain,
        context(service, name).wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        yield secured


def hear(secured: ssl.SSLSocket) -> Told:
    """One answer, by its length; what comes after it is left."""
    back = b""
    with suppress(OSError):
        while b"\r\n\r\n" not in back:
            if not (part := secured.recv(65536)):
                return Told(0, back, b"", True)
            back += part
        head, _, body = back.partition(b"\r\n\r\n")
        length = next((int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")), 0)
        while len(body) < length and (part := secured.recv(65536)):
            body += part
        return Told(int(head.split(b" ")[1]), head, body, b"connection: close" in head.lower())
    return Told(0, back, b"", True)


def told(service: House, name: str | None, *parts: bytes) -> Told:
    """What is answered to octets on a connection of their own; what can no longer be sent is not."""
    with line(service, name) as secured:
        with suppress(OSError):
            for part in parts:
                secured.sendall(part)
        return hear(secured)


def get(path: str, *headers: str) -> bytes:
    """A request without a body."""
    more = "".join(f"{one}\r\n" for one in headers)
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


def post(path: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A request with one."""
    more = "".join(f"{one}\r\n" for one in headers)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


def ask_body(*names: str, environment: str = "production", **more: object) -> bytes:
    """The body that asks for signatures of some files."""
    items = [{"line": one.line.decode()} for one in wanted(names or ("f",), environment)]
    return json.dumps({"key": "release", "items": items, **more}).encode()


def eventually(look: Callable[[], T | None]) -> T:
    """What is there sooner or later: a line is written after its answer."""
    for _ in range(400):
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def events(service: House) -> list[dict[str, Any]]:
    """The lines of its log, the access lines too where they go there."""
    return [json.loads(one) for one in (service.folder / "service.log").read_text().splitlines()]
