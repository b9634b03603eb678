"""The element Signature of XML, read strictly: one over the whole document or over one file beside, and nothing in it that nobody looks at.

    <Signature><SignedInfo>canonical form, signature method, Reference URI="" with its transforms and digest</SignedInfo>
        <SignatureValue/><KeyInfo><X509Data><X509Certificate/>…</X509Data></KeyInfo></Signature>

One that is the first element of its own file (detached) has URI="the file's name" and no transforms: signed are that file's bytes.
Refused: each of the two in the place of the other, references to parts (`#id`), several references, transforms other than
enveloped-signature and one canonical form without comments, XPath and XSLT, HMAC, SHA-1, ds:Object, KeyValue and other names of keys.
A key counts by the path of its certificate alone.
Source: XML Signature Syntax and Processing 1.1, sections 4 and 6.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from OpenSSL import crypto

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import SignatureAlgorithm, belongs, check_signature
from sealwright.envelope.asn1 import MAX_CERTIFICATES, TbsCertificate
from sealwright.envelope.certified import UNREADABLE, certified_or_none, short
from sealwright.envelope.cms import BrokenSigner, Signer
from sealwright.envelope.kinds import ContentKind
from sealwright.envelope.signedinfo import (
    DIGESTS,
    ENVELOPED,
    EXCLUSIVE,
    INCLUSIVE,
    INCLUSIVE_11,
    NAMESPACE,
    SIGNATURES,
    name_of,
    value_as_read,
)
from sealwright.errors import BadSignature, MalformedArtifact, MalformedEnvelope, UnknownSigner, WeakAlgorithm
from sealwright.formats.xmlstrict import AS_ROOT, TAG, Form, Layout, Span, canonical, read_layout, tree

T = TypeVar("T")
MAX_SIGNATURE_BYTES = 1 << 20
_FORMS = {INCLUSIVE: Form.INCLUSIVE, INCLUSIVE_11: Form.INCLUSIVE, EXCLUSIVE: Form.EXCLUSIVE}
_SPACE = " \t\r\n"
_WITHOUT_SPACE = str.maketrans("", "", _SPACE)
_XML = "{http://www.w3.org/XML/1998/namespace}"
_TAKEN = ("lang", "space")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"})
_WEAK = re.compile(r"#(?:rsa-|dsa-|ecdsa-)?(?:sha1|md5|ripemd160)\Z")
_AGAIN = "Ask its maker for the document again."


class Reference(NamedTuple):
    """What one signature is over. form: in which the document around it was digested; None for a file beside, as it is.

    name: of that file; empty for the document.
    """

    digest: Digest
    form: Form | None = None
    name: bytes = b""


class XmlSignature(NamedTuple):
    """One element Signature. info: SignedInfo in canonical form; reference: what it is over.

    written: the value as XML has it; certificates: DER, as they came.
    """

    info: bytes
    reference: Reference
    algorithm: SignatureAlgorithm
    written: bytes
    certificates: tuple[bytes, ...]


def read_enveloped(data: bytes, layout: Layout, name: str) -> XmlSignature:
    """The element Signature, alone in the root's tags, so with the namespaces that it has in the document.

    MalformedEnvelope where it is not one over the whole document, by the algorithms and with the parts that are accepted.
    """
    span = layout.signature or Span(0, 0)
    if span.end - span.start > MAX_SIGNATURE_BYTES:
        raise _wrong(name, f"it has {span.end - span.start} bytes, and at most {MAX_SIGNATURE_BYTES} are read")
    small = data[slice(*layout.opening)] + data[slice(*span)] + data[slice(*layout.closing)]
    root = tree(small, name)
    (signature,) = root
    return _read(root, signature, _to_document, name)


def read_detached(data: bytes, name: str) -> XmlSignature:
    """The signature that a file is. name: of it, for errors.

    MalformedEnvelope where it is not one over a file beside, by the algorithms and with the parts that are accepted.
    """
    try:
        layout = read_layout(data, name, NAMESPACE, AS_ROOT)
        if layout.signature is None:
            raise _wrong(name, "it is not the first element")
        root = tree(data[slice(*layout.root)], name)
    except MalformedArtifact as cause:
        raise _wrong(name, cause.what) from cause
    return _read(root, root, _to_file, name)


def _read(root: Any, signature: Any, read_reference: Callable[[Any, str], Reference], name: str) -> XmlSignature:
    """root: what signature stands in, or it itself."""
    _attributes(signature, name, optional=("Id",))
    info, value, key_info = _children(signature, name, "SignedInfo", "SignatureValue", "KeyInfo")
    _attributes(info, name)
    method, signing, reference = _children(info, name, "CanonicalizationMethod", "SignatureMethod", "Reference")
    form = _algorithm(method, name, _FORMS)
    others = [key for key in root.attrib if key.startswith(_XML) and key.removeprefix(_XML) not in _TAKEN]
    if form is Form.INCLUSIVE and others:
        what = f"its SignedInfo is signed in inclusive form, and the forms differ in taking xml:{others[0].removeprefix(_XML)} from around it"
        raise _wrong(name, what)
    target = read_reference(reference, name)
    _attributes(value, name, optional=("Id",))
    return XmlSignature(
        _canonical_info(root, info, form, name),
        target,
        _algorithm(signing, name, SIGNATURES),
        _base64(value, name),
        _certificates(key_info, name),
    )


def _canonical_info(root: Any, info: Any, form: Form, name: str) -> bytes:
    """SignedInfo as the top of a canonical form: as in that of the whole, and its tag has what it takes from around it.

    In the inclusive form these are the namespaces in scope and the root's xml:lang and xml:space; Signature has no attributes of that kind.
    All elements in it have its prefix, so that in the exclusive form its own namespace is the only one.
    """
    whole = canonical(root.getroottree(), form, name)
    start = -1
    for _ in (info, *info.iterancestors()):
        start = whole.index(b"<", start + 1)
    tag = TAG.match(whole, start)
    qualified = f"{info.prefix}:SignedInfo" if info.prefix else "SignedInfo"
    end = whole.index(f"</{qualified}>".encode(), start)
    if tag is None or tag.end() > end:
        raise _wrong(name, "SignedInfo has no canonical form")
    scope = {info.prefix: NAMESPACE} if form is Form.EXCLUSIVE else info.nsmap
    declared = "".join(
        f' xmlns{f":{prefix}" if prefix else ""}="{scope[prefix]}"'
        for prefix in sorted(scope, key=lambda prefix: prefix or "")
        if scope[prefix] and prefix != "xml"
    )
    if form is Form.INCLUSIVE:
        taken = [(key, root.attrib[_XML + key]) for key in _TAKEN if _XML + key in root.attrib]
        declared += "".join(f' xml:{key}="{value.translate(_ESCAPES)}"' for key, value in taken)
    return f"<{qualified}{declared}>".encode() + whole[tag.end() : end] + f"</{qualified}>".encode()


def _to_file(reference: Any, name: str) -> Reference:
    _attributes(reference, name, required=("URI",), optional=("Id",))
    uri = reference.get("URI")
    if (target := name_of(uri)) is None:
        raise _wrong(name, f"it signs {uri[:80]!r}, which is not the name of a file beside it")
    method, value = _children(reference, name, "DigestMethod", "DigestValue")
    return Reference(_digest(method, value, name), name=target)


def _to_document(reference: Any, name: str) -> Reference:
    _attributes(reference, name, required=("URI",), optional=("Id",))
    if reference.get("URI") != "":
        raise _wrong(name, f"it signs {reference.get('URI')[:80]!r} and not the whole document")
    transforms, method, value = _children(reference, name, "Transforms", "DigestMethod", "DigestValue")
    _attributes(transforms, name)
    steps = [one for one in transforms if one.tag == f"{{{NAMESPACE}}}Transform"]
    _children(transforms, name, *("Transform" for _ in steps))
    if not 1 <= len(steps) <= 2 or _algorithm(steps[0], name, {ENVELOPED: True}) is not True:
        raise _wrong(name, "its transforms are not enveloped-signature and one canonical form")
    form = _algorithm(steps[1], name, _FORMS) if len(steps) == 2 else Form.INCLUSIVE
    return Reference(_digest(method, value, name), form)


def _digest(method: Any, value: Any, name: str) -> Digest:
    algorithm = _algorithm(method, name, DIGESTS)
    _attributes(value, name)
    digest = _base64(value, name)
    if len(digest) != algorithm.size:
        raise _wrong(name, f"a digest of {len(digest)} bytes for {algorithm}")
    return Digest(algorithm, digest)


def _certificates(key_info: Any, name: str) -> tuple[bytes, ...]:
    """The bag: which of them is trusted, the path to an anchor decides, and no key counts without a certificate."""
    _attributes(key_info, name, optional=("Id",))
    (part,) = _children(key_info, name, "X509Data")
    _attributes(part, name)
    every = _children(part, name, *("X509Certificate" for _ in part))
    if len(every) > MAX_CERTIFICATES:
        raise _wrong(name, f"{len(every)} certificates, and at most {MAX_CERTIFICATES} are read")
    for one in every:
        _attributes(one, name)
    bag = tuple(_base64(one, name) for one in every)
    for one in bag:
        try:
            # OpenSSL as well: xmlsec1 refuses a bag with a name in it that is no UTF-8
            crypto.X509.from_cryptography(x509.load_der_x509_certificate(one))
            _names(one)
        except (*UNREADABLE, crypto.Error) as cause:
            raise _wrong(name, f"a certificate in it cannot be read: {short(cause)}") from cause
    return bag


def signers(signature: XmlSignature, kind: ContentKind, name: str) -> tuple[Signer | BrokenSigner, ...]:
    """Those of the bag whose key made the value; where it is nobody's, those that could have, to be refused with the reason."""
    of_type: list[Signer] = []
    made: list[Signer] = []
    for one in dict.fromkeys(signature.certificates):
        known = certified_or_none(one)
        if known is None or not belongs(known.algorithm, signature.algorithm):
            continue
        value = value_as_read(signature.written, known.key)
        if value is None:
            continue
        signer = Signer(
            one,
            known.key,
            signature.reference.digest,
            signature.algorithm,
            value,
            signature.info,
            None,
            kind.name,
            (),
            False,
            (),
        )
        of_type.append(signer)
        try:
            check_signature(known.key, signature.algorithm, value, signature.info, subject=name)
        except BadSignature:
            continue
        made.append(signer)
    if not of_type:
        what = f"no certificate in it has a key for {signature.algorithm.name} and this value"
        return (BrokenSigner(UnknownSigner(name, what, "Ask the signer to put the certificate into KeyInfo.")),)
    if made and _has_stranger(signature.certificates, {one.certificate for one in made}):
        what = "a certificate in it is neither the signer's nor of an authority above, and programs take its key for the signer's"
        return (BrokenSigner(_wrong(name, what)),)
    return tuple(made or of_type)


def _has_stranger(bag: Collection[bytes], own: Collection[bytes]) -> bool:
    """Whether one of the certificates neither holds the signer's key nor issued another (XML Signature 4.5.4); xmlsec1 tries the first of these."""
    names = {one: _names(one) for one in bag}
    issuers = {issuer for issuer, subject in names.values() if issuer != subject}
    return any(one not in own and subject not in issuers for one, (_, subject) in names.items())


def _names(certificate: bytes) -> tuple[bytes, bytes]:
    """Issuer and subject in DER. Raises one of UNREADABLE."""
    body = asn1.decode_der(TbsCertificate, x509.load_der_x509_certificate(certificate).tbs_certificate_bytes)
    return asn1.encode_der(body.issuer), asn1.encode_der(body.subject)


def _children(element: Any, name: str, *tags: str) -> list[Any]:
    """Exactly these elements of the namespace, with nothing but white space between them."""
    found = list(element)
    if [one.tag for one in found] != [f"{{{NAMESPACE}}}{tag}" for tag in tags]:
        there = ", ".join(str(one.tag).rpartition("}")[2] if isinstance(one.tag, str) else "a comment" for one in found)
        wanted = ", ".join(dict.fromkeys(tags))
        raise _wrong(name, f"{_local(element)} has {there or 'nothing'} in it, where {wanted or 'nothing'} may be")
    if any(one.prefix != element.prefix for one in found):
        raise _wrong(name, f"{_local(element)} and its elements have different prefixes")
    for text in (element.text, *(one.tail for one in found)):
        if text and text.strip(_SPACE):
            raise _wrong(name, f"{_local(element)} has text between its elements")
    return found


def _attributes(element: Any, name: str, required: Collection[str] = (), optional: Collection[str] = ()) -> None:
    there = set(element.attrib)
    if not set(required) <= there or not there <= {*required, *optional}:
        raise _wrong(name, f"{_local(element)} has the attributes {', '.join(sorted(there)) or '(none)'}")


def _algorithm(element: Any, name: str, known: Mapping[str, T]) -> T:
    _attributes(element, name, required=("Algorithm",))
    _children(element, name)
    uri = element.get("Algorithm")
    if uri not in known:
        if _WEAK.search(uri):
            raise WeakAlgorithm(name, f"{_local(element)} {uri[:120]!r}", "Ask the signer for a SHA-2 signature.")
        raise _wrong(name, f"{_local(element)} {uri[:120]!r} is not accepted")
    return known[uri]


def _base64(element: Any, name: str) -> bytes:
    if len(element):
        raise _wrong(name, f"{_local(element)} has more than text in it")
    plain = (element.text or "").translate(_WITHOUT_SPACE)
    try:
        decoded = base64.b64decode(plain, validate=True)
    except ValueError as cause:
        raise _wrong(name, f"{_local(element)} is not base64") from cause
    if not decoded or base64.b64encode(decoded).decode() != plain:
        raise _wrong(name, f"{_local(element)} is empty, or not base64 as it is written")
    return decoded


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _wrong(name: str, what: str) -> MalformedEnvelope:
    return MalformedEnvelope(name, f"its XML signature: {what}", _AGAIN)
