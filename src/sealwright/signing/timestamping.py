"""The desk of a timestamp authority: who asks gets a token, and none leaves before it is recorded for good.

One thread owns the journal and the key. It takes what waits, as one batch:

    wait for orders -> time -> INTENT of this batch and RESULT of the last one: one write, one sync
                    -> the last batch's tokens leave -> the key signs this batch -> again

So the record of what will be signed is durable before the key is used, and the record of each token before it leaves (RULES 2),
for one sync a batch. While a batch is synced and signed the next one gathers: nobody waits for a window to pass, and a busy
authority syncs no more often than its disk can. With nobody waiting, a batch's results are written at once.

A serial number is 16 octets: 64 bits drawn at each start, the number of the journal's line with its intent, its place in it.
The line grows within a journal, and each start draws anew: so no serial comes twice even from a home restored out of an old
backup, or copied and started twice; and a serial leads to its line.

| fault | what persisted | who asked gets | afterwards |
|---|---|---|---|
| killed before the intent is synced | perhaps the intent | nothing | new start, other serials |
| killed before the result is synced | the intent | nothing: the token never left | the next start records that |
| killed after the result is synced | intent and result | perhaps the token | as recorded |
| disk full | a torn line | systemFailure; nothing is signed | opened again, at most once a second, until there is room |
| sync or write error | unknown | systemFailure | stopped for good: another disk, another start |
| the key fails | intent, then refusal | systemFailure | the next batch tries again |
| the clock is not believed | nothing | timeNotAvailable | goes on when the watch is content |
| an older journal was restored | a head that is remembered elsewhere | nothing: it does not start | an operator decides |
"""

from __future__ import annotations

import errno
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.envelope.tsp import TimestampRequest
from sealwright.envelope.tsp_write import Draft
from sealwright.errors import JournalError, KeyUnavailable, SealwrightError, TimestampUnavailable
from sealwright.log.canonical import MAX_LINE_BYTES, Field, read_canonical, time_text
from sealwright.log.journal import FILE, Entry, EntryType, Journal
from sealwright.pki.clocks import ClockWatch
from sealwright.pki.timestamp import LocalAuthority, certificates_for

MAX_BATCH = 256
MAX_WAITING = 4096
MAX_WAIT_S = 8.0
BATCH_S = 1.0  # a slow key signs fewer at once, so that nobody waits for a whole batch of others
LOCK_S = 2.0
REOPEN_S = 1.0
REMEMBER_S = 10.0
HEAD_LINE = "sealwright timestamps head 1"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class ClockStopped(TimestampUnavailable):
    """The clock cannot be shown to be right; no token is made."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Somebody who waits for a token. answer: called once, with the token or with what came between."""

    request: TimestampRequest
    answer: Callable[[Issued | SealwrightError], None]
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Issued:
    """A recorded token."""

    token: bytes
    serial: int
    gen_time: datetime


@dataclass(frozen=True, slots=True)
class DeskReport:
    """issued: tokens of this start; line: of the journal; problem: "" where tokens are made; fatal: a new start is needed.

    warning: what does not stop it.
    """

    issued: int
    line: int
    waiting: int
    problem: str
    fatal: bool
    warning: str
    certificate_until: datetime


@dataclass(frozen=True, slots=True)
class _Signed:
    batch: str
    orders: Sequence[Order]
    drafts: Sequence[Draft]
    tokens: Sequence[bytes]


class TimestampDesk:
    """The desk. Open it, `order` from any thread, `close` it: what was ordered is answered first.

    deliver: runs a batch's answers; a service passes what moves them into its event loop with one call; standing: why the key
    must not be used any more, "" where it may.
    """

    RENEW_BEFORE = timedelta(days=30)

    def __init__(
        self,
        folder: str,
        authority: LocalAuthority,
        watch: ClockWatch,
        key_name: str,
        *,
        deliver: Callable[[Callable[[], None]], None] = lambda run: run(),
        head: str | None = None,
        standing: Callable[[datetime], str] = lambda _: "",
    ) -> None:
        self.folder = folder
        self.authority = authority
        self.watch = watch
        self.key_name = key_name
        self.start = 1 << 62 | secrets.randbits(62)
        self.issued = 0
        self._deliver = deliver
        self._head = head
        self._standing = standing
        self._queue: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._over = False
        self._problem = self._warning = ""
        self._most = MAX_BATCH
        self._fatal = self._problem_with_journal = False
        self._tried = self._remembered = 0.0
        certificate = x509.load_der_x509_certificate(authority.signing.der)
        self._from, self._until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        check_head(folder, head)
        self._journal: Journal | None = open_journal(folder, LOCK_S)
        try:
            self._write_head()  # a place that cannot be written shows at the start
        except BaseException:
            self._journal.close()
            raise
        self._thread = threading.Thread(target=self._run, name="timestamp desk")
        self._thread.start()

    def order(self, order: Order) -> None:
        """Stand in line; answered at once with an error where the line is too long or the desk is closing."""
        if self._over or self._queue.qsize() >= MAX_WAITING:
            why = "it is closing" if self._over else f"{MAX_WAITING} others are waiting"
            order.answer(TimestampUnavailable("timestamp authority", why, "Ask again in a moment."))
            return
        self._queue.put(order)

    def report(self) -> DeskReport:
        """How it goes."""
        line = self._journal.count if self._journal is not None else 0
        now = self.watch.now()
        problem = self._problem or self._ended(now)
        warning = self._warning
        if not warning and now > self._until - self.RENEW_BEFORE:
            warning = f"its certificate ends on {self._until:%Y-%m-%d}: renew it, then start the service again"
        return DeskReport(self.issued, line, self._queue.qsize(), problem, self._fatal, warning, self._until)

    def close(self) -> None:
        """Answer what was ordered, write the last results, give journal and key back."""
        self._over = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        signed: _Signed | None = None
        try:
            while True:
                orders = self._take(wait=signed is None)
                if not orders and signed is None and self._over:
                    break
                if not orders and signed is None:
                    continue
                waiting = [*(signed.orders if signed is not None else ()), *orders]
                try:
                    signed = self._turn(orders, signed)
                except Exception as cause:  # noqa: BLE001 - a desk that nobody minds would let everybody wait
                    signed, self._fatal, self._problem_with_journal = None, True, True
                    error = _unforeseen(cause)
                    self._problem = error.what
                    self._answer(waiting, error)
            self._remember(force=True)
        finally:
            if self._journal is not None:
                self._journal.close()
            self.authority.key.close()

    def _take(self, *, wait: bool) -> list[Order]:
        orders: list[Order] = []
        try:
            while len(orders) < self._most:
                one = self._queue.get(block=wait and not orders and not self._over)
                if one is None:
                    break
                if time.monotonic() - one.since > MAX_WAIT_S:  # who asked has left, or soon will
                    self._answer([one], TimestampUnavailable("timestamp authority", "too many ask", "Ask again later."))
                    continue
                orders.append(one)
        except queue.Empty:
            pass
        return orders

    def _turn(self, orders: list[Order], last: _Signed | None) -> _Signed | None:
        """Write the last batch's results and this batch's intent, release the last batch, sign this one."""
        entries = [_result(last)] if last is not None else []
        drafts: list[Draft] = []
        batch = ""
        refused: SealwrightError | None = None
        try:
            journal = self._opened()
            now = (
                self.watch.now()
            )  # before the question whether it may be used, so that no step of the clock falls between
            if orders and (refused := self._stopped(now)) is None:
                number = journal.count + len(entries)
                batch = f"{self.start:016x}-{number}"
                drafts = self._drafts(orders, number, now)
                entries.append(_intent(batch, self.key_name, drafts))
            if entries:
                journal.append(entries)
        except SealwrightError as cause:
            self._journal_failed(cause)
            self._answer([*(last.orders if last is not None else ()), *orders], cause)
            return None
        self._problem = ""
        if last is not None:
            self._release(last)
        if refused is not None:
            self._answer(orders, refused)
            return None
        return self._sign(orders, drafts, batch) if orders else None

    def _drafts(self, orders: Sequence[Order], number: int, now: datetime) -> list[Draft]:
        serial = self.start << 64 | number << 16
        return [
            self.authority.maker.draft(one.request.imprint, serial + at, now, one.request.nonce)
            for at, one in enumerate(orders)
        ]

    def _sign(self, orders: list[Order], drafts: list[Draft], batch: str) -> _Signed | None:
        began = time.monotonic()
        try:
            tokens = self.authority.sealed(drafts, [certificates_for(one.request) for one in orders])
        except Exception as cause:  # noqa: BLE001 - whatever a backend raises, the desk stays and says so
            error = cause if isinstance(cause, SealwrightError) else _unforeseen(cause)
            self._problem = error.what
            try:
                self._opened().append([Entry(EntryType.REFUSAL, {"request": batch, "why": error.code})])
            except SealwrightError as second:
                self._journal_failed(second)
            self._answer(orders, error)
            return None
        self._most = max(1, min(MAX_BATCH, int(BATCH_S * len(orders) / (time.monotonic() - began + 1e-9))))
        return _Signed(batch, orders, drafts, tokens)

    def _release(self, signed: _Signed) -> None:
        self.issued += len(signed.tokens)
        given = [
            (order, Issued(token, draft.serial, draft.gen_time))
            for order, token, draft in zip(signed.orders, signed.tokens, signed.drafts, strict=True)
        ]

        def run() -> None:
            for order, issued in given:
                order.answer(issued)

        self._deliver(run)
        self._remember()

    def _answer(self, orders: Sequence[Order], cause: SealwrightError) -> None:
        def run() -> None:
            for order in orders:
                order.answer(cause)

        self._deliver(run)

    def _stopped(self, now: datetime) -> SealwrightError | None:
        """Why no token may be made now: the clock, or the certificate's time."""
        if why := self.watch.problem():
            return ClockStopped("clock", why, "Check the clock and its sources of time.")
        if why := self._ended(now):
            return TimestampUnavailable("timestamp authority", why, "Enrol a key with a new certificate.")
        return None

    def _ended(self, now: datetime) -> str:
        if self._from <= now <= self._until:
            return self._standing(now)
        return f"its certificate is valid from {self._from:%Y-%m-%d} to {self._until:%Y-%m-%d}"

    def _opened(self) -> Journal:
        """The journal, opened again where the disk was full; JournalError while it cannot be written."""
        if self._journal is not None and not self._problem_with_journal:
            return self._journal
        if self._fatal or time.monotonic() - self._tried < REOPEN_S:
            raise JournalError(self.folder, self._problem, "Nothing is signed until it can be written.")
        self._tried = time.monotonic()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._journal = open_journal(self.folder, 0)
        self._problem_with_journal = False
        return self._journal

    def _journal_failed(self, cause: SealwrightError) -> None:
        self._problem = cause.what
        if not self._problem_with_journal:
            self._problem_with_journal = True
            self._tried = time.monotonic()
            low = cause.__cause__
            self._fatal = self._fatal or not (isinstance(low, OSError) and low.errno in _FULL)

    def _remember(self, *, force: bool = False) -> None:
        """Write down elsewhere how far the journal went, now and then; a failure is a warning, tokens are recorded all the same."""
        if self._head is None or (not force and time.monotonic() - self._remembered < REMEMBER_S):
            return
        self._remembered = time.monotonic()
        try:
            self._write_head()
            self._warning = ""
        except (SealwrightError, OSError) as cause:
            self._warning = str(cause)

    def _write_head(self) -> None:
        if self._head is not None:
            write_atomic(self._head, _head_text(self.folder), replace=Replace.YES)


def open_journal(folder: str, wait_s: float) -> Journal:
    """The journal for this desk; a last intent without its result, which a crash or a full disk left, is closed as a refusal.

    Only the last entry can be one: each write of the desk ends the batch before it.
    """
    journal = Journal.open(folder, wait_s)
    try:
        last = _last_entry(folder)
        if last.get("type") == EntryType.INTENT:
            why = "it ended before its result was recorded; nothing left"
            journal.append([Entry(EntryType.REFUSAL, {"request": last["request"], "why": why})])
    except BaseException:
        journal.close()
        raise
    return journal


def _last_entry(folder: str) -> dict[str, Field]:
    """The last line, which opening has checked; nothing where there is none."""
    try:
        with open(os.path.join(folder, FILE), "rb") as journal:
            journal.seek(max(0, os.fstat(journal.fileno()).st_size - MAX_LINE_BYTES - 2))
            lines = journal.read().splitlines()
        return read_canonical(lines[-1]) if lines else {}
    except (OSError, ValueError) as cause:
        raise JournalError(
            folder, f"its last line cannot be read ({cause})"[:160], "Run `sealwright doctor`."
        ) from cause


def check_head(folder: str, head: str | None) -> None:
    """JournalError where the journal is not the one whose head is remembered, or an older state of it."""
    if head is None:
        return
    data = read_file_or_none(head, 4096)
    if data is None:
        return
    text = data.decode("ascii", "replace").split("\n")
    if text[0] != HEAD_LINE or len(text) < 3 or not text[1].isdigit():
        raise JournalError(head, "it remembers no journal's head", "Name another file, or remove this one.")
    end = int(text[1])
    if _digest_before(folder, end) != text[2]:
        raise JournalError(
            folder,
            f"it is not what {head} remembers of it, {end} bytes long: an older state was restored, or another one",
            f"Restore the newest journal. If it is lost, record that, remove {head} and start again.",
        )


def _head_text(folder: str) -> bytes:
    end = os.stat(os.path.join(folder, FILE)).st_size
    return f"{HEAD_LINE}\n{end}\n{_digest_before(folder, end)}\n".encode()


def _digest_before(folder: str, end: int) -> str:
    """SHA-256 of the last 4 KiB before a place in the journal, which stand in no other one; "" where it is shorter."""
    try:
        with open(os.path.join(folder, FILE), "rb") as journal:
            start = max(0, end - 4096)
            journal.seek(start)
            data = journal.read(end - start)
    except OSError:
        return ""
    return sha256(data).hexdigest() if len(data) == end - start else ""


def _intent(batch: str, key_name: str, drafts: Sequence[Draft]) -> Entry:
    return Entry(
        EntryType.INTENT,
        {
            "request": batch,
            "kind": "timestamp",
            "key": key_name,
            "time": time_text(drafts[0].gen_time),
            "serials": tuple([f"{draft.serial:032x}" for draft in drafts]),
            "imprints": tuple([str(draft.imprint) for draft in drafts]),
        },
    )


def _result(signed: _Signed) -> Entry:
    tokens = tuple([str(Digest.of(token)) for token in signed.tokens])
    return Entry(EntryType.RESULT, {"request": signed.batch, "tokens": tokens})


def _unforeseen(cause: Exception) -> SealwrightError:
    return KeyUnavailable("timestamp key", f"it failed ({type(cause).__name__})", "Look into the log; check the key.")
