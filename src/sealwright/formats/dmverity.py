"""The hash tree of dm-verity: one root hash that stands for every 4 KiB of an image.

    veritysetup verify FILE FILE ROOT --no-superblock --hash-offset=DATA_BYTES --salt=SALT --data-blocks=DATA_BYTES/4096 \\
        --data-block-size=4096 --hash-block-size=4096 --hash=sha256 --format=1

Each block is hashed with the salt before it (format 1, SHA-256); 128 digests fill a block of the next level, zero bytes the
rest of its last block; so on until one block is left, whose digest is the root. The levels lie behind the data, the top
one first. The tree is computed again from the data and compared with what is written, block by block, in one pass: memory
holds one read buffer and one block a level, whatever the size.
Source: kernel Documentation/admin-guide/device-mapper/verity.rst; cryptsetup "DMVerity".
"""

from __future__ import annotations

from typing import NamedTuple

from sealwright.artifact.blocks import BLOCK_BYTES, DIGEST_BYTES, block_digests
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact
from sealwright.formats.hashtree import HashTree

PER_BLOCK = BLOCK_BYTES // DIGEST_BYTES
MAX_SALT_BYTES = 256


class Verity(NamedTuple):
    """What a root hash is said to stand for. data_bytes: a multiple of 4096, a block at least.

    gap_bytes: between them and the tree, which is made of nothing where there is one block of data.
    """

    data_bytes: int
    salt: bytes
    root: bytes
    gap_bytes: int = 0

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """Blocks of each level of the tree, that of the data's digests first."""
        return level_blocks(self.data_bytes // BLOCK_BYTES)

    @property
    def level_starts(self) -> tuple[int, ...]:
        """Where each level begins in the file, where the top one comes first."""
        counts, start = self.level_blocks, self.data_bytes + self.gap_bytes
        return tuple(start + sum(counts[number + 1 :]) * BLOCK_BYTES for number in range(len(counts)))

    @property
    def tree_bytes(self) -> int:
        """The size of the whole tree."""
        return sum(self.level_blocks) * BLOCK_BYTES


class Difference(NamedTuple):
    """offset: of the first byte of the file that is not what was hashed; what: said of it."""

    offset: int
    what: str


def level_blocks(data_blocks: int) -> tuple[int, ...]:
    """Blocks of each level of the tree over so many blocks, that of the data's digests first."""
    levels: list[int] = []
    count = data_blocks
    while count > 1:
        count = -(-count // PER_BLOCK)
        levels.append(count)
    return tuple(levels)


def first_difference(source: OpenArtifact, verity: Verity, progress: Progress | None = None) -> Difference | None:
    """None where the data, the tree behind them and the root are one; the file begins with the data.

    Raises ChangedWhileRead where the file ends before the tree does, Unreadable for a read error.
    """
    written = _Written(source, verity)
    tree = HashTree(verity.salt, written.compare)
    for digests in block_digests(source, verity.data_bytes, verity.salt, progress):
        tree.add(digests)
        if written.difference is not None:
            return written.difference
    root = tree.root()
    source.check_unchanged()
    if written.difference is None and root != verity.root:
        return Difference(verity.data_bytes, f"the root hash is {root.hex()}, signed is {verity.root.hex()}")
    return written.difference


class Made(NamedTuple):
    """A tree made anew. tree: as it is written, the top level first."""

    root: bytes
    tree: bytes


def make_tree(source: OpenArtifact, data_bytes: int, salt: bytes, progress: Progress | None = None) -> Made:
    """The tree over the first bytes of a file, a multiple of 4096. It is kept in memory: 8 MiB for each GiB."""
    levels: list[list[bytes]] = [[] for _ in level_blocks(data_bytes // BLOCK_BYTES)]
    tree = HashTree(salt, lambda level, _number, block: levels[level].append(block))
    for digests in block_digests(source, data_bytes, salt, progress):
        tree.add(digests)
    root = tree.root()
    source.check_unchanged()
    return Made(root, b"".join(block for level in reversed(levels) for block in level))


class _Written:
    """The tree that is in the file. difference: the first one that was found."""

    def __init__(self, source: OpenArtifact, verity: Verity) -> None:
        self.source = source
        self.starts = verity.level_starts
        self.difference: Difference | None = None

    def compare(self, level: int, number: int, block: bytes) -> None:
        """Look whether a block of the tree is the one that is written."""
        if self.difference is not None:
            return
        place = self.starts[level] + number * BLOCK_BYTES
        written = self.source.read_at(place, BLOCK_BYTES)
        if written == block:
            return
        at = next(
            at
            for at in range(0, BLOCK_BYTES, DIGEST_BYTES)
            if written[at : at + DIGEST_BYTES] != block[at : at + DIGEST_BYTES]
        )
        if level == 0 and any(block[at:]):
            offset = (number * PER_BLOCK + at // DIGEST_BYTES) * BLOCK_BYTES
            self.difference = Difference(offset, "the 4096 bytes there are not those of the hash tree")
        else:
            self.difference = Difference(place + at, "the hash tree is not that of the data")
