"""SignedInfo of XML signatures, and the element Signature around it (XMLDSig core 1.1, RFC 4051, RFC 9231).

    <Signature xmlns="…xmldsig#"><SignedInfo xmlns="…xmldsig#">…<DigestValue>…</DigestValue></Reference></SignedInfo>
    <SignatureValue>…</SignatureValue><KeyInfo><X509Data>…</X509Data></KeyInfo></Signature>

SignedInfo is to the document's digest what signed attributes are in CMS. It is written in the canonical form in which it is signed, so that
no canonicalisation stands between what the key signed and what is in the file. The document itself is digested in inclusive form: the
exclusive one leaves out namespaces that only values speak of, such as `xsi:type="di:DeviceType"`. A file beside is digested as it is, and
named by a URI of one part, its name (RFC 3986, section 4.2).
"""

from __future__ import annotations

import base64
import os
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    RSA_SHA256,
    RSA_SHA384,
    RSA_SHA512,
    PublicKey,
    SignatureAlgorithm,
)
from sealwright.envelope.certified import certified
from sealwright.envelope.cms_write import SigningCertificate
from sealwright.errors import UsageError

NAMESPACE = "http://www.w3.org/2000/09/xmldsig#"
ENVELOPED = NAMESPACE + "enveloped-signature"
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
INCLUSIVE_11 = "http://www.w3.org/2006/12/xml-c14n11"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_ENC = "http://www.w3.org/2001/04/xmlenc#"
DIGESTS = {_ENC + "sha256": HashName.SHA256, _MORE + "sha384": HashName.SHA384, _ENC + "sha512": HashName.SHA512}
SIGNATURES = {
    _MORE + "rsa-sha256": RSA_SHA256,
    _MORE + "rsa-sha384": RSA_SHA384,
    _MORE + "rsa-sha512": RSA_SHA512,
    _MORE + "ecdsa-sha256": ECDSA_SHA256,
    _MORE + "ecdsa-sha384": ECDSA_SHA384,
    _MORE + "ecdsa-sha512": ECDSA_SHA512,
}
_NAME_OF_DIGEST = {name: uri for uri, name in DIGESTS.items()}
_NAME_OF_SIGNATURE = {algorithm: uri for uri, algorithm in SIGNATURES.items()}
# no scheme, path, query or fragment
_ONE_PART = re.compile(r"(?:[\w.~!$&'()*+,;=@-]|[^\x00-\x7f]|%[0-9A-Fa-f]{2})+", re.ASCII)
_MAX_NAME_BYTES = 1024  # no file system that plants use has longer ones
_NO_FILE = (b".", b"..", b"-")  # xmlsec1 takes the last for its standard input


def signed_info(digest: Digest, algorithm: SignatureAlgorithm) -> bytes:
    """SignedInfo for a whole document, as it is signed. digest: of the document in inclusive canonical form without its signature."""
    transforms = _empty("Transform", ENVELOPED) + _empty("Transform", INCLUSIVE)
    return _signed_info(digest, algorithm, "", f"<Transforms>{transforms}</Transforms>")


def detached_info(digest: Digest, algorithm: SignatureAlgorithm, name: str) -> bytes:
    """SignedInfo for a file beside, as it is signed. digest: of all its bytes; name: its own, without folders.

    Raises UsageError for a name that programs would not take for a file's.
    """
    uri = quote_from_bytes(os.fsencode(name), safe="")
    if name_of(uri) is None:
        raise UsageError(repr(name), "no XML signature can be about a file of this name", "Give it another name.")
    return _signed_info(digest, algorithm, uri, "")


def name_of(uri: str) -> bytes | None:
    """The file's name that a URI is; None where it is, or could be read as, anything else."""
    if not _ONE_PART.fullmatch(uri):
        return None
    name = unquote_to_bytes(uri)
    wrong = name in _NO_FILE or b"/" in name or b"\0" in name or len(name) > _MAX_NAME_BYTES
    return None if wrong else name


def _signed_info(digest: Digest, algorithm: SignatureAlgorithm, uri: str, transforms: str) -> bytes:
    return (
        f'<SignedInfo xmlns="{NAMESPACE}">'
        + _empty("CanonicalizationMethod", EXCLUSIVE)
        + _empty("SignatureMethod", _NAME_OF_SIGNATURE[algorithm])
        + f'<Reference URI="{uri}">{transforms}'
        + _empty("DigestMethod", _NAME_OF_DIGEST[digest.algorithm])
        + f"<DigestValue>{_base64(digest.value)}</DigestValue></Reference></SignedInfo>"
    ).encode()


def signature_element(certificate: SigningCertificate, info: bytes, value: bytes) -> bytes:
    """The element to insert. info: of `signed_info`; value: in the encoding of CMS."""
    bag = "".join(f"<X509Certificate>{_base64(one)}</X509Certificate>" for one in (certificate.der, *certificate.chain))
    plain = _base64(value_as_written(value, certified(certificate.der).key))
    return (
        f'<Signature xmlns="{NAMESPACE}">'.encode()
        + info
        + f"<SignatureValue>{plain}</SignatureValue><KeyInfo><X509Data>{bag}</X509Data></KeyInfo></Signature>".encode()
    )


def value_as_written(value: bytes, key: PublicKey) -> bytes:
    """A value of CMS as XML has it: for ECDSA r and s at the length of the curve, one behind the other (RFC 4050, section 3.3)."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return value
    r, s = decode_dss_signature(value)
    size = _coordinate_bytes(key)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def value_as_read(written: bytes, key: PublicKey) -> bytes | None:
    """The reverse; None where the length is not the curve's."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return written
    size = _coordinate_bytes(key)
    if len(written) != 2 * size:
        return None
    return encode_dss_signature(int.from_bytes(written[:size], "big"), int.from_bytes(written[size:], "big"))


def _coordinate_bytes(key: ec.EllipticCurvePublicKey) -> int:
    return (key.curve.key_size + 7) // 8


def _empty(name: str, algorithm: str) -> str:
    return f'<{name} Algorithm="{algorithm}"></{name}>'


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
