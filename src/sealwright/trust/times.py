"""Which time a judgement stands at (RULES 4): judged = max(clock, floor); `--at` replaces the clock only.

The floor is the newest time this verifier knows to be past: the trust file's `issued`, the floor kept in a state folder,
and genTime - accuracy of a token accepted in this very judgement. It never passes the trust file's `expires`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

USUAL_DRIFT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Judgement:
    """judged: the time used; source: where it came from; clock: what the clock (or `--at`) said. All aware UTC."""

    judged: datetime
    source: str
    clock: datetime
    floor: datetime
    hypothetical: bool

    @property
    def clock_is_behind(self) -> bool:
        """True where the clock showed a time that is known to be past."""
        return self.clock < self.floor

    @property
    def clock_is_wrong(self) -> bool:
        """True where it is further behind than clocks that nobody sets differ; seconds after signing they may."""
        return self.clock < self.floor - USUAL_DRIFT


def judgement(
    clock: datetime, at: datetime | None, issued: datetime, expires: datetime, floor: datetime | None
) -> Judgement:
    """The judgement time before any signature is looked at."""
    low = min(max(issued, floor), expires) if floor is not None else issued
    return _at(clock if at is None else at, low, at is not None)


def raised(judgement: Judgement, proved: datetime, expires: datetime) -> Judgement:
    """The judgement after a token was accepted; `proved` is genTime - accuracy."""
    low = min(proved, expires)
    return judgement if low <= judgement.floor else _at(judgement.clock, low, judgement.hypothetical)


def _at(clock: datetime, floor: datetime, hypothetical: bool) -> Judgement:
    if clock < floor:
        return Judgement(floor, "floor", clock, floor, hypothetical)
    return Judgement(clock, "--at (hypothetical)" if hypothetical else "clock", clock, floor, hypothetical)
