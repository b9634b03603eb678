"""What an installation record says, as facts for `inspect`. Never a judgement: `sealwright record check` asks whether it is genuine."""

from __future__ import annotations

from collections.abc import Iterator

from sealwright.cli.render import moment
from sealwright.plant.installation import Installation
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import Facts, PermitNamed, Record, SignerNamed, Timed
from sealwright.texts.words import say


def facts_of(data: bytes, name: str) -> tuple[tuple[str, str], ...]:
    """Name (of `LABELS`) and value, in the record's own order. Raises MalformedArtifact for what only begins like a record."""
    record = parse_record(data, name)
    return tuple((name, value) for name, value in _facts(record) if value)


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    link, facts, station = record.link, record.facts, record.station
    yield "outcome", say("fact.asked", outcome=facts.outcome.value, purpose=facts.purpose.value)
    yield "about", facts.name
    yield "size", say("fact.size", size=f"{facts.size:,}")
    yield "format", facts.format
    yield "digest", str(facts.file or "")
    yield "signed digest", str(facts.content or "")
    yield "product", facts.product
    yield "version", facts.version
    yield "generation", "" if facts.generation is None else str(facts.generation)
    yield from (("signer", _signer(one)) for one in facts.signers)
    yield "rules", say("fact.named", name=facts.rule, what=facts.mode) if facts.rule else ""
    yield from (
        ("finding", say("fact.finding", severity=one.severity.value, code=one.code, times=one.times))
        for one in facts.findings
    )
    yield "permit", _permit(facts.permit)
    if facts.installation is not None:
        yield from _installation(facts.installation)
    yield from _times(record, facts)
    trust = facts.trust
    yield "trust file", say("fact.trust", id=trust.id, version=trust.version, stage=trust.stage, digest=trust.digest)
    yield "why", say("fact.believed", why=trust.believed, rollback=trust.rollback)
    yield "host", say("fact.account", host=station.host, account=station.account)
    yield "person", record.asserted.person
    yield "change", record.asserted.change
    yield "number", say("fact.of-chain", number=link.number, folder=link.folder)
    yield "record before", str(link.previous) if link.previous else say("fact.none")
    yield "key", str(station.key) if station.key else say("fact.no-station-key")


def _signer(one: SignerNamed) -> str:
    who = one.person or one.subject or say("fact.none-named")
    how = {"who": who, "slot": one.slot.value, "key": one.key or say("fact.not-said")}
    return say("fact.accepted-signer", **how) if one.accepted else say("fact.refused-signer", **how)


def _permit(one: PermitNamed | None) -> str:
    if one is None:
        return ""
    said = {"kind": one.kind, "device": one.device, "until": moment(one.until), "digest": one.digest}
    return say("fact.permit", **said, persons=", ".join(one.persons))


def _installation(one: Installation) -> Iterator[tuple[str, str]]:
    yield "installation", say("fact.installation", stage=one.stage, serial=one.serial)
    yield "hardware", one.hardware
    if one.component:
        yield "component", say("fact.component", name=one.component, digest=one.part or say("fact.none"))
    if (tool := one.tool) is not None:
        code = say("fact.none") if tool.exit is None else str(tool.exit)
        yield "tool", say("fact.tool", path=tool.path, code=code, digest=tool.digest)
    if (found := one.readback) is not None:
        digest = found.digest or say("fact.none")
        same = say("fact.readback-same", digest=digest)
        yield "read-back", same if found.is_same else say("fact.readback-differs", digest=digest)


def _times(record: Record, facts: Facts) -> Iterator[tuple[str, str]]:
    yield "claimed time", _timed(facts.claimed)
    yield "proved time", _timed(facts.proved)
    yield "floor", _timed(facts.floor)
    yield "judged", _timed(facts.judged)
    yield "clock", moment(record.clock)


def _timed(one: Timed | None) -> str:
    return say("fact.time-by", time=moment(one.time), by=one.by) if one is not None else ""
