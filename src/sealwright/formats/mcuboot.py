"""MCUboot images: the firmware of microcontrollers (Zephyr, NuttX, Mynewt), checked by the bootloader at every start.

    imgtool verify -k public.pem signed.bin        # never without -k: then it compares the digest and no signature

| bytes | to the signature |
| header: magic, load address, sizes, flags, version; padded to its size | hashed |
| firmware | hashed |
| protected TLVs: security counter, dependencies, boot record | hashed |
| TLVs: the digest, then for each signature the key's hash and the value | signature |

All numbers are little endian. The value is over the digest: ECDSA in DER, RSA-PSS, or Ed25519 with the digest as its message.
Firmware that is no image yet gets a header of 512 bytes: in the 512 zero bytes it begins with, or in front of it. Written as Intel
HEX or S-record it is made into the bytes of its memory image first, as `objcopy -O binary --gap-fill 0xff` and imgtool do.
Source: mcuboot docs/design.md and boot/bootutil/include/bootutil/image.h.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Made, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.algorithms import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
    PSS_SHA256,
    Scheme,
    SignatureAlgorithm,
)
from sealwright.envelope.bare import bare_signers
from sealwright.envelope.certified import Certified, certified
from sealwright.envelope.cms import Envelope
from sealwright.envelope.kinds import MCUBOOT
from sealwright.errors import KeyRefused, LimitExceeded, MalformedArtifact, UsageError
from sealwright.formats.asked import refuse_second
from sealwright.formats.format import (
    Candidate,
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.hexfile import Syntax, first_bytes, memory_blocks, memory_digests, read_memory, syntax_of

NAME = "mcuboot"
MAGIC = bytes.fromhex("3db8f396")
NEW_HEADER_BYTES = 512
MAX_TLV_BYTES = 0xFFFF
MAX_SIGNATURES = 16
ENCRYPTED = 0x04 | 0x08
MAX_GENERATION = 0xFFFF_FFFF
_HEADER = struct.Struct("<4sIHHIIBBHI4x")
_INFO = struct.Struct("<HH")
_PROTECTED, _PLAIN = 0x6908, 0x6907
_KEY_HASH, _COUNTER, _DEPENDENCY = 0x01, 0x50, 0x40
_HASHES = {0x10: HashName.SHA256, 0x11: HashName.SHA384, 0x12: HashName.SHA512}
_TLV_OF_HASH = {name: kind for kind, name in _HASHES.items()}
_RSA_2048, _ECDSA, _RSA_3072, _ED25519 = 0x20, 0x22, 0x23, 0x24
_SIGNATURES = (_RSA_2048, _ECDSA, _RSA_3072, _ED25519)
_ECDSA_BY_HASH = {HashName.SHA256: ECDSA_SHA256, HashName.SHA384: ECDSA_SHA384, HashName.SHA512: ECDSA_SHA512}
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,5}))?(?:\+(\d{1,10}))?")


class Entry(NamedTuple):
    """One TLV. at: its offset in the file."""

    kind: int
    value: bytes
    at: int


class Image(NamedTuple):
    """hashed_end: the header, firmware and protected TLVs end there; protected, entries: the two TLV areas."""

    size: int
    header_size: int
    version: str
    hashed_end: int
    protected: tuple[Entry, ...]
    entries: tuple[Entry, ...]

    @property
    def stored(self) -> Digest:
        """The digest that the image says of itself."""
        (entry,) = (entry for entry in self.entries if entry.kind in _HASHES)
        return Digest(_HASHES[entry.kind], entry.value)

    @property
    def signatures(self) -> list[tuple[Entry, Entry]]:
        """The hash of the key and the signature made with it, in pairs."""
        return [(self.entries[at - 1], one) for at, one in enumerate(self.entries) if one.kind in _SIGNATURES]

    @property
    def claims(self) -> Claims:
        """Version and security counter, as signed."""
        counters = [one for one in self.protected if one.kind == _COUNTER]
        generation = int.from_bytes(counters[0].value, "little") if counters else None
        return Claims(version=self.version, generation=generation)

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        return Coverage((Range(0, self.hashed_end, Extent.HASHED), Range(self.hashed_end, self.size, Extent.SIGNATURE)))


class _Unsigned(NamedTuple):
    """What is hashed: bytes in front, one range of the file, bytes behind; and where it is an image, what that says.

    written_as: the range is of the memory image of a file in that syntax.
    """

    front: bytes
    start: int
    end: int
    behind: bytes
    claims: Claims
    image: Image | None
    written_as: Syntax | None = None

    def blocks(self, path: str) -> Iterator[bytes]:
        """The range of a memory image, in blocks."""
        with open_artifact(path) as source:
            yield from memory_blocks(source, self.start)


class McuBoot:
    """The format for MCUboot images."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """The magic number; firmware that is no image yet is signed where the format is named."""
        return source.read_at(0, len(MAGIC)) == MAGIC

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims an image cannot carry or that are not its own, MalformedArtifact for an image that is wrong."""
        (name,) = algorithms
        with open_artifact(path) as source:
            made = _unsigned(source, claims)
            image = made.image
            names = {name}
            if image is not None:
                _check_existing(path, image, name, existing)
                names.add(image.stored.algorithm)
            digests = _digests(source, made, names, progress)
            if image is not None and image.stored != digests[image.stored.algorithm]:
                raise MalformedArtifact(path, "the digest in it is not its own", "Build the image again.")
            size = source.size
        return Prepared(
            NAME,
            MCUBOOT.name,
            path,
            {name: digests[name]},
            None,
            size,
            image.coverage if image is not None else Coverage.whole(size),
            made.claims,
            existing=existing,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The image with the key's hash and the signature as its last TLVs."""
        ((name, digest),) = prepared.digests.items()
        known = certified(sealed.certificate)
        mine = _tlv(_KEY_HASH, _key_hash(known, name)) + _tlv(_signature_kind(known, prepared.path), sealed.value)
        with open_artifact(prepared.path) as source:
            made = _unsigned(source, prepared.claims)
            kept = b""
            if prepared.existing is Existing.ADD and made.image is not None:
                kept = b"".join(_tlv(one.kind, one.value) for pair in made.image.signatures for one in pair)
            behind = made.behind + _area(_PLAIN, _tlv(_TLV_OF_HASH[name], digest.value) + kept + mine, prepared.path)
            if made.written_as is not None:
                return (made.front, Made(lambda: made.blocks(prepared.path)), behind)
            return (made.front, FileRange(prepared.path, made.start, made.end - made.start), behind)

    def strip(self, path: str) -> Parts:
        """The image with its digest alone, as `imgtool sign` without a key makes it."""
        with open_artifact(path) as source:
            image = read_image(source)
        if not image.signatures:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        stored = image.stored
        area = _area(_PLAIN, _tlv(_TLV_OF_HASH[stored.algorithm], stored.value), path)
        return (FileRange(path, 0, image.hashed_end), area)

    def extract(self, path: str, search: Search) -> Found:
        """A candidate for each signature; the signer is found by the hash of its key."""
        with search.opened(path) as source:
            image = read_image(source)
            name = os.path.basename(path)
            if not image.signatures:
                return Found(path, source.size, (), None, structure=_structure(image))
            wanted = {HashName.SHA256, image.stored.algorithm, *(digest.algorithm for digest in search.watched)}
            made = _Unsigned(b"", 0, image.hashed_end, b"", Claims(), image)
            delivered = _digests(source, made, sorted(wanted), search.progress)
            whole = watched_digests(source, search)
        candidates = tuple(
            Candidate(
                source=name,
                slot=Slot.MAKER,
                format=NAME,
                kind=MCUBOOT.name,
                envelope=_envelope(key_hash.value, signature, image.stored, search.certificates, name),
                digests=delivered,
                artifact=delivered[HashName.SHA256],
                claims=image.claims,
                coverage=image.coverage,
                contents=(*delivered.values(), *whole),
                name=name,
            )
            for key_hash, signature in image.signatures
        )
        return Found(path, image.size, candidates, delivered[HashName.SHA256], structure=_structure(image))


def _check_existing(path: str, image: Image, name: HashName, existing: Existing) -> None:
    refuse_second(path, bool(image.signatures), existing)
    if image.signatures and existing is Existing.ADD and image.stored.algorithm is not name:
        raise UsageError(
            path,
            f"its signatures are over {image.stored.algorithm}, and this key signs {name}",
            "Sign it with a key of the same kind, or use --replace.",
        )


def read_image(source: OpenArtifact) -> Image:
    """Read header and TLVs; MalformedArtifact with the offset where they do not tile the file, or a bootloader reads them differently."""
    head = source.read_at(0, _HEADER.size)
    if len(head) < _HEADER.size or head[:4] != MAGIC:
        raise _wrong(source, 0, "there is no MCUboot header")
    _, _, header_size, protected_size, size, flags, major, minor, revision, build = _HEADER.unpack(head)
    if header_size < _HEADER.size:
        raise _wrong(source, 8, f"a header of {header_size} bytes")
    if flags & ENCRYPTED:
        raise _wrong(source, 16, "an encrypted image, whose digest is of what it holds decrypted")
    at = header_size + size
    protected: tuple[Entry, ...] = ()
    if protected_size:
        protected = tuple(_entries(source, at, _PROTECTED, protected_size))
        _check_protected(source, protected)
    hashed_end = at + protected_size
    entries = tuple(_entries(source, hashed_end, _PLAIN, source.size - hashed_end))
    _check_entries(source, hashed_end, entries)
    return Image(source.size, header_size, f"{major}.{minor}.{revision}+{build}", hashed_end, protected, entries)


def _entries(source: OpenArtifact, at: int, magic: int, size: int) -> Iterator[Entry]:
    """The TLVs of one area, which is exactly of that size."""
    area = source.read_at(at, min(size, MAX_TLV_BYTES + 1)) if size > 0 else b""
    if len(area) < _INFO.size or _INFO.unpack_from(area)[0] != magic:
        raise _wrong(source, at, f"there is no TLV area {magic:#06x}")
    length = _INFO.unpack_from(area)[1]
    if length != size or len(area) != size:
        raise _wrong(source, at, f"a TLV area of {length} bytes where there are {min(size, source.size - at)}")
    place = _INFO.size
    while place < length:
        if length - place < _INFO.size:
            raise _wrong(source, at + place, "a TLV is cut off")
        kind, count = _INFO.unpack_from(area, place)
        if count > length - place - _INFO.size:
            raise _wrong(source, at + place, f"a TLV of {count} bytes runs past its area")
        start = place + _INFO.size
        yield Entry(kind, area[start : start + count], at + place)
        place = start + count


def _check_protected(source: OpenArtifact, protected: tuple[Entry, ...]) -> None:
    counters = [one for one in protected if one.kind == _COUNTER]
    if len(counters) > 1 or any(len(one.value) != 4 for one in counters):
        raise _wrong(source, counters[0].at, "the security counter is not there once, with 4 bytes")
    for one in protected:
        if one.kind in (*_HASHES, *_SIGNATURES, _KEY_HASH):
            raise _wrong(source, one.at, f"a TLV {one.kind:#04x} among the protected ones")


def _check_entries(source: OpenArtifact, at: int, entries: tuple[Entry, ...]) -> None:
    """One digest, then pairs of key hash and signature: what follows them could be read as anything, and is not signed."""
    if not entries or entries[0].kind not in _HASHES or len(entries[0].value) != _HASHES[entries[0].kind].size:
        raise _wrong(source, at + _INFO.size, "the TLVs do not begin with a digest")
    pairs = entries[1:]
    if len(pairs) > 2 * MAX_SIGNATURES:
        raise LimitExceeded(source.path, f"more than {MAX_SIGNATURES} signatures", "Remove some of them.")
    for place, one in enumerate(pairs):
        if place % 2 == 0 and (one.kind != _KEY_HASH or len(one.value) != len(entries[0].value)):
            raise _wrong(source, one.at, f"a TLV {one.kind:#04x} that is not the hash of a key")
        if place % 2 == 1 and one.kind not in _SIGNATURES:
            raise _wrong(source, one.at, f"a TLV {one.kind:#04x} that is not a signature")
    if len(pairs) % 2:
        raise _wrong(source, pairs[-1].at, "the hash of a key without its signature")


def _unsigned(source: OpenArtifact, claims: Claims) -> _Unsigned:
    """What is hashed of an image, or of the image that firmware becomes."""
    path = source.path
    if claims.product or claims.hardware or claims.environment:
        raise UsageError(
            path,
            "an MCUboot image has fields for version and generation only",
            "Leave out product, hardware and environment, or sign the result again with a manifest.",
        )
    if source.read_at(0, len(MAGIC)) == MAGIC:
        image = read_image(source)
        own = image.claims
        for what, asked, there in (
            ("version", claims.version and version_text(claims.version, path), own.version),
            ("generation", claims.generation, own.generation),
        ):
            if asked is not None and asked != there:
                said = f"the image says {what} {there}" if there is not None else f"the image has no {what}"
                raise UsageError(path, said, f"Leave out --{what}, or sign the firmware it was made of.")
        return _Unsigned(b"", 0, image.hashed_end, b"", own, image)
    written_as = syntax_of(source)
    if written_as is None:
        return _new(source.path, source.size, source.read_at(0, NEW_HEADER_BYTES), claims)
    memory = read_memory(source)
    start = first_bytes(source, NEW_HEADER_BYTES)
    if start.startswith(MAGIC):
        raise UsageError(
            path,
            f"it is an MCUboot image already, written as {written_as}",
            "Convert it first: objcopy -I ihex (or srec) -O binary --gap-fill 0xff IN OUT.",
        )
    return _new(path, memory.size, start, claims)._replace(written_as=written_as)


def _new(path: str, size: int, start: bytes, claims: Claims) -> _Unsigned:
    """Firmware as it was linked: a header in the zero bytes that were reserved for it, or in front. start: its first bytes."""
    if claims.version is None:
        raise UsageError(
            path,
            "it is no MCUboot image yet, and an image has a version",
            "Give one, such as --version 1.2.3+4, or make the image with imgtool.",
        )
    if size == 0:
        raise MalformedArtifact(path, "it is empty", "Name the firmware.")
    text = version_text(claims.version, path)
    reserved = NEW_HEADER_BYTES if len(start) == NEW_HEADER_BYTES and not start.strip(b"\0") else 0
    if not reserved and not start[: _HEADER.size].strip(b"\0"):
        raise UsageError(
            path,
            f"it begins with zero bytes, but not with {NEW_HEADER_BYTES} of them",
            "Make the image with imgtool and its --header-size, then sign that.",
        )
    behind = b""
    if claims.generation is not None:
        if claims.generation > MAX_GENERATION:
            raise UsageError(path, f"generation {claims.generation} is beyond 32 bits", "Use a smaller one.")
        behind = _area(_PROTECTED, _tlv(_COUNTER, claims.generation.to_bytes(4, "little")), path)
    if size > 0xFFFF_FFFF - NEW_HEADER_BYTES:
        raise LimitExceeded(path, f"{size} bytes", "An MCUboot image has 32-bit sizes.")
    numbers = [int(part or 0) for part in _VERSION.fullmatch(text).groups()]  # type: ignore[union-attr]
    header = _HEADER.pack(MAGIC, 0, NEW_HEADER_BYTES, len(behind), size - reserved, 0, *numbers).ljust(
        NEW_HEADER_BYTES, b"\0"
    )
    return _Unsigned(header, reserved, size, behind, Claims(version=text, generation=claims.generation), None)


def version_text(text: str, subject: str) -> str:
    """A version as images carry it, MAJOR.MINOR.REVISION+BUILD; UsageError where it is none."""
    found = _VERSION.fullmatch(text)
    numbers = [int(part or 0) for part in found.groups()] if found else []
    if not numbers or any(n > most for n, most in zip(numbers, (0xFF, 0xFF, 0xFFFF, 0xFFFF_FFFF), strict=True)):
        raise UsageError(
            subject, f"version {text!r} is not MAJOR.MINOR.REVISION+BUILD", "Write it like 1.2.3+4, or 1.2.3."
        )
    major, minor, revision, build = numbers
    return f"{major}.{minor}.{revision}+{build}"


def _digests(
    source: OpenArtifact, made: _Unsigned, names: Collection[HashName], progress: Progress | None
) -> dict[HashName, Digest]:
    if made.written_as is not None:
        return memory_digests(source, names, made.start, made.front, made.behind)
    return source.digest_ranges(names, [(made.start, made.end)], made.behind, progress, made.front)


def _envelope(
    key_hash: bytes, signature: Entry, stored: Digest, certificates: tuple[bytes, ...], name: str
) -> Envelope:
    algorithm = _algorithm(signature.kind, stored.algorithm)
    signers = bare_signers(
        signature.value,
        stored,
        algorithm,
        certificates,
        lambda _, known: _key_hash(known, stored.algorithm) == key_hash and _fits(known, signature.kind),
        name,
        f"key hash {key_hash.hex()}",
    )
    return Envelope("", None, (), signers)


def _algorithm(kind: int, name: HashName) -> SignatureAlgorithm:
    if kind == _ECDSA:
        return _ECDSA_BY_HASH[name]
    return ED25519 if kind == _ED25519 else PSS_SHA256


def _fits(known: Certified, kind: int) -> bool:
    """The TLV of an RSA signature says the size of its key."""
    return not isinstance(known.key, rsa.RSAPublicKey) or known.key.key_size == {_RSA_2048: 2048, _RSA_3072: 3072}[kind]


def _key_hash(known: Certified, name: HashName) -> bytes:
    """As imgtool names a key: RSA by its PKCS #1 form, others by their SubjectPublicKeyInfo."""
    form = PublicFormat.PKCS1 if isinstance(known.key, rsa.RSAPublicKey) else PublicFormat.SubjectPublicKeyInfo
    return Digest.of(known.key.public_bytes(Encoding.DER, form), name).value


def _signature_kind(known: Certified, path: str) -> int:
    if isinstance(known.key, rsa.RSAPublicKey):
        kinds = {2048: _RSA_2048, 3072: _RSA_3072}
        if known.key.key_size not in kinds:
            raise KeyRefused(
                path, f"MCUboot reads no RSA key of {known.key.key_size} bits", "Use RSA-3072, P-256 or Ed25519."
            )
        return kinds[known.key.key_size]
    return _ED25519 if known.algorithm.scheme is Scheme.ED25519 else _ECDSA


def _structure(image: Image) -> tuple[str, ...]:
    dependencies = [one.value for one in image.protected if one.kind == _DEPENDENCY]
    said = [f"header of {image.header_size} bytes, firmware up to byte {image.hashed_end}"]
    for value in dependencies:
        if len(value) == 12:
            image_id, major, minor, revision, build = struct.unpack("<B3xBBHI", value)
            said.append(f"depends on image {image_id}, version {major}.{minor}.{revision}+{build}")
    return tuple(said)


def _tlv(kind: int, value: bytes) -> bytes:
    return _INFO.pack(kind, len(value)) + value


def _area(magic: int, entries: bytes, path: str) -> bytes:
    if _INFO.size + len(entries) > MAX_TLV_BYTES:
        raise LimitExceeded(path, f"TLVs of {len(entries)} bytes", "Remove some signatures.")
    return _INFO.pack(magic, _INFO.size + len(entries)) + entries


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"byte {offset}: {what}", "Build the image again, or fetch it again.")
