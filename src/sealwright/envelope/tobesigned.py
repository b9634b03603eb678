"""What a key is asked to sign. We build it; a caller never hands in ready signed attributes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sealwright.envelope.algorithms import SignatureAlgorithm


class Kind(StrEnum):
    """How the key receives the bytes.

    DIGEST: `data` is the digest by `algorithm.digest` (RSA, ECDSA). MESSAGE: `data` is the whole message (Ed25519,
    ML-DSA). EXTERNAL_MU: `data` is the 64-octet mu of FIPS 204 (bare ML-DSA over large content only).
    """

    DIGEST = "digest"
    MESSAGE = "message"
    EXTERNAL_MU = "external_mu"


@dataclass(frozen=True, slots=True)
class ToBeSigned:
    """Bytes for one private-key operation; the length is checked by the backend before the key is used."""

    kind: Kind
    data: bytes
    algorithm: SignatureAlgorithm
