"""Who signs OCSP answers for an authority, and how requests name it (RFC 6960 sections 4.1.1 and 4.2.2.2).

A delegated certificate, issued by the authority itself for this purpose alone, so that the authority's key can stay offline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1, sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealwright.envelope.asn1 import TLV, TbsCertificate
from sealwright.errors import KeyRefused
from sealwright.keys.key import OpenKey

_SHA1_OID, _SHA256_OID = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1"


@asn1.sequence
class _PublicKeyInfo:
    """SubjectPublicKeyInfo (RFC 5280 section 4.1)."""

    algorithm: TLV
    key: asn1.BitString


@dataclass(frozen=True, slots=True)
class OcspSigner:
    """Who signs for an authority; made by `delegated` or `authority_itself`. certificates: what goes into the answer."""

    key: OpenKey
    certificates: tuple[bytes, ...]
    not_before: datetime
    not_after: datetime
    key_hash: bytes


def delegated(issuer: bytes, certificate: bytes, key: OpenKey, now: datetime) -> OcspSigner:
    """A responder that an authority delegated; KeyRefused if clients would not believe it (RFC 6960 section 4.2.2.2)."""
    above, own = x509.load_der_x509_certificate(issuer), x509.load_der_x509_certificate(certificate)
    name = own.subject.rfc4514_string()
    try:
        own.verify_directly_issued_by(above)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as cause:
        raise KeyRefused(
            name,
            f"it was not issued by {above.subject.rfc4514_string()} itself",
            "Issue an OCSP responder's certificate with that authority.",
        ) from cause
    try:
        purposes = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise KeyRefused(name, "it is not for OCSP (id-kp-OCSPSigning)", "Issue an OCSP responder's certificate.")
    return _signer(own, key, now, (certificate,))


def authority_itself(issuer: bytes, key: OpenKey, now: datetime) -> OcspSigner:
    """The authority signs its own answers: its key must be online for that, so this is never the default."""
    return _signer(x509.load_der_x509_certificate(issuer), key, now, ())


def issuer_ids(issuer: bytes) -> list[tuple[str, bytes, bytes]]:
    """How CertIDs name an issuer: digest, digest of its name, digest of its key's bits, for SHA-1 and SHA-256."""
    certificate = x509.load_der_x509_certificate(issuer)
    name, bits = certificate.subject.public_bytes(), _key_bits(certificate)
    return [
        (_SHA1_OID, sha1(name, usedforsecurity=False).digest(), sha1(bits, usedforsecurity=False).digest()),
        (_SHA256_OID, sha256(name).digest(), sha256(bits).digest()),
    ]


def _signer(own: x509.Certificate, key: OpenKey, now: datetime, certificates: tuple[bytes, ...]) -> OcspSigner:
    name = own.subject.rfc4514_string()
    if own.public_key() != key.info.public_key:
        raise KeyRefused(name, "its key is not the one that would sign", "Name the certificate of that key.")
    try:
        usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
        may_sign = usage.digital_signature or (not certificates and usage.crl_sign)
    except x509.ExtensionNotFound:
        may_sign = True
    if not may_sign:
        raise KeyRefused(name, "its key usage does not allow signatures", "Issue an OCSP responder's certificate.")
    if not own.not_valid_before_utc <= now < own.not_valid_after_utc:
        raise KeyRefused(
            name,
            f"it is valid from {own.not_valid_before_utc:%Y-%m-%d %H:%M} to {own.not_valid_after_utc:%Y-%m-%d %H:%M}",
            "Renew the responder's certificate.",
        )
    key_hash = sha1(_key_bits(own), usedforsecurity=False).digest()
    return OcspSigner(key, certificates, own.not_valid_before_utc, own.not_valid_after_utc, key_hash)


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The bits of subjectPublicKey as they stand in the certificate, without tag, length and count of unused bits."""
    body = asn1.decode_der(TbsCertificate, certificate.tbs_certificate_bytes)
    bits: bytes = body.key.parse(_PublicKeyInfo).key.as_bytes()
    return bits
