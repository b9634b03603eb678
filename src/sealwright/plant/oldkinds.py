"""What signatures of older kinds have in common: what is given, what is found, and how strong a key must be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealwright.envelope.algorithms import MIN_RSA_BITS_TO_VERIFY, PublicKey
from sealwright.errors import OldSignatureRefused, SealwrightError
from sealwright.pki.weakkeys import check_key

MAX_SIGNATURE_BYTES = 64 * 1024
MAX_KEY_BYTES = 1 << 20
WEAK = "Ask the vendor for a signature by today's rules; without it receive the file as uncompared, with the signature as --evidence."
AGAIN = "Do not install it. Fetch the file and its signature again; tell the vendor if it fails again."
_CMS = bytes.fromhex("06092a864886f70d010702")


class Kind(StrEnum):
    """What checks it."""

    OPENSSL = "openssl"
    OPENPGP = "openpgp"
    MINISIGN = "minisign"


@dataclass(frozen=True, slots=True)
class OldSignature:
    """A signature that holds. tool: the program by its own words; key: the fingerprint as its users know it.

    algorithm: for people; claimed: when it was made, by the signer's word, None where it does not say.
    """

    kind: Kind
    tool: str
    key: str
    algorithm: str
    claimed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A signature file and a key file, each by the path it was named with and its bytes."""

    signature_path: str
    signature: bytes
    key_path: str
    key: bytes


def kind_of(given: Given) -> Kind:
    """By the key file. OldSignatureRefused for a CMS signature, which `verify` reads itself, and for keys of no known kind."""
    if given.signature.startswith(b"\x30") and _CMS in given.signature[:24]:
        raise OldSignatureRefused(
            given.signature_path,
            "it is a CMS signature, which Sealwright judges itself",
            "Take in the vendor's authority (sealwright trust add) and verify; if it is too weak there, receive it as uncompared.",
        )
    if b"PRIVATE KEY" in given.key:
        raise OldSignatureRefused(given.key_path, "it is a private key", "Take the public one; tell its owner.")
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in given.key or given.key[:1] >= b"\x80":
        return Kind.OPENPGP
    if given.key.startswith((b"untrusted comment:", b"RW")):
        return Kind.MINISIGN
    return Kind.OPENSSL


def check_strength(key: PublicKey, subject: str) -> None:
    """OldSignatureRefused for a key below the floor, or whose private key can be found."""
    try:
        check_key(key, subject=subject, least_rsa_bits=MIN_RSA_BITS_TO_VERIFY)
    except SealwrightError as cause:
        raise OldSignatureRefused(subject, cause.what, WEAK) from cause
