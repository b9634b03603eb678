"""Compound files ([MS-CFB], "OLE structured storage"): storages and streams of one file, as Windows Installer keeps its packages.

A file is a header and sectors of 512 bytes (version 3) or 4096 (version 4). A table (FAT) chains them; streams below 4096 bytes
live in sectors of 64 in a stream of their own, the mini stream, chained by a second table. The directory is a tree of entries.

1. Every chain has as many sectors as its stream's size says and ends; no sector belongs to two; one of nobody is marked free.
2. Every entry of the directory is reached once. Siblings stand in the order of [MS-CFB] 2.6.4, so that a reader that searches
   and one that lists see the same names, and no two of them differ in case alone.
3. Bytes that no reader looks at are `spare`: behind a stream's end, free sectors, unused entries. `check_nothing_hidden`
   demands zeros of them; the last sector ends the file (A059, CVE-2020-1464).
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import NamedTuple

from sealwright.artifact.source import OpenArtifact
from sealwright.errors import LimitExceeded, MalformedArtifact

MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
ENTRY_BYTES = 128
CUTOFF = 4096
MINI = 64
MAX_SECTORS = 1 << 22
MAX_FILE_BYTES = 0x7FFF_FF00  # where [MS-CFB] 2.8 puts a lock's sector; Windows Installer ends at 2 GiB too
MAX_ENTRIES = 1 << 13
MAX_PIECES = 1 << 16
MAX_DEPTH = 16
NOTHING = 0xFFFF_FFFF  # no entry; in a table: a free sector
END, FAT, DIFAT = 0xFFFF_FFFE, 0xFFFF_FFFD, 0xFFFF_FFFC
BLANK_TIME = bytes(8)
HEADER = struct.Struct("<8s16sHHHHH6sIIIIIIIII")
IN_HEADER = 109
_SECTOR_SHIFTS = {3: 9, 4: 12}
ENTRY = struct.Struct("<64sHBBIII16s4s8s8sIQ")
_ROOT_NAME = "Root Entry".encode("utf-16-le")
_NO_START = (0, END, NOTHING)
RED, BLACK = 0, 1
_CHUNK = 1 << 16
Span = tuple[int, int]


class Type(IntEnum):
    """What a directory entry is."""

    UNUSED = 0
    STORAGE = 1
    STREAM = 2
    ROOT = 5


class Item(NamedTuple):
    """A storage with what it holds, or a stream. name: UTF-16LE; at: where its entry is in the file; -1 for a new one.

    created, modified: FILETIME; spans: where a stream's bytes are in the file, in order; data: a new stream's bytes instead;
    children: of a storage, in the directory's order.
    """

    name: bytes
    type: Type
    at: int = -1
    clsid: bytes = bytes(16)
    state: bytes = bytes(4)
    created: bytes = BLANK_TIME
    modified: bytes = BLANK_TIME
    size: int = 0
    spans: tuple[Span, ...] = ()
    data: bytes = b""
    children: tuple[Item, ...] = ()


class CompoundFile(NamedTuple):
    """sector: bytes of one; spare: the byte ranges that no reader looks at, in order."""

    size: int
    sector: int
    root: Item
    spare: tuple[Span, ...]


class _Header(NamedTuple):
    sector: int
    directory_sectors: int | None
    fat_sectors: int
    directory: int
    mini_fat: int
    mini_fat_sectors: int
    difat: int
    difat_sectors: int
    listed: tuple[int, ...]


class _Entry(NamedTuple):
    at: int
    name: bytes
    type: Type
    left: int
    right: int
    child: int
    clsid: bytes
    state: bytes
    created: bytes
    modified: bytes
    start: int
    size: int


def order(name: bytes) -> tuple[int, ...]:
    """The key by which siblings are compared: length first, then code units in upper case ([MS-CFB] 2.6.4)."""
    return (len(name), *(_upper(unit) for unit in struct.unpack(f"<{len(name) // 2}H", name)))


def shown(name: bytes) -> str:
    """A name for people."""
    return name.decode("utf-16-le", "replace").encode("unicode_escape").decode()


def root_class(source: OpenArtifact) -> bytes:
    """The CLSID of the root storage, which says whose file it is; empty where there is none."""
    head = source.read_at(0, 52)
    if len(head) < 52 or not head.startswith(MAGIC):
        return b""
    shift = _SECTOR_SHIFTS.get(int.from_bytes(head[26:28], "little"), 9)
    at = (int.from_bytes(head[48:52], "little") + 1) << shift
    return source.read_at(at + 80, 16)


def read_compound_file(source: OpenArtifact) -> CompoundFile:
    """MalformedArtifact with the offset where rules 1 and 2 are not kept, LimitExceeded out of bounds."""
    return _Reader(source).read()


def check_nothing_hidden(source: OpenArtifact, spare: Iterable[Span]) -> None:
    """MalformedArtifact with the offset of the first spare byte that is not zero."""
    for start, end in spare:
        for at in range(start, end, _CHUNK):
            data = source.read_at(at, min(_CHUNK, end - at))
            if data.strip(b"\0"):
                offset = at + len(data) - len(data.lstrip(b"\0"))
                raise _wrong(source, offset, "bytes that belong to nothing are not zero")


class _Space:
    """Sectors of one size, the table that chains them, and which are taken.

    count: how many there are; places: where the table is in the file; taken: runs (first, end) of sector numbers.
    """

    def __init__(self, source: OpenArtifact, table: array[int], places: Sequence[Span], count: int) -> None:
        self.source, self.table, self.places, self.count = source, table, places, count
        self.taken: list[Span] = []
        self.left = count

    def chain(self, start: int, count: int | None, what: str, at: int) -> list[Span]:
        """The runs of a chain, taken. count: its sectors, None where only its end says; at: the offset that names its start."""
        runs: list[Span] = []
        total, sector = 0, start
        while sector != END and (count is None or total < count):
            if sector >= self.count:
                raise _wrong(self.source, at, f"{what}: its chain leads to sector {sector} of {self.count}")
            end = self._run_end(sector, self.left if count is None else count - total)
            total += end - sector
            self.left -= end - sector
            if self.left < 0:
                raise _wrong(self.source, at, f"{what}: its chain runs in a circle or through another's sectors")
            runs.append((sector, end))
            self.taken.append((sector, end))
            if len(self.taken) > MAX_PIECES:
                raise LimitExceeded(self.source.path, f"more than {MAX_PIECES} pieces", "Build the file anew.")
            sector = self.table[end - 1]
        if sector != END or (count is not None and total != count):
            raise _wrong(self.source, at, f"{what}: its chain does not end where its size says")
        return runs

    def take(self, sectors: Sequence[int], mark: int, what: str, at: int) -> None:
        """Single sectors that the table must mark so."""
        for sector in sectors:
            if sector >= self.count or self.table[sector] != mark:
                raise _wrong(self.source, at, f"{what}: sector {sector} is none, or not marked as its own")
        self.taken += [(sector, sector + 1) for sector in sectors]
        self.left -= len(sectors)

    def free(self) -> list[Span]:
        """The runs of sectors that nobody took; MalformedArtifact where the table says otherwise, or two took one."""
        runs: list[Span] = []
        at = 0
        for start, end in [*sorted(self.taken), (self.count, self.count)]:
            if start < at:
                raise _wrong(self.source, self.where(start), f"sector {start} belongs to two streams")
            if start > at:
                runs.append((at, start))
            at = end
        for start, end in [*runs, (self.count, len(self.table))]:
            if self.table[start:end].count(NOTHING) != end - start:
                said = f"of the sectors from {start} to {end}, which belong to no stream, one is not free"
                raise _wrong(self.source, self.where(start), said)
        return runs

    def where(self, sector: int) -> int:
        """The offset in the file of what the table says about a sector."""
        at = 4 * sector
        for start, end in self.places:
            if at < end - start:
                return start + at
            at -= end - start
        return 0

    def _run_end(self, sector: int, most: int) -> int:
        """Where the run of consecutive sectors ends, `most` sectors on at the latest."""
        limit = min(sector + max(most, 1), self.count)
        end, step = sector + 1, 1
        while end < limit:
            width = min(step, limit - end)
            if self.table[end - 1 : end - 1 + width] == array("I", range(end, end + width)):
                end, step = end + width, min(2 * step, _CHUNK)
            elif width == 1:
                break
            else:
                step = width // 2
        return end


class _MiniStream:
    """The stream that streams below 4096 bytes are in. space: its sectors of 64 bytes; size: its bytes; spans: where they are."""

    def __init__(self, space: _Space, size: int, spans: Sequence[Span]) -> None:
        self.space, self.size = space, size
        self.at = [start for start, _ in spans]
        self.starts = [0, *accumulate(end - start for start, end in spans)]

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """Where the mini sectors start <= i < end are in the file, as far as the mini stream goes."""
        at, stop = start * MINI, min(end * MINI, self.size)
        while at < stop:
            index = bisect_right(self.starts, at) - 1
            length = min(stop, self.starts[index + 1]) - at
            where = self.at[index] + at - self.starts[index]
            yield where, where + length
            at += length


class _Reader:
    """One reading of one file."""

    def __init__(self, source: OpenArtifact) -> None:
        self.source = source
        header = _header(source)
        self.sector = header.sector
        self.spare: list[Span] = [(8, 24), (34, 40), (512, self.sector)]
        self.space = self._space(header)
        runs = self.space.chain(header.directory, header.directory_sectors, "the directory", 48)
        spans = self._spans(runs)
        if not 0 < sum(end - start for start, end in spans) <= MAX_ENTRIES * ENTRY_BYTES:
            raise LimitExceeded(source.path, f"a directory of more than {MAX_ENTRIES} entries", "Build the file anew.")
        self.directory = b"".join(source.read_at(start, end - start) for start, end in spans)
        self.entries = [at for start, end in spans for at in range(start, end, ENTRY_BYTES)]
        self.seen: set[int] = set()
        self.root = self._entry(0)
        if self.root.name != _ROOT_NAME or (self.root.left, self.root.right) != (NOTHING, NOTHING):
            raise _wrong(source, self.root.at, "the first directory entry is not the root")
        self.mini = self._mini_stream(header)

    def read(self) -> CompoundFile:
        """The tree, and what belongs to nothing."""
        tree = self._item(self.root, 0)
        for index, at in enumerate(self.entries):
            if index not in self.seen:
                self._check_unused(index, at)
        self.spare += self._spans(self.space.free())
        self.spare += [span for run in self.mini.space.free() for span in self.mini.spans(*run)]
        return CompoundFile(self.source.size, self.sector, tree, tuple(_merged(self.spare)))

    def _space(self, header: _Header) -> _Space:
        """The file's sectors with their table, whose own sectors are listed in the header and a chain of lists."""
        source, each = self.source, self.sector // 4
        count = source.size // self.sector - 1
        fats, difats = header.fat_sectors, header.difat_sectors
        if fats * each > MAX_SECTORS + each or difats != max(0, -(-(fats - IN_HEADER) // (each - 1))):
            raise _wrong(source, 44, f"{fats} table sectors, {difats} lists of them")
        listed, lists, at = list(header.listed), list[int](), header.difat
        for _ in range(difats):
            if at >= count:
                raise _wrong(source, 68, f"the list of table sectors goes on in sector {at} of {count}")
            lists.append(at)
            *more, at = self._table(self._spans([(at, at + 1)]))
            listed += more
        if at not in (END, NOTHING):
            raise _wrong(source, 72, "the list of table sectors does not end where its number says")
        if any(one >= count for one in listed[:fats]) or listed[fats:].count(NOTHING) != len(listed) - fats:
            raise _wrong(source, 76, f"the list of table sectors does not have {fats} of them")
        places = self._spans([(one, one + 1) for one in listed[:fats]])
        table = self._table(places)
        if len(table) < count:
            raise _wrong(source, 44, f"the sector table has {len(table)} entries for {count} sectors")
        space = _Space(source, table, places, count)
        space.take(listed[:fats], FAT, "the sector table", 76)
        space.take(lists, DIFAT, "the list of table sectors", 68)
        return space

    def _table(self, places: Sequence[Span]) -> array[int]:
        table = array("I")
        for start, end in places:
            table.frombytes(self.source.read_at(start, end - start))
        if sys.byteorder == "big":
            table.byteswap()
        return table

    def _spans(self, runs: Sequence[Span]) -> list[Span]:
        return [((start + 1) * self.sector, (end + 1) * self.sector) for start, end in runs]

    def _mini_stream(self, header: _Header) -> _MiniStream:
        """The mini stream, which the root's entry names, and its table."""
        at, size = self.root.at + 116, self.root.size
        spans = self._spans(
            self.space.chain(self.root.start if size else END, -(-size // self.sector), "the mini stream", at)
        )
        if header.mini_fat_sectors * self.sector > 4 * MAX_SECTORS:
            raise _wrong(self.source, 64, f"{header.mini_fat_sectors} table sectors of the mini stream")
        start = header.mini_fat if header.mini_fat_sectors else END
        places = self._spans(self.space.chain(start, header.mini_fat_sectors, "the mini stream's table", 60))
        table = self._table(places)
        if len(table) * MINI < size:
            raise _wrong(self.source, at + 4, f"a mini stream of {size} bytes, its table ends before")
        if spans:
            self.spare.append((spans[-1][1] - -size % self.sector, spans[-1][1]))
        count = -(-size // MINI)
        if table[count : count + 1] == array("I", [END]):  # osslsigncode writes one more than there are sectors
            table[count] = NOTHING
        return _MiniStream(_Space(self.source, table, places, count), size, spans)

    def _entry(self, index: int) -> _Entry:
        """A directory entry, reached for the first time."""
        if index >= len(self.entries) or index in self.seen:
            how = "is reached twice" if index in self.seen else "does not exist"
            raise _wrong(self.source, self.entries[0], f"the directory entry {index} {how}")
        self.seen.add(index)
        at = self.entries[index]
        name, length, kind, colour, left, right, child, clsid, state, created, modified, start, size = (
            ENTRY.unpack_from(self.directory, index * ENTRY_BYTES)
        )  # fmt: skip
        if kind not in (Type.STORAGE, Type.STREAM, Type.ROOT) or (kind == Type.ROOT) != (index == 0):
            raise _wrong(self.source, at + 66, f"a directory entry of type {kind}")
        if not 4 <= length <= 64 or length % 2 or name[length - 2 : length] != b"\0\0":
            raise _wrong(self.source, at + 64, f"a name of {length} bytes")
        name = name[: length - 2]
        if any(name[unit : unit + 2] == b"\0\0" for unit in range(0, len(name), 2)):
            raise _wrong(self.source, at, "a name with a NUL inside")
        if colour not in (RED, BLACK):
            raise _wrong(self.source, at + 67, f"a directory entry of colour {colour}")
        if kind == Type.STREAM and child != NOTHING:
            raise _wrong(self.source, at + 76, f"{shown(name)}: a stream with children")
        if kind == Type.STORAGE and (size or start not in _NO_START):
            raise _wrong(self.source, at + 116, f"{shown(name)}: a storage with bytes of its own")
        if kind == Type.ROOT and created != BLANK_TIME:
            raise _wrong(self.source, at + 100, "the root has a time of creation")
        if size > self.source.size:
            raise _wrong(self.source, at + 120, f"{shown(name)}: {size} bytes, the file has {self.source.size}")
        self.spare.append((at + length, at + 64))
        if kind == Type.STREAM:
            self.spare.append((at + 80, at + 96))
        return _Entry(at, name, Type(kind), left, right, child, clsid, state, created, modified, start, size)

    def _item(self, entry: _Entry, depth: int) -> Item:
        if depth > MAX_DEPTH:
            raise LimitExceeded(self.source.path, f"storages {depth} deep", f"At most {MAX_DEPTH} are read.")
        stream = entry.type is Type.STREAM
        children = () if stream else tuple(self._item(child, depth + 1) for child in self._siblings(entry.child))
        return Item(
            entry.name,
            entry.type,
            entry.at,
            entry.clsid,
            entry.state,
            entry.created,
            entry.modified,
            size=entry.size if stream else 0,
            spans=tuple(self._stream(entry)) if stream else (),
            children=children,
        )

    def _siblings(self, index: int) -> list[_Entry]:
        """What a storage holds, from left to right."""
        found: list[_Entry] = []
        waiting: list[_Entry] = []
        while waiting or index != NOTHING:
            while index != NOTHING:
                waiting.append(self._entry(index))
                index = waiting[-1].left
            entry = waiting.pop()
            if found and order(found[-1].name) >= order(entry.name):
                said = f"{shown(entry.name)} stands behind {shown(found[-1].name)}"
                raise _wrong(self.source, entry.at, f"the directory is out of order, or has a name twice: {said}")
            found.append(entry)
            index = entry.right
        return found

    def _stream(self, entry: _Entry) -> list[Span]:
        what, at, size = shown(entry.name), entry.at + 116, entry.size
        if not size:
            if entry.start not in _NO_START:
                raise _wrong(self.source, at, f"{what}: an empty stream with sectors")
            return []
        if size < CUTOFF:
            runs = self.mini.space.chain(entry.start, -(-size // MINI), what, at)
            spans = [span for run in runs for span in self.mini.spans(*run)]
        else:
            spans = self._spans(self.space.chain(entry.start, -(-size // self.sector), what, at))
        over = sum(end - start for start, end in spans) - size
        if over < 0:
            raise _wrong(self.source, at, f"{what}: the mini stream ends inside it")
        start, end = spans[-1]
        self.spare.append((end - over, end))
        return [*spans[:-1], (start, end - over)]

    def _check_unused(self, index: int, at: int) -> None:
        data = self.directory[index * ENTRY_BYTES :][:ENTRY_BYTES]
        if data[66] != Type.UNUSED:
            raise _wrong(self.source, at + 66, f"the directory entry {index} is in use and not in the tree")
        if any(data[link : link + 4] not in (bytes(4), b"\xff\xff\xff\xff") for link in (68, 72, 76)):
            raise _wrong(self.source, at + 68, f"the unused directory entry {index} has links")
        self.spare += [(at, at + 68), (at + 80, at + ENTRY_BYTES)]


def _header(source: OpenArtifact) -> _Header:
    head = source.read_at(0, 512)
    if len(head) < 512 or not head.startswith(MAGIC):
        raise _wrong(source, 0, "there is no header of a compound file")
    (_, _, _, version, byte_order, shift, mini_shift, _, directory_sectors, fat_sectors, directory, _, cutoff,
     mini_fat, mini_fat_sectors, difat, difat_sectors) = HEADER.unpack_from(head)  # fmt: skip
    if _SECTOR_SHIFTS.get(version) != shift or byte_order != 0xFFFE or mini_shift != 6 or cutoff != CUTOFF:
        raise _wrong(source, 24, f"version {version}, sectors of 2^{shift} and 2^{mini_shift} bytes, cutoff {cutoff}")
    sector = 1 << shift
    if source.size % sector or source.size < 3 * sector:
        raise _wrong(source, source.size // sector * sector, "the file does not end with its last sector")
    if source.size > MAX_FILE_BYTES or source.size // sector > MAX_SECTORS:
        raise LimitExceeded(
            source.path, f"{source.size} bytes in sectors of {sector}", f"At most {MAX_SECTORS} sectors."
        )
    if version == 3 and directory_sectors:
        raise _wrong(source, 40, f"{directory_sectors} directory sectors in version 3, which does not count them")
    listed = struct.unpack_from(f"<{IN_HEADER}I", head, HEADER.size)
    return _Header(
        sector, directory_sectors if version == 4 else None, fat_sectors, directory, mini_fat, mini_fat_sectors, difat,
        difat_sectors, listed,
    )  # fmt: skip


def _merged(spans: list[Span]) -> Iterator[Span]:
    """The same bytes in fewer spans, in order."""
    last: Span | None = None
    for start, end in sorted(spans):
        if start >= end:
            continue
        if last is not None and last[1] == start:
            last = (last[0], end)
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last


def _upper(unit: int) -> int:
    upper = chr(unit).upper()
    return ord(upper) if len(upper) == 1 and ord(upper) <= 0xFFFF else unit


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"at byte {offset}: {what}", "Ask its maker for the file again.")
