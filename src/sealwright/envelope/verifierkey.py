"""Verifier keys: how a log and its witnesses are named in a trust file (C2SP signed-note and tlog-cosignature).

    PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
    name        + key id + base64(type byte || public key)

1. One line of three parts; only the third may hold a "+" again, since base64 has one.
2. The name is not empty and holds neither a space of any kind nor a control or direction character.
3. base64 is the standard one, padded, with no other spelling of the same bytes; no more bytes than a key has.
4. The key id is SHA-256(name || 0x0A || type byte || public key)[:4] in lower-case hexadecimal: a slip of the pen shows.
5. The key is a point of edwards25519 in its one encoding, and not of small order: such a key verifies forged signatures.

A log signs with type 1 (Ed25519 over the note), a witness with type 4 (timestamped Ed25519, `cosignature/v1`). The type is
part of the key: who asks for one kind gets no other.
"""

from __future__ import annotations

import base64
import hashlib
import re
from enum import IntEnum
from typing import NamedTuple

from sealwright.artifact.names import display

MAX_CHARACTERS = 4000  # an ML-DSA-44 key has 1,780 in base64
KEY_BYTES = 32
_ID = re.compile(r"[0-9a-f]{8}")
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class NoteType(IntEnum):
    """The type bytes that are assigned to Ed25519."""

    LOG = 1
    WITNESS = 4


# What others sign with, named so that the refusal can say it.
_OTHERS = {2: "ECDSA", 5: "a tree head of RFC 6962", 6: "ML-DSA-44"}
_WORDS = {NoteType.LOG: "Ed25519, as logs sign", NoteType.WITNESS: "timestamped Ed25519, as witnesses sign"}


class VerifierKey(NamedTuple):
    """name: as it stands in signature lines; id: the 4 bytes before each signature; key: 32 bytes, RFC 8032."""

    name: str
    id: bytes
    type: NoteType
    key: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes((self.type,)) + self.key).decode()}"


def key_id(name: str, kind: int, key: bytes) -> bytes:
    """The short name of a key, and no proof of anything."""
    return hashlib.sha256(name.encode() + b"\n" + bytes((kind,)) + key).digest()[:4]


def parse_verifier_key(text: str, wanted: NoteType) -> VerifierKey:
    """Read a key of the wanted type; ValueError with a clause that says what is wrong with the text."""
    name, first, rest = text.partition("+")
    hexadecimal, second, encoded = rest.partition("+")
    if len(text) > MAX_CHARACTERS or not (first and second):
        raise ValueError("it does not read name+id+key")
    if not name or any(character.isspace() for character in name) or display(name) != name:
        raise ValueError("its name is empty or holds a space or a character that does not print")
    if not _ID.fullmatch(hexadecimal):
        raise ValueError("its id is not eight lower-case hexadecimal digits")
    data = _decoded(encoded)
    kind, key = data[0], data[1:]
    if key_id(name, kind, key) != bytes.fromhex(hexadecimal):
        raise ValueError("its id does not belong to this name and key, so one of them was mistyped")
    if kind != wanted:
        said = _WORDS[NoteType(kind)] if kind in tuple(NoteType) else _OTHERS.get(kind, "unknown")
        raise ValueError(f"it is of type {kind} ({said}), wanted is type {int(wanted)} ({_WORDS[wanted]})")
    if len(key) != KEY_BYTES or not _is_safe_point(key):
        raise ValueError("its key is not an Ed25519 key that may be trusted")
    return VerifierKey(name, key_id(name, kind, key), wanted, key)


def _decoded(encoded: str) -> bytes:
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as cause:  # binascii's error is one; so is text that is not ASCII
        raise ValueError("its key is not base64") from cause
    if not data or base64.b64encode(data).decode() != encoded:
        raise ValueError("its key is not base64 in its one spelling")
    return data


def _is_safe_point(key: bytes) -> bool:
    """Whether 32 bytes are a point in its canonical encoding (RFC 8032, 5.1.3) whose order is not 1, 2, 4 or 8."""
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)  # the highest bit is the sign of x, and any will do
    square = _x_squared(y)
    if y >= _P or square == 0 or pow(square, (_P - 1) // 2, _P) != 1:  # x = 0 are the points of order 1 and 2
        return False
    for _ in range(3):
        y = (y * y + square) * pow(1 - _D * square * y * y, -1, _P) % _P
        square = _x_squared(y)
    return y != 1  # eight times the point is not the neutral element


def _x_squared(y: int) -> int:
    """From the curve -x^2 + y^2 = 1 + d x^2 y^2; d is no square, so the divisor is never 0."""
    return (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
