"""The text by which a maker describes the header of its firmware; docs/formats/layout.md is its reference.

1. At most 64 KiB of TOML, the first line `# sealwright layout 1`; every key known, typed and bounded.
2. The parts follow each other from byte 0 to the file's end without gap or overlap, whatever a file holds (`position.py`): each
   is hashed, the signature, the stored digest, the payload of a digest that is hashed, fill bytes that are compared, or left out
   with a reason.
3. The magic, every length that decides what is hashed, and every field that makes a claim lie inside a hashed part (A089).
4. Each of them lies at the same place of the signed bytes: magic and lengths at a fixed one from their front or back, claims at
   one that the lengths alone decide. So signed bytes are read in one way only, wherever the unsigned parts are moved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.envelope.algorithms import Scheme
from sealwright.errors import MalformedLayout
from sealwright.formats.layoutfield import (
    CounterField,
    Field,
    NamedField,
    Number,
    NumbersField,
    TextField,
    read_number,
)
from sealwright.formats.position import END, Position, read_position

T = TypeVar("T")
FIRST_LINE = "# sealwright layout 1"
SUFFIX = ".layout"
MAX_BYTES = 64 * 1024
MIN_MAGIC_BYTES = 4
MAX_PARTS = 64
MAX_FIXED_BYTES = 4096
MAX_HASHED_AS_BYTES = 64 * 1024
MAX_UNIT = 1 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LENGTH_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NEXT = "Correct the layout; `sealwright layout check FILE` reads it."
COMPLAINT = Complaint(MalformedLayout, MAX_BYTES, _NEXT)
CLAIMS = ("product", "version", "generation", "hardware")
RAW_ECDSA_BYTES = {64: "secp256r1", 96: "secp384r1", 132: "secp521r1"}


class Role(StrEnum):
    """What the bytes of one part are."""

    HASHED = "hashed"
    PAYLOAD = "payload"
    SIGNATURE = "signature"
    STORED_DIGEST = "stored-digest"
    FILL = "fill"
    UNCOVERED = "uncovered"


class Encoding(StrEnum):
    """How a signature value stands in its place."""

    DER = "der"
    RAW_BE = "raw-be"
    RAW_LE = "raw-le"


class Part(NamedTuple):
    """Bytes start <= i < end. reason: why they are left out; byte: what they are filled with; hashed_as: the byte that stands
    for each of them in the signed bytes, None where nothing does."""

    start: Position
    end: Position
    role: Role
    reason: str = ""
    byte: int = 0
    hashed_as: int | None = None

    @property
    def size(self) -> Position:
        """In bytes."""
        return self.end.minus(self.start)

    @property
    def signed(self) -> bool:
        """Whether it adds to the signed bytes."""
        return self.role is Role.HASHED or self.hashed_as is not None


class Spot(NamedTuple):
    """size bytes at a place that lies inside a hashed part. part: its number."""

    at: Position
    size: int
    part: int


class Fixed(NamedTuple):
    """Bytes that every image has at one place."""

    spot: Spot
    data: bytes


class Length(NamedTuple):
    """A number in the file, times unit bytes."""

    name: str
    spot: Spot
    number: Number
    unit: int


class Claimed(NamedTuple):
    """A field that makes a claim. claim: which one."""

    claim: str
    spot: Spot
    field: Field


class Run(NamedTuple):
    """Bytes start <= i < end that are all the same one."""

    start: Position
    end: Position
    byte: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout. text_digest: of the file it was read from; digest: the algorithm the signature is over; empty: the byte of a
    signature's place that nobody has filled; appended: an unsigned file ends where the signature would begin; length: of a
    whole file, None where it ends where it ends; constants: may lie anywhere; payload_digest: of all payload parts, in order."""

    name: str
    title: str
    text_digest: Digest
    digest: HashName
    scheme: Scheme
    encoding: Encoding
    empty: int
    appended: bool
    length: Position | None
    magic: tuple[Fixed, ...]
    lengths: tuple[Length, ...]
    parts: tuple[Part, ...]
    claims: tuple[Claimed, ...]
    constants: tuple[tuple[Position, bytes], ...]
    runs: tuple[Run, ...]
    payload_digest: tuple[Spot, HashName] | None

    @property
    def spots(self) -> tuple[Spot, ...]:
        """Everything that must lie inside a hashed part."""
        payload = (self.payload_digest[0],) if self.payload_digest is not None else ()
        fields = (*(one.spot for one in self.lengths), *(one.spot for one in self.claims))
        return (*(one.spot for one in self.magic), *fields, *payload)

    def one(self, role: Role) -> int | None:
        """The number of the part that is the signature or the stored digest."""
        return next((number for number, part in enumerate(self.parts) if part.role is role), None)

    def signed_place(self, spot: Spot) -> tuple[Position, Position]:
        """Where in the signed bytes a spot lies, counted from their front and from their end."""
        return _signed_place(self.parts, spot)

    @property
    def magic_bytes(self) -> frozenset[tuple[Position, int]]:
        """Each byte of the magic with its place in the file."""
        return frozenset((one.spot.at.beyond(at), byte) for one in self.magic for at, byte in enumerate(one.data))

    @property
    def signature_bytes(self) -> int:
        """The size of the signature's place."""
        return next(part.size.number for part in self.parts if part.role is Role.SIGNATURE)


def parse_layout(data: bytes, subject: str) -> Layout:
    """Read a layout; MalformedLayout naming section, key and what is wanted, LimitExceeded above 64 KiB."""
    top = read_toml(data, subject, FIRST_LINE, COMPLAINT)
    name = top.text("name")
    if not NAME.fullmatch(name):
        raise top.wrong("name", "made of a-z, 0-9, dot and dash alone")
    found = _Reader(top).layout(name, Digest.of(data))
    top.done()
    return found


class _Reader:
    """Reads the sections of one layout, in the order in which they need each other."""

    def __init__(self, top: Section) -> None:
        self.top = top
        self.names: list[str] = []
        self.length: Position | None = None
        self.parts: tuple[Part, ...] = ()
        self.spots: list[tuple[Section, Spot]] = []

    def layout(self, name: str, text_digest: Digest) -> Layout:
        """All of it."""
        top = self.top
        top.asked.update((*CLAIMS, "payload_digest", "length_of_file"))
        lengths = list(top.tables("length"))
        self.names = [self._length_name(section) for section in lengths]
        self.length = self._place(top, "length_of_file") if top.has("length_of_file") else None
        if self.length is not None and self.length.counts(END):
            raise top.wrong("length_of_file", "a sum of numbers and lengths, without `end`")
        parts = tuple(self._part(section) for section in top.tables("part"))
        self.parts = parts
        _check_parts(top, parts, self.length)
        digest = HashName(top.word("digest", tuple(HashName), HashName.SHA256))
        signature = top.table("signature")
        scheme = Scheme(signature.word("scheme", (Scheme.ECDSA, Scheme.RSA_PKCS1, Scheme.RSA_PSS)))
        encoding = Encoding(signature.word("encoding", tuple(Encoding)))
        empty, appended = _byte(signature, "empty"), signature.flag("appended")
        signature.done()
        found = Layout(
            name=name,
            title=top.text("title", name),
            text_digest=text_digest,
            digest=digest,
            scheme=scheme,
            encoding=encoding,
            empty=empty,
            appended=appended,
            length=self.length,
            magic=tuple(self._each("magic", self._magic)),
            lengths=tuple(self._length(section, name) for section, name in zip(lengths, self.names, strict=True)),
            parts=parts,
            claims=tuple(self._claim(name) for name in CLAIMS if top.has(name)),
            constants=tuple(self._each("constant", self._constant)),
            runs=tuple(self._each("filled", self._filled)),
            payload_digest=self._payload_digest(),
        )
        _check_signature(signature, found)
        self._check_whole(found)
        return found

    def _each(self, key: str, read: Callable[[Section], T]) -> Iterator[T]:
        for section in self.top.tables(key):
            yield read(section)
            section.done()

    def _place(self, section: Section, key: str) -> Position:
        try:
            found = read_position(section.number_or_text(key), self.names)
        except ValueError as cause:
            raise section.wrong(key, f'a place such as 64, "end - 256" or "header + 8": {cause}') from cause
        return found.without(END, self.length) if self.length is not None else found

    def _length_name(self, section: Section) -> str:
        name = section.text("name")
        if not _LENGTH_NAME.fullmatch(name) or name == END or name in self.names:
            raise section.wrong("name", f"a name of a-z, 0-9 and _ that no other length has, and not `{END}`")
        self.names.append(name)
        return name

    def _part(self, section: Section) -> Part:
        role = Role(section.word("is", tuple(Role)))
        start, end = self._place(section, "from"), self._place(section, "to")
        reason = section.text("reason") if role is Role.UNCOVERED else ""
        byte = _byte(section, "byte") if role is Role.FILL else 0
        hashed_as = _byte(section, "hashed_as") if section.has("hashed_as") else None
        size = end.minus(start)
        if hashed_as is not None:
            if role not in (Role.SIGNATURE, Role.STORED_DIGEST, Role.UNCOVERED):
                raise section.wrong("hashed_as", "left out: these bytes are hashed as they are, or not at all")
            if size.lengths or size.number > MAX_HASHED_AS_BYTES:
                raise section.wrong("hashed_as", f"at a part of a fixed size, at most {MAX_HASHED_AS_BYTES} bytes")
        if size.always_negative or size == Position(0) or size.counts(END) < 0:
            raise section.wrong("to", f"behind `from`, which is {start}")
        section.done()
        return Part(start, end, role, reason, byte, hashed_as)

    def _spot(self, section: Section, key: str, size: int) -> Spot:
        """A place inside one hashed part, in every file that is not refused."""
        at = self._place(section, key)
        for number, part in enumerate(self.parts):
            low, high = at.minus(part.start), part.end.minus(at.beyond(size))
            certain = low.never_negative or high.never_negative
            if part.role is Role.HASHED and certain and low.may_be_positive and high.may_be_positive:
                spot = Spot(at, size, number)
                self.spots.append((section, spot))
                return spot
        raise section.wrong(key, f"inside a hashed part: {size} bytes at {at} are not signed for certain")

    def _anchored(self, section: Section, key: str, size: int) -> Spot:
        """A spot at a fixed place of the signed bytes."""
        spot = self._spot(section, key, size)
        if spot.at.names - {END}:
            raise section.wrong(key, "a number, or counted from `end` where the file's length is not said by lengths")
        if all(place.lengths for place in _signed_place(self.parts, spot)):
            raise section.wrong(key, "at a fixed place of the signed bytes, counted from their front or their end")
        return spot

    def _decided(self, section: Section, key: str, size: int) -> Spot:
        """A spot whose place in the signed bytes is decided by lengths, which are signed."""
        spot = self._spot(section, key, size)
        if all(place.counts(END) for place in _signed_place(self.parts, spot)):
            raise section.wrong(key, "at a place of the signed bytes that the size of the file cannot move")
        return spot

    def _magic(self, section: Section) -> Fixed:
        data = _bytes(section)
        return Fixed(self._anchored(section, "at", len(data)), data)

    def _length(self, section: Section, name: str) -> Length:
        number, unit = _number(section, "number"), section.number("unit", 1, 1)
        if unit > MAX_UNIT:
            raise section.wrong("unit", f"at most {MAX_UNIT} bytes")
        found = Length(name, self._anchored(section, "at", number.size), number, unit)
        section.done()
        return found

    def _claim(self, name: str) -> Claimed:
        section = self.top.table(name)
        field: Field
        if section.has("text"):
            field = TextField(section.number("text", 1), _byte(section, "padding"))
            if field.size > MAX_FIXED_BYTES or name == "generation":
                raise section.wrong("text", f"left out for a generation, else at most {MAX_FIXED_BYTES} bytes")
        elif name == "generation":
            field = CounterField(_number(section, "number"))
        elif name == "version":
            field = NumbersField(_numbers(section))
        else:
            field = _named(section)
        found = Claimed(name, self._decided(section, "at", field.size), field)
        section.done()
        return found

    def _constant(self, section: Section) -> tuple[Position, bytes]:
        return self._place(section, "at"), _bytes(section)

    def _filled(self, section: Section) -> Run:
        return Run(self._place(section, "from"), self._place(section, "to"), _byte(section, "byte"))

    def _payload_digest(self) -> tuple[Spot, HashName] | None:
        if not self.top.has("payload_digest"):
            return None
        section = self.top.table("payload_digest")
        algorithm = HashName(section.word("digest", tuple(HashName), HashName.SHA256))
        found = self._decided(section, "at", algorithm.size), algorithm
        section.done()
        return found

    def _check_whole(self, layout: Layout) -> None:
        top = self.top
        if sum(len(one.data) for one in layout.magic) < MIN_MAGIC_BYTES:
            raise top.wrong("magic", f"one or more [[magic]] of at least {MIN_MAGIC_BYTES} bytes together")
        if (layout.payload_digest is None) is not (layout.one(Role.PAYLOAD) is None):
            raise top.wrong("payload_digest", "there where a part is payload, and only there")
        used = {name for part in layout.parts for name in (*part.start.names, *part.end.names)}
        used |= {name for _, spot in self.spots for name in spot.at.names}
        used |= {name for run in layout.runs for name in (*run.start.names, *run.end.names)}
        used |= {name for at, _ in layout.constants for name in at.names}
        if idle := set(self.names) - used:
            raise top.wrong("length", f"used in a place: nothing speaks of {min(idle)}")
        for number, (section, spot) in enumerate(self.spots):
            for other, known in self.spots[:number]:
                apart = spot.at.minus(known.at)
                if not apart.lengths and -spot.size < apart.number < known.size:
                    raise section.wrong("at", f"apart from {other.where}: they share bytes")


def _check_parts(top: Section, parts: Sequence[Part], length: Position | None) -> None:
    """Point 2: the parts tile every file."""
    if not 0 < len(parts) <= MAX_PARTS:
        raise top.wrong("part", f"1 to {MAX_PARTS} tables [[part]]")
    at = Position(0)
    for number, part in enumerate(parts, 1):
        if part.start != at:
            raise top.wrong("part", f"without gap or overlap: number {number} begins at {part.start}, not at {at}")
        at = part.end
    wanted = length if length is not None else Position(0, ((END, 1),))
    if at != wanted:
        raise top.wrong("part", f"up to the end of the file, {wanted}: the last one ends at {at}")
    for role, many in ((Role.SIGNATURE, 1), (Role.STORED_DIGEST, 0)):
        count = sum(part.role is role for part in parts)
        if not many <= count <= 1:
            raise top.wrong("part", f"one that is the {role}" if many else f"at most one that is the {role}")
    if not any(part.role is Role.HASHED for part in parts):
        raise top.wrong("part", "at least one that is hashed")


def _check_signature(section: Section, layout: Layout) -> None:
    part = next(part for part in layout.parts if part.role is Role.SIGNATURE)
    size = part.size
    if size.lengths:
        raise section.wrong("encoding", "for a part of a fixed size, and this one's is not")
    if layout.scheme is Scheme.ECDSA and layout.encoding is not Encoding.DER:
        if size.number not in RAW_ECDSA_BYTES:
            raise section.wrong("encoding", f"for 64, 96 or 132 bytes: the part has {size}")
    elif layout.scheme is Scheme.ECDSA and not 72 <= size.number <= 256:
        raise section.wrong("encoding", f"for 72 to 256 bytes, room for the longest value: the part has {size}")
    elif layout.scheme is not Scheme.ECDSA and (
        layout.encoding is Encoding.DER or not 256 <= size.number <= 1024 or size.number % 64
    ):
        raise section.wrong("encoding", f"raw-be or raw-le and the part as large as the key: it has {size} bytes")
    stored = layout.one(Role.STORED_DIGEST)
    if stored is not None and layout.parts[stored].size != Position(layout.digest.size):
        raise section.wrong("digest", f"as large as the part that is the stored digest, {layout.parts[stored].size}")
    if layout.appended and (layout.length is None or layout.parts[-1] is not part or part.hashed_as is not None):
        raise section.wrong(
            "appended", "for a signature that is the last part, of a file whose `length_of_file` is said by lengths"
        )


def _signed_place(parts: Sequence[Part], spot: Spot) -> tuple[Position, Position]:
    front, whole = spot.at.minus(parts[spot.part].start), Position(0)
    for number, part in enumerate(parts):
        if part.signed:
            front = front.plus(part.size) if number < spot.part else front
            whole = whole.plus(part.size)
    return front, whole.minus(front)


def _byte(section: Section, key: str) -> int:
    value = section.number(key, 0, 0)
    if value > 0xFF:
        raise section.wrong(key, "a byte, 0 to 255")
    return value


def _bytes(section: Section) -> bytes:
    """`bytes` in hexadecimal, or `text`."""
    if section.has("text"):
        return section.text("text").encode()
    try:
        data = bytes.fromhex(section.text("bytes"))
    except ValueError as cause:
        raise section.wrong("bytes", "hexadecimal digits in pairs") from cause
    return data


def _number(section: Section, key: str) -> Number:
    return _read_number(section, key, section.text(key))


def _numbers(section: Section) -> tuple[Number, ...]:
    found = section.listed("numbers")
    if not 1 <= len(found) <= 8:
        raise section.wrong("numbers", "a list of 1 to 8 numbers, or `text` with a size")
    return tuple(_read_number(section, "numbers", one) for one in found)


def _read_number(section: Section, key: str, text: str) -> Number:
    try:
        return read_number(text)
    except ValueError as cause:
        raise section.wrong(key, f"a number of the file: {cause}") from cause


def _named(section: Section) -> NamedField:
    number, table = _number(section, "number"), section.table("names")
    names: dict[int, str] = {}
    for key in sorted(table.left):
        try:
            value = int(key, 0)
            number.written(value)
        except ValueError as cause:
            raise section.wrong("names", f"texts by number, each of which fits {number}: {cause}") from cause
        text = table.text(key)
        if value in names or text in names.values() or text != text.strip():
            raise section.wrong("names", "different texts for different numbers")
        names[value] = text
    if not names:
        raise section.wrong("names", "texts by number")
    return NamedField(number, tuple(sorted(names.items())))
