"""Signatures read by their difference: what one signer writes differs in digest, time, value and timestamp, and in nothing else.

A shape is a SignedData that was read in full, as its octets with holes where those values stand. Other octets that equal it
outside the holes hold the same structure, for all tags and lengths of DER stand outside: they need no second reading.
1. A hole is known only where the value with its header (and, for an attribute, its type) occurs exactly once.
2. Inside a hole nothing has a form but signing-time, which is decoded again, and content, which is digested again.
3. Only an envelope of one signer without findings, with at most one timestamp and nothing nested has a shape; the order of a SET
   OF follows from what stands before the holes.
4. Content that is a SEQUENCE (Authenticode) is read raw as well, but only in DER: where BER is converted, so is what is in it.
What fits no shape is read in full, so a shape changes how long reading takes and never what it finds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest
from sealwright.envelope import asn1 as types
from sealwright.envelope.asn1 import der

if TYPE_CHECKING:
    from sealwright.envelope.cms import Envelope, Signer

MAX_LENGTHS = 64
MAX_OF_ONE_LENGTH = 4
# message-digest and signing-time (1.2.840.113549.1.9.4 and .5), and the headers of one UTCTime, which has 13 octets
_DIGEST_TYPE = bytes.fromhex("06092a864886f70d010904")
_TIME_TYPE = bytes.fromhex("06092a864886f70d010905")
_TIME_HEAD = bytes.fromhex("310f170d")
_TIME_SIZE = 13


class Shape(NamedTuple):
    """fixed: the octets between the holes and where they stand; envelope, signer: what was read there in full."""

    fixed: tuple[tuple[slice, bytes], ...]
    signed: slice
    digest: slice
    signature: slice
    time: slice | None
    content: slice | None
    token: tuple[bytes, slice] | None
    envelope: Envelope
    signer: Signer

    def read(self, data: bytes) -> Envelope | None:
        """The envelope in octets of the same length, or None where they do not have this shape."""
        for where, octets in self.fixed:
            if data[where] != octets:
                return None
        digest = Digest(self.signer.digest.algorithm, data[self.digest])
        content, time, tokens = None, None, self.signer.tokens
        if self.content is not None:
            content = data[self.content]
            if Digest.of(content, digest.algorithm) != digest:
                return None
        if self.time is not None and (time := _utc_time(data[self.time])) is None:
            return None
        if self.token is not None:
            header, inside = self.token
            tokens = (header + data[inside],)
        certificate, key, _, algorithm, _, _, _, kind, _, binds, findings = self.signer
        signature, signed_bytes = data[self.signature], b"\x31" + data[self.signed]
        signer = type(self.signer)(
            certificate, key, digest, algorithm, signature, signed_bytes, time, kind, tokens, binds, findings
        )
        return type(self.envelope)(self.envelope.content_type, content, self.envelope.certificates, (signer,))


class Shapes:
    """The shapes seen last, by length; bounded, whatever comes."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, int], list[Shape]] = {}

    def read(self, profile: object, data: bytes) -> Envelope | None:
        """The envelope, where the octets have a known shape."""
        for shape in self._known.get((profile, len(data)), ()):
            if (envelope := shape.read(data)) is not None:
                return envelope
        return None

    def learn(self, profile: object, data: bytes, envelope: Envelope, signer: Signer) -> None:
        """Keep the shape of what was read in full, where it has one."""
        shape = _shape(data, envelope, signer)
        if shape is None:
            return
        if len(self._known) >= MAX_LENGTHS:
            self._known.clear()
        of_one_length = self._known.setdefault((profile, len(data)), [])
        of_one_length[MAX_OF_ONE_LENGTH - 1 :] = []
        of_one_length.insert(0, shape)

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()


def _shape(data: bytes, envelope: Envelope, signer: Signer) -> Shape | None:
    if signer.findings or len(signer.tokens) > 1 or signer.signed_bytes is None or envelope.nested:
        return None
    signed = _once(data, b"\xa0" + signer.signed_bytes[1:], 1)
    signature = _once(data, der(0x04, signer.signature), len(der(0x04, signer.signature)) - len(signer.signature))
    value = der(0x04, signer.digest.value)
    head = _DIGEST_TYPE + b"\x31" + bytes((len(value),)) + value[:2]
    digest = _once(data, head + signer.digest.value, len(head))
    if signed is None or signature is None or digest is None:
        return None
    holes = [digest, signature]
    time = content = token = None
    if signer.claimed_time is not None:
        type_at = data.find(_TIME_TYPE, signed.start, signed.stop)
        at = type_at + len(_TIME_TYPE)
        again = data.find(_TIME_TYPE, at, signed.stop) >= 0
        if type_at < 0 or again or not data.startswith(_TIME_HEAD, at):
            return None
        time = slice(at + len(_TIME_HEAD), at + len(_TIME_HEAD) + _TIME_SIZE)
        holes.append(time)
    if envelope.content is not None:
        sequence = envelope.content_type == types.SPC_INDIRECT_DATA.dotted_string
        if sequence and not _is_der(data):
            return None
        encoded = der(0x30 if sequence else 0x04, envelope.content)
        content = _once(data, encoded, len(encoded) - len(envelope.content))
        if content is None:
            return None
        holes.append(content)
    for octets in signer.tokens:
        header = 2 + (octets[1] & 0x7F if octets[1] & 0x80 else 0)
        inside = _once(data, octets, header)
        if inside is None:
            return None
        token = (octets[:header], inside)
        holes.append(inside)
    return Shape(_between(data, holes), signed, digest, signature, time, content, token, envelope, signer)


def _is_der(data: bytes) -> bool:
    try:
        asn1.decode_der(types.ContentInfo, data)
    except ValueError:
        return False
    return True


def _once(data: bytes, pattern: bytes, header: int) -> slice | None:
    """Where the only occurrence of a pattern stands, without its header."""
    at = data.find(pattern)
    if at < 0 or data.find(pattern, at + 1) >= 0:
        return None
    return slice(at + header, at + len(pattern))


def _between(data: bytes, holes: list[slice]) -> tuple[tuple[slice, bytes], ...]:
    fixed, at = [], 0
    for hole in sorted(holes, key=lambda one: one.start):
        fixed.append((slice(at, hole.start), data[at : hole.start]))
        at = hole.stop
    fixed.append((slice(at, len(data)), data[at:]))
    return tuple(fixed)


@lru_cache(maxsize=256)
def _utc_time(octets: bytes) -> datetime | None:
    try:
        moment: datetime = asn1.decode_der(asn1.UTCTime, b"\x17\x0d" + octets).as_datetime()
    except ValueError:
        return None
    return moment.astimezone(UTC)
