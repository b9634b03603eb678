"""A file that a maker really shipped, read to take the maker into a trust file: who signed it, and until when that will do.

1. It is read as `survey` reads it (`signers.py`): nobody is trusted yet. What is unsigned, broken, weak or unreadable is refused.
2. Of several signatures of the maker the one is taken whose certificate lasts longest; the others are named.
3. The path above the signer is what the file carries, or goes on to an authority that was handed in (`--anchor`). A signature that
   carries no certificate (MCUboot, kernel modules, FIT) needs the signer's certificate handed in (`--signer`).
4. Several samples have one maker: the same authority above them and the same format.

    sample = read_sample("drive.bin", Handed(), now)
    print(sample.leaf.subject, sample.anchor.subject)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median_low
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.errors import SampleRefused
from sealwright.formats.format import ACCEPTANCE, RECEIVING, Search, Slot
from sealwright.plant.signers import FileSeen, SignatureSeen, State, chain_of, look
from sealwright.trust.certificate import display_name, load_certificate, tbs_digest

YEAR = timedelta(days=365)
_STATEMENTS = (ACCEPTANCE, RECEIVING)
_SECOND = "Ask the maker, at a number that you already had, whether they shipped this file."
_STEPS = {
    State.UNSIGNED: "Ask the maker for the signed file, or receive it with a record: sealwright receive --help",
    State.BROKEN: "Do not install it. " + _SECOND,
    State.WEAK: "Ask the maker for a signature by today's algorithms, or receive it with a record: sealwright receive --help",
    State.UNREADABLE: "Fetch it again; `sealwright inspect` shows how far it can be read.",
    State.BARE: "Ask the maker for the certificate or public key and name it: --signer FILE",
}


class Handed(NamedTuple):
    """Certificates (DER) that came another way than in the sample. anchors: authorities; signers: of signatures that carry none."""

    anchors: tuple[bytes, ...] = ()
    signers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample. path: as it was named; file: SHA-256 of all bytes, None for a folder; chain: leaf first, up to the anchor.

    signature: the one that is taken; others: those of the maker that are not; carried: whether the signer's certificate came with it.
    """

    path: str
    file: Digest | None
    signature: SignatureSeen
    others: tuple[SignatureSeen, ...]
    chain: tuple[x509.Certificate, ...]
    carried: bool

    @property
    def leaf(self) -> x509.Certificate:
        """The signer's certificate."""
        return self.chain[0]

    @property
    def anchor(self) -> x509.Certificate:
        """The topmost certificate, where the path of the new rule ends."""
        return self.chain[-1]

    @property
    def made(self) -> datetime | None:
        """When it was signed: as a timestamp that is in order proves it, else as the signer says."""
        stamp = self.signature.stamp
        return stamp.time if stamp is not None else self.signature.claimed


class Forecast(NamedTuple):
    """When the maker's next release is to be expected. every: the time between releases; seen: out of so many gaps, 0 for assumed."""

    due: datetime
    every: timedelta
    seen: int


class Changed(NamedTuple):
    """What a newer sample has otherwise. what: `certificate`, `subject`, `issuer`, `authority` or `weaker`; for people, escaped."""

    what: str
    before: str
    after: str


def read_sample(path: str, handed: Handed, now: datetime, progress: Progress | None = None) -> Sample:
    """The signature of a sample that a rule can be written for; SampleRefused saying why there is none."""
    seen = look(path, Search(progress=progress, certificates=(*handed.signers, *handed.anchors)))
    if seen.state is not State.INTACT:
        raise SampleRefused(path, _why(seen), _STEPS[seen.state])
    makers = [
        one
        for one in seen.signatures
        if one.slot is Slot.MAKER and one.format not in _STATEMENTS and one.state is State.INTACT and one.chain
    ]
    if not makers:
        raise SampleRefused(path, "no signature in it is its maker's with a certificate", _STEPS[State.UNSIGNED])
    best = max(makers, key=lambda one: (one.stamp is not None or one.chain[0].not_after > now, one.chain[0].not_after))
    chain = _chain(path, best, handed)
    others = tuple(one for one in seen.signatures if one is not best and one.format not in _STATEMENTS)
    carried = best.chain[0].der not in handed.signers
    return Sample(path, seen.digest, best, others, tuple(load_certificate(der, path) for der in chain), carried)


def check_one_maker(samples: Sequence[Sample]) -> None:
    """SampleRefused where samples are not of one maker and format, so that no rule would become wider than each of them."""
    first = samples[0]
    for one in samples[1:]:
        if one.anchor != first.anchor:
            what = f"its signer's path does not end where that of {display(first.path)} does"
            raise SampleRefused(one.path, what, "Take in one maker at a time; --anchor names the authority of both.")
        if one.signature.format != first.signature.format:
            what = f"it is of format {one.signature.format}, {display(first.path)} of {first.signature.format}"
            raise SampleRefused(one.path, what, "Take in one format at a time.")
        if bool(one.signature.claims.product) is not bool(first.signature.claims.product):
            what = f"of it and {display(first.path)} only one names its product"
            raise SampleRefused(one.path, what, "Take in what names a product and what does not apart from each other.")


def forecast(samples: Sequence[Sample], now: datetime) -> Forecast:
    """The next release after the newest sample: by the middle gap between timestamps of several, else a year later."""
    proved = sorted({one.signature.stamp.time for one in samples if one.signature.stamp and one.signature.stamp.time})
    gaps = [later - earlier for earlier, later in pairwise(proved) if later - earlier > _DAY]
    every = median_low(gaps) if gaps else YEAR
    last = max((one.made for one in samples if one.made is not None), default=now)
    return Forecast(max(min(last, now) + every, now), every, len(gaps))


def compared(samples: Sequence[Sample]) -> list[Changed]:
    """What each sample has otherwise than the one before it; samples: in the order in which they were made."""
    found: list[Changed] = []
    for before, after in pairwise(samples):
        found += changed(before.leaf, after.leaf)
        told = [_authority(one) for one in (before, after)]
        if told[0] != told[1]:
            found.append(Changed("authority", told[0], told[1]))
    return list(dict.fromkeys(found))


def _authority(sample: Sample) -> str:
    """A sample's timestamp authority: who made the token, and the topmost certificate that came with it."""
    stamp = sample.signature.stamp
    if stamp is None:
        return "none"
    return f"{stamp.authority} of {stamp.chain[-1].subject} ({stamp.chain[-1].key})" if stamp.chain else stamp.authority


def changed(before: x509.Certificate, after: x509.Certificate) -> list[Changed]:
    """What a newer certificate of a signer has otherwise."""
    if before == after:
        return []
    found = [Changed("certificate", str(tbs_digest(before)), str(tbs_digest(after)))]
    if before.subject != after.subject:
        found.append(Changed("subject", display_name(before.subject), display_name(after.subject)))
    if before.issuer != after.issuer:
        found.append(Changed("issuer", display_name(before.issuer), display_name(after.issuer)))
    if 0 < strength(after) < strength(before):
        found.append(Changed("weaker", key_name(before), key_name(after)))
    return found


def strength(certificate: x509.Certificate) -> int:
    """Bits of security of a certificate's key (NIST SP 800-57 part 1, table 2); 0 where they do not compare."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return next(
            (bits for size, bits in ((15360, 256), (7680, 192), (3072, 128), (2048, 112)) if key.key_size >= size), 80
        )
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size // 2
    return 128 if isinstance(key, ed25519.Ed25519PublicKey) else 0


def key_name(certificate: x509.Certificate) -> str:
    """A certificate's key as people call it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"P-{key.curve.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


_DAY = timedelta(days=1)


def _why(seen: FileSeen) -> str:
    """The most telling reason, as a clause."""
    telling = next((one for one in seen.signatures if one.state is seen.state), None)
    if seen.state is State.UNSIGNED:
        return "nothing in it or beside it signs it"
    if seen.state is State.BARE and telling is not None:
        return f"its signature carries no certificate; it calls its signer {telling.called or 'nothing'}"
    if seen.state is State.WEAK and telling is not None:
        return f"its signature is too weak to count: {telling.weakness}"
    reasons = [*(telling.why if telling is not None else ()), *seen.why]
    return display(reasons[0].sentence) if reasons else f"its signature is {seen.state}"


def _chain(path: str, signature: SignatureSeen, handed: Handed) -> list[bytes]:
    """The path above the signer, up to the authority that was handed in, else as far as it was carried."""
    leaf, *above = (one.der for one in signature.chain)
    ders = [one.der for one in chain_of(leaf, (*handed.anchors, *above, *handed.signers))]
    if not handed.anchors:
        return ders
    ends = [at for at, der in enumerate(ders) if der in handed.anchors]
    if not ends:
        what = f"the authority of --anchor did not issue the certificate of {signature.subject}, nor one above it"
        raise SampleRefused(path, what, "Name the root or intermediate of this signer, as the maker published it.")
    return ders[: ends[0] + 1]
