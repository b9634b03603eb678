"""Reports are taken in: each one's signature is checked, then all that came meanwhile is written in one transaction.

    intake = Intake(store, offers, clock, log)
    async with intake.kept():
        answers = await intake.take([SignedReport(text, signature)])

1. A report counts if its signature of the kind `report` is by the key that the register has for the device that the report names, and that
   device is not retired. Everything else gets one answer, `refused`, whatever the reason: the log has it (A129).
2. A report with a number that is not higher than the last is not written: `known` where it is the very same, `old` otherwise, with
   the number that is there. Replaying harms nobody (A153). Two different reports of one number are told in the log: two devices have one key.
3. Nothing of a report is believed beyond its device: group and plant are the register's. The device's clock is shown and never used.
4. `taken` is said once it is durable.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Report, parse_report
from sealwright.device.reporting import SignedReport
from sealwright.device.reportkey import key_of_report
from sealwright.errors import SealwrightError
from sealwright.service.background import going_on
from sealwright.service.fleetoffers import KnownOffers, Offers
from sealwright.service.fleetrows import Known, NewReport, known_devices, write_reports
from sealwright.service.server import Log, no_log
from sealwright.store.engine import Store

AT_ONCE = 1000
MAX_QUEUED = 4000


class Answer(StrEnum):
    """What became of a report."""

    TAKEN = "taken"
    KNOWN = "known"
    OLD = "old"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Told:
    """number: that of the newest report of the device, where this one is old; else 0. why: it was refused, or clashes with another one; never said to
    who sent it."""

    answer: Answer
    number: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A report whose signature holds by some key. key: SHA-256 of SPKI."""

    signed: SignedReport
    report: Report
    key: Digest


class Intake:
    """Of one event loop and one database. counts: how often each answer was given since the start, and `clash`."""

    def __init__(
        self, store: Store, offers: Offers | KnownOffers, clock: Callable[[], datetime], log: Log = no_log
    ) -> None:
        self._store = store
        self._offers = offers
        self._clock = clock
        self._log = log
        self._queue: asyncio.Queue[tuple[SignedReport, asyncio.Future[Told]]] = asyncio.Queue(MAX_QUEUED)
        self.counts: Counter[str] = Counter()

    def kept(self) -> AbstractAsyncContextManager[None]:
        """Work for as long as the block lasts."""
        return going_on(self._work)

    async def take(self, reports: Sequence[SignedReport]) -> list[Told]:
        """What became of each; StoreUnavailable or another of the store where none could be written. Waits where others are before."""
        loop = asyncio.get_running_loop()
        futures = []
        for one in reports:
            future: asyncio.Future[Told] = loop.create_future()
            await self._queue.put((one, future))
            futures.append(future)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for failed in answers:
            if isinstance(failed, BaseException):
                raise failed
        return [one for one in answers if isinstance(one, Told)]

    def store(self, reports: Sequence[SignedReport]) -> list[Told]:
        """The same at once, in this thread: checked, written, durable."""
        checked = [self._checked(one) for one in reports]
        now = self._clock()
        with self._store.write() as connection:
            known = known_devices(connection, {one.report.device for one in checked if isinstance(one, Checked)})
            new: dict[str, NewReport] = {}
            told = [self._judged(one, known, new) for one in checked]
            write_reports(connection, list(new.values()), self._offers.current, now)
        self.counts.update(one.answer for one in told)
        return told

    def _checked(self, signed: SignedReport) -> Checked | Told:
        try:
            return Checked(signed, parse_report(signed.report, "report"), key_of_report(signed, "report"))
        except SealwrightError as cause:
            self._log({"event": "report-refused", "code": cause.code, "why": str(cause)[:500]})
            return Told(Answer.REFUSED, why=f"{cause.code}: {cause}"[:500])

    def _judged(self, one: Checked | Told, known: Mapping[str, Known], new: dict[str, NewReport]) -> Told:
        """Points 1 and 2. new: what is to be written, by device; the newest of each."""
        if isinstance(one, Told):
            return one
        device = known.get(one.report.device)
        if device is None or device.retired or device.key != one.key:
            why = "not in the register" if device is None else "retired" if device.retired else "another key"
            self._log({"event": "report-refused", "device": one.report.device, "key": str(one.key), "why": why})
            return Told(Answer.REFUSED, why=f"device {one.report.device}: {why}")
        before = new.get(device.id)
        number = device.number if before is None else before.report.number
        octets = device.report if before is None else before.octets
        if one.report.number > number:
            new[device.id] = NewReport(device, one.report, one.signed.report, one.signed.signature)
            return Told(Answer.TAKEN)
        if one.signed.report == octets:
            return Told(Answer.KNOWN)
        if one.report.number == number:
            self.counts["clash"] += 1
            self._log({"event": "report-clash", "device": device.id, "number": number})
            return Told(Answer.OLD, number, f"device {device.id}: another report has the number {number}")
        return Told(Answer.OLD, number)

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < AT_ONCE and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                answers = await asyncio.to_thread(self.store, [one for one, _ in batch])
            except Exception as cause:  # noqa: BLE001 - whoever sent the reports gets it, whatever it is, and the next are taken
                for _, future in batch:
                    if not future.done():
                        future.set_exception(cause)
                continue
            for (_, future), told in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(told)
