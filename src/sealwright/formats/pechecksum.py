"""The checksum in a PE header, which Windows compares for drivers: 16-bit little-endian words added up with end-around carry, plus the size.

Adding so is counting modulo 0xFFFF, and long integers of 16-bit words may be added before they are reduced: Python does that for a
block at a time. It still takes as long as a SHA-256 of the same bytes, so for a large program another process does it
meanwhile, where the system can fork and no other thread runs.

    with WordsAside(path, start, end) as aside:
        digest = ...                                # goes on here
        total = aside.words(source)
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.source import OpenArtifact, open_artifact

ASIDE_FROM = 8 << 20
_BLOCK = 8192
_MODULUS = 0xFFFF


def words(data: bytes | bytearray | memoryview, offset: int) -> int:
    """The sum of the words modulo 0xFFFF. offset: where in the file the data begin, because it says which bytes are low."""
    view = memoryview(data)
    total = sum(int.from_bytes(view[at : at + _BLOCK], "little") for at in range(0, len(view), _BLOCK)) % _MODULUS
    return total << 8 if offset % 2 else total


def words_between(source: OpenArtifact, start: int, end: int) -> int:
    """The same of the bytes start <= i < end of a file, modulo 0xFFFF."""
    total, at = 0, start
    for block in source.blocks([(start, end)]):
        total, at = total + words(block, at), at + len(block)
    return total % _MODULUS


def checksum(total: int, size: int) -> int:
    """The field's value. total: of all words but the field's own; zero stands only for a file of zeros."""
    return (total % _MODULUS or _MODULUS) + size


class WordsAside:
    """The words of a file's range, added up by a child between `__enter__` and `__exit__`, which ends it; by nobody where it is small."""

    def __init__(self, path: str, start: int, end: int) -> None:
        self.path, self.start, self.end = path, start, end
        self.child = self.reading = -1

    def __enter__(self) -> WordsAside:
        if sys.platform == "linux" and self.end - self.start >= ASIDE_FROM and threading.active_count() == 1:
            interrupts = Interrupts()  # the child keeps it held back: this process ends it
            interrupts.hold()
            with suppress(OSError):
                self._fork()
            interrupts.release()
        return self

    def __exit__(self, *_: object) -> None:
        if self.reading >= 0:
            os.close(self.reading)
        if self.child > 0:
            os.kill(self.child, 9)
            os.waitpid(self.child, 0)

    def words(self, source: OpenArtifact) -> int:
        """The sum modulo 0xFFFF, worked out here where the child did not. source: the same file."""
        said = os.read(self.reading, 8) if self.reading >= 0 else b""
        return int.from_bytes(said, "little") if said else words_between(source, self.start, self.end)

    def _fork(self) -> None:
        if sys.platform == "win32":
            return
        self.reading, writing = os.pipe()
        try:
            self.child = os.fork()
            if self.child == 0:
                try:
                    with open_artifact(self.path) as source:  # a descriptor of its own: the place in a file is shared
                        os.write(writing, words_between(source, self.start, self.end).to_bytes(8, "little"))
                finally:
                    os._exit(0)
        finally:
            os.close(writing)
