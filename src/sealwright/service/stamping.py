"""Timestamps of a signing service (RFC 3161): `POST /v1/timestamps`, a query in, a reply out, by a key of the home.

    [timestamps]                             # of service.toml; without it there is no such resource
    key = "timestamp"                        # of the home, else its only one for timestamps
    pin_file = "timestamp.pin"               # or "credential:NAME"
    time_sources = ["kernel", "sntp:ntp.plant.example"]      # else the kernel's word; ["none"] where a plant sets its clock by hand
    max_drift_s = 1                          # by which the clock may differ from them; tokens promise one second more
    head = "/var/lib/sealwright/timestamps"  # how far the journal went, remembered outside the home

1. Whoever is known to the service may ask, of whatever tenant: a token is over a digest and says nothing of who asked. A CI job shows the ticket
   of its request.
2. Everything about tokens is as in `serve tsa`: recorded in the home's journal before they leave, none while the clock cannot be shown to be right
   (`signing/timestamping.py`). A rejection is RFC 3161's, with status 200; what is no query is a problem as everywhere here.
3. Signing goes on where no token is made: `/health` warns, and `sealwright_timestamps_up` is 0.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.openapi.spec import (
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)

from sealwright.artifact.section import Section
from sealwright.envelope.tsp import purpose_problem
from sealwright.errors import KeyRefused, KeyUnavailable, UsageError
from sealwright.keys.health import WatchedKey
from sealwright.pki.clocks import ClockWatch, parse_source
from sealwright.pki.timestamp import ANSWER_TYPE, REQUEST_TYPE, LocalAuthority
from sealwright.service.server import Log, Resource
from sealwright.service.timestamps import MAX_QUERY_BYTES, stamped, timestamp_routes
from sealwright.signing.home import TIMESTAMPS, EnrolledKey, Home, KeyPurpose
from sealwright.signing.people import Principal
from sealwright.signing.standing import StandingWatch, check_standing
from sealwright.signing.timestamping import TimestampDesk, check_head

PATH = "/v1/timestamps"
NO_SOURCE = ("none",)


@dataclass(frozen=True, slots=True)
class TimestampsEntry:
    """What `[timestamps]` says. key: of the home, "" for its only one; pin_file, head: "" for none; time_sources: () for none."""

    key: str = ""
    pin_file: str = ""
    time_sources: tuple[str, ...] = ()
    max_drift_s: int = 1
    head: str = ""


@dataclass(frozen=True, slots=True)
class Stamped:
    """How it goes. problem: why no token is made now, "" where they are; warning: what does not stop it; issued: since the start."""

    problem: str
    warning: str
    issued: int


def read_timestamps(top: Section, place: Callable[[Section, str, str], str]) -> TimestampsEntry | None:
    """The table, None where there is none; MalformedConfiguration. place: the path of a key of a section."""
    if not top.has("timestamps"):
        return None
    section = top.table("timestamps")
    sources = section.texts("time_sources") or ("kernel",)
    if "none" in sources and sources != NO_SOURCE:
        raise section.wrong("time_sources", 'sources, or ["none"] alone')
    found = TimestampsEntry(
        key=section.text("key", ""),
        pin_file=place(section, "pin_file", ""),
        time_sources=() if sources == NO_SOURCE else sources,
        max_drift_s=section.number("max_drift_s", 1, 1),
        head=place(section, "head", ""),
    )
    section.done()
    for source in found.time_sources:
        try:
            parse_source(source)
        except UsageError as cause:
            raise section.wrong("time_sources", f"sources of time: {cause.what}") from cause
    return found


def timestamp_key(home: Home, entry: TimestampsEntry) -> EnrolledKey:
    """The enrolled key; UsageError where the home has none, KeyRefused for one whose certificate is for other things too."""
    enrolled = home.key(entry.key or None, KeyPurpose.TIMESTAMP)
    if problem := purpose_problem(enrolled.certificate):
        raise KeyRefused(f"key {enrolled.name}", problem, "Enrol one with a certificate for timestamps alone.")
    return enrolled


class StampingRoom:
    """The authority of a service; it makes tokens while `kept`. key: is closed with its desk, or with the service where none was opened."""

    def __init__(self, home: Home, enrolled: EnrolledKey, key: WatchedKey, entry: TimestampsEntry, log: Log) -> None:
        self._watch = ClockWatch(
            [parse_source(one) for one in entry.time_sources], max_drift_s=float(entry.max_drift_s)
        )
        check_standing(home, enrolled, self._watch.now())
        check_head(home.path(TIMESTAMPS), entry.head or None)
        self._home, self._enrolled, self._entry, self._log = home, enrolled, entry, log
        self._desk: TimestampDesk | None = None
        accuracy = timedelta(seconds=entry.max_drift_s + 1)  # genTime is cut to its second
        self._authority = LocalAuthority(enrolled.certificate, enrolled.chain, key, self._watch.now, accuracy=accuracy)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Make tokens until the end of the block."""
        routes: dict[str, Resource] = {}
        async with timestamp_routes(self._authority, self._watch, self._opened, routes, self._log) as desk:
            self._desk = desk
            try:
                yield
            finally:
                self._desk = None

    async def reply(self, query: bytes) -> bytes:
        """The answer of RFC 3161; KeyUnavailable before the service serves, and while it ends."""
        if self._desk is None:
            raise KeyUnavailable("timestamps", "it is starting or closing", "Ask again in a moment.")
        return (await stamped(self._authority, self._desk, query)).body

    def state(self) -> Stamped:
        """How it goes; never waits."""
        desk = self._desk
        if desk is None:
            return Stamped("it is starting or closing", "", 0)
        report = desk.report()
        return Stamped(self._watch.problem() or report.problem, report.warning, report.issued)

    def close(self) -> None:
        """Give the key back. Closing twice is fine."""
        self._authority.key.close()

    def _opened(self, deliver: Callable[[Callable[[], None]], None]) -> TimestampDesk:
        home, enrolled = self._home, self._enrolled
        return TimestampDesk(
            home.path(TIMESTAMPS),
            self._authority,
            self._watch,
            str(enrolled.digest),
            deliver=deliver,
            head=self._entry.head or None,
            standing=StandingWatch(home, enrolled).problem,
        )


@dataclass
class _Described(Operation):
    """What OpenAPI says of it: octets in and out, which Litestar cannot see."""

    def __post_init__(self) -> None:
        octets = OpenAPIMediaType(Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
        self.request_body = RequestBody({REQUEST_TYPE: octets}, "A TimeStampReq, DER", required=True)
        self.responses = {
            "200": OpenAPIResponse("A TimeStampResp, DER: a token, or a rejection", content={ANSWER_TYPE: octets})
        }


@post(
    PATH,
    status_code=200,
    summary="Have a timestamp made (RFC 3161)",
    request_max_body_size=MAX_QUERY_BYTES,
    operation_class=_Described,
)
async def timestamps(
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],  # noqa: ARG001 - whoever is known here may ask
    stamping: NamedDependency[StampingRoom],
) -> Response[bytes]:
    """A token over the digest of the query, or a rejection that says why not."""
    if request.content_type[0] != REQUEST_TYPE:
        raise ClientException(f"a query is {REQUEST_TYPE}", status_code=415)
    return Response(await stamping.reply(await request.body()), media_type=ANSWER_TYPE)
