"""Flattened device trees as U-Boot and Linux read them, tag by tag: what FIT images and control trees are made of.

    header, 40 bytes | memory reservations | structure: tags of nodes and properties | strings: the properties' names

Of an image and of a value above 64 KiB only the place is kept, so memory does not grow with what a tree carries. Everything that two
readers could read differently is refused: names that repeat, tags out of place, blocks that overlap or leave the tree.
Source: Devicetree Specification 0.4, chapter 5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from sealwright.artifact.source import OpenArtifact
from sealwright.errors import LimitExceeded, MalformedArtifact

MAGIC = bytes.fromhex("d00dfeed")
HEADER = struct.Struct(">10I")
MAX_STRUCTURE_READ = 64 * 1024
MAX_STRINGS = 64 * 1024
MAX_TOKENS = 20_000
MAX_DEPTH = 31
MAX_NAME = 255
MAX_PATH = 1024
MAX_VALUES_READ = 4 << 20
BEGIN, END, PROPERTY, NOP, FINISH = 1, 2, 3, 4, 9  # tags
_U32 = struct.Struct(">I")
_VALUE = struct.Struct(">III")
_MARKS = {tag: _U32.pack(tag) for tag in (END, NOP, FINISH)}
_VERSION, _COMPATIBLE = 17, 16
_IMAGE = "data"
_AHEAD = 4096  # bytes of the structure read at a time


class Span(NamedTuple):
    """Bytes start <= i < end of the file."""

    start: int
    end: int


Piece = bytes | Span


class Property(NamedTuple):
    """One property. path: of its node; name_at: offset of its name among the strings; at: of its tag in the file, -1 for a new one.

    padding: the 0 to 3 bytes behind the value, where libfdt leaves what stood there before; end: in the file, where the next tag is.
    """

    path: str
    name: str
    name_at: int
    value: Piece
    at: int = -1
    padding: bytes = b""
    end: int = -1

    @property
    def size(self) -> int:
        """Of the value."""
        return len(self.value) if isinstance(self.value, bytes) else self.value.end - self.value.start

    @property
    def data(self) -> bytes:
        """The value, b"" where it is too large to have been read."""
        return self.value if isinstance(self.value, bytes) else b""


class Mark(NamedTuple):
    """A tag without value. tag: of the specification; path: the node that begins or ends; at, end: as of a property."""

    tag: int
    path: str
    at: int = -1
    end: int = -1


Token = Property | Mark


@dataclass(frozen=True)  # without slots: a large tree is asked for its nodes often, and the answers are kept
class Tree:
    """tokens: of the structure block, in order, with its end; strings: the block of names; total: of the tree as its header says.

    reserved: the memory reservation block; cpu: the boot CPU's number, as the header has it.
    """

    tokens: tuple[Token, ...]
    strings: bytes
    total: int
    reserved: bytes
    cpu: int
    structure: Span
    names: Span

    def properties(self, path: str) -> dict[str, Property]:
        """The properties of one node, by name."""
        return self._by_node.get(path, {})

    def children(self, path: str) -> list[str]:
        """The paths of a node's children, in order."""
        return self._nodes.get(path, [])

    def has(self, path: str) -> bool:
        """Whether there is such a node."""
        return any(isinstance(one, Mark) and one.tag == BEGIN and one.path == path for one in self.tokens)

    @cached_property
    def _by_node(self) -> dict[str, dict[str, Property]]:
        found: dict[str, dict[str, Property]] = {}
        for one in self.tokens:
            if isinstance(one, Property):
                found.setdefault(one.path, {})[one.name] = one
        return found

    @cached_property
    def _nodes(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in self.tokens:
            if isinstance(one, Mark) and one.tag == BEGIN and one.path != "/":
                found.setdefault(_parent(one.path), []).append(one.path)
        return found

    def with_properties(self, path: str, values: dict[str, bytes], without: Sequence[str] = ()) -> Tree:
        """The tree with properties of a node set, in place where they were, else before its end or its first child."""
        strings, tokens, waiting = self.strings, list[Token](), dict(values)
        for one in self.tokens:
            inside = one.path == path
            if isinstance(one, Property) and inside and one.name in without:
                continue
            if isinstance(one, Property) and inside and one.name in waiting:
                tokens.append(one._replace(value=waiting.pop(one.name), at=-1, padding=b"", end=-1))
                continue
            ends = isinstance(one, Mark) and one.tag == END and inside
            child = isinstance(one, Mark) and one.tag == BEGIN and one.path != path and _parent(one.path) == path
            if waiting and (ends or child):
                for name, value in waiting.items():
                    at, strings = _name_at(strings, name)
                    tokens.append(Property(path, name, at, value))
                waiting = {}
            tokens.append(one)
        return replace(self, tokens=tuple(tokens), strings=strings)

    def with_node(self, path: str) -> Tree:
        """The tree with an empty node as the last child of its parent."""
        parent, tokens = _parent(path), list[Token]()
        for one in self.tokens:
            if isinstance(one, Mark) and one.tag == END and one.path == parent:
                tokens += [Mark(BEGIN, path), Mark(END, path)]
            tokens.append(one)
        return replace(self, tokens=tuple(tokens))

    def pieces(self, total: int | None = None) -> list[Piece]:
        """The tree as it is written; padded with zero bytes to `total` where that is larger."""
        body = [piece for one in self.tokens for piece in token_pieces(one)]
        size = sum(piece_size(piece) for piece in body)
        structure = HEADER.size + len(self.reserved)
        strings = structure + size
        used = strings + len(self.strings)
        total = max(used, total or 0)
        header = HEADER.pack(
            int.from_bytes(MAGIC, "big"), total, structure, strings, HEADER.size, _VERSION, _COMPATIBLE, self.cpu,
            len(self.strings), size,
        )  # fmt: skip
        return [header + self.reserved, *body, self.strings + bytes(total - used)]


def read_tree(source: OpenArtifact) -> Tree:
    """Read a tree at the start of a file; MalformedArtifact with the offset, LimitExceeded where it is beyond what is read."""
    head = _head(source)
    tokens = tuple(_tokens(source, head))
    kept = source.read_at(HEADER.size, head.structure.start - HEADER.size)
    return Tree(tokens, head.strings, head.total, kept, head.cpu, head.structure, head.names)


def begins_node(source: OpenArtifact, path: str) -> bool:
    """Whether a tree has a node, read no further than to where it begins. Raises as `read_tree` does, of what was read."""
    return any(
        isinstance(one, Mark) and one.tag == BEGIN and one.path == path for one in _tokens(source, _head(source))
    )


class _Head(NamedTuple):
    """What the header says, checked. strings: the block at `names`."""

    total: int
    cpu: int
    structure: Span
    names: Span
    strings: bytes


def _head(source: OpenArtifact) -> _Head:
    head = source.read_at(0, HEADER.size)
    if len(head) < HEADER.size or head[:4] != MAGIC:
        raise wrong(source, 0, "there is no device tree")
    _, total, structure, strings, reserved, version, compatible, cpu, strings_size, size = HEADER.unpack(head)
    if version != _VERSION or compatible != _COMPATIBLE:
        raise wrong(source, 20, f"a device tree of version {version}")
    if total > source.size or reserved != HEADER.size or structure % 4 or structure < reserved + 16:
        raise wrong(source, 4, "its blocks are not where the specification puts them")
    if structure + size != strings or strings + strings_size > total:
        raise wrong(source, 8, "its blocks overlap, leave gaps or leave the tree")
    if strings_size > MAX_STRINGS or structure > reserved + MAX_STRUCTURE_READ:
        raise LimitExceeded(source.path, f"names of {strings_size} bytes", f"At most {MAX_STRINGS} are read.")
    names = Span(strings, strings + strings_size)
    return _Head(total, cpu, Span(structure, strings), names, source.read_at(strings, strings_size))


def check_free_space(source: OpenArtifact, tree: Tree) -> None:
    """Nothing is hidden behind the names, up to the end that the header says; mkimage leaves there what was in its memory."""
    at = tree.names.end
    while at < tree.total:
        part = source.read_at(at, min(MAX_STRUCTURE_READ, tree.total - at))
        if part.strip(b"\0") or not part:
            raise wrong(source, at, "the free space at the end of the tree is not zero")
        at += len(part)


def token_pieces(token: Token) -> list[Piece]:
    """One tag as it is written."""
    if isinstance(token, Mark):
        if token.tag != BEGIN:
            return [_MARKS[token.tag]]
        return [_U32.pack(BEGIN) + _padded(token.path.rpartition("/")[2].encode() + b"\0")]
    head = _VALUE.pack(PROPERTY, token.size, token.name_at)
    padding = token.padding or bytes(-token.size % 4)
    if isinstance(token.value, bytes):
        return [head + token.value + padding]
    return [head, token.value, padding]


def piece_size(piece: Piece) -> int:
    """How many bytes it stands for."""
    return len(piece) if isinstance(piece, bytes) else piece.end - piece.start


class _Window:
    """The structure block as it is gone through: what lies ahead is read in pieces, and what is jumped over is not."""

    def __init__(self, source: OpenArtifact, end: int) -> None:
        self.source, self.end = source, end
        self.data, self.start = b"", 0

    def bytes_at(self, at: int, size: int) -> bytes:
        """At most `size` bytes, fewer at the end of the block. MalformedArtifact where the file has become shorter."""
        place = at - self.start
        found = self.data[place : place + size] if place >= 0 else b""
        if len(found) == size or at + len(found) == self.end:
            return found
        self.start = at
        self.data = self.source.read_at(at, min(max(size, _AHEAD), self.end - at))
        if len(self.data) < min(size, self.end - at):
            raise wrong(self.source, at, "its structure is cut off")
        return self.data[:size]


def _tokens(source: OpenArtifact, head: _Head) -> Iterator[Token]:
    """The tags, each checked against where it stands."""
    at, end = head.structure
    window = _Window(source, end)
    names = _Names(source, head.strings)
    open_nodes: list[str] = []
    known = set[str]()
    held: list[set[str]] = []  # the properties of each open node
    count, values, path = 0, 0, ""
    while True:
        here = window.bytes_at(at, _VALUE.size)
        if len(here) < 4:
            raise wrong(source, at, "its structure is cut off")
        count += 1
        if count > MAX_TOKENS:
            raise LimitExceeded(source.path, f"more than {MAX_TOKENS} nodes and properties", "Make it smaller.")
        (tag,) = _U32.unpack_from(here)
        if tag == PROPERTY and open_nodes:
            found = _property(window, at, here, path, names)
            if found.name in held[-1]:
                raise wrong(source, at, f"{path} has the property {found.name} twice")
            held[-1].add(found.name)
            if isinstance(found.value, bytes):
                values += len(found.value)
            if values > MAX_VALUES_READ:
                raise LimitExceeded(source.path, f"values above {MAX_VALUES_READ} bytes", "Make the tree smaller.")
            yield found
            at = found.end
            continue
        closed = bool(known) and not open_nodes
        if tag == FINISH and closed and at + 4 == end:
            yield Mark(tag, "", at, end)
            return
        if closed or (not open_nodes and tag != BEGIN and count > 1):
            raise wrong(source, at, "something stands behind its root node")
        if tag == BEGIN:
            name, following = _node_name(window, at)
            path = _path(source, at, path, name, open_nodes)
            if path in known:
                raise wrong(source, at, f"the node {path} is there twice")
            known.add(path)
            open_nodes.append(path)
            held.append(set())
            yield Mark(tag, path, at, following)
            at = following
        elif tag == END and open_nodes:
            yield Mark(tag, open_nodes.pop(), at, at + 4)
            held.pop()
            path = open_nodes[-1] if open_nodes else ""
            at += 4
        elif tag == NOP and open_nodes:
            yield Mark(tag, path, at, at + 4)
            at += 4
        else:
            raise wrong(source, at, f"a tag {tag:#x} that does not belong there")


def _node_name(window: _Window, at: int) -> tuple[str, int]:
    data = window.bytes_at(at + 4, 256)
    size = data.find(b"\0")
    following = at + 4 + size + 1 + -(size + 1) % 4
    if size < 0 or following > window.end or data[size : following - at - 4].strip(b"\0"):
        raise wrong(window.source, at, "the name of a node has no end, or its padding is not zero")
    return _text(window.source, at, data[:size]), following


def _path(source: OpenArtifact, at: int, parent: str, name: str, open_nodes: list[str]) -> str:
    if not open_nodes:
        if name:
            raise wrong(source, at, "its root node has a name")
        return "/"
    if not name or "/" in name or len(open_nodes) > MAX_DEPTH:
        raise wrong(source, at, f"a node {name!r}, {len(open_nodes)} deep")
    path = f"{'' if parent == '/' else parent}/{name}"
    if len(path) > MAX_PATH:
        raise wrong(source, at, f"a node whose path has {len(path)} characters")
    return path


def _property(window: _Window, at: int, head: bytes, path: str, names: _Names) -> Property:
    source, end = window.source, window.end
    if len(head) < _VALUE.size:
        raise wrong(source, at, "a property is cut off")
    _, size, name_at = _VALUE.unpack(head)
    start = at + _VALUE.size
    stop = start + size
    following = stop + -size % 4
    if following > end:
        raise wrong(source, at, f"a property of {size} bytes leaves its block")
    name = names.known.get(name_at) or names.at(name_at, at)
    if size > MAX_STRUCTURE_READ or name == _IMAGE:
        padding = window.bytes_at(stop, following - stop)
        return Property(path, name, name_at, Span(start, stop), at, padding, following)
    body = window.bytes_at(start, following - start)
    return Property(path, name, name_at, body[:size], at, body[size:], following)


class _Names:
    """The block of the properties' names. known: those that were read, by where they stand: many properties share theirs."""

    def __init__(self, source: OpenArtifact, block: bytes) -> None:
        self.source, self.block = source, block
        self.known: dict[int, str] = {}

    def at(self, place: int, tag_at: int) -> str:
        """A name; MalformedArtifact with the offset of its tag where there is none."""
        stop = self.block.find(b"\0", place) if place < len(self.block) else -1
        if stop < 0:
            raise wrong(self.source, tag_at, f"the name of a property, at {place}, leaves its block")
        if stop - place > MAX_NAME:
            raise wrong(self.source, tag_at, f"a property whose name has {stop - place} characters")
        self.known[place] = name = _text(self.source, tag_at, self.block[place:stop])
        return name


def _text(source: OpenArtifact, at: int, data: bytes) -> str:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        raise wrong(source, at, "a name that is not printable ASCII")
    return text


def _name_at(strings: bytes, name: str) -> tuple[int, bytes]:
    """Where a name stands among the strings, and the strings with it."""
    wanted = name.encode() + b"\0"
    at = 0 if strings.startswith(wanted) else strings.find(b"\0" + wanted) + 1
    if at or strings.startswith(wanted):
        return at, strings
    return len(strings), strings + wanted


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    """The error for a tree that is not as specified."""
    return MalformedArtifact(source.path, f"byte {offset}: {what}", "Make it again, or fetch it again.")
