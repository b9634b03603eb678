"""The checksum in a PE header, which Windows compares for drivers: 16-bit little-endian words added up with end-around carry, plus the size.

Adding so is counting modulo 0xFFFF, and long integers of 16-bit words may be added before they are reduced: Python does that for a
block at a time. It still takes as long as a SHA-256 of the same bytes, so for a large program another process does it meanwhile
(`artifact/aside.py`).
"""

from __future__ import annotations

from sealwright.artifact.source import OpenArtifact

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
