"""An ASGI application on a port of this machine, for as long as a test needs it, and an HTTP client that shows everything."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import uvicorn

from sealwright.pki.ocsp import Responder
from sealwright.service.ocsp import routes
from sealwright.service.published import Publications
from sealwright.service.server import application, no_log


@dataclass(frozen=True)
class Said:
    """An HTTP answer; headers by small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """The port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, lifespan="off", log_level="critical", server_header=False, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            if time.monotonic() > until or not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Said:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def ocsp_app(
    responder: Responder, offered: Publications, clock: Callable[[], datetime], note: Callable[[str], None]
) -> Any:
    """OCSP and what is beside it as an ASGI application."""
    return application(routes(responder, offered, clock, note), no_log, no_log)
