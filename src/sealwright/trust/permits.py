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

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.lookedat import LOOKERS, PermitFollowUp
from sealwright.artifact.permit import Excuse, Permit, PermitKind
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import PERMIT, PERMIT_FOLLOW_UP
from sealwright.errors import BadSignature, SealwrightError
from sealwright.findings import Finding, Severity, note, reject, warning
from sealwright.formats.format import RECEIVING, Slot
from sealwright.formats.permitfiles import PersonSignature, Presented
from sealwright.trust.ground import Ground
from sealwright.trust.model import Environment, Rule
from sealwright.trust.permitrules import PermitRule
from sealwright.trust.signatures import Standing, worth_now
from sealwright.trust.times import Judgement
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
# of what is known of a signer's certificate: a path and its dates are not asked for
_REFUSES = frozenset(("SW-CERT-REVOKED", "SW-DENIED-SIGNER"))


class Case(NamedTuple):
    """What a verdict was reached by. device: "" where it is not said; used: what `use_name` gives of the uses remembered."""

    device: str
    rules: tuple[Rule, ...]
    ground: Ground
    when: Judgement
    used: Collection[str]


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


def not_taken(permit: Permit, case: Case) -> str:
    """Why no `[[permit]]` takes a permit, whoever signed it, as a clause; "" where one does (point 3)."""
    sections, product = case.ground.trust.permits, permit.product
    if any(_takes(rule, permit) and _covers(rule, product, case.rules) for rule in sections):
        return ""
    return _why_not(sections, permit, product, case.rules)


def permit_problems(one: Presented[Permit], case: Case) -> list[Finding]:
    """Points 2 to 4 of a permit by itself, as warnings: whether it would count now. case: without rules, for any."""
    return _about_time(one, case.when) or _about_persons(one, case, ())


def follow_up_problems(
    one: Presented[PermitFollowUp], permit: Presented[Permit], ground: Ground
) -> tuple[tuple[str, ...], list[Finding]]:
    """The persons whose word of a permit's use counts, and why the others' does not, as warnings.

    It is settled where there are at least two, all of whom one `[[permit]]` for the permit names; its signers never count.
    """
    follow_up, name = one.statement, one.name
    if follow_up.trust != ground.trust.id:
        return (), [_other(name, f"the trust file {follow_up.trust}", ground.trust.id)]
    if not follow_up.is_of(permit.text):
        return (), [_other(name, "another permit", permit.name)]
    section = next((rule for rule in ground.trust.permits if _takes(rule, permit.statement)), None)
    may = set(section.follow_up) - {*permit.statement.persons} if section is not None else set()
    problems = [
        warning("SW-PERMIT-NOT-ALLOWED", name, found=f"{person} may not look at the use of {permit.name}")
        for person in follow_up.persons
        if person not in may
    ]
    signed = _Signers(ground, production=False)
    before = _Signers(ground, production=False)
    keys = {before.key_of(each) for each in permit.signatures}
    persons = []
    for each in one.signatures:
        found, key = signed.judge(each, one.text, PERMIT_FOLLOW_UP.name)
        if key is not None and key in keys:
            found = reject("SW-SIGNERS-NOT-DISTINCT", name, each.name, permit.name)
        if found is not None:
            problems.append(_unsigned(name, found))
        elif each.person in may:
            persons.append(each.person)
    return tuple(persons), problems


def is_settled(persons: Collection[str]) -> bool:
    """Whether enough persons have looked at it."""
    return len({*persons}) >= LOOKERS


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
    if problems := _about_persons(one, case, [seen.key for seen in makers if seen.key is not None]):
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


def _about_persons(one: Presented[Permit], case: Case, others: Sequence[Digest]) -> list[Finding]:
    """Points 3 and 4. others: keys that must not have signed it."""
    name = one.name
    if why := not_taken(one.statement, case):
        return [warning("SW-PERMIT-NOT-ALLOWED", name, found=why)]
    asked = case.rules or case.ground.trust.rules
    production = any(rule.environment is Environment.PRODUCTION for rule in asked)
    signed = _Signers(case.ground, production=production)
    signed.keys |= {*others}
    for each in one.signatures:
        found, _ = signed.judge(each, one.text, PERMIT.name)
        if found is not None:
            return [_unsigned(name, found)]
    return []


def _takes(rule: PermitRule, permit: Permit) -> bool:
    """Whether a section is about a permit's kind, product, length and persons."""
    return (
        permit.kind in rule.kinds
        and (not rule.products or permit.product in rule.products)
        and permit.until - permit.begins <= rule.longest
        and {*permit.persons} <= {*rule.persons}
        and len(permit.persons) >= rule.threshold
    )


def _covers(rule: PermitRule, product: str, rules: Collection[Rule]) -> bool:
    return (not rule.products or product in rule.products) and (
        not rule.rules or all(one.name in rule.rules for one in rules)
    )


def _why_not(sections: Sequence[PermitRule], permit: Permit, product: str, rules: Collection[Rule]) -> str:
    """What the section that comes closest wants else, as a clause."""
    of_kind = [one for one in sections if permit.kind in one.kinds]
    if not of_kind:
        return f"no [[permit]] is for the kind {permit.kind}"
    fitting = [one for one in of_kind if _covers(one, product, rules)] or of_kind
    one = next((one for one in fitting if {*permit.persons} <= {*one.persons}), fitting[0])
    if not _covers(one, product, rules):
        return f"[[permit]] {one.name} is for other products or rules"
    if unnamed := sorted({*permit.persons} - {*one.persons}):
        return f"[[permit]] {one.name} does not name {', '.join(unnamed)}"
    if len(permit.persons) < one.threshold:
        return f"[[permit]] {one.name} wants {one.threshold} different persons"
    return f"[[permit]] {one.name} takes {_hours_of(one.longest.total_seconds())} at most"


class _Signers:
    """Judges the signatures of one statement, person by person; keys: that have signed already, or must not."""

    def __init__(self, ground: Ground, *, production: bool) -> None:
        self.ground = ground
        self.production = production
        self.keys: set[Digest] = set()

    def judge(self, one: PersonSignature, text: bytes, kind: str) -> tuple[Finding | None, Digest | None]:
        """Why a signature does not count as that person's, None where it does; and its key."""
        if one.data is None:
            return reject("SW-STATEMENT-UNSIGNED", one.name, one.person), None
        try:
            signer, chain = _only_signer(one)
            check_signer(signer, {name: Digest.of(text, name) for name in HashName}, kind, one.name)
            standing = worth_now(signer.certificate, chain, self.ground)
        except SealwrightError as cause:
            return reject(cause.code, one.name, found=cause.what), None
        key = standing.known.key
        found = self._whose(one, standing)
        if found is None and key in self.keys:
            found = reject("SW-SIGNERS-NOT-DISTINCT", one.name, one.name, "another signature here")
        self.keys.add(key)
        return found, key

    def key_of(self, one: PersonSignature) -> Digest | None:
        """The key in a signature file, whether it counts or not; None where there is none."""
        if one.data is None:
            return None
        try:
            signer, chain = _only_signer(one)
            return worth_now(signer.certificate, chain, self.ground).known.key
        except SealwrightError:
            return None

    def _whose(self, one: PersonSignature, standing: Standing) -> Finding | None:
        known, ground = standing.known, self.ground
        named = ((("key", str(known.key))), ("certificate", str(known.certificate)), ("serial", known.serial))
        denial = next((ground.denials[name] for name in named if name in ground.denials), None)
        if denial is not None:
            return reject("SW-DENIED-SIGNER", known.subject, found=denial.reason)
        refused = next((found for found in standing.findings if found.code in _REFUSES), None)
        if refused is not None and refused.severity in _STOPS:
            return refused
        if standing.person is None or standing.person.id != one.person:
            if standing.person is not None:
                return reject("SW-STATEMENT-PERSON", one.name, one.person, standing.person.id)
            return reject("SW-SIGNER-UNMAPPED", one.name, found=standing.absent or known.subject)
        if self.production and standing.provenance == "development":
            return reject("SW-KEY-UNPROVED", one.name, found=known.subject)
        return None


def _only_signer(one: PersonSignature) -> tuple[Signer, tuple[bytes, ...]]:
    """The one signer of a file and the certificates beside; raises what reading raises, and where there are several."""
    envelope = read_envelope(one.data or b"", Profile.OURS, one.name)
    if len(envelope.signers) != 1:
        raise BadSignature(one.name, "it does not have exactly one signature", "Have it signed by one person a file.")
    (signer,) = envelope.signers
    if not isinstance(signer, Signer):
        raise signer.reason
    return signer, envelope.certificates


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
