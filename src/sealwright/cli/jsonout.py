"""Verdicts, signatures and errors as JSON: one object a line (NDJSON), keys that are only ever added, plain ASCII.

Times are RFC 3339 in UTC; digests are `sha256:` and hexadecimal; what is not known is null. A path that is not UTF-8
keeps its bytes as lone surrogates, as Python's `os.fsdecode` writes them.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.errors import SealwrightError
from sealwright.findings import Finding
from sealwright.trust.verdict import SignerSeen, Verdict

if TYPE_CHECKING:
    from sealwright.artifact.acceptance import Acceptance  # start-up time: few files have one
    from sealwright.artifact.permit import Permit
    from sealwright.artifact.receiving import Receiving


def verdict_line(verdict: Verdict, headline: str, record: str = "") -> str:
    """The object of one path. headline: the clause after the instruction, record: the folder of its record; "" where there is none."""
    times, trust = verdict.times, verdict.trust
    return line(
        {
            "path": verdict.path,
            "outcome": verdict.outcome.value,
            "purpose": verdict.purpose.value,
            "exit_code": verdict.outcome.exit_code,
            "headline": headline,
            "findings": [finding_object(finding) for finding in verdict.findings],
            "signers": [_signer(signer) for signer in verdict.signers],
            "rule": verdict.rule or None,
            "mode": verdict.mode or None,
            "contact": verdict.contact or None,
            "times": {
                "claimed": moment(times.claimed),
                "proved": moment(times.proved),
                "floor": moment(times.floor),
                "judged": moment(times.judged),
                "source": times.source,
                "proved_by": times.by or None,
            },
            "trust": {
                "id": trust.id,
                "version": trust.version,
                "digest": _digest(trust.digest),
                "stage": trust.stage,
                "believed": trust.believed,
                "rollback": trust.rollback,
            },
            "artifact": _digest(verdict.artifact),
            "format": verdict.format or None,
            "size": verdict.size,
            "claims": claims_object(verdict.claims),
            "coverage": [
                {"start": part.start, "end": part.end, "extent": part.extent.value, "reason": part.reason}
                for part in verdict.coverage.ranges
            ],
            "hypothetical": verdict.hypothetical,
            "accepted": accepted_object(verdict.accepted) if verdict.accepted else None,
            "received": _received(verdict.received),
            "permit": permit_object(verdict.permitted.permit, verdict.permitted.digest) if verdict.permitted else None,
            "record": record or None,
        }
    )


def refused_line(path: str, purpose: str, cause: SealwrightError, headline: str) -> str:
    """The object of a path that could not be judged at all, because the trust file or state could not be used."""
    return line(
        {
            "path": path,
            "outcome": "rejected",
            "purpose": purpose,
            "exit_code": 1,
            "headline": headline,
            "findings": [error_object(cause)],
            "signers": [],
            "trust": None,
        }
    )


def error_line(cause: SealwrightError) -> str:
    """The object for a command that failed as a whole."""
    return line({"error": error_object(cause)})


def error_object(cause: SealwrightError) -> dict[str, object]:
    """An error in the shape of a finding."""
    return {
        "code": cause.code,
        "severity": "reject",
        "subject": cause.subject,
        "wanted": "",
        "found": cause.what,
        "sentence": f"{cause.subject}: {cause.what}",
        "next_step": cause.next_step,
    }


def finding_object(finding: Finding) -> dict[str, object]:
    """One finding with its sentence and next step."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "wanted": finding.wanted,
        "found": finding.found,
        "sentence": finding.sentence,
        "next_step": finding.next_step,
    }


def claims_object(claims: Claims) -> dict[str, object]:
    """What the artifact says it is."""
    return {
        "product": claims.product,
        "version": claims.version,
        "generation": claims.generation,
        "hardware": list(claims.hardware),
        "environment": claims.environment,
    }


def moment(time: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the microsecond where there is one."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def line(value: dict[str, object]) -> str:
    """One line of JSON; times as `moment` writes them."""
    return json.dumps(value, ensure_ascii=True, default=_written)


def _written(value: object) -> str | None:
    if isinstance(value, datetime):
        return moment(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _digest(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _signer(signer: SignerSeen) -> dict[str, object]:
    return {
        "source": signer.source,
        "slot": signer.slot.value,
        "subject": signer.subject,
        "person": signer.person or None,
        "organisation": signer.organisation or None,
        "key": _digest(signer.key),
        "certificate": _digest(signer.certificate),
        "anchor": signer.anchor or None,
        "algorithm": signer.algorithm,
        "provenance": signer.provenance,
        "accepted": signer.accepted,
        "logged": signer.logged or None,
        "statement": signer.statement or None,
    }


def accepted_object(acceptance: Acceptance) -> dict[str, object]:
    """Who accepted it, for where and until when."""
    return {
        "time": moment(acceptance.accepted),
        "person": acceptance.person,
        "lines": list(acceptance.lines),
        "hardware": list(acceptance.hardware),
        "not_before": moment(acceptance.not_before),
        "until": moment(acceptance.until),
        "reports": [
            {"name": os.fsdecode(one.name), "digest": str(Digest(acceptance.algorithm, one.digest))}
            for one in acceptance.reports
        ],
        "note": _digest(acceptance.note),
    }


def permit_object(permit: Permit, digest: Digest) -> dict[str, object]:
    """What a permit says. digest: of its text."""
    return {
        "digest": str(digest),
        "kind": permit.kind.value,
        "trust": permit.trust,
        "device": permit.device,
        "product": permit.product or None,
        "excuses": [excuse.value for excuse in permit.excuses],
        "from": moment(permit.begins),
        "until": moment(permit.until),
        "persons": list(permit.persons),
        "nonce": permit.nonce,
        "reason": str(permit.reason),
        "artifacts": [
            {"name": os.fsdecode(one.name), "digest": str(Digest(permit.algorithm, one.digest))}
            for one in permit.artifacts
        ],
    }


def _received(record: Receiving | None) -> dict[str, object] | None:
    if record is None:
        return None
    return {
        "grade": record.grade.value,
        "source": record.source,
        "time": moment(record.received),
        "persons": list(record.persons),
        "reason": record.reason or None,
        "evidence": [
            {
                "kind": one.kind,
                "name": os.fsdecode(one.name),
                "digest": str(Digest(record.algorithm, one.digest)),
                "size": one.size,
            }
            for one in record.evidence
        ],
    }
