"""A maker who has a bare public key and no certificate (imgtool's PEM): a certificate made for it here, so that a trust file can name it.

An authority is made for this one certificate, and its private key is forgotten at once: it can never certify another. Nobody but the
trust file says whose key it is. Certificate and authority end together, after a year: then somebody looks again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.envelope.algorithms import PublicKey, key_digest
from sealwright.pki.profiles import UPDATE_PACKAGE_SIGNING

LASTS = timedelta(days=365)
_DAY = timedelta(days=1)


class Certified(NamedTuple):
    """Both in DER."""

    certificate: bytes
    authority: bytes


def certified(key: PublicKey, now: datetime) -> Certified:
    """A certificate for a public key, named after the key's digest, and the authority above it."""
    called = f"key {key_digest(key).value.hex()[:16]}"
    forgotten = ec.generate_private_key(ec.SECP256R1())
    above, below = _name(f"made for {called}"), _name(called)
    authority = (
        _begun(above, above, now)
        .public_key(forgotten.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(forgotten.public_key()), critical=False)
        .sign(forgotten, hashes.SHA256())
    )
    certificate = (
        _begun(below, above, now)
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(UPDATE_PACKAGE_SIGNING)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(forgotten.public_key()), critical=False)
        .sign(forgotten, hashes.SHA256())
    )
    return Certified(certificate.public_bytes(Encoding.DER), authority.public_bytes(Encoding.DER))


def _begun(subject: x509.Name, issuer: x509.Name, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + LASTS)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
