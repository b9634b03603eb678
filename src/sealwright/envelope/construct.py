"""From a prepared digest to what the key signs, and from its value to the signature as its verifiers read it (RULES 2).

| construction | the key signs | the signature |
| cms-attributes | the signed attributes, a DER SET | CMS with them (`cms_write`) |
| cms-bare:… | the content's digest | CMS without attributes and certificates (`bare`); UEFI has SignedData alone, with the certificate |
| digest:… | the content's digest | the value alone |
| tuf-metadata | the content: canonical JSON | the value alone |
| xmldsig | SignedInfo with the content's digest, in canonical form | the element Signature with it (`signedinfo`) |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.envelope.bare import bare_cms, content_info
from sealwright.envelope.cms_write import SigningCertificate, assemble, signed_attributes, to_be_signed
from sealwright.envelope.kinds import XMLDSIG_DETACHED, Carried, Construction, ContentKind
from sealwright.envelope.signedinfo import detached_info, signature_element, signed_info
from sealwright.envelope.tobesigned import Kind, ToBeSigned


def attributes_of(
    certificate: SigningCertificate, kind: ContentKind, digest: Digest, time: datetime, name: str = ""
) -> bytes:
    """The signed attributes for a digest of the content, or what stands in their place; nothing for a construction that has none.

    name: of the file that is signed, for the kind that says it; UsageError where it cannot.
    """
    if kind == XMLDSIG_DETACHED:
        return detached_info(digest, certificate.algorithm, name)
    if kind.construction is Construction.XMLDSIG:
        return signed_info(digest, certificate.algorithm)
    if kind.construction is not Construction.CMS_ATTRIBUTES:
        return b""
    return signed_attributes(certificate, kind, digest, time)


def asked_of_key(
    certificate: SigningCertificate, kind: ContentKind, digest: Digest, attributes: bytes, content: bytes | None = None
) -> ToBeSigned:
    """What the key is asked to sign. attributes: of `attributes_of`; content: where the kind's keys sign it whole."""
    algorithm = certificate.algorithm
    if kind.construction in (Construction.CMS_ATTRIBUTES, Construction.XMLDSIG):
        return to_be_signed(attributes, algorithm)
    if kind.construction is Construction.TUF and content is not None:
        return to_be_signed(content, algorithm)
    return ToBeSigned(Kind.MESSAGE if algorithm.signs_message else Kind.DIGEST, digest.value, algorithm)


def built(
    certificate: SigningCertificate,
    kind: ContentKind,
    attributes: bytes,
    value: bytes,
    tokens: Sequence[bytes] = (),
    content: bytes | None = None,
) -> bytes:
    """The signature for `attach`. tokens: timestamps over the value, where the construction carries them."""
    if kind.construction is Construction.CMS_ATTRIBUTES:
        return assemble(
            certificate, kind, attributes, value, tokens, None if kind.carried is Carried.BESIDE else content
        )
    if tokens:
        raise ValueError(f"a {kind.name} signature carries no timestamp")
    if kind.construction is Construction.XMLDSIG:
        return signature_element(certificate, attributes, value)
    if kind.construction is Construction.UEFI_VARIABLE:
        return bare_cms(certificate, value, bag=(certificate.der,))
    if kind.construction.value.startswith("cms-bare:"):
        return content_info(bare_cms(certificate, value))
    return value
