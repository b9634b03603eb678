"""A fleet's service that runs: its database, its intake, and the door for those who look.

    with opened_fleet(configuration, log) as fleet:
        await fleet.serve(announce)

1. Devices get to `/v1/reports` and `/health`; everything else is for principals of the configured tenant with one of `LOOKERS`, known by
   certificate (`identity.py`, `tls.py`). For everybody else it is not there, or nobody is known, in one answer (A121, A129).
2. The channels' folder is looked at every `WATCH_S`; where it says something else, who is behind is counted anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sealwright.device.reportsender import PATH
from sealwright.errors import SealwrightError, UsageError
from sealwright.keys.pin import credential_path
from sealwright.service.background import going_on
from sealwright.service.connections import Limits
from sealwright.service.fleetconfig import FleetConfiguration
from sealwright.service.fleetintake import Intake
from sealwright.service.fleetoffers import Offers
from sealwright.service.fleetpages import FleetDesk, not_there, resources
from sealwright.service.fleetrows import count_again
from sealwright.service.identity import Door, PeopleFile, Unidentified
from sealwright.service.notify import alive, say_ready
from sealwright.service.server import Answer, Log, application, no_log, serve_application
from sealwright.service.tls import TlsDoor
from sealwright.signing.people import Role
from sealwright.signing.stamps import utc_now
from sealwright.store.engine import open_store

LOOKERS = frozenset((Role.OPERATOR, Role.AUDITOR, Role.ADMINISTRATOR))
OPEN = frozenset((PATH, "/health"))
WATCH_S = 2.0
# devices come without a certificate, many at once after a release, and wait for a commit
LIMITS = Limits(request_s=30.0, connections=4096, strangers=3584, handshakes=1024)
App = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Fleet:
    """An open service."""

    configuration: FleetConfiguration
    desk: FleetDesk
    people: PeopleFile
    tls: TlsDoor
    log: Log

    def application(self, access: Log = no_log) -> App:
        """The ASGI application."""
        door = Door(self.people, None, self.log)
        app = application(resources(self.desk), access, self.log)
        return _behind_the_door(app, door, self.configuration.tenant, self.desk.clock)

    async def serve(self, announce: Callable[[str], None], access: Log = no_log) -> None:
        """Serve until SIGTERM or SIGINT. announce: gets the bound address."""

        def announced(address: str) -> None:
            announce(address)
            say_ready()

        await serve_application(
            self.application(access),
            self.configuration.listen,
            announce=announced,
            limits=LIMITS,
            around=(self.tls, self.desk.intake.kept(), going_on(self._watch), alive()),
            tls=self.tls,
        )

    async def _watch(self) -> None:
        stale = False
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                stale = await asyncio.to_thread(self.desk.offers.refresh) or stale
                if stale:
                    changed = await asyncio.to_thread(count_again, self.desk.store, self.desk.offers.current)
                    stale = False
                    self.log({"event": "channels", "changed": changed})
            except SealwrightError as cause:
                self.log({"event": "channels", "code": cause.code, "why": str(cause)[:500]})


@contextmanager
def opened_fleet(
    configuration: FleetConfiguration, log: Log = no_log, clock: Callable[[], datetime] = utc_now
) -> Iterator[Fleet]:
    """Open all of it and close it at the end; raises what refuses: the first part that cannot be used."""
    people = PeopleFile(configuration.people)
    if configuration.tenant not in people.current().tenants:
        known = ", ".join(people.current().tenants)
        raise UsageError(
            configuration.path, f"the register has no tenant {configuration.tenant}", f"Name one of: {known}."
        )
    tls = TlsDoor(replace(configuration.tls, key=credential_path(configuration.tls.key)), clock, log)
    offers = Offers(configuration.channels, log)
    with closing(open_store(configuration.database)) as store:
        count_again(store, offers.current)
        desk = FleetDesk(store, Intake(store, offers, clock, log), offers, configuration.silent_hours, clock, log)
        yield Fleet(configuration, desk, people, tls, log)


def _behind_the_door(app: App, door: Door, tenant: str, clock: Callable[[], datetime]) -> App:
    """Point 1."""

    async def entering(scope: Mapping[str, Any], receive: App, send: App) -> None:
        if scope["path"] in OPEN:
            await app(scope, receive, send)
            return
        try:
            who = await door.enter(scope, clock())
        except Unidentified as cause:
            await _say(send, cause.answer)
            return
        if who.tenant != tenant or not LOOKERS & who.roles:
            await _say(send, not_there())
            return
        await app(scope, receive, send)

    return entering


async def _say(send: App, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
