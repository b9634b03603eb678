"""Conditional requests (RFC 9110 section 13) over an ASGI application: whoever has the answer already gets 304 and no body.

    app = conditional(app)

Each whole answer to a GET gets a strong ETag of its octets, unless it brings one of its own; a compressed one has other octets, and so
another tag. Nothing is saved by it but the way: the answer is made, and access is judged, each time. An answer that does not say how
long it may be kept is the caller's own, and asked for again each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Message,
    Receive,
    Scope,
    Send,
)

_LONGEST = 4096
_OF_304 = frozenset((b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"))
_Headers = list[tuple[bytes, bytes]]


def conditional(app: ASGIApp) -> ASGIApp:
    """The application, answering If-None-Match."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        headers: _Headers | None = None
        body: list[bytes] = []

        async def sending(message: Message) -> None:
            nonlocal headers
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = list(message["headers"])
            elif message["type"] == "http.response.body" and headers is not None:
                body.append(message["body"])
                if not message["more_body"]:
                    await _whole(scope["headers"], headers, b"".join(body), send)
            else:
                await send(message)

        await app(scope, receive, sending)

    return answering


async def _whole(asked: Iterable[tuple[bytes, bytes]], headers: _Headers, body: bytes, send: Send) -> None:
    names = {name.lower(): value for name, value in headers}
    tag = names.get(b"etag") or b'"%s"' % sha256(body).hexdigest()[:32].encode()
    if b"etag" not in names:
        headers.append((b"etag", tag))
    if b"cache-control" not in names:
        headers.append((b"cache-control", b"private, no-cache"))
    wanted = b",".join(value for name, value in asked if name.lower() == b"if-none-match")
    status = 304 if _matches(wanted, tag) else 200
    if status == 304:
        headers, body = [one for one in headers if one[0].lower() in _OF_304], b""
    await send(HTTPResponseStartEvent(type="http.response.start", status=status, headers=headers))
    await send(HTTPResponseBodyEvent(type="http.response.body", body=body, more_body=False))


def _matches(wanted: bytes, tag: bytes) -> bool:
    """Weak comparison, as If-None-Match wants (section 13.1.2). Tags of ours have no comma in them."""
    if len(wanted) > _LONGEST:
        return False
    named = {one.strip().removeprefix(b"W/") for one in wanted.split(b",")}
    return b"*" in named or tag.removeprefix(b"W/") in named
