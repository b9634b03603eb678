"""Certificate requests (PKCS#10, RFC 2986): made for keys in any backend, and read from others (A112).

Out: `certificate_request` signs one with the key, so that an existing PKI can certify it.
In: a request is somebody's wish, never an order.
1. At most 64 KiB, PEM or DER, one request; its key has an accepted type, size and encoding, is neither weak nor published; its own signature holds, so that
   whoever asks has the private key.
2. The name has a common name and nothing but the usual parts, each once, printable, in plain words; our mark of development
   keys is ours to give.
3. Extensions that it asks for must lie within the profile: no authority where the profile has none, no key usage or purpose
   beyond it, no names of hosts unless the officer named the same. Anything else asked for is refused, not dropped silently.
Other attributes (a challenge password, what Windows notes about itself) never reach a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sealwright.envelope.algorithms import MIN_RSA_BITS_TO_VERIFY, PublicKey
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import KeyRefused, LimitExceeded, MalformedEnvelope, UsageError
from sealwright.keys.key import OpenKey
from sealwright.pki.authority import DEVELOPMENT_MARK, Subject
from sealwright.pki.external_key import external_key, signature_hash, signature_padding
from sealwright.pki.profiles import Names, Profile
from sealwright.pki.weakkeys import check_key

MAX_BYTES = 64 * 1024
_PARTS = frozenset(
    (
        NameOID.COMMON_NAME,
        NameOID.ORGANIZATION_NAME,
        NameOID.ORGANIZATIONAL_UNIT_NAME,
        NameOID.COUNTRY_NAME,
        NameOID.LOCALITY_NAME,
        NameOID.STATE_OR_PROVINCE_NAME,
        NameOID.SERIAL_NUMBER,
    )
)
_AUTHORITY_USES = ("key_cert_sign", "crl_sign")
_OTHER_USES = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
_AGAIN = "Have the request made again."


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose own signature holds. name: as asked, shown to the officer; hosts: names of hosts it asks for."""

    name: str
    subject: Subject
    public_key: PublicKey
    hosts: tuple[str, ...]
    extensions: tuple[x509.Extension[x509.ExtensionType], ...]


def certificate_request(key: OpenKey, subject: str, *, authority: bool = False) -> bytes:
    """A request in PEM, signed by the key. subject: RFC 4514 text; UsageError if it is none, KeyRefused for ML-DSA.

    authority: asks for the certificate of an authority that may issue signers' certificates.
    """
    try:
        name = x509.Name.from_rfc4514_string(subject)
    except ValueError as cause:
        raise UsageError("--subject", f"{subject!r} is no name", "Write it like CN=Release 2026,O=ACME.") from cause
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        uses = dict.fromkeys((*_OTHER_USES, "digital_signature", "encipher_only", "decipher_only"), False)
        usage = x509.KeyUsage(**uses, **dict.fromkeys(_AUTHORITY_USES, True))
        builder = builder.add_extension(usage, critical=True)
    request = builder.sign(
        external_key(key),
        signature_hash(key),  # type: ignore[arg-type]
        rsa_padding=signature_padding(key),
    )
    return request.public_bytes(Encoding.PEM)


def read_request(data: bytes, subject: str) -> Request:
    """Points 1 and 2. subject: what the file is called. MalformedEnvelope, WeakAlgorithm, LimitExceeded or KeyRefused."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"A request has at most {MAX_BYTES}.")
    try:
        if data.count(b"-----BEGIN") > 1:
            raise ValueError("more than one object in it")
        pem = b"-----BEGIN" in data
        request = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        public = cast("PublicKey", request.public_key())
        extensions = tuple(request.extensions)
        name = request.subject.rfc4514_string()
        attributes = list(request.subject)
    except UNREADABLE as cause:
        raise MalformedEnvelope(subject, f"it is no certificate request: {cause}"[:200], _AGAIN) from cause
    check_key(
        public, subject=subject, least_rsa_bits=MIN_RSA_BITS_TO_VERIFY
    )  # what it is for decides how long it must be
    if public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) not in request.tbs_certrequest_bytes:
        raise MalformedEnvelope(subject, "its key is in an encoding that is not accepted", _AGAIN)
    try:
        holds = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as cause:
        raise MalformedEnvelope(subject, f"its signature cannot be checked: {cause}"[:200], _AGAIN) from cause
    if not holds:
        raise KeyRefused(subject, "its own signature does not hold, so whoever asks may not have the key", _AGAIN)
    return Request(name, _subject(attributes, subject), public, _hosts(extensions), extensions)


def check_request(request: Request, profile: Profile, hosts: tuple[str, ...], subject: str) -> None:
    """Point 3; KeyRefused naming everything that goes beyond the profile. hosts: those that the officer named."""
    beyond = []
    for extension in request.extensions:
        beyond += _beyond(extension.value, profile, hosts, request)
    if beyond:
        raise KeyRefused(
            subject,
            f"it asks for more than the profile {profile.name} gives: {', '.join(beyond)}",
            "Have the request made again without it, or choose the profile that is meant.",
        )


def _beyond(value: x509.ExtensionType, profile: Profile, hosts: tuple[str, ...], request: Request) -> list[str]:
    if isinstance(value, x509.BasicConstraints):
        return ["to be an authority"] if value.ca and not profile.is_authority else []
    if isinstance(value, x509.KeyUsage):
        allowed = _AUTHORITY_USES if profile.is_authority else ("digital_signature",)
        uses = ("digital_signature", *_AUTHORITY_USES, *_OTHER_USES)
        return [f"key usage {name}" for name in uses if getattr(value, name) and name not in allowed]
    if isinstance(value, x509.ExtendedKeyUsage):
        return [f"purpose {oid.dotted_string}" for oid in value if oid.dotted_string not in profile.purposes]
    if isinstance(value, x509.SubjectAlternativeName):
        if profile.names is not Names.HOSTS:
            return ["other names"]
        own = {str(name.value).lower() for name in value}
        return [f"the name {one}" for one in sorted(own - {host.lower() for host in hosts})]
    if isinstance(value, x509.SubjectKeyIdentifier):
        wanted = x509.SubjectKeyIdentifier.from_public_key(request.public_key)
        return [] if value.digest == wanted.digest else ["another key identifier"]
    return [f"the extension {value.oid.dotted_string}"]


def _subject(attributes: list[x509.NameAttribute[str | bytes]], subject: str) -> Subject:
    seen: dict[x509.ObjectIdentifier, str] = {}
    for attribute in attributes:
        text = attribute.value
        if attribute.oid not in _PARTS or attribute.oid in seen or not isinstance(text, str):
            raise KeyRefused(
                subject,
                f"its name has the part {attribute.oid.dotted_string} that we do not write, or has it twice",
                "Have it made with CN and O alone.",
            )
        if not text.isprintable() or text != text.strip():
            raise KeyRefused(subject, f"its name has characters that cannot be seen: {text!r}"[:160], _AGAIN)
        seen[attribute.oid] = text
    if DEVELOPMENT_MARK.casefold() in " ".join(seen.values()).casefold():
        raise KeyRefused(subject, f"its name has our mark {DEVELOPMENT_MARK}", "Have it made with CN and O alone.")
    common = seen.get(NameOID.COMMON_NAME, "")
    if not common:
        raise KeyRefused(subject, "its name has no common name (CN)", "Have it made with CN and O.")
    return Subject(common, seen.get(NameOID.ORGANIZATION_NAME, ""))


def _hosts(extensions: tuple[x509.Extension[x509.ExtensionType], ...]) -> tuple[str, ...]:
    names = [one.value for one in extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    return tuple(str(name.value) for value in names for name in value)
