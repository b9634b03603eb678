"""Issuing certificates by profile, with the issuer's key in any backend.

root = issue(ROOT, Subject("ACME root"), key.info.public_key, SelfSigned(key), now, Provenance.DEVELOPMENT)
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sealwright.envelope.algorithms import PublicKey
from sealwright.envelope.kinds import Construction, least_rsa_bits
from sealwright.errors import KeyRefused, UsageError
from sealwright.keys.key import OpenKey, Provenance
from sealwright.pki.external_key import external_key, signature_hash, signature_padding
from sealwright.pki.oids import CONSTRUCTIONS, DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED
from sealwright.pki.profiles import Profile
from sealwright.pki.weakkeys import check_key

POLICY_OF = {
    Provenance.DEVELOPMENT: DEVELOPMENT,
    Provenance.HARDWARE_CLAIMED: HARDWARE_CLAIMED,
    Provenance.HARDWARE_ATTESTED: HARDWARE_ATTESTED,
}
DEVELOPMENT_MARK = "DEVELOPMENT ONLY"
SERIAL_BITS = 159
BACKDATED = timedelta(minutes=5)
MAX_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate names; organisation may be ""."""

    common_name: str
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues: the certificate (DER) and its key, or certificate None for a self-signed one."""

    key: OpenKey
    certificate: bytes | None = None


def issue(
    profile: Profile,
    subject: Subject,
    public: PublicKey,
    issuer: Issuer,
    now: datetime,
    provenance: Provenance,
    construction: Construction = Construction.CMS_ATTRIBUTES,
) -> bytes:
    """A certificate in DER. provenance: of the subject's key, written as our policy OID; development also in the name.

    construction: what its key is enrolled for, written as our policy OID where its signatures are bare, so that no verifier
    takes one of them for another.

    It begins five minutes before now, for clocks that are behind, and never ends after its issuer. Raises WeakAlgorithm
    for a key that is too weak to sign or published, UsageError for a name that cannot be written, KeyRefused for an issuer that is no
    authority, has ended, or whose key is not the one in its certificate.
    """
    check_key(public, subject=subject.common_name, least_rsa_bits=least_rsa_bits(construction))
    name = _name(subject, provenance)
    start = (now.astimezone(UTC) - BACKDATED).replace(microsecond=0)
    end = start + timedelta(days=profile.days)
    above = x509.load_der_x509_certificate(issuer.certificate) if issuer.certificate is not None else None
    if above is not None:
        _check_issuer(above, issuer.key, start)
        start, end = max(start, above.not_valid_before_utc), min(end, above.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above.subject if above is not None else name)
        .public_key(public)
        .serial_number(secrets.randbits(SERIAL_BITS) | 1)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(profile, public, above, provenance, construction):
        builder = builder.add_extension(extension, critical=critical)
    return _signed(builder, issuer.key).public_bytes(Encoding.DER)


def _check_issuer(above: x509.Certificate, key: OpenKey, now: datetime) -> None:
    """What a path check would find out years later, found out before the certificate exists."""
    name = above.subject.rfc4514_string()
    if above.public_key() != key.info.public_key:
        raise KeyRefused(name, "its key is not the one that would sign", "Name the issuer's own key.")
    try:
        is_authority = above.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise KeyRefused(name, "it is not an authority's certificate", "Name the certificate of an authority.")
    if above.not_valid_after_utc <= now:
        raise KeyRefused(name, f"it ended on {above.not_valid_after_utc:%Y-%m-%d}", "Make a new authority.")


def _signed(builder: x509.CertificateBuilder, key: OpenKey) -> x509.Certificate:
    return builder.sign(external_key(key), signature_hash(key), rsa_padding=signature_padding(key))  # type: ignore[arg-type]


def _name(subject: Subject, provenance: Provenance) -> x509.Name:
    if not subject.common_name:
        raise UsageError("certificate name", "it is empty", "Give the certificate a name.")
    for text in (subject.common_name, subject.organisation):
        if len(text) > MAX_COMMON_NAME or (text and not text.isprintable()):
            raise UsageError(
                "certificate name",
                f"{text!r} is longer than {MAX_COMMON_NAME} characters or not printable",
                "Choose another name.",
            )
    parts = [(NameOID.ORGANIZATION_NAME, subject.organisation)]
    if provenance is Provenance.DEVELOPMENT:
        parts.append((NameOID.ORGANIZATIONAL_UNIT_NAME, DEVELOPMENT_MARK))
    parts.append((NameOID.COMMON_NAME, subject.common_name))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts if text])


def _extensions(
    profile: Profile,
    public: PublicKey,
    above: x509.Certificate | None,
    provenance: Provenance,
    construction: Construction,
) -> list[tuple[x509.ExtensionType, bool]]:
    is_ca = profile.path_length is not None
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_ca, path_length=profile.path_length), True),
        (_usage(is_ca), True),
        (own, False),
    ]
    if above is not None:
        issuer_id = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        extensions.append((x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), False))
    elif not is_ca:
        extensions.append((x509.AuthorityKeyIdentifier(own.digest, None, None), False))
    if profile.purposes:
        oids = [x509.ObjectIdentifier(purpose) for purpose in profile.purposes]
        extensions.append((x509.ExtendedKeyUsage(oids), profile.critical_purposes))
    policies = []
    if provenance is Provenance.DEVELOPMENT or (provenance in POLICY_OF and not is_ca):
        policies.append(POLICY_OF[provenance])
    if construction in CONSTRUCTIONS:
        policies.append(CONSTRUCTIONS[construction])
    if policies:
        named = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in policies]
        extensions.append((x509.CertificatePolicies(named), False))
    return extensions


def _usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
