"""How a log is laid out as files (C2SP tlog-tiles): paths of tiles and entry bundles, and what is in them.

    checkpoint                        the newest signed checkpoint
    tile/0/x001/x234/067              tile 1234067 of level 0: 256 hashes of leaves
    tile/1/000.p/17                   the last tile of level 1, of which 17 hashes are there: a partial tile
    tile/entries/x001/x234/067        the entries of tile 1234067: each after its length in two octets

A full tile is 256 hashes, a partial one 1 to 255; an empty one is never written. The tile of level n + 1 has the roots of full tiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sealwright.log.merkle import HASH_BYTES
from sealwright.log.tree import HEIGHT, WIDTH

CHECKPOINT = "checkpoint"
MAX_ENTRY = 2**16 - 1
MAX_BUNDLE = WIDTH * (MAX_ENTRY + 2)
MAX_TILE = WIDTH * HASH_BYTES
ENTRIES = "entries"
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class TileName(NamedTuple):
    """One tile. level: None for an entry bundle; width: how many hashes or entries it has, 1 to 256."""

    level: int | None
    number: int
    width: int

    @property
    def path(self) -> str:
        """Where it lies below the log's prefix."""
        level = ENTRIES if self.level is None else str(self.level)
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        return f"tile/{level}/{number}" + (f".p/{self.width}" if self.width < WIDTH else "")


def parse_path(path: str) -> TileName:
    """Read a path; ValueError for any other spelling than the one."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError("it is no path of a tile")
    number = int(match[2].replace("x", "").replace("/", ""))
    level = None if match[1] == ENTRIES else int(match[1])
    name = TileName(level, number, int(match[3]) if match[3] else WIDTH)
    if name.path != path or (level or 0) > 63:
        raise ValueError("it is no path of a tile")
    return name


def tiles_of(size: int, since: int = 0) -> Iterator[TileName]:
    """Every tile and bundle of a tree, partial ones last; since: only those that a tree of this size did not have as they are."""
    level = 0
    while (count := size >> (level * HEIGHT)) > 0:
        for number in range((since >> (level * HEIGHT)) // WIDTH, -(-count // WIDTH)):
            name = TileName(level, number, min(WIDTH, count - number * WIDTH))
            if level == 0:
                yield name._replace(level=None)
            yield name
        level += 1


def width_in(size: int, level: int | None, number: int) -> int:
    """How many hashes or entries a tile has in a tree of this size; 0 where it has no such tile."""
    return max(0, min(WIDTH, (size >> ((level or 0) * HEIGHT)) - number * WIDTH))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle; ValueError for one that is too long."""
    if any(len(one) > MAX_ENTRY for one in entries):
        raise ValueError(f"an entry of more than {MAX_ENTRY} bytes")
    return b"".join(len(one).to_bytes(2, "big") + one for one in entries)


def read_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle; ValueError unless it has exactly so many."""
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + 2
        at = start + (data[at] << 8 | data[at + 1]) if start <= end else end + 1
        if at > end:
            raise ValueError("its last entry is cut off")
        entries.append(data[start:at])
        if len(entries) > width:
            break
    if len(entries) != width:
        raise ValueError(f"it has {'more' if len(entries) > width else len(entries)} entries, not {width}")
    return entries


def read_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile; ValueError unless it has exactly so many."""
    if len(data) != width * HASH_BYTES:
        raise ValueError(f"it has {len(data)} bytes, not {width * HASH_BYTES}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
