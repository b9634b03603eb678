"""Certificates as no issuer of ours would make them: every field can be wrong, missing or signed by the wrong key.

root = made("root", ca=True)
below = made("CA", root, ca=True)
leaf = made("signer", below)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealwright.envelope.asn1 import TbsCertificate

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING.dotted_string
UNKNOWN_CRITICAL = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
_SIGN = "digital_signature"
_CA = "key_cert_sign crl_sign"


@dataclass(frozen=True)
class Made:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def name(common: str) -> x509.Name:
    """CN=common."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usages(words: str) -> x509.KeyUsage:
    """A key usage of the named bits."""
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    bits = {bit: bit in words.split() for bit in every.split()}
    return x509.KeyUsage(**bits, encipher_only=False, decipher_only=False)


def made(
    common: str,
    issuer: Made | None = None,
    *,
    ca: bool = False,
    key: Any = None,
    subject: x509.Name | None = None,
    issuer_name: x509.Name | None = None,
    signed_by: Any = None,
    constraints: x509.BasicConstraints | None = None,
    usage: str | None = "",
    purposes: Sequence[str] | None = None,
    before: datetime = NOW - 100 * DAY,
    after: datetime = NOW + 100 * DAY,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    without: str = "",
    hashed: hashes.HashAlgorithm | None = None,
    serial: int | None = None,
) -> Made:
    """A certificate of the issuer (itself where None).

    ca: sets the usual constraints and usage; usage: words of `usages`, "" the usual, None leaves it out; purposes: None
    means code signing for a leaf and none for a CA; without: words of "constraints", "aki", "ski"; signed_by: a private
    key other than the issuer's.
    """
    own = key or ec.generate_private_key(ec.SECP256R1())
    signer = signed_by or (issuer.key if issuer else own)
    subject = subject if subject is not None else name(common)
    above = issuer_name or (issuer.certificate.subject if issuer else subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(own.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(before)
        .not_valid_after(after)
    )
    if "constraints" not in without:
        basic = constraints or x509.BasicConstraints(ca=ca, path_length=None)
        builder = builder.add_extension(basic, critical=True)
    if usage is not None:
        builder = builder.add_extension(usages(usage or (_CA if ca else _SIGN)), critical=True)
    wanted = purposes if purposes is not None else (() if ca else (CODE_SIGNING,))
    if wanted:
        oids = [x509.ObjectIdentifier(oid) for oid in wanted]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    if "ski" not in without:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    if "aki" not in without and issuer is not None:
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(aki, critical=False)
    for value, critical in extra:
        builder = builder.add_extension(value, critical=critical)
    return Made(builder.sign(signer, hash_of(signer, hashed)), own)


def hash_of(key: Any, wanted: hashes.HashAlgorithm | None = None) -> hashes.HashAlgorithm | None:
    """What a key signs with: nothing where the key hashes itself."""
    pure = (
        ed25519.Ed25519PrivateKey,
        ed448.Ed448PrivateKey,
        mldsa.MLDSA44PrivateKey,
        mldsa.MLDSA65PrivateKey,
        mldsa.MLDSA87PrivateKey,
    )
    return None if isinstance(key, pure) else wanted or hashes.SHA256()


def resigned(one: Made, issuer_key: rsa.RSAPrivateKey, hashed: hashes.HashAlgorithm) -> Made:
    """The certificate signed again with RSA and SHA-1 or MD5, which no builder does any more.

    It was signed with RSA and SHA-256 before; the identifiers have the same length.
    """
    arc = {"sha1": b"\x05", "md5": b"\x04"}[hashed.name]
    rsa_with = bytes.fromhex("300d06092a864886f70d0101")
    tbs = one.certificate.tbs_certificate_bytes.replace(rsa_with + b"\x0b", rsa_with + arc)
    value = issuer_key.sign(tbs, padding.PKCS1v15(), hashed)
    body = tbs + rsa_with + arc + b"\x05\x00" + tlv(3, b"\x00" + value)
    return Made(x509.load_der_x509_certificate(tlv(0x30, body)), one.key)


def tlv(tag: int, body: bytes) -> bytes:
    """One DER value."""
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag]) + (size if len(body) < 128 else bytes([0x80 | len(size)]) + size) + body


@dataclass(frozen=True)
class Chain:
    """Root, one CA, one signer."""

    root: Made
    ca: Made
    leaf: Made


def chain(**leaf: Any) -> Chain:
    """A plain path of three; the leaf made as told."""
    root = made("root", ca=True)
    ca = made("CA", root, ca=True)
    return Chain(root, ca, made("signer", ca, **leaf))


def listed(
    issuer: Made,
    *entries: x509.RevokedCertificate,
    number: int | None = 1,
    this_update: datetime = NOW - DAY,
    next_update: datetime | None = NOW + 10 * DAY,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    signed_by: Any = None,
    issuer_name: x509.Name | None = None,
    hashed: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A CRL in DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer_name or issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update or this_update)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for value, critical in extra:
        builder = builder.add_extension(value, critical=critical)
    for one in entries:
        builder = builder.add_revoked_certificate(one)
    signer = signed_by or issuer.key
    return builder.sign(signer, hash_of(signer, hashed)).public_bytes(Encoding.DER)


def entry(
    certificate: x509.Certificate | int,
    date: datetime,
    reason: x509.ReasonFlags | None = None,
    invalid: datetime | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.RevokedCertificate:
    """One line of a CRL."""
    serial = certificate if isinstance(certificate, int) else certificate.serial_number
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date)
    if reason is not None:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    if invalid is not None:
        builder = builder.add_extension(x509.InvalidityDate(invalid), critical=False)
    for value, critical in extra:
        builder = builder.add_extension(value, critical=critical)
    return builder.build()


def rebuilt(one: Made, issuer_key: ec.EllipticCurvePrivateKey, **parts: bytes | int) -> bytes:
    """The certificate in DER with parts of its TBSCertificate replaced (encoded, or a number), signed anew with ECDSA and SHA-256.

    Not loaded: what no builder makes, a parser may refuse.
    """
    body = asn1.decode_der(TbsCertificate, one.certificate.tbs_certificate_bytes)
    for part, value in parts.items():
        setattr(body, part, asn1.decode_der(asn1.TLV, value) if isinstance(value, bytes) else value)
    tbs = asn1.encode_der(body)
    value = issuer_key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, tbs + bytes.fromhex("300a06082a8648ce3d040302") + tlv(3, b"\x00" + value))


def odd_name(tag: int, text: bytes) -> bytes:
    """A Name with one common name whose value has any tag, in DER."""
    return tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403") + tlv(tag, text))))
