"""Whose word of a permit's use counts afterwards: two of those whom its `[[permit]]` names, none of whom signed the permit."""

from __future__ import annotations

from collections.abc import Collection

from sealwright.artifact.lookedat import LOOKERS, PermitFollowUp
from sealwright.artifact.permit import Permit
from sealwright.envelope.kinds import PERMIT_FOLLOW_UP
from sealwright.findings import Finding, reject, warning
from sealwright.formats.permitfiles import Presented
from sealwright.trust.ground import Ground
from sealwright.trust.model import Environment
from sealwright.trust.permitrules import takes
from sealwright.trust.personsignatures import PersonSignatures


def follow_up_problems(
    one: Presented[PermitFollowUp], permit: Presented[Permit], ground: Ground
) -> tuple[tuple[str, ...], list[Finding]]:
    """The persons whose word of a permit's use counts, and why the others' does not, as warnings.

    It is settled where there are at least two, all of whom one `[[permit]]` for the permit names; its signers never count.
    """
    follow_up, name = one.statement, one.name
    if follow_up.trust != ground.trust.id:
        return (), [warning("SW-PERMIT-OTHER", name, f"the trust file {follow_up.trust}", ground.trust.id)]
    if not follow_up.is_of(permit.text):
        return (), [warning("SW-PERMIT-OTHER", name, "another permit", permit.name)]
    section = next((rule for rule in ground.trust.permits if takes(rule, permit.statement)), None)
    may = set(section.follow_up) - {*permit.statement.persons} if section is not None else set()
    problems = [
        warning("SW-PERMIT-NOT-ALLOWED", name, found=f"{person} may not look at the use of {permit.name}")
        for person in follow_up.persons
        if person not in may
    ]
    signed = PersonSignatures(ground, Environment.DEVELOPMENT)
    before = PersonSignatures(ground, Environment.DEVELOPMENT)
    keys = {before.key_of(each) for each in permit.signatures}
    persons = []
    for each in one.signatures:
        found, key = signed.judge(each, one.text, PERMIT_FOLLOW_UP.name)
        if key is not None and key in keys:
            found = reject("SW-SIGNERS-NOT-DISTINCT", name, each.name, permit.name)
        if found is not None:
            problems.append(warning("SW-PERMIT-SIGNATURE", name, found=found.sentence))
        elif each.person in may:
            persons.append(each.person)
    return tuple(persons), problems


def is_settled(persons: Collection[str]) -> bool:
    """Whether enough persons have looked at it."""
    return len({*persons}) >= LOOKERS
