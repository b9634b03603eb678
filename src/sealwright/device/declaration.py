"""What a script's author declares of its runs, in comments in front of its first command, and so under its signature.

    # sealwright-run: kind = sh                     where no #! says it: a name is under no signature
    # sealwright-run: hosts = gw-01, gw-02          this machine's name, whole or up to its first dot
    # sealwright-run: accounts = ops                who runs it
    # sealwright-run: not-before = 2026-11-24T01:00:00Z
    # sealwright-run: not-after = 2026-11-24T03:00:00Z
    # sealwright-run: days = Tue, Wed               with hours, UTC
    # sealwright-run: hours = 01:00-03:00
    # sealwright-run: runs = 1                      on each machine, counted in --state

Nothing that lies beside the script can widen or remove them. A line that cannot be read refuses the script, and so does one
behind the first command, which a reader may not see.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import NamedTuple

from sealwright.device.marked import COMMENT, MARK, Unclear, marked
from sealwright.device.script import Script

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MAX_RUNS = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9_.$-]{1,128}")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")
_KEYS = ("kind", "hosts", "accounts", "not-before", "not-after", "days", "hours", "runs")


class Declaration(NamedTuple):
    """Empty and None: not declared. hours: from and up to, UTC; an end before its start is on the next day."""

    kind: str = ""
    hosts: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    days: tuple[str, ...] = ()
    hours: tuple[time, time] | None = None
    runs: int | None = None

    def outside(self, now: datetime) -> str:
        """Why a moment is not in the declared window; "" where it is."""
        now = now.astimezone(UTC)
        if self.not_before is not None and now < self.not_before:
            return f"it may run from {self.not_before:%Y-%m-%d %H:%M:%S} UTC"
        if self.not_after is not None and now >= self.not_after:
            return f"it might run until {self.not_after:%Y-%m-%d %H:%M:%S} UTC"
        day, at = now.weekday(), now.time()
        if self.hours is not None:
            start, end = self.hours
            over_midnight = end <= start
            if over_midnight and at < end:
                day = (day - 1) % 7  # the night that began yesterday
            elif not (at >= start and (over_midnight or at < end)):
                return f"it may run from {start:%H:%M} to {end:%H:%M} UTC"
        if self.days and DAYS[day] not in self.days:
            return f"it may run on {', '.join(self.days)}"
        return ""


def read_declaration(script: Script) -> Declaration:
    """What a script declares; Unclear with the line."""
    found: dict[str, str] = {}
    for number, key, value in marked(script.text, COMMENT[script.kind]):
        if key not in _KEYS:
            raise Unclear(f"line {number}: `{MARK} KEY = VALUE` with one of {', '.join(_KEYS)}")
        if key in found:
            raise Unclear(f"line {number}: `{key}` is there twice")
        if key == "kind" and value != script.kind:
            raise Unclear(f"line {number}: `kind` is {value}, and its name or first line says {script.kind}")
        found[key] = value
    return _made(found)


def _made(found: dict[str, str]) -> Declaration:
    made = Declaration(
        kind=found.get("kind", ""),
        hosts=_names(found, "hosts"),
        accounts=_names(found, "accounts"),
        not_before=_moment(found, "not-before"),
        not_after=_moment(found, "not-after"),
        days=_days(found),
        hours=_hours(found),
        runs=_runs(found),
    )
    if made.not_before is not None and made.not_after is not None and made.not_before >= made.not_after:
        raise Unclear("`not-before` is not in front of `not-after`")
    return made


def _list(found: dict[str, str], key: str) -> list[str]:
    return [one.strip() for one in found[key].split(",")] if key in found else []


def _names(found: dict[str, str], key: str) -> tuple[str, ...]:
    names = _list(found, key)
    if not all(_NAME.fullmatch(name) for name in names):
        raise Unclear(f"`{key}` is a list of names with commas")
    return tuple(names)


def _moment(found: dict[str, str], key: str) -> datetime | None:
    if key not in found:
        return None
    try:
        moment = datetime.fromisoformat(found[key])
        if moment.tzinfo is None:
            raise ValueError(key)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as cause:
        raise Unclear(f"`{key}` is a time like 2026-11-24T01:00:00Z") from cause


def _days(found: dict[str, str]) -> tuple[str, ...]:
    days = _list(found, "days")
    if not set(days) <= set(DAYS):
        raise Unclear(f"`days` are some of {', '.join(DAYS)}")
    return tuple(days)


def _hours(found: dict[str, str]) -> tuple[time, time] | None:
    if "hours" not in found:
        return None
    match = _HOURS.fullmatch(found["hours"])
    if match is None or (match[3] == "24" and match[4] != "00") or found["hours"][:5] == found["hours"][6:]:
        raise Unclear("`hours` are like 01:00-03:00, UTC")
    first, minutes, last, more = (int(number) for number in match.groups())
    return time(first, minutes), time(last % 24, more)


def _runs(found: dict[str, str]) -> int | None:
    if "runs" not in found:
        return None
    if not re.fullmatch(r"[1-9]\d{0,6}", found["runs"]) or int(found["runs"]) > MAX_RUNS:
        raise Unclear(f"`runs` is a number from 1 to {MAX_RUNS:,}")
    return int(found["runs"])
