"""RSA keys that share a prime, found among many: the greatest common divisor of all pairs at once (A010).

Two moduli with one prime in common give each other's private keys away, though each looks good by itself (Heninger and others,
Mining Your Ps and Qs, 2012). All pairs of ten thousand would be fifty million divisors; a tree does it in seconds (Bernstein):

    N1 … Nk    up: the product P and the sum S of P/Ni    down: S modulo each product    gcd(S mod Ni, Ni) != 1 is a find

S instead of P modulo squares halves the sizes. The large products are done by `decimal`, whose library multiplies by
number-theoretic transforms; integers would need hours. Every value stays exact, and Inexact is trapped.

>>> shared_factors([101 * 103, 107 * 109, 103 * 113])
{10403: 103, 11639: 103}
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow
from math import gcd

GROUP = 4  # below this size integers are faster
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, Overflow])


def shared_factors(moduli: Iterable[int]) -> dict[int, int]:
    """Each modulus that shares a factor with another one, and the factor; a modulus given twice counts once.

    moduli: above 1. Where all primes of a modulus are shared the factor is one of them all the same.
    """
    numbers = sorted(set(moduli))
    if len(numbers) < 2:
        return {}
    suspects = {n: factor for n, factor in _divisors(numbers) if factor != 1}
    return {n: factor if factor != n else _proper(n, suspects) for n, factor in suspects.items()}


def _proper(n: int, suspects: dict[int, int]) -> int:
    """A factor below n of a modulus whose primes are all shared, out of the few that were found."""
    for other in suspects:
        factor = gcd(n, other)
        if other != n and 1 < factor < n:
            return factor
    return n


def _divisors(numbers: list[int]) -> Iterator[tuple[int, int]]:
    groups = [numbers[at : at + GROUP] for at in range(0, len(numbers), GROUP)]
    with _long_numbers():
        tree = [[(_EXACT.create_decimal(a), _EXACT.create_decimal(b)) for a, b in map(_joined, groups)]]
        while len(tree[-1]) > 1:
            tree.append(list(_above(tree[-1])))
        rests = [tree[-1][0][1]]
        for level in reversed(tree[:-1]):
            rests = [_EXACT.remainder(rests[place // 2], product) for place, (product, _) in enumerate(level)]
        for group, rest in zip(groups, rests, strict=True):
            number = int(rest)
            for n in group:
                yield n, gcd(number % n, n)


def _joined(group: list[int]) -> tuple[int, int]:
    """Product, and sum of the products of all but one."""
    product, cofactors = 1, 0
    for n in group:
        product, cofactors = product * n, cofactors * n + product
    return product, cofactors


def _above(level: list[tuple[Decimal, Decimal]]) -> Iterator[tuple[Decimal, Decimal]]:
    for at in range(0, len(level) - 1, 2):
        (a, b), (c, d) = level[at], level[at + 1]
        yield _EXACT.multiply(a, c), _EXACT.add(_EXACT.multiply(b, c), _EXACT.multiply(a, d))
    if len(level) % 2:
        yield level[-1]


@contextmanager
def _long_numbers() -> Iterator[None]:
    """Python refuses to turn a very long number into text; nothing here is text, but the same limit is asked."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)
