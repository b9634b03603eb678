"""What the resources of a signing service work on, put together by `signing.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from sealwright.keys.health import WatchedKey
from sealwright.service.arrivals import Arrivals
from sealwright.service.cosigning import Cosigner
from sealwright.service.identity import Door
from sealwright.service.metricspage import Watched
from sealwright.service.policiesinforce import PoliciesInForce
from sealwright.service.publishing import Publishing
from sealwright.service.spool import Spool
from sealwright.service.stamping import StampingRoom
from sealwright.service.tickets import Tickets
from sealwright.signing.requests import Requests


@dataclass(frozen=True, slots=True)
class Office:
    """What the resources work on. name: the service's id.

    tickets: None where no CI system asks; watched: None where nothing is measured; cosigner: None where no witness is configured;
    stamping: None where no timestamps are made; spool: None where no file is taken; arrivals: of the loop that serves.
    """

    requests: Requests
    door: Door
    name: str
    log_key: WatchedKey
    policies: PoliciesInForce
    tickets: Tickets | None = None
    watched: Watched | None = None
    publishing: Publishing = Publishing()
    cosigner: Cosigner | None = None
    stamping: StampingRoom | None = None
    spool: Spool | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)

    @property
    def warnings(self) -> list[str]:
        """What the service signs without."""
        found = [] if self.cosigner is None else list(self.cosigner.problems)
        stamped = None if self.stamping is None else self.stamping.state()
        if stamped is not None and (stamped.problem or stamped.warning):
            found.append(f"timestamps: {stamped.problem or stamped.warning}")
        return found
