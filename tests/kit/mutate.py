"""Every small change of a valid sample: each byte flipped, each truncation, and what is appended; and the pair every refusal comes with."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

LONG = os.environ.get("SEALWRIGHT_FUZZ") == "long"
Case = TypeVar("Case")


def flips(sample: bytes, *, step: int = 1, bit: int = 0x01) -> Iterator[tuple[int, bytes]]:
    """(offset, sample with one bit of that byte changed)."""
    for at in range(0, len(sample), step):
        yield at, sample[:at] + bytes([sample[at] ^ bit]) + sample[at + 1 :]


def truncations(sample: bytes, *, step: int = 1) -> Iterator[bytes]:
    """Every proper prefix."""
    yield from (sample[:size] for size in range(0, len(sample), step))


def changed(sample: bytes, dice: random.Random) -> Iterator[bytes]:
    """Flips and truncations (each one, in the long run), and noise written over, put in, taken out and doubled."""
    step = 1 if LONG else max(1, len(sample) // 150)
    yield from (one for _, one in flips(sample, step=step, bit=1 << dice.randrange(8)))
    yield from truncations(sample, step=step)
    for _ in range(4000 if LONG else 120):
        at, size = dice.randrange(len(sample)), dice.choice((1, 2, 4, 16))
        noise = dice.choice((dice.randbytes(size), b"\x00" * size, b"\xff" * size, sample[at : at + size]))
        yield dice.choice(
            (
                sample[:at] + noise + sample[at + size :],
                sample[:at] + noise + sample[at:],
                sample[:at] + sample[at + size :],
            )
        )


def splices(sample: bytes, others: Sequence[bytes], dice: random.Random) -> Iterator[bytes]:
    """Its beginning with another's end and the reverse, whole files one behind the other, and parts put in elsewhere."""
    for other in others:
        yield sample + other
        yield other + sample
        for _ in range(20 if LONG else 4):
            here, there, size = dice.randrange(len(sample)), dice.randrange(len(other)), dice.choice((8, 64, 512))
            yield sample[:here] + other[there:]
            yield other[:there] + sample[here:]
            yield sample[:here] + other[there : there + size] + sample[here + size :]


def twin(judge: Callable[[Case], tuple[bool, str]], good: Case, bad: Case) -> str:
    """What was said of `bad`, which must be refused, after its accepted twin: a judge that refuses everything proves nothing."""
    accepted, words = judge(good)
    assert accepted, words
    accepted, words = judge(bad)
    assert not accepted, words
    return words
