"""One key of a token behind several worker processes, for throughput and so that one that dies costs nothing.

    with closing(open_token_pool("pkcs11:token=line-1;id=%01", pin, workers=2)) as key:
        key.sign(batch)
        print(key.health())

1. A batch is split over the workers; two questions are under way at each, so that no token waits for us while we verify.
2. Each value is verified, and its ECDSA nonce compared with all that any worker gave, before any leaves (A012, A013).
3. A worker that dies, hangs or loses its session is ended, and what it had goes to the others, once. A background thread opens the next
   one: after a failure it waits, longer each time. Nothing is left of a batch that failed.
4. Every login goes through `PinMarks`: a wrong PIN is tried once, by whichever process, and a worker never logs in again by itself (A161).
5. Each new worker must find the same key, with the same standing (A163); every `LOOK_S` an idle one is asked whether it still has (A162).
6. What a person must see to (a wrong PIN, another key, a false signature) stops the pool: its workers end, and it signs no more.

`sign` is for one desk at a time (a second one waits); `health` and `close` are safe from any thread. Nothing is used in a forked child.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from sealwright.envelope.algorithms import SignatureAlgorithm, key_digest
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, SealwrightError, UsageError
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.health import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    KeyHealth,
    KeyState,
    Place,
    Pulse,
    needs_a_person,
)
from sealwright.keys.pin import Pin
from sealwright.keys.pinmark import PinMarks
from sealwright.keys.pkcs11 import (
    AHEAD,
    CHUNK,
    TIMEOUT_S,
    OnLoss,
    Opened,
    lost,
    named_key,
    open_worker,
    pin_for,
    refusal,
    same_key,
    sign_question,
    values_of,
)
from sealwright.keys.pkcs11_process import Worker, WorkerLost
from sealwright.keys.uri import Pkcs11Uri, parse_pkcs11

MAX_WORKERS = 16
MAX_CHUNK_BYTES = 12 * 1024  # as hex two of them fit into a pipe, so that a worker that hangs keeps nobody waiting
WATCH_S = 1.0
LOOK_S = 30.0
LOOK_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Job:
    """A part of a batch. sent: how many workers had it."""

    place: int
    chunk: Sequence[ToBeSigned]
    sent: int = 0


class TokenPool:
    """An open key with several workers."""

    def __init__(self, opener: _Opener, first: Opened, wanted: int, timeout_s: float) -> None:
        self.info = first.info
        self.timeout_s = timeout_s
        self.look_s = LOOK_S
        self._opener = opener
        self._wanted = wanted
        token = parse_pkcs11(first.info.uri)
        self._place = Place(token.token, token.serial, first.slot)
        self._check = SignatureCheck(first.info)  # one for all workers; used under _desk
        self._pulse = Pulse()
        self._process = os.getpid()
        self._desk = threading.Lock()  # held by who talks to workers: `sign`, or the watch while nobody signs
        self._lock = threading.Condition()  # guards the four below
        self._workers: list[Worker] = [first.worker]
        self._closed = False
        self._failures = 0
        self._why = ""
        self._wake_read, self._wake_write = os.pipe()
        if sys.platform != "win32":  # where no token is used yet
            os.set_blocking(self._wake_write, False)
        self._turn = threading.Event()
        self._watch: threading.Thread | None = None

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        if os.getpid() != self._process:
            raise KeyUnavailable(
                self.info.uri, "it was opened before this process forked", "Open the key in this process."
            )
        self._check.before(batch)
        with self._desk:
            self._refuse_ended()
            self._look(ask=False)  # one that died while nobody signed costs no part its one repetition
            try:
                values = self._signed(batch)
            except SealwrightError as cause:
                self._failed(cause)
                raise
        missing = self._missing()
        self._pulse.good(KeyState.PARTLY if missing else KeyState.SIGNS, self._why if missing else "")
        return values

    def health(self) -> KeyHealth:
        """How it fares now; never waits for a signature."""
        with self._lock:
            working = len(self._workers)
        return self._pulse.health(
            str(key_digest(self.info.public_key)), self.info.uri, self._place, working, self._wanted
        )

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The process ids of the workers, for those who watch them."""
        with self._lock:
            return tuple(worker.pid for worker in self._workers)

    def close(self) -> None:
        """End the workers, which logs out. Closing twice is fine."""
        if os.getpid() != self._process:
            return
        with self._lock:
            already, self._closed = self._closed, True
            self._lock.notify_all()
        self._turn.set()
        if already:
            return
        with self._desk:
            for worker in self._taken():
                worker.close()
            watch = self._watch
        if watch is not None:
            watch.join(WATCH_S)  # one that is opening a worker ends it when it comes
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._pulse.turn(KeyState.LOST, "it was closed")

    def start(self) -> None:
        """Open the other workers, one after the other (a module may not like them to start together), then watch."""
        try:
            while self._missing():
                again = self._opener.open()
                same_key(again, self.info)
                self._add(again)
        except SealwrightError as cause:
            if needs_a_person(cause):
                raise
            self._note(cause)
        self._watch = threading.Thread(target=self._watching, name="sealwright-token-watch", daemon=True)
        self._watch.start()

    # --- the desk: whoever holds _desk

    def _signed(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        jobs = deque(_Job(place, chunk) for place, chunk in enumerate(parts(batch, self._wanted)))
        values: list[list[bytes]] = [[] for _ in jobs]
        left = len(jobs)
        flying: dict[Worker, deque[_Job]] = {}
        until: dict[Worker, float] = {}
        try:
            while left:
                self._feed(jobs, flying, until)
                if not flying:
                    self._wait_for_a_worker()
                    continue
                for worker in self._ready(flying, until):
                    job = flying[worker][0]
                    try:
                        found = values_of(worker.receive(self.timeout_s), self.info.uri, len(job.chunk))
                    except WorkerLost as cause:
                        self._give_back(worker, flying.pop(worker), jobs, cause)
                        continue
                    for one, value in zip(job.chunk, found, strict=True):
                        self._check.after(one, value)
                    flying[worker].popleft()
                    until[worker] = time.monotonic() + self.timeout_s
                    values[job.place] = found
                    left -= 1
                    if not flying[worker]:
                        del flying[worker]
        except BaseException:
            for worker in flying:  # what it still answers would be taken for the next batch's
                self._drop(worker, "a batch was broken off")
            raise
        return [value for found in values for value in found]

    def _feed(self, jobs: deque[_Job], flying: dict[Worker, deque[_Job]], until: dict[Worker, float]) -> None:
        """Give each worker its next questions, those with the fewest first."""
        for ahead in range(AHEAD):
            with self._lock:
                workers = list(self._workers)
            for worker in workers:
                if not jobs:
                    return
                if len(flying.get(worker, ())) > ahead:
                    continue
                job = jobs.popleft()
                job.sent += 1
                flying.setdefault(worker, deque()).append(job)
                until.setdefault(worker, 0.0)
                if len(flying[worker]) == 1:
                    until[worker] = time.monotonic() + self.timeout_s
                try:
                    worker.send(sign_question(self.info.algorithm, job.chunk), self.timeout_s)
                except WorkerLost as cause:
                    self._give_back(worker, flying.pop(worker), jobs, cause)

    def _ready(self, flying: dict[Worker, deque[_Job]], until: dict[Worker, float]) -> list[Worker]:
        """Workers with an answer, or whose time is over: reading from those fails at once, and that is how they are given up."""
        now = time.monotonic()
        late = [worker for worker in flying if until[worker] <= now]
        if late:
            for worker in late:
                worker.end()
            return late
        wait = min(until[worker] for worker in flying) - now
        descriptors = {worker.answers_at: worker for worker in flying}
        readable = select.select([*descriptors, self._wake_read], [], [], wait)[0]
        if self._wake_read in readable:
            os.read(self._wake_read, 64)  # a new worker: it is fed in the next round
        return [descriptors[one] for one in readable if one in descriptors]

    def _give_back(self, worker: Worker, had: deque[_Job], jobs: deque[_Job], cause: WorkerLost) -> None:
        """What a lost worker had goes to another one, once."""
        self._drop(worker, str(cause))
        if any(job.sent > 1 for job in had):
            raise lost(self.info.uri, cause) from cause
        jobs.extendleft(reversed(had))

    def _wait_for_a_worker(self) -> None:
        """Until the watch has opened one, or has failed to."""
        until = time.monotonic() + self.timeout_s
        with self._lock:
            seen = self._failures
            self._turn.set()
            while not self._workers and self._failures == seen and not self._closed:
                if not self._lock.wait(max(0.0, until - time.monotonic())):
                    break
            if self._workers:
                return
            why = self._why or "it has no worker"
        self._refuse_ended()
        raise KeyUnavailable(
            self.info.uri, why, "Check that the token is plugged in (`sealwright doctor`), then sign again."
        )

    def _refuse_ended(self) -> None:
        if self._closed:
            raise KeyUnavailable(self.info.uri, "it was closed", "Open it again.")
        if self._pulse.stopped:
            why = self.health().why
            raise KeyRefused(self.info.uri, f"it was stopped: {why}", "Open the key again when that is mended.")

    def _failed(self, cause: SealwrightError) -> None:
        self._pulse.bad(cause)
        if self._pulse.stopped:
            for worker in self._taken():
                worker.kill()
        self._turn.set()

    # --- the watch

    def _watching(self) -> None:
        """Replace what is missing, look after what is idle, until closed or stopped."""
        wait, looked = FIRST_WAIT_S, time.monotonic()
        while True:
            self._turn.wait(WATCH_S if not self._missing() else wait)
            self._turn.clear()
            if self._closed:
                return
            if self._pulse.stopped:
                with self._desk:
                    for worker in self._taken():
                        worker.kill()
                return
            if self._desk.acquire(blocking=False):
                try:
                    due = time.monotonic() - looked >= self.look_s
                    self._look(ask=due)
                    looked = time.monotonic() if due else looked
                finally:
                    self._desk.release()
            wait = self._mend(wait)

    def _look(self, *, ask: bool) -> None:
        """Drop idle workers that ended; with `ask`, also those that have their key no more."""
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            if worker.ended:
                self._drop(worker, "the worker process ended")
                continue
            if not ask:
                continue
            try:
                said = worker.ask({"do": "look"}, min(self.timeout_s, LOOK_TIMEOUT_S)).get("error")
            except WorkerLost as cause:
                self._drop(worker, str(cause))
                continue
            if said == "key-changed":
                self._failed(refusal(self.info.uri, "key-changed"))
                return
            if said:
                self._drop(worker, "its session was lost")

    def _mend(self, wait: float) -> float:
        """Open one missing worker; how long to wait before the next try."""
        if not self._missing() or self._closed or self._pulse.stopped:
            return FIRST_WAIT_S
        try:
            again = self._opener.open()
            same_key(again, self.info)
        except SealwrightError as cause:
            if needs_a_person(cause):
                self._pulse.bad(cause)
                self._turn.set()
            self._note(cause)
            return min(wait * 2, LONGEST_WAIT_S)
        self._add(again)
        if self._missing():
            self._turn.set()
        else:
            self._pulse.turn(KeyState.SIGNS, "")
        return FIRST_WAIT_S

    # --- the list of workers

    def _missing(self) -> int:
        with self._lock:
            return self._wanted - len(self._workers)

    def _add(self, opened: Opened) -> None:
        with self._lock:
            if self._closed or self._pulse.stopped:
                opened.worker.kill()
                return
            self._workers.append(opened.worker)
            self._lock.notify_all()
            with suppress(BlockingIOError):
                os.write(self._wake_write, b"w")

    def _note(self, cause: SealwrightError) -> None:
        """A try to open a worker failed."""
        with self._lock:
            self._failures += 1
            self._why = cause.what
            working = len(self._workers)
            self._lock.notify_all()
        self._pulse.turn(KeyState.PARTLY if working else KeyState.LOST, cause.what)

    def _drop(self, worker: Worker, why: str) -> None:
        """End a worker and have it replaced."""
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)
            self._why = why
            working = len(self._workers)
        worker.kill()
        self._pulse.turn(KeyState.PARTLY if working else KeyState.LOST, why)
        self._turn.set()

    def _taken(self) -> list[Worker]:
        with self._lock:
            workers, self._workers = self._workers, []
            return workers


@dataclass(frozen=True, slots=True)
class _Opener:
    """How a worker of this key is opened; marks None: a wrong PIN stops this pool alone."""

    asked: Pkcs11Uri
    pin: Pin | None
    algorithm: SignatureAlgorithm | None
    timeout_s: float
    marks: PinMarks | None

    def open(self) -> Opened:
        return open_worker(self.asked, self.pin, self.algorithm, self.timeout_s, OnLoss.GIVE_UP, self._login)

    def _login(self, token: str) -> AbstractContextManager[None]:
        return nullcontext() if self.marks is None else self.marks.trying(token, self.pin)


def open_token_pool(
    uri: str,
    pin: Pin | None,
    algorithm: SignatureAlgorithm | None = None,
    *,
    workers: int = 2,
    marks: PinMarks | None = None,
    timeout_s: float = TIMEOUT_S,
) -> TokenPool:
    """Open one key of a token with several workers; fewer, and PARTLY, where the token has not room for all.

    marks: where tried PINs are remembered across restarts. Raises as `open_token_key`, PinRefused for a PIN that was refused before.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise UsageError(uri, f"{workers} workers", f"Name 1 to {MAX_WORKERS}.")
    asked = named_key(uri)
    opener = _Opener(asked, pin or pin_for(asked), algorithm, timeout_s, marks)
    first = opener.open()
    exact = parse_pkcs11(first.info.uri)  # by serial and id from now on
    pool = TokenPool(_Opener(exact, opener.pin, first.info.algorithm, timeout_s, marks), first, workers, timeout_s)
    try:
        pool.start()
    except BaseException:
        pool.close()
        raise
    return pool


def parts(batch: Sequence[ToBeSigned], workers: int) -> list[Sequence[ToBeSigned]]:
    """A batch cut so that every worker has something to do, and no question fills its pipe."""
    if not batch:
        return []
    share = -(-len(batch) // (workers * AHEAD))
    size = max(1, min(CHUNK, share, MAX_CHUNK_BYTES // max(1, max(len(one.data) for one in batch))))
    return [batch[at : at + size] for at in range(0, len(batch), size)]
