"""The journal of an audited TPM: one line for each thing that happened, in the order in which the TPM did it.

    # sealwright tpm audit 1
    key TPMT_PUBLIC                          a key whose uses are written here; its Name is 000b and the SHA-256 of this
    use NAME DIGEST                          TPM2_Sign is about to be sent
    made TIME TPMT_SIGNATURE                 and this is what came back; a `use` without it was broken off
    attested TIME NONCE ATTEST SIGNATURE AK  TPM2_GetCommandAuditDigest, signed by the attestation key; from here the TPM counts anew

Octets in hexadecimal, times in seconds since 1970 by this machine's clock. Nobody has to believe the file: what the TPM attested fits it or does
not (`log.commandaudit`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sealwright.errors import MalformedEnvelope
from sealwright.keys.tpmwire import SHA256

FIRST_LINE = "# sealwright tpm audit 1\n"
MAX_LINE_BYTES = 8 * 1024
MAX_TIME_DIGITS = 11
_AGAIN = "Give the file as the machine with the TPM wrote it."


@dataclass(frozen=True, slots=True)
class KeyLine:
    """public: TPMT_PUBLIC as marshalled."""

    public: bytes

    @property
    def name(self) -> bytes:
        """The key's Name (Part 1 section 16)."""
        return SHA256.to_bytes(2, "big") + hashlib.sha256(self.public).digest()

    def __str__(self) -> str:
        return f"key {self.public.hex()}\n"


@dataclass(frozen=True, slots=True)
class UseLine:
    """name: of the key; digest: what is to be signed."""

    name: bytes
    digest: bytes

    def __str__(self) -> str:
        return f"use {self.name.hex()} {self.digest.hex()}\n"


@dataclass(frozen=True, slots=True)
class MadeLine:
    """signature: TPMT_SIGNATURE as marshalled."""

    time: datetime
    signature: bytes

    def __str__(self) -> str:
        return f"made {_seconds(self.time)} {self.signature.hex()}\n"


@dataclass(frozen=True, slots=True)
class AttestedLine:
    """attest: TPMS_ATTEST; signature: ECDSA in DER; attestation_key: TPMT_PUBLIC; nonce: the challenge."""

    time: datetime
    nonce: bytes
    attest: bytes
    signature: bytes
    attestation_key: bytes

    def __str__(self) -> str:
        octets = (self.nonce, self.attest, self.signature, self.attestation_key)
        return f"attested {_seconds(self.time)} {' '.join(one.hex() for one in octets)}\n"


Line = KeyLine | UseLine | MadeLine | AttestedLine


def read_line(text: str) -> Line:
    """One line, with its line feed; ValueError unless it is exactly as it is written."""
    match text.removesuffix("\n").split(" "):
        case ["key", public]:
            read: Line = KeyLine(bytes.fromhex(public))
        case ["use", name, digest]:
            read = UseLine(bytes.fromhex(name), bytes.fromhex(digest))
        case ["made", time, signature]:
            read = MadeLine(_time(time), bytes.fromhex(signature))
        case ["attested", time, nonce, attest, signature, key]:
            octets = (bytes.fromhex(one) for one in (nonce, attest, signature, key))
            read = AttestedLine(_time(time), *octets)
        case _:
            raise ValueError("it is no line of this journal")
    if str(read) != text:
        raise ValueError("it is cut off, or written otherwise")
    return read


def _seconds(time: datetime) -> int:
    return int(time.timestamp())


def _time(text: str) -> datetime:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_TIME_DIGITS):
        raise ValueError("it has no time")
    return datetime.fromtimestamp(int(text), UTC)


def read_lines(path: str) -> Iterator[Line]:
    """Every line of a journal; MalformedEnvelope naming the one that is not, Unreadable where the file is not read."""
    from sealwright.artifact.source import unreadable

    try:
        with open(path, "rb") as file:
            for number, data in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                try:
                    text = data.decode("ascii")
                    if number > 1:
                        yield read_line(text)
                    elif text != FIRST_LINE:
                        raise ValueError("it does not begin as a journal")
                except ValueError as cause:
                    raise MalformedEnvelope(f"{path} line {number}", str(cause)[:160], _AGAIN) from cause
    except OSError as cause:
        raise unreadable(path, cause) from cause
