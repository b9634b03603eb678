"""The desk of one key in service: what waits is signed in small batches, urgent orders first and every tenant in its turn.

    desk = Desk(home, enrolled, key, writer)
    desk.order(Order(...))             # from any thread; its future has the signatures, each of them in the log
    desk.close()                       # what was ordered is answered first

One thread owns the key. An order of thousands is cut into parts that take some `TURN_S` with this key, and after each part the next order is
chosen anew: an emergency waits for one part, whatever else is going on, and a tenant with one artifact not for another's night batch.
Each part goes the pipeline's way (RULES 2): its intents are in the log before the key is used, its results before they are told. An order
of few brings its intents with it, in the transaction that made it this replica's; what refuses it before the key is used is in the log then.

| fault | in the log | who ordered | afterwards |
| --- | --- | --- | --- |
| the log does not take the intents | nothing | JournalError | the next order tries again |
| a worker of the key dies, hangs or loses its session | all of it | the signatures: another worker does its part, once | it is replaced |
| the key fails, or is not there yet | intents and refusals | KeyUnavailable | the key is opened again in the background, and by the next order |
| a wrong PIN, another key, a false signature | intents and refusals | KeyRefused | it signs no more: a person must come (`keys/health.py`) |
| the log does not take the results | intents | JournalError; the values are forgotten | the next order tries again |
| the request was given up meanwhile, before its intents | nothing | RequestOver | whoever has it now signs it |
| ... before its results, or it brought its intents | intents | RequestOver; the values are forgotten | as above |
| killed | intents, perhaps results | nothing | a new attempt signs what has no result |
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.errors import JournalError, KeyRefused, KeyUnavailable, SealwrightError
from sealwright.keys.health import KeyHealth, WatchedKey
from sealwright.log.writer import LogWriter
from sealwright.signing.home import EnrolledKey, Home
from sealwright.signing.logrecord import LogRecord
from sealwright.signing.orders import TOGETHER, Order, Part, Queue, Value, orders_of
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.stamps import utc_now
from sealwright.signing.standing import StandingWatch

MAX_WAITING = 200_000
TURN_S = 0.05
LEAST = 16


class Desk:
    """The desk of one enrolled key; `order` and `health` are for any thread. key: it is the desk's, which closes it."""

    def __init__(
        self,
        home: Home,
        enrolled: EnrolledKey,
        key: WatchedKey,
        writer: LogWriter,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.enrolled = enrolled
        self._clock = clock
        self._log_problem = ""
        self._record = LogRecord(writer, enrolled)
        self._standing = StandingWatch(home, enrolled)
        self._key = key
        try:
            self._pipeline = Pipeline(home, enrolled, None, record=self._record, key=key)
        except BaseException:
            key.close()
            raise
        self._lock = threading.Condition()
        self._queue = Queue()
        self._most = LEAST
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"desk {enrolled.name}", daemon=True)
        self._thread.start()

    def order(self, order: Order) -> Future[dict[int, Value]]:
        """Stand in line; KeyUnavailable in the future where the line is too long or the desk is closing."""
        with self._lock:
            if self._over or self._queue.waiting + len(order.items) > MAX_WAITING:
                why = "it is closing" if self._over else f"{self._queue.waiting} others wait for it"
                cause = KeyUnavailable(f"key {self.enrolled.name}", why, "Ask again in a moment: nothing was signed.")
                self._unused(order, cause)
                order.answer.set_exception(cause)
            else:
                self._queue.put(order)
                self._lock.notify()
        return order.answer

    def intents(self, order: Order, now: datetime) -> list[bytes]:
        """The intents of an order of few, to be recorded with its use; [] of one whose intents are recorded when its turn comes."""
        if len(order.items) > LEAST or not all(self._pipeline.takes(prepared) for _, prepared in order.items):
            return []
        return self._record.intents(order, now)

    @property
    def key(self) -> Digest:
        """The key, SHA-256 of SPKI."""
        return self.enrolled.digest

    @property
    def ends(self) -> datetime:
        """When its certificate ends."""
        return self._pipeline.end

    def health(self) -> KeyHealth:
        """How the key fares; never waits for a signature."""
        return self._key.health()

    @property
    def problem(self) -> str:
        """Why nothing is signed now, of key or log; "" where all is well."""
        health = self.health()
        return health.why if health.alarm else self._log_problem

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
                parts = self._queue.take(self._most)
            began = time.monotonic()
            try:
                self._sign(parts)
                if 2 * len(parts) >= self._most:  # a few tell how long a commit takes, not how fast the key is
                    self._most = paced(len(parts), time.monotonic() - began)
            except Exception as cause:  # noqa: BLE001 - the thread's edge: whoever waits is told, and the desk goes on
                self._refuse(parts, cause)

    def _sign(self, parts: Sequence[Part]) -> None:
        now = self._clock().replace(microsecond=0)
        self._record.about(parts, now)
        if why := self._standing.problem(now):  # a service runs on for months (A113)
            raise KeyRefused(f"key {self.enrolled.name}", why, "Ask for signatures by another key.")
        made = self._pipeline.sign([part.prepared for part in parts], now)
        self._log_problem = ""
        for part, one in zip(parts, made, strict=True):
            leaf = self._record.leaves.get((part.order, part.number))
            if leaf is not None:
                part.order.made[part.number] = Value(one.value, now, leaf)
        for order in orders_of(parts):
            if order in self._record.over:
                self._tell(order, self._record.over[order])
            elif len(order.made) == len(order.items):
                order.answer.set_result(order.made)

    def _refuse(self, parts: Sequence[Part], cause: Exception) -> None:
        """One artifact that may not be signed refuses its own order; the others of the batch are signed one order at a time."""
        orders = orders_of(parts)
        if len(orders) > 1 and isinstance(cause, SealwrightError) and not self._record.began:
            for order in orders:
                own = [part for part in parts if part.order is order]
                try:
                    self._sign(own)
                except Exception as its:  # noqa: BLE001 - as above
                    self._refuse(own, its)
            return
        if isinstance(cause, JournalError):
            self._log_problem = str(cause)
        for order in orders:
            if not self._record.began:
                self._unused(order, cause)
            self._tell(order, cause)

    def _unused(self, order: Order, cause: Exception) -> None:
        """An order that is refused without the key."""
        if order.intended:
            self._record.refused(order, cause, self._clock().replace(microsecond=0))

    def _tell(self, order: Order, cause: Exception) -> None:
        with self._lock:
            self._queue.drop(order)
        if not order.answer.done():
            order.answer.set_exception(cause)


def paced(signed: int, spent_s: float) -> int:
    """How many artifacts to sign together next, so that they take a turn; by how long so many took."""
    return min(TOGETHER, max(LEAST, int(TURN_S * signed / max(spent_s, 1e-6))))
