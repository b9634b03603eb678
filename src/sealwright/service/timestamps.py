"""The timestamp authority over HTTP (RFC 3161 section 3.4): POST a query to `/`, GET `/health`.

A query that cannot be granted is answered with an RFC 3161 rejection and status 200, as clients expect; HTTP's own codes are
kept for what is no query at all (404, 405, 413, 415). Everything about tokens is `signing/timestamping.py`'s.

`/health` is 200 while tokens are made and 503 otherwise, with the reasons; what it tells is no secret.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from sealwright.envelope.tsp import Failure, failure_of, rejection_bytes, response_bytes
from sealwright.errors import SealwrightError
from sealwright.pki.clocks import ClockReport, ClockWatch
from sealwright.pki.timestamp import ANSWER_TYPE, REQUEST_TYPE, LocalAuthority, rejection_of
from sealwright.service.server import Answer, Log, Request, Resource, no_log, plain
from sealwright.signing.timestamping import ClockStopped, Issued, Order, TimestampDesk

MAX_QUERY_BYTES = 4096


class Timestamps:
    """POST application/timestamp-query."""

    methods = ("POST",)
    types = (REQUEST_TYPE,)
    max_body = MAX_QUERY_BYTES

    def __init__(self, authority: LocalAuthority, desk: TimestampDesk) -> None:
        self.authority = authority
        self.desk = desk

    async def answer(self, request: Request) -> Answer:
        """A token, or a rejection that says why."""
        if request.tail:
            return plain(404, "timestamps are made at /")
        return await stamped(self.authority, self.desk, request.body)


async def stamped(authority: LocalAuthority, desk: TimestampDesk, query: bytes) -> Answer:
    """The answer to a query: a token, or a rejection that says why. Waits for the desk, at most as long as it lets anybody wait."""
    try:
        wanted = authority.read(query)
    except SealwrightError as cause:
        return _rejection(cause)
    done: asyncio.Future[Issued | SealwrightError] = asyncio.get_running_loop().create_future()

    def tell(outcome: Issued | SealwrightError) -> None:
        if not done.done():  # the client may have left
            done.set_result(outcome)

    desk.order(Order(wanted, tell))
    outcome = await done
    if isinstance(outcome, SealwrightError):
        return _rejection(outcome)
    return Answer(200, response_bytes(outcome.token), ANSWER_TYPE, note={"serial": f"{outcome.serial:032x}"})


class Health:
    """GET: is the authority making tokens, and if not, why."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, watch: ClockWatch, desk: TimestampDesk) -> None:
        self.watch = watch
        self.desk = desk

    async def answer(self, request: Request) -> Answer:  # noqa: ARG002 - there is nothing to ask
        """One JSON object."""
        clock, desk = self.watch.report(), self.desk.report()
        well = not clock.problem and not desk.problem
        told = {
            "status": "ok" if well else "stopped",
            "problem": desk.problem or None,
            "restart_needed": desk.fatal,
            "warning": desk.warning or None,
            "certificate_until": desk.certificate_until.isoformat().replace("+00:00", "Z"),
            "issued": desk.issued,
            "journal_lines": desk.line,
            "waiting": desk.waiting,
            "clock": clock_object(clock),
        }
        return Answer(200 if well else 503, json.dumps(told).encode() + b"\n", "application/json")


@asynccontextmanager
async def timestamp_routes(
    authority: LocalAuthority,
    watch: ClockWatch,
    open_desk: Callable[[Callable[[Callable[[], None]], None]], TimestampDesk],
    routes: dict[str, Resource],
    log: Log = no_log,
) -> AsyncIterator[TimestampDesk]:
    """Ask the clock's sources once, open the desk, put its resources into the routing table; close both at the end."""
    loop = asyncio.get_running_loop()
    watch.changed = lambda report: log({"event": "clock", **clock_object(report)})
    await loop.run_in_executor(None, watch.check)
    desk = open_desk(lambda run: _into(loop, run))
    routes["/"] = Timestamps(authority, desk)
    routes["/health"] = Health(watch, desk)
    watch.start()
    try:
        yield desk
    finally:
        await loop.run_in_executor(None, desk.close)
        await loop.run_in_executor(None, watch.close)


def clock_object(report: ClockReport) -> Mapping[str, object]:
    """What the watch knows, for JSON."""
    return {
        "problem": report.problem or None,
        "checked": report.checked.isoformat(timespec="seconds").replace("+00:00", "Z") if report.checked else None,
        "sources": [
            {"source": one.source, "offset_s": round(one.offset_s, 6), "uncertainty_s": round(one.uncertainty_s, 6)}
            for one in report.readings
        ],
        "silent": [{"source": name, "why": why} for name, why in report.silent],
    }


def _into(loop: asyncio.AbstractEventLoop, run: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(run)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return


def _rejection(cause: SealwrightError) -> Answer:
    if isinstance(cause, ClockStopped):
        failure, body = (
            Failure.TIME_NOT_AVAILABLE,
            rejection_bytes("the time is not available", Failure.TIME_NOT_AVAILABLE),
        )
    else:
        failure, body = failure_of(cause), rejection_of(cause)
    return Answer(200, body, ANSWER_TYPE, note={"rejected": failure.name.lower(), "why": str(cause)[:200]})
