"""Which rule and anchor of a trust file a sample belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from sealwright.formats.format import Slot
from sealwright.plant.adoptedit import der
from sealwright.plant.drafttrust import same_key
from sealwright.plant.sample import Sample
from sealwright.plant.signers import chain_of
from sealwright.trust.certificate import is_authority, load_certificate, same_subject
from sealwright.trust.layouts import family
from sealwright.trust.model import Anchor, Rule, SignerRule, TrustFile


def place_of(sample: Sample, known: Sequence[Anchor], trust: TrustFile) -> int | None:
    """The rule of a known authority that speaks of a sample's format: that names its product, else that names its signer."""
    names = {one.name for one in known}
    fitting = [
        at
        for at, rule in enumerate(trust.rules)
        if speaks_of(rule, sample) and any(names & set(one.anchors) for one in rule.signers if one.slot is Slot.MAKER)
    ]
    product = sample.signature.claims.product
    named = [at for at in fitting if product is not None and product in trust.rules[at].products]
    of_signer = [
        at
        for at in fitting
        if any(same_subject(sample.leaf, one) for one in maker_of(trust, at)[1].subjects)
        and bool(trust.rules[at].products) is bool(product)
    ]
    open_ = [at for at in fitting if not trust.rules[at].products]
    return next(iter((*named, *of_signer, *(open_ if product is None else ()))), None)


def place_of_subject(sample: Sample, trust: TrustFile) -> int | None:
    """The rule that names the sample's subject below another authority, or pins a certificate of that subject."""
    anchors = {one.name: load_certificate(one.certificate, one.name) for one in trust.anchors}
    for at, rule in enumerate(trust.rules):
        if not speaks_of(rule, sample) or not any(one.slot is Slot.MAKER for one in rule.signers):
            continue
        _, signer = maker_of(trust, at)
        pinned = any(anchors[name].subject == sample.leaf.subject for name in signer.anchors)
        if pinned or any(same_subject(sample.leaf, one) for one in signer.subjects):
            return at
    return None


def speaks_of(rule: Rule, sample: Sample) -> bool:
    """Whether a rule is about a sample's format."""
    form = sample.signature.format
    return not rule.formats or form in rule.formats or family(form) in rule.formats


def maker_of(trust: TrustFile, place: int) -> tuple[int, SignerRule]:
    """The maker's signer of a rule, and where it stands among the signers of all rules."""
    before = sum(len(rule.signers) for rule in trust.rules[:place])
    return next((before + at, one) for at, one in enumerate(trust.rules[place].signers) if one.slot is Slot.MAKER)


def known_anchors(sample: Sample, trust: TrustFile) -> list[Anchor]:
    """The anchors of the file in a sample's path, or above it, the lowest first."""
    leaf = sample.signature.chain[0].der
    above = [one.der for one in sample.signature.chain[1:]]
    bag = (*(one.certificate for one in trust.anchors), *trust.intermediates, *above, *map(der, sample.chain))
    path = [one.der for one in chain_of(leaf, bag)]
    return [one for step in path for one in trust.anchors if one.certificate == step or _same_authority(one, step)]


def _same_authority(anchor: Anchor, other: bytes) -> bool:
    return same_key(anchor.certificate, other) and is_authority(load_certificate(anchor.certificate, anchor.name))
