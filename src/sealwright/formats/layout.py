"""Firmware under a header of its maker's own, described by a layout (`layouttext.py`): any device's images, without a line of code.

    dd ... > signed.bytes; openssl dgst -sha256 -verify public.pem -signature signature.der signed.bytes
    sealwright layout check acme.layout image.bin                          # prints exactly that for an image

| part of the layout | to the signature |
| hashed; payload, by its digest in a hashed part | hashed |
| signature; stored digest, which must be that of the signed bytes | signature |
| fill, compared with its byte; uncovered, for the reason the layout gives | uncovered |

The signature is a bare value over the digest of the signed bytes (`bare.py`). What is hashed follows from the layout and from
lengths that are hashed themselves; a verifier takes layouts from its trust file alone (A089). A file whose signed bytes have the
magic of two of them is refused: else what a key signed under one would be read by the other (A029).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.bare import matching_signers
from sealwright.envelope.cms import Envelope
from sealwright.envelope.kinds import LAYOUT
from sealwright.errors import KeyRefused, MalformedArtifact, UsageError
from sealwright.findings import Finding, reject
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
from sealwright.formats.layoutfield import is_empty
from sealwright.formats.layouttext import Layout, Part, Role
from sealwright.formats.layoutvalue import algorithm_of, fits, in_place, value_in
from sealwright.formats.position import END

NAME = "layout"
MAX_OFFSET = 2**62
PAYLOAD_DIGEST = "the payload's digest"
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
                pieces += _cut(start, end, patches)
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


class LayoutFormat:
    """The format for files of layouts; one that fits more than one of them is refused. layouts: those whose magic is looked for."""

    def __init__(self, layouts: tuple[Layout, ...]) -> None:
        self._layouts = layouts

    @property
    def name(self) -> str:
        """`layout:` and the one layout's name."""
        return f"{NAME}:{self._layouts[0].name}" if len(self._layouts) == 1 else NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """The magic of one of them."""
        return any(has_magic(layout, source) for layout in self._layouts)

    def fitting(self, source: OpenArtifact) -> LayoutFormat:
        """The same for the layouts alone whose magic a file has."""
        return LayoutFormat(tuple(layout for layout in self._layouts if has_magic(layout, source)))

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims the layout has no field for, or that the image contradicts; KeyRefused for a digest that is not the layout's."""
        layout, (name,) = self._only(path), algorithms
        if name is not layout.digest:
            what = f"the layout {layout.name} wants {layout.digest}, and this key signs {name}"
            raise KeyRefused(path, what, "Sign with a key of another type: P-256 and RSA sign sha256, P-384 sha384.")
        with open_artifact(path) as source:
            placed = place(layout, source)
            _check_existing(source, placed, existing)
            patches = _patches(source, placed, claims, progress)
            pieces = placed.signed(patches)
            after = claims_in(source, placed, patches)
            _check_set(source, pieces)
            check_runs(source, placed)
            if not any(patch.what == PAYLOAD_DIGEST for patch in patches):
                for finding in payload_findings(source, placed, progress):
                    raise MalformedArtifact(path, finding.found, "Build the image again.")
            digests = source.digest_ranges((name,), pieces, b"", progress)
            if not patches and _stored(source, placed) not in (None, digests[name]):
                raise MalformedArtifact(path, "the digest in it is not its own", "Build the image again.")
        return Prepared(
            self.name,
            LAYOUT.name,
            path,
            digests,
            None,
            placed.size,
            placed.coverage,
            after,
            existing=existing,
            layout=layout.text_digest,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The image with signature, stored digest and claims in their places."""
        layout = self._only(prepared.path)
        value = in_place(layout, sealed, prepared.path)
        with open_artifact(prepared.path) as source:
            placed = place(layout, source)
            patches = _patches(source, placed, prepared.claims, None)
        made: list[bytes | FileRange] = []
        for part, start, end in placed.spans():
            if part.role is Role.SIGNATURE:
                made.append(value)
            elif part.role is Role.STORED_DIGEST:
                made.append(prepared.digests[layout.digest].value)
            else:
                pieces = _cut(start, end, patches)
                made += [one if isinstance(one, bytes) else _range(prepared.path, *one) for one in pieces]
        return tuple(made)

    def strip(self, path: str) -> Parts:
        """The image with an empty place, or without it where signatures are appended; a stored digest stays, it is still true."""
        layout = self._only(path)
        with open_artifact(path) as source:
            placed = place(layout, source)
            if not is_signed(source, placed):
                raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        start, end = placed.span(Role.SIGNATURE) or (0, 0)
        if layout.appended:
            return (_range(path, 0, start),)
        return (_range(path, 0, start), bytes((layout.empty,)) * (end - start), _range(path, end, placed.size))

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate, or none where the place is empty; the signer is whoever's key fits."""
        with search.opened(path) as source:
            layout = self._only(path)
            placed = place(layout, source)
            if not is_signed(source, placed):
                return Found(path, source.size, (), None, structure=_structure(placed))
            pieces = placed.signed()
            _check_set(source, pieces)
            check_runs(source, placed)
            _check_rivals(source, layout, pieces, search.layouts)
            names = {HashName.SHA256, layout.digest, *(digest.algorithm for digest in search.watched)}
            delivered = source.digest_ranges(sorted(names), pieces, b"", search.progress)
            envelope = _envelope(source, placed, delivered[layout.digest], search.certificates)
            findings = payload_findings(source, placed, search.progress)
            claims = claims_in(source, placed)
            whole = watched_digests(source, search)
        artifact, name = delivered[HashName.SHA256], os.path.basename(path)
        candidate = Candidate(
            source=name,
            slot=Slot.MAKER,
            format=self.name,
            kind=LAYOUT.name,
            envelope=envelope,
            digests=delivered,
            artifact=artifact,
            claims=claims,
            coverage=placed.coverage,
            findings=findings,
            contents=(*delivered.values(), *whole),
            name=name,
        )
        return Found(path, placed.size, (candidate,), artifact, structure=_structure(placed))

    def _only(self, path: str) -> Layout:
        if len(self._layouts) != 1:
            names = " and ".join(layout.name for layout in self._layouts)
            raise MalformedArtifact(path, f"it has the magic of several layouts: {names}", "Ask which one it is of.")
        return self._layouts[0]


def check_image(layout: Layout, source: OpenArtifact) -> tuple[Placed, Claims]:
    """A file laid out, and what it claims, signed or not; MalformedArtifact where it is not of the layout."""
    placed = place(layout, source)
    check_runs(source, placed)
    if layout.payload_digest is not None and is_signed(source, placed):
        for finding in payload_findings(source, placed, None):
            raise MalformedArtifact(source.path, finding.found, "Build the image again.")
    return placed, claims_in(source, placed)


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
        raise _wrong(source, 0, f"the magic of the layout {layout.name} is not there")
    values = _lengths(layout, source)
    bounds = [0, *(part.end.among(values) for part in layout.parts)]
    for number, part in enumerate(layout.parts, 1):
        if not bounds[number - 1] <= bounds[number] <= MAX_OFFSET:
            raise _wrong(source, bounds[number - 1], f"part {number} ({part.role}) would end at {bounds[number]}")
    whole, size = bounds[-1], source.size
    if size != whole and not (layout.appended and size == bounds[-2]):
        raise _wrong(source, min(size, whole), f"it has {size} bytes, and its layout says {whole}")
    for spot in layout.spots:
        at = spot.at.among(values)
        if not bounds[spot.part] <= at <= bounds[spot.part + 1] - spot.size:
            raise _wrong(source, at, f"a field of {spot.size} bytes is not inside the hashed part it belongs to")
    placed = Placed(layout, size, values, tuple(bounds))
    _check_constants(source, placed)
    return placed


def _lengths(layout: Layout, source: OpenArtifact) -> dict[str, int]:
    values = {END: source.size}
    for length in layout.lengths:
        at, size = length.spot.at.among(values), length.spot.size
        data = source.read_at(at, size) if at >= 0 else b""
        if len(data) != size:
            raise _wrong(source, max(at, 0), f"the length {length.name} is not there")
        values[length.name] = length.number.read(data) * length.unit
        if values[length.name] > MAX_OFFSET // len(layout.parts):
            raise _wrong(source, at, f"the length {length.name} is {values[length.name]}")
    return values


def _check_constants(source: OpenArtifact, placed: Placed) -> None:
    for place, data in placed.layout.constants:
        at = place.among(placed.values)
        if not 0 <= at <= placed.size - len(data) or source.read_at(at, len(data)) != data:
            raise _wrong(source, max(at, 0), f"there is not {data[:16].hex(' ')}, which every image has there")


def check_runs(source: OpenArtifact, placed: Placed) -> None:
    """Bytes that must all be the same are: in fill parts, and where the layout says so of hashed ones."""
    runs = [(start, end, part.byte) for part, start, end in placed.spans() if part.role is Role.FILL]
    values = placed.values
    runs += [(run.start.among(values), run.end.among(values), run.byte) for run in placed.layout.runs]
    for start, end, byte in runs:
        if not 0 <= start <= end <= placed.size:
            raise _wrong(source, max(start, 0), f"bytes {start} to {end} are not there")
        at = start
        for block in source.blocks([(start, end)]):
            if rest := bytes(block).lstrip(bytes((byte,))):
                raise _wrong(source, at + len(block) - len(rest), f"a byte that is not {byte:#04x} among fill bytes")
            at += len(block)


def _check_existing(source: OpenArtifact, placed: Placed, existing: Existing) -> None:
    if not is_signed(source, placed):
        return
    if existing is Existing.REFUSE:
        raise UsageError(source.path, "the place of the signature is filled already", "Use --replace to sign again.")
    if existing is Existing.ADD:
        raise UsageError(source.path, "its layout has room for one signature", "Use --replace.")


def is_signed(source: OpenArtifact, placed: Placed) -> bool:
    start, end = placed.span(Role.SIGNATURE) or (0, 0)
    return placed.has_place and not is_empty(source.read_at(start, end - start))


def _patches(source: OpenArtifact, placed: Placed, claims: Claims, progress: Progress | None) -> list[Patch]:
    """What signing writes: the payload's digest and claims into empty fields; UsageError where a full one says something else."""
    layout, patches = placed.layout, []
    if layout.payload_digest is not None:
        spot, algorithm = layout.payload_digest
        at = spot.at.among(placed.values)
        there = source.read_at(at, spot.size)
        if is_empty(there):
            digest = source.digest_ranges((algorithm,), placed.payload(), b"", progress)[algorithm]
            patches.append(Patch(at, digest.value, PAYLOAD_DIGEST))
    asked: dict[str, str | int | None] = {
        "product": claims.product,
        "version": claims.version,
        "generation": claims.generation,
        "hardware": claims.hardware[0] if claims.hardware else None,
    }
    if claims.environment or len(claims.hardware) > 1:
        what = "a layout has no field for the environment, and one for hardware"
        raise UsageError(source.path, what, "Leave them out, or sign the result again with a manifest.")
    for one in layout.claims:
        wanted = asked.pop(one.claim)
        if wanted is None:
            continue
        at = one.spot.at.among(placed.values)
        there = source.read_at(at, one.spot.size)
        try:
            data = one.field.written(wanted)
        except ValueError as cause:
            raise UsageError(
                source.path, f"--{one.claim} {wanted}: {cause}", "Give one that fits its field."
            ) from cause
        if data == there:
            continue
        said = _read(source, placed, one.claim)
        if said not in (None, 0) or not is_empty(there):
            raise UsageError(
                source.path,
                f"the image says {one.claim} {said}",
                f"Leave out --{one.claim}, or build the image with it.",
            )
        patches.append(Patch(at, data, one.claim))
    for claim, wanted in asked.items():
        if wanted is not None:
            what = f"the layout {layout.name} has no field for the {claim}"
            raise UsageError(source.path, what, f"Leave out --{claim}, or sign the result again with a manifest.")
    return sorted(patches)


def claims_in(source: OpenArtifact, placed: Placed, patches: Sequence[Patch] = ()) -> Claims:
    """What the fields say, with what signing writes into them."""
    said = {one.claim: _read(source, placed, one.claim, patches) for one in placed.layout.claims}
    hardware, generation = said.get("hardware"), said.get("generation")
    return Claims(
        product=_text(said.get("product")),
        version=_text(said.get("version")),
        generation=generation if isinstance(generation, int) else None,
        hardware=(str(hardware),) if hardware is not None else (),
    )


def _text(said: str | int | None) -> str | None:
    return None if said is None else str(said)


def _read(source: OpenArtifact, placed: Placed, claim: str, patches: Sequence[Patch] = ()) -> str | int | None:
    (one,) = (one for one in placed.layout.claims if one.claim == claim)
    at = one.spot.at.among(placed.values)
    data = next((patch.data for patch in patches if patch.at == at), None) or source.read_at(at, one.spot.size)
    try:
        return one.field.read(data)
    except ValueError as cause:
        said = "it is not UTF-8" if isinstance(cause, UnicodeDecodeError) else str(cause)
        raise _wrong(source, at, f"the field of the {claim}: {said}") from cause


def _stored(source: OpenArtifact, placed: Placed) -> Digest | None:
    """The stored digest; None where the layout has none, or nobody has filled its place."""
    span = placed.span(Role.STORED_DIGEST)
    data = source.read_at(span[0], span[1] - span[0]) if span is not None else b""
    return None if is_empty(data) else Digest(placed.layout.digest, data)


def payload_findings(source: OpenArtifact, placed: Placed, progress: Progress | None) -> tuple[Finding, ...]:
    """SW-FILE-CHANGED where the payload is not what its digest, which is signed, says."""
    if placed.layout.payload_digest is None:
        return ()
    spot, algorithm = placed.layout.payload_digest
    said = Digest(algorithm, source.read_at(spot.at.among(placed.values), spot.size))
    delivered = source.digest_ranges((algorithm,), placed.payload(), b"", progress)[algorithm]
    if said == delivered:
        return ()
    what = f"the payload's digest in it is {said}, the payload has {delivered}"
    return (reject("SW-FILE-CHANGED", os.path.basename(source.path), str(said), what),)


def _check_set(source: OpenArtifact, pieces: Sequence[Piece]) -> None:
    """The signed attributes of a CMS are one DER SET, and a signature over them must never serve as one over an image (A027)."""
    head = _bytes_at(source, pieces, 0, 10)
    if head[:1] != b"\x31" or len(head) < 2:
        return
    count = head[1] & 0x7F if head[1] & 0x80 else 0
    size = int.from_bytes(head[2 : 2 + count], "big") if count else head[1]
    if 2 + count + size == _total(pieces):
        raise _wrong(source, 0, "its signed bytes are one DER SET, as a CMS signs")


def _check_rivals(source: OpenArtifact, layout: Layout, pieces: Sequence[Piece], others: Sequence[Layout]) -> None:
    """The signed bytes are of no other layout, by its magic at its place among them (A029)."""
    for other in others:
        if other.text_digest == layout.text_digest:
            continue
        for one in other.magic:
            front, back = other.signed_place(one.spot)
            at = front.number if not front.lengths else _total(pieces) - back.number
            if _bytes_at(source, pieces, at, len(one.data)) != one.data:
                break
        else:
            raise _wrong(source, 0, f"its signed bytes have the magic of the layout {other.name} as well")


def _envelope(source: OpenArtifact, placed: Placed, delivered: Digest, certificates: tuple[bytes, ...]) -> Envelope:
    """The value with its signers, over what the image says is its digest: what was delivered is compared with that later."""
    layout, name = placed.layout, os.path.basename(source.path)
    start, end = placed.span(Role.SIGNATURE) or (0, 0)
    value = value_in(layout, source.read_at(start, end - start), name)
    stored = delivered
    if layout.one(Role.STORED_DIGEST) is not None:
        found = _stored(source, placed)
        if found is None:
            raise _wrong(source, start, "it is signed, and its stored digest is empty")
        stored = found
    called = f"layout {layout.name}"
    signers = matching_signers(
        value, stored, algorithm_of(layout), certificates, lambda _, known: fits(layout, known), name, called
    )
    return Envelope("", None, (), signers)


def _structure(placed: Placed) -> tuple[str, ...]:
    layout = placed.layout
    said = [f"layout {layout.name}: {layout.title}"]
    for part, start, end in placed.spans():
        if start < end:
            said.append(f"bytes {start} to {end}: {part.role}")
    return tuple(said)


def _cut(start: int, end: int, patches: Sequence[Patch]) -> Iterator[Piece]:
    """The bytes start <= i < end of the file with the patches among them."""
    for patch in patches:
        if start <= patch.at and patch.at + len(patch.data) <= end:
            if start < patch.at:
                yield (start, patch.at)
            yield patch.data
            start = patch.at + len(patch.data)
    if start < end:
        yield (start, end)


def _bytes_at(source: OpenArtifact, pieces: Sequence[Piece], at: int, size: int) -> bytes:
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


def _total(pieces: Sequence[Piece]) -> int:
    return sum(map(_length, pieces))


def _range(path: str, start: int, end: int) -> FileRange:
    return FileRange(path, start, end - start)


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"byte {offset}: {what}", "Build the image again, or fetch it again.")
