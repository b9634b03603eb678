"""Checkpoints of a log and what witnesses add (C2SP tlog-checkpoint, signed-note, tlog-cosignature), read and checked.

    example.com/log                      origin
    109482                               how many entries
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5...   the Merkle root over them; perhaps lines that we pass over
    (empty line)
    — example.com/log hI2DJw...          name, and base64 of key id and signature: Ed25519 over the lines above
    — witness.example jWbPPwAAAABk...    a witness puts 8 bytes of time before its signature

1. A signature whose name and key id are those of a known key must hold, else the whole note is refused; all others are ignored.
2. The log's key has the name that the origin says, and has signed.
3. A witness signs `cosignature/v1`, its time and the lines: by that time it had seen this tree. Of one witness the earliest time
   counts, and a time of zero says nothing. Two keys under one name are one witness.
The log's own signature proves no time: whoever holds its key writes what it likes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import BadSignature, MalformedEnvelope
from sealwright.log.merkle import HASH_BYTES, MAX_SIZE

MAX_SIGNATURES = 64
MAX_NAME = 400
DASH = "\u2014"
_SIGNATURE_BYTES = 64
_TIME_BYTES = 8
_LAST_SECOND = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())
_AGAIN = "Fetch the proof again from its log."


class NoteSignature(NamedTuple):
    """One line under a note. name, id: of the key that is said to have made it; value: what comes after the id."""

    name: str
    id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line, as it stands under the note."""
        return f"{DASH} {self.name} {base64.b64encode(self.id + self.value).decode()}\n"


class Checkpoint(NamedTuple):
    """A log's tree at one size, as signed. text: the signed lines, with the last line feed; root: 32 bytes."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[NoteSignature, ...]


class Witnessed(NamedTuple):
    """A checkpoint whose signatures hold. times: of each witness that has seen it, by its name, the earliest that it says."""

    log: VerifierKey
    times: Mapping[str, datetime]


def read_checkpoint(note: str, subject: str) -> Checkpoint:
    """Read a signed checkpoint without checking it; MalformedEnvelope where it is none."""
    text, gap, signed = note.partition("\n\n")
    lines = text.split("\n")
    if not gap or len(lines) < 3 or not 0 < len(lines[0]) <= MAX_NAME or not signed.endswith("\n"):
        raise _wrong(subject, "it holds no signed checkpoint")
    signatures = signed[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise _wrong(subject, f"{len(signatures)} signatures, at most {MAX_SIGNATURES} are read")
    root = read_base64(lines[2], subject)
    if len(root) != HASH_BYTES:
        raise _wrong(subject, "the root of its checkpoint is no SHA-256")
    read = tuple(_signature(line, subject) for line in signatures)
    return Checkpoint(lines[0], read_number(lines[1], subject), root, (text + "\n").encode(), read)


def check_checkpoint(
    checkpoint: Checkpoint, logs: Iterable[VerifierKey], witnesses: Iterable[VerifierKey], subject: str
) -> Witnessed:
    """Check every signature of a known key; BadSignature where one does not hold, or no known log of this origin has signed."""
    log = None
    for key in logs:
        if key.name == checkpoint.origin:
            for value in _of(key, checkpoint):
                _check(key, value, checkpoint.text, subject)
                log = key
    if log is None:
        raise BadSignature(
            subject, f"no log of the trust file that is called {checkpoint.origin} has signed it", _AGAIN
        )
    return Witnessed(log, check_cosignatures(checkpoint, witnesses, subject))


def check_cosignatures(
    checkpoint: Checkpoint, witnesses: Iterable[VerifierKey], subject: str
) -> Mapping[str, datetime]:
    """The earliest time of each witness that has signed, by its name; BadSignature where one does not hold."""
    times: dict[str, datetime] = {}
    for key in witnesses:
        for value in _of(key, checkpoint):
            seconds = _cosigned(key, value, checkpoint.text, subject)
            if seconds:
                moment = datetime.fromtimestamp(seconds, UTC)
                times[key.name] = min(moment, times.get(key.name, moment))
    return times


def time_said(signature: NoteSignature) -> datetime | None:
    """The time in a line that could be a witness's, unchecked, for `inspect`."""
    if len(signature.value) != _TIME_BYTES + _SIGNATURE_BYTES:
        return None
    seconds = int.from_bytes(signature.value[:_TIME_BYTES], "big")
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < _LAST_SECOND else None


def read_base64(text: str, subject: str) -> bytes:
    """Bytes in standard base64, in their one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as cause:
        raise _wrong(subject, "something in it is not base64") from cause
    if base64.b64encode(data).decode() != text:
        raise _wrong(subject, "something in it is not base64 in its one spelling")
    return data


def read_number(text: str, subject: str) -> int:
    """A decimal number as logs write it, without leading zeros."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise _wrong(subject, "something in it is not a number")
    if int(text) > MAX_SIZE:
        raise _wrong(subject, "a number in it is too large for a log")
    return int(text)


def _signature(line: str, subject: str) -> NoteSignature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != DASH or not 0 < len(name) <= MAX_NAME or "+" in name or any(character.isspace() for character in name):
        raise _wrong(subject, "a line under its checkpoint is no signature")
    data = read_base64(encoded, subject)
    if len(data) < 5:
        raise _wrong(subject, "a signature under its checkpoint is too short")
    return NoteSignature(name, data[:4], data[4:])


def _of(key: VerifierKey, checkpoint: Checkpoint) -> list[bytes]:
    return [one.value for one in checkpoint.signatures if (one.name, one.id) == (key.name, key.id)]


def _cosigned(key: VerifierKey, value: bytes, text: bytes, subject: str) -> int:
    """The seconds since 1970 that a cosignature says."""
    seconds = int.from_bytes(value[:_TIME_BYTES], "big")
    if seconds >= _LAST_SECOND:
        raise BadSignature(subject, f"the witness {key.name} says a time that no clock shows", _AGAIN)
    _check(key, value[_TIME_BYTES:], b"cosignature/v1\ntime %d\n" % seconds + text, subject)
    return seconds


def _check(key: VerifierKey, value: bytes, message: bytes, subject: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(value, message)
    except (InvalidSignature, ValueError) as cause:
        raise BadSignature(
            subject, f"the signature of {key.name} under its checkpoint does not hold", _AGAIN
        ) from cause


def _wrong(subject: str, what: str) -> MalformedEnvelope:
    return MalformedEnvelope(subject, what, _AGAIN)
