"""A trust file read aloud: who may sign what, whose word on time and revocation counts, what is withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from sealwright.artifact.names import display
from sealwright.cli.jsonout import moment as json_moment
from sealwright.cli.render import moment
from sealwright.formats.format import Slot
from sealwright.texts.words import say
from sealwright.trust.certificate import display_name, load_certificate
from sealwright.trust.model import CrlPolicy, Denied, LogKey, Person, Quorum, Rule, SignerRule, TrustFile
from sealwright.trust.permitrules import PermitRule


def trust_text(trust: TrustFile) -> str:
    """The whole file for people, with a final line feed."""
    return "\n".join(display(line) for line in _lines(trust)) + "\n"


def trust_object(trust: TrustFile) -> dict[str, object]:
    """The same as JSON values."""
    return {
        "id": trust.id,
        "version": trust.version,
        "digest": str(trust.digest),
        "stage": trust.stage,
        "issued": json_moment(trust.issued),
        "expires": json_moment(trust.expires),
        "officers": {"threshold": trust.officers.threshold, "persons": _persons(trust.officers)},
        "recovery": {"threshold": trust.recovery.threshold, "persons": _persons(trust.recovery)},
        "persons": [
            {
                "id": person.id,
                "organisation": person.organisation,
                "roles": list(person.roles),
                "keys": [str(key) for key in person.keys],
                "certificates": [str(certificate) for certificate in person.certificates],
                "from": json_moment(person.since),
                "until": json_moment(person.until),
            }
            for person in trust.persons
        ],
        "anchors": [
            {"name": anchor.name, "subject": _subject(anchor.certificate), "environment": anchor.environment.value}
            for anchor in trust.anchors
        ],
        "authorities": [authority.name for authority in trust.authorities],
        "logs": [_note_key(log) for log in trust.logs],
        "witnesses": [_note_key(witness) for witness in trust.witnesses],
        "witness_threshold": trust.witness_threshold if trust.witnesses else None,
        "floor_lowered_in": trust.floor_lowered_in or None,
        "crls": [
            {
                "issuer": _issuer(policy, trust),
                "min_number": policy.min_number,
                "max_age_days": {purpose: age / timedelta(days=1) for purpose, age in policy.max_age.items()},
            }
            for policy in trust.crls
        ],
        "rules": [
            {
                "name": rule.name,
                "mode": rule.mode.value,
                "sentence": sentence(rule),
                "contact": rule.contact or None,
                "owner": rule.owner or None,
                "reason": rule.reason or None,
                "review": json_moment(rule.review),
            }
            for rule in trust.rules
        ],
        "evidence": [
            {
                "key": str(known.key),
                "provenance": known.provenance,
                "reason": known.reason or None,
                "review": json_moment(known.review),
            }
            for known in trust.evidence
        ],
        "permits": [
            {
                "name": one.name,
                "kinds": [kind.value for kind in one.kinds],
                "persons": list(one.persons),
                "threshold": one.threshold,
                "longest_hours": one.longest / timedelta(hours=1),
                "products": list(one.products),
                "rules": list(one.rules),
                "follow_up": list(one.follow_up),
                "sentence": permit_sentence(one),
            }
            for one in trust.permits
        ],
        "interpreters": [
            {
                "kind": one.kind,
                "path": one.path,
                "arguments": list(one.arguments),
                "environment": list(one.environment),
                "folder": one.folder,
                "digest": str(one.digest) if one.digest is not None else None,
            }
            for one in trust.interpreters
        ],
        "layouts": [{"name": one.name, "digest": str(one.digest)} for one in trust.layouts],
        "tuf_root": str(trust.tuf_root) if trust.tuf_root is not None else None,
        "repositories": [{"name": one.name, "root": str(one.root)} for one in trust.repositories],
        "denied": [denial(entry) for entry in trust.denied],
        "minimums": dict(trust.minimums),
        "algorithms": [{"name": one.name, "until": json_moment(one.until)} for one in trust.algorithms],
    }


def sentence(rule: Rule) -> str:
    """A rule as one sentence."""
    either, both = say("rule.or"), say("rule.and")
    what = ", ".join(rule.products) or say("rule.any-product")
    if rule.formats:
        what = say("rule.what-format", what=what, formats=either.join(rule.formats))
    if rule.hardware:
        what = say("rule.what-hardware", what=what, hardware=either.join(rule.hardware))
    signers = both.join(_signer(one) for one in rule.signers if one.count and one.anchors) or say("rule.no-signer")
    needs = ", ".join(_needs(rule))
    parts = {"what": what, "environment": rule.environment, "signers": signers}
    said = say("rule.sentence-needs", **parts, needs=needs) if needs else say("rule.sentence", **parts)
    said = say("rule.sentence-expiry", sentence=said) if rule.ignores_expiry else said
    if not rule.grades:
        return said
    receivers = either.join(_signer(replace(one, count=1)) for one in rule.signers if one.slot is Slot.PLANT)
    return say("rule.sentence-grades", sentence=said, grades=either.join(rule.grades), receivers=receivers)


def permit_sentence(one: PermitRule) -> str:
    """Which permits count, as one sentence."""
    either = say("rule.or")
    what = ", ".join(one.products) or say("rule.any-product")
    what = say("rule.permit-rules", what=what, rules=either.join(one.rules)) if one.rules else what
    longest = say("rule.hours", number=f"{one.longest / timedelta(hours=1):g}")
    said = say(
        "rule.permit",
        name=one.name,
        kinds=either.join(one.kinds),
        what=what,
        longest=longest,
        threshold=one.threshold,
        persons=", ".join(one.persons),
    )
    return say("rule.permit-follow-up", permit=said, persons=", ".join(one.follow_up)) if one.follow_up else said


def denial(entry: Denied) -> str:
    """What is withdrawn, in one phrase."""
    if entry.what == "below":
        what = say("deny.below", product=entry.value, generation=entry.generation)
    else:
        what = say("deny.thing", what=entry.what, value=entry.value)
    if entry.since is not None:
        what = say("deny.since", what=what, day=f"{entry.since:%Y-%m-%d}")
    return say("deny.reason", what=what, reason=entry.reason) if entry.reason else what


def _lines(trust: TrustFile) -> Iterator[str]:
    yield say("trust.head", id=trust.id, version=trust.version, stage=trust.stage)
    yield say("trust.dates", issued=moment(trust.issued), ends=moment(trust.expires))
    yield say("trust.officers", threshold=trust.officers.threshold, persons=", ".join(_persons(trust.officers)))
    yield say("trust.recovery", threshold=trust.recovery.threshold, persons=", ".join(_persons(trust.recovery)))
    yield say("trust.people")
    for person in trust.persons:
        yield "  " + _person(person)
        yield from ("    " + say("trust.person-key", key=key) for key in person.keys)
        yield from ("    " + say("trust.person-certificate", certificate=one) for one in person.certificates)
    yield say("trust.anchors")
    for anchor in trust.anchors:
        parts = {"name": anchor.name, "environment": anchor.environment, "subject": _subject(anchor.certificate)}
        yield "  " + (say("trust.anchor-public", **parts) if anchor.public else say("trust.anchor", **parts))
    names = ", ".join(authority.name for authority in trust.authorities) or say("trust.nobody")
    yield say("trust.authorities", names=names)
    yield from (crl_line(policy, trust) for policy in trust.crls)
    yield from (say("trust.log", name=log.name, key=log.key) for log in trust.logs)
    yield from (say("trust.witness", name=witness.name, key=witness.key) for witness in trust.witnesses)
    if trust.witnesses:
        yield say("trust.witness-threshold", number=trust.witness_threshold)
    if trust.floor_lowered_in:
        yield say("trust.floor-lowered", version=trust.floor_lowered_in, day=f"{trust.issued:%Y-%m-%d}")
    yield say("trust.rules")
    for rule in trust.rules:
        yield from ("  " + line for line in _rule(rule))
    if trust.permits:
        yield say("trust.permits")
        yield from ("  " + permit_sentence(one) for one in trust.permits)
    for one in trust.interpreters:
        yield say("trust.interpreter", kind=one.kind, command=" ".join((one.path, *one.arguments)))
    yield from (say("trust.layout", name=one.name, digest=one.digest) for one in trust.layouts)
    if trust.tuf_root is not None:
        yield say("trust.tuf-root", root=trust.tuf_root)
    yield from (say("trust.repository", name=one.name, root=one.root) for one in trust.repositories)
    for product, generation in sorted(trust.minimums.items()):
        yield say("trust.minimum", product=product, generation=generation)
    for entry in trust.denied:
        yield say("trust.withdrawn", what=denial(entry))
    for ageing in trust.algorithms:
        yield say("trust.algorithm", name=ageing.name, day=f"{ageing.until:%Y-%m-%d}")
    for known in trust.evidence:
        if known.reason:
            yield say("trust.evidence-reason", key=known.key, provenance=known.provenance, reason=known.reason)
        else:
            yield say("trust.evidence", key=known.key, provenance=known.provenance)


def _persons(quorum: Quorum) -> list[str]:
    return sorted({key.person for key in quorum.keys})


def _person(person: Person) -> str:
    if person.roles:
        roles = ", ".join(person.roles)
        line = say("trust.person-roles", id=person.id, organisation=person.organisation, roles=roles)
    else:
        line = say("trust.person", id=person.id, organisation=person.organisation)
    if person.since:
        line = say("trust.person-from", person=line, day=f"{person.since:%Y-%m-%d}")
    return say("trust.person-until", person=line, day=f"{person.until:%Y-%m-%d}") if person.until else line


def crl_line(policy: CrlPolicy, trust: TrustFile) -> str:
    """What is wanted of an issuer's revocation lists, as one clause."""
    line = say("trust.crl", issuer=_issuer(policy, trust))
    if policy.min_number:
        line = say("trust.crl-number", line=line, number=policy.min_number)
    for purpose, age in policy.max_age.items():
        line = say("trust.crl-age", line=line, purpose=purpose, age=_days(age))
    return line


def _rule(rule: Rule) -> Iterator[str]:
    yield say("trust.rule", name=rule.name, mode=rule.mode, sentence=sentence(rule))
    if rule.contact:
        yield "  " + say("trust.rule-contact", contact=rule.contact)
    if rule.owner:
        yield "  " + say("trust.rule-owner", owner=rule.owner, reason=rule.reason)
    if rule.review:
        yield "  " + say("trust.rule-review", day=f"{rule.review:%Y-%m-%d}")


def _needs(rule: Rule) -> Iterator[str]:
    if rule.timestamp == "required":
        yield say("rule.date")
    if rule.log == "required":
        yield say("rule.log")
    if rule.minimum_generation is not None:
        yield say("rule.generation", generation=rule.minimum_generation)
    fresh_for, grace = rule.freshness.fresh_for, rule.freshness.grace
    if fresh_for is not None and grace:
        yield say("rule.fresh-grace", days=_days(fresh_for), grace=_days(grace))
    elif fresh_for is not None:
        yield say("rule.fresh", days=_days(fresh_for))


def _note_key(known: LogKey) -> dict[str, object]:
    return {"name": known.name, "vkey": str(known.key), "key_name": known.key.name, "key_id": known.key.id.hex()}


def _signer(signer: SignerRule) -> str:
    names = [*signer.persons, *signer.subjects, *(say("rule.key", key=key) for key in signer.keys)]
    names += [say("rule.certificate", certificate=certificate) for certificate in signer.certificates]
    who = say("rule.signers", count=signer.count) if signer.count > 1 else say("rule.one-signer")
    if names:
        who = say("rule.named", count=who, names=", ".join(names))
    said = say("rule.as", who=who, part=say(f"verify.part.{signer.slot}"), anchors=say("rule.or").join(signer.anchors))
    return say("rule.until", signer=said, day=f"{signer.pins_until:%Y-%m-%d}") if signer.pins_until else said


def _days(span: timedelta) -> str:
    return say("rule.days", number=f"{span / timedelta(days=1):g}")


def _issuer(policy: CrlPolicy, trust: TrustFile) -> str:
    """The issuer's name where the file holds its certificate, else its bytes."""
    for der in (*(anchor.certificate for anchor in trust.anchors), *trust.intermediates):
        subject = load_certificate(der, "anchor").subject
        if subject.public_bytes() == policy.issuer:
            return display_name(subject)
    return policy.issuer.hex()


def _subject(certificate: bytes) -> str:
    return display_name(load_certificate(certificate, "anchor").subject)
