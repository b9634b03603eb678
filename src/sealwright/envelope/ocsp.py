"""OCSP on the wire (RFC 6960): requests read as strict DER, responses written. What is said in them is `pki/ocsp.py`'s.

A request names each certificate by a CertID: a digest of its issuer's name and key, and its serial. The CertID goes back
in the answer octet by octet as it came. A nonce has 1 to 128 octets (RFC 9654 section 2.1). Everything is bounded before
it is decoded. A requestor's signature is neither wanted nor looked at: statuses are public.

    request = read_request(body)
    data = response_data(key_hash, now, [single_response(request.certificates[0].encoded, GOOD, now, now + DAY)], [])
    answer = basic_response(data, identifier, signature, [responder_certificate])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated

from cryptography.hazmat import asn1

from sealwright.envelope.algorithms import S256, S384, S512, Scheme, SignatureAlgorithm
from sealwright.envelope.asn1 import OID, TLV, Extension, der
from sealwright.errors import LimitExceeded, MalformedEnvelope

MAX_REQUEST_BYTES = 16 * 1024
MAX_CERTIFICATES = 64
MAX_EXTENSIONS = 16
MAX_SERIAL_BITS = 160
MAX_NONCE_OCTETS = 128

_NONCE = "1.3.6.1.5.5.7.48.1.2"
# Extensions of a request that may be critical: known, and answered or, being wishes, left alone (RFC 6960 section 4.4).
_KNOWN = frozenset(
    (_NONCE, "1.3.6.1.5.5.7.48.1.4", "1.3.6.1.5.5.7.48.1.7", "1.3.6.1.5.5.7.48.1.8")
)  # nonce, acceptable responses, service locator, preferred signature algorithms
_BASIC = bytes.fromhex("06092b0601050507300101")
_SUBJECT = "OCSP request"
_AGAIN = "Ask again with a request as RFC 6960 writes it."


@asn1.sequence
class _LenientExtension:
    """Extension (RFC 5280 section 4.1); clients write `critical FALSE` out, which DER forbids."""

    type: OID
    critical: bool | None = None
    value: bytes


@asn1.sequence
class _HashAlgorithm:
    """AlgorithmIdentifier of a digest: parameters absent or NULL."""

    algorithm: OID
    parameters: asn1.Null | None = None


@asn1.sequence
class _CertId:
    """CertID (RFC 6960 section 4.1.1)."""

    algorithm: _HashAlgorithm
    name_hash: bytes
    key_hash: bytes
    serial: int


@asn1.sequence
class _Request:
    """Request (RFC 6960 section 4.1.1)."""

    certificate: TLV
    extensions: Annotated[list[_LenientExtension] | None, asn1.Explicit(0)] = None


@asn1.sequence
class _TbsRequest:
    """TBSRequest (RFC 6960 section 4.1.1); the requestor's name is [1] EXPLICIT, read as a list of one."""

    version: Annotated[int | None, asn1.Explicit(0)] = None
    requestor: Annotated[list[TLV] | None, asn1.Implicit(1)] = None
    requests: Annotated[list[_Request], asn1.Size(1, MAX_CERTIFICATES)]
    extensions: Annotated[list[_LenientExtension] | None, asn1.Explicit(2)] = None


@asn1.sequence
class _OcspRequest:
    """OCSPRequest (RFC 6960 section 4.1.1)."""

    request: _TbsRequest
    signature: Annotated[list[TLV] | None, asn1.Implicit(0)] = None


@dataclass(frozen=True, slots=True)
class CertificateId:
    """encoded: the CertID as it came; algorithm: the digest's OID, dotted."""

    encoded: bytes
    algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """nonce: the extension's value (a DER OCTET STRING), to be sent back as it is; b"" where none was sent."""

    certificates: tuple[CertificateId, ...]
    nonce: bytes


class ResponseStatus(IntEnum):
    """OCSPResponseStatus (RFC 6960 section 4.2.1)."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


def read_request(data: bytes) -> OcspRequest:
    """Read a request; LimitExceeded or MalformedEnvelope where it is none that can be answered."""
    if len(data) > MAX_REQUEST_BYTES:
        raise LimitExceeded(_SUBJECT, f"{len(data)} bytes", f"At most {MAX_REQUEST_BYTES} are read.")
    try:
        body = asn1.decode_der(_OcspRequest, data).request
        ids = tuple(_certificate_id(one.certificate) for one in body.requests)
    except ValueError as cause:
        raise MalformedEnvelope(_SUBJECT, "it is not an OCSPRequest in DER", _AGAIN) from cause
    if body.version not in (None, 0):
        raise MalformedEnvelope(_SUBJECT, "its version is not 1", _AGAIN)
    for one in body.requests:
        if one.extensions is not None:
            _extensions(one.extensions)
    return OcspRequest(ids, _nonce(_extensions(body.extensions)) if body.extensions is not None else b"")


def _certificate_id(encoded: TLV) -> CertificateId:
    read = encoded.parse(_CertId)
    if read.serial.bit_length() > MAX_SERIAL_BITS:
        raise ValueError("a serial longer than RFC 5280 section 4.1.2.2 allows")
    algorithm = read.algorithm.algorithm.dotted_string
    return CertificateId(asn1.encode_der(encoded), algorithm, read.name_hash, read.key_hash, read.serial)


def _extensions(read: Sequence[_LenientExtension]) -> dict[str, bytes]:
    found = {one.type.dotted_string: one.value for one in read}
    if len(found) != len(read) or len(read) > MAX_EXTENSIONS:
        raise MalformedEnvelope(_SUBJECT, "an extension stands in it twice, or there are too many", _AGAIN)
    unknown = [one.type.dotted_string for one in read if one.critical and one.type.dotted_string not in _KNOWN]
    if unknown:
        raise MalformedEnvelope(_SUBJECT, f"the unknown critical extension {unknown[0]}", _AGAIN)
    return found


def _nonce(extensions: dict[str, bytes]) -> bytes:
    nonce = extensions.get(_NONCE)
    if nonce is None:
        return b""
    try:
        octets = len(asn1.decode_der(bytes, nonce))
    except ValueError as cause:
        raise MalformedEnvelope(_SUBJECT, "its nonce is not an OCTET STRING", _AGAIN) from cause
    if not 1 <= octets <= MAX_NONCE_OCTETS:
        raise MalformedEnvelope(_SUBJECT, f"a nonce of {octets} octets, RFC 9654 wants 1 to 128", _AGAIN)
    return nonce


GOOD = b"\x80\x00"
UNKNOWN = b"\x82\x00"


def revoked(time: datetime, reason: int | None) -> bytes:
    """CertStatus revoked. reason: CRLReason, None writes none."""
    word = b"" if reason is None else der(0xA0, bytes((0x0A, 1, reason)))
    return der(0xA1, _time(time) + word)


def single_response(
    certificate: bytes,
    status: bytes,
    this_update: datetime,
    next_update: datetime,
    extensions: Sequence[bytes] = (),
) -> bytes:
    """SingleResponse (RFC 6960 section 4.2.1). certificate: the CertID as asked; extensions: each a DER Extension."""
    more = der(0xA1, der(0x30, b"".join(extensions))) if extensions else b""
    return der(0x30, certificate + status + _time(this_update) + der(0xA0, _time(next_update)) + more)


def invalidity_date(date: datetime) -> bytes:
    """The extension of a CRL entry, which a single response may carry too (RFC 6960 section 4.4.5)."""
    return _extension("2.5.29.24", _time(date))


def archive_cutoff(date: datetime) -> bytes:
    """Certificates that ended since then are still answered for (RFC 6960 section 4.4.4)."""
    return _extension("1.3.6.1.5.5.7.48.1.6", _time(date))


def nonce_echo(nonce: bytes) -> bytes:
    """The nonce of the request, sent back."""
    return _extension(_NONCE, nonce)


def extended_revoke() -> bytes:
    """`revoked` is also said of serials that were never issued (RFC 6960 section 4.4.8)."""
    return _extension("1.3.6.1.5.5.7.48.1.9", b"\x05\x00")


def response_data(
    responder: bytes, produced: datetime, singles: Sequence[bytes], extensions: Sequence[bytes] = ()
) -> bytes:
    """ResponseData, what the responder signs. responder: SHA-1 of its key, as RFC 5019 section 2.2.1 wants it named."""
    more = der(0xA1, der(0x30, b"".join(extensions))) if extensions else b""
    name = der(0xA2, der(0x04, responder))
    return der(0x30, name + _time(produced) + der(0x30, b"".join(singles)) + more)


def basic_response(data: bytes, identifier: bytes, signature: bytes, certificates: Sequence[bytes]) -> bytes:
    """A successful OCSPResponse. data: ResponseData; identifier: of `signature_identifier`; certificates: DER."""
    chain = der(0xA0, der(0x30, b"".join(certificates))) if certificates else b""
    basic = der(0x30, data + identifier + der(0x03, b"\x00" + signature) + chain)
    return der(0x30, b"\x0a\x01\x00" + der(0xA0, der(0x30, _BASIC + der(0x04, basic))))


def error_response(status: ResponseStatus) -> bytes:
    """An OCSPResponse that answers nothing and is not signed."""
    return der(0x30, bytes((0x0A, 1, status)))


def signature_identifier(algorithm: SignatureAlgorithm) -> bytes:
    """The AlgorithmIdentifier of a signature over a message: RSA PKCS#1 v1.5 names its digest here, which CMS does not."""
    if algorithm.scheme is not Scheme.RSA_PKCS1:
        return algorithm.identifier
    arc = {S256: "0b", S384: "0c", S512: "0d"}[algorithm.digest]
    return bytes.fromhex(f"300d06092a864886f70d0101{arc}0500")


def _extension(oid: str, value: bytes) -> bytes:
    return asn1.encode_der(Extension(type=OID(oid), critical=False, value=value))


def _time(time: datetime) -> bytes:
    return der(0x18, f"{time.astimezone(UTC):%Y%m%d%H%M%SZ}".encode())
