"""Tables of who may do what, that policies are tried with: `sealwright policy test`.

As CSV, one case a line, whose first line names the columns:

    who,roles,action,environment,provenance,approvals,expected
    anna,requester,sign,production,hardware-attested,1,refused
    anna,requester,sign,production,hardware-attested,2,allowed

As TOML, where people and what is usual are said once:

    # sealwright policy test 1
    [usual]
    environment = "production"
    [who.ci]
    machine = true
    roles = ["requester"]
    claims = { repository = "acme/drive-firmware", ref = "refs/tags/v1" }
    [[case]]
    who = "ci"
    action = "sign"
    expected = "refused"
    rule = "machines-sign-tags-of-our-builder-only"

expected is `allowed` or `refused`; rule: the one that decides; needed: the approvals, of them officers, that are needed, `2` or `2/1`, or `never`.
What a case does not say is the least there is; the time is a Wednesday noon, and everybody and everything is of one tenant.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from enum import StrEnum
from typing import TypeVar

from sealwright.artifact.names import display
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.errors import MalformedPolicy, SealwrightError
from sealwright.keys.key import Provenance
from sealwright.signing.people import Principal, Role
from sealwright.signing.policy import Decision, Needed, Policies
from sealwright.signing.policyquestion import Action, Context, Question, Subject, Usage
from sealwright.signing.policyschema import OF_PROVENANCE
from sealwright.trust.model import Environment

E = TypeVar("E", bound=StrEnum)
FIRST_LINE = "# sealwright policy test 1"
MAX_BYTES = 1 << 20
MAX_CASES = 10_000
NEXT = "Correct the table; docs/policy.md lists its columns."
COMPLAINT = Complaint(MalformedPolicy, MAX_BYTES, NEXT)
TENANT = "own"
NOON = datetime(2026, 1, 7, 12)  # a Wednesday, by the zone of the settings
WHO = ("who", "machine", "roles", "person", "tenant", "claims")
FIELDS = {
    "who": "the id of a person or machine",
    "machine": "yes or no",
    "roles": "of requester, approver, officer, operator, auditor, administrator; several with commas",
    "person": "who answers for a machine (else it is itself)",
    "tenant": "of the one who asks",
    "claims": "of its CI token: NAME=VALUE, several with commas",
    "action": "what it wants to do",
    "of": "the tenant to whom the artifact belongs (else the same)",
    "key": "the key's name",
    "provenance": "the key's: hardware-attested, hardware-claimed, hardware-imported, service-held, development",
    "format": "the artifact's format, or the statement's kind",
    "product": "",
    "version": "",
    "environment": "production, test, development",
    "hardware": "several with commas",
    "count": "how many artifacts",
    "claims_signed": "yes or no: product and so on are read from signed bytes",
    "approvals": "by distinct others",
    "officers": "how many of those are officers",
    "requester": "the person whose request it is, for approve and withdraw",
    "builder": "of a verified build provenance",
    "build_type": "of the same",
    "source": "the repository that it names",
    "source_ref": "its tag or branch",
    "second_prepare": "yes or no: a second one came to the same digest",
    "prepares": "how many distinct others did",
    "uploaded": "yes or no: the service prepared the uploaded files and came to the same digest",
    "used_hour": "how many the one who asks had signed in an hour",
    "used_day": "in a day",
    "product_hour": "how many of the product were signed in an hour",
    "product_day": "in a day",
    "emergency": "yes or no",
    "at": "the time; without a zone by that of the settings",
}
EXPECTED = ("name", "expected", "rule", "needed")


@dataclass(frozen=True, slots=True)
class Case:
    """One line. said: its fields as they were written, without those of who asks and what is usual; rule, needed: "" where any may be."""

    name: str
    where: str
    question: Question
    said: tuple[tuple[str, str], ...]
    allowed: bool
    rule: str = ""
    needed: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read. usual: what its cases have unless they say otherwise."""

    usual: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the policies answered to a case."""

    case: Case
    decision: Decision
    needed: str

    @property
    def as_expected(self) -> bool:
        """Whether it is what the table says, in everything that it says."""
        case, decision = self.case, self.decision
        decided = not case.rule or case.rule in {rule.id for rule in decision.deciding}
        return decision.allowed is case.allowed and decided and case.needed in ("", self.needed)


def run_case(policies: Policies, case: Case) -> Outcome:
    """Ask it."""
    needed = needed_text(policies.needed(case.question)) if case.needed else ""
    return Outcome(case, policies.decide(case.question), needed)


def needed_text(needed: Needed | None) -> str:
    """As a table says it."""
    if needed is None:
        return "never"
    return f"{needed.approvals}/{needed.officers}" if needed.officers else str(needed.approvals)


def read_table(data: bytes, path: str, zone: tzinfo) -> Table:
    """Every case of a table. MalformedPolicy naming the line or case; an empty table is none."""
    table = _read_toml(data, path, zone) if data.startswith(b"#") else Table((), tuple(_read_csv(data, path, zone)))
    if not 1 <= len(table.cases) <= MAX_CASES:
        raise MalformedPolicy(path, f"it holds {len(table.cases)} cases", f"1 to {MAX_CASES} are tried.")
    return table


def read_question(
    fields: Mapping[str, str], subject: str, zone: tzinfo, error: type[SealwrightError] = MalformedPolicy
) -> Question:
    """A question out of texts by the names of FIELDS; what is missing or "" is the least. error: raised for what is wrong."""
    one = _Fields(fields, subject, error)
    who = one.text("who")
    if not who:
        raise error(subject, "it does not say who asks", "Say `who`.")
    tenant = one.text("tenant") or TENANT
    builder = one.text("builder")
    return Question(
        Principal(
            who,
            one.text("person") or who,
            one.flag("machine"),
            tenant,
            frozenset(one.word("roles", Role, text) for text in one.listed("roles")),
            tuple(one.claims()),
        ),
        one.word("action", Action, one.text("action")),
        Subject(
            one.text("of") or tenant,
            one.text("key"),
            one.word_or_none("provenance", Provenance),
            one.text("format"),
            one.text("product"),
            one.text("version"),
            one.word_or_none("environment", Environment),
            one.listed("hardware"),
            one.number("count", 1),
            one.flag("claims_signed"),
        ),
        Context(
            one.time("at", zone),
            one.number("approvals"),
            one.number("officers"),
            one.text("requester"),
            builder,
            any((builder, *(one.text(name) for name in OF_PROVENANCE))),
            max(one.number("prepares"), int(one.flag("second_prepare"))),
            Usage(one.number("used_hour"), one.number("used_day")),
            Usage(one.number("product_hour"), one.number("product_day")),
            one.flag("emergency"),
            one.text("build_type"),
            one.text("source"),
            one.text("source_ref"),
            one.flag("uploaded"),
        ),
    )


class _Fields:
    """Texts by name, read as what they are."""

    def __init__(self, fields: Mapping[str, str], subject: str, error: type[SealwrightError]) -> None:
        self._fields, self._subject, self._error = fields, subject, error

    def text(self, name: str) -> str:
        return self._fields.get(name, "").strip()

    def listed(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(name).split(",") if part.strip())

    def flag(self, name: str) -> bool:
        if (text := self.text(name)) not in ("", "yes", "no"):
            raise self._wrong(name, "yes or no")
        return text == "yes"

    def number(self, name: str, default: int = 0) -> int:
        text = self.text(name)
        if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise self._wrong(name, "a whole number")
        return int(text) if text else default

    def word(self, name: str, kind: type[E], text: str) -> E:
        try:
            return kind(text)
        except ValueError as cause:
            raise self._wrong(name, "one of " + ", ".join(kind)) from cause

    def word_or_none(self, name: str, kind: type[E]) -> E | None:
        return self.word(name, kind, text) if (text := self.text(name)) else None

    def claims(self) -> Iterator[tuple[str, str]]:
        for part in self.listed("claims"):
            name, separator, value = part.partition("=")
            if not separator:
                raise self._wrong("claims", "NAME=VALUE")
            yield name, value

    def time(self, name: str, zone: tzinfo) -> datetime:
        text = self.text(name)
        try:
            found = datetime.fromisoformat(text) if text else NOON
        except ValueError as cause:
            raise self._wrong(name, "a time such as 2026-12-24T10:00") from cause
        if not 1990 <= found.year <= 9000:
            raise self._wrong(name, "a time of our days")
        return found if found.tzinfo is not None else found.replace(tzinfo=zone)

    def _wrong(self, name: str, wanted: str) -> SealwrightError:
        return self._error(self._subject, f"`{name}` must be {wanted}, not {display(self.text(name))[:60]!r}", NEXT)


def _case(fields: Mapping[str, str], where: str, zone: tzinfo, usual: Mapping[str, str]) -> Case:
    unknown = sorted(set(fields) - {*FIELDS, *EXPECTED})
    if unknown:
        raise MalformedPolicy(where, f"nobody reads `{display(unknown[0])}`", NEXT)
    expected = fields.get("expected", "").strip()
    if expected not in ("allowed", "refused"):
        raise MalformedPolicy(where, "`expected` must be allowed or refused", NEXT)
    return Case(
        fields.get("name", "").strip(),
        where,
        read_question(fields, where, zone),
        _said({key: text for key, text in fields.items() if text != usual.get(key)}),
        expected == "allowed",
        fields.get("rule", "").strip(),
        fields.get("needed", "").strip(),
    )


def _read_csv(data: bytes, path: str, zone: tzinfo) -> Iterator[Case]:
    if len(data) > MAX_BYTES:
        raise MalformedPolicy(path, f"{len(data)} bytes", f"At most {MAX_BYTES} are read.")
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header) or "who" not in header:
            raise MalformedPolicy(f"{path}:1", "its first line does not name each column once, with `who`", NEXT)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                what = f"it has {len(row)} columns instead of {len(header)}"
                raise MalformedPolicy(f"{path}:{reader.line_num}", what, NEXT)
            yield _case(dict(zip(header, row, strict=True)), f"{path}:{reader.line_num}", zone, {})
    except (csv.Error, UnicodeDecodeError) as cause:
        raise MalformedPolicy(path, f"it is not CSV in UTF-8 ({cause})", NEXT) from cause


def _read_toml(data: bytes, path: str, zone: tzinfo) -> Table:
    top = read_toml(data, path, FIRST_LINE, COMPLAINT)
    usual = _texts(top.table("usual")) if top.has("usual") else {}
    people: dict[str, dict[str, str]] = {}
    if top.has("who"):
        for name, value in top.table("who").items():
            if not isinstance(value, dict):
                raise top.wrong("who", "tables such as [who.anna]")
            people[name] = {"who": name, **_texts(Section(value, f"[who.{name}]", path, COMPLAINT))}
    cases = [_texts(section) for section in top.tables("case")]
    top.done()
    named = [{**usual, **people.get(case.get("who", usual.get("who", "")), {}), **case} for case in cases]
    return Table(_said(usual), tuple(_case(case, f"{path}: case {n}", zone, usual) for n, case in enumerate(named, 1)))


def _said(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Of fields those about the artifact and the circumstances."""
    hidden = (*WHO, "action")
    return tuple(
        (key, text.strip()) for key, text in fields.items() if key in FIELDS and key not in hidden and text.strip()
    )


def _texts(section: Section) -> dict[str, str]:
    return {key: _text(section, key, value) for key, value in section.items()}


def _text(section: Section, key: str, value: object) -> str:
    """A value as a cell of a table would have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{name}={_text(section, key, one)}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(_text(section, key, one) for one in value)
    if isinstance(value, date | time):
        return value.isoformat()
    text = str(value)
    if not isinstance(value, str | int) or ("," in text and key in ("claims", "roles", "hardware")):
        raise section.wrong(key, "a text without commas, a number, true or false, or a list of texts")
    return text


def deciding(outcomes: Sequence[Outcome]) -> frozenset[str]:
    """The rules that decided any of them."""
    return frozenset(rule.id for outcome in outcomes for rule in outcome.decision.deciding)
