"""ZIP archives, read so strictly that no two readers can see different files in one.

    local header | name | extra | data | data descriptor, where flag 3 says so | next member ... | central directory | end record

1. Members follow each other from the first byte to the central directory, which is followed by the end record, which ends the file:
   nothing in front, between or behind, no comment.
2. What the central directory says of a member, its local header says too. Stored and deflated members; nothing encrypted.
3. Names are relative, in UTF-8, unambiguous, and no two are the same; members are files and folders.
4. Data are as long as they are said to be and have the CRC they are said to have; they are read as a stream.

No ZIP64: archives above 4 GiB or 65,534 members. Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact
from sealwright.errors import LimitExceeded, MalformedArtifact

LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC, DESCRIPTOR_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x07\x08"
MAX_CENTRAL_BYTES = 64 << 20
MAX_NAME_BYTES = 4096
MAX_DEPTH = 100
MAX_WHOLE_BYTES = 64 << 30
STORED, DEFLATED = 0, 8
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_DESCRIPTOR = struct.Struct("<III")
_ENCRYPTED = 0x2041  # and the two flags of strong encryption and masked headers
_DESCRIBED, _UTF8 = 0x0008, 0x0800
_ZIP64, _OTHER_NAME = 0x0001, 0x7075
_PIECE = 256 * 1024
_NOTHING = (b"", b"\x03\x00")  # no bytes, stored and deflated
_NEXT = "Ask its maker for the archive again."


class Member(NamedTuple):
    """start: of its local header; data: of its bytes; packed: their size; end: where the next one begins; central: its own entry."""

    name: str
    start: int
    data: int
    packed: int
    size: int
    end: int
    method: int
    crc: int
    central: bytes

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which has no bytes."""
        return self.name.endswith("/")

    def moved(self, start: int) -> bytes:
        """Its entry of a central directory where its local header begins elsewhere."""
        return self.central[:42] + start.to_bytes(4, "little") + self.central[46:]


class Zip(NamedTuple):
    """members: as they lie in the file; central: where the central directory begins."""

    members: tuple[Member, ...]
    central: int
    size: int


def read_zip(source: OpenArtifact) -> Zip:
    """Read the directory and every local header. MalformedArtifact with the offset, LimitExceeded out of bounds."""
    size = source.size
    end = source.read_at(max(0, size - _END.size), _END.size)
    if len(end) < _END.size or end[:4] != END_MAGIC:
        raise _wrong(source, max(0, size - _END.size), "no end record ends the file, or it has a comment")
    _, disk, first_disk, here, count, length, central, comment = _END.unpack(end)
    if 0xFFFF in (here, count) or 0xFFFF_FFFF in (length, central):
        raise LimitExceeded(source.path, "a ZIP64 archive", "Archives up to 4 GiB with 65,534 members are read.")
    if disk or first_disk or here != count or comment or central + length != size - _END.size:
        raise _wrong(source, size - _END.size, "the end record does not fit what stands in front of it")
    if length > MAX_CENTRAL_BYTES:
        raise LimitExceeded(source.path, f"a directory of {length} bytes", f"At most {MAX_CENTRAL_BYTES} are read.")
    directory = source.read_at(central, length)
    listed = sorted(_entries(source, directory, central, count), key=lambda one: one[0])
    members, at = [], 0
    for number, (start, entry) in enumerate(listed):
        following = listed[number + 1][0] if number + 1 < count else central
        if start != at:
            raise _wrong(source, at, "bytes that belong to no member, or to two")
        members.append(_member(source, start, following, entry))
        at = following
    if at != central:
        raise _wrong(source, at, "bytes that belong to no member")
    _check_names(source, members)
    return Zip(tuple(members), central, size)


def contents(source: OpenArtifact, member: Member, progress: Progress | None = None) -> Iterator[memoryview | bytes]:
    """A member's bytes, piece by piece; MalformedArtifact after the last where they are not what the directory says."""
    left, crc = member.size, 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATED else None
    for block in source.blocks([(member.data, member.data + member.packed)], progress):
        for piece in _pieces(source, member, block, inflate):
            left -= len(piece)
            if left < 0:
                raise _wrong(source, member.data, f"{member.name} is longer than {member.size} bytes")
            crc = zlib.crc32(piece, crc)
            yield piece
    whole = inflate is None or (inflate.eof and not inflate.unused_data)
    if left or crc != member.crc or not whole:
        raise _wrong(source, member.data, f"{member.name} is not as long as it should be, or its CRC is wrong")


def read_member(source: OpenArtifact, member: Member, limit_bytes: int) -> bytes:
    """A small member whole; LimitExceeded above the limit."""
    if member.size > limit_bytes:
        raise LimitExceeded(source.path, f"{member.name} of {member.size} bytes", f"At most {limit_bytes} are read.")
    return b"".join(bytes(piece) for piece in contents(source, member))


def stored(name: str, data: bytes) -> tuple[bytes, bytes]:
    """A new member as it stands in an archive, and its entry of the directory for a local header at 0; dated 1980-01-01."""
    raw, crc = name.encode("ascii"), zlib.crc32(data)
    common = (20, 0, STORED, 0, 0x21, crc, len(data), len(data), len(raw), 0)
    local = _LOCAL.pack(LOCAL_MAGIC, *common) + raw + data
    return local, _CENTRAL.pack(CENTRAL_MAGIC, 20, *common, 0, 0, 0, 0, 0) + raw


def end_record(count: int, central: int, length: int, subject: str) -> bytes:
    """The record that ends an archive."""
    if count > 0xFFFE or central + length > 0xFFFF_FFFE:
        raise LimitExceeded(subject, f"{count} members, {central + length} bytes", "ZIP without ZIP64 ends at 4 GiB.")
    return _END.pack(END_MAGIC, 0, 0, count, count, length, central, 0)


def _pieces(
    source: OpenArtifact, member: Member, block: memoryview, inflate: zlib._Decompress | None
) -> Iterator[memoryview | bytes]:
    if inflate is None:
        yield block
        return
    data: bytes | memoryview = block
    try:
        while True:
            piece = inflate.decompress(data, _PIECE)
            yield piece
            data = inflate.unconsumed_tail
            if inflate.unused_data:
                raise _wrong(source, member.data, f"bytes behind the end of {member.name}")
            if not data and len(piece) < _PIECE:
                return
    except zlib.error as cause:
        raise _wrong(source, member.data, f"{member.name} cannot be decompressed") from cause


def _entries(source: OpenArtifact, directory: bytes, central: int, count: int) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(count):
        if len(directory) - at < _CENTRAL.size or directory[at : at + 4] != CENTRAL_MAGIC:
            raise _wrong(source, central + at, "there is no directory entry")
        fields = _CENTRAL.unpack_from(directory, at)
        end = at + _CENTRAL.size + fields[10] + fields[11] + fields[12]
        if end > len(directory) or fields[12]:
            raise _wrong(source, central + at, "a directory entry is cut off, or has a comment")
        yield fields[16], directory[at:end]
        at = end
    if at != len(directory):
        raise _wrong(source, central + at, "the directory is longer than its entries")


def _member(source: OpenArtifact, start: int, following: int, entry: bytes) -> Member:
    (_, _, _, flags, method, stamp, day, crc, packed, size, named, extra, _, disk, _, attributes, _) = (
        _CENTRAL.unpack_from(entry)
    )
    raw = entry[_CENTRAL.size : _CENTRAL.size + named]
    head = source.read_at(start, _LOCAL.size + named)
    if len(head) < _LOCAL.size + named or head[:4] != LOCAL_MAGIC:
        raise _wrong(source, start, "there is no local header")
    (_, _, own_flags, own_method, own_stamp, own_day, own_crc, own_packed, own_size, own_named, own_extra) = (
        _LOCAL.unpack_from(head)
    )
    if (own_flags, own_method, own_stamp, own_day, own_named) != (flags, method, stamp, day, named):
        raise _wrong(source, start, "a local header says something else than the directory")
    if head[_LOCAL.size :] != raw or disk:
        raise _wrong(source, start, "a local header has another name than the directory")
    sizes, own_sizes = (crc, packed, size), (own_crc, own_packed, own_size)
    if own_sizes != sizes and not (flags & _DESCRIBED and own_sizes == (0, 0, 0)):
        raise _wrong(source, start, "a local header has other sizes than the directory")
    if flags & _ENCRYPTED or method not in (STORED, DEFLATED) or (method == STORED and packed != size):
        raise _wrong(source, start, f"a member that is encrypted or packed by method {method}")
    data = start + _LOCAL.size + named + own_extra
    if own_extra:
        _check_extra(source, start, source.read_at(start + _LOCAL.size + named, own_extra))
    _check_extra(source, start, entry[_CENTRAL.size + named : _CENTRAL.size + named + extra])
    rest = source.read_at(data + packed, following - data - packed) if 0 <= following - data - packed <= 16 else b"?"
    descriptor = _DESCRIPTOR.pack(*sizes)
    if rest not in ((descriptor, DESCRIPTOR_MAGIC + descriptor) if flags & _DESCRIBED else (b"",)):
        raise _wrong(source, data + packed, "what follows a member is not its data descriptor")
    name = _name(source, start, raw, bool(flags & _UTF8))
    if name.endswith("/") and (size or source.read_at(data, min(packed, 3)) not in _NOTHING):
        raise _wrong(source, start, f"the folder {name} has bytes")
    _check_mode(source, start, name, attributes >> 16)
    return Member(name, start, data, packed, size, following, method, crc, entry)


def _check_mode(source: OpenArtifact, start: int, name: str, mode: int) -> None:
    """Unix programs unpack a member as what its mode says, and no signature covers it (A069, A071)."""
    wanted = stat.S_IFDIR if name.endswith("/") else stat.S_IFREG
    if stat.S_IFMT(mode) not in (0, wanted) or mode & (stat.S_ISUID | stat.S_ISGID):
        raise _wrong(source, start, f"{name} is a link, a device, or runs as its owner (mode {mode:o})")


def _check_extra(source: OpenArtifact, start: int, extra: bytes) -> None:
    """Extra fields that would be another name or other sizes to some readers."""
    at = 0
    while at < len(extra):
        kind, length = struct.unpack_from("<HH", extra.ljust(at + 4, b"\0"), at)
        if kind in (_ZIP64, _OTHER_NAME) or at + 4 + length > len(extra):
            raise _wrong(source, start, "an extra field with other sizes or another name, or one that is cut off")
        at += 4 + length


def _name(source: OpenArtifact, start: int, raw: bytes, utf8: bool) -> str:
    try:
        name = raw.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError as cause:
        raise _wrong(source, start, "a name that is not UTF-8, or not said to be") from cause
    parts = name.removesuffix("/").split("/")
    if not name.isprintable() or "\\" in name or ":" in name or len(raw) > MAX_NAME_BYTES:
        raise _wrong(source, start, f"the name {name!r}")
    if len(parts) > MAX_DEPTH:
        raise LimitExceeded(source.path, f"folders {len(parts)} deep", f"At most {MAX_DEPTH} are read.")
    if any(part in ("", ".", "..") for part in parts):
        raise _wrong(source, start, f"the name {name!r}, which leads elsewhere")
    return name


def _check_names(source: OpenArtifact, members: list[Member]) -> None:
    names: set[str] = set()
    whole = 0
    for one in members:
        plain = one.name.removesuffix("/")
        if plain in names:
            raise _wrong(source, one.start, f"a second member {plain}")
        names.add(plain)
        whole += one.size
    if whole > MAX_WHOLE_BYTES:
        raise LimitExceeded(source.path, f"{whole} bytes unpacked", f"At most {MAX_WHOLE_BYTES} are read.")
    files = {one.name for one in members if not one.is_folder}
    for one in members:
        above = one.name.removesuffix("/").rpartition("/")[0]
        while above:
            if above in files:
                raise _wrong(source, one.start, f"{above} is a file, and {one.name} lies in it")
            above = above.rpartition("/")[0]


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"byte {offset}: {what}", _NEXT)
