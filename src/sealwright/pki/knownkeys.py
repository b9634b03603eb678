"""Lists of public keys whose private half is published: ours, and those that an officer gives.

`knownkeys.txt` is ours: tests, examples, demonstrations and leaks, with the place of each (scripts/known_keys.py makes it).
Not in it are the keys of Debian's broken generator (CVE-2008-0166): the lists are tens of megabytes, and no package that could be
taken up here carries them. An officer who has one gives it with `--known-keys FILE`; these are read, told apart by what they hold:

    DIGEST  PLACE                SHA-256 of the SPKI in hex, as in ours; the place may be left out
    20 hexadecimal digits        openssl-blacklist (SHA-1 of "Modulus=…") and openssh-blacklist (MD5 of the SSH key), as packaged
    16 octets a key, sorted      badkeys' blocklist.dat: 15 octets of SHA-256 of the key's number, one octet for the list's name

>>> published_keys().count > 500
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import md5, sha1, sha256
from importlib.resources import files

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import PublicKey, key_digest
from sealwright.errors import MalformedTrust

FILE = "knownkeys.txt"
MAX_BYTES = 256 << 20
RECORD = 16
_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+(.*))?")
_SHORT = re.compile(r"[0-9a-fA-F]{20}")
_NO_LIST = "Give a list of digests in hex, a packaged blacklist, or badkeys' blocklist.dat, unpacked."


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """One list. places: by SPKI digest; short: the twenty digits of the packaged lists; records: badkeys' sorted records."""

    name: str
    places: Mapping[str, str] = field(default_factory=dict)
    short: frozenset[str] = frozenset()
    records: bytes = b""

    @property
    def count(self) -> int:
        """How many keys."""
        return len(self.places) + len(self.short) + len(self.records) // RECORD

    def where(self, key: PublicKey) -> str:
        """Where the key stands, or ""."""
        place = self.places.get(key_digest(key).value.hex())
        if place is not None:
            return place or self.name
        if self.short and any(found in self.short for found in _short_names(key)):
            return self.name
        return self._recorded(_number_digest(key)) if self.records else ""

    def _recorded(self, wanted: bytes) -> str:
        """A binary search over the records."""
        low, high = 0, len(self.records) // RECORD
        while low < high:
            middle = (low + high) // 2
            if self.records[middle * RECORD : middle * RECORD + RECORD - 1] < wanted:
                low = middle + 1
            else:
                high = middle
        at = low * RECORD
        return f"{self.name}, list {self.records[at + 15]}" if self.records[at : at + 15] == wanted else ""


@lru_cache(maxsize=1)
def published_keys() -> KnownKeys:
    """Our own list."""
    text = files("sealwright.pki").joinpath(FILE).read_text(encoding="ascii")
    places, source = {}, ""
    for line in text.splitlines():
        if line.startswith("@ "):
            source = line[2:]
        elif not line.startswith("#"):
            digest, _, path = line.partition("  ")
            places[digest] = f"{source}: {path}"
    return KnownKeys("published keys", places)


def read_known_keys(path: str) -> KnownKeys:
    """The list of an officer; MalformedTrust if it is of no form that is read, or empty, or not sorted."""
    data = read_file(path, MAX_BYTES)
    if not data:
        raise MalformedTrust(path, "the list of known keys is empty", _NO_LIST)
    lines = _lines(data)
    if lines is None:
        return _records(path, data)
    places: dict[str, str] = {}
    short: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if (found := _LINE.fullmatch(line)) is not None:
            places[found[1].lower()] = (found[2] or "").strip()
        elif _SHORT.fullmatch(line):
            short.add(line.lower())
        else:
            raise MalformedTrust(path, f"line {number} is no digest of a key", _NO_LIST)
    if not places and not short:
        raise MalformedTrust(path, "there is no key in the list", _NO_LIST)
    return KnownKeys(path, places, frozenset(short))


def _lines(data: bytes) -> list[str] | None:
    """The lines of a text; None for what is none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else [line.strip() for line in text.splitlines()]


def _records(path: str, data: bytes) -> KnownKeys:
    """badkeys' records. An unsorted list would be searched in vain, so that keys on it would come in."""
    if len(data) % RECORD:
        raise MalformedTrust(path, f"{len(data)} bytes are no list of {RECORD}-octet records", _NO_LIST)
    before = b""
    for at in range(0, len(data), RECORD):
        record = data[at : at + RECORD]
        if record < before:
            raise MalformedTrust(path, f"its records are not sorted at byte {at}", _NO_LIST)
        before = record
    return KnownKeys(path, records=data)


def _short_names(key: PublicKey) -> tuple[str, ...]:
    """What the packaged lists of 2008 call a key: the last twenty digits of its digest there."""
    names = []
    if isinstance(key, rsa.RSAPublicKey):
        named = f"Modulus={key.public_numbers().n:X}\n".encode()
        names.append(sha1(named, usedforsecurity=False).hexdigest()[-20:])
        from base64 import b64decode  # only where such a list was given

        line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()
        names.append(md5(b64decode(line[1]), usedforsecurity=False).hexdigest()[-20:])
    return tuple(names)


def _number_digest(key: PublicKey) -> bytes:
    """What badkeys calls a key: 15 octets of SHA-256 over its one number, without leading zeros."""
    if isinstance(key, rsa.RSAPublicKey):
        number = key.public_numbers().n
    elif isinstance(key, ec.EllipticCurvePublicKey):
        number = key.public_numbers().x
    elif isinstance(key, ed25519.Ed25519PublicKey):
        number = int.from_bytes(key.public_bytes_raw(), "big")
    else:
        return sha256(key.public_bytes_raw()).digest()[: RECORD - 1]
    return sha256(number.to_bytes((number.bit_length() + 7) // 8, "big")).digest()[: RECORD - 1]
