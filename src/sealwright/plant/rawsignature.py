"""A raw signature as `openssl dgst -sign` makes it: the signature's octets alone, or their base64.

It does not say its digest or padding, so `cryptography` finds out which one it holds for, from digests that are known already, and
`openssl dgst -verify` must then say the same of the file's copy. RSA PKCS #1 v1.5, RSA-PSS (MGF1 of the same hash, any salt), ECDSA.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import OldSignatureRefused
from sealwright.plant.oldkinds import AGAIN, WEAK, Checked, Given, Kind, weaknesses_of
from sealwright.plant.tools import OPENSSL, Workshop
from sealwright.trust.certificate import display_name

_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha224": hashes.SHA224(),
    "sha1": hashes.SHA1(),  # noqa: S303
    "md5": hashes.MD5(),  # noqa: S303
}
# the last three are tried so that it can be said that they were used
DIGESTS = tuple(_HASHES)
_STRONG = ("sha256", "sha384", "sha512")
_PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:auto")
_KEY_ERRORS = UNREADABLE
Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class _Way(NamedTuple):
    """How a signature may have been made. options: what OpenSSL is told to check it so."""

    name: str
    digest: str
    options: tuple[str, ...] = ()
    padding: padding.AsymmetricPadding | None = None


def check_raw(given: Given, content: str, digests: Mapping[str, bytes], workshop: Workshop) -> Checked:
    """digests: of the copy `content`, by each of `DIGESTS`. Raises OldSignatureRefused, or Unreadable without openssl."""
    key, signer = _key(given)
    signature = _octets(given.signature, key)
    way = next((one for one in _ways(key) if _holds(key, signature, digests[one.digest], one)), None)
    if way is None:
        raise OldSignatureRefused(
            given.signature_path, f"it does not hold for this file with the key {given.key_path}", AGAIN
        )
    spki = workshop.place("key.pem", key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signed = workshop.place("signature", signature)
    ran = workshop.run(
        OPENSSL, ("dgst", f"-{way.digest}", *way.options, "-verify", spki, "-signature", signed, content)
    )
    if ran.code != 0:
        raise OldSignatureRefused(given.signature_path, f"openssl does not verify it ({way.name})", AGAIN)
    weak = () if way.digest in _STRONG else (f"made with {_shown(way.digest)}",)
    return Checked(
        kind=Kind.OPENSSL,
        tool=workshop.version(OPENSSL),
        key=str(key_digest(key)),
        signer=signer,
        how=way.name,
        weaknesses=(*weaknesses_of(key, given.key_path), *weak),
    )


def _key(given: Given) -> tuple[Key, str]:
    """Of a PEM public key, a PEM certificate, or the DER of either; and whose it is, by the file's own word."""
    key: object = None
    data, signer = given.key, ""
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            certificate = x509.load_pem_x509_certificate(data)
            key, signer = certificate.public_key(), display_name(certificate.subject)
        elif b"-----BEGIN" in data:
            key = load_pem_public_key(data)
        else:
            key = load_der_public_key(data)
    except _KEY_ERRORS:
        try:
            certificate = x509.load_der_x509_certificate(data)
            key, signer = certificate.public_key(), display_name(certificate.subject)
        except _KEY_ERRORS as cause:
            raise OldSignatureRefused(
                given.key_path,
                "it is no public key: PEM or DER, an OpenPGP key and a minisign key are read",
                "Ask the vendor for the key file again.",
            ) from cause
    if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return key, signer
    if isinstance(key, dsa.DSAPublicKey):
        raise OldSignatureRefused(given.key_path, f"it is a DSA key ({key.key_size} bits), which is weak", WEAK)
    raise OldSignatureRefused(
        given.key_path, f"raw signatures by a {type(key).__name__} are not checked", "RSA and ECDSA are."
    )


def _octets(signature: bytes, key: Key) -> bytes:
    """Base64 is taken off where the octets as they are cannot be a signature of the key."""
    rsa_octets = (key.key_size + 7) // 8 if isinstance(key, rsa.RSAPublicKey) else None
    # 0x30 begins a SEQUENCE of ECDSA, and is also the letter with which the base64 of one RSA signature in 64 begins
    if len(signature) == rsa_octets or (rsa_octets is None and signature[:1] == b"\x30"):
        return signature
    try:
        return base64.b64decode(b"".join(signature.split()), validate=True)
    except binascii.Error:
        return signature


def _ways(key: Key) -> Iterator[_Way]:
    for digest, used in _HASHES.items():
        name = _shown(digest)
        if isinstance(key, rsa.RSAPublicKey):
            yield _Way(f"RSA PKCS#1 v1.5 ({key.key_size} bits) with {name}", digest, (), padding.PKCS1v15())
            salted = padding.PSS(padding.MGF1(used), padding.PSS.AUTO)
            yield _Way(f"RSA-PSS ({key.key_size} bits) with {name}", digest, _PSS, salted)
        else:
            yield _Way(f"ECDSA ({key.curve.name}) with {name}", digest)


def _holds(key: Key, signature: bytes, digest: bytes, way: _Way) -> bool:
    made = utils.Prehashed(_HASHES[way.digest])
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if way.padding is None:
                return False
            key.verify(signature, digest, way.padding, made)
        else:
            key.verify(signature, digest, ec.ECDSA(made))
    except (InvalidSignature, *_KEY_ERRORS):
        return False
    return True


def _shown(digest: str) -> str:
    return digest.upper().replace("SHA", "SHA-")
