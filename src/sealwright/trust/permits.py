"""Whether a permit counts, and which findings of a verdict it stands in for. It decides without reading anything.

1. It is for this place: the trust file's id, the device, the purpose, the product that the artifact claims in signed bytes, and
   the digest that the verdict knows the artifact by.
2. It is for now: the judgement time is within its hours, and the clock is not known to be wrong.
3. One `[[permit]]` of the trust file takes it: its kind, product and length, every rule that decided, and each person whom it names,
   at least as many as that section wants.
4. Each of them signed it as a permit, by a key of their own in the trust file that is neither denied nor revoked; no key twice.
   The certificate only carries the key, as an officer's does; where a production rule decides it is no development key. None of
   them is who signed the artifact as its maker.
5. It was not used before for this artifact, as far as this verifier remembers.
6. What it excuses is all that stands against the artifact. `EXCUSED` is the whole table: content, denials, a maker's signature,
   revocation and hardware are in no row (A144, A149, A158).
A permit that does not count changes nothing, and the verdict says why. One that does is told in every verdict: nobody may take what it
let through for something that is in order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.lookedat import LOOKERS
from sealwright.artifact.permit import Excuse, Permit, PermitKind
from sealwright.envelope.kinds import PERMIT
from sealwright.findings import Finding, Severity, note, reject, warning
from sealwright.formats.format import RECEIVING, Slot
from sealwright.formats.permitfiles import Presented
from sealwright.trust.belief import Believed
from sealwright.trust.ground import Ground
from sealwright.trust.model import Environment, TrustFile
from sealwright.trust.permitrules import PermitRule, takes
from sealwright.trust.personsignatures import PersonSignatures
from sealwright.trust.state import NOTHING, State, read_state, update_state
from sealwright.trust.times import Judgement, Seen, judgement, raised
from sealwright.trust.verdict import Permitted, Purpose, Verdict, outcome_of

EXCUSED: dict[Excuse, frozenset[str]] = {
    Excuse.GENERATION: frozenset(("SW-GENERATION-OLD",)),
    Excuse.PLANT_SIGNATURE: frozenset(("SW-ACCEPTANCE-MISSING", "SW-ACCEPTANCE-ENDED")),
    Excuse.STALE_TRUST: frozenset(("SW-TRUST-STALE", "SW-TRUST-EXPIRED")),
}
_PURPOSES = {
    PermitKind.BREAK_GLASS: (Purpose.INSTALL, Purpose.RESTORE),
    PermitKind.DOWNGRADE: (Purpose.INSTALL,),
    PermitKind.RESTORE: (Purpose.RESTORE,),
    PermitKind.UNLOCK: (Purpose.INSTALL,),
}
_STOPS = (Severity.REJECT, Severity.UNDECIDED)


class Case(NamedTuple):
    """What a permit is judged by. device: "" where it is not said; used: what `use_name` gives of the uses remembered."""

    device: str
    ground: Ground
    when: Judgement
    used: Collection[str]


class Holder(NamedTuple):
    """A device with permits at hand, for whoever adds findings of its own to a verdict. clock: aware; memory: its `--state`, or ""."""

    device: str
    permits: tuple[Presented[Permit], ...]
    believed: Believed
    clock: datetime
    memory: str


def by_permit(verdict: Verdict, holder: Holder) -> Verdict:
    """The verdict of a `Request` with this device, after the findings of the asker, by the first permit that makes it trusted.

    Nothing is remembered: `use_permit` does that, before the artifact is handed to anybody. Raises what `read_state` raises.
    """
    trust = holder.believed.trust
    known = read_state(holder.memory) if holder.memory else NOTHING
    when = judgement(holder.clock, None, trust.issued, trust.expires, known.floor)
    # what the artifact's own proofs show counts for its permit too: a clock that was set back brings no hours back
    when = raised(when, (Seen(verdict.times.judged, "the verdict"),), trust.expires)
    ground = ground_for(holder.believed, when, verdict.purpose)
    return with_permits(verdict, holder.permits, Case(holder.device, ground, when, known.permits))


def use_permit(verdict: Verdict, memory: str) -> Verdict:
    """The verdict once its permit is remembered as used, durable; rejected where it was used meanwhile. Raises what `update_state` raises."""
    permitted, spent = verdict.permitted, False
    if permitted is None:
        return verdict

    def learn(known: State) -> State:
        nonlocal spent
        spent = permitted.use in known.permits
        return known.having_used(permitted.use, permitted.permit.until)

    update_state(memory, learn)
    return verdict.with_findings((used_before(permitted, verdict),) if spent else ())


def used_before(permitted: Permitted, verdict: Verdict) -> Finding:
    """The refusal of a permit that another process has used meanwhile."""
    return reject("SW-PERMIT-SPENT", permitted.name, found=str(verdict.artifact))


def ground_for(believed: Believed, when: Judgement, purpose: Purpose) -> Ground:
    """What signatures of statements are judged on."""
    return Ground(believed.trust, believed.crls, believed.denied, when, purpose, certificates=believed.certificates)


def with_permits(verdict: Verdict, permits: Sequence[Presented[Permit]], case: Case) -> Verdict:
    """The verdict by the first permit that makes it trusted, or the same one with why no permit does."""
    stopping = [finding for finding in verdict.findings if finding.severity in _STOPS]
    if not stopping:
        return verdict.with_findings(tuple(note("SW-PERMIT-UNNEEDED", one.name) for one in permits))
    why: list[Finding] = []
    for one in permits:
        problems = _problems(one, verdict, stopping, case)
        if not problems:
            return _excused(verdict, one)
        why += problems
    return verdict.with_findings(tuple(why))


def use_name(permit: Permit, artifact: Digest) -> str:
    """By what a verifier remembers that a permit was used for an artifact."""
    return f"{permit.nonce} {artifact}"


def purposes_of(kind: PermitKind) -> tuple[Purpose, ...]:
    """For what a permit of a kind counts."""
    return _PURPOSES[kind]


def excuse_for(finding: Finding, verdict: Verdict) -> Excuse | None:
    """What a permit must excuse for a finding; None where no permit may. What claims no generation at all is not an older one."""
    if finding.code == "SW-GENERATION-OLD" and verdict.claims.generation is None:
        return None
    return next((excuse for excuse, codes in EXCUSED.items() if finding.code in codes), None)


def not_taken(permit: Permit, trust: TrustFile, rules: Collection[str]) -> str:
    """Why no `[[permit]]` takes a permit for what these rules decide, whoever signed it, as a clause; "" where one does (point 3)."""
    if any(takes(section, permit) and _covers(section, rules) for section in trust.permits):
        return ""
    return _why_not(trust.permits, permit, rules)


def permit_problems(one: Presented[Permit], ground: Ground) -> list[Finding]:
    """Points 2 to 4 of a permit by itself, as warnings: whether it would count now, for what any rule decides."""
    return _about_time(one, ground.judgement) or _about_persons(one, ground, (), ())


def _problems(one: Presented[Permit], verdict: Verdict, stopping: Sequence[Finding], case: Case) -> list[Finding]:
    """Points 1 to 6 in this order, the first that fails; as warnings."""
    permit, name = one.statement, one.name
    purposes = _PURPOSES[permit.kind]
    claimed, artifact = verdict.claims.product or "", verdict.artifact
    for fits, wanted, found in (
        (permit.trust == case.ground.trust.id, f"the trust file {permit.trust}", case.ground.trust.id),
        (permit.device == case.device, f"the device {permit.device}", case.device or "not said"),
        (verdict.purpose in purposes, " and ".join(purposes), verdict.purpose.value),
        (permit.product == claimed, permit.product or "what claims no product", claimed or "without a product"),
    ):
        if not fits:
            return [_other(name, wanted, found)]
    if artifact is None or not permit.names(artifact):
        listed = ", ".join(str(Digest(permit.algorithm, one.digest)) for one in permit.artifacts)
        return [_other(name, listed, str(artifact or "nothing that can be read"))]
    if problems := _about_time(one, case.when):
        return problems
    makers = [seen for seen in verdict.signers if seen.slot is Slot.MAKER or seen.statement == RECEIVING]
    who = {seen.person for seen in makers if seen.accepted} & {*permit.persons}
    if who:
        return [_unsigned(name, reject("SW-SIGNERS-NOT-DISTINCT", name, "its maker", ", ".join(who)))]
    if problems := _about_persons(
        one, case.ground, verdict.rules, [seen.key for seen in makers if seen.key is not None]
    ):
        return problems
    if use_name(permit, artifact) in case.used:
        return [warning("SW-PERMIT-SPENT", name, found=str(artifact))]
    left = [finding.code for finding in stopping if excuse_for(finding, verdict) not in permit.excuses]
    if left:
        excuses = ", ".join(permit.excuses)
        return [warning("SW-PERMIT-INSUFFICIENT", name, excuses, ", ".join(dict.fromkeys(left)))]
    return []


def _about_time(one: Presented[Permit], when: Judgement) -> list[Finding]:
    """Point 2."""
    permit, now = one.statement, when.judged
    if when.clock_is_wrong:
        return [warning("SW-PERMIT-TIME", one.name, _hours(permit), "this machine's clock, which is wrong")]
    if not permit.begins <= now < permit.until:
        return [warning("SW-PERMIT-TIME", one.name, _hours(permit), _moment(now))]
    return []


def _about_persons(
    one: Presented[Permit], ground: Ground, rules: Collection[str], others: Sequence[Digest]
) -> list[Finding]:
    """Points 3 and 4. others: keys that must not have signed it."""
    name, trust = one.name, ground.trust
    if why := not_taken(one.statement, trust, rules):
        return [warning("SW-PERMIT-NOT-ALLOWED", name, found=why)]
    asked = [rule for rule in trust.rules if not rules or rule.name in rules]
    production = any(rule.environment is Environment.PRODUCTION for rule in asked)
    signed = PersonSignatures(ground, Environment.PRODUCTION if production else Environment.DEVELOPMENT)
    signed.keys |= {*others}
    for each in one.signatures:
        found, _ = signed.judge(each, one.text, PERMIT.name)
        if found is not None:
            return [_unsigned(name, found)]
    return []


def _covers(section: PermitRule, rules: Collection[str]) -> bool:
    return not section.rules or all(one in section.rules for one in rules)


def _why_not(sections: Sequence[PermitRule], permit: Permit, rules: Collection[str]) -> str:
    """What the section that comes closest wants else, as a clause."""
    of_kind = [one for one in sections if permit.kind in one.kinds]
    if not of_kind:
        return f"no [[permit]] is for the kind {permit.kind}"
    fitting = [one for one in of_kind if _covers(one, rules)] or of_kind
    one = next((one for one in fitting if {*permit.persons} <= {*one.persons}), fitting[0])
    if not _covers(one, rules) or (one.products and permit.product not in one.products):
        return f"[[permit]] {one.name} is for other products or rules"
    if unnamed := sorted({*permit.persons} - {*one.persons}):
        return f"[[permit]] {one.name} does not name {', '.join(unnamed)}"
    if len(permit.persons) < one.threshold:
        return f"[[permit]] {one.name} wants {one.threshold} different persons"
    return f"[[permit]] {one.name} takes {_hours_of(one.longest.total_seconds())} at most"


def _excused(verdict: Verdict, one: Presented[Permit]) -> Verdict:
    """The verdict by a permit that counts: what it excuses becomes a warning, and the permit is the first thing that is said."""
    permit = one.statement
    use = use_name(permit, verdict.artifact) if verdict.artifact is not None else ""
    who = " and ".join(permit.persons)
    said = [
        warning("SW-PERMIT-USED", permit.device, f"{permit.kind}, by {who}", f"{_moment(permit.until)} ({one.name})")
    ]
    if permit.kind.owes_follow_up:
        said.append(warning("SW-PERMIT-FOLLOW-UP", one.name, str(LOOKERS), who))
    rest = (
        finding._replace(severity=Severity.WARNING) if finding.severity in _STOPS else finding
        for finding in verdict.findings
    )
    findings = (*said, *rest)
    return verdict._replace(
        findings=findings,
        outcome=outcome_of(findings),
        permitted=Permitted(one.name, Digest.of(one.text), permit, use),
    )


def _other(name: str, wanted: str, found: str) -> Finding:
    return warning("SW-PERMIT-OTHER", name, wanted, found)


def _unsigned(name: str, why: Finding) -> Finding:
    return warning("SW-PERMIT-SIGNATURE", name, found=why.sentence)


def _hours(permit: Permit) -> str:
    return f"from {_moment(permit.begins)} until {_moment(permit.until)}"


def _hours_of(seconds: float) -> str:
    return f"{seconds / 3600:g} hours"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
