"""PE and EFI programs with Authenticode signatures: bootloaders, drivers, unified kernel images.

    sbverify --cert ca.pem signed.efi        osslsigncode verify -CAfile ca.pem -in signed.efi

Layout (Microsoft PE format; Windows Authenticode Portable Executable Signature Format, 2008):

| bytes | to the signature |
| headers up to the checksum | hashed |
| checksum, 4 bytes | uncovered: it changes when a signature is added |
| up to the fifth data directory, 8 bytes | hashed; the directory says where the certificate table is: uncovered |
| the rest, with 0 to 7 zero bytes so that the table begins at a multiple of 8 | hashed |
| certificate table: WIN_CERTIFICATE entries, to the end of the file | signature |

A `.sbat` section names the program's components with their generations; it is hashed like all of them (`sbat.py`).

The specification hashes section by section, then as many last bytes as sections and headers leave over. Here sections must follow the
headers and each other without gap or overlap, so that this is the same as hashing everything. Where there is a gap, firmware, shim,
sbverify and pesign leave its bytes unhashed and hash as many at the end twice, osslsigncode hashes it: no signature pleases all.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from sealwright.artifact.aside import Aside
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.kinds import AUTHENTICODE
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.formats.asked import refuse_second
from sealwright.formats.authenticode import candidates_of, indirect_data, pkcs7_size, read_authenticode, wanted_digests
from sealwright.formats.format import (
    Component,
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    watched_digests,
)
from sealwright.formats.pechecksum import checksum, words, words_between
from sealwright.formats.sbat import product_of, read_sbat

NAME = "pe"
MAX_HEADER_BYTES = 1 << 20
MAX_SECTIONS = 96
MAX_TABLE_BYTES = 4 << 20
MAX_CERTIFICATES = 16
MAX_FILE_BYTES = 0xFFFF_FFFF
MAX_SBAT_BYTES = 1 << 16
ALIGNMENT = 8
# SpcPeImageData: type 1.3.6.1.4.1.311.2.1.15, flags empty, file <<<Obsolete>>> empty, as every signing tool writes it;
# 1.3.6.1.4.1.311.2.1.21 (individual code signing) stands in its place in what pesign signed for Debian 12 (fwupd)
_PE_IMAGE_TYPE = bytes.fromhex("060a2b06010401823702010f")
_INDIVIDUAL_TYPE = bytes.fromhex("060a2b060104018237020115")
_PE_IMAGE_DATA = bytes.fromhex("3017") + _PE_IMAGE_TYPE + bytes.fromhex("3009030100a004a2028000")
_TYPES = (_PE_IMAGE_TYPE, _INDIVIDUAL_TYPE)
_ENTRY = struct.Struct("<IHH")
_SECTION = struct.Struct("<8sIIIIIIHHI")
_SBAT = b".sbat\0\0\0"
_REVISION, _PKCS7 = 0x0200, 0x0002
_OFFSETS = {0x10B: (92, 96), 0x20B: (108, 112)}  # of NumberOfRvaAndSizes and the first data directory
_CHECKSUM_REASON = "the loader's checksum, which changes with the signature"
_DIRECTORY_REASON = "it says where the signatures are"


class Layout(NamedTuple):
    """Offsets in bytes. content_end: where the hashed bytes end; table: start and end of the certificate table, both that end where there is none.

    sbat: start and size of the `.sbat` section, both zero where there is none.
    """

    size: int
    checksum: int
    directory: int
    content_end: int
    table: tuple[int, int]
    sbat: tuple[int, int] = (0, 0)

    @property
    def signed(self) -> bool:
        """Whether there is a certificate table."""
        return self.table[0] < self.table[1]

    @property
    def hashed(self) -> list[tuple[int, int]]:
        """The ranges that are hashed, in order."""
        checksum, directory = self.checksum, self.directory
        return [(0, checksum), (checksum + 4, directory), (directory + 8, self.content_end)]

    @property
    def body(self) -> tuple[int, int]:
        """Start and end of what is copied into a new file as it is."""
        return self.directory + 8, self.content_end

    @property
    def padding(self) -> bytes:
        """The zero bytes that are hashed behind the content, and written there by a signer."""
        return bytes(-self.content_end % ALIGNMENT)

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        (_, one), (two, three), (four, end) = self.hashed
        ranges = [
            Range(0, one, Extent.HASHED),
            Range(one, two, Extent.UNCOVERED, _CHECKSUM_REASON),
            Range(two, three, Extent.HASHED),
            Range(three, four, Extent.UNCOVERED, _DIRECTORY_REASON),
            Range(four, end, Extent.HASHED),
        ]
        if self.signed:
            ranges.append(Range(*self.table, Extent.SIGNATURE))
        return Coverage(tuple(ranges))


class Pe:
    """The format for PE and EFI programs."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """MZ, and PE where its header says; a DOS program is none."""
        head = source.read_at(0, 64)
        if len(head) < 64 or head[:2] != b"MZ":
            return False
        return source.read_at(_u32(head, 0x3C), 4) == b"PE\0\0"

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims that its `.sbat` section does not make; MalformedArtifact for a layout that verifiers read differently."""
        with open_artifact(path) as source:
            layout = read_layout(source)
            own = product_of(read_components(source, layout))
            _check_asked(path, claims, own)
            refuse_second(path, layout.signed, existing)
            if layout.size + MAX_TABLE_BYTES > MAX_FILE_BYTES:
                raise LimitExceeded(path, f"{layout.size} bytes", "PE has 32-bit offsets; make the program smaller.")
            (name,) = algorithms
            start, end = layout.body
            with Aside(source, end - start, lambda twin: words_between(twin, start, end)) as aside:
                digest = image_digests(source, layout, (name,), progress)[name]
                body = aside.result()
        content = indirect_data(_PE_IMAGE_DATA, digest)
        return Prepared(
            NAME,
            AUTHENTICODE.name,
            path,
            {name: AUTHENTICODE.digest(content, name)},
            content,
            layout.size,
            layout.coverage,
            own,
            existing=existing,
            kept=body,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The program with the signature as the last entry of its certificate table, and its checksum made anew."""
        with open_artifact(prepared.path) as source:
            layout = read_layout(source)
            table = source.read_at(layout.table[0], layout.table[1] - layout.table[0])
            kept = table if prepared.existing is Existing.ADD else b""
            return _written(source, layout, kept + _entry(sealed.envelope), prepared.kept)

    def strip(self, path: str) -> Parts:
        """The program without certificate table; the zero bytes in front of the table stay, they were signed."""
        with open_artifact(path) as source:
            layout = read_layout(source)
            if not layout.signed:
                raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
            return _written(source, layout, b"", words_between(source, *layout.body))

    def extract(self, path: str, search: Search) -> Found:
        """A candidate for each entry of the certificate table and each signature nested in one."""
        with search.opened(path) as source:
            if not is_signed(source):
                return _unsigned(path, source)
            layout = read_layout(source)
            components = read_components(source, layout)
            name = os.path.basename(path)
            entries = certificate_entries(source, layout)
            found = [one for entry in entries for one in read_authenticode(entry, _TYPES, name)]
            delivered = image_digests(source, layout, wanted_digests(found, search), search.progress)
            whole = watched_digests(source, search)
        artifact = delivered[HashName.SHA256]
        candidates = candidates_of(found, NAME, name, delivered, layout.coverage, whole, product_of(components))
        return Found(path, layout.size, candidates, artifact, structure=_structure(components), components=components)


def is_signed(source: OpenArtifact) -> bool:
    """Whether the certificate table's directory is not empty; nothing else of the file is looked at."""
    head, _, directory = _header(source)
    return head[directory : directory + 8] != bytes(8)


def read_layout(source: OpenArtifact) -> Layout:
    """Where everything is. MalformedArtifact with the offset where it does not tile the file, LimitExceeded out of bounds."""
    head, optional, directory = _header(source)
    size = source.size
    end = _sections_end(source, head, optional)
    sbat = _sbat(source, head, optional)
    start, length = struct.unpack_from("<II", head, directory)
    if start == 0 and length == 0:
        return Layout(size, optional + 64, directory, size, (size, size), sbat)
    if start % ALIGNMENT or start < end:
        raise _wrong(source, directory, f"the certificate table begins at {start}, the sections end at {end}")
    if start + length != size:
        raise _wrong(source, directory, f"the certificate table ends at {start + length}, the file at {size}")
    if length > MAX_TABLE_BYTES:
        raise LimitExceeded(
            source.path, f"a certificate table of {length} bytes", f"At most {MAX_TABLE_BYTES} are read."
        )
    return Layout(size, optional + 64, directory, start, (start, size), sbat)


def image_digests(
    source: OpenArtifact, layout: Layout, names: Collection[HashName], progress: Progress | None = None
) -> dict[HashName, Digest]:
    """The Authenticode digests of the program."""
    return source.digest_ranges(names, layout.hashed, layout.padding, progress)


def read_components(source: OpenArtifact, layout: Layout) -> tuple[Component, ...]:
    """What the `.sbat` section says; MalformedArtifact with the offset of a line that is not as it must be."""
    start, size = layout.sbat
    return read_sbat(source.read_at(start, size), start, source.path) if size else ()


def certificate_entries(source: OpenArtifact, layout: Layout) -> list[bytes]:
    """The PKCS #7 of each WIN_CERTIFICATE. Only zero bytes may lie behind one, fewer than 8 (CVE-2013-3900, A055)."""
    start, end = layout.table
    table = source.read_at(start, end - start)
    found: list[bytes] = []
    at = 0
    while at < len(table):
        if len(found) == MAX_CERTIFICATES:
            raise LimitExceeded(source.path, f"more than {MAX_CERTIFICATES} signatures", "Remove some of them.")
        if len(table) - at < _ENTRY.size:
            raise _wrong(source, start + at, "a certificate entry is cut off")
        length, revision, kind = _ENTRY.unpack_from(table, at)
        if length <= _ENTRY.size or at + length > len(table):
            raise _wrong(source, start + at, f"a certificate entry of {length} bytes")
        if (revision, kind) != (_REVISION, _PKCS7):
            raise _wrong(source, start + at, f"a certificate entry of revision {revision:#06x} and type {kind:#06x}")
        body = table[at + _ENTRY.size : at + length]
        used = pkcs7_size(body)
        following = at + length + -length % ALIGNMENT
        behind = table[at + _ENTRY.size + used : min(following, len(table))] if used else b"?"
        if len(behind) >= ALIGNMENT or behind.strip(b"\0"):
            raise _wrong(source, start + at, "a certificate entry holds more than one PKCS #7 and its padding")
        found.append(body[:used])
        at = following
    return found


def _header(source: OpenArtifact) -> tuple[bytes, int, int]:
    """The bytes up to the section table's end at most, the offset of the optional header, that of the fifth data directory."""
    head = source.read_at(0, 64)
    at = _u32(head, 0x3C) if len(head) == 64 else 0
    if not 64 <= at <= MAX_HEADER_BYTES:
        raise _wrong(source, 0x3C, f"the PE header is said to be at {at}")
    head = source.read_at(0, at + 24 + 0xFFFF + 40 * MAX_SECTIONS)
    if len(head) < at + 24 or head[at : at + 4] != b"PE\0\0":
        raise _wrong(source, at, "there is no PE header")
    optional, size = at + 24, _u16(head, at + 20)
    offsets = _OFFSETS.get(_u16(head, optional)) if len(head) >= optional + 2 else None
    if offsets is None:
        raise _wrong(source, optional, "the optional header is neither PE32 nor PE32+")
    count_at, directories = offsets
    if size < directories + 5 * 8 or len(head) < optional + size or _u32(head, optional + count_at) < 5:
        raise _wrong(source, optional, "there is no room for a certificate table's directory")
    return head, optional, optional + directories + 4 * 8


def _sections_end(source: OpenArtifact, head: bytes, optional: int) -> int:
    """Where the last section's bytes end; headers and sections follow each other without gap or overlap."""
    count, at = _u16(head, optional - 18), optional + _u16(head, optional - 4)
    if count > MAX_SECTIONS or len(head) < at + 40 * count:
        raise _wrong(source, optional - 18, f"{count} sections")
    end = _u32(head, optional + 60)
    if not at + 40 * count <= end <= source.size:
        raise _wrong(source, optional + 60, f"headers of {end} bytes")
    parts = sorted(
        (_u32(head, entry + 20), _u32(head, entry + 16))
        for entry in range(at, at + 40 * count, 40)
        if _u32(head, entry + 16)
    )
    for start, length in parts:
        if start != end:
            how = "overlaps" if start < end else "leaves a gap to"
            raise _wrong(source, start, f"a section {how} what stands before it, which ends at {end}")
        end = start + length
    if end > source.size:
        raise _wrong(source, end, "the last section ends behind the file")
    return end


def _sbat(source: OpenArtifact, head: bytes, optional: int) -> tuple[int, int]:
    """Where the `.sbat` section is. Shim refuses a second one and relocations in it, and passes over one that its loader would fill up."""
    count, at = _u16(head, optional - 18), optional + _u16(head, optional - 4)
    found = (0, 0)
    for entry in range(at, at + _SECTION.size * count, _SECTION.size):
        name, virtual, _, size, start, relocated, _, relocations, _, _ = _SECTION.unpack_from(head, entry)
        if name != _SBAT:
            continue
        if found != (0, 0) or relocated or relocations or not virtual <= size:
            raise _wrong(source, entry, "a second .sbat section, or one with relocations or of another size in memory")
        if size > MAX_SBAT_BYTES:
            raise LimitExceeded(source.path, f"a .sbat section of {size} bytes", f"At most {MAX_SBAT_BYTES} are read.")
        found = (start, size)
    return found


def _unsigned(path: str, source: OpenArtifact) -> Found:
    """Signed beside at most, whatever its shape: who did that answers for what cannot be read here."""
    components: tuple[Component, ...] = ()
    with suppress(MalformedArtifact, LimitExceeded):
        components = read_components(source, read_layout(source))
    return Found(path, source.size, (), None, structure=_structure(components), components=components)


def _structure(components: tuple[Component, ...]) -> tuple[str, ...]:
    return tuple(f"component {one.name} {one.version}, generation {one.generation}" for one in components)


def _check_asked(path: str, claims: Claims, own: Claims) -> None:
    """UsageError unless every claim asked for is what the program says already."""
    if claims and not own:
        raise UsageError(
            path,
            "it has no .sbat section that names a product, version and generation",
            "Build it with one, or sign it without them and sign the result again with a manifest.",
        )
    for name in ("product", "version", "generation", "hardware", "environment"):
        asked, there = getattr(claims, name), getattr(own, name)
        if asked not in (None, (), there):
            said = f"a .sbat section has no {name}" if there in (None, ()) else f"its .sbat section says {name} {there}"
            raise UsageError(path, said, f"Leave out --{name}, or build the program anew.")


def _entry(envelope: bytes) -> bytes:
    length = _ENTRY.size + len(envelope)
    padding = -length % ALIGNMENT
    return _ENTRY.pack(length + padding, _REVISION, _PKCS7) + envelope + bytes(padding)


def _written(source: OpenArtifact, layout: Layout, table: bytes, body: int) -> Parts:
    """The program with another certificate table; none where it is empty. body: the sum of the words of what is copied."""
    if len(table) > MAX_TABLE_BYTES:
        raise LimitExceeded(source.path, f"a certificate table of {len(table)} bytes", "Remove some signatures.")
    end, padding = layout.content_end, layout.padding if table else b""
    start = end + len(padding)
    head = bytearray(source.read_at(0, layout.directory + 8))
    head[layout.checksum : layout.checksum + 4] = bytes(4)
    struct.pack_into("<II", head, layout.directory, *((start, len(table)) if table else (0, 0)))
    behind = padding + table
    total = words(head, 0) + body + words(behind, end)
    struct.pack_into("<I", head, layout.checksum, checksum(total, end + len(behind)))
    source.check_unchanged()
    return (bytes(head), FileRange(source.path, len(head), end - len(head)), behind)


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"at byte {offset}: {what}", "Ask its maker for the file again.")
