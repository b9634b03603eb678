"""Which time a judgement stands at (RULES 4): judged = max(clock, floor); `--at` replaces the clock only.

The floor is the newest time this verifier knows to be past: the trust file's `issued`, the floor kept in a state folder,
and what the proofs accepted in this very judgement show. It never passes the trust file's `expires`, and goes more than 400
days ahead only where two that know nothing of each other say so: one authority gone mad stops no plant.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

USUAL_DRIFT = timedelta(minutes=5)
MAX_FLOOR_STEP = timedelta(days=400)


class Seen(NamedTuple):
    """A time that is past, by an accepted object. by: whose word it is; what one party says twice is one source."""

    time: datetime
    by: str


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


def raised(judgement: Judgement, seen: Collection[Seen], expires: datetime) -> Judgement:
    """The judgement after proofs were accepted."""
    low = moved(judgement.floor, seen, expires)
    return judgement if low <= judgement.floor else _at(judgement.clock, low, judgement.hypothetical)


def moved(floor: datetime, seen: Collection[Seen], expires: datetime) -> datetime:
    """The floor after accepted objects: as far as two sources agree, and from there at most one step (RULES 4)."""
    times = {one.by: floor for one in seen}
    for one in seen:
        times[one.by] = max(times[one.by], min(one.time, expires))
    if len(times) > 1:
        floor = sorted(times.values())[-2]
    within = [time for one in seen if (time := min(one.time, expires)) <= floor + MAX_FLOOR_STEP]
    return max((floor, *within))


def _at(clock: datetime, floor: datetime, hypothetical: bool) -> Judgement:
    if clock < floor:
        return Judgement(floor, "floor", clock, floor, hypothetical)
    return Judgement(clock, "--at (hypothetical)" if hypothetical else "clock", clock, floor, hypothetical)
