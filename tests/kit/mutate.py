"""Every small change of a valid sample: each byte flipped, each truncation, and what is appended."""

from __future__ import annotations

from collections.abc import Iterator


def flips(sample: bytes, *, step: int = 1, bit: int = 0x01) -> Iterator[tuple[int, bytes]]:
    """(offset, sample with one bit of that byte changed)."""
    for at in range(0, len(sample), step):
        yield at, sample[:at] + bytes([sample[at] ^ bit]) + sample[at + 1 :]


def truncations(sample: bytes, *, step: int = 1) -> Iterator[bytes]:
    """Every proper prefix."""
    yield from (sample[:size] for size in range(0, len(sample), step))
