"""What a round of the agent is for, how one ends, and what others do at its seams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

from sealwright.device.agentstate import Installed
from sealwright.device.install import Result
from sealwright.release.channels import Named

if TYPE_CHECKING:
    from sealwright.device.admission import Permits  # start-up time: a check judges nothing
    from sealwright.trust.verdict import Verdict


class Doing(Enum):
    """What a round is for: CHECK only asks the repository; DRY_RUN also fetches and judges; INSTALL installs, in its window;
    NOW installs at once, as somebody at the device asked for; AGAIN the same of a release that failed here before."""

    CHECK = auto()
    DRY_RUN = auto()
    INSTALL = auto()
    NOW = auto()
    AGAIN = auto()


class Outcome(StrEnum):
    """How a round ended. The value is what machines read. NOT_REACHED: by an error of the repository, which is raised once it is reported."""

    NOTHING_OFFERED = "nothing-offered"
    NOTHING_NEW = "nothing-new"
    NEW = "new"
    WOULD_INSTALL = "would-install"
    WAITS_FOR_WINDOW = "waits-for-window"
    WAITS_FOR_CONSENT = "waits-for-consent"
    REFUSED = "refused"
    INSTALLED = "installed"
    RETURNED = "returned"
    WAITS_FOR_REBOOT = "waits-for-reboot"
    NOT_REACHED = "not-reached"


Asked = Callable[[Named, "Verdict"], bool]
Report = Callable[["Round"], None]


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did. release: the one it was about; verdict: on the copy, where one was judged; installed: afterwards;
    recovered: how an interrupted installation ended before; running: the verdict on what is installed, where the trust file or what was
    withdrawn is other than at the last round; fetched_bytes: that came from the repository."""

    outcome: Outcome
    release: Named | None
    verdict: Verdict | None
    installed: Installed | None
    trouble: str
    recovered: Result | None
    running: Verdict | None = None
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Seams:
    """What others do at the agent's two seams; None where nobody does. permits: those at hand; report: the signed report of what happened."""

    permits: Permits | None = None
    report: Report | None = None
