"""The resources of the fleet's service, by `server.py`: one where devices report, and those where people look.

    routes = resources(desk)             # for `application`, behind `fleetdoor.py`

`POST /v1/reports` takes reports from anybody: who they are by says their signature. `/fleet` and everything below `/v1/fleet/` is for people, by a role
(`fleetdoor.py`); it is read, never written. A question with a word that is not known is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from sealwright import __version__
from sealwright.artifact.names import display
from sealwright.artifact.report import is_device
from sealwright.device.reporting import SignedReport
from sealwright.device.reportsender import BODY_BYTES, PATH
from sealwright.errors import SealwrightError, StoreUnavailable, UsageError
from sealwright.service import fleethtml, fleetqueries
from sealwright.service.fleetconfig import MAX_HOURS
from sealwright.service.fleetintake import Answer as Become
from sealwright.service.fleetintake import Intake
from sealwright.service.fleetoffers import Offers
from sealwright.service.fleetqueries import MAX_MANIFESTS, Scope
from sealwright.service.fleetrollout import roll_out
from sealwright.service.fleettables import Used
from sealwright.service.fleetwire import GivenReports, Status, WireAnswer, WireAnswers
from sealwright.service.server import Answer, Log, Request, Resource, no_log
from sealwright.service.wire import Problem
from sealwright.store.engine import Store

JSON = "application/json"
PROBLEM = "application/problem+json"
PREFIX = "/v1/fleet/"
MAX_BODY = 2 * BODY_BYTES
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_GIVEN: msgspec.json.Decoder[GivenReports] = msgspec.json.Decoder(GivenReports)
_OF_PAGE = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", fleethtml.POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_ASK = "See docs/fleet.md for what can be asked."


@dataclass(frozen=True, slots=True)
class FleetDesk:
    """What the resources work with. silent_hours: unless the question says otherwise."""

    store: Store
    intake: Intake
    offers: Offers
    silent_hours: int
    clock: Callable[[], datetime]
    log: Log = no_log


class Question:
    """The words of a query, each taken once; what is left at the end is refused. UsageError for everything that is wrong."""

    def __init__(self, query: bytes) -> None:
        try:
            pairs = (
                parse_qsl(
                    query.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_MANIFESTS + 8
                )
                if query
                else []
            )
        except ValueError as cause:
            raise UsageError("query", "it is not NAME=VALUE&…", _ASK) from cause
        self._left: dict[str, list[str]] = {}
        for name, value in pairs:
            self._left.setdefault(name, []).append(value)

    def texts(self, name: str) -> list[str]:
        """What is said by that name, in order."""
        return self._left.pop(name, [])

    def text(self, name: str) -> str:
        """A printable text of at most 200 characters, "" where it is not said."""
        found = self.texts(name)
        if len(found) > 1 or (found and (len(found[0]) > 200 or display(found[0]) != found[0])):
            raise UsageError(name, "it is said twice, or is no printable text of at most 200 characters", _ASK)
        return found[0] if found else ""

    def number(self, name: str, most: int, default: int) -> int:
        """A whole number from 1."""
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
            raise UsageError(name, f"it is no whole number from 1 to {most}", _ASK)
        return int(text)

    def digests(self, name: str) -> tuple[str, ...]:
        """Digests, each `sha256:…`."""
        found = self.texts(name)
        if len(found) > MAX_MANIFESTS or not all(_DIGEST.fullmatch(one) for one in found):
            raise UsageError(
                name, f"it is not `sha256:` and 64 hexadecimal digits, at most {MAX_MANIFESTS} times", _ASK
            )
        return tuple(found)

    def after(self) -> str:
        """The id after which a page begins."""
        text = self.text("after")
        if text and not is_device(text):
            raise UsageError("after", "it is no id of a device", _ASK)
        return text

    def done(self) -> None:
        """Refuse what nobody asked for."""
        if self._left:
            raise UsageError(display(min(self._left))[:80], "nothing of that name can be asked here", _ASK)


class Reports:
    """Where devices, and couriers for them, report."""

    methods = ("POST",)
    types = (JSON,)
    max_body = MAX_BODY

    def __init__(self, desk: FleetDesk) -> None:
        self._desk = desk

    async def answer(self, request: Request) -> Answer:
        """What became of each; 403 where all are refused."""
        try:
            given = _GIVEN.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return problem(
                UsageError("body", "it is no list of reports", "Send it with `sealwright report send`."), 400
            )
        try:
            told = await self._desk.intake.take([SignedReport(one.report, one.signature) for one in given.reports])
        except StoreUnavailable as cause:
            return unavailable(self._desk, request, cause)
        body = msgspec.json.encode(WireAnswers([WireAnswer(one.answer.value, one.number) for one in told]))
        refused = sum(one.answer is Become.REFUSED for one in told)
        note = {"reports": len(told), "refused": refused}
        return Answer(403 if refused == len(told) else 200, body, JSON, note=note)


Look = Callable[[FleetDesk, Question], msgspec.Struct]


class Looked:
    """What people ask. look: reads the question and answers it, in a thread."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, desk: FleetDesk, look: Look) -> None:
        self._desk = desk
        self._look = look

    async def answer(self, request: Request) -> Answer:
        """As JSON; a problem for a question that is none."""
        try:
            question = Question(request.query)
            return shown(await asyncio.to_thread(self._look, self._desk, question))
        except UsageError as cause:
            return problem(cause, 400)
        except StoreUnavailable as cause:
            return unavailable(self._desk, request, cause)


class OneDevice:
    """A device by its id, with its newest report."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, desk: FleetDesk) -> None:
        self._desk = desk

    async def answer(self, request: Request) -> Answer:
        """404 where it is not in the register."""
        id_ = unquote(request.tail.decode("ascii", "replace"))
        try:
            found = await asyncio.to_thread(fleetqueries.device, self._desk.store, id_) if is_device(id_) else None
        except StoreUnavailable as cause:
            return unavailable(self._desk, request, cause)
        return not_there() if found is None else shown(found)


class Overview:
    """The fleet in numbers, as a page for browsers."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, desk: FleetDesk) -> None:
        self._desk = desk

    async def answer(self, request: Request) -> Answer:
        """The page; a question is not read."""
        if request.query:
            return problem(UsageError("query", "nothing can be asked here", _ASK), 400)
        now = self._desk.clock()
        try:
            found = await asyncio.to_thread(_numbers, self._desk, self._desk.silent_hours)
        except StoreUnavailable as cause:
            return unavailable(self._desk, request, cause)
        return Answer(200, fleethtml.page(found, now), fleethtml.TYPE, _OF_PAGE)


class Health:
    """Whether it serves; open to everybody, without a number of anything."""

    methods = ("GET",)
    types = ()
    max_body = 0

    async def answer(self, request: Request) -> Answer:  # noqa: ARG002 - of the seam
        """200 while it takes connections."""
        return Answer(200, msgspec.json.encode({"status": "ok", "version": __version__}), JSON)


def resources(desk: FleetDesk) -> dict[str, Resource]:
    """By their paths."""
    looks: Mapping[str, Look] = {
        "status": _status, "behind": _behind, "touched": _touched, "silent": _silent, "used": _used,
        "rollout": _rollout,
    }  # fmt: skip
    return {
        PATH: Reports(desk),
        "/fleet": Overview(desk),
        "/health": Health(),
        f"{PREFIX}devices/": OneDevice(desk),
        **{PREFIX + name: Looked(desk, look) for name, look in looks.items()},
    }


def shown(told: msgspec.Struct) -> Answer:
    """A body that nobody on the way keeps."""
    return Answer(200, msgspec.json.encode(told), JSON, ((b"cache-control", b"no-store"),))


def problem(cause: SealwrightError, status: int, *headers: tuple[bytes, bytes]) -> Answer:
    """A refusal (RFC 9457)."""
    told = f"{cause.subject}: {cause.what}"
    body: Any = Problem("about:blank", type(cause).__name__, status, told, cause.code, cause.next_step)
    return Answer(status, msgspec.json.encode(body), PROBLEM, headers)


def unavailable(desk: FleetDesk, request: Request, cause: StoreUnavailable) -> Answer:
    """What is wrong with the database is the log's alone (A129)."""
    desk.log({"event": "failed", "path": request.path[:200], "why": str(cause)[:500]})
    again = StoreUnavailable(
        "fleet", "nothing can be kept or looked up now", "Ask again later; what was sent is to be sent again."
    )
    return problem(again, 503, (b"retry-after", b"10"))


def not_there() -> Answer:
    """The one answer for what is not there and for what is not shown to who asks (A121)."""
    body = Problem("about:blank", "Not Found", 404, "there is no such resource", "SW-REQUEST-UNKNOWN")
    return Answer(404, msgspec.json.encode(body), PROBLEM)


def _status(desk: FleetDesk, question: Question) -> msgspec.Struct:
    hours = question.number("hours", MAX_HOURS, desk.silent_hours)
    question.done()
    return _numbers(desk, hours)


def _numbers(desk: FleetDesk, hours: int) -> Status:
    counts = {str(name): number for name, number in sorted(desk.intake.counts.items())}
    return fleetqueries.status(desk.store, desk.offers.current, counts, desk.clock(), hours)


def _behind(desk: FleetDesk, question: Question) -> msgspec.Struct:
    product, group, after = question.text("product"), question.text("group"), question.after()
    question.done()
    return fleetqueries.behind(desk.store, product, group, after)


def _touched(desk: FleetDesk, question: Question) -> msgspec.Struct:
    scope = Scope(question.digests("manifest"), question.text("product"), question.number("below", 2**63 - 1, 0))
    after = question.after()
    question.done()
    if not scope.manifests and not scope.product:
        raise UsageError("touched", "nothing is named", "Name manifest=, or product= with or without below=.")
    return fleetqueries.running(desk.store, scope, after)


def _rollout(desk: FleetDesk, question: Question) -> msgspec.Struct:
    product = question.text("product")
    question.done()
    if not product:
        raise UsageError("rollout", "no product is named", "Name product=.")
    return roll_out(desk.store, desk.offers.current, product)


def _silent(desk: FleetDesk, question: Question) -> msgspec.Struct:
    hours, after = question.number("hours", MAX_HOURS, desk.silent_hours), question.after()
    question.done()
    return fleetqueries.silent(desk.store, desk.clock(), hours, after)


def _used(desk: FleetDesk, question: Question) -> msgspec.Struct:
    found = {kind: question.digests(kind.value) for kind in Used}
    after = question.after()
    question.done()
    named = [(kind, digest) for kind, digests in found.items() for digest in digests]
    if len(named) != 1:
        raise UsageError("used", "one permit or one courier is wanted", "Name permit= or courier= with its digest.")
    return fleetqueries.using(desk.store, *named[0], after)
