"""Who may read the metrics, and where: at the door by role, or at an address of its own that only this machine reaches.

    metrics_listen = "127.0.0.1:9464"        # in service.toml; or unix:/run/sealwright/metrics

1. At `/metrics` of the service itself: operators, auditors and administrators, of their own tenant's keys. For others it is not there.
2. At `metrics_listen`, a loopback address or a unix socket: everybody who gets there, of all keys. It has no TLS and nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from sealwright.errors import NoSuchRequest, UsageError
from sealwright.service.metrics import TYPE, Measured, Metrics
from sealwright.service.server import Answer, Listen
from sealwright.service.server import Request as PlainRequest
from sealwright.signing.people import Principal, Role

PATH = "/metrics"
WATCHERS = frozenset((Role.OPERATOR, Role.AUDITOR, Role.ADMINISTRATOR))


@dataclass(frozen=True, slots=True)
class Watched:
    """Metrics with what they measure."""

    metrics: Metrics
    measured: Measured

    async def told(self, tenant: str | None) -> bytes:
        """The exposition; None: of every tenant's keys."""
        return await asyncio.to_thread(self.metrics.exposition, self.measured, tenant)


@get(PATH, summary="What the service measures of itself (Prometheus)", media_type=TYPE)
async def metrics_at_the_door(
    who: NamedDependency[Principal], request: Request[Any, Any, Any], watched: NamedDependency[Watched]
) -> Response[bytes]:
    """Point 1."""
    if not WATCHERS & who.roles:
        raise NoSuchRequest(
            request.url.path, "there is no such resource", "Ask for one that the OpenAPI document names."
        )
    return Response(await watched.told(who.tenant), media_type=TYPE)


class MetricsPage:
    """Point 2: a resource of `server.py`."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    async def answer(self, request: PlainRequest) -> Answer:  # noqa: ARG002 - of the protocol
        """The exposition."""
        return Answer(200, await self._watched.told(None), TYPE)


def check_own_address(listen: Listen, subject: str) -> None:
    """UsageError where others than this machine would reach it. subject: the configuration's path."""
    try:
        own = bool(listen.path) or listen.host == "localhost" or ipaddress.ip_address(listen.host).is_loopback
    except ValueError:
        own = False
    if not own:
        raise UsageError(
            subject,
            f"metrics_listen: {listen.host} is no address that this machine alone reaches",
            "Name 127.0.0.1:PORT or unix:PATH; from elsewhere ask for /metrics at the service's door, as an operator.",
        )
