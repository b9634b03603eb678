"""A production world made of `kit.certs`, so that any certificate in it can be wrong: signer, trust file, verdict."""

from __future__ import annotations

from typing import Any

from cryptography import x509

from kit.certs import Made, made
from kit.pki import CLAIMED, Pki, Signer
from kit.trust import believed
from sealwright.envelope.algorithms import algorithm_for
from sealwright.keys.file import FileKey
from sealwright.keys.key import KeyInfo
from sealwright.pki.oids import HARDWARE_CLAIMED
from sealwright.pki.profiles import UPDATE_PACKAGE_SIGNING
from sealwright.trust.belief import Believed

_CLAIMED = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(HARDWARE_CLAIMED), None)])


def leaf_of(issuer: Made, common: str = "release", **how: Any) -> Made:
    """A signer's certificate for production, good unless told otherwise."""
    extra = [(_CLAIMED, False), *how.pop("extra", [])]
    return made(common, issuer, **({"purposes": [UPDATE_PACKAGE_SIGNING]} | how), extra=extra)


def signer(leaf: Made, *bag: Made) -> Signer:
    """The leaf's key with what its signature carries along."""
    public = leaf.key.public_key()
    info = KeyInfo("test:leaf", public, algorithm_for(public, subject="test"), CLAIMED, "memory")
    return Signer(leaf.der, tuple(one.der for one in bag), FileKey(info, leaf.key))


def trusting(root: Made, **changes: Any) -> Believed:
    """A production trust file with one anchor."""
    top = Signer(root.der, (), signer(root).key)
    return believed(Pki(top, top, CLAIMED), **changes)
