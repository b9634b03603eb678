"""The desk of one key in service: what waits is signed in small batches, urgent orders first and every tenant in its turn.

    desk = Desk(home, enrolled, pin, writer)
    desk.order(Order(...))             # from any thread; its future has the signatures, each of them in the log
    desk.close()                       # what was ordered is answered first

One thread owns the key. An order of thousands is cut into parts of `PART` artifacts, and after each part the next order is chosen
anew: an emergency waits for one part, whatever else is going on, and a tenant with one artifact not for another's night batch.
Each part goes the pipeline's way (RULES 2): its intents are in the log before the key is used, its results before they are told.

| fault | in the log | who ordered | afterwards |
| --- | --- | --- | --- |
| the log does not take the intents | nothing | JournalError | the next order tries again |
| the key fails | intents and refusals | KeyUnavailable, KeyRefused | the next order tries again |
| the log does not take the results | intents | JournalError; the values are forgotten | as above |
| killed | intents, perhaps results | nothing | a new attempt signs what has no result |
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, update

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.kinds import KINDS
from sealwright.errors import JournalError, KeyRefused, KeyUnavailable, SealwrightError
from sealwright.formats.format import Prepared
from sealwright.formats.known import EMBEDDED
from sealwright.keys.pin import Pin
from sealwright.log.entries import Intent, Refusal, Stage
from sealwright.log.entry import SignatureEntry
from sealwright.log.journal import Entry, EntryType
from sealwright.log.writer import LogWriter
from sealwright.signing.home import EnrolledKey, Home
from sealwright.signing.items import BESIDE
from sealwright.signing.pipeline import Pipeline, artifact_of
from sealwright.signing.stamps import utc_now
from sealwright.signing.standing import StandingWatch
from sealwright.signing.tables import REQUESTS, SIGNATURES, State

PART = 128
TOGETHER = 256
MAX_WAITING = 200_000
APPEND_S = 60.0


@dataclass(frozen=True, slots=True)
class Value:
    """One signature of an order. value: in the encoding of CMS; at: the time in its attributes; leaf: its entry in the log."""

    value: bytes
    at: datetime
    leaf: int


@dataclass(eq=False, slots=True)
class Order:
    """What somebody waits for. items: by their number in the request; private: digest of who asked and approved.

    answer: the values, once all of them are in the log.
    """

    request: str
    tenant: str
    urgent: bool
    policy: Digest
    private: Digest
    items: Sequence[tuple[int, Prepared]]
    attempt: int = 1
    answer: Future[dict[int, Value]] = field(default_factory=Future)
    made: dict[int, Value] = field(default_factory=dict)
    begun: int = 0


@dataclass(frozen=True, slots=True)
class _Part:
    """One artifact that is being signed, of an order."""

    order: Order
    number: int
    prepared: Prepared


class Queue:
    """Who is next: urgent orders in their order, then one part of each tenant in turn. Not locked: the desk does that."""

    def __init__(self) -> None:
        self._urgent: deque[Order] = deque()
        self._tenants: OrderedDict[str, deque[Order]] = OrderedDict()
        self.waiting = 0

    def put(self, order: Order) -> None:
        """Stand in line."""
        self.waiting += len(order.items) - order.begun
        if order.urgent:
            self._urgent.append(order)
        else:
            self._tenants.setdefault(order.tenant, deque()).append(order)

    def take(self) -> list[_Part]:
        """The next artifacts to sign together: of one urgent order, or a part of each tenant's first ones."""
        parts: list[_Part] = []
        if self._urgent:
            while self._urgent and len(parts) < TOGETHER:
                self._cut(self._urgent, parts, TOGETHER - len(parts))
        else:
            for tenant in list(self._tenants):
                if len(parts) >= TOGETHER:
                    break
                line, room = self._tenants.pop(tenant), min(PART, TOGETHER - len(parts))
                limit = len(parts) + room
                while line and len(parts) < limit:
                    self._cut(line, parts, limit - len(parts))
                if line:
                    self._tenants[tenant] = line  # behind the others
        self.waiting -= len(parts)
        return parts

    def drop(self, order: Order) -> None:
        """An order that was refused while some of it still waits."""
        line = self._urgent if order.urgent else self._tenants.get(order.tenant, deque())
        if order in line:
            line.remove(order)
            self.waiting -= len(order.items) - order.begun
            if not line and not order.urgent:
                self._tenants.pop(order.tenant, None)

    def _cut(self, line: deque[Order], parts: list[_Part], room: int) -> None:
        order = line[0]
        for number, prepared in order.items[order.begun : order.begun + room]:
            parts.append(_Part(order, number, prepared))
            order.begun += 1
        if order.begun == len(order.items):
            line.popleft()


class Desk:
    """The desk of one enrolled key; `order` is for any thread. Opening it opens the key."""

    def __init__(
        self,
        home: Home,
        enrolled: EnrolledKey,
        pin: Pin | None,
        writer: LogWriter,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.enrolled = enrolled
        self.problem = ""
        self._clock = clock
        self._record = LogRecord(writer, enrolled)
        self._standing = StandingWatch(home, enrolled)
        self._pipeline = Pipeline(home, enrolled, pin, record=self._record)
        self._lock = threading.Condition()
        self._queue = Queue()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"desk {enrolled.name}", daemon=True)
        self._thread.start()

    def order(self, order: Order) -> Future[dict[int, Value]]:
        """Stand in line; KeyUnavailable in the future where the line is too long or the desk is closing."""
        with self._lock:
            if self._over or self._queue.waiting + len(order.items) > MAX_WAITING:
                why = "it is closing" if self._over else f"{self._queue.waiting} others wait for it"
                order.answer.set_exception(
                    KeyUnavailable(f"key {self.enrolled.name}", why, "Ask again in a moment: nothing was signed.")
                )
            else:
                self._queue.put(order)
                self._lock.notify()
        return order.answer

    @property
    def key(self) -> Digest:
        """The key, SHA-256 of SPKI."""
        return key_digest(self.enrolled.public_key)

    @property
    def ends(self) -> datetime:
        """When its certificate ends."""
        return self._pipeline.end

    @property
    def waiting(self) -> int:
        """How many artifacts wait."""
        return self._queue.waiting

    def close(self) -> None:
        """Answer what was ordered, give the key back. Closing twice is fine."""
        with self._lock:
            self._over = True
            self._lock.notify()
        self._thread.join()
        self._pipeline.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue.waiting and not self._over:
                    self._lock.wait()
                if not self._queue.waiting:
                    return
                parts = self._queue.take()
            try:
                self._sign(parts)
                self.problem = ""
            except Exception as cause:  # noqa: BLE001 - the thread's edge: whoever waits is told, and the desk goes on
                self._refuse(parts, cause)

    def _sign(self, parts: Sequence[_Part]) -> None:
        now = self._clock().replace(microsecond=0)
        self._record.about(parts, now)
        if why := self._standing.problem(now):  # a service runs on for months (A113)
            raise KeyRefused(f"key {self.enrolled.name}", why, "Ask for signatures by another key.")
        made = self._pipeline.sign([part.prepared for part in parts], now)
        for part, one, leaf in zip(parts, made, self._record.leaves, strict=True):
            part.order.made[part.number] = Value(one.value, now, leaf)
        for order in {id(part.order): part.order for part in parts}.values():
            if len(order.made) == len(order.items):
                order.answer.set_result(order.made)

    def _refuse(self, parts: Sequence[_Part], cause: Exception) -> None:
        """One artifact that may not be signed refuses its own order; the others of the batch are signed one order at a time."""
        orders = list({id(part.order): part.order for part in parts}.values())
        if len(orders) > 1 and isinstance(cause, SealwrightError) and not self._record.began:
            for order in orders:
                own = [part for part in parts if part.order is order]
                try:
                    self._sign(own)
                except Exception as its:  # noqa: BLE001 - as above
                    self._refuse(own, its)
            return
        if isinstance(cause, KeyUnavailable | JournalError):
            self.problem = str(cause)
        for order in orders:
            with self._lock:
                self._queue.drop(order)
            if not order.answer.done():
                order.answer.set_exception(cause)


class LogRecord:
    """A log as the record of a desk's pipeline: intents, refusals, and each signature's entry with its value in the database.

    began: whether intents of the present batch are in the log; leaves: of the entries of its signatures. Used by the desk's thread.
    """

    def __init__(self, writer: LogWriter, enrolled: EnrolledKey) -> None:
        self.began = False
        self.leaves: tuple[int, ...] = ()
        self._writer = writer
        self._algorithm = enrolled.algorithm
        self._parts: Sequence[_Part] = ()
        self._now = datetime.min
        self._intents: dict[str, tuple[_Part, Mapping[str, object]]] = {}

    def about(self, parts: Sequence[_Part], now: datetime) -> None:
        """What the next intents are about, in order."""
        self._parts, self._now, self.began, self.leaves, self._intents = parts, now, False, (), {}

    def append(self, entries: Sequence[Entry]) -> None:
        """The pipeline's intents or refusals."""
        if not entries:
            return
        if entries[0].type is EntryType.INTENT:
            self._intents = {
                str(entry.fields["request"]): (part, entry.fields)
                for part, entry in zip(self._parts, entries, strict=True)
            }
            self._append([_intent(part, fields, self._now) for part, fields in self._intents.values()])
            self.began = True
            return
        refusals = []
        for entry in entries:
            part, _ = self._intents[str(entry.fields["request"])]
            order = part.order
            refusals.append(
                Refusal(
                    time=self._now,
                    request=order.request,
                    stage=Stage.KEY,
                    code=str(entry.fields["code"]),
                    policy=order.policy,
                    private=order.private,
                ).encoded()
            )
        self._append(list(dict.fromkeys(refusals)))  # one for each request

    def finish(self, values: Mapping[str, bytes]) -> None:
        """The signatures, and their values beside them in one transaction."""
        signed = [(*self._intents[request], value) for request, value in values.items()]
        entries = [
            _signature(part, fields, value, artifact_of(part.prepared, self._algorithm))
            for part, fields, value in signed
        ]
        parts = [(part, value) for part, _, value in signed]
        at = round(self._now.timestamp() * 1000)

        orders = {id(part.order): part.order for part, _ in parts}.values()
        done = [
            order.request
            for order in orders
            if len(order.made) + sum(part.order is order for part, _ in parts) == len(order.items)
        ]

        def rows(connection: Connection, first: int) -> None:
            connection.execute(insert(SIGNATURES), _chunks(parts, first, at))
            if done:
                connection.execute(update(REQUESTS).where(REQUESTS.c.id.in_(done)).values(state=State.SIGNED))

        self.leaves = self._append(entries, rows)

    def close(self) -> None:
        """The writer is the service's."""

    def _append(
        self, entries: Sequence[bytes], rows: Callable[[Connection, int], None] | None = None
    ) -> tuple[int, ...]:
        try:
            return self._writer.append(entries, rows).result(APPEND_S)
        except TimeoutError as cause:
            raise JournalError("log", "it did not answer in time", "See to its database.") from cause


def _intent(part: _Part, fields: Mapping[str, object], now: datetime) -> bytes:
    order = part.order
    return Intent(
        time=now,
        request=order.request,
        attempt=order.attempt,
        artifact=Digest.parse(str(fields["artifact"])),
        key=Digest.parse(str(fields["key"])),
        certificate=Digest.parse(str(fields["certificate"])),
        construction=str(fields["construction"]),
        policy=order.policy,
    ).encoded()


def _signature(part: _Part, fields: Mapping[str, object], value: bytes, artifact: Digest) -> bytes:
    prepared = part.prepared
    return SignatureEntry(
        artifact=artifact,
        signature=Digest.of(value),
        key=Digest.parse(str(fields["key"])),
        certificate=Digest.parse(str(fields["certificate"])),
        construction=str(fields["construction"]),
        policy=part.order.policy,
        private=part.order.private,
        claims=prepared.claims,
        file=artifact if prepared.format == "detached" else None,
        **_form(prepared),
    ).encoded()


def _form(prepared: Prepared) -> dict[str, str]:
    """Artifacts are known by their format, statements by their kind (`log/entry.py`)."""
    of_artifact = prepared.format in BESIDE or prepared.format in EMBEDDED or prepared.kind not in KINDS
    return {"format": prepared.format, "kind": ""} if of_artifact else {"format": "", "kind": prepared.kind}


def _chunks(parts: Sequence[tuple[_Part, bytes]], leaf: int, at: int) -> list[dict[str, object]]:
    """Rows of consecutive items of one order."""
    rows: list[dict[str, object]] = []
    begin = 0
    for end in range(1, len(parts) + 1):
        first, _ = parts[begin]
        if end < len(parts):
            following, _ = parts[end]
            if following.order is first.order and following.number == first.number + end - begin:
                continue
        values = b"".join(len(value).to_bytes(4, "big") + value for _, value in parts[begin:end])
        rows.append(
            {
                "request": first.order.request,
                "first": first.number,
                "count": end - begin,
                "at": at,
                "leaf": leaf + begin,
                "values": values,
            }
        )
        begin = end
    return rows
