"""The log's own files over HTTP, as any client of C2SP tlog-tiles asks for them: `/log/checkpoint`, `/log/tile/L/N`, `/log/tile/entries/N`.

    Router("/log", [published_checkpoint, tile])        in `api.py`

1. What a tile holds never changes: it may be kept for ever. The checkpoint may be kept for seconds.
2. Any width of a tile that the log has grown past is served, also beside the full one, so that a client with an older checkpoint goes on.
3. Where witnesses are configured, the checkpoint is the newest one that enough of them have cosigned; before there is one, there is none
   (503), so that what is shown never goes back.
4. No name is in the log. Whether everybody may read it is the operator's word; otherwise policies say who may, and for others it is
   not there (A121).
5. Of many who read at once a few are served, so that signing has the database and the processors too.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from sealwright.errors import StoreUnavailable
from sealwright.log.reader import LogReader
from sealwright.log.tiles import CHECKPOINT, TileName, encode_bundle, parse_path, width_in
from sealwright.log.tree import WIDTH
from sealwright.service.edge import WHO
from sealwright.service.identity import Door
from sealwright.service.publishing import Publishing
from sealwright.signing.people import Principal
from sealwright.signing.policyquestion import Action, Context, Question, Subject
from sealwright.signing.requests import Requests

PREFIX = "/log"
AT_ONCE = 4
CHECKPOINT_AGE_S = 5
TILE_AGE_S = 31_536_000
_BYTES = "application/octet-stream"


class LogPages:
    """What is published of one log, to whom. cosigned: whether a checkpoint needs witnesses before it is shown."""

    def __init__(self, requests: Requests, door: Door, publishing: Publishing) -> None:
        self.reader: LogReader = requests.writer.reader
        self.cosigned = publishing.cosignatures > 0
        self.public = publishing.public_log
        self._requests = requests
        self._door = door
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._size = 0  # that the log has at least

    async def enter(self, request: Request[Any, Any, Any]) -> None:
        """Unidentified, or NotFoundException for who may not read the log."""
        if not self.public:
            known = request.scope["state"].get(WHO)  # who brought a body was asked before
            who = known or await self._door.enter(request.scope, self._requests.clock())
            await asyncio.to_thread(self.must_read, who)

    def must_read(self, who: Principal) -> None:
        """NotFoundException unless policies allow it. Their answer is about the caller's own tenant: the log is all tenants'."""
        now = self._requests.clock()
        question = Question(who, Action.READ_LOG, Subject(who.tenant), Context(now))
        if not self._requests.policies().decide(question).allowed:
            raise NotFoundException

    async def checkpoint(self) -> str:
        """The published checkpoint; StoreUnavailable where witnesses have yet to cosign the first one."""
        async with self._turns:
            return await asyncio.to_thread(self._published)

    async def tile(self, name: TileName) -> bytes | None:
        """A tile or bundle as it lies in an export; None where the log has not grown so far. Raises LogRefused."""
        async with self._turns:
            return await asyncio.to_thread(self._tile, name)

    def _published(self) -> str:
        if not self.cosigned:
            return self.reader.head().note
        found = self.reader.cosigned()
        if found is None:
            raise StoreUnavailable("checkpoint", "not enough witnesses have cosigned one yet", "Ask again later.")
        return found

    def _tile(self, name: TileName) -> bytes | None:
        if name.width > width_in(self._size, name.level, name.number):
            self._size = self.reader.head().size
        if name.width > width_in(self._size, name.level, name.number):
            return None
        if name.level is None:
            return encode_bundle(self.reader.entries(name.number * WIDTH, name.width))
        return b"".join(self.reader.tile(name.level, name.number)[: name.width])


@get("/checkpoint", summary="The log's published checkpoint", media_type=MediaType.TEXT)
async def published_checkpoint(request: Request[Any, Any, Any], pages: NamedDependency[LogPages]) -> Response[str]:
    """A signed note (C2SP tlog-checkpoint), with the lines of witnesses."""
    await pages.enter(request)
    if request.scope["raw_path"] != f"{PREFIX}/{CHECKPOINT}".encode():
        raise NotFoundException  # in another spelling
    return Response(await pages.checkpoint(), headers={"cache-control": _cache(pages, CHECKPOINT_AGE_S, "")})


@get("/tile/{rest:path}", summary="A tile or an entry bundle of the log")
async def tile(
    request: Request[Any, Any, Any],
    pages: NamedDependency[LogPages],
    rest: FromPath[str],  # noqa: ARG001 - read from the path as sent
) -> Response[bytes]:
    """Octets as C2SP tlog-tiles says; entry bundles compressed for who accepts gzip."""
    await pages.enter(request)
    try:
        name = parse_path(request.scope["raw_path"].decode("ascii").removeprefix(f"{PREFIX}/"))
    except ValueError as cause:
        raise NotFoundException from cause
    body = await pages.tile(name)
    if body is None:
        raise NotFoundException
    headers = {"cache-control": _cache(pages, TILE_AGE_S, ", immutable")}
    if name.level is None:
        headers["vary"] = "accept-encoding"
        if _accepts_gzip(request.headers.get("accept-encoding", "")):
            headers["content-encoding"] = "gzip"
            body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0)
    return Response(body, media_type=_BYTES, headers=headers)


def _cache(pages: LogPages, age_s: int, more: str) -> str:
    return f"{'public' if pages.public else 'private'}, max-age={age_s}{more}"


def _accepts_gzip(said: str) -> bool:
    """By Accept-Encoding (RFC 9110 section 12.5.3): only where it is named, and not with a weight of zero."""
    for one in said.lower().split(","):
        coding, _, weight = one.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
