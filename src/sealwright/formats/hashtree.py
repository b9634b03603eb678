"""A hash tree over 4 KiB blocks, made while the digests of the data come in: that of dm-verity and of fs-verity.

128 digests fill a block of the lowest level, zero bytes the rest of its last block; each block's digest, salted like those of
the data, goes into the level above, until a level has but one digest, which is the root. Memory holds one block a level.
Source: kernel Documentation/admin-guide/device-mapper/verity.rst and filesystems/fsverity.rst.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from sealwright.artifact.blocks import BLOCK_BYTES, DIGEST_BYTES


@dataclass(slots=True)
class _Level:
    """digests: how many came in; blocks: how many were made of them; pending: those of the block that is not full yet."""

    digests: int = 0
    blocks: int = 0
    pending: bytearray = field(default_factory=bytearray)


class HashTree:
    """Takes digests in the order of the data. made: told of each finished block: its level (0 is the lowest), number and bytes."""

    def __init__(self, salt: bytes, made: Callable[[int, int, bytes], None] | None = None) -> None:
        self.salt = salt
        self.made = made
        self.levels: list[_Level] = []

    def add(self, digests: bytes, level: int = 0) -> None:
        """The next digests of the blocks below a level."""
        if level == len(self.levels):
            self.levels.append(_Level())
        here = self.levels[level]
        here.digests += len(digests) // DIGEST_BYTES
        here.pending += digests
        while len(here.pending) >= BLOCK_BYTES:
            self._finish(level, bytes(here.pending[:BLOCK_BYTES]))

    def root(self) -> bytes:
        """The root, once all digests were added; at least one was."""
        for level, here in enumerate(self.levels):
            if here.digests == 1:
                return bytes(here.pending)
            if here.pending:
                self._finish(level, bytes(here.pending).ljust(BLOCK_BYTES, b"\0"))
        raise ValueError("a tree of nothing has no root")

    def _finish(self, level: int, block: bytes) -> None:
        here = self.levels[level]
        del here.pending[:BLOCK_BYTES]
        if self.made is not None:
            self.made(level, here.blocks, block)
        here.blocks += 1
        self.add(hashlib.sha256(self.salt + block).digest(), level + 1)
