"""The rule of a maker: the narrowest one for a new maker, and the smallest change of the one that is there.

1. A new maker gets an anchor and one rule. A certificate that came without one above it is pinned, with an end.
2. A rule that is there is changed where it refuses: one more subject, pin, product, purpose or authority.
3. What an officer has to read twice is a warning: another signer in a rule, another maker's product, an authority that changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509

from sealwright.artifact.names import display
from sealwright.artifact.section import MAX_TEXT
from sealwright.errors import SampleRefused, UsageError
from sealwright.formats.format import Slot
from sealwright.plant.adoptedit import Edit, Said, add_certificates, add_evidence, base_name, names_in, pem, products_of
from sealwright.plant.adoptmatch import maker_of, place_of, place_of_subject, speaks_of
from sealwright.plant.drafttrust import (
    OWNER,
    PINNED,
    PUBLIC_POLICIES,
    REVIEW,
    Names,
    environment_of,
    issues_to_others,
    purpose_names,
    purposes_seen,
)
from sealwright.plant.sample import Changed, Sample
from sealwright.texts.words import say
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
from sealwright.trust.model import Anchor, SignerRule, TrustFile
from sealwright.trust.rules import SIGNING_PURPOSES
from sealwright.trust.toml import Toml


def add_maker(edit: Edit, samples: Sequence[Sample], trust: TrustFile, said: Said, now: datetime) -> None:
    """An anchor, and a rule of its own or, where the file knows the subject already, the anchor in that subject's rule."""
    newest = samples[-1]
    place = place_of_subject(newest, trust)
    environment = trust.rules[place].environment.value if place is not None else _environment(newest, said)
    anchor, names = newest.anchor, names_in(trust)
    name = names.text(said.name) if said.name else names.of(anchor)
    public = _is_public(newest, said)
    entry: dict[str, Toml] = {"name": name, "environment": environment, "certificate": pem(anchor)}
    edit.add("anchor", entry | ({"public": True} if public else {}))
    edit.said.append(say("adopt.anchor", name=name, environment=environment, subject=display_name(anchor.subject)))
    if public:
        edit.said.append(say("adopt.public", name=name))
    if environment == "test" and not said.environment:
        edit.warnings.append(say("adopt.test"))
    add_certificates(edit, samples, trust)
    add_evidence(edit, samples, trust, environment, said, now)
    if place is None:
        _new_rule(edit, samples, trust, [name], environment, names, said, now)
        return
    rule = trust.rules[place]
    at, signer = maker_of(trust, place)
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


def _new_rule(
    edit: Edit,
    samples: Sequence[Sample],
    trust: TrustFile,
    anchors: list[str],
    environment: str,
    names: Names,
    said: Said,
    now: datetime,
) -> None:
    newest = samples[-1]
    form, products = newest.signature.format, products_of(samples)
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
        "reason": said.reason or say("adopt.reason", path=base_name(newest), day=f"{now:%Y-%m-%d}"),
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
        if anchor in makers or not speaks_of(rule, sample):
            continue
        shared = products & set(rule.products)
        if shared:
            yield say("adopt.product-taken", products=display(", ".join(sorted(shared))), rule=display(rule.name))
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
    public = said.public or issues_to_others(sample.chain, sample.anchor)
    if public and not _purposes_named(sample):
        if said.public or policies & PUBLIC_POLICIES:
            what = "its authority is a public one, and its signer's certificate has no purpose that a rule could name"
            raise SampleRefused(sample.path, what, "Ask the maker for a file that a code-signing certificate signed.")
        return False
    return public


def _purposes_named(sample: Sample) -> bool:
    return not purposes_seen(sample.chain) & {"any", ANY_PURPOSE}


def adapt_rule(
    edit: Edit,
    samples: Sequence[Sample],
    known: Sequence[Anchor],
    trust: TrustFile,
    said: Said,
    now: datetime,
) -> None:
    """The rule of a known maker changed where it refuses these samples, or one more rule where none speaks of them."""
    newest, anchor = samples[-1], known[0]
    add_certificates(edit, samples, trust)
    add_evidence(edit, samples, trust, anchor.environment.value, said, now)
    place = place_of(newest, known, trust)
    if place is None:
        _new_rule(edit, samples, trust, [anchor.name], anchor.environment.value, names_in(trust), said, now)
        return
    at, signer = maker_of(trust, place)
    rule = trust.rules[place]
    values = _signer_change(newest, signer, load_certificate(anchor.certificate, anchor.name), now)
    if values:
        if "subjects" in values:
            edit.warnings.append(
                say("adopt.other-signer", subject=display_name(newest.leaf.subject), rule=display(rule.name))
            )
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


def _scope(edit: Edit, samples: Sequence[Sample], trust: TrustFile, place: int) -> None:
    """Products and format of a rule, where it does not speak of these yet."""
    rule = trust.rules[place]
    products = [one for one in products_of(samples) if one not in rule.products]
    if rule.products and products:
        edit.put(place, {"products": [*rule.products, *products]})
        edit.said.append(say("adopt.rule-products", rule=display(rule.name), products=display(", ".join(products))))
