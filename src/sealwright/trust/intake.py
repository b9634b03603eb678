"""What officers are handed, read for a trust file: certificates (PEM, DER, PKCS#7), public keys (PEM, DER, or inside a certificate).

Nothing is believed here: the caller shows subject, digest and dates, and people compare them over another channel.
"""

from __future__ import annotations

from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
    pkcs7,
)

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import PublicKey, algorithm_for, check_encoding, key_digest
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import UsageError
from sealwright.trust.certificate import display_name, load_certificate

MAX_INPUT_BYTES = 1 << 20
MAX_CERTIFICATES = 64


def certificates_in(path: str) -> list[bytes]:
    """Every certificate of a file, as DER, in order; UsageError where it holds none, or one that cannot be used."""
    data = read_file(path, MAX_INPUT_BYTES)
    try:
        found = _read(data)
    except UNREADABLE as cause:
        raise _no_certificate(path) from cause
    ders = list(dict.fromkeys(one.public_bytes(Encoding.DER) for one in found))
    if not 1 <= len(ders) <= MAX_CERTIFICATES:
        raise _no_certificate(path)
    for der in ders:
        load_certificate(der, path)
    return ders


def certificate_in(path: str) -> bytes:
    """The one certificate meant by a file: the only one, or of a chain the only self-issued one; UsageError where that is not clear."""
    ders = certificates_in(path)
    if len(ders) == 1:
        return ders[0]
    loaded = [(der, load_certificate(der, path)) for der in ders]
    roots = [der for der, one in loaded if one.subject == one.issuer]
    if len(roots) == 1:
        return roots[0]
    raise _several(path, loaded)


def signer_in(path: str) -> bytes:
    """The signer's certificate of a file: the only one, or the one that issued none of the others; UsageError where that is not clear."""
    ders = certificates_in(path)
    loaded = [(der, load_certificate(der, path)) for der in ders]
    issuers = {one.issuer.public_bytes() for _, one in loaded if one.issuer != one.subject}
    leaves = [der for der, one in loaded if one.subject.public_bytes() not in issuers]
    if len(ders) == 1 or len(leaves) == 1:
        return leaves[0] if len(leaves) == 1 else ders[0]
    raise _several(path, loaded)


def _several(path: str, loaded: list[tuple[bytes, x509.Certificate]]) -> UsageError:
    names = "; ".join(display_name(one.subject) for _, one in loaded[:8])
    return UsageError(path, f"it holds {len(loaded)} certificates ({names})", "Give a file with the one that you mean.")


def pem_of(der: bytes) -> str:
    """A certificate as the trust file holds it."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def public_key_in(path: str) -> PublicKey:
    """A public key, given as one or inside a certificate; UsageError where it is none (a private key is none)."""
    data = read_file(path, MAX_INPUT_BYTES)
    key: object = None
    for load in (load_pem_public_key, load_der_public_key):
        try:
            key = load(data)
            break
        except (ValueError, UnsupportedAlgorithm):
            continue
    certified = key is None
    if certified:
        try:
            key = load_certificate(signer_in(path), path).public_key()
        except UsageError as cause:
            raise UsageError(
                path,
                "it is neither a public key nor a certificate",
                "Fetch the public half: `sealwright key show`, or openssl pkey -pubout.",
            ) from cause
    algorithm_for(key, subject=path)
    if not certified:
        check_encoding(cast("PublicKey", key), data, subject=path)
    return cast("PublicKey", key)


def public_pem(key: PublicKey) -> str:
    """A public key as `[officers]` holds it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key_named(text: str) -> str:
    """The digest of a key: given as such, or of the key in a file."""
    return text if _is_digest(text) else str(key_digest(public_key_in(text)))


def certificate_named(text: str) -> str:
    """The digest of a certificate's TBSCertificate: given as such, or of the certificate in a file."""
    if _is_digest(text):
        return text
    return str(Digest.of(load_certificate(signer_in(text), text).tbs_certificate_bytes))


def _read(data: bytes) -> list[x509.Certificate]:
    if b"-----BEGIN PKCS7-----" in data:
        return pkcs7.load_pem_pkcs7_certificates(data)
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)
    try:
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        return pkcs7.load_der_pkcs7_certificates(data)


def _is_digest(text: str) -> bool:
    try:
        Digest.parse(text)
    except ValueError:
        return False
    return True


def _no_certificate(path: str) -> UsageError:
    return UsageError(
        path, "there is no certificate in it that can be read", "Give certificates in PEM, DER or PKCS#7 (.p7b)."
    )
