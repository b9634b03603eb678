"""Images of Espressif's chips (ESP32 and its successors): a header, segments, a checksum, and most often a SHA-256 behind.

| bytes | what |
| 0..24 | magic 0xE9, number of segments, flash settings, entry address; then pins, chip, revisions, whether a digest is appended |
| each segment | load address, length (a multiple of 4, below 16 MiB), data |
| up to a multiple of 16 | filling, of which the last byte is the checksum: 0xEF and every byte of the segments' data, by exclusive or |
| 32 | where the header says so: SHA-256 of all before it |

Numbers are little endian. An application describes itself at the start of its first segment (`esp_app_desc_t`). The bootloader
finds the end of an image by this walk alone, so an image with anything else behind it is not the one that it starts.
Source: ESP-IDF esp_app_format.h, esp_app_desc.h, bootloader_support/src/esp_image_format.c.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import BLOCK, OpenArtifact
from sealwright.errors import MalformedArtifact

MAGIC = 0xE9
MAX_SEGMENTS = 16
MAX_SEGMENT_BYTES = 1 << 24
DIGEST_BYTES = 32
_HEADER = struct.Struct("<BBBBIB3xHB2H4xB")
_SEGMENT = struct.Struct("<II")
_CHECKSUM_START = 0xEF
_DESCRIPTION_AT = _HEADER.size + _SEGMENT.size
_DESCRIPTION_BYTES = 256
_DESCRIPTION = struct.Struct("<II8x32s32s")
_DESCRIPTION_MAGIC = 0xABCD5432
_CHIPS = {
    0: "ESP32",
    2: "ESP32-S2",
    5: "ESP32-C3",
    9: "ESP32-S3",
    12: "ESP32-C2",
    13: "ESP32-C6",
    16: "ESP32-H2",
    18: "ESP32-P4",
    20: "ESP32-C61",
    23: "ESP32-C5",
    25: "ESP32-H21",
    28: "ESP32-H4",
}


class Image(NamedTuple):
    """segments: the ranges of their data; checksum_at: offset of the checksum; digest_at: of the appended SHA-256, or None.

    end: the image ends there; claims: of its description, None where it has none, as a bootloader.
    """

    chip: str
    segments: tuple[tuple[int, int], ...]
    checksum_at: int
    digest_at: int | None
    end: int
    claims: Claims | None


def read_image(source: OpenArtifact) -> Image:
    """Walk through an image at the start of a file; MalformedArtifact with the offset where the bootloader would stop."""
    head = source.read_at(0, _HEADER.size)
    if len(head) < _HEADER.size or head[0] != MAGIC:
        raise wrong(source, 0, "there is no header of an ESP image")
    _, count, _, _, _, _, chip, _, _, _, appended = _HEADER.unpack(head)
    if not 1 <= count <= MAX_SEGMENTS:
        raise wrong(source, 1, f"{count} segments, and there are 1 to {MAX_SEGMENTS}")
    if appended > 1:
        raise wrong(source, _HEADER.size - 1, f"{appended} where 1 says that a digest is appended, and 0 that none is")
    at, segments = _HEADER.size, []
    for number in range(count):
        header = source.read_at(at, _SEGMENT.size)
        if len(header) < _SEGMENT.size:
            raise wrong(source, at, f"the header of segment {number} is cut off")
        size = _SEGMENT.unpack(header)[1]
        start = at + _SEGMENT.size
        if size % 4 or size >= MAX_SEGMENT_BYTES or size > source.size - start:
            raise wrong(source, at + 4, f"segment {number} of {size} bytes, and {source.size - start} follow")
        at = start + size
        segments.append((start, at))
    if not any(end > start for start, end in segments):
        raise wrong(source, 1, "there is nothing in its segments")
    checksum_at = at + 15 - at % 16
    end = checksum_at + 1 + (DIGEST_BYTES if appended else 0)
    if end > source.size:
        raise wrong(source, source.size, f"it is cut off before its end at byte {end}")
    return Image(
        _CHIPS.get(chip, f"chip {chip}"),
        tuple(segments),
        checksum_at,
        checksum_at + 1 if appended else None,
        end,
        _claims(source, segments[0]),
    )


def check_checksum(source: OpenArtifact, image: Image, progress: Progress | None) -> None:
    """MalformedArtifact where the checksum is not that of the segments: no chip starts such an image."""
    together = 0
    for block in source.blocks(image.segments, progress):
        together ^= int.from_bytes(block, "little")
    found = _CHECKSUM_START
    for byte in together.to_bytes(BLOCK, "little"):
        found ^= byte
    if source.read_at(image.checksum_at, 1) != bytes((found,)):
        raise wrong(source, image.checksum_at, f"the checksum is not {found:#04x}, which that of the segments is")


def wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    """The typed error for what stands at an offset."""
    return MalformedArtifact(source.path, f"byte {offset}: {what}", "Build the image again, or fetch it again.")


def _claims(source: OpenArtifact, first: tuple[int, int]) -> Claims | None:
    start, end = first
    data = source.read_at(start, _DESCRIPTION.size)
    if end - start < _DESCRIPTION_BYTES or len(data) < _DESCRIPTION.size:
        return None
    magic, generation, version, product = _DESCRIPTION.unpack(data)
    if magic != _DESCRIPTION_MAGIC:
        return None
    return Claims(
        product=_text(source, _DESCRIPTION_AT + 48, product),
        version=_text(source, _DESCRIPTION_AT + 16, version),
        generation=generation,
    )


def _text(source: OpenArtifact, at: int, field: bytes) -> str | None:
    try:
        text = field.split(b"\0", 1)[0].decode()
    except UnicodeDecodeError as cause:
        raise wrong(source, at, "the application's description is not text") from cause
    if not text.isprintable():
        raise wrong(source, at, "the application's description is not printable")
    return text if text.strip() else None
