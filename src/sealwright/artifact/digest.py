"""Digests carry their algorithm; a bare hex string never travels.

>>> Digest.parse("sha256:" + "00" * 32).algorithm
<HashName.SHA256: 'sha256'>
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class HashName(StrEnum):
    """The digest algorithms that Sealwright writes and accepts (RULES: SHA-2 only)."""

    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"

    @property
    def size(self) -> int:
        """Octets of one digest."""
        return _SIZES[self._value_]

    @property
    def new(self) -> Callable[..., hashlib._Hash]:
        """Makes a state to update, of the octets given, if any."""
        return _HASHES[self._value_]


_SIZES = {"sha256": 32, "sha384": 48, "sha512": 64}
_HASHES = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_TEXT = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest: algorithm and octets. ValueError if the length does not fit the algorithm."""

    algorithm: HashName
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != self.algorithm.size:
            raise ValueError(f"{self.algorithm} digest of {len(self.value)} octets")

    def __str__(self) -> str:
        return f"{self.algorithm._value_}:{self.value.hex()}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:` and lower-case hexadecimal; ValueError for every other spelling."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"not a digest: {text[:80]!r}")
        return cls(HashName(match[1]), bytes.fromhex(match[2]))

    @classmethod
    def of(cls, data: bytes, algorithm: HashName = HashName.SHA256) -> Digest:
        """Digest of octets in memory."""
        return cls(algorithm, _HASHES[algorithm._value_](data).digest())
