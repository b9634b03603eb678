"""XML read strictly: where things stand in the bytes, and the canonical form that is hashed.

Two parsers that know nothing of each other read every document, and both must accept it: expat, from the standard library, tells the places;
libxml2 (lxml, the extra `xml`) makes the canonical form. Refused, with the line, is what programs read differently, or what makes them work
for hours: document types and so all entities, encodings other than UTF-8, XML 1.1, comments or CDATA sections that split a text, an Id that
is there twice, too many or too deep elements.
Sources: XML 1.0 (fifth edition), Namespaces in XML 1.0, Canonical XML 1.0, Exclusive XML Canonicalization 1.0.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any, NamedTuple, NoReturn
from xml.parsers import expat

from sealwright.errors import LimitExceeded, MalformedArtifact, Unreadable

MAX_BYTES = 64 << 20
MAX_DEPTH = 200
MAX_NODES = 2_000_000
MAX_ATTRIBUTES = 256
MAX_NAMESPACES = 64
MAX_COMMENTS = 10_000
# libxml2 looks, for each element, for each namespace in scope, upwards through all elements around it
MAX_STEPS = 500_000_000
AS_ROOT, IN_ROOT = 1, 2  # how deep an element stands
_PLACES = {AS_ROOT: "as the first element", IN_ROOT: "as a child of the first element"}
_SEPARATOR = "\x0c"  # in no name and no namespace: XML does not allow it anywhere
_IDS = frozenset(("Id", "ID", f"http://www.w3.org/XML/1998/namespace{_SEPARATOR}id{_SEPARATOR}xml"))
TAG = re.compile(rb"""<(?:[^<>"']++|"[^"]*+"|'[^']*+')++>""")
# libxml2 writes these into a namespace as they are, Canonical XML wants them escaped
_MARKUP = re.compile("[&<>\"'\\s]")
_NAMED = re.compile(r"(?<![\w.-])([\w.-]++):")  # a prefix of other letters counts as named
_AGAIN = "Ask its maker for the document again."
_INCLUSIVE = "Ask its maker to sign it in inclusive canonical form (C14N 1.0)."


class Form(Enum):
    """The two kinds of canonical XML. For a whole document Canonical XML 1.1 is the same as 1.0."""

    INCLUSIVE = auto()
    EXCLUSIVE = auto()


class Span(NamedTuple):
    """Bytes start <= i < end of the document."""

    start: int
    end: int


class Layout(NamedTuple):
    """root: from its start tag to its end tag; opening: the start tag; closing: the end tag, empty for `<root/>`.

    signature: the one XML signature, a child of the root or the root itself, or None; comments, instructions: all, wherever they stand.
    """

    size: int
    root: Span
    opening: Span
    closing: Span
    signature: Span | None
    comments: tuple[Span, ...]
    instructions: tuple[Span, ...]


def read_layout(data: bytes, path: str, signature: str, depth: int = IN_ROOT) -> Layout:
    """Where things stand. signature: the namespace whose elements may stand in one element `Signature` alone.

    depth: where that is, a child of the root or the root itself.
    """
    if len(data) > MAX_BYTES:
        raise LimitExceeded(path, f"XML of {len(data)} bytes", f"At most {MAX_BYTES} bytes are read.")
    reading = _Reading(data, path, signature, depth)
    reading.parse()
    return reading.layout()


def tree(data: bytes, path: str) -> Any:
    """A document that `read_layout` accepted, as libxml2 reads it."""
    etree = _etree(path)
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        collect_ids=False,
        remove_blank_text=False,
        ns_clean=False,
    )
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as cause:
        raise MalformedArtifact(path, f"libxml2 does not read it: {_short(cause)}", _AGAIN) from cause


def canonical(what: Any, form: Form, path: str) -> bytes:
    """The canonical form of an element, or of a document with the instructions beside its root; without comments."""
    etree = _etree(path)
    try:
        made: bytes = etree.tostring(what, method="c14n", exclusive=form is Form.EXCLUSIVE, with_comments=False)
    except (etree.LxmlError, ValueError) as cause:
        raise MalformedArtifact(path, f"it has no canonical form: {_short(cause)}", _AGAIN) from cause
    return made


def without(data: bytes, span: Span | None) -> bytes:
    """The document without some of its bytes."""
    return data if span is None else data[: span.start] + data[span.end :]


class _Run:
    """The text between two tags, as far as it was read: what it is made of decides whether all programs read the same."""

    __slots__ = ("behind_signature", "comments", "plain", "sections", "space")

    def __init__(self) -> None:
        self.plain = self.space = self.behind_signature = False
        self.comments = self.sections = 0

    def wrong(self, leaf: bool) -> str:
        """What would be read differently; empty for nothing. leaf: it is all that its element holds."""
        text = self.plain or self.sections > 0
        if self.behind_signature and text:
            return "a text goes on behind the signature, and programs read only a part of it"
        if self.comments and (text or (leaf and self.space)):
            return "a comment splits a text, and programs read only a part of it"
        if self.sections > 1 or (self.sections and self.plain):
            return "a CDATA section splits a text, and programs read only a part of it"
        return ""


class _Reading:
    """One pass of expat over a document."""

    def __init__(self, data: bytes, path: str, signature: str, signature_depth: int) -> None:
        self.data, self.path, self.signature_depth = data, path, signature_depth
        self.namespace = signature + _SEPARATOR
        self.parser = parser = expat.ParserCreate("UTF-8", _SEPARATOR)
        parser.ordered_attributes = True
        parser.namespace_prefixes = True
        parser.XmlDeclHandler = self.declaration
        parser.StartDoctypeDeclHandler = self.doctype
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.StartNamespaceDeclHandler = self.declared
        parser.EndNamespaceDeclHandler = self.undeclared
        parser.CommentHandler = self.comment
        parser.ProcessingInstructionHandler = self.instruction
        # a call for each text costs more than all others together, and only these two can split one
        if b"<!--" in data or b"<![CDATA[" in data:
            self.look_at_texts()
        self.depth = self.nodes = self.steps = self.namespaces = 0
        self.in_section = False
        self.run = _Run()
        self.opened_last = False
        self.ids: set[str] = set()
        self.root_start = self.root_end = self.signature_start = -1
        self.signature: Span | None = None
        self.comments: list[Span] = []
        self.instructions: list[Span] = []

    def parse(self) -> None:
        if not self.data.removeprefix(b"\xef\xbb\xbf").startswith(b"<"):
            raise MalformedArtifact(self.path, "it does not begin as XML in UTF-8", _AGAIN)
        try:
            self.parser.Parse(self.data, True)
        except expat.ExpatError as cause:
            said = expat.errors.messages[cause.code]
            raise MalformedArtifact(self.path, f"line {cause.lineno}: {said}", _AGAIN) from cause

    def layout(self) -> Layout:
        opening = TAG.match(self.data, self.root_start)
        if opening is None:
            raise MalformedArtifact(self.path, "its first tag is not clear", _AGAIN)
        empty = self.root_end == opening.end() and opening[0].endswith(b"/>")
        closing = Span(self.root_end, self.root_end if empty else self.data.index(b">", self.root_end) + 1)
        return Layout(
            len(self.data),
            Span(self.root_start, closing.end),
            Span(self.root_start, opening.end()),
            closing,
            self.signature,
            tuple(self.comments),
            tuple(self.instructions),
        )

    def declaration(self, version: str, encoding: str | None, _: int) -> None:
        if version != "1.0":
            self.refuse(f"XML {version}, and only 1.0 is read")
        if encoding is not None and encoding.upper() != "UTF-8":
            self.refuse(f"the encoding {encoding}, and only UTF-8 is read")

    def doctype(self, *_: object) -> None:
        self.refuse("a document type (DOCTYPE), which signed documents must not have")

    def start(self, name: str, attributes: list[str]) -> None:
        at = self.parser.CurrentByteIndex
        self.end_run(leaf=False)
        self.opened_last = True
        self.depth += 1
        self.nodes += 1 + len(attributes) // 2
        self.steps += self.depth * self.namespaces
        if self.depth > MAX_DEPTH or len(attributes) > 2 * MAX_ATTRIBUTES:
            self.exceeded(f"more than {MAX_DEPTH} elements in each other, or {MAX_ATTRIBUTES} attributes of one")
        if self.nodes > MAX_NODES or self.steps > MAX_STEPS:
            self.exceeded(f"more than {MAX_NODES:,} elements and attributes, or too many namespaces around them")
        for place in range(0, len(attributes), 2):
            if attributes[place] in _IDS:
                if attributes[place + 1] in self.ids:
                    self.refuse(f"the Id {attributes[place + 1][:80]!r} is there twice")
                self.ids.add(attributes[place + 1])
        if self.depth == 1:
            self.root_start = at
        if name.startswith(self.namespace) and self.signature_start < 0:
            local = name.split(_SEPARATOR)[1]
            if self.depth != self.signature_depth or local != "Signature":
                self.refuse(f"{local} of an XML signature, which is accepted {_PLACES[self.signature_depth]} alone")
            if self.signature is not None:
                self.refuse("a second XML signature")
            self.signature_start = at

    def end(self, _: str) -> None:
        at = self.parser.CurrentByteIndex
        self.end_run(leaf=self.opened_last)
        if self.depth == self.signature_depth and self.signature_start >= 0:
            if self.opened_last:
                self.refuse("an XML signature with nothing in it")
            self.signature = Span(self.signature_start, self.data.index(b">", at) + 1)
            self.signature_start = -1
            self.run.behind_signature = True
            self.look_at_texts()
        if self.depth == 1:
            self.root_end = at  # for an empty element expat says the end of its tag
        self.opened_last = False
        self.depth -= 1

    def declared(self, _: str | None, uri: str | None) -> None:
        if uri and _MARKUP.search(uri):
            self.refuse(f"the namespace {uri[:80]!r}, which canonical forms write in different ways")
        self.namespaces += 1
        self.nodes += 1
        if self.namespaces > MAX_NAMESPACES:
            self.exceeded(f"more than {MAX_NAMESPACES} namespaces in scope")

    def undeclared(self, _: str | None) -> None:
        self.namespaces -= 1

    def look_at_texts(self) -> None:
        self.parser.CharacterDataHandler = self.text
        self.parser.StartCdataSectionHandler = self.section
        self.parser.EndCdataSectionHandler = self.section_end

    def text(self, data: str) -> None:
        if self.in_section:
            return
        if data.strip(" \t\r\n"):
            self.run.plain = True
        else:
            self.run.space = True

    def section(self) -> None:
        self.run.sections += 1
        self.in_section = True

    def section_end(self) -> None:
        self.in_section = False

    def comment(self, _: str) -> None:
        at = self.parser.CurrentByteIndex
        if self.depth:
            self.run.comments += 1
        self.nodes += 1
        self.comments.append(Span(at, self.data.index(b"-->", at + 4) + 3))
        if len(self.comments) > MAX_COMMENTS:
            self.exceeded(f"more than {MAX_COMMENTS:,} comments")

    def instruction(self, target: str, _: str) -> None:
        at = self.parser.CurrentByteIndex
        self.nodes += 1
        self.instructions.append(Span(at, self.data.index(b"?>", at) + 2))
        if len(self.instructions) > MAX_COMMENTS:
            self.exceeded(f"more than {MAX_COMMENTS:,} processing instructions")
        if self.signature_start >= 0:
            self.refuse(f"the processing instruction {target} in an XML signature")

    def end_run(self, *, leaf: bool) -> None:
        wrong, self.run = self.run.wrong(leaf), _Run()
        if wrong:
            self.refuse(wrong)

    def refuse(self, what: str) -> NoReturn:
        raise MalformedArtifact(self.path, f"line {self.parser.CurrentLineNumber}: {what}", _AGAIN)

    def exceeded(self, what: str) -> NoReturn:
        raise LimitExceeded(self.path, f"line {self.parser.CurrentLineNumber}: {what}", "Split the document.")


def check_namespaces_seen(data: bytes, path: str) -> None:
    """MalformedArtifact where a value could speak of a namespace that the exclusive form does not have there (A082).

    It has one only where an element or attribute is named by it: what `xsi:type="di:DeviceType"` means changes when that is nowhere
    above, or when a declaration further down is moved up here. data: a document that `read_layout` accepted.
    """
    if b"xmlns" in data:
        _Meanings(path).parser.Parse(data, True)


class _Meanings:
    """One pass over a document: what each prefix means, and what it means in the exclusive form; "" is the default namespace.

    Both are stacks, as declarations are; unlike: the prefixes for which they differ where the parser is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.parser = parser = expat.ParserCreate("UTF-8", _SEPARATOR)
        parser.ordered_attributes = parser.namespace_prefixes = True
        parser.StartNamespaceDeclHandler, parser.EndNamespaceDeclHandler = self.declared, self.undeclared
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.CharacterDataHandler = self.text
        self.meant: dict[str, list[str]] = {}
        self.written: dict[str, list[str]] = {}
        self.unlike: set[str] = set()
        self.of_other_letters: set[str] = set()
        self.named: list[list[str]] = []
        self.texts: list[str] = []

    def declared(self, prefix: str | None, uri: str | None) -> None:
        self.end_text()
        self.meant.setdefault(prefix or "", [""]).append(uri or "")
        if prefix and not _NAMED.fullmatch(f"{prefix}:"):
            self.of_other_letters.add(prefix)
        self.compare(prefix or "")

    def undeclared(self, prefix: str | None) -> None:
        self.meant[prefix or ""].pop()
        self.compare(prefix or "")

    def start(self, name: str, attributes: list[str]) -> None:
        self.end_text()
        used = [*{_prefix(name), *({_prefix(one) for one in attributes[::2]} - {""})}]
        for prefix in used:
            self.written.setdefault(prefix, [""]).append(self.meant.get(prefix, [""])[-1])
            self.unlike.discard(prefix)
        self.named.append(used)
        if self.unlike:
            for value in attributes[1::2]:
                self.check(value)

    def end(self, _: str) -> None:
        self.end_text()
        for prefix in self.named.pop():
            self.written[prefix].pop()
            self.compare(prefix)

    def text(self, data: str) -> None:
        if self.unlike:
            self.texts.append(data)

    def end_text(self) -> None:
        if self.texts:
            self.check("".join(self.texts))
            self.texts.clear()

    def compare(self, prefix: str) -> None:
        if self.meant.get(prefix, [""])[-1] == self.written.get(prefix, [""])[-1]:
            self.unlike.discard(prefix)
        else:
            self.unlike.add(prefix)

    def check(self, value: str) -> None:
        if "" in self.unlike and value.strip():
            self.refuse("a default namespace that no element around a value is named by")
        if ":" not in value:
            return
        for prefix in self.unlike.intersection(_NAMED.findall(value)) or self.unlike & self.of_other_letters:
            self.refuse(f"the namespace {prefix}, which a value names")

    def refuse(self, what: str) -> NoReturn:
        line = self.parser.CurrentLineNumber
        raise MalformedArtifact(self.path, f"line {line}: {what}, is left out by the exclusive form", _INCLUSIVE)


def _prefix(name: str) -> str:
    parts = name.split(_SEPARATOR)
    return parts[2] if len(parts) == 3 else ""


def _etree(path: str) -> Any:
    try:
        from lxml import etree  # an extra: who signs and verifies no XML needs none of it
    except ImportError as cause:
        what = "canonical XML needs the library lxml, which is not installed: pip install 'sealwright[xml]'"
        step = "Verify it where that is installed; the portable folder of the offline bundle does not carry it."
        raise Unreadable(path, what, step) from cause
    return etree


def _short(cause: Exception) -> str:
    return str(cause).splitlines()[0][:160] if str(cause) else type(cause).__name__
