"""A signing service that runs: everything that its configuration names, opened in an order in which nothing is signed unchecked.

    with opened(configuration, log) as service:
        await service.serve(announce)

Register, policies and TLS files are read first, then the log is checked, then keys are opened. Register and TLS files are read again
where they change: a register that cannot be read knows nobody. Policies are those of the start, whose digest is in the log's entry of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime

from sealwright import __version__
from sealwright.envelope.kinds import CHECKPOINT
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import SealwrightError, UsageError
from sealwright.keys.backends import open_key
from sealwright.keys.pin import Pin
from sealwright.log.entries import Start
from sealwright.log.note import KeySigner
from sealwright.log.writer import LogWriter
from sealwright.service.api import Office, application
from sealwright.service.config import Configuration
from sealwright.service.cosigning import ROUND_S, Cosigner
from sealwright.service.identity import Door, PeopleFile, Tokens
from sealwright.service.oidc import MemoryReplay
from sealwright.service.server import Limits, Log, no_log, serve_application
from sealwright.service.tls import TlsDoor
from sealwright.signing.desk import Desk
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.policy import Policies, load_policies
from sealwright.signing.requests import Requests
from sealwright.signing.stamps import utc_now
from sealwright.signing.wish import ServedKey
from sealwright.store.engine import open_store

SWEEP_S = 5.0
START_S = 30.0
# a request may wait a minute for its signatures, and a body of thousands of artifacts comes slowly
LIMITS = Limits(request_s=130.0, connections=1024)


@dataclass(frozen=True, slots=True)
class Service:
    """An open service."""

    configuration: Configuration
    requests: Requests
    office: Office
    door: TlsDoor
    log: Log

    async def serve(self, announce: Callable[[str], None], access: Log = no_log) -> None:
        """Serve until SIGTERM or SIGINT; what was begun is finished first. announce: gets the bound address."""
        await serve_application(
            application(self.office, self.log, access),
            self.configuration.listen,
            announce=announce,
            limits=LIMITS,
            around=(self.door, self._kept()),
            tls=self.door,
        )

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        work = [asyncio.create_task(self._again(self.requests.sweep, "sweep", SWEEP_S))]
        if self.office.cosigner is not None:
            work.append(asyncio.create_task(self._again(self.office.cosigner.round, "witnesses", ROUND_S)))
        try:
            yield
        finally:
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _again(self, work: Callable[[], None], event: str, pause_s: float) -> None:
        while True:
            try:
                await asyncio.to_thread(work)
            except SealwrightError as cause:
                self.log({"event": event, "code": cause.code, "why": str(cause)[:500]})
            await asyncio.sleep(pause_s)


@contextmanager
def opened(
    configuration: Configuration, log: Log = no_log, clock: Callable[[], datetime] = utc_now
) -> Iterator[Service]:
    """Open all of it and close it at the end; raises what refuses: the first part that cannot be used."""
    people = PeopleFile(configuration.people)
    people.current()
    policies = load_policies(configuration.policies)
    door = TlsDoor(configuration.tls, clock, log)
    home = open_home(configuration.home)
    enrolled = home.key(configuration.log_key or None, KeyPurpose.LOG, CHECKPOINT)
    with ExitStack() as stack:
        store = open_store(configuration.database)
        stack.callback(store.close)
        log_key = open_key(
            home.uri(enrolled),
            _pin(configuration.log_pin_file),
            algorithm=enrolled.algorithm,
            expected=enrolled.public_key,
        )
        stack.callback(log_key.close)
        signer = KeySigner(configuration.origin, NoteType.LOG, log_key)
        writer = stack.enter_context(LogWriter.open(store, signer, configuration.head or None))
        served: dict[str, ServedKey] = {}
        for entry in configuration.keys:
            key = home.key(entry.name, KeyPurpose.ARTIFACT)
            desk = Desk(home, key, _pin(entry.pin_file), writer, clock)
            stack.callback(desk.close)
            served[entry.name] = ServedKey(desk, entry.tenant)
        _check_tenants(configuration, people)
        requests = Requests(store, writer, served, people.current, lambda: policies, configuration.id, clock)
        requests.sweep()
        _say_started(requests, writer, policies, clock())
        tokens = Tokens(configuration.issuers, MemoryReplay(clock()), log) if configuration.issuers else None
        publishing = configuration.publishing
        cosigner = Cosigner(writer.reader, publishing, log) if publishing.witnesses else None
        office = Office(requests, Door(people, tokens, log), configuration.id, publishing, cosigner)
        yield Service(configuration, requests, office, door, log)


def _pin(path: str) -> Pin | None:
    return Pin.from_file(path) if path else None


def _check_tenants(configuration: Configuration, people: PeopleFile) -> None:
    for entry in configuration.keys:
        if entry.tenant not in people.current().tenants:
            raise UsageError(
                configuration.path,
                f"[[key]] {entry.name}: the register has no tenant {entry.tenant}",
                "Name one of: " + ", ".join(people.current().tenants) + ".",
            )


def _say_started(requests: Requests, writer: LogWriter, policies: Policies, now: datetime) -> None:
    start = Start(
        time=now,
        replica=requests.replica,
        version=__version__,
        policy=policies.digest,
        size=writer.head.size,
        unfinished=requests.unfinished(),
    )
    writer.append([start.encoded()]).result(START_S)
