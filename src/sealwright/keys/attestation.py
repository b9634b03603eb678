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

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import ECDSA_SHA256, PublicKey, check_signature, key_digest
from sealwright.errors import BadSignature, KeyRefused, SealwrightError
from sealwright.keys.tpmwire import (
    CERTIFY,
    FIXED_PARENT,
    FIXED_TPM,
    MADE_INSIDE,
    RESTRICTED,
    SHA256,
    SIGN,
    Cursor,
    read_public_area,
    read_statement,
)

MAX_BYTES = 64 * 1024
FORMAT = "sealwright tpm attestation 1"
_FIELDS = ("format", "nonce", "public", "attest", "signature", "attestation_key")
_AGAIN = "Make a new attestation on the machine that holds the key."


@dataclass(frozen=True, slots=True)
class Attestation:
    """public, attestation_key: TPMT_PUBLIC as marshalled; attest: TPMS_ATTEST; signature: ECDSA in DER; nonce: the challenge."""

    nonce: bytes
    public: bytes
    attest: bytes
    signature: bytes
    attestation_key: bytes


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
        signer, own = read_public_area(attestation.attestation_key), read_public_area(attestation.public)
        name, extra = _certified(attestation.attest)
    except (ValueError, IndexError, SealwrightError) as cause:
        raise KeyRefused(subject, "the attestation is damaged", _AGAIN) from cause
    needed = FIXED_TPM | FIXED_PARENT | MADE_INSIDE
    if not signer.has(needed | RESTRICTED | SIGN):
        raise KeyRefused(subject, "its attestation key is not one that signs only for its TPM", _AGAIN)
    if attestation.nonce != nonce or extra != nonce:
        raise KeyRefused(subject, "the attestation answers another challenge", _AGAIN)
    try:
        check_signature(signer.key, ECDSA_SHA256, attestation.signature, attestation.attest, subject=subject)
    except BadSignature as cause:
        raise KeyRefused(subject, "the attestation's signature does not hold", _AGAIN) from cause
    if name != SHA256.to_bytes(2, "big") + Digest.of(attestation.public).value:
        raise KeyRefused(subject, "the attestation is about another key", _AGAIN)
    if not own.has(needed):
        raise KeyRefused(subject, "the key could leave its TPM, or was not made in it", "Make a new key in the TPM.")
    if key_digest(own.key) != key_digest(enrolled):
        raise KeyRefused(subject, "the attested key is not the enrolled one", _AGAIN)
    return key_digest(signer.key)


def _certified(attest: bytes) -> tuple[bytes, bytes]:
    """The certified Name and the nonce of a TPM2_Certify (Part 2 section 10.12.8)."""
    statement = read_statement(attest)
    if statement.kind != CERTIFY:
        raise ValueError("not a TPM2_Certify")
    cursor = Cursor(statement.details)
    name = cursor.sized()
    cursor.sized()
    cursor.end()
    return name, statement.extra
