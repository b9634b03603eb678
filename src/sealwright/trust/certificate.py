"""Certificates: what OpenSSL does not check on a path it accepted, and how a certificate is named (RULES 2 and 3).

A key is SHA-256 of its SPKI as we encode it, a certificate SHA-256 of its TBSCertificate (signature values are malleable).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.envelope.algorithms import PublicKey, algorithm_for
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import MalformedEnvelope, SealwrightError
from sealwright.findings import Finding, reject

ANY_PURPOSE = "2.5.29.37.0"
MAX_CERTIFICATE_BYTES = 64 * 1024
WEAK_HASHES = frozenset(("md2", "md4", "md5", "sha1"))


def load_certificate(der: bytes, subject: str) -> x509.Certificate:
    """A certificate with a key of ours; MalformedEnvelope or WeakAlgorithm naming the subject if it is not one."""
    try:
        return _loaded(der)
    except SealwrightError as cause:
        raise type(cause)(subject, cause.what, cause.next_step) from cause


def public_key(certificate: x509.Certificate) -> PublicKey:
    """The key, of a kind that `load_certificate` has checked."""
    return cast("PublicKey", certificate.public_key())


@lru_cache(maxsize=512)
def spki_bytes(certificate: x509.Certificate) -> bytes:
    """The SPKI as we encode it."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=512)
def spki_digest(certificate: x509.Certificate) -> Digest:
    """SHA-256 of the SPKI."""
    return Digest.of(spki_bytes(certificate))


@lru_cache(maxsize=512)
def tbs_digest(certificate: x509.Certificate) -> Digest:
    """SHA-256 of the TBSCertificate."""
    return Digest.of(certificate.tbs_certificate_bytes)


@lru_cache(maxsize=512)
def display_name(name: x509.Name) -> str:
    """RFC 4514, with control and direction characters escaped (A049)."""
    return display(name.rfc4514_string())


def same_subject(certificate: x509.Certificate, wanted: str) -> bool:
    """Exactly this RFC 4514 subject; a name with control characters never matches (A049)."""
    found = certificate.subject.rfc4514_string()
    return found == wanted and display(found) == found


@lru_cache(maxsize=512)
def policy_oids(certificate: x509.Certificate) -> frozenset[str]:
    """The certificate's policies, dotted."""
    policies = _extension(certificate, x509.CertificatePolicies)
    return (
        frozenset(policy.policy_identifier.dotted_string for policy in policies)
        if policies is not None
        else frozenset()
    )


@lru_cache(maxsize=512)
def purposes_of(certificates: tuple[x509.Certificate, ...]) -> frozenset[str]:
    """The extended key usages of the first certificate that every CA on its path allows; anyExtendedKeyUsage is none."""
    usage = _extension(certificates[0], x509.ExtendedKeyUsage)
    if usage is None:
        return frozenset()
    purposes = {oid.dotted_string for oid in usage} - {ANY_PURPOSE}
    for issuer in certificates[1:]:
        allowed = _extension(issuer, x509.ExtendedKeyUsage)
        names = {oid.dotted_string for oid in allowed} if allowed is not None else {ANY_PURPOSE}
        if ANY_PURPOSE not in names:
            purposes &= names
    return frozenset(purposes)


@dataclass(frozen=True, slots=True)
class Facts:
    """How one certificate is named in verdicts, pins and denials, worked out once.

    serial: issuer name and serial in hex; name and issuer: both names in DER.
    """

    subject: str
    name: bytes
    key: Digest
    certificate: Digest
    serial: str
    policies: frozenset[str]
    issuer: bytes
    not_before: datetime
    not_after: datetime


@lru_cache(maxsize=512)
def facts(certificate: x509.Certificate) -> Facts:
    """The facts of a certificate that `load_certificate` gave."""
    issuer = certificate.issuer.public_bytes()
    return Facts(
        subject=display_name(certificate.subject),
        name=certificate.subject.public_bytes(),
        key=spki_digest(certificate),
        certificate=tbs_digest(certificate),
        serial=f"{issuer.hex()}:{certificate.serial_number:x}",
        policies=policy_oids(certificate),
        issuer=issuer,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it says that it is a CA's."""
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and bool(constraints.ca)


def has_key_usage(certificate: x509.Certificate) -> bool:
    """Whether it says at all what its key may do."""
    return _extension(certificate, x509.KeyUsage) is not None


def chain_findings(certificates: Sequence[x509.Certificate]) -> tuple[Finding, ...]:
    """Refusals on an accepted path, leaf first: keys, hashes, the leaf's key usage and CA flag."""
    findings: list[Finding] = []
    leaf = certificates[0]
    name = display_name(leaf.subject)
    if is_authority(leaf):
        findings.append(reject("SW-CERT-IS-CA", name))
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        findings.append(reject("SW-CERT-KEY-USAGE", name))
    for place, certificate in enumerate(certificates):
        is_anchor = place == len(certificates) - 1
        findings += _weakness(certificate, check_hash=not is_anchor)
    return tuple(findings)


def _weakness(certificate: x509.Certificate, *, check_hash: bool) -> list[Finding]:
    name = display_name(certificate.subject)
    try:
        _check_key(certificate)
    except SealwrightError as cause:
        return [reject("SW-CERT-WEAK", name, found=cause.what)]
    if check_hash and (found := weak_hash(certificate)):
        return [reject("SW-CERT-WEAK", name, found=f"signed with {found}")]
    return []


def weak_hash(certificate: x509.Certificate) -> str:
    """The broken hash a certificate is signed with, or "" for one that is not broken."""
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "an unknown algorithm"
    return used.name if used is not None and used.name in WEAK_HASHES else ""


@lru_cache(maxsize=512)
def _loaded(der: bytes) -> x509.Certificate:
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedEnvelope("certificate", f"a certificate of {len(der)} bytes", "Ask for a smaller certificate.")
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.subject.rfc4514_string()
        certificate.issuer.rfc4514_string()  # names and times are parsed only when they are read
        _ = certificate.extensions, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except UNREADABLE as cause:
        raise MalformedEnvelope(
            "certificate", f"it is not an X.509 certificate: {cause}"[:200], "Ask for the certificate again."
        ) from cause
    _check_key(certificate)
    return certificate


@lru_cache(maxsize=512)
def _check_key(certificate: x509.Certificate) -> None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise MalformedEnvelope(
            "certificate", "its key cannot be read", "Ask for a certificate with another key."
        ) from cause
    algorithm_for(key, subject="certificate")
    if spki_bytes(certificate) not in certificate.tbs_certificate_bytes:
        raise MalformedEnvelope(
            "certificate", "its key is in an encoding that is not accepted", "Ask for another certificate."
        )


def _extension(certificate: x509.Certificate, kind):  # type: ignore[no-untyped-def]
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
