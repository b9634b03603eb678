"""Maintenance windows: when a device may be changed.

    [[window]]
    days = ["Sat", "Sun"]            # none: every day
    from = "22:00"
    to = "03:00"                     # an end that is not after its start is on the next day, which belongs to the day it began on
    zone = "Europe/Berlin"           # none: UTC

Without a window a device may be changed at any time.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import datetime, time, tzinfo

from sealwright.artifact.section import Section
from sealwright.device.declaration import DAYS

_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Window:
    """days: sorted places in `DAYS`, () for all; start, end: in the zone, an end that is not after the start is on the next day."""

    days: tuple[int, ...]
    start: time
    end: time
    zone: str

    def holds(self, now: datetime) -> bool:
        """Whether a moment (aware) is in it."""
        here = now.astimezone(_zone(self.zone))
        day, at = here.weekday(), here.time()
        over_midnight = self.end <= self.start
        if over_midnight and at < self.end:
            day = (day - 1) % 7  # the night that began yesterday
        elif not (at >= self.start and (over_midnight or at < self.end)):
            return False
        return not self.days or day in self.days

    def __str__(self) -> str:
        days = ", ".join(DAYS[day] for day in self.days) or "every day"
        return f"{days} {self.start:%H:%M}-{self.end:%H:%M} {self.zone}"


def read_window(section: Section) -> Window:
    """One [[window]]; the section's own error for what is none."""
    days = section.texts("days")
    if not set(days) <= set(DAYS):
        raise section.wrong("days", f"some of {', '.join(DAYS)}")
    start, end = _hour(section, "from"), _hour(section, "to")
    zone = section.text("zone", "UTC")
    try:
        _zone(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise section.wrong("zone", 'a zone that this system knows, such as "Europe/Berlin"') from cause
    return Window(tuple(sorted(DAYS.index(day) for day in days)), start, end, zone)


def open_at(windows: tuple[Window, ...], now: datetime) -> bool:
    """Whether a device may be changed at a moment."""
    return not windows or any(window.holds(now) for window in windows)


def _hour(section: Section, key: str) -> time:
    found = _HOUR.fullmatch(section.text(key))
    if found is None:
        raise section.wrong(key, 'an hour like "22:00"')
    return time(int(found[1]), int(found[2]))


def _zone(name: str) -> tzinfo:
    return zoneinfo.ZoneInfo(name)
