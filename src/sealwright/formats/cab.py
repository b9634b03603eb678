"""Cabinets (`.cab`) with an Authenticode signature behind them: drivers, updates, setup data.

    osslsigncode verify -CAfile ca.pem -in signed.cab

Layout ([MS-CAB] 2.1; the reserve is what signtool and osslsigncode write):

| bytes | to the signature |
| `MSCF` | hashed |
| reserved, 4 bytes | uncovered: zeros |
| sizes, offsets, version, counts, flags, set, 26 bytes | hashed |
| place in a set, 2 bytes; sizes of reserves, 4; the header's reserve: 00001000, offset and size of the signature, 4 zeros | uncovered |
| 4 more zeros, folders, files, data, to the cabinet's own size | hashed |
| PKCS #7, with 0 to 7 zero bytes so that it ends at a multiple of 8 | signature |

A cabinet that has no reserve gets one of 24 bytes, so what stands behind it moves, and offsets are hashed as they are then. One of
a set of cabinets names its neighbours and is not read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.kinds import AUTHENTICODE
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.formats.asked import refuse_but_one, refuse_claims
from sealwright.formats.authenticode import candidates_of, indirect_data, pkcs7_size, read_authenticode, wanted_digests
from sealwright.formats.format import (
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    watched_digests,
)

NAME = "cab"
MAGIC = b"MSCF"
MAX_FILE_BYTES = 0x7FFF_FFFF
MAX_SIGNATURE_BYTES = 1 << 20
MAX_BLOCKS = 1 << 20
MAX_NAME_BYTES = 256
ALIGNMENT = 8
HEADER = struct.Struct("<4sIIIIIBBHHHHH")
FOLDER = struct.Struct("<IHH")
FILE = struct.Struct("<IIHHHH")
BLOCK = struct.Struct("<IHH")
# sizes of the reserves of header, folders and data, then the header's own
RESERVE = struct.Struct("<HBB4sII8s")
IN_SET, RESERVED = 0x0003, 0x0004
_WINDOW = 1 << 16
_MARK = bytes.fromhex("00001000")
# SpcCabData: type 1.3.6.1.4.1.311.2.1.25, link <<<Obsolete>>>
_CAB_TYPE = bytes.fromhex("060a2b060104018237020119")
_CAB_DATA = bytes.fromhex("302c") + _CAB_TYPE + bytes.fromhex("a21e801c") + "<<<Obsolete>>>".encode("utf-16-be")
_ZERO = "reserved: zero"
_PLACE = "it says where the signature is"
_AGAIN = "Ask its maker for the cabinet again."


class Layout(NamedTuple):
    """head: the bytes up to the first file, as they are; content_end: where the cabinet ends; signature: PKCS #7, empty if unsigned."""

    head: bytes
    content_end: int
    signature: bytes
    size: int

    @property
    def reserved(self) -> bool:
        """Whether the header has room for a signature's place."""
        return bool(_u16(self.head, 30) & RESERVED)

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        ranges = [
            Range(0, 4, Extent.HASHED),
            Range(4, 8, Extent.UNCOVERED, _ZERO),
            Range(8, 34, Extent.HASHED),
            Range(34, 36, Extent.UNCOVERED, _ZERO),
        ]
        if self.reserved:
            ranges.append(Range(36, 56, Extent.UNCOVERED, _PLACE))
        ranges.append(Range(ranges[-1].end, self.content_end, Extent.HASHED))
        if self.content_end < self.size:
            ranges.append(Range(self.content_end, self.size, Extent.SIGNATURE))
        return Coverage(tuple(ranges))

    def with_reserve(self, signature_size: int) -> bytes:
        """The head of the signed cabinet. signature_size: with its padding."""
        moved = 0 if self.reserved else RESERVE.size
        place = (self.content_end + moved, signature_size)
        reserve = RESERVE.pack(RESERVE.size - 4, 0, 0, _MARK, *place, bytes(8))
        return self._head(moved, _u16(self.head, 30) | RESERVED, reserve)

    def without_reserve(self) -> bytes:
        """The head of a cabinet that is not signed."""
        return self._head(-RESERVE.size, _u16(self.head, 30) & ~RESERVED, b"")

    def _head(self, moved: int, flags: int, reserve: bytes) -> bytes:
        """The same with offsets that are `moved` bytes on."""
        fields = list(HEADER.unpack_from(self.head))
        fields[2], fields[4], fields[10] = self.content_end + moved, len(self.head) + moved, flags
        behind = HEADER.size + (RESERVE.size if self.reserved else 0)
        folders = (FOLDER.pack(start + moved, *rest) for start, *rest in FOLDER.iter_unpack(self.head[behind:]))
        return HEADER.pack(*fields) + reserve + b"".join(folders)

    def digests(
        self, source: OpenArtifact, names: Collection[HashName], progress: Progress | None = None
    ) -> dict[HashName, Digest]:
        """Of the cabinet as it is when it is signed."""
        head = self.with_reserve(0)
        front = head[:4] + head[8:34] + head[56:]
        return source.digest_ranges(names, [(len(self.head), self.content_end)], b"", progress, front)


class Cab:
    """The format for cabinets."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """By its first bytes, and the version that all cabinets have."""
        head = source.read_at(0, HEADER.size)
        return len(head) == HEADER.size and head.startswith(MAGIC) and head[25] == 1

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims, for `--add` and for one of a set; MalformedArtifact where it does not end with its data."""
        refuse_claims(path, claims, "a cabinet has no fields for product, version or generation")
        (name,) = algorithms
        with open_artifact(path) as source:
            layout = read_layout(source)
            refuse_but_one(path, bool(layout.signature), existing, "a cabinet has one signature")
            if layout.size + 2 * MAX_SIGNATURE_BYTES > MAX_FILE_BYTES:
                raise LimitExceeded(path, f"{layout.size} bytes", "Split the cabinet.")
            digest = layout.digests(source, (name,), progress)[name]
        content = indirect_data(_CAB_DATA, digest)
        digests = {name: AUTHENTICODE.digest(content, name)}
        coverage = layout.coverage
        return Prepared(
            NAME, AUTHENTICODE.name, path, digests, content, layout.size, coverage, claims, existing=existing
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The cabinet with the signature behind it and its place in the header."""
        path = prepared.path
        with open_artifact(path) as source:
            layout = read_layout(source)
        signature = sealed.envelope + bytes(-len(sealed.envelope) % ALIGNMENT)
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise LimitExceeded(path, f"a signature of {len(signature)} bytes", "Sign it with a shorter chain.")
        start = len(layout.head)
        return (layout.with_reserve(len(signature)), FileRange(path, start, layout.content_end - start), signature)

    def strip(self, path: str) -> Parts:
        """The cabinet without signature and reserve: as it was, unless it had a reserve before it was signed."""
        with open_artifact(path) as source:
            layout = read_layout(source)
        if not layout.signature:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        start = len(layout.head)
        return (layout.without_reserve(), FileRange(path, start, layout.content_end - start))

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate and those nested in it, or none."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            layout = read_layout(source)
            structure = (f"{_u16(layout.head, 26)} folders, {_u16(layout.head, 28)} files",)
            if not layout.signature:
                return Found(path, source.size, (), None, structure=structure)
            found = read_authenticode(layout.signature, (_CAB_TYPE,), name)
            delivered = layout.digests(source, wanted_digests(found, search), search.progress)
            whole = watched_digests(source, search)
        artifact = delivered[HashName.SHA256]
        candidates = candidates_of(found, NAME, name, delivered, layout.coverage, whole)
        return Found(path, layout.size, candidates, artifact, structure=structure)


def read_layout(source: OpenArtifact) -> Layout:
    """Where everything is. MalformedArtifact with the offset where the file is not cabinet and signature and nothing else."""
    head = source.read_at(0, HEADER.size + RESERVE.size)
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise _wrong(source, 0, "there is no header of a cabinet")
    _, zero, size, _, files, _, minor, major, folders, count, flags, _, place = HEADER.unpack_from(head)
    if (major, minor) != (1, 3) or zero:
        raise _wrong(source, 4, f"a cabinet of version {major}.{minor}, or reserved bytes that are not zero")
    if flags & IN_SET or place:
        raise UsageError(source.path, "it is one of a set of cabinets", "Build one cabinet, and sign that.")
    if flags & ~RESERVED:
        raise _wrong(source, 30, f"flags {flags:#06x}")
    if source.size > MAX_FILE_BYTES:
        raise LimitExceeded(source.path, f"{source.size} bytes", f"A cabinet has at most {MAX_FILE_BYTES}.")
    start, length = _place(source, head) if flags & RESERVED else (0, 0)
    first = HEADER.size + (RESERVE.size if flags & RESERVED else 0)
    if files != first + FOLDER.size * folders or files > size:
        raise _wrong(source, 16, f"files begin at {files}, {folders} folders end elsewhere")
    end = source.size if not length else start
    if size != end or start + length not in (0, source.size):
        raise _wrong(
            source, 8, f"a cabinet of {size} bytes and a signature of {length} at {start}, the file has {source.size}"
        )
    head = source.read_at(0, files)
    _check_files(source, files, count, end)
    _check_blocks(source, head[first:], first, (files, end))
    return Layout(head, end, _signature(source, start, length) if length else b"", source.size)


def _check_files(source: OpenArtifact, at: int, count: int, end: int) -> None:
    """The files' entries end with the cabinet: a name that went on behind it would be read from the signature."""
    window, start = b"", at
    for _ in range(count):
        if start + len(window) < at + FILE.size + MAX_NAME_BYTES:
            window, start = source.read_at(at, min(_WINDOW, end - at)), at
        name = at - start + FILE.size
        zero = window.find(b"\0", name, name + MAX_NAME_BYTES)
        if zero < 0:
            raise _wrong(source, at, f"a file's entry without the end of its name, of at most {MAX_NAME_BYTES} bytes")
        at = start + zero + 1


def _check_blocks(source: OpenArtifact, folders: bytes, at: int, within: tuple[int, int]) -> None:
    """Each folder's blocks of data end with the cabinet: what follows is the signature, of which much is nobody's word (A089)."""
    first, end = within
    if sum(blocks for _, blocks, _ in FOLDER.iter_unpack(folders)) > MAX_BLOCKS:
        raise LimitExceeded(source.path, f"more than {MAX_BLOCKS} blocks of data", "Split the cabinet.")
    for number, (data, blocks, _) in enumerate(FOLDER.iter_unpack(folders)):
        there = first <= data <= end
        while there and blocks:
            head = source.read_at(data, BLOCK.size)
            data += BLOCK.size + _u16(head, 4)
            there, blocks = len(head) == BLOCK.size and data <= end, blocks - 1
        if not there:
            said = f"a folder's data lead to {data}, and those of the cabinet are from {first} to {end}"
            raise _wrong(source, at + FOLDER.size * number, said)


def _place(source: OpenArtifact, head: bytes) -> tuple[int, int]:
    """Offset and size of the signature, both 0 for a reserve that is not filled yet."""
    if len(head) < HEADER.size + RESERVE.size:
        raise _wrong(source, HEADER.size, "the header is cut off")
    header, folder, data, mark, start, length, zeros = RESERVE.unpack_from(head, HEADER.size)
    if (header, folder, data) != (RESERVE.size - 4, 0, 0) or mark not in (_MARK, bytes(4)) or zeros.strip(b"\0"):
        raise _wrong(source, HEADER.size, "a reserve that is not a signature's")
    if (mark != _MARK or not start or not length) and (start or length):
        raise _wrong(source, HEADER.size + 8, f"a signature of {length} bytes at {start}")
    if length > MAX_SIGNATURE_BYTES:
        raise LimitExceeded(source.path, f"a signature of {length} bytes", f"At most {MAX_SIGNATURE_BYTES} are read.")
    return start, length


def _signature(source: OpenArtifact, start: int, length: int) -> bytes:
    """The PKCS #7; only zero bytes may lie behind it, fewer than 8."""
    data = source.read_at(start, length)
    used = pkcs7_size(data)
    if not used or length - used >= ALIGNMENT or data[used:].strip(b"\0"):
        raise _wrong(source, start, "there is more than one PKCS #7 and its padding")
    return data[:used]


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"at byte {offset}: {what}", _AGAIN)
