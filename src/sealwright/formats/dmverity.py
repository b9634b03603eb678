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

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact

BLOCK_BYTES = 4096
DIGEST_BYTES = 32
PER_BLOCK = BLOCK_BYTES // DIGEST_BYTES
MAX_SALT_BYTES = 256
_RUN = 64


class Verity(NamedTuple):
    """What a root hash is said to stand for. data_bytes: a multiple of 4096, two blocks at least; the tree follows them."""

    data_bytes: int
    salt: bytes
    root: bytes

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """Blocks of each level of the tree, that of the data's digests first."""
        levels: list[int] = []
        count = self.data_bytes // BLOCK_BYTES
        while count > 1:
            count = -(-count // PER_BLOCK)
            levels.append(count)
        return tuple(levels)

    @property
    def tree_bytes(self) -> int:
        """The size of the whole tree."""
        return sum(self.level_blocks) * BLOCK_BYTES


class Difference(NamedTuple):
    """offset: of the first byte of the file that is not what was hashed; what: said of it."""

    offset: int
    what: str


def first_difference(source: OpenArtifact, verity: Verity, progress: Progress | None = None) -> Difference | None:
    """None where the data, the tree behind them and the root are one; the file begins with the data.

    Raises ChangedWhileRead where the file ends before the tree does, Unreadable for a read error.
    """
    levels = _levels(source, verity)
    for digests in _data_digests(source, verity, progress):
        if (found := levels[0].add(digests)) is not None:
            return found
    for level in levels:
        if (found := level.finish()) is not None:
            return found
    source.check_unchanged()
    root = levels[-1].last
    if root != verity.root:
        return Difference(verity.data_bytes, f"the root hash is {root.hex()}, signed is {verity.root.hex()}")
    return None


class _Level:
    """One level of the tree, made block by block and compared with what is written. last: the digest of its last block."""

    def __init__(self, source: OpenArtifact, salt: bytes, start: int, above: _Level | None, is_bottom: bool) -> None:
        self.source = source
        self.salt = salt
        self.start = start
        self.above = above
        self.is_bottom = is_bottom
        self.blocks = 0
        self.pending = bytearray()
        self.last = b""

    def add(self, digests: bytes) -> Difference | None:
        """Take the digests of the next blocks of the level below."""
        self.pending += digests
        while len(self.pending) >= BLOCK_BYTES:
            block = bytes(self.pending[:BLOCK_BYTES])
            del self.pending[:BLOCK_BYTES]
            if (found := self._compare(block)) is not None:
                return found
        return None

    def finish(self) -> Difference | None:
        """Fill the last block with zero bytes."""
        if not self.pending:
            return None
        return self.add(bytes(BLOCK_BYTES - len(self.pending)))

    def _compare(self, block: bytes) -> Difference | None:
        written = self.source.read_at(self.start + self.blocks * BLOCK_BYTES, BLOCK_BYTES)
        if written != block:
            return self._difference(written, block)
        self.blocks += 1
        self.last = hashlib.sha256(self.salt + block).digest()
        return self.above.add(self.last) if self.above is not None else None

    def _difference(self, written: bytes, block: bytes) -> Difference:
        at = next(
            at
            for at in range(0, BLOCK_BYTES, DIGEST_BYTES)
            if written[at : at + DIGEST_BYTES] != block[at : at + DIGEST_BYTES]
        )
        if self.is_bottom and any(block[at:]):
            offset = (self.blocks * PER_BLOCK + at // DIGEST_BYTES) * BLOCK_BYTES
            return Difference(offset, "the 4096 bytes there are not those of the hash tree")
        return Difference(self.start + self.blocks * BLOCK_BYTES + at, "the hash tree is not that of the data")


def _levels(source: OpenArtifact, verity: Verity) -> list[_Level]:
    """The levels, the bottom one first; in the file the top one comes first."""
    levels: list[_Level] = []
    start, above = verity.data_bytes, None
    counts = verity.level_blocks
    for number, count in reversed(list(enumerate(counts))):
        above = _Level(source, verity.salt, start, above, is_bottom=number == 0)
        levels.insert(0, above)
        start += count * BLOCK_BYTES
    return levels


def _data_digests(source: OpenArtifact, verity: Verity, progress: Progress | None) -> Iterator[bytes]:
    """The digests of the data's blocks, _RUN at a time. The salt stands before each block in the buffer that is read into."""
    before, size = len(verity.salt), len(verity.salt) + BLOCK_BYTES
    with memoryview(bytearray((verity.salt + bytes(BLOCK_BYTES)) * _RUN)) as buffer:
        salted = [buffer[at : at + size] for at in range(0, len(buffer), size)]
        read = [one[before:] for one in salted]
        sha256 = hashlib.sha256
        for offset in range(0, verity.data_bytes, _RUN * BLOCK_BYTES):
            count = min(_RUN, (verity.data_bytes - offset) // BLOCK_BYTES)
            source.fill(offset, read[:count])
            yield b"".join([sha256(block).digest() for block in salted[:count]])
            if progress is not None:
                progress.advance(count * BLOCK_BYTES)
        for view in (*read, *salted):
            view.release()
