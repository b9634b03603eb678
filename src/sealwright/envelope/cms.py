"""Reading CMS SignedData (RFC 5652): what a signature file says, before anybody judges who signed.

1. The input is bounded, strict DER, SignedData and nothing else (RULES 3). PEM and BER are refused with the command that
   converts them; only timestamp tokens of others may be BER, or have certificates in any order.
2. Each SignerInfo is read alone; one that breaks a rule becomes a `BrokenSigner` and the others are still judged.
3. The signer's certificate is the one in the bag that ESS signingCertificateV2 names (RFC 5035) and the sid names too.
4. digestAlgorithm, signatureAlgorithm and key agree, and CMSAlgorithmProtection (RFC 6211) repeats them where present.
5. Every attribute type comes once, with one value; content-type and message-digest are there (RFC 5652 section 11).
6. Unsigned attributes are a closed list: timestamp tokens; anything else is a finding and ignored (RULES 1).
What is hashed is the signed attributes as received, with the tag of a SET (RFC 5652 section 5.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import (
    READ_DIGESTS,
    PublicKey,
    SignatureAlgorithm,
    agreed_algorithm,
    check_digest_signature,
    check_signature,
)
from sealwright.envelope.asn1 import OID, TLV
from sealwright.envelope.ber import to_der
from sealwright.envelope.certified import UNREADABLE, Certified, certified, certified_or_none, short
from sealwright.envelope.kinds import AUTHENTICODE, FILE
from sealwright.envelope.shape import Shapes
from sealwright.errors import (
    BadSignature,
    ContentChanged,
    LimitExceeded,
    MalformedEnvelope,
    SealwrightError,
    WeakAlgorithm,
    WrongKind,
)
from sealwright.findings import Finding, note, warning

MAX_BYTES = 1 << 20
MAX_SIGNATURE_BYTES = 8192
MAX_TOKENS = 8
KIND_PREFIX = "sealwright/"
KIND_SUFFIX = "/1"
SAYS_NOTHING = ""
_AGAIN = "Ask the signer for the file again."
_SHAPES = Shapes()


class Profile(Enum):
    """What a format accepts (RULES 3): FOREIGN ones may lack ESS and signing-time; a token is RFC 3161's."""

    OURS = auto()
    FOREIGN_CMS = auto()
    FOREIGN_TOKEN = auto()
    FOREIGN_AUTHENTICODE = auto()

    @property
    def may_be_ber(self) -> bool:
        """Whether BER is read, bounded."""
        return self in (Profile.FOREIGN_TOKEN, Profile.FOREIGN_AUTHENTICODE)


class Signer(NamedTuple):
    """One readable SignerInfo. certificate: DER; digest: the messageDigest; signed_bytes: what the signature value covers.

    signed_bytes: None where it covers the digest itself, without attributes (`bare.py`). kind: what content-hints says it signs
    ("file" where absent, nothing where others need not say it); binds_certificate: whether ESSCertIDv2 names it.
    """

    certificate: bytes
    key: PublicKey
    digest: Digest
    algorithm: SignatureAlgorithm
    signature: bytes
    signed_bytes: bytes | None
    claimed_time: datetime | None
    kind: str
    tokens: tuple[bytes, ...]
    binds_certificate: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class BrokenSigner:
    """A SignerInfo that cannot be used, and why; with what it says all the same, which nothing has checked.

    certificate: DER, where it carries the one that it names; called: its signer by the name or key it gives, where it carries none,
    and digest: of the content, as the file says it.
    """

    reason: SealwrightError
    certificate: bytes = b""
    called: str = ""
    digest: Digest | None = None


class Envelope(NamedTuple):
    """content_type: dotted; content: None where detached; certificates: DER, as many as came, in their order.

    content of a SEQUENCE (Authenticode) is what it holds, without tag and length; nested: further SignedData in Microsoft's
    unsigned attribute, as it came.
    """

    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...]
    signers: tuple[Signer | BrokenSigner, ...]
    nested: tuple[bytes, ...] = ()


def read_envelope(data: bytes, profile: Profile, subject: str) -> Envelope:
    """Read SignedData. MalformedEnvelope or LimitExceeded where the whole is not usable; signers are judged alone.

    data: DER, at most 1 MiB; subject: the name used in errors.
    """
    if (known := _SHAPES.read(profile, data)) is not None:
        return known
    envelope = _read(data, profile, subject)
    if len(envelope.signers) == 1 and isinstance(signer := envelope.signers[0], Signer):
        _SHAPES.learn(profile, data, envelope, signer)
    return envelope


def _read(data: bytes, profile: Profile, subject: str) -> Envelope:
    signed = _signed_data(data, profile, subject)
    certificates = _certificates(signed, subject)
    named = [asn1.encode_der(entry) for entry in signed.digest_algorithms.as_list()]
    digests = {READ_DIGESTS.get(entry) for entry in named}
    if len(set(named)) != len(named):
        raise MalformedEnvelope(subject, "a digest algorithm is named twice", _AGAIN)
    infos = signed.signers.as_list()
    if not infos:
        raise MalformedEnvelope(subject, "nobody signed it: there is no SignerInfo in it", _AGAIN)
    if len(infos) > 1 and len({asn1.encode_der(info) for info in infos}) != len(infos):
        raise MalformedEnvelope(subject, "a SignerInfo is in it twice", _AGAIN)
    wanted = _CONTENT_TYPES.get(profile, signed.content.type)
    if signed.content.type != wanted:
        # A token's signature must never serve as a signature over the file that equals its TSTInfo (A027).
        what = f"its content type is {signed.content.type.dotted_string}, not {_CALLED[wanted]}"
        raise MalformedEnvelope(subject, what, _AGAIN)
    content = _content(signed.content, subject)
    if profile is Profile.OURS:
        _check_order_and_version(signed, certificates, infos, subject)
    signers: list[Signer | BrokenSigner] = []
    nested: list[bytes] = []
    for info in infos:
        try:
            reader = _Reader(info, signed.content.type, content, certificates, digests, profile, subject)
            signers.append(reader.signer())
            nested += reader.nested
        except SealwrightError as cause:
            signers.append(BrokenSigner(cause, _named_by_sid(info.sid, certificates)))
            nested += reader.nested_in_broken()  # a signature of its own: SHA-256 inside an old one with SHA-1
        except ValueError as cause:
            reason = MalformedEnvelope(subject, f"a signed attribute is not DER: {short(cause)}", _AGAIN)
            signers.append(BrokenSigner(reason, _named_by_sid(info.sid, certificates)))
    return Envelope(signed.content.type.dotted_string, content, certificates, tuple(signers), tuple(nested))


def check_signer(signer: Signer, digests: Mapping[HashName, Digest], kind: str, subject: str) -> None:
    """The signature holds for the delivered content, given by its digests, and for a statement of this kind.

    Raises BadSignature (value or key), ContentChanged (content) or WrongKind, in this order.
    """
    if signer.signed_bytes is None:
        check_digest_signature(signer.key, signer.algorithm, signer.signature, signer.digest, subject=subject)
    else:
        check_signature(signer.key, signer.algorithm, signer.signature, signer.signed_bytes, subject=subject)
    delivered = digests.get(signer.digest.algorithm)
    if delivered is None:
        raise BadSignature(subject, f"the content was not digested by {signer.digest.algorithm}", "Verify it again.")
    if delivered.value != signer.digest.value:
        raise ContentChanged(
            subject, f"signed was {signer.digest}, delivered is {delivered}", "Copy the file again from its source."
        )
    if signer.kind not in (kind, SAYS_NOTHING):
        raise WrongKind(subject, f"it signs a statement of the kind {signer.kind!r}, not {kind!r}", _AGAIN)


def _signed_data(data: bytes, profile: Profile, subject: str) -> types.SignedData:
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"a signature of {len(data)} bytes", f"At most {MAX_BYTES} bytes are read.")
    if data.lstrip()[:5] == b"-----":
        raise MalformedEnvelope(subject, "it is PEM, not DER", _convert("PEM", subject))
    try:
        info = _decoded(data, profile)
    except ValueError as cause:
        if "InvalidSetOrdering" in str(cause):
            what = "it is BER, not DER: a SET OF is not sorted"
            raise MalformedEnvelope(subject, what, _convert("DER", subject)) from cause
        if data[:1] == b"\x30" and (data[1:2] == b"\x80" or b"\x24\x80" in data or b"\xa0\x80" in data[:40]):
            raise MalformedEnvelope(subject, "it is BER, not DER", _convert("DER", subject)) from cause
        raise MalformedEnvelope(subject, f"it is not CMS SignedData in DER: {short(cause)}", _AGAIN) from cause
    if info.type != types.SIGNED_DATA:
        raise MalformedEnvelope(subject, f"it is CMS {info.type.dotted_string}, not SignedData", _AGAIN)
    if info.content.version not in (1, 3, 4, 5):
        raise MalformedEnvelope(subject, f"SignedData version {info.content.version}", _AGAIN)
    return info.content


def _decoded(data: bytes, profile: Profile) -> types.ContentInfo:
    try:
        return asn1.decode_der(types.ContentInfo, data)
    except ValueError:
        if not profile.may_be_ber:
            raise
        return asn1.decode_der(types.ContentInfo, to_der(data))


def _check_order_and_version(
    signed: types.SignedData, certificates: tuple[bytes, ...], infos: list[types.SignerInfo], subject: str
) -> None:
    """DER sorts a SET OF (X.690 section 11.6); the versions follow from the content (RFC 5652 sections 5.1 and 5.3)."""
    for encoded in (list(certificates), [asn1.encode_der(entry) for entry in signed.crls or ()]):
        if encoded != sorted(encoded):
            raise MalformedEnvelope(subject, "it is BER, not DER: a SET OF is not sorted", _convert("DER", subject))
    wanted = 3 if any(info.version == 3 for info in infos) else 1
    if signed.version != wanted:
        raise MalformedEnvelope(subject, f"SignedData version {signed.version}, wanted {wanted}", _AGAIN)


def _convert(form: str, name: str) -> str:
    from shlex import quote  # only where an error is written; a name is never a command (A169)

    source, target = quote(name), quote(f"{name}.der")
    return f"Convert it with: openssl cms -cmsout -inform {form} -in {source} -outform DER -out {target}"


_CONTENT_TYPES = {
    Profile.OURS: types.DATA,
    Profile.FOREIGN_CMS: types.DATA,
    Profile.FOREIGN_AUTHENTICODE: types.SPC_INDIRECT_DATA,
}
_CALLED = {types.DATA: "data", types.SPC_INDIRECT_DATA: "Authenticode"}


def _content(content: types.EncapsulatedContent, subject: str) -> bytes | None:
    """What the content holds, without tag and length; None where it is beside."""
    if content.content is None:
        return None
    wanted = b"\x30" if content.type == types.SPC_INDIRECT_DATA else b"\x04"
    if len(content.content) != 1 or content.content[0].tag_bytes != wanted:
        raise MalformedEnvelope(subject, "its content is not of the kind that its type says", _AGAIN)
    return bytes(content.content[0].data)


def _certificates(signed: types.SignedData, subject: str) -> tuple[bytes, ...]:
    found = signed.certificates or []
    if len(found) > types.MAX_CERTIFICATES:
        raise LimitExceeded(subject, f"{len(found)} certificates", f"At most {types.MAX_CERTIFICATES} are read.")
    return tuple(asn1.encode_der(entry) for entry in found)


def _named_by_sid(sid: types.Sid, certificates: tuple[bytes, ...]) -> bytes:
    """The one certificate that a signer identifier names, whatever its key; b"" where there is none, or more than one."""
    found = [one for one in dict.fromkeys(certificates) if _is_named(sid, one)]
    return found[0] if len(found) == 1 else b""


def _is_named(sid: types.Sid, certificate: bytes) -> bool:
    try:
        loaded = x509.load_der_x509_certificate(certificate)
        if isinstance(sid.value, bytes):
            return bool(loaded.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == sid.value)
        body = asn1.decode_der(types.TbsCertificate, loaded.tbs_certificate_bytes)
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False
    issuer = sid.value.issuer
    return sid.value.serial == body.serial and (issuer.tag_bytes, issuer.data) == (b"\x30", body.issuer.data)


class _Reader:
    """One SignerInfo read by the numbered rules above; raises ValueError for an attribute that is not DER."""

    def __init__(
        self,
        info: types.SignerInfo,
        content_type: OID,
        content: bytes | None,
        certificates: tuple[bytes, ...],
        digests: set[HashName | None],
        profile: Profile,
        subject: str,
    ) -> None:
        self.info = info
        self.content_type = content_type
        self.content = content
        self.nested: tuple[bytes, ...] = ()
        self.certificates = certificates
        self.digests = digests
        self.profile = profile
        self.subject = subject
        self.digest_identifier = asn1.encode_der(info.digest_algorithm)
        self.findings: list[Finding] = []

    def signer(self) -> Signer:
        """The signer, or the typed error that says why it cannot be used."""
        info = self.info
        if info.version not in (1, 3) or len(info.signature) > MAX_SIGNATURE_BYTES:
            raise self._malformed(f"SignerInfo version {info.version}, signature of {len(info.signature)} bytes")
        if self.profile is Profile.OURS and (info.version == 3) is not isinstance(info.sid.value, bytes):
            raise self._malformed(f"SignerInfo version {info.version} does not fit its signer identifier")
        algorithm = READ_DIGESTS.get(self.digest_identifier)
        if algorithm is None:
            raise WeakAlgorithm(self.subject, "a digest algorithm that is not SHA-256, SHA-384 or SHA-512", _AGAIN)
        if algorithm not in self.digests:
            raise self._malformed("the signer's digest algorithm is not among those of the SignedData")
        if info.signed_attributes is None:
            raise self._malformed("there are no signed attributes")
        values = self._attributes(info.signed_attributes.as_list())
        digest = self._digest(values, algorithm)
        certificate, bound = self._certificate(values)
        known = certified(certificate)
        self._check_sid(known)
        identifier = asn1.encode_der(info.signature_algorithm)
        used = agreed_algorithm(identifier, algorithm, known.algorithm, subject=self.subject)
        self._check_protection(values, identifier)
        return Signer(
            certificate=certificate,
            key=known.key,
            digest=digest,
            algorithm=used,
            signature=info.signature,
            signed_bytes=asn1.encode_der(info.signed_attributes),
            claimed_time=self._time(values),
            kind=self._kind(values),
            tokens=self._tokens(),
            binds_certificate=bound,
            findings=tuple(self.findings),
        )

    def nested_in_broken(self) -> tuple[bytes, ...]:
        """The signatures nested in one that cannot be used itself, of Authenticode."""
        if self.profile is Profile.FOREIGN_AUTHENTICODE:
            self._tokens()
        return self.nested

    def _attributes(self, attributes: list[types.Attribute]) -> dict[OID, TLV]:
        if len(attributes) > types.MAX_ATTRIBUTES:
            raise self._malformed(f"{len(attributes)} signed attributes")
        values: dict[OID, TLV] = {}
        for attribute in attributes:
            value = attribute.values.as_list()
            if attribute.type in values or len(value) != 1:
                raise self._malformed(f"the signed attribute {attribute.type.dotted_string} is not there exactly once")
            values[attribute.type] = value[0]
        return values

    def _digest(self, values: dict[OID, TLV], algorithm: HashName) -> Digest:
        if types.CONTENT_TYPE not in values or types.MESSAGE_DIGEST not in values:
            raise self._malformed("content-type or message-digest is missing")
        if values[types.CONTENT_TYPE].parse(OID) != self.content_type:
            raise self._malformed("the signed content type is not the type of the content")
        value = values[types.MESSAGE_DIGEST].parse(bytes)
        if len(value) != algorithm.size:
            raise self._malformed(f"a {algorithm} message-digest of {len(value)} bytes")
        digest = Digest(algorithm, value)
        if self.content is not None and Digest.of(self.content, algorithm) != digest:
            raise ContentChanged(self.subject, "the content inside it is not the signed one", _AGAIN)
        return digest

    def _certificate(self, values: dict[OID, TLV]) -> tuple[bytes, bool]:
        named = values.get(types.SIGNING_CERTIFICATE_V2)
        if named is None:
            if self.profile is Profile.OURS:
                raise self._malformed("signingCertificateV2 is missing (openssl cms -sign writes it with -cades)")
            return self._by_sid(), False
        try:
            strict = self.profile is Profile.OURS
            return _named_certificate(asn1.encode_der(named), self.certificates, strict), True
        except SealwrightError as cause:
            raise type(cause)(self.subject, cause.what, cause.next_step) from cause

    def _by_sid(self) -> bytes:
        fitting = [der for der in dict.fromkeys(self.certificates) if self._sid_fits(certified_or_none(der))]
        if len(fitting) != 1:
            raise self._malformed(f"{len(fitting)} of its certificates fit the signer, wanted is exactly one")
        return fitting[0]

    def _check_sid(self, known: Certified) -> None:
        if not self._sid_fits(known):
            raise self._malformed("the signer identifier names another certificate than the signed attributes")

    def _sid_fits(self, known: Certified | None) -> bool:
        sid = self.info.sid
        if known is None:
            return False
        if isinstance(sid.value, bytes):
            return sid.value == known.key_identifier
        issuer = sid.value.issuer
        return sid.value.serial == known.serial and issuer.tag_bytes == b"\x30" and issuer.data == known.issuer_inside

    def _check_protection(self, values: dict[OID, TLV], identifier: bytes) -> None:
        protection = values.get(types.ALGORITHM_PROTECTION)
        if protection is None:
            if self.profile is Profile.OURS:
                self.findings.append(note("SW-SIGNATURE-NO-ALGORITHM-PROTECTION", self.subject))
            return
        # RFC 6211: SEQUENCE { digestAlgorithm, signatureAlgorithm [1] IMPLICIT }; DER has one spelling, so bytes compare
        if protection.tag_bytes != b"\x30" or protection.data != self.digest_identifier + b"\xa1" + identifier[1:]:
            raise self._malformed("CMSAlgorithmProtection names other algorithms than the SignerInfo")

    def _time(self, values: dict[OID, TLV]) -> datetime | None:
        value = values.get(types.SIGNING_TIME)
        if value is None:
            if self.profile is Profile.OURS:
                raise self._malformed("signing-time is missing")
            return None
        if value.tag_bytes == b"\x17":
            moment: datetime = value.parse(asn1.UTCTime).as_datetime()
        else:
            moment = value.parse(asn1.GeneralizedTime).as_datetime()
        return moment.astimezone(UTC)

    def _kind(self, values: dict[OID, TLV]) -> str:
        hints = values.get(types.CONTENT_HINTS)
        if hints is None and self.content_type == types.SPC_INDIRECT_DATA:
            return AUTHENTICODE.name
        if hints is None:
            return SAYS_NOTHING if self.profile is Profile.FOREIGN_CMS else FILE.name
        text = hints.parse(types.ContentHints).description or ""
        named = text.removeprefix(KIND_PREFIX).removesuffix(KIND_SUFFIX)
        return named if named and text == f"{KIND_PREFIX}{named}{KIND_SUFFIX}" else f"foreign: {text[:60]}"

    def _tokens(self) -> tuple[bytes, ...]:
        unsigned = self.info.unsigned_attributes
        if unsigned is None:
            return ()
        attributes = unsigned.as_list()
        types_seen = [attribute.type for attribute in attributes]
        tokens: tuple[bytes, ...] = ()
        microsoft = self.profile is Profile.FOREIGN_AUTHENTICODE
        stamps = types.MICROSOFT_TIME_STAMP if microsoft else types.TIME_STAMP_TOKEN
        for attribute in attributes:
            once = types_seen.count(attribute.type) == 1 and len(attribute.values.as_list()) <= MAX_TOKENS
            if attribute.type == stamps and once:
                tokens = tuple(asn1.encode_der(value) for value in attribute.values.as_list())
                continue
            if microsoft and attribute.type == types.NESTED_SIGNATURE and once:
                self.nested = tuple(asn1.encode_der(value) for value in attribute.values.as_list())
                continue
            self.findings.append(
                warning("SW-SIGNATURE-ATTRIBUTE-IGNORED", self.subject, found=attribute.type.dotted_string)
            )
        return tokens

    def _malformed(self, what: str) -> MalformedEnvelope:
        return MalformedEnvelope(self.subject, what, _AGAIN)


@lru_cache(maxsize=256)
def _named_certificate(ess: bytes, certificates: tuple[bytes, ...], strict: bool) -> bytes:
    """The certificate that a DER SigningCertificateV2 names among those of the bag; kept, because one signer signs much.

    strict: whether policies are refused. Raises MalformedEnvelope, WeakAlgorithm, or ValueError where it is not DER.
    """
    signing = asn1.decode_der(types.SigningCertificateV2, ess)
    if signing.policies is not None and strict:
        raise MalformedEnvelope("signature", "signingCertificateV2 names policies", _AGAIN)
    wanted = signing.certificates[0]
    name: HashName | None = HashName.SHA256
    if wanted.algorithm is not None:
        name = READ_DIGESTS.get(asn1.encode_der(wanted.algorithm))
    if name is None:
        raise WeakAlgorithm("signature", "signingCertificateV2 with a digest that is not SHA-2", _AGAIN)
    fitting = {der for der in certificates if Digest.of(der, name).value == wanted.digest}
    if len(fitting) != 1:
        raise MalformedEnvelope("signature", "the certificate that signingCertificateV2 names is not in it", _AGAIN)
    (certificate,) = fitting
    if wanted.issuer_serial is not None:
        known = certified(certificate)
        # GeneralName directoryName [4] EXPLICIT Name
        name_of = wanted.issuer_serial.issuer[0]
        fits = name_of.tag_bytes == b"\xa4" and name_of.data == known.issuer
        if not fits or wanted.issuer_serial.serial != known.serial:
            raise MalformedEnvelope(
                "signature", "signingCertificateV2 names another issuer or serial than its certificate has", _AGAIN
            )
    return certificate
