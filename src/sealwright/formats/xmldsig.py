"""XML documents with an enveloped signature: AutomationML, PLCopen XML, OPC UA NodeSet2 and others.

    xmlsec1 --verify --enabled-key-data x509 --trusted-pem ca.pem signed.aml

| part | to the signature |
| elements, attributes, namespaces, texts, processing instructions | hashed in canonical form, so the whole document |
| the element Signature, last in the first element | signature: SignedInfo with the document's digest is what the key signs |
| XML declaration, byte order mark, comments between elements, white space in tags and beside the first element, order of attributes | uncovered |

Accepted is one signature over the whole document (`URI=""`) and nothing else, so that what is verified is what is used (A082). Inserting
and removing it changes no other byte. A signature beside the file: `xmldetached.py`. Sources: XML Signature Syntax and Processing 1.1; RFC 3275.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import Any

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.cms import Envelope
from sealwright.envelope.kinds import XMLDSIG
from sealwright.envelope.signedinfo import NAMESPACE
from sealwright.errors import UsageError
from sealwright.formats.asked import refuse_but_one
from sealwright.formats.format import (
    Candidate,
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.xmlsignature import read_enveloped, signers
from sealwright.formats.xmlstrict import (
    MAX_BYTES,
    Form,
    Layout,
    Span,
    canonical,
    check_namespaces_seen,
    read_layout,
    tree,
    without,
)

NAME = "xmldsig"
_BOM = b"\xef\xbb\xbf"
_ENDINGS = (".xml", ".aml", ".caex")
_TAIL_BYTES = 1 << 16
_ELEMENT = re.compile(rb"<(?:[^\s<>/:=\"'?!&]+:)?Signature[\s/>]")
_NODESET = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
_PLCOPEN = "{http://www.plcopen.org/xml/tc6"


class XmlDsig:
    """The format for XML documents."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """What begins as XML, or has the element Signature; of a file beyond the limit only what ends with one."""
        if source.size > MAX_BYTES:
            return _looks_signed(source.read_at(source.size - _TAIL_BYTES, _TAIL_BYTES))
        head = source.read_at(0, 8).removeprefix(_BOM)
        if head.startswith(b"<?xml") or (head.startswith(b"<") and source.path.lower().endswith(_ENDINGS)):
            return True
        return _mentions_signatures(source)

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims that are not the document's own, and for `--add`; MalformedArtifact for what is not read strictly."""
        (name,) = algorithms
        data, layout = _read(path)
        if progress is not None:
            progress.advance(layout.size)
        refuse_but_one(path, layout.signature is not None, existing, "a document has one signature over all of it")
        if layout.closing.start == layout.closing.end:
            raise UsageError(path, "its first element is empty, and has no room for a signature", "Sign beside it.")
        root = tree(without(data, layout.signature), path)
        own = claims_of(root)
        _check_claims(path, claims, own)
        digest = Digest.of(canonical(root.getroottree(), Form.INCLUSIVE, path), name)
        return Prepared(
            NAME, XMLDSIG.name, path, {name: digest}, None, layout.size, _coverage(layout), own, existing=existing
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The document with its signature in front of the last end tag."""
        path = prepared.path
        _, layout = _read(path)
        end = layout.closing.start
        kept = [FileRange(path, 0, end)] if layout.signature is None else _around(path, layout.signature, end)
        return (*kept, sealed.envelope, FileRange(path, end, layout.size - end))

    def strip(self, path: str) -> Parts:
        """The document without the element Signature."""
        _, layout = _read(path)
        if layout.signature is None:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        return tuple(_around(path, layout.signature, layout.size))

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate, or none. A document without the element is not read further, whatever else is wrong with it."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            data = source.read(MAX_BYTES) if _mentions_signatures(source) else b""
            if not _looks_signed(data):
                return Found(path, source.size, (), None)
            whole = watched_digests(source, search)
            source.check_unchanged()
        layout = read_layout(data, name, NAMESPACE)
        if layout.signature is None:
            return Found(path, layout.size, (), None)
        signature = read_enveloped(data, layout, name)
        content = without(data, layout.signature)
        form = signature.reference.form or Form.INCLUSIVE
        if form is Form.EXCLUSIVE:
            check_namespaces_seen(content, name)
        root = tree(content, name)
        hashed = canonical(root.getroottree(), form, name)
        wanted = {
            HashName.SHA256,
            signature.reference.digest.algorithm,
            *(digest.algorithm for digest in search.watched),
        }
        delivered = {algorithm: Digest.of(hashed, algorithm) for algorithm in wanted}
        candidate = Candidate(
            source=name,
            slot=Slot.MAKER,
            format=NAME,
            kind=XMLDSIG.name,
            envelope=Envelope("", None, signature.certificates, signers(signature, XMLDSIG, name)),
            digests=delivered,
            artifact=delivered[HashName.SHA256],
            claims=claims_of(root),
            coverage=_coverage(layout),
            contents=(*delivered.values(), *whole),
            name=name,
        )
        structure = (f"root {root.tag}", f"hashed in {form.name.lower()} canonical form")
        return Found(path, layout.size, (candidate,), delivered[HashName.SHA256], structure=structure)


def claims_of(root: Any) -> Claims:
    """What a document says of itself where there is one place for it: the model of a NodeSet, the content header of PLCopen XML.

    The file header of PLCopen XML and the source of AutomationML name the tool that wrote the file, and that is no product.
    """
    if root.tag == f"{_NODESET}UANodeSet":
        models = [one for part in root.findall(f"{_NODESET}Models") for one in part.findall(f"{_NODESET}Model")]
        keys = ("ModelUri", "Version")
    elif isinstance(root.tag, str) and root.tag.startswith(_PLCOPEN) and root.tag.endswith("}project"):
        space = root.tag[: root.tag.index("}") + 1]
        models, keys = root.findall(f"{space}contentHeader"), ("name", "version")
    else:
        return Claims()
    if len(models) != 1:
        return Claims()
    product, version = (_plain(models[0].get(key)) for key in keys)
    return Claims(product=product, version=version)


def _read(path: str) -> tuple[bytes, Layout]:
    with open_artifact(path) as source:
        data = source.read(MAX_BYTES)
    return data, read_layout(data, path, NAMESPACE)


def _mentions_signatures(source: OpenArtifact) -> bool:
    """Whether the namespace is in a file; most have no signature, and are not taken into memory."""
    wanted, before = NAMESPACE.encode(), b""
    for block in source.blocks([(0, source.size)]):
        piece = before + bytes(block)
        if wanted in piece:
            return True
        before = piece[-len(wanted) :]
    return False


def _looks_signed(data: bytes) -> bool:
    return NAMESPACE.encode() in data and _ELEMENT.search(data) is not None


def _around(path: str, signature: Span, end: int) -> list[FileRange]:
    return [FileRange(path, 0, signature.start), FileRange(path, signature.end, end - signature.end)]


def _check_claims(path: str, asked: Claims, own: Claims) -> None:
    if asked.generation is not None or asked.hardware or asked.environment:
        raise UsageError(
            path,
            "an XML document has no field for generation, hardware or environment",
            "Leave them out, or sign the result again with a manifest.",
        )
    for what, wanted, there in (("product", asked.product, own.product), ("version", asked.version, own.version)):
        if wanted is not None and wanted != there:
            said = f"the document says {what} {there}" if there is not None else f"the document says no {what}"
            raise UsageError(path, said, f"Leave out --{what}, or sign the result again with a manifest.")


def _coverage(layout: Layout) -> Coverage:
    """Comments, and what stands outside the root and is no instruction, are not hashed; white space in tags cannot be told here."""
    root, signature = layout.root, layout.signature or Span(0, 0)
    marks = [Range(*span, Extent.HASHED) for span in layout.instructions if not _within(span, root)]
    comments = [span for span in layout.comments if _within(span, root) and not _within(span, signature)]
    marks += [Range(*span, Extent.UNCOVERED, "a comment") for span in comments]
    if layout.signature is not None:
        marks.append(Range(*signature, Extent.SIGNATURE))
    ground = (
        Range(
            0, root.start, Extent.UNCOVERED, "XML declaration, comments and white space in front of the first element"
        ),
        Range(*root, Extent.HASHED),
        Range(root.end, layout.size, Extent.UNCOVERED, "comments and white space behind the first element"),
    )
    ranges: list[Range] = []
    at = 0
    for mark in (*sorted(marks), Range(layout.size, layout.size, Extent.HASHED)):
        for part in ground:
            start, end = max(at, part.start), min(mark.start, part.end)
            if start < end:
                ranges.append(part._replace(start=start, end=end))
        if mark.start < mark.end:
            ranges.append(mark)
        at = mark.end
    return Coverage(tuple(ranges))


def _within(span: Span, other: Span) -> bool:
    return other.start <= span.start < other.end


def _plain(value: str | None) -> str | None:
    fits = value is not None and 0 < len(value) <= 200 and value.isprintable() and value == value.strip()
    return value if fits else None
