"""Issuing certificates by profile, with the issuer's key in any backend.

root = issue(ROOT, Subject("ACME root"), key.info.public_key, SelfSigned(key), now, Provenance.DEVELOPMENT)
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from sealwright.envelope.algorithms import PublicKey, Scheme
from sealwright.envelope.kinds import Construction, least_rsa_bits
from sealwright.errors import KeyRefused, UsageError
from sealwright.keys.key import OpenKey, Provenance
from sealwright.pki.external_key import external_key, signature_hash, signature_padding
from sealwright.pki.oids import CONSTRUCTIONS, DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED
from sealwright.pki.profiles import Names, Profile
from sealwright.pki.weakkeys import check_key

POLICY_OF = {
    Provenance.DEVELOPMENT: DEVELOPMENT,
    Provenance.HARDWARE_CLAIMED: HARDWARE_CLAIMED,
    Provenance.HARDWARE_ATTESTED: HARDWARE_ATTESTED,
}
ANY_POLICY = "2.5.29.32.0"
ANY_PURPOSE = "2.5.29.37.0"
_UNDERSTOOD = (x509.BasicConstraints, x509.KeyUsage, x509.CertificatePolicies)
DEVELOPMENT_MARK = "DEVELOPMENT ONLY"
SERIAL_BITS = 159
BACKDATED = timedelta(minutes=5)
MAX_COMMON_NAME = 64
MAX_HOSTS = 20
_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)


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


@dataclass(frozen=True, slots=True)
class Publication:
    """Where an authority publishes for those who have a network: URLs of its revocation list, OCSP responder and certificate.

    Verifiers of ours never fetch (DESIGN); other programs may. "" for none.
    """

    crl: str = ""
    ocsp: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one certificate has beside its profile. serial: None for a random one; days: at most the profile's, None for all of
    them; hosts: DNS names and IP addresses, for profiles that name hosts; path_length, key_identifier: of a cross-signed authority, whose
    certificates name it by the identifier that it has already, whichever method made that (RFC 5280 section 4.2.1.2).
    """

    serial: int | None = None
    days: int | None = None
    hosts: tuple[str, ...] = ()
    publication: Publication = Publication()
    path_length: int | None = None
    key_identifier: bytes | None = None


USUAL = Terms()


def new_serial() -> int:
    """A positive random number of at most 159 bits (RFC 5280 section 4.1.2.2: 20 octets)."""
    return secrets.randbits(SERIAL_BITS) | 1 << (SERIAL_BITS - 1)


def issue(
    profile: Profile,
    subject: Subject | x509.Name,
    public: PublicKey,
    issuer: Issuer,
    now: datetime,
    provenance: Provenance,
    construction: Construction = Construction.CMS_ATTRIBUTES,
    terms: Terms = USUAL,
) -> bytes:
    """A certificate in DER. provenance: of the subject's key, written as our policy OID; development also in the name.

    construction: what its key is enrolled for, written as our policy OID where its signatures are bare, so that no verifier
    takes one of them for another. subject: an x509.Name is taken as it is, for cross-signing another authority.

    It begins five minutes before now, for clocks that are behind, and never ends after its issuer. Raises WeakAlgorithm
    for a key too weak to sign or published, UsageError for a name or term that cannot be written, KeyRefused for a type of key that the
    profile's verifiers do not read, and for an issuer that is no authority, has ended, may not issue this, or whose key is
    not the one in its certificate.
    """
    named = subject.rfc4514_string() if isinstance(subject, x509.Name) else subject.common_name
    scheme = check_key(public, subject=named, least_rsa_bits=least_rsa_bits(construction)).scheme
    if scheme not in profile.schemes and not (scheme is Scheme.RSA_PKCS1 and Scheme.RSA_PSS in profile.schemes):
        raise KeyRefused(
            named,
            f"a {profile.name} certificate is not issued for a key of type {scheme}",
            "Use a key of another type: " + ", ".join(sorted(profile.schemes)) + ".",
        )
    name = subject if isinstance(subject, x509.Name) else _name(subject, provenance)
    start = (now.astimezone(UTC) - BACKDATED).replace(microsecond=0)
    end = start + timedelta(days=_days(profile, terms))
    above = x509.load_der_x509_certificate(issuer.certificate) if issuer.certificate is not None else None
    if above is not None:
        _check_issuer(above, issuer.key, start, profile)
        start, end = max(start, above.not_valid_before_utc), min(end, above.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above.subject if above is not None else name)
        .public_key(public)
        .serial_number(terms.serial if terms.serial is not None else new_serial())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(profile, public, above, provenance, construction, terms):
        builder = builder.add_extension(extension, critical=critical)
    return _signed(builder, issuer.key).public_bytes(Encoding.DER)


def _days(profile: Profile, terms: Terms) -> int:
    if terms.days is None:
        return profile.days
    if not 1 <= terms.days <= profile.days:
        raise UsageError(
            f"{terms.days} days",
            f"a {profile.name} certificate is valid for 1 to {profile.days} days",
            "Ask for fewer, or choose a profile that is made for longer use.",
        )
    return terms.days


def _check_issuer(above: x509.Certificate, key: OpenKey, now: datetime, profile: Profile) -> None:
    """What a path check would find out years later, found out before the certificate exists."""
    name = above.subject.rfc4514_string()
    if above.public_key() != key.info.public_key:
        raise KeyRefused(name, "its key is not the one that would sign", "Name the issuer's own key.")
    try:
        basic = above.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_authority, length = basic.ca, basic.path_length
    except x509.ExtensionNotFound:
        is_authority, length = False, None
    if not is_authority:
        raise KeyRefused(name, "it is not an authority's certificate", "Name the certificate of an authority.")
    if profile.is_authority and length == 0:
        raise KeyRefused(
            name, "it may not issue certificates of authorities (pathLenConstraint)", "Use the one above it."
        )
    _check_limits(above, profile, name)
    if above.not_valid_after_utc <= now:
        raise KeyRefused(name, f"it ended on {above.not_valid_after_utc:%Y-%m-%d}", "Make a new authority.")


def _check_limits(above: x509.Certificate, profile: Profile, name: str) -> None:
    """What the PKI above a company's authority put into its certificate: key usage, purposes (A046), demands (A047, A048)."""
    for extension in above.extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage) and not value.key_cert_sign:
            raise KeyRefused(name, "it may not issue certificates (key usage)", "Name the certificate of an authority.")
        if isinstance(value, x509.ExtendedKeyUsage):
            allowed = {oid.dotted_string for oid in value}
            if ANY_PURPOSE not in allowed and (profile.is_authority or not allowed.issuperset(profile.purposes)):
                raise KeyRefused(
                    name, f"it is for other purposes than a {profile.name} certificate's", "Use another authority."
                )
        elif extension.critical and not isinstance(value, _UNDERSTOOD):
            raise KeyRefused(
                name,
                f"it has limits that are not kept here ({extension.oid.dotted_string})",
                "Ask for an authority's certificate without them.",
            )


def names_issuer(above: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How certificates and lists name their issuer's key: by its identifier, else, as old PKIs have none, by the key's digest."""
    try:
        known = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        known = x509.SubjectKeyIdentifier.from_public_key(above.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def is_development(certificate: x509.Certificate) -> bool:
    """Whether a certificate carries our mark of development keys (the policy OID; the name only shows it to people)."""
    try:
        policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except x509.ExtensionNotFound:
        return False
    return any(policy.policy_identifier.dotted_string == DEVELOPMENT for policy in policies)


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
    terms: Terms,
) -> list[tuple[x509.ExtensionType, bool]]:
    is_ca = profile.is_authority
    own = x509.SubjectKeyIdentifier.from_public_key(public)
    if terms.key_identifier is not None:
        own = x509.SubjectKeyIdentifier(terms.key_identifier)
    length = profile.path_length if terms.path_length is None or not is_ca else terms.path_length
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_ca, path_length=length), True),
        (_usage(is_ca), True),
        (own, False),
    ]
    if above is not None:
        extensions.append((names_issuer(above), False))
    elif not is_ca:
        extensions.append((x509.AuthorityKeyIdentifier(own.digest, None, None), False))
    if profile.purposes:
        oids = [x509.ObjectIdentifier(purpose) for purpose in profile.purposes]
        extensions.append((x509.ExtendedKeyUsage(oids), profile.critical_purposes))
    # Policies of ours below an authority count only where it asserts them, or any (RFC 5280 section 6.1.3 d)
    policies = [ANY_POLICY] if is_ca and (above is not None or provenance is Provenance.DEVELOPMENT) else []
    if provenance is Provenance.DEVELOPMENT or (provenance in POLICY_OF and not is_ca):
        policies.append(POLICY_OF[provenance])
    if construction in CONSTRUCTIONS:
        policies.append(CONSTRUCTIONS[construction])
    if policies:
        named = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in policies]
        extensions.append((x509.CertificatePolicies(named), False))
    if profile.names is Names.HOSTS or terms.hosts:
        extensions.append((_hosts(profile, terms.hosts), False))
    if profile.no_check:
        extensions.append((x509.OCSPNoCheck(), False))
    if above is not None:
        extensions += _published(terms.publication, wants_status=not profile.no_check)
    return extensions


def _hosts(profile: Profile, hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    if profile.names is not Names.HOSTS:
        raise UsageError("host names", f"a {profile.name} certificate names no hosts", "Leave them out.")
    if not 1 <= len(hosts) <= MAX_HOSTS:
        raise UsageError(
            "host names", f"a {profile.name} certificate names 1 to {MAX_HOSTS} hosts, not {len(hosts)}", "Name them."
        )
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if not _HOST.fullmatch(host) or len(host) > 253:
                raise UsageError(
                    host[:80], "it is neither a host name nor an IP address", "Check how it is written."
                ) from None
            names.append(x509.DNSName(host.lower()))
    return x509.SubjectAlternativeName(names)


def _published(places: Publication, *, wants_status: bool) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    found = []
    if places.crl and wants_status:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(places.crl)], None, None, None)
        extensions.append((x509.CRLDistributionPoints([point]), False))
    if places.ocsp and wants_status:
        found.append((AuthorityInformationAccessOID.OCSP, places.ocsp))
    if places.issuer:
        found.append((AuthorityInformationAccessOID.CA_ISSUERS, places.issuer))
    if found:
        described = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in found]
        extensions.append((x509.AuthorityInformationAccess(described), False))
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
