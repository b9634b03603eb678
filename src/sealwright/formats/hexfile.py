"""Intel HEX and Motorola S-record: firmware as text, whose meaning is a memory image.

    :10010000214601360121470136007EFE09D2190140        length, address, type, data, sum
    S1130000285F245F2212226A000424290008237C2A         type, length, address, data, sum

The same memory can be written in many ways, and two readers may load different memory from one file where records overlap, come
after the end record or wrap around (A092). So a file is read only if every reader must agree on it:

1. Each line is one record with its right sum, ended by LF or CR LF, in hexadecimal without spaces.
2. Addresses grow, so nothing is written twice; no record wraps at the end of its 64 KiB (or of the address space).
3. Intel HEX: two extended addresses in a row agree; some readers add a segment address to a linear one and others take the last,
   so one of both is 0, as objcopy writes it. S-record: a count is right.
4. The end record is there, and nothing behind it.
5. Gaps are filled with 0xFF, as erased flash reads, up to MAX_GAP_BYTES each; the image has at most MAX_IMAGE_BYTES.

Memory does not grow with the file: the image is made block by block, each time it is asked for.
Source: Intel Hexadecimal Object File Format Specification, revision A (1988); srec(5).
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_TEXT_BYTES = 256 << 20
MAX_IMAGE_BYTES = 64 << 20
MAX_GAP_BYTES = 16 << 20
MAX_LINE_BYTES = 2 * (5 + 255) + 2
ERASED = b"\xff"
_BLOCK_BYTES = 64 << 10
_HEAD = re.compile(rb"(?::[0-9A-Fa-f]{10}|S[0-9][0-9A-Fa-f]{8})")
_HEAD_BYTES = 11
_DATA, _END, _SEGMENT, _SEGMENT_START, _LINEAR, _LINEAR_START = range(6)
_LENGTHS = {_END: 0, _SEGMENT: 2, _SEGMENT_START: 4, _LINEAR: 2, _LINEAR_START: 4}
_ADDRESS_BYTES = {0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}


class Syntax(StrEnum):
    """How the memory image is written."""

    INTEL_HEX = "Intel HEX"
    S_RECORD = "Motorola S-record"


class Memory(NamedTuple):
    """The memory image: bytes from address start to end, of which `gaps` are filling. digests: of its bytes, as asked for."""

    syntax: Syntax
    start: int
    end: int
    gaps: int
    digests: dict[HashName, Digest]

    @property
    def size(self) -> int:
        """Its bytes, with the filling."""
        return self.end - self.start


class _Piece(NamedTuple):
    """One data record, or a part of the filling between two. line: counted from 1."""

    line: int
    address: int
    data: bytes
    is_filling: bool = False


def syntax_of(source: OpenArtifact) -> Syntax | None:
    """How a file is written, by its first record; None where it is neither."""
    head = source.read_at(0, _HEAD_BYTES)
    if not _HEAD.match(head):
        return None
    return Syntax.INTEL_HEX if head.startswith(b":") else Syntax.S_RECORD


def read_memory(source: OpenArtifact, names: Collection[HashName] = (), progress: Progress | None = None) -> Memory:
    """Read and check a whole file. MalformedArtifact with the line that breaks a rule; LimitExceeded for what is too large."""
    syntax = syntax_of(source)
    if syntax is None:
        raise MalformedArtifact(source.path, "line 1: neither Intel HEX nor S-record", "Check that this is the file.")
    states = [name.new() for name in names]
    start = end = gaps = 0
    for piece in _filled(_pieces(source, progress)):
        for state in states:
            state.update(piece.data)
        start = start if end else piece.address
        end = piece.address + len(piece.data)
        gaps += len(piece.data) if piece.is_filling else 0
    digests = {name: Digest(name, state.digest()) for name, state in zip(names, states, strict=True)}
    return Memory(syntax, start, end, gaps, digests)


def memory_blocks(source: OpenArtifact, skip: int = 0) -> Iterator[bytes]:
    """The bytes of the image in blocks, without the first `skip` of them; every error of `read_memory`."""
    waiting: list[bytes] = []
    size = 0
    for piece in _filled(_pieces(source)):
        waiting.append(piece.data[skip:])
        skip = max(0, skip - len(piece.data))
        size += len(waiting[-1])
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def first_bytes(source: OpenArtifact, size: int) -> bytes:
    """The first bytes of the image, fewer where it is smaller; nothing behind them is read."""
    found = b""
    for block in memory_blocks(source):
        found += block
        if len(found) >= size:
            break
    return found[:size]


def memory_digests(
    source: OpenArtifact, names: Collection[HashName], skip: int, front: bytes, behind: bytes
) -> dict[HashName, Digest]:
    """The digests of the image without its first `skip` bytes, and of what is put in front and behind."""
    states = [name.new(front) for name in names]
    for block in memory_blocks(source, skip):
        for state in states:
            state.update(block)
    for state in states:
        state.update(behind)
    return {name: Digest(name, state.digest()) for name, state in zip(names, states, strict=True)}


def _filled(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """The same without gaps."""
    end = None
    for piece in pieces:
        for address in range(end if end is not None else piece.address, piece.address, _BLOCK_BYTES):
            filling = ERASED * min(_BLOCK_BYTES, piece.address - address)
            yield _Piece(piece.line, address, filling, is_filling=True)
        yield piece
        end = piece.address + len(piece.data)


def _pieces(source: OpenArtifact, progress: Progress | None = None) -> Iterator[_Piece]:
    """The data records, each at or above the end of the one before, at least one."""
    if source.size > MAX_TEXT_BYTES:
        raise LimitExceeded(source.path, f"{source.size} bytes of text", f"At most {MAX_TEXT_BYTES} are read.")
    records = _intel_hex if syntax_of(source) is Syntax.INTEL_HEX else _s_records
    start = end = -1
    for piece in records(source, _lines(source, progress)):
        if end >= 0 and piece.address < end:
            what = f"address {piece.address:#x} is below {end:#x}, where the record before ends"
            raise _wrong(source, piece.line, what, "Sort the records, as objcopy does, and remove those that overlap.")
        if end >= 0 and piece.address - end > MAX_GAP_BYTES:
            what = f"line {piece.line}: a gap of {piece.address - end} bytes before address {piece.address:#x}"
            raise LimitExceeded(
                source.path, what, f"Gaps have at most {MAX_GAP_BYTES} bytes; sign each memory's part by itself."
            )
        start = start if end >= 0 else piece.address
        end = piece.address + len(piece.data)
        if end - start > MAX_IMAGE_BYTES:
            raise LimitExceeded(
                source.path,
                f"line {piece.line}: an image of {end - start} bytes",
                f"At most {MAX_IMAGE_BYTES} are read.",
            )
        yield piece
    if end < 0:
        raise _wrong(source, 1, "there are no data in it")


def _intel_hex(source: OpenArtifact, lines: Iterator[tuple[int, bytes]]) -> Iterator[_Piece]:
    bases, since_data = {_SEGMENT: 0, _LINEAR: 0}, dict[int, int]()
    last, started, ended = 0, False, False
    for number, line in lines:
        record = _record(source, number, line, b":", ended)
        length, address, form, data = record[0], int.from_bytes(record[1:3]), record[3], record[4:-1]
        if len(data) != length or sum(record) & 0xFF:
            raise _wrong(source, number, "its length or sum is wrong")
        if form == _DATA:
            if not data or address + length > 0x1_0000:
                raise _wrong(source, number, "no data, or data that wrap at the end of 64 KiB")
            if last != sum(bases.values()):
                raise _wrong(source, number, "an extended segment address and a linear one are both in force")
            since_data.clear()
            yield _Piece(number, last + address, data)
            continue
        if _LENGTHS.get(form) != length or address:
            raise _wrong(source, number, f"a record of type {form:02X} with {length} bytes at address {address:04X}")
        if form in (_SEGMENT, _LINEAR):
            last = bases[form] = int.from_bytes(data) << (4 if form == _SEGMENT else 16)
            if since_data.setdefault(form, last) != last:
                raise _wrong(source, number, "an extended address that contradicts the one just before")
        elif form == _END:
            ended = True
        elif started:
            raise _wrong(source, number, "a second start address")
        else:
            started = True
    if not ended:
        raise MalformedArtifact(source.path, "there is no end record: it is cut off", "Fetch it again.")


def _s_records(source: OpenArtifact, lines: Iterator[tuple[int, bytes]]) -> Iterator[_Piece]:
    data_records, counted, ended = 0, False, False
    for number, line in lines:
        form = line[1] - ord("0") if len(line) > 1 else -1
        record = _record(source, number, line, b"S" + line[1:2], ended)
        width = _ADDRESS_BYTES.get(form)
        if width is None or record[0] != len(record) - 1 or len(record) < width + 2 or sum(record) & 0xFF != 0xFF:
            raise _wrong(source, number, "its type, length or sum is wrong")
        address, data = int.from_bytes(record[1 : 1 + width]), record[1 + width : -1]
        if form in (1, 2, 3):
            if not data or counted or address + len(data) > 1 << 8 * width:
                raise _wrong(source, number, "no data, data behind their count, or data that wrap around")
            data_records += 1
            yield _Piece(number, address, data)
            continue
        if form == 0:
            if number != 1:
                raise _wrong(source, number, "a header that is not the first record")
        elif data:
            raise _wrong(source, number, f"a record S{form} with data")
        elif form in (5, 6):
            if counted or address != data_records:
                raise _wrong(source, number, f"it counts {address} data records, and there are {data_records}")
            counted = True
        else:
            ended = True
    if not ended:
        raise MalformedArtifact(source.path, "there is no end record: it is cut off", "Fetch it again.")


def _record(source: OpenArtifact, number: int, line: bytes, mark: bytes, ended: bool) -> bytes:
    """The bytes of a record: at least five in Intel HEX, four in S-record."""
    if ended:
        raise _wrong(source, number, "there is something behind the end record")
    try:
        record = unhexlify(line[len(mark) :])
    except ValueError as cause:
        raise _wrong(source, number, "it is not a record in hexadecimal") from cause
    if not line.startswith(mark) or len(record) < 6 - len(mark):
        raise _wrong(source, number, "it is not a record, or too short for one")
    return record


def _lines(source: OpenArtifact, progress: Progress | None) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends, numbered from 1, none longer than the longest record."""
    number, rest = 0, b""
    for block in source.blocks([(0, source.size)], progress):
        *lines, rest = (rest + bytes(block)).split(b"\n")
        for line in lines:
            number += 1
            yield number, line.removesuffix(b"\r")
        if len(rest) > MAX_LINE_BYTES:
            raise _wrong(source, number + 1, "it is longer than any record")
    source.check_unchanged()
    if rest:
        yield number + 1, rest


def _wrong(
    source: OpenArtifact, line: int, what: str, next_step: str = "Build it again, or fetch it again."
) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"line {line}: {what}", next_step)
