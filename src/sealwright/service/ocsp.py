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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import unquote_to_bytes

from sealwright.envelope.ocsp import MAX_REQUEST_BYTES, ResponseStatus
from sealwright.errors import SealwrightError
from sealwright.keys.key import OpenKey
from sealwright.pki.ocsp import Answer as OcspAnswer
from sealwright.pki.ocsp import Responder, Unsigned, busy, failed
from sealwright.service.published import Publications, Published
from sealwright.service.server import Answer, Request, Resource, plain

REQUEST_TYPE, RESPONSE_TYPE = "application/ocsp-request", "application/ocsp-response"
MAX_PATH_BYTES = 2048
MAX_CACHED = timedelta(hours=1)
MAX_WAITING = 1024
MAX_BATCH = 64
RENEW_BEFORE = timedelta(days=14)
Header = tuple[bytes, bytes]
Clock = Callable[[], datetime]
Note = Callable[[str], None]
_NOT_KEPT: Header = (b"cache-control", b"no-store")


def routes(responder: Responder, publications: Publications, clock: Clock, note: Note) -> dict[str, Resource]:
    """What `serve` wants. clock: asked at each request; note: told of what an operator should mend."""
    answers = OcspResource(responder, clock, note)
    return {
        "/ocsp": answers,
        "/ocsp/": answers,
        "/": answers,
        "/crl/": FileResource(publications.crl, b".crl", clock, note),
        "/ca/": FileResource(publications.certificate, b".cer", clock, note),
    }


class OcspResource:
    """The responder behind GET and POST."""

    methods = ("GET", "POST")
    types = (REQUEST_TYPE,)
    max_body = MAX_REQUEST_BYTES

    def __init__(self, responder: Responder, clock: Clock, note: Note) -> None:
        self._responder = responder
        self._clock = clock
        self._note = note
        self._queues: dict[int, _Queue] = {}
        self._warned: datetime | None = None

    async def answer(self, request: Request) -> Answer:
        """An OCSPResponse, or an HTTP error where nobody asked for one."""
        if request.method == "POST":
            if request.path not in ("/", "/ocsp", "/ocsp/"):
                return plain(404, "send requests to /ocsp", _NOT_KEPT)
            asked = request.body
        elif len(request.tail) > MAX_PATH_BYTES:
            return plain(414, "the path is too long; send it by POST", _NOT_KEPT)
        elif not request.path.startswith("/ocsp/") and not request.tail.startswith(b"M"):
            # what is no request at all: each in DER begins with M in base64
            return plain(404, "there is nothing here; OCSP is at /ocsp", _NOT_KEPT)
        else:
            asked = _decoded(request.tail)
        now = self._clock()
        self._warn(now)
        said = self._responder.plan(asked, now)
        if isinstance(said, Unsigned):
            said = await self._signed(said)
        if said.status in (ResponseStatus.INTERNAL_ERROR, ResponseStatus.TRY_LATER):
            self._note(said.why)
        fresh = said.fresh
        if fresh is None:
            return Answer(200, said.body, RESPONSE_TYPE, (_NOT_KEPT,))
        kept = _caching(fresh.etag, fresh.this_update, fresh.next_update, now)
        return _conditional(request, Answer(200, said.body, RESPONSE_TYPE, kept), fresh.etag, fresh.this_update)

    def _warn(self, now: datetime) -> None:
        """Once a day, while a responder's certificate is about to end."""
        if self._warned is not None and timedelta(0) <= now - self._warned < timedelta(days=1):
            return
        self._warned = now
        for until in (one.signer.not_after for one in self._responder.served):
            if now > until - RENEW_BEFORE:
                self._note(f"the responder's certificate ends on {until:%Y-%m-%d}: renew it, then start it again")

    async def _signed(self, unsigned: Unsigned) -> OcspAnswer:
        key = unsigned.signer.key
        queue = self._queues.get(id(key))
        if queue is None:
            queue = self._queues[id(key)] = _Queue(key)
        try:
            value = await queue.sign(unsigned)
        except SealwrightError as cause:
            return failed(cause)
        return busy() if value is None else self._responder.finish(unsigned, value)


class FileResource:
    """Lists, or certificates, by name. find: the file of a name, None where there is none."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, find: Callable[[str], Published | None], ending: bytes, clock: Clock, note: Note) -> None:
        self._find = find
        self._ending = ending
        self._clock = clock
        self._note = note

    async def answer(self, request: Request) -> Answer:
        """The file, or 404."""
        found = None
        if request.tail.endswith(self._ending):
            try:
                found = self._find(request.tail.removesuffix(self._ending).decode("latin-1"))
            except SealwrightError as cause:
                self._note(str(cause))
                return plain(503, "it cannot be read now", _NOT_KEPT)
        if found is None:
            return plain(404, "there is nothing of that name", _NOT_KEPT)
        kept = _caching(found.etag, found.made, found.until, self._clock())
        return _conditional(request, Answer(200, found.body, found.type, kept), found.etag, found.made)


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


def _decoded(path: bytes) -> bytes:
    """The request in a path; b"", which is malformed, where it is no base64."""
    try:
        return base64.b64decode(unquote_to_bytes(path), validate=True)
    except binascii.Error:
        return b""


def _caching(etag: str, made: datetime | None, until: datetime | None, now: datetime) -> tuple[Header, ...]:
    """RFC 5019 section 6.2, with a max-age of at most an hour."""
    left = MAX_CACHED if until is None else min(MAX_CACHED, until - now)
    headers = [(b"etag", b'"' + etag.encode() + b'"')]
    if made is not None:
        headers.append((b"last-modified", _http_date(made)))
    if until is not None:
        headers.append((b"expires", _http_date(until)))
    if left <= timedelta(0):
        return (*headers, (b"cache-control", b"no-cache, no-transform"))
    seconds = int(left.total_seconds())
    return (*headers, (b"cache-control", b"max-age=%d, public, no-transform, must-revalidate" % seconds))


def _conditional(request: Request, whole: Answer, etag: str, made: datetime | None) -> Answer:
    """304 where the client has it already (RFC 9110 section 13.1)."""
    if request.method == "POST" or not _has_it(request, etag, made):
        return whole
    return Answer(304, b"", whole.type, whole.headers)


def _has_it(request: Request, etag: str, made: datetime | None) -> bool:
    wanted = request.header(b"if-none-match")
    if wanted:
        tags = [tag.strip().removeprefix(b"W/") for tag in wanted[:1024].split(b",")]
        return b"*" in tags or b'"' + etag.encode() + b'"' in tags
    since = request.header(b"if-modified-since")
    if not since or made is None:
        return False
    try:
        time = parsedate_to_datetime(since.decode("latin-1"))
    except ValueError:
        return False
    return time.tzinfo is not None and made.replace(microsecond=0) <= time


def _http_date(time: datetime) -> bytes:
    return format_datetime(time.astimezone(UTC), usegmt=True).encode()
