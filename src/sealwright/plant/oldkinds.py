"""What signatures of older kinds have in common: what is given, what is found, and how strong a key must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sealwright.envelope.algorithms import MIN_RSA_BITS_TO_VERIFY, PublicKey
from sealwright.errors import OldSignatureRefused, SealwrightError
from sealwright.pki.weakkeys import check_key

MAX_SIGNATURE_BYTES = 64 * 1024
MAX_KEY_BYTES = 1 << 20
WEAK = "Ask the vendor for a signature by today's rules, or receive the file as uncompared with a second person."
AGAIN = "Do not install it. Fetch the file and its signature again; tell the vendor if it fails again."
_CMS = bytes.fromhex("06092a864886f70d010702")


class Kind(StrEnum):
    """What checks it."""

    OPENSSL = "openssl"
    OPENPGP = "openpgp"
    MINISIGN = "minisign"


@dataclass(frozen=True, slots=True)
class Checked:
    """A signature that its program says holds. tool: by its own words; key: fingerprint; signer: a name, by the key file's own word.

    how: algorithm and, where it says one, its time; weaknesses: each a clause, why it stands for little or nothing.
    """

    kind: Kind
    tool: str
    key: str
    signer: str
    how: str
    weaknesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A signature file and a key file, each by the path it was named with and its bytes."""

    signature_path: str
    signature: bytes
    key_path: str
    key: bytes


def kind_of(given: Given) -> Kind:
    """By the key file. OldSignatureRefused for a CMS signature, which `verify` reads itself, and for private keys."""
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


def weaknesses_of(key: PublicKey, name: str) -> tuple[str, ...]:
    """Why a key is below the floor, or its private key can be found; () for a good one."""
    try:
        check_key(key, subject=name, least_rsa_bits=MIN_RSA_BITS_TO_VERIFY)
    except SealwrightError as cause:
        return (cause.what,)
    return ()
