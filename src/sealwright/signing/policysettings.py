"""The settings of a policy folder, its one `.toml` file: what rules call by a name because Cedar has no calendar and keeps no counts.

# sealwright policy settings 1
zone = "Europe/Berlin"                  # in which hours and dates are read; UTC where nothing is said
claims = ["repository", "ref"]          # of CI tokens, those that rules may speak of; otherwise those of GitHub and GitLab

[hours.office]                          # context.hours.contains(Hours::"office")
days = ["monday", "tuesday", "wednesday", "thursday", "friday"]
from = "07:00"
until = "18:00"                         # not included; before `from`: of the next day

[freeze.year-end]                       # context.freeze.contains(Freeze::"year-end")
from = 2026-12-18                       # a date: the whole day; or a time, with or without its zone
until = 2027-01-06                      # a date: included; a time: not included
reason = "nobody is at the plants"

[quota.ci]                              # context.over.contains(Quota::"ci")
of = "principal"                        # or "product"
per = "hour"                            # or "day"
at_most = 60

[builder.release]                       # whose build provenance counts (`builder.py`)
id = "https://ci.acme.example/workflows/release"
build_types = ["https://actions.github.io/buildtypes/workflow/v1"]
key = "-----BEGIN PUBLIC KEY-----…"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.errors import MalformedPolicy
from sealwright.signing.builder import Builder, builder_of
from sealwright.signing.policyquestion import Context, Facts, Question

T = TypeVar("T")
FIRST_LINE = "# sealwright policy settings 1"
MAX_BYTES = 64 * 1024
MAX_NAMES = 100
NEXT = "Correct it; `sealwright policy check FOLDER` reads it."
COMPLAINT = Complaint(MalformedPolicy, MAX_BYTES, NEXT)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY_MINUTES = 24 * 60
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_CLAIM = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_NO_FACTS = Facts()
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
CI_CLAIMS = (
    "iss",
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
    "ref",
    "ref_type",
    "ref_protected",
    "environment",
    "event_name",
    "workflow_ref",
    "job_workflow_ref",
    "runner_environment",
    "actor",
    "actor_id",
    "base_ref",
    "head_ref",
    "project_path",
    "project_id",
    "namespace_path",
    "namespace_id",
    "ref_path",
    "pipeline_source",
    "ci_config_ref_uri",
    "environment_protected",
    "deployment_tier",
    "user_login",
)


class Counted(StrEnum):
    """Whose signatures a quota counts."""

    PRINCIPAL = "principal"
    PRODUCT = "product"


class Span(StrEnum):
    """Over how long a quota counts."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of some days of the week, by the clock on the wall. start, end: minutes since midnight; an end before the start is on the next day."""

    name: str
    days: frozenset[int]
    start: int
    end: int

    def hold(self, local: datetime) -> bool:
        """Whether it is one of them."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which something rests. start <= now < end, both aware."""

    name: str
    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Quota:
    """How many artifacts may be signed within a span."""

    name: str
    of: Counted
    per: Span
    at_most: int

    def exceeded(self, context: Context, count: int) -> bool:
        """Whether so many more would be too many."""
        usage = context.by_principal if self.of is Counted.PRINCIPAL else context.of_product
        return (usage.hour if self.per is Span.HOUR else usage.day) + count > self.at_most


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a folder; what a folder without a file of them has."""

    zone: tzinfo = UTC
    claims: tuple[str, ...] = CI_CLAIMS
    hours: tuple[Hours, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    quotas: tuple[Quota, ...] = ()
    builders: tuple[Builder, ...] = ()

    def facts(self, question: Question) -> Facts:
        """Time and counts as names."""
        if not (self.hours or self.freezes or self.quotas):
            return _NO_FACTS
        context, local = question.context, question.context.now.astimezone(self.zone)
        return Facts(
            frozenset(one.name for one in self.hours if one.hold(local)),
            frozenset(one.name for one in self.freezes if one.start <= context.now < one.end),
            frozenset(one.name for one in self.quotas if one.exceeded(context, question.resource.count)),
        )


def parse_settings(data: bytes, subject: str) -> Settings:
    """One file. subject: its path, as errors name it."""
    top = read_toml(data, subject, FIRST_LINE, COMPLAINT)
    zone = _zone(top)
    claims = top.texts("claims") or CI_CLAIMS
    for claim in claims:
        if not _CLAIM.fullmatch(claim):
            raise top.wrong("claims", "a list of claims' names: letters, digits, underscores")
    found = Settings(
        zone,
        claims,
        _each(top, "hours", _hours),
        _each(top, "freeze", lambda name, section: _freeze(name, section, zone)),
        _each(top, "quota", _quota),
        _each(top, "builder", builder_of),
    )
    top.done()
    return found


def _zone(top: Section) -> tzinfo:
    name = top.text("zone", "UTC")
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError) as cause:  # ZoneInfoNotFoundError is a KeyError
        raise top.wrong("zone", 'a time zone such as "Europe/Berlin"') from cause
    except KeyError as cause:
        raise top.wrong("zone", 'a time zone that this system knows, such as "Europe/Berlin"') from cause


def _each(top: Section, key: str, read: Callable[[str, Section], T]) -> tuple[T, ...]:
    if not top.has(key):
        return ()
    return tuple(_read_each(top, key, read))


def _read_each(top: Section, key: str, read: Callable[[str, Section], T]) -> Iterator[T]:
    named = list(top.table(key).items())
    if len(named) > MAX_NAMES:
        raise top.wrong(key, f"at most {MAX_NAMES} tables")
    for name, value in named:
        if not NAME.fullmatch(name) or len(name) > 64:
            raise top.wrong(key, "tables whose names are small letters, digits and hyphens")
        if not isinstance(value, dict):
            raise top.wrong(key, f"tables such as [{key}.{name}]")
        section = Section(value, f"[{key}.{name}]", top.subject, COMPLAINT)
        yield read(name, section)
        section.done()


def _hours(name: str, section: Section) -> Hours:
    days = section.texts("days") or DAYS
    if not set(days) <= set(DAYS):
        raise section.wrong("days", "a list of " + ", ".join(f'"{day}"' for day in DAYS))
    start, end = _minutes(section, "from"), _minutes(section, "until")
    if start in (end, DAY_MINUTES) or end == 0:
        raise section.wrong("until", 'another time than `from`; for the whole day "00:00" until "24:00"')
    return Hours(name, frozenset(map(DAYS.index, days)), start, end)


def _minutes(section: Section, key: str) -> int:
    value = section.value(key)
    text = value.isoformat("minutes") if isinstance(value, time) and not value.second else value
    found = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise section.wrong(key, 'a time of the day such as "07:00"')
    return DAY_MINUTES if found[1] is None else int(found[1]) * 60 + int(found[2])


def _freeze(name: str, section: Section, zone: tzinfo) -> Freeze:
    start = _moment(section, "from", zone, timedelta(0))
    end = _moment(section, "until", zone, timedelta(days=1))
    if end <= start:
        raise section.wrong("until", "later than `from`")
    return Freeze(name, start, end, section.text("reason", " ").strip())


def _moment(section: Section, key: str, zone: tzinfo, whole_day: timedelta) -> datetime:
    """A time in UTC. whole_day: what is added to a date."""
    value = section.value(key)
    if not isinstance(value, date) or not 1990 <= value.year <= 9000:
        raise section.wrong(key, "a date such as 2026-12-18, or a time such as 2026-12-18T12:00:00")
    if not isinstance(value, datetime):
        value = datetime.combine(value + whole_day, time())
    return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(UTC)


def _quota(name: str, section: Section) -> Quota:
    of = Counted(section.word("of", tuple(Counted)))
    return Quota(name, of, Span(section.word("per", tuple(Span))), section.number("at_most", 0))
