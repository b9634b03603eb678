"""What a new trust file would change, in sentences, by weight: what trusts less, what trusts more, the rest.

Every field of `TrustFile` is compared; one that differs and has no sentence of its own is named all the same. A mark stands
before what an officer must read twice: less is asked for, an old denial falls, somebody new may replace the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from sealwright.cli.render import moment
from sealwright.cli.trusttext import crl_line, denial, permit_sentence, sentence
from sealwright.texts.words import say
from sealwright.trust.certificate import display_name, load_certificate
from sealwright.trust.model import (
    Anchor,
    Denied,
    Environment,
    KeyEvidence,
    LogKey,
    Mode,
    Person,
    Quorum,
    Rule,
    SignerRule,
    TimestampAuthority,
    TrustFile,
)
from sealwright.trust.trustfile import NEVER_SIGNS, officer_key_digest


class Weight(Enum):
    """What a change does to what is trusted."""

    REMOVES = "removes"
    ADDS = "adds"
    OTHER = "other"


class Change(NamedTuple):
    """One sentence. attention: to be read twice before it is signed."""

    weight: Weight
    attention: bool
    sentence: str


def changes(old: TrustFile, new: TrustFile, brought: Sequence[Denied] = ()) -> list[Change]:
    """Every change, the heaviest first. brought: denials of a list beside the new file that the old one had not."""
    found = [*_head(old, new), *_quorums(old, new), *_persons(old, new), *_anchors(old, new), *_held(old, new)]
    found += [*_authorities(old, new), *_crls(old, new), *_denied(old, new, brought), *_minimums(old, new)]
    found += [*_evidence(old, new), *_rules(old, new), *_notes(old, new), *_readers(old, new)]
    found += [*_times(old, new), *_permits(old, new)]
    order = list(Weight)
    return sorted(found, key=lambda one: (order.index(one.weight), not one.attention))


def _removes(said: str, attention: bool = False) -> Change:
    return Change(Weight.REMOVES, attention, said)


def _adds(said: str, attention: bool = False) -> Change:
    return Change(Weight.ADDS, attention, said)


def _other(said: str, attention: bool = False) -> Change:
    return Change(Weight.OTHER, attention, said)


def _head(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    if new.id != old.id:
        yield _other(say("change.id", before=old.id, after=new.id), True)
    elif new.version <= old.version and new.digest != old.digest:
        yield _other(say("change.version", before=old.version, after=new.version), True)
    if new.stage != old.stage:
        yield _other(say(f"change.stage-{new.stage}"), new.stage == "trial")
    elif new.stage == "trial":
        yield _other(say("change.stage-trial"), True)
    if new.issued != old.issued:
        back = new.issued < old.issued
        yield _other(
            say("change.issued-back", before=moment(old.issued), after=moment(new.issued))
            if back
            else say("change.issued", before=moment(old.issued), after=moment(new.issued)),
            back,
        )
    if new.expires > old.expires:
        yield _other(say("change.expires-later", before=moment(old.expires), after=moment(new.expires)))
    elif new.expires < old.expires:
        yield _removes(say("change.expires-sooner", before=moment(old.expires), after=moment(new.expires)))


def _times(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    """What bears on when something was signed: witnesses, the floor of clocks, ends of algorithms."""
    if new.witness_threshold != old.witness_threshold:
        fewer = new.witness_threshold < old.witness_threshold
        said = say("change.witnesses", before=old.witness_threshold, after=new.witness_threshold)
        yield Change(Weight.ADDS if fewer else Weight.REMOVES, fewer, said)
    if new.floor_lowered_in != old.floor_lowered_in:
        yield _other(say("change.floor", version=new.floor_lowered_in), True)
    before, after = {one.name: one.until for one in old.algorithms}, {one.name: one.until for one in new.algorithms}
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        always = say("change.always")
        said = say("change.algorithm", name=name, before=_day(was, always), after=_day(now, always))
        sooner = now is not None and (was is None or now < was)
        yield Change(Weight.REMOVES if sooner else Weight.ADDS, not sooner, said)


def _quorums(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    yield from _keys(old.officers, new.officers, "officer")
    before, after = old.officers.threshold, new.officers.threshold
    if after < before:
        yield _adds(say("change.threshold-lower", before=before, after=after), True)
    elif after > before:
        yield _removes(say("change.threshold-higher", before=before, after=after))
    yield from _keys(old.recovery, new.recovery, "recovery")
    before, after = old.recovery.threshold, new.recovery.threshold
    if after != before:
        weight = Weight.ADDS if after < before else Weight.REMOVES
        yield Change(weight, True, say("change.recovery-threshold", before=before, after=after))


def _keys(old: Quorum, new: Quorum, name: str) -> Iterator[Change]:
    """A recovery key that changes is always marked: it may replace every officer."""
    before, after = {key.spki: key.person for key in old.keys}, {key.spki: key.person for key in new.keys}
    always = name == "recovery"
    for spki, person in before.items():
        if spki not in after:
            yield _removes(say(f"quorum.{name}-gone", person=person, key=officer_key_digest(spki)), always)
        elif after[spki] != person:
            yield _adds(
                say(f"quorum.{name}-person", key=officer_key_digest(spki), before=person, after=after[spki]), True
            )
    for spki, person in after.items():
        if spki not in before:
            yield _adds(say(f"quorum.{name}-new", person=person, key=officer_key_digest(spki)), True)
    held = list(after.values())
    for person in sorted({one for one in held if held.count(one) > 1}):
        yield _other(say(f"quorum.{name}-two", person=person, number=held.count(person)), True)


def _persons(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    before, after = {one.id: one for one in old.persons}, {one.id: one for one in new.persons}
    for name, one in before.items():
        if name not in after:
            yield _removes(say("change.person-gone", person=name, organisation=one.organisation))
        elif one != after[name]:
            yield from _person(one, after[name])
    for name, one in after.items():
        if name not in before:
            yield _adds(say("change.person-new", person=_named(one)))
            yield from (
                _adds(say("change.person-key-new", person=name, key=key)) for key in (*one.keys, *one.certificates)
            )


def _person(old: Person, new: Person) -> Iterator[Change]:
    before, after = {*old.keys, *old.certificates}, {*new.keys, *new.certificates}
    yield from (
        _removes(say("change.person-key-gone", person=new.id, key=key)) for key in sorted(before - after, key=str)
    )
    yield from (_adds(say("change.person-key-new", person=new.id, key=key)) for key in sorted(after - before, key=str))
    if old.until != new.until:
        always = say("change.always")
        said = say("change.person-until", person=new.id, before=_day(old.until, always), after=_day(new.until, always))
        sooner = new.until is not None and (old.until is None or new.until < old.until)
        yield Change(Weight.REMOVES if sooner else Weight.ADDS, not sooner, said)
    if old.since != new.since:
        ever = say("change.ever")
        said = say("change.person-from", person=new.id, before=_day(old.since, ever), after=_day(new.since, ever))
        later = new.since is not None and (old.since is None or new.since > old.since)
        yield Change(Weight.REMOVES if later else Weight.ADDS, not later, said)
    if old.organisation != new.organisation:  # maker and plant must differ in it
        yield _other(say("change.person-about", person=new.id, before=old.organisation, after=new.organisation), True)
    if old.roles != new.roles:
        none = say("change.none")
        roles = [", ".join(one.roles) or none for one in (old, new)]
        yield _other(say("change.person-about", person=new.id, before=roles[0], after=roles[1]))


def _anchors(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    before, after = {one.certificate: one for one in old.anchors}, {one.certificate: one for one in new.anchors}
    for der, one in before.items():
        if der not in after:
            yield _removes(say("change.anchor-gone", subject=_subject(der), name=one.name, environment=one.environment))
        elif one != after[der]:
            loosened = (one.public and not after[der].public) or one.environment is not after[der].environment
            parts = {"before": _anchor(one), "after": _anchor(after[der])}
            yield Change(Weight.ADDS if loosened else Weight.OTHER, loosened, say("change.anchor-now", **parts))
    for der, one in after.items():
        if der not in before:
            parts = {"subject": _subject(der), "name": one.name, "environment": one.environment}
            yield _adds(
                say("change.anchor-new-public", **parts) if one.public else say("change.anchor-new", **parts),
                one.public,
            )


def _held(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    """Certificates that add no trust by themselves: a path through them still ends at an anchor."""
    before, after = {*old.intermediates, *old.certificates}, {*new.intermediates, *new.certificates}
    yield from (_other(say("change.intermediate-gone", subject=_subject(der))) for der in sorted(before - after))
    yield from (_other(say("change.intermediate-new", subject=_subject(der))) for der in sorted(after - before))
    moved = ({*old.intermediates}, {*old.certificates}) != ({*new.intermediates}, {*new.certificates})
    if before == after and moved:
        yield _other(say("change.unlisted", field="[[intermediate]], [[certificate]]"))


def _authorities(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    before, after = {one.name: one for one in old.authorities}, {one.name: one for one in new.authorities}
    for name, one in before.items():
        if name not in after:
            yield _removes(say("change.authority-gone", name=name))
        elif one != after[name]:
            yield _adds(
                say("change.authority-now", name=name, before=_authority(one), after=_authority(after[name])), True
            )
    yield from (_adds(say("change.authority-new", name=name)) for name in after if name not in before)


def _crls(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    before, after = {one.issuer: one for one in old.crls}, {one.issuer: one for one in new.crls}
    for issuer, one in before.items():
        if issuer not in after:
            yield _adds(say("change.crl-gone", line=crl_line(one, old)), True)
        elif one != after[issuer]:
            now = after[issuer]
            looser = now.min_number < one.min_number or any(
                purpose not in now.max_age or now.max_age[purpose] > age for purpose, age in one.max_age.items()
            )
            said = say("change.crl-now", before=crl_line(one, old), after=crl_line(now, new))
            yield Change(Weight.ADDS if looser else Weight.REMOVES, looser, said)
    yield from (
        _removes(say("change.crl-new", line=crl_line(one, new)))
        for issuer, one in after.items()
        if issuer not in before
    )


def _denied(old: TrustFile, new: TrustFile, brought: Sequence[Denied]) -> Iterator[Change]:
    before, after = dict.fromkeys(old.denied), dict.fromkeys((*new.denied, *brought))
    yield from (_removes(say("change.deny-new", what=denial(one))) for one in after if one not in before)
    yield from (_adds(say("change.deny-gone", what=denial(one)), True) for one in before if one not in after)


def _minimums(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    for product in sorted({*old.minimums, *new.minimums}):
        before, after = old.minimums.get(product, -1), new.minimums.get(product, -1)
        said = [say("change.minimum-none") if number < 0 else str(number) for number in (before, after)]
        if after > before:
            yield _removes(say("change.minimum-higher", product=product, before=said[0], after=said[1]))
        elif after < before:
            yield _adds(say("change.minimum-lower", product=product, before=said[0], after=said[1]), True)


def _evidence(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    before, after = {one.key: one for one in old.evidence}, {one.key: one for one in new.evidence}
    for key, one in before.items():
        if key not in after:
            yield _removes(say("change.evidence-gone", key=key, provenance=one.provenance))
        elif one != after[key]:
            yield _adds(say("change.evidence-now", key=key, before=_proof(one), after=_proof(after[key])), True)
    for key, one in after.items():
        if key not in before:
            yield _adds(
                say("change.evidence-new", key=key, provenance=one.provenance, reason=one.reason or say("change.none")),
                True,
            )


def _rules(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    before, after = {one.name: one for one in old.rules}, {one.name: one for one in new.rules}
    for name, one in before.items():
        if name not in after:
            yield _removes(say("change.rule-gone", name=name, sentence=sentence(one)), True)
        elif one != after[name]:
            yield _rule(one, after[name])
    for name, one in after.items():
        if name not in before:
            yield _adds(say("change.rule-new", name=name, mode=one.mode, sentence=sentence(one)))


def _rule(old: Rule, new: Rule) -> Change:
    looser, stricter, about = _weighed(old, new)
    before, after = sentence(old), sentence(new)
    if looser:
        return _adds(say("change.rule-looser", name=new.name, what=", ".join(looser), before=before, after=after), True)
    if stricter:
        return _removes(
            say("change.rule-stricter", name=new.name, what=", ".join(stricter), before=before, after=after)
        )
    return _other(say("change.rule-about", name=new.name, what=", ".join(about), after=after))


def _weighed(old: Rule, new: Rule) -> tuple[list[str], list[str], list[str]]:
    """The keys by which a rule asks for less, for more, or merely for something else."""
    looser: list[str] = []
    stricter: list[str] = []
    about = [name for name in ("owner", "reason", "review", "contact") if getattr(old, name) != getattr(new, name)]

    def weigh(name: str, before: float, after: float) -> None:
        if before != after:
            (stricter if after > before else looser).append(name)

    weigh("timestamp", old.timestamp == "required", new.timestamp == "required")
    weigh("log", old.log == "required", new.log == "required")
    weigh("expiry", not old.ignores_expiry, not new.ignores_expiry)
    weigh("minimum_generation", _number(old.minimum_generation), _number(new.minimum_generation))
    endless = float("inf")
    ages = [one.fresh_for.total_seconds() if one.fresh_for else endless for one in (old.freshness, new.freshness)]
    weigh("fresh_for", -ages[0], -ages[1])
    weigh("grace", -old.freshness.grace.total_seconds(), -new.freshness.grace.total_seconds())
    weigh("without_clock", not old.freshness.floor_ok, not new.freshness.floor_ok)
    if {*new.grades} - {*old.grades}:
        looser.append("grades")
    elif {*old.grades} - {*new.grades}:
        stricter.append("grades")
    order = list(Mode)
    if old.mode is not new.mode:
        said = "mode: " + say("change.rule-mode", before=old.mode, after=new.mode)
        (stricter if order.index(new.mode) > order.index(old.mode) else looser).append(said)
    for name in ("products", "formats", "hardware"):  # what it speaks of moves: some fall under it, others no longer
        before, after = {*getattr(old, name)}, {*getattr(new, name)}
        if before != after:
            narrower = bool(after) and (not before or after < before)
            (stricter if name == "hardware" and narrower else looser).append(name)
    if old.environment is not new.environment:
        looser.append("environment")
    _weigh_signers(old.signers, new.signers, looser, stricter)
    if old != new and not (looser or stricter or about):
        about.append("order")
    return looser, stricter, about


def _weigh_signers(
    old: Sequence[SignerRule], new: Sequence[SignerRule], looser: list[str], stricter: list[str]
) -> None:
    """Signer by signer of a slot; what is not comparable counts as asking for less, so that somebody reads it."""
    left = list(new)
    for one in old:
        if one in left:
            left.remove(one)
            continue
        now = next((other for other in left if other.slot is one.slot), None)
        if now is None:
            (looser if one.count else stricter).append(f"no {one.slot} signer")
            continue
        left.remove(now)
        if NEVER_SIGNS in (one, now):
            (stricter if now == NEVER_SIGNS else looser).append("anchors")
            continue
        if now.count != one.count:
            (stricter if now.count > one.count else looser).append("count")
        for name in ("anchors", "subjects", "keys", "certificates", "purposes", "persons"):
            before, after = {*getattr(one, name)}, {*getattr(now, name)}
            if before != after:
                narrower = bool(after) and (not before or after < before)
                (stricter if narrower else looser).append(name)
        if now.pins_until != one.pins_until:
            sooner = one.pins_until is not None and now.pins_until is not None and now.pins_until < one.pins_until
            (stricter if sooner else looser).append("pins_until")
    for one in left:  # a signer of whom nothing is wanted may sign receiving records
        (stricter if one.count else looser).append(f"one more {one.slot} signer")


def _notes(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    for what, one, other in (("log", old.logs, new.logs), ("witness", old.witnesses, new.witnesses)):
        before, after = {_note(known) for known in one}, {_note(known) for known in other}
        yield from (_removes(say("change.note-gone", what=what, name=n, key=k)) for n, k in sorted(before - after))
        yield from (
            _adds(say("change.note-new", what=what, name=n, key=k), what == "witness")
            for n, k in sorted(after - before)
        )


def _readers(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    none = say("change.none")
    one, other = {i.kind: i for i in old.interpreters}, {i.kind: i for i in new.interpreters}
    for kind in sorted({*one, *other}):
        if one.get(kind) != other.get(kind):
            said = [" ".join((i.path, *i.arguments)) if i else none for i in (one.get(kind), other.get(kind))]
            yield _other(say("change.interpreter", kind=kind, before=said[0], after=said[1]), True)
    before, after = {(x.name, str(x.digest)) for x in old.layouts}, {(x.name, str(x.digest)) for x in new.layouts}
    yield from (
        _removes(say("change.layout-gone", name=name, digest=digest)) for name, digest in sorted(before - after)
    )
    yield from (
        _adds(say("change.layout-new", name=name, digest=digest), True) for name, digest in sorted(after - before)
    )
    if old.tuf_root != new.tuf_root:
        yield _other(say("change.tuf", before=old.tuf_root or none, after=new.tuf_root or none), True)
    roots, other_roots = {i.name: i.root for i in old.repositories}, {i.name: i.root for i in new.repositories}
    for name in sorted({*roots, *other_roots}):
        if roots.get(name) != other_roots.get(name):
            was, becomes = roots.get(name, none), other_roots.get(name, none)
            yield _other(say("change.repository", name=name, before=was, after=becomes), True)


def _permits(old: TrustFile, new: TrustFile) -> Iterator[Change]:
    """Whoever is added can let something in, so each of them is read twice."""
    before, after = {one.name: one for one in old.permits}, {one.name: one for one in new.permits}
    for name, one in before.items():
        if name not in after:
            yield _removes(say("change.permit-gone", sentence=permit_sentence(one)))
        elif one != after[name]:
            said = {"before": permit_sentence(one), "after": permit_sentence(after[name])}
            yield _adds(say("change.permit-now", **said), True)
    for name, one in after.items():
        if name not in before:
            yield _adds(say("change.permit-new", sentence=permit_sentence(one)), True)


def _number(generation: int | None) -> int:
    return -1 if generation is None else generation


def _note(known: LogKey) -> tuple[str, str]:
    return known.name, str(known.key)


def _proof(known: KeyEvidence) -> str:
    due = f", review {_day(known.review)}" if known.review else ""
    return f"{known.provenance}, {known.reason or say('change.none')}{due}"


def _authority(one: TimestampAuthority) -> str:
    none = say("change.none")
    parts = {"anchor": _subject(one.anchor), "key": one.key or none, "last": _day(one.last_token, none)}
    return say("change.authority-what", **parts)


def _anchor(one: Anchor) -> str:
    environment: Environment = one.environment
    return f"{one.name} ({environment}{', public' if one.public else ''})"


def _named(person: Person) -> str:
    return f"{person.id} of {person.organisation}"


def _subject(der: bytes) -> str:
    return display_name(load_certificate(der, "certificate").subject)


def _day(time: datetime | None, otherwise: str = "") -> str:
    return otherwise if time is None else f"{time:%Y-%m-%d}"
