"""A maker taken into a trust file by the narrowest rule under which a sample of theirs is accepted, or the smallest change of a rule.

1. Where the file accepts the sample already, nothing changes. What it denies is never taken in.
2. A maker is known by the authority above the signer. A new one gets an anchor, its timestamp authority, and one rule: this
   authority, exactly this subject, these purposes, this format, these products, mode `audit` with owner, reason and review. A
   certificate that came without one above it is pinned, with an end.
3. Of a known maker the rule that is there is changed where it refused: because rules that are equally close must all be met
   (`trust/rules.py`), a second one would refuse both.
4. A subject that the file knows under another authority is how an impostor looks: it is said, and only a second channel can tell.
5. The whole is tried: `verify` judges the samples under the new text, and what it would reject is not proposed.
Nothing is written here, and names out of certificates stand in the text only as TOML strings and escaped remarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from cryptography import x509

from sealwright.artifact.names import display
from sealwright.artifact.section import MAX_TEXT
from sealwright.errors import SampleRefused, UsageError
from sealwright.formats.format import Slot
from sealwright.plant.drafttrust import (
    OWNER,
    PINNED,
    REVIEW,
    Names,
    environment_of,
    purpose_names,
    purposes_seen,
    same_key,
)
from sealwright.plant.sample import Changed, Sample, changed, compared
from sealwright.plant.signers import chain_of
from sealwright.texts.words import say
from sealwright.trust.belief import Believed, unbelieved
from sealwright.trust.certificate import (
    ANY_PURPOSE,
    display_name,
    is_authority,
    load_certificate,
    policy_oids,
    same_subject,
    spki_digest,
    tbs_digest,
)
from sealwright.trust.draft import Draft
from sealwright.trust.intake import pem_of
from sealwright.trust.layouts import family
from sealwright.trust.model import Anchor, Rule, SignerRule, TrustFile
from sealwright.trust.rules import SIGNING_PURPOSES
from sealwright.trust.toml import Toml
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, verify_paths

# CA/Browser Forum, baseline requirements for code signing, section 7.1.6.1: publicly trusted, EV and not
PUBLIC_POLICIES = frozenset(("2.23.140.1.3", "2.23.140.1.4.1"))


class Said(NamedTuple):
    """What the person says who takes a maker in; "" and None where they leave it to the sample.

    confirmed: the second channel over which the fingerprint was compared; environment: of the anchor and rule; provenance: where the
    maker's keys live, as the maker says.
    """

    confirmed: str
    name: str = ""
    environment: str = ""
    provenance: str = ""
    public: bool = False
    owner: str = ""
    reason: str = ""
    review: datetime | None = None


class Proposal(NamedTuple):
    """data: the new text, None where nothing has to change; said: what is added or changed, in sentences; rule: which accepts the sample.

    changed: what is otherwise than the file knew; warnings: what to read twice; verdict: on the newest sample under the text.
    """

    data: bytes | None
    said: tuple[str, ...]
    changed: tuple[Changed, ...]
    warnings: tuple[str, ...]
    rule: str
    verdict: Verdict


@dataclass(slots=True)
class _Edit:
    """A proposal on its way. remarks: go above the first table that is touched."""

    draft: Draft
    said: list[str] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, section: str, entry: dict[str, Toml]) -> None:
        """A table more."""
        self.draft.add((section,), entry, self.remarks)
        self.remarks = []

    def put(
        self, rule: int, values: dict[str, Toml], where: tuple[str, ...] = ("rule",), at: int | None = None
    ) -> None:
        """Values of a rule, or of the signer at a place."""
        for key, value in values.items():
            self.draft.set(where, rule if at is None else at, key, value)
        if self.remarks:
            self.draft.remark(("rule",), rule, self.remarks)
            self.remarks = []


def propose(draft: Draft, samples: Sequence[Sample], said: Said, now: datetime) -> Proposal:
    """What to add or change for these samples, newest last; SampleRefused where no narrow rule would accept them."""
    before = unbelieved(draft.path)
    verdicts = _judged(samples, before, now)
    newest = samples[-1]
    found = [*_remembered(newest, before.trust), *compared(samples)]
    if all(one.outcome is Outcome.TRUSTED for one in verdicts):
        return Proposal(None, (), tuple(found), (), verdicts[-1].rule, verdicts[-1])
    edit = _Edit(draft, changed=found, remarks=_remarks(samples, said, now))
    known = _known(newest, before.trust)
    if not known:
        known = _another_authority(edit, samples, before.trust, said, now)
    elif any(not _known(one, before.trust) for one in samples):
        raise SampleRefused(
            newest.path, "the file knows its maker, and not that of the other samples", "Take in one at a time."
        )
    else:
        _adapt(edit, samples, known, before.trust, said, now)
    for sample in samples:
        _authority(edit, sample, before.trust)
    if not edit.said:
        return _unchanged(newest, verdicts[-1], edit)
    if any(one.what == "weaker" for one in edit.changed):
        edit.warnings.append(say("adopt.weaker"))
    data = draft.checked()
    trust = draft.trust
    certificates = tuple(dict.fromkeys((*trust.certificates, *before.certificates)))
    extra = tuple(one for one in before.denied if one not in trust.denied)
    after = replace(before, trust=trust, certificates=certificates, denied=(*trust.denied, *extra))
    for sample, verdict in zip(samples, _judged(samples, after, now), strict=True):
        _check(sample, verdict)
    return Proposal(
        data, tuple(edit.said), tuple(dict.fromkeys(edit.changed)), tuple(edit.warnings), verdict.rule, verdict
    )


def _remembered(sample: Sample, trust: TrustFile) -> list[Changed]:
    """What a signer's certificate has otherwise than those of the same subject that the file holds."""
    held = [
        load_certificate(der, "certificate")
        for der in (*(one.certificate for one in trust.anchors), *trust.certificates)
    ]
    theirs = [one for one in held if one.subject == sample.leaf.subject and not is_authority(one)]
    return [] if sample.leaf in theirs else [each for one in theirs[-1:] for each in changed(one, sample.leaf)]


def _judged(samples: Sequence[Sample], believed: Believed, now: datetime) -> list[Verdict]:
    return list(verify_paths([one.path for one in samples], believed, Request(clock=now)))


def _check(sample: Sample, verdict: Verdict) -> None:
    if verdict.outcome is Outcome.REJECTED:
        first = verdict.findings[0]
        what = f"under the narrowest rule it would still be refused: {display(first.sentence)}"
        raise SampleRefused(sample.path, what, display(first.next_step))


def _unchanged(sample: Sample, verdict: Verdict, edit: _Edit) -> Proposal:
    _check(sample, verdict)
    return Proposal(None, (), tuple(edit.changed), (display(verdict.findings[0].sentence),), verdict.rule, verdict)


# --- a maker that the file does not know ------------------------------------------------------------------------------


def _another_authority(
    edit: _Edit, samples: Sequence[Sample], trust: TrustFile, said: Said, now: datetime
) -> list[Anchor]:
    """An anchor, and a rule of its own or, where the file knows the subject already, the anchor in that subject's rule."""
    newest = samples[-1]
    place = _place_of_subject(newest, trust)
    environment = trust.rules[place].environment.value if place is not None else _environment(newest, said)
    anchor, names = newest.anchor, _names(trust)
    name = names.text(said.name) if said.name else names.of(anchor)
    public = _is_public(newest, said)
    entry: dict[str, Toml] = {"name": name, "environment": environment, "certificate": _pem(anchor)}
    edit.add("anchor", entry | ({"public": True} if public else {}))
    edit.said.append(say("adopt.anchor", name=name, environment=environment, subject=display_name(anchor.subject)))
    if public:
        edit.said.append(say("adopt.public", name=name))
    if environment == "test" and not said.environment:
        edit.warnings.append(say("adopt.test"))
    _certificates(edit, samples, trust)
    _evidence(edit, samples, trust, environment, said, now)
    if place is None:
        _new_rule(edit, samples, trust, [name], environment, names, said, now)
        return []
    rule = trust.rules[place]
    at, signer = _maker(trust, place)
    old = [load_certificate(one.certificate, one.name) for one in trust.anchors if one.name in signer.anchors]
    edit.changed.append(
        Changed("issuer", "; ".join(display_name(one.subject) for one in old), display_name(anchor.subject))
    )
    # also where the issuer's name is the old one: a certificate that came alone can name anybody as its issuer
    edit.warnings.append(say("adopt.impostor", subject=display_name(newest.leaf.subject), rule=display(rule.name)))
    values: dict[str, Toml] = {"anchors": [*signer.anchors, name]}
    edit.put(place, values | _signer_change(newest, signer, anchor, now), ("rule", "signer"), at)
    edit.said.append(say("adopt.rule-anchor", rule=display(rule.name), anchor=name))
    _scope(edit, samples, trust, place)
    return []


def _new_rule(
    edit: _Edit,
    samples: Sequence[Sample],
    trust: TrustFile,
    anchors: list[str],
    environment: str,
    names: Names,
    said: Said,
    now: datetime,
) -> None:
    newest = samples[-1]
    form, products = newest.signature.format, _products(samples)
    signer: dict[str, Toml] = {"slot": "maker", "anchors": anchors} | _identity(samples, now)
    signer["purposes"] = purpose_names({one for sample in samples for one in purposes_seen(sample.chain)})
    entry: dict[str, Toml] = {"name": names.text(f"{anchors[0]} {form} {' '.join(products)}")}
    entry |= {"products": products} if products else {}
    stamped = all(one.signature.stamp is not None for one in samples)
    entry |= {
        "formats": [form],
        "environment": environment,
        "timestamp": "required" if stamped else "optional",
        "mode": "audit",
        "owner": said.owner or OWNER,
        "reason": said.reason or say("adopt.reason", path=_base(newest), day=f"{now:%Y-%m-%d}"),
        "review": (said.review or now + REVIEW).replace(microsecond=0),
        "signer": [signer],
    }
    edit.add("rule", entry)
    edit.said.append(say("adopt.rule", rule=str(entry["name"]), format=form))
    if not products:
        edit.warnings.append(say("adopt.no-product", format=form))
    edit.warnings += _beside(trust, newest, set(products), anchors[0])
    if not said.owner:
        edit.warnings.append(say("adopt.no-owner"))


def _beside(trust: TrustFile, sample: Sample, products: set[str], anchor: str) -> Iterator[str]:
    """What a new rule does to those that are there: a product that another maker signs too, files that a wider rule decided."""
    for rule in trust.rules:
        makers = {name for one in rule.signers if one.slot is Slot.MAKER for name in one.anchors}
        if anchor in makers or not _of_format(rule, sample):
            continue
        shared = products & set(rule.products)
        if shared:
            yield say("adopt.product-taken", products=", ".join(sorted(shared)), rule=display(rule.name))
        elif not rule.products and (products or not rule.formats):
            yield say("adopt.wider", rule=display(rule.name))


def _identity(samples: Sequence[Sample], now: datetime) -> dict[str, Toml]:
    """Who may sign: exact subjects; where a subject names nobody or no authority stands above, certificates with an end."""
    if all(_plain(one) for one in samples):
        found: dict[str, Toml] = {"subjects": sorted({one.leaf.subject.rfc4514_string() for one in samples})}
        return found if is_authority(samples[-1].anchor) else found | {"pins_until": _pin_end(samples[-1], now)}
    pins = sorted({str(tbs_digest(one.leaf)) for one in samples})
    return {"certificates": pins, "pins_until": _pin_end(samples[-1], now)}


def _plain(sample: Sample) -> bool:
    """Whether the subject is enough to name the signer below the anchor."""
    subject = sample.leaf.subject.rfc4514_string()
    return len(sample.chain) > 1 and same_subject(sample.leaf, subject) and 0 < len(subject.strip()) <= MAX_TEXT


def _pin_end(sample: Sample, now: datetime) -> datetime:
    end = sample.leaf.not_valid_after_utc
    return min(now + PINNED, end if end > now else now + PINNED).replace(microsecond=0)


def _environment(sample: Sample, said: Said) -> str:
    own = environment_of(sample.chain)
    if said.environment == "production" and own == "development":
        raise UsageError(
            "--environment", "its certificates say that it is a development key", "Ask the maker for a released file."
        )
    return said.environment or own


def _is_public(sample: Sample, said: Said) -> bool:
    """Whether the authority also serves others: somebody says so, its certificates do, or it is of another organisation."""
    if not is_authority(sample.anchor):
        return False
    policies = {oid for one in sample.chain for oid in policy_oids(one)}
    public = (
        said.public or bool(policies & PUBLIC_POLICIES) or _organisation(sample.leaf) != _organisation(sample.anchor)
    )
    if public and not _purposes_named(sample):
        if said.public or policies & PUBLIC_POLICIES:
            what = "its authority is a public one, and its signer's certificate has no purpose that a rule could name"
            raise SampleRefused(sample.path, what, "Ask the maker for a file that a code-signing certificate signed.")
        return False
    return public


def _purposes_named(sample: Sample) -> bool:
    return not purposes_seen(sample.chain) & {"any", ANY_PURPOSE}


def _organisation(certificate: x509.Certificate) -> tuple[object, ...]:
    return tuple(one.value for one in certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME))


# --- a maker that the file knows --------------------------------------------------------------------------------------


def _adapt(
    edit: _Edit,
    samples: Sequence[Sample],
    known: Sequence[Anchor],
    trust: TrustFile,
    said: Said,
    now: datetime,
) -> None:
    """The rule of a known maker changed where it refuses these samples, or one more rule where none speaks of them."""
    newest, anchor = samples[-1], known[0]
    _certificates(edit, samples, trust)
    _evidence(edit, samples, trust, anchor.environment.value, said, now)
    place = _place(newest, known, trust)
    if place is None:
        _new_rule(edit, samples, trust, [anchor.name], anchor.environment.value, _names(trust), said, now)
        return
    at, signer = _maker(trust, place)
    rule = trust.rules[place]
    values = _signer_change(newest, signer, load_certificate(anchor.certificate, anchor.name), now)
    if values:
        if "subjects" in values:
            edit.changed.append(
                Changed(
                    "subject", "; ".join(display(one) for one in signer.subjects), display_name(newest.leaf.subject)
                )
            )
        if "certificates" in values or "keys" in values:
            pins = (*signer.certificates, *signer.keys)
            edit.changed.append(Changed("certificate", ", ".join(map(str, pins)), str(tbs_digest(newest.leaf))))
        if "purposes" in values:
            edit.warnings.append(say("adopt.purpose", rule=display(rule.name)))
        edit.put(place, values, ("rule", "signer"), at)
        edit.said.append(say("adopt.rule-signer", rule=display(rule.name), subject=display_name(newest.leaf.subject)))
    _scope(edit, samples, trust, place)


def _signer_change(newest: Sample, signer: SignerRule, anchor: x509.Certificate, now: datetime) -> dict[str, Toml]:
    """What a rule's signer has to say besides, to mean this certificate too."""
    leaf, values = newest.leaf, dict[str, Toml]()
    subject = leaf.subject.rfc4514_string()
    if signer.subjects and not any(same_subject(leaf, one) for one in signer.subjects):
        values["subjects"] = [*signer.subjects, subject]
    if signer.certificates and tbs_digest(leaf) not in signer.certificates:
        values["certificates"] = [*map(str, signer.certificates), str(tbs_digest(leaf))]
    if signer.keys and spki_digest(leaf) not in signer.keys:
        values["keys"] = [*map(str, signer.keys), str(spki_digest(leaf))]
    pinned = "certificates" in values or "keys" in values or not is_authority(anchor)
    end = _pin_end(newest, now)
    if (pinned and (signer.pins_until is None or signer.pins_until < end)) or (
        signer.pins_until is not None and signer.pins_until < now
    ):
        values["pins_until"] = end
    wanted, has = set(signer.purposes or SIGNING_PURPOSES), purposes_seen(newest.chain)
    if ANY_PURPOSE not in wanted and not wanted & has:
        values["purposes"] = sorted({*purpose_names(set(wanted)), *purpose_names(has)})
        if "any" in has:
            values["purposes"] = ["any"]
    return values


def _scope(edit: _Edit, samples: Sequence[Sample], trust: TrustFile, place: int) -> None:
    """Products and format of a rule, where it does not speak of these yet."""
    rule = trust.rules[place]
    products = [one for one in _products(samples) if one not in rule.products]
    if rule.products and products:
        edit.put(place, {"products": [*rule.products, *products]})
        edit.said.append(say("adopt.rule-products", rule=display(rule.name), products=", ".join(products)))


def _place(sample: Sample, known: Sequence[Anchor], trust: TrustFile) -> int | None:
    """The rule of a known authority that speaks of a sample's format: that names its product, else that names its signer."""
    names = {one.name for one in known}
    fitting = [
        at
        for at, rule in enumerate(trust.rules)
        if _of_format(rule, sample) and any(names & set(one.anchors) for one in rule.signers if one.slot is Slot.MAKER)
    ]
    product = sample.signature.claims.product
    named = [at for at in fitting if product is not None and product in trust.rules[at].products]
    of_signer = [
        at
        for at in fitting
        if any(same_subject(sample.leaf, one) for one in _maker(trust, at)[1].subjects)
        and bool(trust.rules[at].products) is bool(product)
    ]
    open_ = [at for at in fitting if not trust.rules[at].products]
    return next(iter((*named, *of_signer, *(open_ if product is None else ()))), None)


def _place_of_subject(sample: Sample, trust: TrustFile) -> int | None:
    """The rule that names the sample's subject below another authority, or pins a certificate of that subject."""
    anchors = {one.name: load_certificate(one.certificate, one.name) for one in trust.anchors}
    for at, rule in enumerate(trust.rules):
        if not _of_format(rule, sample) or not any(one.slot is Slot.MAKER for one in rule.signers):
            continue
        _, signer = _maker(trust, at)
        pinned = any(anchors[name].subject == sample.leaf.subject for name in signer.anchors)
        if pinned or any(same_subject(sample.leaf, one) for one in signer.subjects):
            return at
    return None


def _of_format(rule: Rule, sample: Sample) -> bool:
    form = sample.signature.format
    return not rule.formats or form in rule.formats or family(form) in rule.formats


def _maker(trust: TrustFile, place: int) -> tuple[int, SignerRule]:
    """The maker's signer of a rule, and where it stands among the signers of all rules."""
    before = sum(len(rule.signers) for rule in trust.rules[:place])
    return next((before + at, one) for at, one in enumerate(trust.rules[place].signers) if one.slot is Slot.MAKER)


def _known(sample: Sample, trust: TrustFile) -> list[Anchor]:
    """The anchors of the file in a sample's path, or above it, the lowest first."""
    leaf = sample.signature.chain[0].der
    above = [one.der for one in sample.signature.chain[1:]]
    bag = (*(one.certificate for one in trust.anchors), *trust.intermediates, *above, *map(_der, sample.chain))
    path = [one.der for one in chain_of(leaf, bag)]
    return [one for der in path for one in trust.anchors if one.certificate == der or _same_authority(one, der)]


def _same_authority(anchor: Anchor, der: bytes) -> bool:
    return same_key(anchor.certificate, der) and is_authority(load_certificate(anchor.certificate, anchor.name))


# --- what both need ---------------------------------------------------------------------------------------------------


def _authority(edit: _Edit, sample: Sample, trust: TrustFile) -> None:
    """The timestamp authority of a sample, where the file knows no such."""
    stamp = sample.signature.stamp
    if stamp is None or not stamp.chain:
        return
    leaf, *above = (one.der for one in stamp.chain)
    known = [one.anchor for one in trust.authorities]
    known += [one.anchor for one in edit.draft.trust.authorities]
    path = [one.der for one in chain_of(leaf, (*known, *above, *trust.intermediates))]
    if any(same_key(one, der) for one in known for der in path):
        return
    top = load_certificate(stamp.chain[-1].der, sample.path)
    if trust.authorities:
        edit.changed.append(
            Changed("authority", "; ".join(display(one.name) for one in trust.authorities), stamp.authority)
        )
    name = Names([one.name for one in edit.draft.trust.authorities]).of(top)
    edit.add("authority", {"name": name, "anchor": _pem(top)})
    edit.said.append(say("adopt.authority", name=name, subject=display_name(top.subject)))


def _certificates(edit: _Edit, samples: Sequence[Sample], trust: TrustFile) -> None:
    """Signers' certificates that signatures leave out, with what stands between them and the anchor."""
    for sample in samples:
        needed = sample.chain[:-1] if len(sample.chain) > 1 else sample.chain
        for one in needed if not sample.carried else ():
            if _der(one) not in trust.certificates and _der(one) not in edit.draft.trust.certificates:
                edit.add("certificate", {"certificate": _pem(one)})
                edit.said.append(say("adopt.certificate", subject=display_name(one.subject)))


def _evidence(
    edit: _Edit, samples: Sequence[Sample], trust: TrustFile, environment: str, said: Said, now: datetime
) -> None:
    """Where the signers' keys live, which production wants to know and makers' certificates do not say."""
    if environment != "production":
        return
    told = {one.key for one in trust.evidence}
    keys = {spki_digest(one.leaf): one for one in samples if environment_of(one.chain) == "test"}
    for key, sample in keys.items():
        if key in told:
            continue
        if not said.provenance:
            raise UsageError(
                "--environment production",
                f"nothing says that the key of {display_name(sample.leaf.subject)} lives in hardware",
                "Ask the maker and add --provenance hardware-claimed (or hardware-imported); or take it in for test.",
            )
        entry: dict[str, Toml] = {"key": str(key), "provenance": said.provenance}
        entry["reason"] = say("adopt.evidence-reason", path=_base(sample), day=f"{now:%Y-%m-%d}")
        edit.add("evidence", entry | {"review": (said.review or now + REVIEW).replace(microsecond=0)})
        edit.said.append(say("adopt.evidence", key=key, provenance=said.provenance))


def _remarks(samples: Sequence[Sample], said: Said, now: datetime) -> list[str]:
    newest = samples[-1]
    file = str(newest.file) if newest.file is not None else "a folder"
    return [
        say("adopt.remark", day=f"{now:%Y-%m-%d}", path=_base(newest), file=file),
        say("adopt.remark-confirmed", confirmed=said.confirmed),
    ]


def _base(sample: Sample) -> str:
    """The sample's name without its folder, printable and short enough for a reason."""
    return display(sample.path.rstrip("/").rpartition("/")[2])[:100]


def _names(trust: TrustFile) -> Names:
    return Names([*(one.name for one in trust.anchors), *(one.name for one in trust.rules)])


def _products(samples: Sequence[Sample]) -> list[str]:
    return sorted({one.signature.claims.product for one in samples if one.signature.claims.product})


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _pem(certificate: x509.Certificate) -> str:
    return pem_of(_der(certificate))
