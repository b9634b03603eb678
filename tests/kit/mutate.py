"""Every small change of a valid sample: each byte flipped, each truncation, and what is appended; and the pair every refusal comes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

Case = TypeVar("Case")


def flips(sample: bytes, *, step: int = 1, bit: int = 0x01) -> Iterator[tuple[int, bytes]]:
    """(offset, sample with one bit of that byte changed)."""
    for at in range(0, len(sample), step):
        yield at, sample[:at] + bytes([sample[at] ^ bit]) + sample[at + 1 :]


def truncations(sample: bytes, *, step: int = 1) -> Iterator[bytes]:
    """Every proper prefix."""
    yield from (sample[:size] for size in range(0, len(sample), step))


def twin(judge: Callable[[Case], tuple[bool, str]], good: Case, bad: Case) -> str:
    """What was said of `bad`, which must be refused, after its accepted twin: a judge that refuses everything proves nothing."""
    accepted, words = judge(good)
    assert accepted, words
    accepted, words = judge(bad)
    assert not accepted, words
    return words
