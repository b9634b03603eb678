"""The seam under every HTTP resource: a routing table on uvicorn (httptools), with bounds, deadlines and an access line.

    class Hello:
        methods = ("GET",)
        types = ()                # content types of a POST; () where there is no body
        max_body = 0
        async def answer(self, request: Request) -> Answer:
            return Answer(200, b"hello\\n", "text/plain")

    asyncio.run(serve({"/hello": Hello()}, parse_listen("127.0.0.1:0"), announce=print))

1. A path leads to one resource: the exact one, else the longest that ends in `/` and begins the path.
2. Wrong path 404, method 405 (with Allow), content type 415, body beyond the resource's limit 413, head beyond the limit 431.
3. What a connection may cost before it asks, and how long asking may take, is in `connections.py`.
4. A resource that raises is a 500 with one line in the log; the client never sees why.
5. SIGTERM and SIGINT stop listening, finish what was begun (`stop_s` at most), leave the context managers, and return.

Without `tls` there is none: what timestamp and OCSP services say is signed, and a front end (or a unix socket) adds it where a plant wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sealwright.errors import Unreadable, UsageError
from sealwright.service.connections import Limits, TlsListener, bounded, cut_late_ones, make_room

MAX_SHOWN = 200
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. path: decoded; tail: what follows a resource's path that ends in `/`, not decoded; type: without parameters."""

    method: str
    path: str
    tail: bytes
    query: bytes
    headers: Headers
    body: bytes
    type: str
    client: str

    def header(self, name: bytes) -> bytes:
        """The first header of that name (lower case), b"" where there is none."""
        return next((value for one, value in self.headers if one == name), b"")


@dataclass(frozen=True, slots=True)
class Answer:
    """note: what the access line tells beside the status, such as a serial number."""

    status: int
    body: bytes
    type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    note: Mapping[str, str | int] = field(default_factory=dict)


class Resource(Protocol):
    """What is behind one path. methods: GET answers HEAD too; types: of the body of a POST; max_body: octets."""

    @property
    def methods(self) -> tuple[str, ...]: ...

    @property
    def types(self) -> tuple[str, ...]: ...

    @property
    def max_body(self) -> int: ...

    async def answer(self, request: Request) -> Answer:
        """The answer; what it raises becomes a 500."""
        ...


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: host and port (0: any free one), or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""


Log = Callable[[Mapping[str, object]], None]


def parse_listen(text: str) -> Listen:
    """`HOST:PORT`, `[::1]:PORT` or `unix:PATH`; UsageError for anything else."""
    if text.startswith("unix:") and len(text) > 5:
        return Listen(path=text[5:])
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit() and int(port) < 65536:
        if host.startswith("[") and host.endswith("]"):
            return Listen(host[1:-1], int(port))
        if host and ":" not in host:
            return Listen(host, int(port))
    raise UsageError(text[:80], "it is no address to listen on", "Write HOST:PORT, [IPv6]:PORT or unix:PATH.")


def json_log(stream: TextIO | None = None) -> Log:
    """One JSON object a line; a log that cannot be written stops no service."""

    def log(fields: Mapping[str, object]) -> None:
        line = json.dumps({"time": _now(), **fields}, ensure_ascii=True)
        with contextlib.suppress(OSError, ValueError):
            (stream or sys.stderr).write(line + "\n")
            (stream or sys.stderr).flush()

    return log


def no_log(_: Mapping[str, object]) -> None:
    """Nothing is logged."""


async def serve(
    routes: Mapping[str, Resource],
    listen: Listen,
    *,
    announce: Callable[[str], None],
    access: Log = no_log,
    log: Log = no_log,
    limits: Limits | None = None,
    around: Sequence[AbstractAsyncContextManager[object]] = (),
) -> None:
    """Serve a routing table until SIGTERM or SIGINT. announce: gets the bound address once connections are taken.

    around: entered in this order before the first connection, left in reverse after the last answer.
    """
    app = application(routes, access, log)
    await serve_application(app, listen, announce=announce, limits=limits, around=around)


class Tls(Protocol):
    """What gives connections their TLS (`tls.py`)."""

    context: ssl.SSLContext

    def protocol(self, base: type[HttpToolsProtocol]) -> type[HttpToolsProtocol]:
        """uvicorn's protocol, which tells the application who connected."""
        ...


async def serve_application(
    app: Callable[..., Any],
    listen: Listen,
    *,
    announce: Callable[[str], None],
    limits: Limits | None = None,
    around: Sequence[AbstractAsyncContextManager[object]] = (),
    tls: Tls | None = None,
) -> None:
    """The same for an ASGI application, and over TLS where it is given."""
    bounds = limits or Limits()
    protocol = bounded(bounds)
    async with AsyncExitStack() as stack:
        for one in around:
            await stack.enter_async_context(one)
        bound = _bind(listen)
        config = _configuration(app, protocol if tls is None else tls.protocol(protocol), bounds)
        make_room(bounds)
        server = _Quiet(config) if tls is None else _OverTls(config, tls.context, bounds)
        sweeper = asyncio.create_task(cut_late_ones(server, bounds))
        announcer = asyncio.create_task(_announce(server, announce, _address(bound, listen, tls=tls is not None)))
        try:
            await server.serve([bound])
        finally:
            for task in (sweeper, announcer):
                task.cancel()
            bound.close()
            if listen.path:
                with contextlib.suppress(OSError):
                    os.unlink(listen.path)


@asynccontextmanager
async def beside(routes: Mapping[str, Resource], listen: Listen, log: Log = no_log) -> AsyncIterator[str]:
    """Another listener of the same process, for as long as the block lasts, whose signals are the block's: its bound address."""
    async with application_beside(application(routes, no_log, log), listen, Limits(connections=32)) as address:
        yield address


@asynccontextmanager
async def application_beside(app: Callable[..., Any], listen: Listen, bounds: Limits) -> AsyncIterator[str]:
    """The same for an ASGI application."""
    server = _Beside(_configuration(app, bounded(bounds), bounds))
    bound = _bind(listen)
    tasks = [asyncio.create_task(server.serve([bound])), asyncio.create_task(cut_late_ones(server, bounds))]
    try:
        yield _address(bound, listen, tls=False)
    finally:
        server.should_exit = True
        await tasks[0]
        tasks[1].cancel()
        bound.close()
        if listen.path:
            with contextlib.suppress(OSError):
                os.unlink(listen.path)


def _configuration(app: Callable[..., Any], protocol: type[HttpToolsProtocol], bounds: Limits) -> Config:
    return Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=bounds.idle_s,
        timeout_graceful_shutdown=bounds.stop_s,
    )


def application(routes: Mapping[str, Resource], access: Log, log: Log) -> Callable[..., Any]:
    """The ASGI application over a routing table."""
    folders = sorted((path for path in routes if path.endswith("/")), key=len, reverse=True)

    def find(path: str) -> tuple[Resource | None, str]:
        if path in routes:
            return routes[path], path
        at = next((one for one in folders if path.startswith(one)), "")
        return routes.get(at), at

    async def app(scope: Mapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        started = time.monotonic()
        resource, at = find(scope["path"])
        try:
            answer = _refusal(resource, scope) or await _answer(resource, at, scope, receive)
        except Exception as cause:  # noqa: BLE001 - the edge: whatever a resource raises is a 500 and a line
            log({"event": "failed", "path": scope["path"][:MAX_SHOWN], "why": f"{type(cause).__name__}: {cause}"[:500]})
            answer = plain(500, "internal error")
        if answer is None:
            return  # the client left
        headers = [
            (b"content-type", answer.type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
        ]
        if answer.status == 304:
            headers = list(answer.headers)  # RFC 9110 section 15.4.5: neither a type nor a length of what is not sent
        if answer.status in (413, 415, 500):  # octets that nobody will read may still come
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
        if access is not no_log:
            access(
                {
                    "client": _client(scope),
                    "method": scope["method"],
                    "path": scope["path"][:MAX_SHOWN],
                    "status": answer.status,
                    "bytes": len(answer.body),
                    "ms": round((time.monotonic() - started) * 1000, 1),
                    **answer.note,
                }
            )

    return app


def plain(status: int, text: str, *headers: tuple[bytes, bytes]) -> Answer:
    """A short answer for people."""
    return Answer(status, text.encode() + b"\n", "text/plain; charset=utf-8", headers)


def _refusal(resource: Resource | None, scope: Mapping[str, Any]) -> Answer | None:
    """404, 405, 415 or 413 by the head alone."""
    if resource is None:
        return plain(404, "there is no such resource")
    method = scope["method"]
    if method not in resource.methods and not (method == "HEAD" and "GET" in resource.methods):
        return plain(405, f"only {', '.join(resource.methods)}", (b"allow", ", ".join(resource.methods).encode()))
    if method == "POST" and resource.types and _type(scope["headers"]) not in resource.types:
        return plain(415, f"the body must be {' or '.join(resource.types)}")
    length = _header(scope["headers"], b"content-length")
    if length and int(length) > (resource.max_body if method not in ("GET", "HEAD") else 0):
        return plain(413, f"at most {resource.max_body} octets")
    return None


async def _answer(
    resource: Resource | None, at: str, scope: Mapping[str, Any], receive: Callable[..., Any]
) -> Answer | None:
    if resource is None:
        raise AssertionError("refused before")
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > resource.max_body:
            return plain(413, f"at most {resource.max_body} octets")
        if not message.get("more_body"):
            break
    return await resource.answer(
        Request(
            method=scope["method"],
            path=scope["path"],
            tail=scope["raw_path"][len(at.encode()) :] if at.endswith("/") else b"",
            query=scope["query_string"],
            headers=scope["headers"],
            body=body,
            type=_type(scope["headers"]),
            client=_client(scope),
        )
    )


class _Quiet(Server):
    """uvicorn's server that ends by a signal as by any other reason: without raising it again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        import logging

        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        loop, signals = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for one in signals:
            loop.add_signal_handler(one, self._stop)
        try:
            yield
        finally:
            for one in signals:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        self.should_exit = True


class _Beside(Server):
    """uvicorn's server that leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _OverTls(_Quiet):
    """The same with a listener of our own: uvicorn's sets no bound to handshakes."""

    def __init__(self, config: Config, context: ssl.SSLContext, limits: Limits) -> None:
        super().__init__(config)
        self._context = context
        self._limits = limits

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        for one in sockets or ():
            self.servers.append(TlsListener(one, self._context, self._protocol, self._limits))  # type: ignore[arg-type]

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


async def _announce(server: _Quiet, announce: Callable[[str], None], address: str) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    announce(address)


def _bind(listen: Listen) -> socket.socket:
    """A bound socket; a unix socket that nobody listens on any more is replaced."""
    where = listen.path or f"{listen.host}:{listen.port}"
    bound: socket.socket | None = None
    try:
        if listen.path:
            _remove_stale(listen.path)
            bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            mask = os.umask(0o117)
            try:
                bound.bind(listen.path)
            finally:
                os.umask(mask)
        else:
            family, kind, protocol, _, address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)[
                0
            ]
            bound = socket.socket(family, kind, protocol)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
    except (OSError, UnicodeError) as cause:
        if bound is not None:
            bound.close()
        why = cause.strerror if isinstance(cause, OSError) else "it is no host name"
        raise Unreadable(where, f"it cannot be listened on ({why})", "Name another address with --listen.") from cause
    bound.setblocking(False)
    return bound


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _address(bound: socket.socket, listen: Listen, *, tls: bool) -> str:
    if listen.path:
        return f"unix:{listen.path}"
    host, port = bound.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _type(headers: Headers) -> str:
    return _header(headers, b"content-type").partition(b";")[0].strip().lower().decode("latin-1")


def _header(headers: Headers, name: bytes) -> bytes:
    return next((value for one, value in headers if one == name), b"")


def _client(scope: Mapping[str, Any]) -> str:
    return str(scope["client"][0]) if scope.get("client") else "unix"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
