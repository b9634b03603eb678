"""The one seam of all key backends: what a key is, and how it signs.

A backend is reached by a key string that follows the ecosystem: `file:PATH`, `pkcs11:...` (RFC 7512), `tpm:...`, `transit:https://...`
(Vault, OpenBao), `awskms:arn:...`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sealwright.envelope.algorithms import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
    ML_DSA_44,
    ML_DSA_65,
    ML_DSA_87,
    PSS_SHA256,
    RSA_SHA256,
    PublicKey,
    SignatureAlgorithm,
)
from sealwright.envelope.tobesigned import ToBeSigned


class KeyKind(StrEnum):
    """What `key create --algorithm` makes: the kind of key, and for RSA the padding it is enrolled for."""

    P256 = "p256"
    P384 = "p384"
    P521 = "p521"
    RSA3072 = "rsa3072"
    RSA3072_PSS = "rsa3072-pss"
    RSA4096 = "rsa4096"
    RSA4096_PSS = "rsa4096-pss"
    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """The algorithm a key of this kind signs with."""
        return _ALGORITHM_OF[self.value]


_ALGORITHM_OF = {
    "p256": ECDSA_SHA256,
    "p384": ECDSA_SHA384,
    "p521": ECDSA_SHA512,
    "rsa3072": RSA_SHA256,
    "rsa4096": RSA_SHA256,
    "rsa3072-pss": PSS_SHA256,
    "rsa4096-pss": PSS_SHA256,
    "ed25519": ED25519,
    "ml-dsa-44": ML_DSA_44,
    "ml-dsa-65": ML_DSA_65,
    "ml-dsa-87": ML_DSA_87,
}


class Provenance(StrEnum):
    """Where the private key lives, as far as it is shown (DESIGN: promise 4).

    SERVICE_HELD: a key service (Vault, OpenBao, AWS KMS) holds it and, by its own word, does not give it out. No hardware is shown, so
    it never counts as such; nor is it a development key, which anybody can copy who reads a file. No certificate carries it:
    production accepts it as it does an imported one, where a trust file names the key with a reason and a review date.
    """

    HARDWARE_ATTESTED = "hardware-attested"
    HARDWARE_CLAIMED = "hardware-claimed"
    HARDWARE_IMPORTED = "hardware-imported"
    SERVICE_HELD = "service-held"
    DEVELOPMENT = "development"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """uri: the canonical key string (token serial and CKA_ID, TPM blob path, file path); never a label alone.

    public_key: as the backend reports it; the caller compares it with the enrolled one. location: one phrase for
    people ("SoftHSM token 'line-1', serial 1f3a…"). attributes: what the backend checked, name and value.
    """

    uri: str
    public_key: PublicKey
    algorithm: SignatureAlgorithm
    provenance: Provenance
    location: str
    attributes: tuple[tuple[str, str], ...] = ()


class OpenKey(Protocol):
    """A key that was found, checked and is ready to sign.

    One thread at a time calls `sign` and `close`: a service keeps one thread (a desk) for each key, and its requests queue there. `info`
    never changes and is read from anywhere. No key works in a forked child. What else is safe from other threads, a
    backend says of itself (`health()`, where it has one).
    """

    @property
    def info(self) -> KeyInfo:
        """What was found when the key was opened."""
        ...

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, in the encoding of CMS (ECDSA: DER SEQUENCE of r, s), each verified with the public key.

        Raises KeyRefused for a wrong length or algorithm before the key is used, KeyUnavailable if the token is gone.
        """
        ...

    def close(self) -> None:
        """Give the session or worker back. Closing twice is fine."""
        ...
