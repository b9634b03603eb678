"""Certificate requests (PKCS#10, RFC 2986) for keys in any backend, so that an existing PKI can certify them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import UsageError
from sealwright.keys.key import OpenKey
from sealwright.pki.external_key import external_key, signature_hash, signature_padding


def certificate_request(key: OpenKey, subject: str) -> bytes:
    """A request in PEM, signed by the key. subject: RFC 4514 text; UsageError if it is none, KeyRefused for ML-DSA."""
    try:
        name = x509.Name.from_rfc4514_string(subject)
    except ValueError as cause:
        raise UsageError("--subject", f"{subject!r} is no name", "Write it like CN=Release 2026,O=ACME.") from cause
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    request = builder.sign(
        external_key(key),
        signature_hash(key),  # type: ignore[arg-type]
        rsa_padding=signature_padding(key),
    )
    return request.public_bytes(Encoding.PEM)
