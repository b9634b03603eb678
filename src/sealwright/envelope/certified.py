"""What a SignerInfo is compared with: issuer, serial, key identifier and key of a certificate, read once for each.

Names are compared as the bytes that are in the certificate, never as a re-encoding. A key counts only in the encoding by
which we identify it (RULES 2): a compressed point, an explicit curve (A023) or an RSA-PSS key OID is another identity.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import PublicKey, SignatureAlgorithm, algorithm_for
from sealwright.errors import MalformedEnvelope, SealwrightError

_SUBJECT = "the signer's certificate"
_AGAIN = "Ask the signer for the file again."
# What the parser raises for a certificate or list it cannot read whole; TypeError: a name with a bit string in it.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Certified:
    """issuer: the DER Name; issuer_inside: the same without its header; algorithm: what the key signs with by default."""

    issuer: bytes
    issuer_inside: bytes
    serial: int
    key_identifier: bytes | None
    key: PublicKey
    algorithm: SignatureAlgorithm


@lru_cache(maxsize=256)
def certified(der: bytes) -> Certified:
    """MalformedEnvelope or WeakAlgorithm if the certificate cannot carry a signature of ours."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = cast("PublicKey", certificate.public_key())
        algorithm = algorithm_for(key, subject=_SUBJECT)
        body = asn1.decode_der(types.TbsCertificate, certificate.tbs_certificate_bytes)
        if asn1.encode_der(body.key) != key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
            raise MalformedEnvelope(_SUBJECT, "its key is in an encoding that is not accepted", _AGAIN)
        try:
            identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        except x509.ExtensionNotFound:
            identifier = None
    except UNREADABLE as cause:
        raise MalformedEnvelope(_SUBJECT, f"it cannot be read: {short(cause)}", _AGAIN) from cause
    issuer = asn1.encode_der(body.issuer)
    return Certified(issuer, bytes(body.issuer.data), body.serial, identifier, key, algorithm)


def certified_or_none(der: bytes) -> Certified | None:
    """The same where a certificate that cannot be read simply is not the signer's."""
    try:
        return certified(der)
    except SealwrightError:
        return None


def short(cause: Exception) -> str:
    """A library's complaint in a few words: `ParseError { kind: InvalidSetOrdering, … }` is "invalid set ordering"."""
    text = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    kind = re.search(r"ParseError \{ kind: ([A-Za-z]+)", text)
    if kind is None:
        return text[:160]
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind[1]).lower()


@lru_cache(maxsize=256)
def name_text(name: bytes) -> str:
    """A DER Name as RFC 4514 writes it; "" where it cannot be read."""
    try:
        inside = asn1.decode_der(types.NameInside, types.der(0x30, name))
        parts = [
            x509.RelativeDistinguishedName([x509.NameAttribute(one.type, _text(one.value)) for one in part.as_list()])
            for part in inside.parts
        ]
        return x509.Name(parts).rfc4514_string()
    except UNREADABLE:
        return ""


def _text(value: asn1.TLV) -> str:
    """A UTF8String, PrintableString or IA5String; ValueError for another."""
    text: str
    match value.tag_bytes:
        case b"\x13":
            text = value.parse(asn1.PrintableString).as_str()
        case b"\x16":
            text = value.parse(asn1.IA5String).as_str()
        case _:
            text = value.parse(str)
    return text
