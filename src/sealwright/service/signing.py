"""A signing service that runs: everything that its configuration names, opened in an order in which nothing is signed unchecked.

    with opened(configuration, log) as service:
        await service.serve(announce)

Register and TLS files are read first, then the log is checked, then policies, which the log must let count, then keys are opened.
Register and TLS files are read again where they change: a register that cannot be read knows nobody. Policies are read again by SIGHUP.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sealwright import __version__
from sealwright.artifact.digest import Digest
from sealwright.envelope.kinds import CHECKPOINT
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import SealwrightError, UsageError
from sealwright.keys.pin import credential_path
from sealwright.log.entries import Start
from sealwright.log.note import KeySigner
from sealwright.log.writer import LogWriter
from sealwright.service.api import application
from sealwright.service.config import Configuration
from sealwright.service.connections import Limits
from sealwright.service.cosigning import ROUND_S, Cosigner
from sealwright.service.emergencyalarms import EmergencyAlarms
from sealwright.service.identity import Door, PeopleFile, Tokens
from sealwright.service.keyfare import Opening, desk_of, log_key_of, served_key, timestamp_key_of
from sealwright.service.logcounts import LogCounts
from sealwright.service.metrics import Measured, Metrics
from sealwright.service.metricspage import PATH, MetricsPage, Watched
from sealwright.service.notify import alive, say_ready
from sealwright.service.office import Office
from sealwright.service.policiesinforce import Judged, PoliciesInForce, Setting
from sealwright.service.ratealarms import RateAlarms
from sealwright.service.replay import StoredReplay
from sealwright.service.server import Log, beside, no_log, serve_application
from sealwright.service.spool import Spool
from sealwright.service.stamping import StampingRoom, timestamp_key
from sealwright.service.tickets import Tickets
from sealwright.service.tls import TlsDoor
from sealwright.signing.alone import alone
from sealwright.signing.home import Home, KeyPurpose, open_home
from sealwright.signing.policychange import Place
from sealwright.signing.policyrecord import PolicyRecord
from sealwright.signing.requests import Requests
from sealwright.signing.stamps import utc_now
from sealwright.signing.sweeper import Sweeper
from sealwright.signing.wish import ServedKey
from sealwright.store.engine import Store, open_store

SWEEP_S = 5.0
# a request may wait a minute for its signatures, a body of thousands of artifacts comes slowly, and a file may be large
LIMITS = Limits(request_s=130.0, octets_a_s=1_000_000, connections=1024, strangers=512)


@dataclass(frozen=True, slots=True)
class Service:
    """An open service."""

    configuration: Configuration
    requests: Requests
    policies: PoliciesInForce
    judged: Judged
    office: Office
    door: TlsDoor
    log: Log

    async def serve(self, announce: Callable[[str], None], access: Log = no_log) -> None:
        """Serve until SIGTERM or SIGINT; what was begun is finished first. announce: gets the bound address."""

        def announced(address: str) -> None:
            announce(address)
            say_ready()

        app = application(self.office, self.log, access)
        gc.freeze()  # what is there from now on stays: a full collection that looks at all of it stops every thread for 80 ms
        await serve_application(
            app,
            self.configuration.listen,
            announce=announced,
            limits=LIMITS,
            around=(self.door, self._kept(), *self._stamping(), *self._measured(), alive()),
            tls=self.door,
        )

    def _stamping(self) -> list[AbstractAsyncContextManager[None]]:
        return [] if self.office.stamping is None else [self.office.stamping.kept()]

    def _measured(self) -> list[AbstractAsyncContextManager[str]]:
        listen, watched = self.configuration.metrics, self.office.watched
        if listen is None or watched is None:
            return []
        return [beside({PATH: MetricsPage(watched)}, listen, self.log)]

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        work = [asyncio.create_task(self._again(one, event, pause_s)) for one, event, pause_s in self._chores()]
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, loop.run_in_executor, None, self.policies.reload)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    def _chores(self) -> Iterator[tuple[Callable[[], None], str, float]]:
        """What is done again and again: the work, what its problems are called, and the pause after it in seconds."""
        sweeper = Sweeper(self.requests)
        emergencies = EmergencyAlarms(self.requests, self.configuration.id, self.configuration.webhook, self.log)
        yield self.policies.look, "policies", SWEEP_S
        yield partial(self._sweep, sweeper), "sweep", SWEEP_S
        yield emergencies.round, "alarm", SWEEP_S
        if limits := self.configuration.rate_limits:
            yield RateAlarms(self.requests, limits, self.configuration.webhook, self.log).round, "rates", SWEEP_S
        if self.office.cosigner is not None:
            yield self.office.cosigner.round, "witnesses", ROUND_S

    async def _again(self, work: Callable[[], None], event: str, pause_s: float) -> None:
        while True:
            try:
                await asyncio.to_thread(work)
            except SealwrightError as cause:
                self._say_problem(cause, event)
            except Exception as cause:  # noqa: BLE001 - the work's edge: a row that nobody can read must not end it for good
                why = f"{type(cause).__name__}: {cause}"
                self.log({"event": event, "code": SealwrightError.code, "why": why[:500]})
            await asyncio.sleep(pause_s)

    def _sweep(self, sweeper: Sweeper) -> None:
        for problem in sweeper.sweep():
            self._say_problem(problem, "sweep")

    def _say_problem(self, cause: SealwrightError, event: str) -> None:
        self.log({"event": event, "code": cause.code, "why": str(cause)[:500]})


@contextmanager
def opened(
    configuration: Configuration,
    log: Log = no_log,
    clock: Callable[[], datetime] = utc_now,
    opening: Opening = Opening.SERVE,
) -> Iterator[Service]:
    """Open all of it and close it at the end; raises what refuses: the first part that cannot be used."""
    metrics = Metrics()
    log = metrics.counting(log)
    people = PeopleFile(configuration.people)
    _check_tenants(configuration, people)
    door = TlsDoor(replace(configuration.tls, key=credential_path(configuration.tls.key)), clock, log)
    home = open_home(configuration.home)
    enrolled = home.key(configuration.log_key or None, KeyPurpose.LOG, CHECKPOINT)
    with ExitStack() as stack:
        store = open_store(configuration.database)
        stack.callback(store.close)
        log_key = log_key_of(home, enrolled, configuration)
        stack.callback(log_key.close)
        signer = KeySigner(configuration.origin, NoteType.LOG, log_key)
        writer = stack.enter_context(LogWriter.open(store, signer, configuration.head or None))
        policies = _policies(configuration, store, writer, people, clock, log)
        judged = policies.open() if opening is Opening.SERVE else policies.judge()
        served: dict[str, ServedKey] = {}
        for entry in configuration.keys:
            key = served_key(home, entry.name)
            desk = desk_of(home, key, entry, configuration, writer, clock, opening)
            stack.callback(desk.close)
            if desk.problem:
                log({"event": "key-absent", "key": entry.name, "why": desk.problem[:500]})
            served[entry.name] = ServedKey(desk, entry.tenant)
        uploading = configuration.uploading
        largest = -1 if uploading is None else uploading.largest_bytes
        requests = Requests(store, writer, served, people.current, policies.current, configuration.id, clock, largest)
        if opening is Opening.SERVE:
            stack.enter_context(alone(store))
            sweeper = Sweeper(requests)
            sweeper.begin()
            _say_started(requests, sweeper, policies, clock())
        tokens = (
            Tokens(configuration.issuers, StoredReplay.open(store, clock()), log) if configuration.issuers else None
        )
        tickets = Tickets(store, people.current) if tokens is not None else None
        stamping = _stamping(home, configuration, opening, log)
        if stamping is not None:
            stack.callback(stamping.close)
        state = None if stamping is None else stamping.state
        measured = Measured(requests, LogCounts(writer.reader, writer.head.size), lambda: door.ends, state)
        watched = Watched(metrics, measured)
        entrance = Door(people, tokens, log, tickets)
        publishing = configuration.publishing
        cosigner = Cosigner(writer.reader, publishing, log) if publishing.witnesses else None
        spool = (
            None
            if uploading is None or opening is Opening.CHECK
            else stack.enter_context(closing(Spool.open(uploading)))
        )
        office = Office(
            requests,
            entrance,
            configuration.id,
            log_key,
            policies,
            tickets=tickets,
            watched=watched,
            publishing=publishing,
            cosigner=cosigner,
            stamping=stamping,
            spool=spool,
        )
        yield Service(configuration, requests, policies, judged, office, door, log)


def _stamping(home: Home, configuration: Configuration, opening: Opening, log: Log) -> StampingRoom | None:
    entry = configuration.timestamps
    if entry is None:
        return None
    enrolled = timestamp_key(home, entry)
    key = timestamp_key_of(home, enrolled, entry.pin_file, configuration, opening)
    try:
        return StampingRoom(home, enrolled, key, entry, log)
    except BaseException:
        key.close()
        raise


def _policies(
    configuration: Configuration,
    store: Store,
    writer: LogWriter,
    people: PeopleFile,
    clock: Callable[[], datetime],
    log: Log,
) -> PoliciesInForce:
    place = Place(configuration.id, configuration.origin, tuple(sorted({one.tenant for one in configuration.keys})))
    setting = Setting(configuration.policies, configuration.policy_changes, place)
    record = PolicyRecord(store, writer, configuration.policies)
    return PoliciesInForce(record, setting, people.current, clock, log)


def _check_tenants(configuration: Configuration, people: PeopleFile) -> None:
    for entry in configuration.keys:
        if entry.tenant not in people.current().tenants:
            raise UsageError(
                configuration.path,
                f"[[key]] {entry.name}: the register has no tenant {entry.tenant}",
                "Name one of: " + ", ".join(people.current().tenants) + ".",
            )


def _say_started(requests: Requests, sweeper: Sweeper, policies: PoliciesInForce, now: datetime) -> None:
    size, unfinished = requests.writer.head.size, sweeper.unfinished()

    def start(policy: Digest, edition: int) -> Start:
        return Start(
            time=now,
            replica=requests.replica,
            version=__version__,
            policy=policy,
            edition=edition,
            size=size,
            unfinished=unfinished,
        )

    policies.started(start)
