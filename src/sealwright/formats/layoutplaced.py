"""A layout laid on one file: where each part begins and ends there, what its fields say, which bytes are the signed ones.

Everything that is read before a byte is believed happens here, and each refusal names the offset: the magic, then the lengths, then
the parts, which must follow each other up to the file's end, then the fields, each inside the hashed part it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.source import BLOCK, OpenArtifact
from sealwright.errors import MalformedArtifact
from sealwright.formats.format import Coverage, Extent, Range
from sealwright.formats.layoutfield import is_empty
from sealwright.formats.layouttext import Layout, Part, Role
from sealwright.formats.position import END

MAX_OFFSET = 2**62
_EXTENTS = {
    Role.HASHED: (Extent.HASHED, ""),
    Role.PAYLOAD: (Extent.HASHED, "by its digest among the signed bytes"),
    Role.SIGNATURE: (Extent.SIGNATURE, ""),
    Role.STORED_DIGEST: (Extent.SIGNATURE, "the digest of the signed bytes, compared"),
    Role.FILL: (Extent.UNCOVERED, "fill bytes, compared"),
}
Piece = tuple[int, int] | bytes


class Placed(NamedTuple):
    """A layout laid on one file. bounds: where each part begins, and the last one's end; an unsigned file may end before it."""

    layout: Layout
    size: int
    values: dict[str, int]
    bounds: tuple[int, ...]

    def spans(self) -> Iterator[tuple[Part, int, int]]:
        """Each part with its bytes start <= i < end."""
        yield from zip(self.layout.parts, self.bounds, self.bounds[1:], strict=False)

    def span(self, role: Role) -> tuple[int, int] | None:
        """The bytes of the one part of a role."""
        return next(((start, end) for part, start, end in self.spans() if part.role is role), None)

    @property
    def has_place(self) -> bool:
        """Whether the signature's place is there."""
        return self.bounds[-1] == self.size

    @property
    def coverage(self) -> Coverage:
        """The whole file, as the layout divides it."""
        ranges = []
        for part, start, end in self.spans():
            extent, reason = _EXTENTS.get(part.role, (Extent.UNCOVERED, part.reason))
            if start < min(end, self.size):
                ranges.append(Range(start, end, extent, reason))
        return Coverage(tuple(ranges))

    def signed(self, patches: Sequence[Patch] = ()) -> list[Piece]:
        """The signed bytes, in the order of the file. patches: bytes that stand in place of the file's."""
        pieces: list[Piece] = []
        for part, start, end in self.spans():
            if part.role is Role.HASHED:
                pieces += cut(start, end, patches)
            elif part.hashed_as is not None:
                pieces.append(bytes((part.hashed_as,)) * (end - start))
        return pieces

    def payload(self) -> list[Piece]:
        """The bytes that the payload's digest is of."""
        return [(start, end) for part, start, end in self.spans() if part.role is Role.PAYLOAD]


class Patch(NamedTuple):
    """Bytes that signing writes over empty ones. what: whose they are, for people."""

    at: int
    data: bytes
    what: str


def has_magic(layout: Layout, source: OpenArtifact) -> bool:
    """Whether a file could be of a layout, by its magic alone."""
    for one in layout.magic:
        at = one.spot.at.among({END: source.size})
        if at < 0 or source.read_at(at, len(one.data)) != one.data:
            return False
    return True


def place(layout: Layout, source: OpenArtifact) -> Placed:
    """Lay a layout on a file; MalformedArtifact with the offset where it is none of it, or its lengths point outside."""
    if not has_magic(layout, source):
        raise wrong(source, 0, f"the magic of the layout {layout.name} is not there")
    values = _lengths(layout, source)
    bounds = [0, *(part.end.among(values) for part in layout.parts)]
    for number, part in enumerate(layout.parts, 1):
        if not bounds[number - 1] <= bounds[number] <= MAX_OFFSET:
            raise wrong(source, bounds[number - 1], f"part {number} ({part.role}) would end at {bounds[number]}")
    whole, size = bounds[-1], source.size
    if size != whole and not (layout.appended and size == bounds[-2]):
        raise wrong(source, min(size, whole), f"it has {size} bytes, and its layout says {whole}")
    for spot in layout.spots:
        at = spot.at.among(values)
        if not bounds[spot.part] <= at <= bounds[spot.part + 1] - spot.size:
            raise wrong(source, at, f"a field of {spot.size} bytes is not inside the hashed part it belongs to")
    placed = Placed(layout, size, values, tuple(bounds))
    _check_constants(source, placed)
    return placed


def _lengths(layout: Layout, source: OpenArtifact) -> dict[str, int]:
    values = {END: source.size}
    for length in layout.lengths:
        at, size = length.spot.at.among(values), length.spot.size
        data = source.read_at(at, size) if at >= 0 else b""
        if len(data) != size:
            raise wrong(source, max(at, 0), f"the length {length.name} is not there")
        values[length.name] = length.number.read(data) * length.unit
        if values[length.name] > MAX_OFFSET // len(layout.parts):
            raise wrong(source, at, f"the length {length.name} is {values[length.name]}")
    return values


def _check_constants(source: OpenArtifact, placed: Placed) -> None:
    for place, data in placed.layout.constants:
        at = place.among(placed.values)
        if not 0 <= at <= placed.size - len(data) or source.read_at(at, len(data)) != data:
            raise wrong(source, max(at, 0), f"there is not {data[:16].hex(' ')}, which every image has there")


def check_runs(source: OpenArtifact, placed: Placed) -> None:
    """Bytes that must all be the same are: in fill parts, and where the layout says so of hashed ones."""
    runs = [(start, end, part.byte) for part, start, end in placed.spans() if part.role is Role.FILL]
    values = placed.values
    runs += [(run.start.among(values), run.end.among(values), run.byte) for run in placed.layout.runs]
    for start, end, byte in runs:
        if not 0 <= start <= end <= placed.size:
            raise wrong(source, max(start, 0), f"bytes {start} to {end} are not there")
        at, filled = start, bytes((byte,)) * BLOCK
        for block in source.blocks([(start, end)]):
            data = bytes(block)
            if data != filled[: len(data)]:
                rest = data.lstrip(bytes((byte,)))
                raise wrong(source, at + len(data) - len(rest), f"a byte that is not {byte:#04x} among fill bytes")
            at += len(data)


def is_signed(source: OpenArtifact, placed: Placed) -> bool:
    """Whether somebody has filled the signature's place."""
    start, end = placed.span(Role.SIGNATURE) or (0, 0)
    return placed.has_place and not is_empty(source.read_at(start, end - start))


def claims_in(source: OpenArtifact, placed: Placed, patches: Sequence[Patch] = ()) -> Claims:
    """What the fields say, with what signing writes into them."""
    said = {one.claim: read_claim(source, placed, one.claim, patches) for one in placed.layout.claims}
    hardware, generation = said.get("hardware"), said.get("generation")
    return Claims(
        product=_text(said.get("product")),
        version=_text(said.get("version")),
        generation=generation if isinstance(generation, int) else None,
        hardware=(str(hardware),) if hardware is not None else (),
    )


def _text(said: str | int | None) -> str | None:
    return None if said is None else str(said)


def read_claim(source: OpenArtifact, placed: Placed, claim: str, patches: Sequence[Patch] = ()) -> str | int | None:
    """What one field says, None where it is empty; MalformedArtifact where it cannot be read."""
    (one,) = (one for one in placed.layout.claims if one.claim == claim)
    at = one.spot.at.among(placed.values)
    data = next((patch.data for patch in patches if patch.at == at), None) or source.read_at(at, one.spot.size)
    try:
        return one.field.read(data)
    except ValueError as cause:
        said = "it is not UTF-8" if isinstance(cause, UnicodeDecodeError) else str(cause)
        raise wrong(source, at, f"the field of the {claim}: {said}") from cause


def cut(start: int, end: int, patches: Sequence[Patch]) -> Iterator[Piece]:
    """The bytes start <= i < end of the file with the patches among them."""
    for patch in patches:
        if start <= patch.at and patch.at + len(patch.data) <= end:
            if start < patch.at:
                yield (start, patch.at)
            yield patch.data
            start = patch.at + len(patch.data)
    if start < end:
        yield (start, end)


def bytes_at(source: OpenArtifact, pieces: Sequence[Piece], at: int, size: int) -> bytes:
    """Some of the signed bytes, fewer at their end; none before their front."""
    found = b""
    for piece in pieces if at >= 0 else ():
        length = _length(piece)
        if at < length and len(found) < size:
            wanted = min(size - len(found), length - at)
            found += piece[at : at + wanted] if isinstance(piece, bytes) else source.read_at(piece[0] + at, wanted)
        at = max(0, at - length)
    return found


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]


def total(pieces: Sequence[Piece]) -> int:
    """How many bytes they are together."""
    return sum(map(_length, pieces))


def wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    """The error for a place in a file."""
    return MalformedArtifact(source.path, f"byte {offset}: {what}", "Build the image again, or fetch it again.")
