"""RFC 3161 timestamps: requests, responses, and tokens read and checked; whom to believe is `trust/timestamps.py`.

A token is CMS SignedData over a TSTInfo whose imprint is the digest of a signature value. Checked here: structure, version,
SHA-2 imprint, the token's own signature, and that its certificate is for nothing but timestamps (section 2.3: the
extended key usage is critical and the only one). ESSCertID with SHA-1 (RFC 2634) binds nothing: `binds_certificate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS, READ_DIGESTS
from sealwright.envelope.asn1 import OID, der, tlv
from sealwright.envelope.ber import to_der
from sealwright.envelope.cms import MAX_BYTES, BrokenSigner, Profile, Signer, check_signer, read_envelope
from sealwright.errors import (
    BadSignature,
    LimitExceeded,
    MalformedEnvelope,
    SealwrightError,
    TimestampUnavailable,
    WeakAlgorithm,
)

MAX_TOKEN_BYTES = 64 * 1024
# Outside of these years genTime and accuracy cannot be added
MIN_YEAR, MAX_YEAR = 1970, 9998
UNSTATED_ACCURACY = timedelta(seconds=1)
TIME_STAMPING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.8")
KIND = "file"
_AGAIN = "Ask for a new timestamp."
_GRANTED = (0, 1)
MAX_NONCE_BITS = 512


class Failure(IntEnum):
    """PKIFailureInfo of a refused request: the number of the bit (RFC 3161 section 2.4.2)."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25


class BadRequest(MalformedEnvelope):
    """A request in DER that this service does not grant: another version, a nonce beyond all measure."""


class UnacceptedExtension(MalformedEnvelope):
    """A request with an extension: each one that is not known refuses, critical or not (RFC 3161 section 2.4.1)."""


class UnacceptedPolicy(MalformedEnvelope):
    """A request for a policy that is not offered."""


_FAILURES: tuple[tuple[type[SealwrightError], Failure], ...] = (
    (BadRequest, Failure.BAD_REQUEST),
    (UnacceptedExtension, Failure.UNACCEPTED_EXTENSION),
    (UnacceptedPolicy, Failure.UNACCEPTED_POLICY),
    (WeakAlgorithm, Failure.BAD_ALG),
    (LimitExceeded, Failure.BAD_REQUEST),
    (MalformedEnvelope, Failure.BAD_DATA_FORMAT),
)


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """A request as an authority reads it."""

    imprint: Digest
    nonce: int | None
    policy: str | None
    certificate_wanted: bool


@dataclass(frozen=True, slots=True)
class Token:
    """gen_time: aware, UTC; accuracy: half the width of the interval; certificate, certificates: DER."""

    gen_time: datetime
    accuracy: timedelta
    imprint: Digest
    policy: str
    serial: int
    nonce: int | None
    certificate: bytes
    certificates: tuple[bytes, ...]
    binds_certificate: bool
    signer: Signer
    content: bytes


def timestamp_request(imprint: Digest, nonce: int) -> bytes:
    """A DER TimeStampReq that wants the authority's certificate in the token."""
    return asn1.encode_der(
        types.TimeStampRequest(version=1, imprint=_imprint(imprint), nonce=nonce, certificate_wanted=True)
    )


def read_request(data: bytes) -> TimestampRequest:
    """Read a request; MalformedEnvelope or WeakAlgorithm where it cannot be granted."""
    subject = "timestamp request"
    if len(data) > MAX_TOKEN_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_TOKEN_BYTES} are read.")
    try:
        request = asn1.decode_der(types.TimeStampRequest, data)
    except ValueError as cause:
        raise MalformedEnvelope(subject, "it is not a TimeStampReq in DER", _AGAIN) from cause
    if request.version != 1:
        raise BadRequest(subject, f"version {str(request.version)[:20]}, known is 1", _AGAIN)
    if request.extensions is not None:
        raise UnacceptedExtension(subject, "it has an extension, and none is known here", _AGAIN)
    if request.nonce is not None and request.nonce.bit_length() > MAX_NONCE_BITS:
        raise BadRequest(subject, f"a nonce of more than {MAX_NONCE_BITS} bits", _AGAIN)
    policy = request.policy.dotted_string if request.policy is not None else None
    return TimestampRequest(_digest(request.imprint, subject), request.nonce, policy, request.certificate_wanted)


def tst_info(
    imprint: Digest, *, policy: str, serial: int, gen_time: datetime, accuracy: timedelta, nonce: int | None
) -> bytes:
    """A DER TSTInfo. accuracy: whole milliseconds, at least one second is written as seconds."""
    seconds, rest = divmod(accuracy, timedelta(seconds=1))
    millis = rest // timedelta(milliseconds=1)
    return asn1.encode_der(
        types.TstInfo(
            version=1,
            policy=OID(policy),
            imprint=_imprint(imprint),
            serial=serial,
            gen_time=asn1.GeneralizedTime(gen_time.astimezone(UTC).replace(microsecond=0)),
            accuracy=types.Accuracy(seconds=seconds or None, millis=millis or None),
            nonce=nonce,
        )
    )


def response_bytes(token: bytes) -> bytes:
    """A DER TimeStampResp that grants the token."""
    return der(0x30, der(0x30, b"\x02\x01\x00") + token)


def failure_of(cause: SealwrightError) -> Failure:
    """Which failure an error is to the asker; what is none of the request's faults is the service's."""
    return next((failure for error, failure in _FAILURES if isinstance(cause, error)), Failure.SYSTEM_FAILURE)


def rejection_bytes(reason: str, failure: Failure) -> bytes:
    """A DER TimeStampResp that refuses, with the reason as text and as a bit (a BIT STRING of names has no zeros at its end)."""
    text = der(0x30, der(0x0C, reason.encode()))
    octet, bit = divmod(failure, 8)
    bits = der(0x03, bytes((7 - bit, *[0] * octet, 0x80 >> bit)))
    return der(0x30, der(0x30, b"\x02\x01\x02" + text + bits))


def read_response(data: bytes, imprint: Digest, nonce: int | None, subject: str) -> bytes:
    """The token of an authority's answer, its own signature checked, for this imprint and nonce.

    Raises TimestampUnavailable where the authority refuses, MalformedEnvelope or BadSignature where its answer is not right.
    """
    token = _granted(data, subject)
    read = read_token(token, subject)
    check_own(read, subject)
    if read.imprint != imprint:
        raise BadSignature(subject, "the timestamp is for another signature", _AGAIN)
    if nonce is not None and read.nonce != nonce:
        raise BadSignature(subject, "the timestamp answers another request (nonce)", _AGAIN)
    return token


def token_of_sidecar(data: bytes, path: str) -> bytes:
    """The token in a `.tsr` file: a TimeStampResp, or a bare token."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(path, f"{len(data)} bytes", f"At most {MAX_BYTES} are read.")
    try:
        return asn1.encode_der(asn1.decode_der(types.ContentInfo, to_der(data)))
    except ValueError:
        return _granted(data, path)


def read_token(data: bytes, subject: str) -> Token:
    """Read a token without judging it; MalformedEnvelope, WeakAlgorithm or LimitExceeded where it is not one."""
    if len(data) > MAX_TOKEN_BYTES:
        raise LimitExceeded(subject, f"a timestamp of {len(data)} bytes", f"At most {MAX_TOKEN_BYTES} are read.")
    envelope = read_envelope(data, Profile.FOREIGN_TOKEN, subject)
    if envelope.content_type != types.TST_INFO.dotted_string or envelope.content is None:
        raise MalformedEnvelope(subject, "it is not a timestamp token", _AGAIN)
    if len(envelope.signers) != 1:
        raise MalformedEnvelope(subject, f"{len(envelope.signers)} signers, a timestamp has one", _AGAIN)
    signer = envelope.signers[0]
    if isinstance(signer, BrokenSigner):
        raise signer.reason
    try:
        info = asn1.decode_der(types.TstInfo, envelope.content)
    except ValueError as cause:
        raise MalformedEnvelope(subject, "its TSTInfo is not DER", _AGAIN) from cause
    if info.version != 1 or any(extension.critical for extension in info.extensions or ()):
        # Others are only remarks, such as the qcStatements of ETSI EN 319 422
        raise MalformedEnvelope(subject, "its version is not 1, or it has a critical extension", _AGAIN)
    gen_time = info.gen_time.as_datetime().astimezone(UTC)
    if not MIN_YEAR <= gen_time.year <= MAX_YEAR:
        raise MalformedEnvelope(subject, f"it was made in the year {gen_time.year}", _AGAIN)
    if problem := purpose_problem(signer.certificate):
        raise MalformedEnvelope(subject, problem, _AGAIN)
    return Token(
        gen_time=gen_time,
        accuracy=_accuracy(info.accuracy, subject),
        imprint=_digest(info.imprint, subject),
        policy=info.policy.dotted_string,
        serial=info.serial,
        nonce=info.nonce,
        certificate=signer.certificate,
        certificates=envelope.certificates,
        binds_certificate=signer.binds_certificate,
        signer=signer,
        content=envelope.content,
    )


def check_token(token: Token, signature: bytes) -> None:
    """The token is over this signature value and its own signature holds; BadSignature if not."""
    check_own(token, "timestamp")
    if Digest.of(signature, token.imprint.algorithm) != token.imprint:
        raise BadSignature("timestamp", "it was made for another signature", _AGAIN)


def check_own(token: Token, subject: str) -> None:
    """The token's own signature holds over its TSTInfo; BadSignature if not."""
    name = token.signer.digest.algorithm
    check_signer(token.signer, {name: Digest.of(token.content, name)}, KIND, subject)


def _granted(data: bytes, subject: str) -> bytes:
    if len(data) > MAX_TOKEN_BYTES:
        raise LimitExceeded(subject, f"an answer of {len(data)} bytes", f"At most {MAX_TOKEN_BYTES} are read.")
    try:
        response = _response(data)
    except ValueError as cause:
        raise MalformedEnvelope(subject, "it is neither a timestamp response nor a token in DER", _AGAIN) from cause
    if response.status.status not in _GRANTED or response.token is None:
        said = "; ".join(_text(entry) for entry in response.status.text or []) or f"status {response.status.status}"
        raise TimestampUnavailable(subject, f"the authority refused: {said}", "Ask the authority, or use another one.")
    return asn1.encode_der(response.token)


def _response(data: bytes) -> types.TimeStampResponse:
    try:
        return asn1.decode_der(types.TimeStampResponse, data)
    except ValueError:
        return asn1.decode_der(types.TimeStampResponse, to_der(data))


def _text(entry: types.TLV) -> str:
    try:
        return "".join(c if c.isprintable() else "?" for c in entry.parse(str)[:200])
    except ValueError:
        return "unreadable reason"


def _imprint(digest: Digest) -> types.MessageImprint:
    return types.MessageImprint(algorithm=tlv(DIGEST_IDENTIFIERS[digest.algorithm]), digest=digest.value)


def _digest(imprint: types.MessageImprint, subject: str) -> Digest:
    name = READ_DIGESTS.get(asn1.encode_der(imprint.algorithm))
    if name is None:
        raise WeakAlgorithm(subject, "an imprint that is not SHA-256, SHA-384 or SHA-512", _AGAIN)
    if len(imprint.digest) != name.size:
        raise MalformedEnvelope(subject, f"a {name} imprint of {len(imprint.digest)} bytes", _AGAIN)
    return Digest(name, imprint.digest)


def _accuracy(accuracy: types.Accuracy | None, subject: str) -> timedelta:
    if accuracy is None:
        return UNSTATED_ACCURACY
    seconds, millis, micros = accuracy.seconds or 0, accuracy.millis or 0, accuracy.micros or 0
    if not 0 <= seconds <= 86400 or not 0 <= millis <= 999 or not 0 <= micros <= 999:
        raise MalformedEnvelope(subject, "an accuracy that is out of range", _AGAIN)
    return timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


@lru_cache(maxsize=64)
def purpose_problem(certificate: bytes) -> str:
    """Why a certificate (DER) is not one of a timestamp authority, "" where it is (RFC 3161 section 2.3)."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return "its certificate is not for timestamps"
    if not usage.critical or list(usage.value) != [TIME_STAMPING]:
        return "its certificate is not for timestamps alone (critical extended key usage)"
    return ""
