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
from collections.abc import Collection, Sequence
from itertools import pairwise

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.bare import HEAD_BYTES, is_attributes, matching_signers
from sealwright.envelope.cms import Envelope
from sealwright.envelope.kinds import LAYOUT
from sealwright.errors import KeyRefused, MalformedArtifact, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.format import (
    Candidate,
    Existing,
    Found,
    Prepared,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.layoutfield import is_empty
from sealwright.formats.layoutplaced import (
    Patch,
    Piece,
    Placed,
    bytes_at,
    check_runs,
    claims_in,
    cut,
    has_magic,
    is_signed,
    place,
    read_claim,
    total,
    wrong,
)
from sealwright.formats.layouttext import Layout, Role
from sealwright.formats.layoutvalue import algorithm_of, fits, in_place, value_in

NAME = "layout"
PAYLOAD_DIGEST = "the payload's digest"


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
                pieces = cut(start, end, patches)
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


def _check_existing(source: OpenArtifact, placed: Placed, existing: Existing) -> None:
    if not is_signed(source, placed):
        return
    if existing is Existing.REFUSE:
        raise UsageError(source.path, "the place of the signature is filled already", "Use --replace to sign again.")
    if existing is Existing.ADD:
        raise UsageError(source.path, "its layout has room for one signature", "Use --replace.")


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
        said = read_claim(source, placed, one.claim)
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
    patches.sort()
    for before, after in pairwise(patches):
        if before.at + len(before.data) > after.at:
            raise wrong(source, after.at, f"{before.what} and {after.what} would be written into the same bytes")
    return patches


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
    """A signature over the signed attributes of a CMS must never serve as one over an image (A027)."""
    if is_attributes(bytes_at(source, pieces, 0, HEAD_BYTES), total(pieces)):
        raise wrong(source, 0, "its signed bytes are one DER SET of attributes, as a CMS signs")


def _check_rivals(source: OpenArtifact, layout: Layout, pieces: Sequence[Piece], others: Sequence[Layout]) -> None:
    """The signed bytes are of no other layout, by its magic at its place among them (A029)."""
    for other in others:
        if other.text_digest == layout.text_digest:
            continue
        for one in other.magic:
            front, back = other.signed_place(one.spot)
            at = front.number if not front.lengths else total(pieces) - back.number
            if bytes_at(source, pieces, at, len(one.data)) != one.data:
                break
        else:
            raise wrong(source, 0, f"its signed bytes have the magic of the layout {other.name} as well")


def _envelope(source: OpenArtifact, placed: Placed, delivered: Digest, certificates: tuple[bytes, ...]) -> Envelope:
    """The value with its signers, over what the image says is its digest: what was delivered is compared with that later."""
    layout, name = placed.layout, os.path.basename(source.path)
    start, end = placed.span(Role.SIGNATURE) or (0, 0)
    value = value_in(layout, source.read_at(start, end - start), name)
    stored = delivered
    if layout.one(Role.STORED_DIGEST) is not None:
        found = _stored(source, placed)
        if found is None:
            raise wrong(source, start, "it is signed, and its stored digest is empty")
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


def _range(path: str, start: int, end: int) -> FileRange:
    return FileRange(path, start, end - start)
