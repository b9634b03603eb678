"""Writing CMS SignedData as RULES 1 says: one signer, detached, DER, everything a verifier needs and nothing else.

    made = signing_certificate(leaf, [intermediate], ECDSA_SHA256)
    attributes = signed_attributes(made, FILE, digest, now)
    value = key.sign([to_be_signed(attributes, made.algorithm)])[0]
    open("drive.bin.p7s", "wb").write(assemble(made, FILE, attributes, value))

Parts that do not change for a certificate are encoded once; the rest is joined as DER.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS, SignatureAlgorithm, with_null
from sealwright.envelope.asn1 import OID, der, tlv
from sealwright.envelope.certified import certified
from sealwright.envelope.cms import KIND_PREFIX, KIND_SUFFIX
from sealwright.envelope.kinds import AUTHENTICODE, Carried, ContentKind
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import MalformedEnvelope

LAST_UTC_TIME = 2049


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A certificate ready to sign with: DER, its path without the root, and what never changes in its signatures."""

    der: bytes
    chain: tuple[bytes, ...]
    algorithm: SignatureAlgorithm
    sid: bytes
    ess: bytes
    protection: bytes


def signing_certificate(leaf: bytes, chain: Sequence[bytes], algorithm: SignatureAlgorithm) -> SigningCertificate:
    """leaf and chain: DER; a self-signed certificate at the chain's end is left out of what is written."""
    known = certified(leaf)
    issuer, serial = known.issuer, known.serial
    number = asn1.encode_der(serial)
    ess = types.EssCertIdV2(
        algorithm=None
        if algorithm.digest is HashName.SHA256
        else asn1.decode_der(types.Algorithm, DIGEST_IDENTIFIERS[algorithm.digest]),
        digest=Digest.of(leaf, algorithm.digest).value,
        issuer_serial=types.IssuerSerial(issuer=[tlv(der(0xA4, issuer))], serial=serial),
    )
    signing = asn1.encode_der(types.SigningCertificateV2(certificates=[ess]))
    protected = der(0x30, DIGEST_IDENTIFIERS[algorithm.digest] + b"\xa1" + algorithm.identifier[1:])
    path = [one for one in chain if not _self_signed(one)]
    return SigningCertificate(
        der=leaf,
        chain=tuple(path),
        algorithm=algorithm,
        sid=der(0x30, issuer + number),
        ess=_attribute(types.SIGNING_CERTIFICATE_V2, signing),
        protection=_attribute(types.ALGORITHM_PROTECTION, protected),
    )


def signed_attributes(
    certificate: SigningCertificate, kind: ContentKind, digest: Digest, signing_time: datetime
) -> bytes:
    """The signed attributes as the DER SET that is hashed. digest: of the content, by the algorithm of the certificate.

    Authenticode has Microsoft's two attributes in place of CMSAlgorithmProtection, as its own tools write it.
    """
    if digest.algorithm is not certificate.algorithm.digest:
        raise ValueError(f"a {digest.algorithm} digest for {certificate.algorithm.name}")
    before, after = _around_digest(certificate, kind, signing_time.astimezone(UTC).replace(microsecond=0))
    return before + digest.value + after


@lru_cache(maxsize=64)  # a batch has one time
def _around_digest(certificate: SigningCertificate, kind: ContentKind, moment: datetime) -> tuple[bytes, bytes]:
    """What stands before and behind the digest: the order of the attributes is settled by their types."""
    mark = secrets.token_bytes(certificate.algorithm.digest.size)
    before, after = _with_digest(certificate, kind, moment, mark).split(mark)
    return before, after


def _with_digest(certificate: SigningCertificate, kind: ContentKind, moment: datetime, digest: bytes) -> bytes:
    time = asn1.UTCTime(moment) if moment.year <= LAST_UTC_TIME else asn1.GeneralizedTime(moment)
    attributes = [
        _attribute(types.CONTENT_TYPE, asn1.encode_der(kind.type)),
        _attribute(types.MESSAGE_DIGEST, der(0x04, digest)),
        _attribute(types.SIGNING_TIME, asn1.encode_der(time)),
        certificate.ess,
    ]
    if kind.type == types.DATA:
        hints = types.ContentHints(description=f"{KIND_PREFIX}{kind.name}{KIND_SUFFIX}", type=kind.type)
        attributes.append(_attribute(types.CONTENT_HINTS, asn1.encode_der(hints)))
    if kind is AUTHENTICODE:
        attributes.append(_attribute(types.SPC_OPUS_INFO, der(0x30, b"")))
        attributes.append(_attribute(types.SPC_STATEMENT_TYPE, der(0x30, asn1.encode_der(types.SPC_INDIVIDUAL))))
    else:
        attributes.append(certificate.protection)
    return der(0x31, b"".join(sorted(attributes)))


def to_be_signed(attributes: bytes, algorithm: SignatureAlgorithm) -> ToBeSigned:
    """What the key signs: the attributes themselves (Ed25519, ML-DSA) or their digest."""
    if algorithm.signs_message:
        return ToBeSigned(Kind.MESSAGE, attributes, algorithm)
    return ToBeSigned(Kind.DIGEST, Digest.of(attributes, algorithm.digest).value, algorithm)


def assemble(
    certificate: SigningCertificate,
    kind: ContentKind,
    attributes: bytes,
    signature: bytes,
    tokens: Sequence[bytes] = (),
    content: bytes | None = None,
) -> bytes:
    """The DER ContentInfo. tokens: timestamp tokens over the signature value; content: wanted where the kind carries it inside."""
    digest = DIGEST_IDENTIFIERS[certificate.algorithm.digest]
    stamps = types.TIME_STAMP_TOKEN
    if kind is AUTHENTICODE:
        digest, stamps = with_null(digest), types.MICROSOFT_TIME_STAMP
    unsigned = der(0xA1, _attribute(stamps, *sorted(tokens))) if tokens else b""
    signer = der(
        0x30,
        b"\x02\x01\x01" + certificate.sid + digest + b"\xa0" + attributes[1:]
        + certificate.algorithm.identifier + der(0x04, signature) + unsigned,
    )  # fmt: skip
    inside = asn1.encode_der(kind.type) + _inside(kind, content)
    bag = b"".join(sorted({certificate.der, *certificate.chain}))
    # RFC 5652 section 5.1: version 3 where the content is not id-data; Authenticode is PKCS #7, which knows version 1 alone
    version = b"\x02\x01\x01" if kind.type == types.DATA or kind is AUTHENTICODE else b"\x02\x01\x03"
    signed = der(0x30, version + der(0x31, digest) + der(0x30, inside) + der(0xA0, bag) + der(0x31, signer))
    return der(0x30, asn1.encode_der(types.SIGNED_DATA) + der(0xA0, signed))


def add_token(envelope: bytes, signature: bytes, token: bytes, subject: str) -> bytes:
    """The envelope with one more timestamp token at the signer that has this signature value.

    A SET OF is sorted, so a signer is found by its value, never by its place. MalformedEnvelope if it is not there.
    """
    try:
        info = asn1.decode_der(types.ContentInfo, envelope)
    except ValueError as cause:
        raise MalformedEnvelope(subject, "it is not CMS SignedData in DER", "Sign it again.") from cause
    signers = info.content.signers.as_list()
    for signer in signers:
        if signer.signature != signature:
            continue
        others = signer.unsigned_attributes.as_list() if signer.unsigned_attributes else []
        present = [v for a in others if a.type == types.TIME_STAMP_TOKEN for v in a.values.as_list()]
        kept = [a for a in others if a.type != types.TIME_STAMP_TOKEN]
        added = types.Attribute(type=types.TIME_STAMP_TOKEN, values=asn1.SetOf([*present, tlv(token)]))
        signer.unsigned_attributes = asn1.SetOf([*kept, added])
        info.content.signers = asn1.SetOf(signers)
        return asn1.encode_der(info)
    raise MalformedEnvelope(subject, "no signer has this signature value", "Name the signature the token was made for.")


def _inside(kind: ContentKind, content: bytes | None) -> bytes:
    if (content is None) is not (kind.carried is Carried.BESIDE):
        raise ValueError(f"the content of a {kind.name} travels {kind.carried.name.lower()}")
    if content is None:
        return b""
    return der(0xA0, content if kind.carried is Carried.SEQUENCE else der(0x04, content))


def _attribute(type_: OID, *values: bytes) -> bytes:
    return der(0x30, asn1.encode_der(type_) + der(0x31, b"".join(values)))


def _self_signed(certificate: bytes) -> bool:
    """An authority's certificate for its own next key has one name twice as well, and belongs to the path."""
    loaded = x509.load_der_x509_certificate(certificate)
    if loaded.subject != loaded.issuer:
        return False
    try:
        loaded.verify_directly_issued_by(loaded)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
