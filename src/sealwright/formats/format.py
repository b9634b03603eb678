"""The values between an artifact and its signature, and the protocol every format keeps.

A format is one file that turns an artifact into what a signature binds (`prepare`), puts a finished envelope where the
format wants it (`attach`) and finds both again (`extract`). It knows nothing of keys or trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.findings import Finding


class Slot(StrEnum):
    """Which part a signature plays; a signature fills one slot (RULES 1)."""

    MAKER = "maker"
    PLANT = "plant"
    PQ = "pq"


class Extent(StrEnum):
    """What one byte range of an artifact is to the signature."""

    HASHED = "hashed"
    SIGNATURE = "signature"
    UNCOVERED = "uncovered"


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes start <= i < end of the artifact; reason is given where they are not hashed."""

    start: int
    end: int
    extent: Extent
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Ranges that tile the artifact completely, in order; for a tree the one range of its listed bytes."""

    ranges: tuple[Range, ...]

    def __post_init__(self) -> None:
        at = 0
        for part in self.ranges:
            if part.start != at or part.end < part.start:
                raise ValueError(f"coverage leaves a gap or overlaps at byte {at}")
            at = part.end

    @classmethod
    def whole(cls, size: int) -> Coverage:
        """Every byte hashed."""
        return cls((Range(0, size, Extent.HASHED),))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a signature will bind. kind: the content kind of RULES 1 (`file`, `manifest`, ...); digests: of the content.

    content: the small content itself (<= 1 MiB) where the format has one (a manifest), else None; the signer parses it
    and encodes it again. artifact: the content digest that deny lists and logs know the artifact by.
    """

    format: str
    kind: str
    digests: Mapping[HashName, Digest]
    content: bytes | None
    size: int
    coverage: Coverage
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One envelope found for an artifact, with the digests of the delivered bytes that it must bind.

    source: where it was found ("drive.bin.p7s"); tokens: timestamp tokens found beside it (`.tsr`).
    """

    source: str
    slot: Slot
    format: str
    kind: str
    envelope: bytes
    digests: Mapping[HashName, Digest]
    claims: Claims = Claims()
    coverage: Coverage = Coverage(())
    tokens: tuple[bytes, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Everything `extract` found for one artifact. findings: what is wrong before any signature is looked at."""

    path: str
    size: int
    candidates: Sequence[Candidate]
    artifact: Digest | None
    findings: tuple[Finding, ...] = field(default=())
