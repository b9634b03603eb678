"""cpio archives in the new ASCII form, with checksums (070702) or without (070701), read strictly and without their data.

    header of 110 ASCII characters | name with its NUL, padded to 4 | data, padded to 4 | ... | TRAILER!!! | zero bytes to 512

Source: cpio(5), "New ASCII Format" and "New CRC Format"; Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from sealwright.artifact.source import OpenArtifact
from sealwright.errors import LimitExceeded, MalformedArtifact

PLAIN, CHECKED = b"070701", b"070702"
HEADER_BYTES = 110
BLOCK = 512
TRAILER = "TRAILER!!!"
MAX_MEMBERS = 4096
MAX_NAME = 255
_REGULAR = 0o100000
_TYPE = 0o170000
_HEX = frozenset(b"0123456789abcdefABCDEF")
# the low half of Adler-32 is one more than the sum of bytes, modulo 65521: exact up to this many of them, and made by compiled code
_SUM_BLOCK = "256s"
_SUM_BYTES = 256


class Member(NamedTuple):
    """One regular file. start: of its header; data: of its bytes; end: of their padding; checksum: None in the plain form."""

    name: str
    start: int
    data: int
    size: int
    end: int
    checksum: int | None


class Archive(NamedTuple):
    """members: in order; trailer: where the trailer's header begins; end: of the trailer; form: the magic of its headers."""

    members: tuple[Member, ...]
    trailer: int
    end: int
    form: bytes


def read_archive(source: OpenArtifact) -> Archive:
    """Read all headers. MalformedArtifact with the offset where two readers could see other files, LimitExceeded out of bounds.

    Names are plain file names: a path, a name twice, a link or device is refused, and so is anything but zeros behind the trailer.
    """
    members: list[Member] = []
    names: set[str] = set()
    at, form = 0, source.read_at(0, 6)
    if form not in (PLAIN, CHECKED):
        raise _wrong(source, 0, "there is no cpio header")
    while True:
        if len(members) > MAX_MEMBERS:
            raise LimitExceeded(source.path, f"more than {MAX_MEMBERS} files", "Make it smaller.")
        found = _member(source, at, form)
        if found.name == TRAILER:
            _check_end(source, found)
            return Archive(tuple(members), at, found.end, form)
        if found.name in names:
            raise _wrong(source, at, f"a second file {found.name}")
        names.add(found.name)
        members.append(found)
        at = found.end


def member(name: str, data: bytes, form: bytes) -> bytes:
    """A regular file as it stands in an archive."""
    encoded = name.encode() + b"\0"
    checksum = sum(data) & 0xFFFF_FFFF if form == CHECKED else 0
    fields = (0, _REGULAR | 0o644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), checksum)
    head = form + b"".join(b"%08x" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def byte_sum(source: OpenArtifact, start: int, size: int) -> int:
    """The sum of bytes, modulo 2**32, as the checked form has it."""
    total = 0
    for block in source.blocks([(start, start + size)]):
        whole = len(block) - len(block) % _SUM_BYTES
        with block[:whole] as many, block[whole:] as rest:
            parts = struct.iter_unpack(_SUM_BLOCK, many)
            total += sum([zlib.adler32(part) & 0xFFFF for (part,) in parts]) - whole // _SUM_BYTES + sum(rest)
    return total & 0xFFFF_FFFF


def _member(source: OpenArtifact, at: int, form: bytes) -> Member:
    head = source.read_at(at, HEADER_BYTES)
    if len(head) < HEADER_BYTES or head[:6] != form:
        raise _wrong(source, at, "there is no header of the archive's own form")
    if set(head[6:]) - _HEX:
        raise _wrong(source, at, "a header with something that is no hexadecimal digit")
    mode, links, size, count, checksum = (int(head[6 + 8 * n : 14 + 8 * n], 16) for n in (1, 4, 6, 11, 12))
    if not 1 < count <= MAX_NAME + 1:
        raise _wrong(source, at, f"a name of {count} bytes")
    raw = source.read_at(at + HEADER_BYTES, count + 3)
    data = at + HEADER_BYTES + count + -(HEADER_BYTES + count) % 4
    end = data + size + -size % 4
    name = _name(source, at, raw[:count])
    if raw[count : data - at - HEADER_BYTES].strip(b"\0") or end > source.size:
        raise _wrong(source, at, f"{name} is cut off, or its padding is not zero")
    if source.read_at(data + size, end - data - size).strip(b"\0"):
        raise _wrong(source, data + size, f"the padding behind {name} is not zero")
    if name != TRAILER and (mode & _TYPE != _REGULAR or links > 1):
        raise _wrong(source, at, f"{name} is no regular file, or has several names")
    return Member(name, at, data, size, end, checksum if form == CHECKED else None)


def _name(source: OpenArtifact, at: int, raw: bytes) -> str:
    if raw[-1:] != b"\0" or b"\0" in raw[:-1]:
        raise _wrong(source, at, "a name that does not end where its header says")
    try:
        name = raw[:-1].decode()
    except UnicodeDecodeError as cause:
        raise _wrong(source, at, "a name that is not UTF-8") from cause
    if not name.isprintable() or set(name) & set("/\\:") or name in (".", ".."):
        raise _wrong(source, at, f"the name {name!r}, which is no plain file name")
    return name


def _check_end(source: OpenArtifact, trailer: Member) -> None:
    rest = source.size - trailer.end
    if trailer.size or rest >= BLOCK or source.read_at(trailer.end, rest).strip(b"\0"):
        raise _wrong(source, trailer.end, "something stands behind the end of the archive")


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"byte {offset}: {what}", "Ask its maker for it again.")
