"""The Merkle tree of a log while it grows, and the proofs made from it (RFC 9162 sections 2.1.3.1 and 2.1.4.1).

What a log must remember to go on is its right edge: the roots of the whole subtrees that its size is made of, largest first, one
for each bit of the size. The rest is read back as tiles of 256 hashes (C2SP tlog-tiles): level 0 has the hashes of the leaves,
level n the roots of the whole subtrees of 256**n leaves.

    edge = Edge.of(0, ())
    growing = Growing(edge); growing.add(leaf_hash(entry)); growing.edge.root
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sealwright.log.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
Tile = Callable[[int, int], Sequence[bytes]]  # level and number of a tile -> its hashes, as many as there are


class Node(NamedTuple):
    """The root of a whole subtree of 256**level leaves."""

    level: int
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a tree. hashes: one for each bit of size, that of the largest subtree first."""

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        fits = 0 <= self.size <= MAX_SIZE and len(self.hashes) == self.size.bit_count()
        if not fits or any(len(one) != HASH_BYTES for one in self.hashes):
            raise ValueError(f"{len(self.hashes)} hashes are no right edge of a tree of {self.size}")

    @classmethod
    def parse(cls, size: int, data: bytes) -> Edge:
        """Read what `encoded` wrote; ValueError where it does not fit the size."""
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))

    @property
    def encoded(self) -> bytes:
        """The hashes one behind the other."""
        return b"".join(self.hashes)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        found = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            found = node_hash(left, found)
        return found


class Growing:
    """A tree to which leaves are added. finished: the roots of subtrees of 256**n leaves that became whole, in this order."""

    def __init__(self, edge: Edge) -> None:
        self.size = edge.size
        self.finished: list[Node] = []
        self._hashes = list(edge.hashes)

    def add(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        self._add(leaf, 0)

    def add_tile(self, hashes: Sequence[bytes]) -> None:
        """Add the leaves of a full tile, where the size is a multiple of 256; faster than one by one."""
        if self.size % WIDTH or len(hashes) != WIDTH:
            raise ValueError(f"{len(hashes)} hashes are no tile behind {self.size}")
        whole = subtree_root(hashes)
        self.finished.append(Node(1, self.size >> HEIGHT, whole))
        self._add(whole, HEIGHT)

    def _add(self, found: bytes, height: int) -> None:
        """Add the root of a whole subtree of 2**height leaves."""
        size, added = self.size, 1 << height
        while size >> height & 1:
            found = node_hash(self._hashes.pop(), found)
            height += 1
            if not height % HEIGHT:
                self.finished.append(Node(height // HEIGHT, size >> height, found))
        self._hashes.append(found)
        self.size = size + added

    @property
    def edge(self) -> Edge:
        """The right edge now."""
        return Edge(self.size, tuple(self._hashes))


class TiledTree:
    """The roots of ranges of leaves, computed from tiles. A tile is read once; for one proof, or one run."""

    def __init__(self, tile: Tile) -> None:
        self._tile = tile
        self._read: dict[tuple[int, int], Sequence[bytes]] = {}

    def root(self, start: int, end: int) -> bytes:
        """The root over the leaves start <= i < end; ValueError where a tile lacks what it must have."""
        if start == end == 0:
            return EMPTY_ROOT
        count = end - start
        if count & (count - 1) == 0:
            return self._subtree(count.bit_length() - 1, start)
        split = start + _split(count)
        return node_hash(self.root(start, split), self.root(split, end))

    def edge(self, size: int) -> Edge:
        """The right edge of the tree when it had this size."""
        hashes, at = [], 0
        for height in range(size.bit_length() - 1, -1, -1):
            if size >> height & 1:
                hashes.append(self._subtree(height, at))
                at += 1 << height
        return Edge(size, tuple(hashes))

    def _subtree(self, height: int, start: int) -> bytes:
        """The root of a whole subtree: one hash of a tile, or several that are hashed together."""
        level, inner = divmod(height, HEIGHT)
        first = start >> (level * HEIGHT)
        number, at = divmod(first, WIDTH)
        if (key := (level, number)) not in self._read:
            self._read[key] = self._tile(level, number)
        hashes = self._read[key][at : at + (1 << inner)]
        if len(hashes) != 1 << inner:
            raise ValueError(f"tile {number} of level {level} is too short")
        return subtree_root(hashes)


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over as many hashes as a power of two."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def inclusion_path(tree: TiledTree, index: int, size: int) -> tuple[bytes, ...]:
    """The proof that the leaf is in the tree of this size: the hashes beside the way up. `merkle.root_of` checks it."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"entry {index} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(tree.root(split, end))
            end = split
        else:
            path.append(tree.root(start, split))
            start = split
    return tuple(reversed(path))


def consistency_path(tree: TiledTree, old_size: int, size: int) -> tuple[bytes, ...]:
    """The proof that the tree of `size` begins with that of `old_size`. `merkle.check_consistency` checks it."""
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise ValueError(f"a tree of {size} does not continue one of {old_size}")
    if old_size in (0, size):
        return ()
    path: list[bytes] = []
    start, end, whole = 0, size, True  # whole: the part is a subtree that the old root stands for by itself
    while end != old_size:
        split = start + _split(end - start)
        if old_size <= split:
            path.append(tree.root(split, end))
            end = split
        else:
            path.append(tree.root(start, split))
            start, whole = split, False
    if not whole:
        path.append(tree.root(start, end))
    return tuple(reversed(path))


def _split(count: int) -> int:
    """The largest power of two below a count of two or more."""
    return 1 << ((count - 1).bit_length() - 1)
