"""OCSP over HTTP: GET and POST (RFC 6960 appendix A, RFC 5019 sections 5 and 6), and the lists and certificates beside it.

    POST /ocsp, POST /          a request in DER, application/ocsp-request
    GET  /ocsp/BASE64, /BASE64  the same in the path, for caches in between
    GET  /crl/NAME.crl          the newest revocation list
    GET  /ca/NAME.cer           the authority's certificate

An answer with a nonce, an error and an answer about a serial that was never issued say `no-store`; every other one carries
RFC 5019's headers. A cache may keep it for an hour, not for its whole time: after a revocation no plant should wait longer.
Keys sign in a thread of their own, what waits meanwhile in one go; above a bound the answer is `tryLater`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from sealwright.envelope.ocsp import MAX_REQUEST_BYTES, ResponseStatus
from sealwright.errors import SealwrightError
from sealwright.keys.key import OpenKey
from sealwright.pki.ocsp import Answer, Responder, Unsigned, busy, failed
from sealwright.service.published import Publications

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

REQUEST_TYPE, RESPONSE_TYPE = b"application/ocsp-request", b"application/ocsp-response"
MAX_PATH_BYTES = 2048
MAX_CACHED = timedelta(hours=1)
MAX_WAITING = 1024
MAX_BATCH = 64
BODY_TIMEOUT_S = 10.0
_NOT_KEPT: Headers = [(b"cache-control", b"no-store")]


class OcspApp:
    """The ASGI application. clock: asked at each request; note: told of what an operator should mend."""

    def __init__(
        self,
        responder: Responder,
        publications: Publications,
        clock: Callable[[], datetime],
        note: Callable[[str], None],
    ) -> None:
        self._responder = responder
        self._publications = publications
        self._clock = clock
        self._note = note
        self._queues: dict[int, _Queue] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        method: str = scope["method"]
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        if len(raw) > MAX_PATH_BYTES:
            await _plain(send, 414, "the path is too long; send it by POST")
        elif method == "POST" and raw in (b"/ocsp", b"/ocsp/", b"/"):
            await self._post(scope, receive, send)
        elif method not in ("GET", "HEAD"):
            await _plain(send, 405, "GET, HEAD and POST are answered here", [(b"allow", b"GET, HEAD, POST")])
        elif raw.startswith((b"/crl/", b"/ca/")):
            await self._file(raw, scope, send)
        elif raw.startswith((b"/ocsp/", b"/M")):  # every request in DER begins with M in base64
            await self._answer(_decoded(raw.removeprefix(b"/ocsp").removeprefix(b"/")), scope, send)
        else:
            await _plain(send, 404, "there is nothing here; OCSP is at /ocsp")

    async def close(self) -> None:
        """Wait for what is being signed."""
        for queue in self._queues.values():
            queue.close()

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != REQUEST_TYPE:
            await _plain(send, 415, f"send {REQUEST_TYPE.decode()}")
            return
        body = await _body(receive)
        if body is None:
            await _plain(send, 413, f"a request has at most {MAX_REQUEST_BYTES} bytes", [(b"connection", b"close")])
            return
        await self._answer(body, scope, send)

    async def _answer(self, request: bytes, scope: Scope, send: Send) -> None:
        now = self._clock()
        planned = self._responder.plan(request, now)
        if isinstance(planned, Unsigned):
            planned = await self._signed(planned)
        if planned.status in (ResponseStatus.INTERNAL_ERROR, ResponseStatus.TRY_LATER):
            self._note(planned.why)
        fresh = planned.fresh
        kind = (b"content-type", RESPONSE_TYPE)
        if fresh is None:
            await _send(send, scope, 200, [kind, *_NOT_KEPT], planned.body)
            return
        kept = _caching(fresh.etag, fresh.this_update, fresh.next_update, now)
        await _conditional(send, scope, kind, kept, fresh.etag, fresh.this_update, planned.body)

    async def _signed(self, unsigned: Unsigned) -> Answer:
        key = unsigned.signer.key
        queue = self._queues.get(id(key))
        if queue is None:
            queue = self._queues[id(key)] = _Queue(key)
        try:
            value = await queue.sign(unsigned)
        except SealwrightError as cause:
            return failed(cause)
        return busy() if value is None else self._responder.finish(unsigned, value)

    async def _file(self, raw: bytes, scope: Scope, send: Send) -> None:
        path = raw.decode("latin-1")
        found = None
        try:
            if path.startswith("/crl/") and path.endswith(".crl"):
                found = self._publications.crl(path[len("/crl/") : -len(".crl")])
            elif path.startswith("/ca/") and path.endswith(".cer"):
                found = self._publications.certificate(path[len("/ca/") : -len(".cer")])
        except SealwrightError as cause:
            self._note(str(cause))
            await _plain(send, 503, "the list cannot be read now")
            return
        if found is None:
            await _plain(send, 404, "there is no list or certificate of that name")
            return
        kept = _caching(found.etag, found.made, found.until, self._clock())
        await _conditional(send, scope, (b"content-type", found.type), kept, found.etag, found.made, found.body)


class _Queue:
    """What waits for one key; signed in batches by one thread, because a token is slower than the loop."""

    def __init__(self, key: OpenKey) -> None:
        self._key = key
        self._thread = ThreadPoolExecutor(1, "ocsp-key")
        self._waiting: list[tuple[Unsigned, asyncio.Future[bytes]]] = []
        self._task: asyncio.Task[None] | None = None

    async def sign(self, unsigned: Unsigned) -> bytes | None:
        """The signature value; None where too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            return None
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((unsigned, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                try:
                    await self._sign(batch)
                finally:
                    for _, done in batch:
                        done.cancel()  # does nothing to what is done
        finally:
            self._task = None

    async def _sign(self, batch: list[tuple[Unsigned, asyncio.Future[bytes]]]) -> None:
        asked = [unsigned.to_be_signed for unsigned, _ in batch]
        try:
            values = await asyncio.get_running_loop().run_in_executor(self._thread, self._key.sign, asked)
        except SealwrightError as cause:
            for _, done in batch:
                if not done.done():  # else whoever asked is gone
                    done.set_exception(cause)
            return
        for (_, done), value in zip(batch, values, strict=True):
            if not done.done():
                done.set_result(value)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _decoded(path: bytes) -> bytes:
    """The request in a path; b"", which is malformed, where it is no base64."""
    try:
        return base64.b64decode(unquote_to_bytes(path), validate=True)
    except binascii.Error:
        return b""


async def _body(receive: Receive) -> bytes | None:
    """The body; None where it is too large or does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > MAX_REQUEST_BYTES:
                    return None
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return None


def _caching(etag: str, made: datetime | None, until: datetime | None, now: datetime) -> Headers:
    """RFC 5019 section 6.2, with a max-age of at most an hour."""
    left = MAX_CACHED if until is None else min(MAX_CACHED, until - now)
    headers = [(b"etag", b'"' + etag.encode() + b'"')]
    if made is not None:
        headers.append((b"last-modified", _http_date(made)))
    if until is not None:
        headers.append((b"expires", _http_date(until)))
    if left <= timedelta(0):
        return [*headers, (b"cache-control", b"no-cache, no-transform")]
    seconds = int(left.total_seconds())
    return [*headers, (b"cache-control", b"max-age=%d, public, no-transform, must-revalidate" % seconds)]


async def _conditional(
    send: Send,
    scope: Scope,
    kind: tuple[bytes, bytes],
    kept: Headers,
    etag: str,
    made: datetime | None,
    body: bytes,
) -> None:
    """304 where the client has it already (RFC 9110 section 13.1)."""
    headers = dict(scope["headers"])
    if scope["method"] in ("GET", "HEAD") and _has_it(headers, etag, made):
        await _send(send, scope, 304, kept, b"")
    else:
        await _send(send, scope, 200, [kind, *kept], body)


def _has_it(headers: dict[bytes, bytes], etag: str, made: datetime | None) -> bool:
    wanted = headers.get(b"if-none-match")
    if wanted is not None:
        tags = [tag.strip().removeprefix(b"W/") for tag in wanted[:1024].split(b",")]
        return b"*" in tags or b'"' + etag.encode() + b'"' in tags
    since = headers.get(b"if-modified-since")
    if since is None or made is None:
        return False
    try:
        time = parsedate_to_datetime(since.decode("latin-1"))
    except ValueError:
        return False
    return time.tzinfo is not None and made.replace(microsecond=0) <= time


async def _plain(send: Send, status: int, words: str, more: Headers | None = None) -> None:
    body = words.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *_NOT_KEPT]
    await send({"type": "http.response.start", "status": status, "headers": headers + (more or [])})
    await send({"type": "http.response.body", "body": body})


async def _send(send: Send, scope: Scope, status: int, headers: Headers, body: bytes) -> None:
    size = [] if status == 304 else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *size]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _http_date(time: datetime) -> bytes:
    return format_datetime(time.astimezone(UTC), usegmt=True).encode()
