"""Writing certificate revocation lists that keep ended certificates for ever (RFC 5280, ITU-T X.509 expiredCertsOnCRL)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import UsageError
from sealwright.keys.key import OpenKey
from sealwright.pki.authority import names_issuer
from sealwright.pki.external_key import external_key, signature_hash, signature_padding

EXPIRED_CERTS_ON_CRL = x509.ObjectIdentifier("2.5.29.60")


@dataclass(frozen=True, slots=True)
class Revoked:
    """One certificate. reason: None writes none; invalid: since when the key must be taken for lost."""

    serial: int
    date: datetime
    reason: x509.ReasonFlags | None = None
    invalid: datetime | None = None


def make_crl(
    issuer: bytes,
    key: OpenKey,
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    revoked: Sequence[Revoked],
    keeps_expired_since: datetime | None = None,
) -> bytes:
    """A full, direct CRL in DER. issuer: its certificate, DER; number: grows by one; times are aware.

    Raises UsageError for a negative number or a list that ends before it begins, KeyRefused for an ML-DSA key.
    """
    if number < 0 or next_update <= this_update:
        raise UsageError(
            "revocation list",
            f"number {number}, from {this_update:%Y-%m-%d %H:%M} to {next_update:%Y-%m-%d %H:%M}",
            "Give a number from 0 up and an end after the beginning.",
        )
    certificate = x509.load_der_x509_certificate(issuer)
    since = (keeps_expired_since or certificate.not_valid_before_utc).astimezone(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(this_update.astimezone(UTC))
        .next_update(next_update.astimezone(UTC))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(names_issuer(certificate), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(
                EXPIRED_CERTS_ON_CRL, asn1.encode_der(asn1.GeneralizedTime(since.replace(microsecond=0)))
            ),
            critical=False,
        )
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.date.astimezone(UTC))
        if one.reason is not None:
            entry = entry.add_extension(x509.CRLReason(one.reason), critical=False)
        if one.invalid is not None:
            entry = entry.add_extension(x509.InvalidityDate(one.invalid.astimezone(UTC)), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(external_key(key), signature_hash(key), rsa_padding=signature_padding(key))  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.DER)
