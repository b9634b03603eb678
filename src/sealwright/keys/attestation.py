"""Proof that a key lives in a TPM: TPM2_Certify read and checked without a TPM (TPM 2.0 Library, Parts 1 section 16, 2 and 3).

1. The attestation key is restricted, so that it signs only what its TPM made, and fixed to that TPM.
2. The statement is a TPM2_Certify over our nonce, and the attestation key signed it.
3. It names the key: Name = nameAlg || H(public area), computed here from the public area that came along.
4. That public area says: fixed to the TPM and its parent, made inside. Its public key is the enrolled one.
That the attestation key belongs to a real TPM of a maker is shown by an endorsement certificate, which is not checked here:
compare its digest with one that was written down when the machine was set up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import ECDSA_SHA256, PublicKey, check_signature, key_digest
from sealwright.errors import BadSignature, KeyRefused, SealwrightError

MAX_BYTES = 64 * 1024
FORMAT = "sealwright tpm attestation 1"
_FIELDS = ("format", "nonce", "public", "attest", "signature", "attestation_key")
_MAGIC = bytes.fromhex("ff544347")
_CERTIFY = 0x8017
_SHA256 = 0x000B
_FIXED_TPM, _FIXED_PARENT, _MADE_INSIDE, _RESTRICTED, _SIGN = 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 18
_CURVES: dict[int, ec.EllipticCurve] = {3: ec.SECP256R1(), 4: ec.SECP384R1()}
_NULL = 0x0010
_AGAIN = "Make a new attestation on the machine that holds the key."


@dataclass(frozen=True, slots=True)
class Attestation:
    """public, attestation_key: TPMT_PUBLIC as marshalled; attest: TPMS_ATTEST; signature: ECDSA in DER; nonce: the challenge."""

    nonce: bytes
    public: bytes
    attest: bytes
    signature: bytes
    attestation_key: bytes


@dataclass(frozen=True, slots=True)
class _Public:
    attributes: int
    key: PublicKey


def attestation_text(attestation: Attestation) -> str:
    """The attestation as one JSON object, octets in hex."""
    value = {"format": FORMAT, **{name: getattr(attestation, name).hex() for name in _FIELDS[1:]}}
    return json.dumps(value, indent=1) + "\n"


def read_attestation(data: bytes, subject: str) -> Attestation:
    """Read one; KeyRefused for anything else."""
    try:
        value = json.loads(data) if len(data) <= MAX_BYTES else None
        if not isinstance(value, dict) or set(value) != set(_FIELDS) or value["format"] != FORMAT:
            raise ValueError("not an attestation")
        read = Attestation(**{name: bytes.fromhex(value[name]) for name in _FIELDS[1:]})
        if json.loads(data, object_pairs_hook=list) != list(json.loads(attestation_text(read)).items()):
            raise ValueError("keys in another order, twice, or octets written otherwise")
        return read
    except (ValueError, TypeError, RecursionError) as cause:
        raise KeyRefused(subject, "it is not an attestation of ours", _AGAIN) from cause


def check_attestation(attestation: Attestation, enrolled: PublicKey, nonce: bytes, subject: str) -> Digest:
    """The digest of the attestation key that vouches for the enrolled key; KeyRefused saying which point failed."""
    try:
        signer, own = _public(attestation.attestation_key), _public(attestation.public)
        name, extra = _certified(attestation.attest)
    except (ValueError, IndexError, SealwrightError) as cause:
        raise KeyRefused(subject, "the attestation is damaged", _AGAIN) from cause
    needed = _FIXED_TPM | _FIXED_PARENT | _MADE_INSIDE
    if signer.attributes & (needed | _RESTRICTED | _SIGN) != needed | _RESTRICTED | _SIGN:
        raise KeyRefused(subject, "its attestation key is not one that signs only for its TPM", _AGAIN)
    if attestation.nonce != nonce or extra != nonce:
        raise KeyRefused(subject, "the attestation answers another challenge", _AGAIN)
    try:
        check_signature(signer.key, ECDSA_SHA256, attestation.signature, attestation.attest, subject=subject)
    except BadSignature as cause:
        raise KeyRefused(subject, "the attestation's signature does not hold", _AGAIN) from cause
    if name != _SHA256.to_bytes(2, "big") + Digest.of(attestation.public).value:
        raise KeyRefused(subject, "the attestation is about another key", _AGAIN)
    if own.attributes & needed != needed:
        raise KeyRefused(subject, "the key could leave its TPM, or was not made in it", "Make a new key in the TPM.")
    if key_digest(own.key) != key_digest(enrolled):
        raise KeyRefused(subject, "the attested key is not the enrolled one", _AGAIN)
    return key_digest(signer.key)


class _Cursor:
    """Big-endian fields of a TPM structure; ValueError where they run past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise ValueError("truncated")
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(2))

    def end(self) -> None:
        if self.at != len(self.data):
            raise ValueError("trailing octets")


def _certified(attest: bytes) -> tuple[bytes, bytes]:
    """The certified Name and the nonce of a TPMS_ATTEST (Part 2 section 10.12.8)."""
    cursor = _Cursor(attest)
    if cursor.take(4) != _MAGIC or cursor.number(2) != _CERTIFY:
        raise ValueError("not a TPM2_Certify")
    cursor.sized()
    nonce = cursor.sized()
    cursor.take(17 + 8)  # clockInfo, firmwareVersion
    name = cursor.sized()
    cursor.sized()
    cursor.end()
    return name, nonce


def _public(data: bytes) -> _Public:
    """A TPMT_PUBLIC of a signing key with SHA-256 as its nameAlg (Part 2 section 12.2.4)."""
    cursor = _Cursor(data)
    kind, name_algorithm, attributes = cursor.number(2), cursor.number(2), cursor.number(4)
    if name_algorithm != _SHA256:
        raise ValueError("nameAlg is not SHA-256")
    cursor.sized()
    if cursor.number(2) != _NULL:
        raise ValueError("a key with a symmetric algorithm")
    if cursor.number(2) != _NULL:
        cursor.take(2)
    if kind == 0x0023:
        curve = _CURVES.get(cursor.number(2))
        if curve is None or cursor.number(2) != _NULL:
            raise ValueError("unknown curve")
        x, y = cursor.sized(), cursor.sized()
        cursor.end()
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
        return _Public(attributes, point.public_key())
    if kind == 0x0001:
        cursor.take(2)
        exponent = cursor.number(4) or 65537
        modulus = int.from_bytes(cursor.sized(), "big")
        cursor.end()
        return _Public(attributes, rsa.RSAPublicNumbers(exponent, modulus).public_key())
    raise ValueError("unknown kind of key")
