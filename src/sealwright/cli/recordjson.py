"""A record as one object of JSON; what is not known is null."""

from __future__ import annotations

from sealwright.plant.installation import Installation
from sealwright.plant.recordexport import Kept
from sealwright.plant.records import PermitNamed, Timed


def record_object(one: Kept) -> dict[str, object]:
    """Everything that a record says."""
    if one.record is None:
        raise ValueError("it was not read")
    link, facts, asserted, station = one.record.link, one.record.facts, one.record.asserted, one.record.station

    def timed(value: Timed | None) -> dict[str, object] | None:
        return None if value is None else {"time": value.time, "by": value.by}

    return {
        "number": one.number,
        "path": one.path,
        "digest": str(one.digest),
        "folder": link.folder,
        "previous": _text(link.previous),
        "outcome": facts.outcome.value,
        "purpose": facts.purpose.value,
        "name": facts.name,
        "size": facts.size,
        "format": facts.format or None,
        "content": _text(facts.content),
        "file": _text(facts.file),
        "product": facts.product or None,
        "version": facts.version or None,
        "generation": facts.generation,
        "signers": [
            {
                "accepted": signer.accepted,
                "slot": signer.slot.value,
                "key": _text(signer.key),
                "certificate": _text(signer.certificate),
                "person": signer.person or None,
                "subject": signer.subject or None,
            }
            for signer in facts.signers
        ],
        "rule": facts.rule or None,
        "mode": facts.mode or None,
        "findings": [
            {"severity": found.severity.value, "code": found.code, "times": found.times} for found in facts.findings
        ],
        "permit": _permit(facts.permit),
        "installation": _installation(facts.installation),
        "claimed": timed(facts.claimed),
        "proved": timed(facts.proved),
        "floor": timed(facts.floor),
        "judged": timed(facts.judged),
        "trust": {
            "id": facts.trust.id,
            "version": facts.trust.version,
            "stage": facts.trust.stage,
            "digest": str(facts.trust.digest),
            "believed": facts.trust.believed,
            "rollback": facts.trust.rollback,
        },
        "host": station.host,
        "account": station.account,
        "person": asserted.person or None,
        "change": asserted.change or None,
        "clock": one.record.clock,
        "sealwright": station.version,
        "key": _text(station.key),
    }


def _permit(permit: PermitNamed | None) -> dict[str, object] | None:
    if permit is None:
        return None
    return {
        "kind": permit.kind.value,
        "device": permit.device,
        "until": permit.until,
        "digest": str(permit.digest),
        "persons": list(permit.persons),
    }


def _installation(one: Installation | None) -> dict[str, object] | None:
    if one is None:
        return None
    tool, found = one.tool, one.readback
    return {
        "stage": one.stage.value,
        "serial": one.serial,
        "hardware": one.hardware or None,
        "component": one.component or None,
        "component_digest": _text(one.part),
        "tool": None if tool is None else {"path": tool.path, "digest": str(tool.digest), "exit": tool.exit},
        "readback": None if found is None else {"same": found.is_same, "digest": _text(found.digest)},
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
