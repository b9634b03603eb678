"""OpenPGP files, as far as gpgv must be given them clean and does not say enough: whose signature holds it says, not how long the key is.

Armor (RFC 4880 section 6.2) is taken off, since gpgv reads binary keyrings alone, and gpgv gets one signature packet and nothing that it
would unpack. Packets (section 4.2) are walked, and of
the key packets (5.5.2, version 4) the fingerprint (12.2) and the numbers are read. Everything else is gpgv's work.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright.envelope.algorithms import PublicKey
from sealwright.errors import MalformedEnvelope

MAX_PACKETS = 10_000
_KEY_ARMOR, _SIGNATURE_ARMOR = (
    re.compile(rb"-----BEGIN PGP %b-----[ \t]*\r?\n(.*?)\r?\n?-----END PGP %b-----" % (name, name), re.DOTALL)
    for name in (b"PUBLIC KEY BLOCK", b"SIGNATURE")
)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*: ")
_SIGNATURE, _PRIMARY, _SECRET, _PUBLIC = 2, 6, (5, 7), (6, 14)
_BEGINS_SIGNATURE = (b"\x88", b"\x89", b"\x8a", b"\xc2")
_RSA = (1, 3)
_ECDSA, _EDDSA = 19, 22
_CURVES: dict[bytes, type[ec.EllipticCurve]] = {
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1,
    bytes.fromhex("2b81040022"): ec.SECP384R1,
    bytes.fromhex("2b81040023"): ec.SECP521R1,
}
_ED25519 = bytes.fromhex("2b06010401da470f01")
_KINDS = {17: "DSA", 16: "ElGamal", 18: "ECDH", 19: "ECDSA on another curve", 22: "EdDSA on another curve"}
_ASK = "Ask the vendor for a signature file of its own: gpg --detach-sign FILE"
_NEXT = "Export the vendor's public key again: gpg --export NAME > key.gpg"


class PgpKey(NamedTuple):
    """A primary key or subkey. fingerprint: upper-case hexadecimal; key: None where its kind is none that we judge, which `kind` names."""

    fingerprint: str
    kind: str
    key: PublicKey | None


def keyring(data: bytes, subject: str) -> bytes:
    """The binary keyring of a key file, with one primary key. MalformedEnvelope for private keys, no or several keys, a damaged armor."""
    if b"PRIVATE KEY BLOCK" in data:
        raise MalformedEnvelope(subject, "it is a private key", "Take the public one; tell its owner.")
    binary = _binary(data, _KEY_ARMOR, subject)
    primary = [tag for tag, _ in _packets(binary, subject) if tag in (_PRIMARY, *_SECRET)]
    if not any(True for _ in pgp_keys(binary, subject)):
        raise MalformedEnvelope(subject, "there is no OpenPGP public key in it", _NEXT)
    if len(primary) > 1:
        raise MalformedEnvelope(
            subject,
            f"there are {len(primary)} keys in it, and whoever put in one more could sign by it",
            "Name a file with the vendor's one key: gpg --export FINGERPRINT > key.gpg",
        )
    return binary


def detached_signature(data: bytes, subject: str) -> bytes:
    """The one signature packet of a signature file; MalformedEnvelope for everything else, such as a message that holds its own content."""
    if b"-----BEGIN PGP SIGNED MESSAGE" in data:
        raise MalformedEnvelope(subject, "it signs a text inside it, and no file beside it", _ASK)
    binary = _binary(data, _SIGNATURE_ARMOR, subject)
    begins = binary[:1] in _BEGINS_SIGNATURE
    tags = [tag for tag, _ in _packets(binary, subject, _ASK)] if begins else []
    if not tags or set(tags) != {_SIGNATURE}:
        raise MalformedEnvelope(
            subject, "it is no signature of a file beside it: other OpenPGP packets are in it", _ASK
        )
    if len(tags) > 1:
        raise MalformedEnvelope(subject, f"there are {len(tags)} signatures in it, and one is wanted", _ASK)
    return binary


def pgp_keys(binary: bytes, subject: str) -> Iterator[PgpKey]:
    """Every public key packet of a keyring."""
    for tag, body in _packets(binary, subject):
        if tag in _SECRET:
            raise MalformedEnvelope(subject, "it has a private key in it", "Take the public one; tell its owner.")
        if tag in _PUBLIC:
            yield _key(body, subject)


def _binary(data: bytes, armor: re.Pattern[bytes], subject: str) -> bytes:
    blocks = armor.findall(data)
    return b"".join(_dearmored(block, subject) for block in blocks) if blocks else data


def _dearmored(block: bytes, subject: str) -> bytes:
    lines = [line.strip() for line in block.splitlines()]
    while lines and _HEADER.match(lines[0]):
        lines.pop(0)
    text = b"".join(line for line in lines if not line.startswith(b"="))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as cause:
        raise MalformedEnvelope(subject, "its armor is damaged", _NEXT) from cause


def _packets(data: bytes, subject: str, step: str = _NEXT) -> Iterator[tuple[int, bytes]]:
    at = count = 0
    while at < len(data):
        count += 1
        head = data[at]
        if not head & 0x80 or count > MAX_PACKETS:
            raise MalformedEnvelope(subject, f"byte {at} begins no OpenPGP packet", step)
        if head & 0x40:
            tag, at, size = head & 0x3F, at + 1, -1
            first = data[at] if at < len(data) else 255
            if first < 192:
                size, at = first, at + 1
            elif first < 224 and at + 1 < len(data):
                size, at = ((first - 192) << 8) + data[at + 1] + 192, at + 2
            elif first == 255 and at + 5 <= len(data):
                size, at = int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
        else:
            tag, kind, at, size = head >> 2 & 0x0F, head & 3, at + 1, -1
            if kind < 3 and at + (1 << kind) <= len(data):
                size, at = int.from_bytes(data[at : at + (1 << kind)], "big"), at + (1 << kind)
        if size < 0 or size > len(data) - at:
            raise MalformedEnvelope(subject, f"a packet before byte {at} has no length that fits", step)
        yield tag, data[at : at + size]
        at += size


def _key(body: bytes, subject: str) -> PgpKey:
    """Version 4: one octet version, four time, one algorithm, then its numbers."""
    if len(body) < 6 or body[0] != 4:
        return PgpKey("", f"a key packet of version {body[0] if body else 'none'}", None)
    fingerprint = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()
    algorithm, numbers = body[5], body[6:]
    try:
        key = _numbers(algorithm, numbers)
    except (ValueError, IndexError) as cause:
        raise MalformedEnvelope(subject, f"the key {fingerprint} is damaged: {cause}"[:200], _NEXT) from cause
    return PgpKey(fingerprint, _KINDS.get(algorithm, f"algorithm {algorithm}"), key)


def _numbers(algorithm: int, data: bytes) -> PublicKey | None:
    if algorithm in _RSA:
        n, rest = _mpi(data)
        e, _ = _mpi(rest)
        return rsa.RSAPublicNumbers(e, n).public_key()
    if algorithm not in (_ECDSA, _EDDSA):
        return None
    curve, rest = data[1 : 1 + data[0]], data[1 + data[0] :]
    point = _mpi(rest)[0]
    octets = point.to_bytes((point.bit_length() + 7) // 8, "big")
    if algorithm == _EDDSA and curve == _ED25519:
        if len(octets) != 33 or octets[0] != 0x40:
            raise ValueError("its point")
        return ed25519.Ed25519PublicKey.from_public_bytes(octets[1:])
    if algorithm == _ECDSA and curve in _CURVES:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve](), octets)
    return None


def _mpi(data: bytes) -> tuple[int, bytes]:
    """A number of the given count of bits, and what is behind it."""
    size = (int.from_bytes(data[:2], "big") + 7) // 8
    if len(data) < 2 + size or not size:
        raise ValueError("a number is cut off")
    return int.from_bytes(data[2 : 2 + size], "big"), data[2 + size :]
