"""Which rule decides, and whether the signatures that hold satisfy it.

A rule speaks of an artifact if its products and formats fit. Rules that name the product beat those that name none, and
those that name the format beat those that do not; of the rules left, those that speak of an anchor that signed here (all
of them, if none does) must ALL be satisfied: the strictest decides, and adding a lax rule never opens a strict one.
A public CA is many makers' anchor, so there a rule speaks of its anchor only together with a signer whom it names, as each such
rule has to; one that names nobody who signed here is another maker's, as a rule about another anchor is.
A receiving record stands in for a maker's signature where a rule lists its grade; an acceptance fills the slot `plant` of a rule
for any format (`statements.py`).
Claims count only from signatures that hold and count for the rule (A029); two that differ refuse. What a program says of its
components is no other claim than that of who signs it as part of a product; each component has to be new enough all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.findings import Finding, Severity, reject, undecided, warning
from sealwright.formats.format import ACCEPTANCE, RECEIVING, Component, Slot
from sealwright.pki.oids import RECORD_SIGNING
from sealwright.pki.profiles import CODE_SIGNING, CONFIG_SIGNING, TRUST_ANCHOR_CONFIG_SIGNING, UPDATE_PACKAGE_SIGNING
from sealwright.trust.certificate import ANY_PURPOSE, purposes_of, same_subject
from sealwright.trust.layouts import family
from sealwright.trust.model import Denied, Rule, SignerRule, TrustFile
from sealwright.trust.signatures import Judged, denied_generation, denies
from sealwright.trust.times import Judgement
from sealwright.trust.verdict import Asked, Purpose

ML_DSA = "ML-DSA-"
MINIMUM = "the trust file's minimum"
# What a rule without `purposes` takes: a certificate for servers, mail or timestamps signs nothing (A046).
SIGNING_PURPOSES = (UPDATE_PACKAGE_SIGNING, CODE_SIGNING, CONFIG_SIGNING, TRUST_ANCHOR_CONFIG_SIGNING)
_STOPS = (Severity.REJECT, Severity.UNDECIDED)
_MISSING = {
    Slot.MAKER: "SW-SIGNATURE-MISSING",
    Slot.PLANT: "SW-ACCEPTANCE-MISSING",
    Slot.PQ: "SW-SIGNATURE-PQ-MISSING",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The rules that decided (the first one names the verdict), the signatures that counted, the findings."""

    rules: tuple[Rule, ...]
    counted: tuple[Judged, ...]
    findings: tuple[Finding, ...]


def agreed_claims(judged: Sequence[Judged], components: Collection[Component]) -> tuple[Claims, tuple[Finding, ...]]:
    """The claims of the signatures that hold; a finding if two of them claim different things.

    A signature that claims no more than one of the components yields to one that names a product made of them. A manifest may
    say more than the fields of the format inside, as long as it says all of theirs: then what it says is claimed, and counts
    where it counts itself.
    """
    spoken = [entry for entry in judged if entry.seen.accepted and entry.claims]
    names = {one.name for one in components}
    spoken = [entry for entry in spoken if entry.claims.product not in names] or spoken
    if not spoken:
        return Claims(), ()
    fullest = next((one for one in spoken if all(_says_all(one.claims, other.claims) for other in spoken)), None)
    if fullest is not None:
        return fullest.claims, ()
    first = spoken[0]
    other = next(one for one in spoken if one.claims != first.claims)
    wanted, found = describe(first.claims), describe(other.claims)
    return first.claims, (reject("SW-CLAIMS-DIFFER", other.seen.source, wanted, found),)


def _says_all(fuller: Claims, claims: Claims) -> bool:
    """Whether everything that is claimed is claimed there too, in the same words."""
    return all(getattr(claims, one.name) in (None, (), getattr(fuller, one.name)) for one in fields(Claims))


def describe(claims: Claims) -> str:
    """Claims in one phrase: "drive-x 2.1 (generation 7)"."""
    named = " ".join(part for part in (claims.product, claims.version) if part)
    return (
        f"{named or 'no product'} (generation {claims.generation})"
        if claims.generation is not None
        else named or "nothing"
    )


def decide(trust: TrustFile, judged: Sequence[Judged], claims: Claims, asked: Asked, when: Judgement) -> Decision:
    """The deciding rules applied to what was judged. Findings are empty only if every one of them is satisfied."""
    formats = _formats(judged)
    speaking = _speaking(trust.rules, claims, formats, judged)
    if not speaking:
        # a refused signature has no claims left to choose a rule by: why it was refused is the answer that helps
        refused = _refused(judged)
        return Decision((), (), (*refused, reject("SW-RULE-NONE", claims.product or "an artifact without claims")))
    counted: list[Judged] = []
    findings: list[Finding] = []
    for rule in speaking:
        fits, problems = _satisfy(rule, judged, claims, asked, when)
        counted += [entry for entry in fits if entry not in counted]
        findings += [problem for problem in problems if problem not in findings]
    if not counted:  # so it is with a receiving record, whose product would have led to the rule that takes it
        about = _refused([entry for entry in judged if entry.candidate.format == RECEIVING])
        findings = [*about, *(one for one in findings if one not in about)]
    # who counts for nothing chooses no rule: his product would put another one's rules aside
    named = {entry.claims.product for entry in counted} - {None}
    if named and claims.product not in {*named, None}:
        findings.append(reject("SW-CLAIMS-NOT-SIGNED", counted[0].seen.source, describe(claims)))
    return Decision(tuple(speaking), tuple(counted), tuple(findings))


def _refused(judged: Sequence[Judged]) -> dict[Finding, None]:
    """Why some of them do not count at all, each reason once."""
    return dict.fromkeys(refusal for entry in judged if not entry.seen.accepted for refusal in entry.refusals)


def _speaking(rules: Sequence[Rule], claims: Claims, formats: set[str], judged: Sequence[Judged]) -> list[Rule]:
    fitting = [
        rule for rule in rules if (not rule.products or claims.product in rule.products) and _speaks_of(rule, formats)
    ]
    best = max(((bool(rule.products), bool(rule.formats)) for rule in fitting), default=None)
    closest = [rule for rule in fitting if (bool(rule.products), bool(rule.formats)) == best]
    accepted = [entry for entry in judged if entry.seen.accepted]
    of_these = [rule for rule in closest if any(_names_signer(rule, entry) for entry in accepted)]
    return of_these or closest


def _names_signer(rule: Rule, entry: Judged) -> bool:
    """Whether a rule speaks of the anchor of a signature; of a plant's statement, whose kind nobody else's has, in its own slot."""
    if (anchor := entry.anchor) is None:
        return False
    slots = [one for one in rule.signers if not entry.candidate.about or one.slot is Slot.PLANT]
    return any(anchor.name in one.anchors and (not anchor.public or _is_named(one, entry)) for one in slots)


def _formats(judged: Sequence[Judged]) -> set[str]:
    """As what an artifact is signed; what the plant says of it counts only where nothing else does."""
    accepted = [entry for entry in judged if entry.seen.accepted]
    makers = [entry for entry in accepted if not entry.candidate.about]
    return {entry.candidate.about or entry.candidate.format for entry in makers or accepted or judged}


def _speaks_of(rule: Rule, formats: Collection[str]) -> bool:
    """Whether a rule is about one of the formats; `layout` stands for every `layout:NAME`."""
    return not rule.formats or any(one in rule.formats or family(one) in rule.formats for one in formats)


def _satisfy(
    rule: Rule, judged: Sequence[Judged], claims: Claims, asked: Asked, when: Judgement
) -> tuple[list[Judged], list[Finding]]:
    findings: list[Finding] = []
    counted: list[Judged] = []
    bound = claims if _speaks_of_claims(rule, asked) else Claims()
    # the plant comes last: what it accepted is what counts beside it
    for wanted in sorted(rule.signers, key=lambda one: one.slot is Slot.PLANT):
        beside = tuple(counted)
        fits, problems = _fill(rule, wanted, judged, bound, beside, asked, when.judged)
        if problems and wanted.slot is Slot.MAKER and rule.grades:
            fits, problems = _received(rule, judged, bound, when.judged, problems)
        counted += fits
        findings += problems
    findings += _distinct(rule, counted)
    if bound and counted and not any(entry.claims == bound for entry in counted):
        findings.append(reject("SW-CLAIMS-NOT-SIGNED", counted[0].seen.source, describe(bound)))
    findings += _claimed(rule, claims, asked)
    lenient = warning if asked.purpose is Purpose.RUN else reject
    if rule.timestamp == "required":
        findings += [
            lenient("SW-TIMESTAMP-REQUIRED", entry.seen.source, rule.name) for entry in counted if entry.proof is None
        ]
    if rule.log == "required":
        stop = warning if asked.purpose is Purpose.RUN else undecided
        findings += [
            stop("SW-LOG-PROOF-MISSING", entry.seen.source, rule.name) for entry in counted if not entry.logged
        ]
    return counted, findings


def _fill(
    rule: Rule,
    wanted: SignerRule,
    judged: Sequence[Judged],
    claims: Claims,
    beside: Sequence[Judged],
    asked: Asked,
    at: datetime,
) -> tuple[list[Judged], list[Finding]]:
    """The signatures that fill one slot with warnings about them, or why none does.

    claims: what each of them must bind; empty for nothing. beside: what fills the other slots.
    """
    if wanted.count == 0:
        return [], []
    in_slot = [entry for entry in judged if entry.seen.slot is wanted.slot and _may_fill(rule, entry)]
    if not in_slot:
        return [], [reject(_MISSING[wanted.slot], rule.name)]
    fits: list[Judged] = []
    problems: list[Finding] = []
    told: list[Finding] = []
    for entry in in_slot:
        why = _why_not(rule, wanted, entry, claims, at)
        if not why and entry.candidate.format == ACCEPTANCE:
            from sealwright.trust.statements import about_acceptance  # start-up time: few files have one

            about = about_acceptance(entry, beside, asked, at)
            why = [finding for finding in about if finding.severity in _STOPS]
            told += [] if why else about
        if why:
            problems += why
        else:
            fits.append(entry)
    if fits and wanted.count == 1:
        return fits, told
    different = _different(fits)
    if fits and different >= wanted.count:
        return fits, told
    if fits:
        problems += [
            reject("SW-SIGNER-UNMAPPED", entry.seen.source, rule.name, _unmapped(entry))
            for entry in fits
            if not entry.seen.person
        ]
        problems.append(reject("SW-SIGNERS-TOO-FEW", rule.name, str(wanted.count), str(different)))
    return fits, problems


def _may_fill(rule: Rule, entry: Judged) -> bool:
    """Whether a signature can be what a rule asks for: of a format it speaks of, or an acceptance, which is of any."""
    if entry.candidate.format == RECEIVING:
        return False  # it stands in for a maker's signature, or for none
    return entry.candidate.format == ACCEPTANCE or _speaks_of(rule, (entry.candidate.format,))


def _received(
    rule: Rule, judged: Sequence[Judged], claims: Claims, at: datetime, missing: list[Finding]
) -> tuple[list[Judged], list[Finding]]:
    """The signatures of a receiving record that stands in for a maker's, with what must be said of it; or why none does."""
    records = [entry for entry in judged if entry.candidate.format == RECEIVING]
    if not records:
        return [], missing
    from sealwright.trust.statements import stand_in  # start-up time: few files have one

    receivers = [one for one in rule.signers if one.slot is Slot.PLANT]
    reasons = {entry.seen.source: [_why_not(rule, one, entry, claims, at) for one in receivers] for entry in records}
    fits, findings = stand_in(rule, records, reasons, _different)
    return fits, findings if fits else [*findings, *missing]


def takes_record(rule: Rule, judged: Sequence[Judged], at: datetime) -> bool:
    """Whether a rule would take the receiving record among some signatures, needed or not."""
    fits, _ = _received(rule, judged, Claims(), at, [])
    return bool(fits)


def _different(fits: Sequence[Judged]) -> int:
    """The most signatures of which no two have a key or a person in common; outside the register counts for nobody.

    One key may be certified for several persons, and one person have several keys: counting keys and persons apart would
    count some of them twice, so keys are matched with persons (A120).
    """
    keys_of: dict[str, dict[Digest | None, None]] = {}
    for entry in fits:
        if entry.seen.person:
            keys_of.setdefault(entry.seen.person, {})[entry.seen.key] = None
    taken: dict[Digest | None, str] = {}

    def finds(person: str, tried: set[Digest | None]) -> bool:
        for key in keys_of[person]:
            if key in tried:
                continue
            tried.add(key)
            if key not in taken or finds(taken[key], tried):
                taken[key] = person
                return True
        return False

    return sum(finds(person, set()) for person in keys_of)


def _why_not(rule: Rule, wanted: SignerRule, entry: Judged, claims: Claims, at: datetime) -> list[Finding]:
    if not entry.seen.accepted or entry.anchor is None or entry.certificate is None:
        return list(entry.refusals)
    if entry.expired is not None and not rule.ignores_expiry:
        return [entry.expired]
    seen = entry.seen
    if entry.anchor.name not in wanted.anchors or entry.anchor.environment is not rule.environment:
        return [reject("SW-SIGNER-NOT-ALLOWED", seen.subject, ", ".join(wanted.anchors), seen.anchor)]
    if claims and entry.claims != claims and not _binds(entry):
        return [reject("SW-CLAIMS-NOT-SIGNED", seen.source, describe(claims))]
    if wanted.pins_until is not None and at > wanted.pins_until:
        return [reject("SW-PIN-ENDED", rule.name, found=f"{wanted.pins_until:%Y-%m-%d}")]
    if not _is_named(wanted, entry):
        found = (wanted.persons and entry.absent) or seen.subject
        return [reject("SW-SIGNER-NOT-ALLOWED", seen.subject, f"the signers that rule {rule.name} names", found)]
    if wanted.slot is Slot.PQ and not seen.algorithm.startswith(ML_DSA):
        return [reject("SW-SIGNER-NOT-ALLOWED", seen.subject, "a post-quantum signature", seen.algorithm)]
    purposes = wanted.purposes or SIGNING_PURPOSES
    # a station's key for records signs nothing else, whatever a rule allows: it lies on a machine that installs
    for_records = RECORD_SIGNING in purposes_of((entry.certificate,))
    if for_records or (ANY_PURPOSE not in purposes and not entry.purposes & set(purposes)):
        return [reject("SW-CERT-PURPOSE", seen.subject, ", ".join(purposes), ", ".join(sorted(entry.purposes)))]
    return list(entry.refusals)


def _is_named(wanted: SignerRule, entry: Judged) -> bool:
    """Whether a signature's signer is among those whom a rule names; everybody is where it names none."""
    seen, certificate = entry.seen, entry.certificate
    return (
        certificate is not None
        and (not wanted.subjects or any(same_subject(certificate, name) for name in wanted.subjects))
        and (not wanted.keys or seen.key in wanted.keys)
        and (not wanted.certificates or seen.certificate in wanted.certificates)
        and (not wanted.persons or seen.person in wanted.persons)
    )


def _unmapped(entry: Judged) -> str:
    return f"{entry.seen.subject} ({entry.absent})" if entry.absent else entry.seen.subject


def _speaks_of_claims(rule: Rule, asked: Asked) -> bool:
    """Whether rule or asker name something that only claims can answer; a bare signature never meets them (RULES 3)."""
    return bool(
        rule.products or rule.hardware or rule.minimum_generation is not None or asked.product or asked.hardware
    )


def _binds(entry: Judged) -> bool:
    """A second party's bare signature over the same bytes: the claims are the maker's, it only adds its consent."""
    return entry.seen.slot is not Slot.MAKER and not entry.claims


def _distinct(rule: Rule, counted: Sequence[Judged]) -> list[Finding]:
    """Signers of different slots differ in key; maker and plant in person or organisation too, as the trust file maps them."""
    findings = []
    for number, one in enumerate(counted):
        for other in counted[:number]:
            if _part(one) is _part(other):
                continue
            if Slot.PQ in (one.seen.slot, other.seen.slot) and one.seen.key != other.seen.key:
                continue  # the same party's second algorithm, no second party
            same_person = one.seen.person != "" and one.seen.person == other.seen.person
            same_organisation = one.seen.organisation != "" and one.seen.organisation == other.seen.organisation
            if one.seen.key == other.seen.key or same_person:
                findings.append(reject("SW-SIGNERS-NOT-DISTINCT", rule.name, other.seen.source, one.seen.source))
            elif not (one.seen.person and other.seen.person) and (one.anchor == other.anchor or same_organisation):
                findings.append(reject("SW-SIGNER-UNMAPPED", one.seen.source, rule.name, _unmapped(one)))
    return findings


def _part(entry: Judged) -> Slot:
    """The part a signature plays; who received something in place of its maker does not accept it too."""
    return Slot.MAKER if entry.candidate.format == RECEIVING else entry.seen.slot


def _claimed(rule: Rule, claims: Claims, asked: Asked) -> list[Finding]:
    findings = []
    if claims.environment is not None and claims.environment != rule.environment.value:
        findings.append(reject("SW-ENVIRONMENT-WRONG", rule.name, rule.environment.value, claims.environment))
    if rule.hardware and not set(rule.hardware) & set(claims.hardware):
        findings.append(reject("SW-HARDWARE-WRONG", rule.name, ", ".join(rule.hardware), ", ".join(claims.hardware)))
    if asked.hardware and asked.hardware not in claims.hardware:
        findings.append(
            reject("SW-HARDWARE-WRONG", "this device", asked.hardware, ", ".join(claims.hardware) or "nothing")
        )
    if asked.product and asked.product != claims.product:
        findings.append(reject("SW-PRODUCT-WRONG", "this device", asked.product, claims.product or "nothing"))
    if rule.minimum_generation is not None:
        findings += older_than(claims, rule.minimum_generation, rule.name, asked.purpose)
    return findings


def old_components(
    components: Collection[Component], minimums: Mapping[str, int], denied: Sequence[Denied], purpose: Purpose
) -> list[Finding]:
    """A finding for each component below the trust file's minimum for its name or that a deny list names (A154)."""
    findings: list[Finding] = []
    for one in components:
        findings += [
            denied_generation(entry, one.generation) for entry in denied if denies(entry, one.name, one.generation)
        ]
        if (least := minimums.get(one.name)) is not None:
            claims = Claims(one.name, one.version, one.generation)
            findings += older_than(claims, least, MINIMUM, purpose)
    return findings


def older_than(claims: Claims, least: int, source: str, purpose: Purpose) -> list[Finding]:
    """A finding if the claimed generation is missing or below the least one; for RUN a warning (A155)."""
    if claims.generation is not None and claims.generation >= least:
        return []
    found = "no generation" if claims.generation is None else str(claims.generation)
    make = warning if purpose is Purpose.RUN else reject
    return [make("SW-GENERATION-OLD", claims.product or "the artifact", f"{least} ({source})", found)]
