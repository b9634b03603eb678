"""Keys that share a prime among many: the tree of `pki/sharedfactors.py` against a divisor for every pair (`math.gcd`).

    PYTHONPATH=src python bench/shared_factors.py 10000

The pairs are measured on a sample of the same moduli and multiplied up: all of them would take an hour. Prints the ratio.
"""

from __future__ import annotations

import random
import sys
import time
from math import gcd

from sealwright.pki.sharedfactors import shared_factors
from sealwright.pki.weakkeys import _small_primes

BITS = 3072
SAMPLE = 120


def main(count: int) -> None:
    """count: how many moduli; two of them share a factor, and exactly they must be found."""
    dice = random.Random(1)
    small = _small_primes()
    numbers: list[int] = []
    while len(numbers) < count:
        number = dice.getrandbits(BITS) | 1 | 1 << (BITS - 1)
        if gcd(number, small) == 1:
            numbers.append(number)
    # random numbers share larger factors now and then, as products of real primes would not: what the tree says is compared
    shared = dice.getrandbits(BITS // 2) | 1
    numbers[3], numbers[-2] = shared * (dice.getrandbits(BITS // 2) | 1), shared * (dice.getrandbits(BITS // 2) | 1)
    began = time.perf_counter()
    found = shared_factors(numbers)
    tree = time.perf_counter() - began
    if not {numbers[3], numbers[-2]} <= found.keys():
        raise SystemExit("the two that share a factor were not found")
    sample = numbers[:SAMPLE]
    began = time.perf_counter()
    for at, one in enumerate(sample):
        for other in sample[at + 1 :]:
            gcd(one, other)
    pair = (time.perf_counter() - began) / (SAMPLE * (SAMPLE - 1) / 2)
    pairs = pair * count * (count - 1) / 2
    print(
        f"{count:,} moduli of {BITS} bits: tree {tree:.1f} s, every pair {pairs:,.0f} s, {pairs / tree:,.0f} times faster"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
