"""ASN.1 types of CMS (RFC 5652), ESS (RFC 2634, RFC 5035) and RFC 3161, decoded as strict DER.

Every decoder bounds its input first and copies what it needs into frozen values: these classes do not leave the room.
Optional sets cannot carry a bound here; the readers count them. A SET OF that is not sorted, a length that is not minimal
and trailing bytes are refused by the decoder itself. Certificates and CRLs are read in any order, because widespread
timestamp authorities do not sort them; the reader of our own profile asks for the order.
"""

from typing import Annotated, Literal, Union

from cryptography import x509
from cryptography.hazmat import asn1

OID = x509.ObjectIdentifier
TLV = asn1.TLV

DATA = OID("1.2.840.113549.1.7.1")
SIGNED_DATA = OID("1.2.840.113549.1.7.2")
TST_INFO = OID("1.2.840.113549.1.9.16.1.4")
SPC_INDIRECT_DATA = OID("1.3.6.1.4.1.311.2.1.4")
CONTENT_TYPE = OID("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = OID("1.2.840.113549.1.9.4")
SIGNING_TIME = OID("1.2.840.113549.1.9.5")
CONTENT_HINTS = OID("1.2.840.113549.1.9.16.2.4")
SIGNING_CERTIFICATE = OID("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2 = OID("1.2.840.113549.1.9.16.2.47")
TIME_STAMP_TOKEN = OID("1.2.840.113549.1.9.16.2.14")
ALGORITHM_PROTECTION = OID("1.2.840.113549.1.9.52")
# Authenticode (Windows Authenticode Portable Executable Signature Format, 2008)
SPC_STATEMENT_TYPE = OID("1.3.6.1.4.1.311.2.1.11")
SPC_OPUS_INFO = OID("1.3.6.1.4.1.311.2.1.12")
SPC_INDIVIDUAL = OID("1.3.6.1.4.1.311.2.1.21")
MICROSOFT_TIME_STAMP = OID("1.3.6.1.4.1.311.3.3.1")
NESTED_SIGNATURE = OID("1.3.6.1.4.1.311.2.4.1")

MAX_ATTRIBUTES = 32
MAX_CERTIFICATES = 32
MAX_SIGNERS = 16


@asn1.sequence
class Attribute:
    """Attribute ::= SEQUENCE { attrType, attrValues SET OF ANY } (RFC 5652 section 5.3)."""

    type: OID
    values: Annotated[asn1.SetOf[TLV], asn1.Size(1, 8)]


@asn1.sequence
class IssuerAndSerial:
    """IssuerAndSerialNumber (RFC 5652 section 10.2.4)."""

    issuer: TLV
    serial: int


Sid = Union[
    asn1.Variant[IssuerAndSerial, Literal["issuer"]],
    Annotated[asn1.Variant[bytes, Literal["skid"]], asn1.Implicit(0)],
]


@asn1.sequence
class NamePart:
    """AttributeTypeAndValue (RFC 5280 section 4.1.2.4)."""

    type: OID
    value: TLV


@asn1.sequence
class NameInside:
    """One Name; a list has no form of its own at the top."""

    parts: list[asn1.SetOf[NamePart]]


@asn1.sequence
class SignerInfo:
    """SignerInfo (RFC 5652 section 5.3)."""

    version: int
    sid: Sid
    digest_algorithm: TLV
    signed_attributes: Annotated[Union[asn1.SetOf[Attribute], None], asn1.Implicit(0)] = None
    signature_algorithm: TLV
    signature: bytes
    unsigned_attributes: Annotated[Union[asn1.SetOf[Attribute], None], asn1.Implicit(1)] = None


@asn1.sequence
class EncapsulatedContent:
    """EncapsulatedContentInfo (RFC 5652 section 5.2); eContent is [0] EXPLICIT, read as a list of one.

    It is an OCTET STRING, and in Authenticode a SEQUENCE (PKCS #7 version 1.5 section 9.1).
    """

    type: OID
    content: Annotated[Union[list[TLV], None], asn1.Implicit(0)] = None


@asn1.sequence
class SignedData:
    """SignedData (RFC 5652 section 5.1)."""

    version: int
    digest_algorithms: Annotated[asn1.SetOf[TLV], asn1.Size(0, MAX_SIGNERS)]
    content: EncapsulatedContent
    certificates: Annotated[Union[list[TLV], None], asn1.Implicit(0)] = None
    crls: Annotated[Union[list[TLV], None], asn1.Implicit(1)] = None
    signers: Annotated[asn1.SetOf[SignerInfo], asn1.Size(0, MAX_SIGNERS)]


@asn1.sequence
class ContentInfo:
    """ContentInfo holding SignedData (RFC 5652 section 3)."""

    type: OID
    content: Annotated[SignedData, asn1.Explicit(0)]


@asn1.sequence
class TbsCertificate:
    """TBSCertificate (RFC 5280 section 4.1) with its parts as they are encoded."""

    version: Annotated[Union[int, None], asn1.Explicit(0)] = None
    serial: int
    signature: TLV
    issuer: TLV
    validity: TLV
    subject: TLV
    key: TLV
    issuer_unique: Annotated[Union[asn1.BitString, None], asn1.Implicit(1)] = None
    subject_unique: Annotated[Union[asn1.BitString, None], asn1.Implicit(2)] = None
    extensions: Annotated[Union[list[TLV], None], asn1.Explicit(3)] = None


@asn1.sequence
class Algorithm:
    """AlgorithmIdentifier of a digest: parameters absent or NULL."""

    algorithm: OID
    parameters: Union[asn1.Null, None] = None


@asn1.sequence
class IssuerSerial:
    """IssuerSerial (RFC 5035): GeneralNames with one directoryName."""

    issuer: Annotated[list[TLV], asn1.Size(1, 1)]
    serial: int


@asn1.sequence
class EssCertIdV2:
    """ESSCertIDv2 (RFC 5035); an absent algorithm is SHA-256."""

    algorithm: Union[Algorithm, None] = None
    digest: bytes
    issuer_serial: Union[IssuerSerial, None] = None


@asn1.sequence
class SigningCertificateV2:
    """SigningCertificateV2 (RFC 5035)."""

    certificates: Annotated[list[EssCertIdV2], asn1.Size(1, MAX_CERTIFICATES)]
    policies: Union[list[TLV], None] = None


@asn1.sequence
class ContentHints:
    """ContentHints (RFC 2634 section 2.9)."""

    description: Union[str, None] = None
    type: OID


@asn1.sequence
class MessageImprint:
    """MessageImprint (RFC 3161 section 2.4.1)."""

    algorithm: TLV
    digest: bytes


@asn1.sequence
class Accuracy:
    """Accuracy (RFC 3161 section 2.4.2)."""

    seconds: Union[int, None] = None
    millis: Annotated[Union[int, None], asn1.Implicit(0)] = None
    micros: Annotated[Union[int, None], asn1.Implicit(1)] = None


@asn1.sequence
class Extension:
    """Extension (RFC 5280 section 4.1)."""

    type: OID
    critical: Annotated[bool, asn1.Default(False)] = False
    value: bytes


@asn1.sequence
class TstInfo:
    """TSTInfo (RFC 3161 section 2.4.2); tsa is [0] EXPLICIT GeneralName, read as a list of one."""

    version: int
    policy: OID
    imprint: MessageImprint
    serial: int
    gen_time: asn1.GeneralizedTime
    accuracy: Union[Accuracy, None] = None
    ordering: Annotated[bool, asn1.Default(False)] = False
    nonce: Union[int, None] = None
    tsa: Annotated[Union[list[TLV], None], asn1.Implicit(0)] = None
    extensions: Annotated[Union[list[Extension], None], asn1.Implicit(1)] = None


@asn1.sequence
class TimeStampRequest:
    """TimeStampReq (RFC 3161 section 2.4.1)."""

    version: int
    imprint: MessageImprint
    policy: Union[OID, None] = None
    nonce: Union[int, None] = None
    certificate_wanted: Annotated[bool, asn1.Default(False)] = False
    extensions: Annotated[Union[list[TLV], None], asn1.Implicit(0)] = None


@asn1.sequence
class StatusInfo:
    """PKIStatusInfo (RFC 3161 section 2.4.2)."""

    status: int
    text: Union[list[TLV], None] = None
    failure: Union[asn1.BitString, None] = None


@asn1.sequence
class TimeStampResponse:
    """TimeStampResp (RFC 3161 section 2.4.2)."""

    status: StatusInfo
    token: Union[ContentInfo, None] = None


def der(tag: int, content: bytes) -> bytes:
    """One DER element with a definite, minimal length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def tlv(data: bytes) -> TLV:
    """An element already encoded, as a field's value."""
    return asn1.decode_der(TLV, data)
