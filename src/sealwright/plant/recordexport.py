"""Records chosen and written as rows: the logbook that NERC CIP-010-4 R1.6 and the Machinery Regulation ask for.

A row says who the source was and whether that was verified (R1.6.1), whether the bytes were (R1.6.2), when, that it was before
the change, on which machine, by whom, and with what result; and by number, digest and key where the signed record of it is. In the
cells nothing is a formula (A142): what a spreadsheet would calculate begins with an apostrophe; no cell has a line break.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.cells import cell, row_of
from sealwright.artifact.digest import Digest
from sealwright.errors import SealwrightError
from sealwright.log.canonical import time_text
from sealwright.plant.installation import Installation
from sealwright.plant.recordfolder import stored
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import PermitNamed, Record, Timed
from sealwright.trust.verdict import Outcome, Purpose

_WHEN = {Purpose.INSTALL: "before install", Purpose.RESTORE: "before restore", Purpose.RUN: "while installed"}
COLUMNS = (
    "record",
    "judged_at",
    "time_source",
    "clock",
    "check",
    "outcome",
    "source_identity_verified",
    "source",
    "source_key",
    "integrity_verified",
    "artifact",
    "size",
    "file_digest",
    "content_digest",
    "product",
    "version",
    "generation",
    "signing_time_proved",
    "signing_time_proved_by",
    "findings",
    "rule",
    "rule_mode",
    "trust_file",
    "trust_file_digest",
    "trust_stage",
    "host",
    "account",
    "person_as_stated",
    "change_as_stated",
    "sealwright_version",
    "record_digest",
    "record_key",
    "permit",
    "permit_device",
    "permit_persons",
    "permit_digest",
    "installation",
    "serial",
    "hardware_as_stated",
    "component",
    "component_digest",
    "tool",
    "tool_digest",
    "tool_exit",
    "readback",
    "readback_digest",
)


class Kept(NamedTuple):
    """A record as it was read, or why it could not be."""

    number: int
    path: str
    digest: Digest
    record: Record | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records. since, until: aware, of the judgement time, until is not in it; "" and None for any."""

    since: datetime | None = None
    until: datetime | None = None
    outcome: Outcome | None = None
    product: str = ""
    host: str = ""
    artifact: Digest | None = None

    def fits(self, record: Record) -> bool:
        """Whether a record is one of them."""
        facts = record.facts
        time = facts.judged.time
        return (
            (self.since is None or time >= self.since)
            and (self.until is None or time < self.until)
            and (self.outcome is None or facts.outcome is self.outcome)
            and (not self.product or facts.product == self.product)
            and (not self.host or record.station.host == self.host)
            and (self.artifact is None or self.artifact in (facts.content, facts.file))
        )


def kept(folder: str, wanted: Wanted) -> Iterator[Kept]:
    """The records that fit, in order, and those that cannot be read, which might. OutputRefused for what is no folder."""
    for one in stored(folder):
        if one.problem:
            yield Kept(one.number, one.path, one.digest, None, one.problem)
            continue
        try:
            record = parse_record(one.text, one.path)
        except SealwrightError as cause:
            yield Kept(one.number, one.path, one.digest, None, cause.what)
            continue
        if wanted.fits(record):
            yield Kept(one.number, one.path, one.digest, record)


def heading() -> bytes:
    """The first line."""
    return row_of(COLUMNS)


def row(number: int, digest: Digest, record: Record) -> bytes:
    """The line of a record."""
    return row_of(tuple(map(cell, _values(number, digest, record))))


def _values(number: int, digest: Digest, record: Record) -> tuple[str, ...]:
    facts, station, trust = record.facts, record.station, record.facts.trust
    accepted = [one for one in facts.signers if one.accepted]
    verified = "yes" if accepted else "no"
    return (
        str(number),
        time_text(facts.judged.time),
        facts.judged.by,
        time_text(record.clock),
        _WHEN[facts.purpose],
        facts.outcome.value,
        verified,
        "; ".join(one.person or one.subject for one in accepted),
        " ".join(str(one.key) for one in accepted if one.key is not None),
        verified,
        facts.name,
        str(facts.size),
        _text(facts.file),
        _text(facts.content),
        facts.product,
        facts.version,
        _text(facts.generation),
        _moment(facts.proved),
        facts.proved.by if facts.proved is not None else "",
        " ".join(f"{one.code}({one.severity})" for one in facts.findings),
        facts.rule,
        facts.mode,
        f"{trust.id} version {trust.version}",
        str(trust.digest),
        trust.stage,
        station.host,
        station.account,
        record.asserted.person,
        record.asserted.change,
        station.version,
        str(digest),
        _text(station.key) or "unsigned",
        *_permit(facts.permit),
        *_installation(facts.installation),
    )


def _permit(permit: PermitNamed | None) -> tuple[str, str, str, str]:
    if permit is None:
        return "", "", "", ""
    return permit.kind.value, permit.device, "; ".join(permit.persons), str(permit.digest)


def _installation(one: Installation | None) -> tuple[str, ...]:
    if one is None:
        return ("",) * 10
    tool, found = one.tool, one.readback
    device = one.stage.value, one.serial, one.hardware, one.component, _text(one.part)
    program = ("", "", "") if tool is None else (tool.path, str(tool.digest), _text(tool.exit))
    read = ("", "") if found is None else ("same" if found.is_same else "differs", _text(found.digest))
    return (*device, *program, *read)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _moment(timed: Timed | None) -> str:
    return "" if timed is None else time_text(timed.time)
