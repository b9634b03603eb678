"""What a TPM marshals, read without a TPM: public areas and statements that it signed (TPM 2.0 Library, Part 2).

Every number is big-endian, a sized buffer has its length in two octets before it; ValueError for whatever is not exactly that.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealwright.envelope.algorithms import PublicKey

SHA256 = 0x000B
NULL = 0x0010
CERTIFY = 0x8017
COMMAND_AUDIT = 0x8015
SET_AUDIT_COMMAND, SIGN_COMMAND = 0x00000140, 0x0000015D
FIXED_TPM, FIXED_PARENT, MADE_INSIDE, RESTRICTED, SIGN = 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 18
_MAGIC = bytes.fromhex("ff544347")
_CURVES: dict[int, ec.EllipticCurve] = {3: ec.SECP256R1(), 4: ec.SECP384R1()}


class Cursor:
    """Fields of a structure, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """So many octets."""
        if self.at + size > len(self.data):
            raise ValueError("truncated")
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def number(self, size: int) -> int:
        """A number of so many octets."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """A sized buffer."""
        return self.take(self.number(2))

    def end(self) -> None:
        """Nothing comes after."""
        if self.at != len(self.data):
            raise ValueError("trailing octets")


@dataclass(frozen=True, slots=True)
class PublicArea:
    """TPMT_PUBLIC of a signing key. attributes: TPMA_OBJECT."""

    attributes: int
    key: PublicKey

    def has(self, attributes: int) -> bool:
        """Whether all of these are set."""
        return self.attributes & attributes == attributes


def read_public_area(data: bytes) -> PublicArea:
    """A TPMT_PUBLIC of a signing key with SHA-256 as its nameAlg (Part 2 section 12.2.4)."""
    cursor = Cursor(data)
    kind, name_algorithm, attributes = cursor.number(2), cursor.number(2), cursor.number(4)
    if name_algorithm != SHA256:
        raise ValueError("nameAlg is not SHA-256")
    cursor.sized()
    if cursor.number(2) != NULL:
        raise ValueError("a key with a symmetric algorithm")
    if cursor.number(2) != NULL:
        cursor.take(2)
    if kind == 0x0023:
        curve = _CURVES.get(cursor.number(2))
        if curve is None or cursor.number(2) != NULL:
            raise ValueError("unknown curve")
        x, y = cursor.sized(), cursor.sized()
        cursor.end()
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
        return PublicArea(attributes, point.public_key())
    if kind == 0x0001:
        cursor.take(2)
        exponent = cursor.number(4) or 65537
        modulus = int.from_bytes(cursor.sized(), "big")
        cursor.end()
        return PublicArea(attributes, rsa.RSAPublicNumbers(exponent, modulus).public_key())
    raise ValueError("unknown kind of key")


@dataclass(frozen=True, slots=True)
class Statement:
    """TPMS_ATTEST (Part 2 section 10.12.12). kind: its type; extra: the challenge; resets: how often the TPM was reset; details: what it states."""

    kind: int
    extra: bytes
    resets: int
    details: bytes


def read_statement(attest: bytes) -> Statement:
    """What a TPM signed, if it has the magic number that nothing from outside of a TPM gets signed with by a restricted key."""
    cursor = Cursor(attest)
    if cursor.take(4) != _MAGIC:
        raise ValueError("no statement of a TPM")
    kind = cursor.number(2)
    cursor.sized()  # qualifiedSigner
    extra = cursor.sized()
    cursor.take(8)  # clock
    resets = cursor.number(4)
    cursor.take(4 + 1 + 8)  # restartCount, safe, firmwareVersion
    return Statement(kind, extra, resets, attest[cursor.at :])
