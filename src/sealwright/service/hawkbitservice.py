"""hawkBit's device interface that runs: its database, the repository it offers from, and one or two listeners.

    with opened_hawkbit(configuration, log) as hawkbit:
        await hawkbit.serve(announce)

The repository is looked at every `WATCH_S`. What a device is offered is looked up for each question, so that a withdrawal counts from the next look on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from litestar.types import ASGIApp, Receive, Scope, Send

from sealwright.errors import SealwrightError
from sealwright.keys.pin import credential_path
from sealwright.service.background import going_on
from sealwright.service.bodies import LargeBodies
from sealwright.service.connections import Limits
from sealwright.service.edge import access_line, edge
from sealwright.service.hawkbitconfig import Door, HawkbitConfiguration
from sealwright.service.hawkbitdoor import DeviceDoor
from sealwright.service.hawkbitoffers import RepositoryOffers
from sealwright.service.hawkbitpages import ASKED_AT, HawkbitDesk, resources
from sealwright.service.notify import alive, say_ready
from sealwright.service.server import Log, application_beside, no_log, serve_application
from sealwright.service.tls import TlsDoor
from sealwright.signing.stamps import utc_now
from sealwright.store.engine import open_store

WATCH_S = 1.0
# a download is one answer, and takes as long as a slow line needs; who is not known is answered before
LIMITS = Limits(request_s=6 * 3600.0, connections=4096, strangers=3584, handshakes=1024)


@dataclass(frozen=True, slots=True)
class Hawkbit:
    """An open service."""

    configuration: HawkbitConfiguration
    desk: HawkbitDesk
    tls: TlsDoor
    log: Log

    def application(self, door: Door, access: Log = no_log) -> ASGIApp:
        """The ASGI application behind one listener."""
        watches = [] if access is no_log else [access_line(access)]
        return _asked_at(edge(resources(self.desk), watches, LargeBodies(), self.log), door)

    async def serve(self, announce: Callable[[str], None], access: Log = no_log) -> None:
        """Serve until SIGTERM or SIGINT. announce: gets the bound address, and after it the one without TLS where there is one."""
        told: list[str] = []

        def announced(address: str) -> None:
            announce(" ".join((address, *told)))
            say_ready()

        await serve_application(
            self.application(self.configuration.door, access),
            self.configuration.door.listen,
            announce=announced,
            limits=LIMITS,
            around=(self.tls, self._watching(), self._plain(told, access), alive()),
            tls=self.tls,
        )

    @asynccontextmanager
    async def _plain(self, told: list[str], access: Log) -> AsyncIterator[None]:
        door = self.configuration.plain
        if door is None:
            yield
            return
        async with application_beside(self.application(door, access), door.listen, LIMITS) as address:
            told.append(address)
            yield

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self.desk.offers.refresh)
        async with going_on(self._watch):
            yield

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await asyncio.to_thread(self.desk.offers.refresh)
            except SealwrightError as cause:
                self.log({"event": "repository", "code": cause.code, "why": str(cause)[:500]})


@contextmanager
def opened_hawkbit(
    configuration: HawkbitConfiguration, log: Log = no_log, clock: Callable[[], datetime] = utc_now
) -> Iterator[Hawkbit]:
    """Open all of it and close it at the end; raises what refuses: the first part that cannot be used."""
    tls = TlsDoor(replace(configuration.tls, key=credential_path(configuration.tls.key)), clock, log)
    with closing(open_store(configuration.database)) as store:
        offers = RepositoryOffers(
            configuration.repository, configuration.tuf_root, configuration.state, store, clock, log
        )
        door = DeviceDoor(store, configuration.tenant, log)
        desk = HawkbitDesk(store, offers, door, configuration.plain, configuration.poll_seconds, clock, log)
        yield Hawkbit(configuration, desk, tls, log)


def _asked_at(app: ASGIApp, door: Door) -> ASGIApp:
    """Say by which listener a request came: links lead back there."""

    async def entering(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})[ASKED_AT] = door
        await app(scope, receive, send)

    return entering
