"""A compound file made anew: streams in the order of the directory, without gaps, the directory a balanced tree.

    header | streams of 4096 bytes and more | the mini stream: the others | its table | directory | sector table | its list

The same storages and streams make the same bytes, wherever they stood before. Source: [MS-CFB].
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import NamedTuple

from sealwright.artifact.output import FileRange, Parts
from sealwright.formats.compoundfile import (
    BLACK,
    BLANK_TIME,
    CUTOFF,
    DIFAT,
    END,
    ENTRY,
    ENTRY_BYTES,
    FAT,
    HEADER,
    IN_HEADER,
    MAGIC,
    MINI,
    NOTHING,
    RED,
    Item,
    Type,
    order,
)


class _Links(NamedTuple):
    """The rest of an entry: its colour, and the numbers of others."""

    colour: int = BLACK
    left: int = NOTHING
    right: int = NOTHING
    child: int = NOTHING


def written(path: str, sector: int, root: Item) -> Parts:
    """A compound file of these storages and streams. path: of the file that their spans are of; sector: 512 or 4096."""
    slots, links = _numbered(root)
    fat, mini_fat = array("I"), array("I")
    body: list[bytes | FileRange] = []
    small: list[bytes | FileRange] = []
    starts = [END if item.type is Type.STREAM else 0 for item in slots]
    for index, item in enumerate(slots):
        if item.type is Type.STREAM and item.size:
            mini = item.size < CUTOFF
            starts[index] = _chained(mini_fat if mini else fat, item.size, MINI if mini else sector)
            parts = small if mini else body
            parts += [item.data] if item.data else [FileRange(path, start, end - start) for start, end in item.spans]
            parts.append(bytes(-item.size % (MINI if mini else sector)))
    mini_size = len(mini_fat) * MINI
    starts[0] = _chained(fat, mini_size, sector)
    body += [*small, bytes(-mini_size % sector)]
    tables = [_padded(_bytes(mini_fat), sector, b"\xff"), _directory(slots, links, starts, mini_size, sector)]
    at = [_chained(fat, len(table), sector) for table in tables]
    fats, difats = _table_sectors(len(fat), sector)
    first = len(fat)
    fat.extend([FAT] * fats + [DIFAT] * difats)
    listed = array("I", range(first, first + fats))
    header = HEADER.pack(
        MAGIC, bytes(16), 0x3E, 3 if sector == 512 else 4, 0xFFFE, sector.bit_length() - 1, 6, bytes(6),
        len(tables[1]) // sector if sector != 512 else 0, fats, at[1], 0, CUTOFF, at[0], len(tables[0]) // sector,
        first + fats if difats else END, difats,
    )  # fmt: skip
    header += _padded(_bytes(listed[:IN_HEADER]), 4 * IN_HEADER, b"\xff")
    lists = _lists(listed[IN_HEADER:], first + fats, sector)
    parts = [_padded(header, sector, b"\0"), *body, *tables, _padded(_bytes(fat), sector, b"\xff"), *lists]
    return tuple(part for part in parts if part)


def _lists(listed: array[int], first: int, sector: int) -> list[bytes]:
    """The sectors of the list that goes on behind the header's; each ends with the number of the next."""
    each = sector // 4 - 1
    starts = range(0, len(listed), each)
    return [
        _padded(_bytes(listed[at : at + each]), sector - 4, b"\xff")
        + struct.pack("<I", first + number if number < len(starts) else END)
        for number, at in enumerate(starts, 1)
    ]


def _numbered(root: Item) -> tuple[list[Item], list[_Links]]:
    """The entries in the order of the directory, and the links of each.

    The children of a storage stand together, in order, as a tree that is full but for its last row; that row is red.
    """
    slots = [root]
    links = [_Links()]
    for index, item in enumerate(slots):  # which grows meanwhile
        if not item.children:
            continue
        base = len(slots)
        slots += sorted(item.children, key=lambda child: order(child.name))
        links += [_Links()] * len(item.children)
        full = (len(item.children) + 1).bit_length() - 1
        links[index] = links[index]._replace(child=_rooted(links, base, len(slots), 0, full))
    return slots, links


def _rooted(links: list[_Links], start: int, end: int, depth: int, full: int) -> int:
    """The entry in the middle, with the halves at its sides."""
    if start == end:
        return NOTHING
    middle = (start + end) // 2
    colour = RED if depth >= full else BLACK
    left = _rooted(links, start, middle, depth + 1, full)
    right = _rooted(links, middle + 1, end, depth + 1, full)
    links[middle] = _Links(colour, left, right)
    return middle


def _directory(slots: list[Item], links: list[_Links], starts: list[int], mini_size: int, sector: int) -> bytes:
    entries = [
        ENTRY.pack(
            item.name,
            len(item.name) + 2,
            item.type,
            *link,
            item.clsid,
            item.state,
            item.created,
            item.modified,
            start,
            mini_size if item.type is Type.ROOT else item.size,
        )
        for item, link, start in zip(slots, links, starts, strict=True)
    ]
    unused = ENTRY.pack(b"", 0, 0, 0, NOTHING, NOTHING, NOTHING, bytes(16), bytes(4), BLANK_TIME, BLANK_TIME, 0, 0)
    entries += [unused] * (-len(entries) % (sector // ENTRY_BYTES))
    return b"".join(entries)


def _chained(table: array[int], size: int, sector: int) -> int:
    """Chain the sectors for so many bytes at the table's end; the first of them, END for none."""
    first, count = len(table), -(-size // sector)
    if not count:
        return END
    table.extend(range(first + 1, first + count))
    table.append(END)
    return first


def _table_sectors(chained: int, sector: int) -> tuple[int, int]:
    """How many sectors the table takes, and the list behind the header's, which the table chains as well."""
    fats, difats = 0, 0
    while fats * (sector // 4) < chained + fats + difats:
        fats += 1
        difats = max(0, -(-(fats - IN_HEADER) // (sector // 4 - 1)))
    return fats, difats


def _padded(data: bytes, unit: int, fill: bytes) -> bytes:
    return data + fill * (-len(data) % unit)


def _bytes(table: array[int]) -> bytes:
    if sys.byteorder == "big":
        table = table[:]
        table.byteswap()
    return table.tobytes()
