"""Weak and known keys, refused at the door: a request, a certificate, an imported key, a trust file's key (A010).

One function for every door, `check_key`; `read_public_key` is for doors where the key comes as octets.

1. Encoding: the SPKI is the one that we would write ourselves. Explicit curve parameters, compressed points, trailing octets
   and unusual parameters are refused, because a key is counted by its digest (RULES 2).
2. Kind, curve and size: the table of `envelope/algorithms.py`, with ROCA, even moduli and odd exponents there.
3. RSA: the modulus has no factor below 2**16, is no prime, and its two factors are not near each other, nor in a small ratio
   (Fermat's and Lehman's method, some hundred steps).
4. ECDSA, Ed25519: the private key is no small number and no repeated octet. Ed25519: a canonical point of prime order.
5. ML-DSA: the public key is no repeated octet.
6. Known: the digest is in the list of published private keys, or in one that the officer gave (`knownkeys.py`).

Shared factors between keys show only when many are looked at together: `sharedfactors.py`. What these checks cannot see is a
key from a poor generator that nobody has described yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd, isqrt
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.envelope.algorithms import (
    MIN_RSA_BITS_TO_SIGN,
    PublicKey,
    SignatureAlgorithm,
    algorithm_for,
    check_encoding,
    check_rsa,
    key_digest,
)
from sealwright.errors import MalformedEnvelope, WeakAlgorithm
from sealwright.pki.knownkeys import KnownKeys, published_keys

MAX_SPKI_BYTES = 16 * 1024
SMALL_FACTORS_BELOW = 1 << 16
FERMAT_STEPS = 500
RATIO_STEPS = 8
RATIOS = 64  # of the two primes, a/b with a*b below this
SMALL_SCALARS = 256
_ORDER = 2**252 + 27742317777372353535851937790883648493
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_NEW_KEY = "Make a new key, and deny this one in the trust file if anything was signed with it."
Point = tuple[int, int, int, int]


def check_key(
    key: object,
    *,
    subject: str,
    least_rsa_bits: int = MIN_RSA_BITS_TO_SIGN,
    known: Sequence[KnownKeys] = (),
) -> SignatureAlgorithm:
    """The algorithm the key signs with; WeakAlgorithm naming the subject and the reason where it may not come in.

    least_rsa_bits: 3072 for what is to sign from now on; 2048 where an old key is only to be believed. known: lists that an
    officer gave, beside our own.
    """
    algorithm = algorithm_for(key, subject=subject)
    public = cast("PublicKey", key)
    if isinstance(public, rsa.RSAPublicKey):
        check_rsa(public, subject=subject, minimum_bits=least_rsa_bits)
    found = weakness(public) or known_as(public, known)
    if found:
        raise WeakAlgorithm(subject, found, _NEW_KEY)
    return algorithm


def read_public_key(spki: bytes, *, subject: str) -> PublicKey:
    """A public key in exactly our encoding; MalformedEnvelope for octets that are no key, WeakAlgorithm for another encoding."""
    if len(spki) > MAX_SPKI_BYTES:
        raise MalformedEnvelope(subject, f"a public key of {len(spki)} bytes", "Ask for the key again.")
    try:
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise MalformedEnvelope(
            subject, f"its public key cannot be read: {cause}"[:200], "Ask for a request with another key."
        ) from cause
    algorithm_for(key, subject=subject)
    public = cast("PublicKey", key)
    check_encoding(public, spki, subject=subject)
    return public


def weakness(key: PublicKey) -> str:
    """What makes the private key easy to find, as a clause; "" where nothing is seen. The size is not judged here."""
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_weakness(key.public_numbers().n)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _TINY if key.public_numbers().x in _small_points(key.curve.name) else ""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _ed25519_weakness(key.public_bytes_raw())
    raw = cast("mldsa.MLDSA44PublicKey", key).public_bytes_raw()
    return "its public key is one octet repeated" if len(set(raw[32:])) == 1 or len(set(raw[:32])) == 1 else ""


def known_as(key: PublicKey, known: Sequence[KnownKeys] = ()) -> str:
    """Where its private key is published, as a clause, or ""."""
    for keys in (published_keys(), *known):
        where = keys.where(key)
        if where:
            return f"its private key is published: {where}"
    return ""


_TINY = "its private key is a small or repeated number"


def _rsa_weakness(n: int) -> str:
    factor = gcd(n, _small_primes())
    if factor != 1:
        return f"its RSA modulus has a factor below {SMALL_FACTORS_BELOW}"
    if near_factors(n):
        return "the two primes of its RSA modulus are near each other, and so are found at once (CVE-2022-26320)"
    if pow(2, n - 1, n) == 1:
        return "its RSA modulus is itself a prime"
    return ""


def near_factors(n: int) -> int:
    """A factor of an odd n whose two primes p, q have a*p near b*q for a small ratio, or 0.

    Fermat's method for a = b = 1, and Lehman's for every product a*b below 64.
    """
    for product in range(1, RATIOS):
        many = 4 * product * n if product > 1 else n
        root = isqrt(many)
        if root * root < many:
            root += 1
        for step in range(FERMAT_STEPS if product == 1 else RATIO_STEPS):
            rest = (root + step) ** 2 - many
            if rest & 15 in (0, 1, 4, 9):  # what a square ends in
                side = isqrt(rest)
                if side * side == rest:
                    factor = gcd(root + step - side, n)
                    if 1 < factor < n:
                        return factor
    return 0


@lru_cache(maxsize=1)
def _small_primes() -> int:
    """The product of the odd primes below 2**16, made in pairs so that it costs a few milliseconds."""
    sieve = bytearray([1]) * SMALL_FACTORS_BELOW
    for n in range(3, 256, 2):
        if sieve[n]:
            sieve[n * n :: 2 * n] = bytes(len(range(n * n, SMALL_FACTORS_BELOW, 2 * n)))
    primes = [n for n in range(3, SMALL_FACTORS_BELOW, 2) if sieve[n]]
    while len(primes) > 1:
        primes = [a * b for a, b in zip(primes[::2], [*primes[1::2], 1], strict=False)] + (
            [primes[-1]] if len(primes) % 2 and len(primes) > 1 else []
        )
    return primes[0]


@lru_cache(maxsize=4)
def _small_points(curve: str) -> frozenset[int]:
    """The x of k*G for small k (and so of n-k), and of repeated octets."""
    kind = {"secp256r1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1()}[curve]
    size = kind.key_size // 8
    scalars = [*range(1, SMALL_SCALARS), *(int.from_bytes(bytes([octet]) * size, "big") for octet in range(1, 255))]
    scalars.append(int.from_bytes(bytes(range(1, size + 1)), "big"))
    return frozenset(ec.derive_private_key(scalar, kind).public_key().public_numbers().x for scalar in scalars)


@lru_cache(maxsize=1)
def _small_seeds() -> frozenset[bytes]:
    seeds = [bytes([octet]) * 32 for octet in range(256)] + [octet.to_bytes(32, "big") for octet in range(256)]
    seeds += [octet.to_bytes(32, "little") for octet in range(256)] + [bytes(range(32)), bytes(range(1, 33))]
    return frozenset(
        ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() for seed in seeds
    )


def _ed25519_weakness(raw: bytes) -> str:
    """RFC 8032 section 5.1.3, and what section 8.7 of it leaves to the verifier: the point's order."""
    y, sign = int.from_bytes(raw, "little") & ((1 << 255) - 1), raw[31] >> 7
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P if (_D * y * y + 1) % _P else 0
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if y >= _P or x * x % _P != square or (x == 0 and sign):
        return "its Ed25519 public key is no point of the curve"
    if x & 1 != sign:
        x = _P - x
    point = (x, y, 1, x * y % _P)
    if _is_neutral(_times(point, 8)):
        return "its Ed25519 public key has a small order: one signature fits every message"
    if not _is_neutral(_times(point, _ORDER)):
        return "its Ed25519 public key is not of prime order"
    return _TINY if raw in _small_seeds() else ""


def _times(point: Point, times: int) -> Point:
    """RFC 8032 section 5.1.4, extended homogeneous coordinates; of public numbers only."""
    result: Point = (0, 1, 1, 0)
    while times:
        if times & 1:
            result = _add(result, point)
        point, times = _add(point, point), times >> 1
    return result


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _is_neutral(point: Point) -> bool:
    return point[0] % _P == 0 and (point[1] - point[2]) % _P == 0


def digest_of(key: PublicKey) -> str:
    """How the key is written in lists: SHA-256 of its SPKI in hex."""
    return key_digest(key).value.hex()
