"""The signature sector of Secure Boot V2: up to three blocks of 1216 bytes in 4096, the rest 0xFF.

| RSA-3072 (version 2) | ECDSA P-192, P-256 (version 3) | ECDSA P-384 (version 3) |
| 0: 0xE7, 2, 0, 0 | 0xE7, 3, 0, 0 | 0xE7, 3, 1, 0 |
| 4: SHA-256 of the image | SHA-256 | SHA-384, 48 bytes |
| 36: n (384), e (4), R (384), M' (4) | 36: curve (1), x, y (64) | 52: curve (1), x, y (96) |
| 812: the PSS value (384) | 101: r, s (64), zeros | 149: r, s (96), zeros |
| 1196: CRC-32 of all before it, then 16 zero bytes | the same | the same |

All numbers are little endian. R = 2**6144 mod n and M' = -1/n mod 2**32 are what the chip multiplies with: it does not compute
them, it believes those of the block, whose SHA-256 together with n and e is burnt into it. So they must be n's.
Source: ESP-IDF docs/en/security/secure-boot-v2, esp_secure_boot.h (ets_secure_boot_sig_block_t).
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import OpenArtifact
from sealwright.envelope.algorithms import ECDSA_SHA256, ECDSA_SHA384, PSS_SHA256, PublicKey, SignatureAlgorithm
from sealwright.errors import KeyRefused
from sealwright.formats.espimage import wrong

SECTOR_BYTES = 4096
BLOCK_BYTES = 1216
MAX_BLOCKS = 3
MAGIC = 0xE7
EMPTY = b"\xff"
_RSA, _ECDSA = 2, 3
_RSA_BYTES = 384
_CRC_AT, _CRC_END = 1196, 1200


class Layout(NamedTuple):
    """How the blocks of one type of key are laid out. start: their first bytes; curve: 0 for RSA; number_bytes: of x, y, r, s, or of n.

    algorithm: None for what is too weak to count.
    """

    name: str
    start: bytes
    digest: HashName
    algorithm: SignatureAlgorithm | None
    curve: int
    number_bytes: int
    key_bytes: int
    value_bytes: int

    @property
    def key_at(self) -> int:
        """Where the key begins in a block."""
        return 4 + self.digest.size

    @property
    def value_at(self) -> int:
        """Where the signature begins in a block."""
        return self.key_at + self.key_bytes


_RSA_3072 = Layout("RSA-3072", bytes((MAGIC, _RSA, 0, 0)), HashName.SHA256, PSS_SHA256, 0, _RSA_BYTES, 776, _RSA_BYTES)
_P192 = Layout("P-192", bytes((MAGIC, _ECDSA, 0, 0)), HashName.SHA256, None, 1, 24, 65, 64)
_P256 = Layout("P-256", bytes((MAGIC, _ECDSA, 0, 0)), HashName.SHA256, ECDSA_SHA256, 2, 32, 65, 64)
_P384 = Layout("P-384", bytes((MAGIC, _ECDSA, 1, 0)), HashName.SHA384, ECDSA_SHA384, 3, 48, 97, 96)
_LAYOUTS = (_RSA_3072, _P192, _P256, _P384)
BLOCK_STARTS = frozenset(one.start for one in _LAYOUTS)
_OF_CURVE = {"secp256r1": _P256, "secp384r1": _P384}


class Block(NamedTuple):
    """One signature. raw: as it stands; key: as burnt into chips by its SHA-256; value: in the encoding of CMS."""

    raw: bytes
    layout: Layout
    digest: Digest
    key: bytes
    value: bytes

    @property
    def key_digest(self) -> Digest:
        """What a chip's eFuses hold of the key."""
        return Digest.of(self.key)


def read_sector(source: OpenArtifact, at: int) -> tuple[Block, ...]:
    """The blocks of the sector at an offset, at least one; MalformedArtifact with the offset for what chips and tools could differ on.

    All blocks are of one scheme over one digest, each with its CRC, what they leave over is zero, what the sector leaves is 0xFF.
    """
    sector = source.read_at(at, SECTOR_BYTES)
    blocks: list[Block] = []
    for start in range(0, MAX_BLOCKS * BLOCK_BYTES, BLOCK_BYTES):
        raw = sector[start : start + BLOCK_BYTES]
        if raw == EMPTY * BLOCK_BYTES:
            break
        blocks.append(_read_block(source, at + start, raw))
    if not blocks:
        raise wrong(source, at, "there is no signature block in the signature sector")
    end = len(blocks) * BLOCK_BYTES
    if sector[end:] != EMPTY * (SECTOR_BYTES - end):
        raise wrong(source, at + end, "the signature sector is not filled with 0xFF behind its blocks")
    first = blocks[0]
    for number, one in enumerate(blocks):
        if one.layout.start != first.layout.start:
            raise wrong(
                source, at + number * BLOCK_BYTES, f"a block of {one.layout.name} beside one of {first.layout.name}"
            )
        if one.digest != first.digest:
            raise wrong(source, at + number * BLOCK_BYTES + 4, "the blocks are over different images")
    return tuple(blocks)


def sector_of(blocks: tuple[bytes, ...]) -> bytes:
    """The sector that holds these blocks."""
    return b"".join(blocks).ljust(SECTOR_BYTES, EMPTY)


def write_block(key: PublicKey, digest: Digest, value: bytes, subject: str) -> bytes:
    """The block of a signature. value: in the encoding of CMS. KeyRefused for a key that no chip reads."""
    layout = layout_of(key)
    if layout is None or layout.digest is not digest.algorithm:
        raise KeyRefused(
            subject, "no chip reads a key of this type or size", "Use an RSA-3072 key for PSS, P-256 or P-384."
        )
    if isinstance(key, rsa.RSAPublicKey):
        signature = value[::-1]
    else:
        signature = b"".join(number.to_bytes(layout.number_bytes, "little") for number in decode_dss_signature(value))
    body = layout.start + digest.value + key_field(key) + signature
    return _closed(body.ljust(_CRC_AT, b"\0"))


def layout_of(key: PublicKey) -> Layout | None:
    """How blocks of that key are laid out; None where no chip reads it."""
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA_3072 if key.key_size == 8 * _RSA_BYTES and key.public_numbers().e < 1 << 32 else None
    return _OF_CURVE.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None


def key_field(key: PublicKey) -> bytes:
    """A key as blocks hold it; nothing where no chip reads it."""
    layout = layout_of(key)
    if isinstance(key, rsa.RSAPublicKey) and layout is not None:
        return _rsa_field(key.public_numbers().n, key.public_numbers().e)
    if isinstance(key, ec.EllipticCurvePublicKey) and layout is not None:
        point = key.public_numbers()
        numbers = [number.to_bytes(layout.number_bytes, "little") for number in (point.x, point.y)]
        return bytes((layout.curve,)) + b"".join(numbers)
    return b""


def _rsa_field(n: int, e: int) -> bytes:
    """Modulus, exponent, R and M'. n: odd."""
    r, m = pow(2, 16 * _RSA_BYTES, n), -pow(n, -1, 1 << 32) % (1 << 32)
    return b"".join(
        number.to_bytes(size, "little") for number, size in ((n, _RSA_BYTES), (e, 4), (r, _RSA_BYTES), (m, 4))
    )


def _read_block(source: OpenArtifact, at: int, raw: bytes) -> Block:
    if len(raw) < BLOCK_BYTES or raw[0] != MAGIC:
        raise wrong(source, at, "there is neither a signature block nor filling")
    if raw[_CRC_AT:_CRC_END] != _crc(raw[:_CRC_AT]):
        raise wrong(source, at + _CRC_AT, "the CRC-32 is not that of the signature block")
    layout = next((one for one in _LAYOUTS if raw.startswith(one.start) and one.curve in (0, raw[one.key_at])), None)
    if layout is None:
        raise wrong(source, at + 1, "a signature of a version, digest or curve that is not known")
    digest = Digest(layout.digest, raw[4 : layout.key_at])
    key, value = raw[layout.key_at : layout.value_at], raw[layout.value_at : layout.value_at + layout.value_bytes]
    if raw != _closed(raw[: layout.value_at + layout.value_bytes].ljust(_CRC_AT, b"\0")):
        raise wrong(
            source, at + layout.value_at + layout.value_bytes, "there are bytes where a signature block has zeros"
        )
    if layout is _RSA_3072:
        _check_derived(source, at + layout.key_at, key)
        return Block(raw, layout, digest, key, value[::-1])
    size = layout.number_bytes
    if any(key[1 + 2 * size :]) or any(value[2 * size :]):
        raise wrong(source, at + layout.key_at, f"numbers that are longer than those of {layout.name}")
    r, s = (int.from_bytes(value[start : start + size], "little") for start in (0, size))
    return Block(raw, layout, digest, key, encode_dss_signature(r, s))


def _check_derived(source: OpenArtifact, at: int, key: bytes) -> None:
    n, e = int.from_bytes(key[:_RSA_BYTES], "little"), int.from_bytes(key[_RSA_BYTES : _RSA_BYTES + 4], "little")
    if n % 2 == 0 or n.bit_length() != 8 * _RSA_BYTES:
        raise wrong(source, at, "its RSA modulus is even, or not of 3072 bits")
    if key != _rsa_field(n, e):
        raise wrong(
            source, at + _RSA_BYTES + 4, "R or M', which the chip computes with, is not that of its RSA modulus"
        )


def _closed(body: bytes) -> bytes:
    return (body + _crc(body)).ljust(BLOCK_BYTES, b"\0")


def _crc(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little")
