"""Algorithms that age: until when the trust file lets a digest or a kind of key count (`[[algorithm]]`).

What was made with a withdrawn algorithm counts only if it is proved to have existed by then, by a proof that holds itself:
what a key made by a timestamp over it, what a digest binds by an evidence record that also covers the content.
`rsa-2048` means RSA keys of at most 2048 bits; `rsa`, `ecdsa` and `ml-dsa` mean all of their kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright.artifact.digest import HashName
from sealwright.trust.model import Withdrawal

_RSA = (2048, 3072, 4096)
_CURVES = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521"}
_ML_DSA = {"MLDSA44PublicKey": "ml-dsa-44", "MLDSA65PublicKey": "ml-dsa-65", "MLDSA87PublicKey": "ml-dsa-87"}
NAMES = (
    *(name.value for name in HashName),
    "rsa",
    *(f"rsa-{bits}" for bits in _RSA),
    "ecdsa",
    *_CURVES.values(),
    "ed25519",
    "ml-dsa",
    *_ML_DSA.values(),
)


def key_names(key: object) -> frozenset[str]:
    """Every name that a withdrawal of a key may have."""
    if isinstance(key, rsa.RSAPublicKey):
        return frozenset(("rsa", *(f"rsa-{bits}" for bits in _RSA if key.key_size <= bits)))
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset(("ecdsa", _CURVES.get(key.curve.name, "ecdsa")))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return frozenset(("ed25519",))
    return frozenset(("ml-dsa", _ML_DSA.get(type(key).__name__, "ml-dsa")))


def path_names(certificates: Iterable[x509.Certificate]) -> frozenset[str]:
    """The names of all keys of a path, leaf first, and of the digests that its certificates but the anchor are signed with."""
    every = tuple(certificates)
    keys = (key_names(certificate.public_key()) for certificate in every)
    return frozenset(name for names in keys for name in names) | hash_names(every[:-1])


def hash_names(certificates: Iterable[x509.Certificate]) -> frozenset[str]:
    """The digests that certificates are signed with; those of Ed25519 and ML-DSA are parts of the scheme."""
    used = (certificate.signature_hash_algorithm for certificate in certificates)
    return frozenset(one.name for one in used if one is not None)


def withdrawn(names: Collection[str], at: datetime, withdrawals: Iterable[Withdrawal]) -> Withdrawal | None:
    """The first withdrawal, in time, that a time is after."""
    past = [one for one in withdrawals if one.name in names and at > one.until]
    return min(past, key=lambda one: one.until, default=None)
