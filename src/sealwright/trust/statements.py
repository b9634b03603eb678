"""What the plant's two statements count for: an acceptance beside a maker's signature, a receiving record in its place.

An acceptance fills the slot `plant` of a rule where
1. its signature holds, of the person it names, and it is of these very bytes (`formats/statements.py`);
2. everything that counts beside it is what it lists, or lies in the file it lists: another maker's signature was not accepted;
3. the place fits: production line and hardware, if it names any, and the time. Who does not say where this is, is told to; for RUN
   that is a warning, as is an acceptance that has ended: what runs goes on.
A receiving record stands in for a maker's signature where
4. the rule lists its grade, and signers of its slot `plant` signed it: each person whom the record names, none of them with the
   key of another (A120).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from sealwright.artifact.acceptance import Acceptance
from sealwright.artifact.manifest import Over
from sealwright.artifact.receiving import Receiving
from sealwright.envelope.cms import Signer
from sealwright.findings import Finding, reject, undecided, warning
from sealwright.formats.archive import ArchiveObject
from sealwright.formats.known import BESIDE, EMBEDDED
from sealwright.trust.layouts import family
from sealwright.trust.model import Rule
from sealwright.trust.signatures import Judged
from sealwright.trust.verdict import Asked, Purpose


def about_acceptance(entry: Judged, beside: Sequence[Judged], place: Asked, at: datetime) -> list[Finding]:
    """Points 1 to 3: refusals, and for RUN warnings. beside: what counts for the rule already; at: the judgement time."""
    acceptance, source = entry.candidate.statement, entry.seen.source
    if not isinstance(acceptance, Acceptance):
        return list(entry.refusals)
    findings = _not_by(entry, (acceptance.person,))
    findings += [
        reject("SW-ACCEPTANCE-OTHER-SIGNATURE", source, one.seen.source, "another one or none")
        for one in beside
        if not is_bound(one, acceptance, entry.candidate.bound)
    ]
    if acceptance.over is Over.TREE and not beside:
        findings.append(
            reject("SW-ACCEPTANCE-OTHER-SIGNATURE", source, "what lists the folder's files", "nothing that counts")
        )
    return [*findings, *_scope(source, acceptance, place, at)]


def stand_in(
    rule: Rule,
    records: Sequence[Judged],
    reasons: Mapping[str, Sequence[list[Finding]]],
    different: Callable[[Sequence[Judged]], int],
) -> tuple[list[Judged], list[Finding]]:
    """Point 4: the signatures of a record that counts, and the warning that says so; or no signatures, and why.

    records: its signatures; reasons: by source, why each signer rule of the slot `plant` does not take it, () where one does;
    different: how many of some signatures differ in key and person.
    """
    record = records[0].candidate.statement
    if not isinstance(record, Receiving):
        return [], [refusal for one in records for refusal in one.refusals]
    if record.grade.value not in rule.grades:
        return [], [reject("SW-GRADE-NOT-ALLOWED", rule.name, ", ".join(rule.grades), record.grade.value)]
    problems: list[Finding] = []
    fits: list[Judged] = []
    for entry in records:
        found = reasons[entry.seen.source]
        nobody = [reject("SW-SIGNER-NOT-ALLOWED", entry.seen.subject, f"the receivers of rule {rule.name}")]
        why = next((one for one in found if not one), found[0] if found else nobody) or _not_by(entry, record.persons)
        problems += [finding for finding in why if finding not in problems]
        fits += [] if why else [entry]
    if {entry.seen.person for entry in fits} == {*record.persons} and different(fits) == len(record.persons):
        return fits, [_told(record, records[0].candidate.name)]
    if not problems:
        problems.append(reject("SW-SIGNERS-TOO-FEW", rule.name, str(len(record.persons)), str(different(fits))))
    return [], problems


def _not_by(entry: Judged, persons: Sequence[str]) -> list[Finding]:
    """The refusal of a signature that is not of a person whom the statement names."""
    if entry.seen.person in persons:
        return []
    if not entry.seen.person:
        return [reject("SW-SIGNER-UNMAPPED", entry.seen.source, found=entry.seen.subject)]
    return [reject("SW-STATEMENT-PERSON", entry.seen.source, " or ".join(persons), entry.seen.person)]


def _told(record: Receiving, name: str) -> Finding:
    """What every verdict says where a receiving record stands in for a maker's signature."""
    pieces = len(record.evidence)
    kept = "1 piece of evidence" if pieces == 1 else f"{pieces} pieces of evidence"
    found = f"{record.received:%Y-%m-%d}, {kept}, by {' and '.join(record.persons)}"
    return warning("SW-RECEIVED", name, f"{record.grade}, from {record.source}", found)


def _scope(source: str, acceptance: Acceptance, place: Asked, at: datetime) -> list[Finding]:
    running = place.purpose is Purpose.RUN
    ended, unsaid = (warning, warning) if running else (reject, undecided)
    findings = []
    if acceptance.lines and place.line not in acceptance.lines:
        named = ", ".join(acceptance.lines)
        findings.append(
            reject("SW-ACCEPTANCE-LINE", source, named, place.line)
            if place.line
            else unsaid("SW-ACCEPTANCE-LINE-UNSAID", source, named)
        )
    if acceptance.hardware and place.hardware not in acceptance.hardware:
        named = ", ".join(acceptance.hardware)
        findings.append(
            reject("SW-ACCEPTANCE-HARDWARE", source, named, place.hardware)
            if place.hardware
            else unsaid("SW-ACCEPTANCE-HARDWARE-UNSAID", source, named)
        )
    if acceptance.not_before is not None and at < acceptance.not_before:
        findings.append(ended("SW-ACCEPTANCE-EARLY", source, _day(acceptance.not_before), _day(at)))
    if acceptance.until is not None and at > acceptance.until:
        findings.append(ended("SW-ACCEPTANCE-ENDED", source, _day(acceptance.until), _day(at)))
    return findings


def is_bound(one: Judged, acceptance: Acceptance, files: Collection[ArchiveObject]) -> bool:
    """Whether a signature is in the artifact's own bytes, or in one of the files that the acceptance lists."""
    form = family(one.candidate.format)
    if form in EMBEDDED and form not in BESIDE:
        return acceptance.artifact is not None  # it was found in these very bytes
    signers = one.candidate.envelope.signers if one.candidate.envelope is not None else ()
    values = [signer.signature for signer in signers if isinstance(signer, Signer)]
    return bool(values) and all(any(file.holds(value) for file in files) for value in values)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
