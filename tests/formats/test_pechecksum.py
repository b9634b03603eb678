"""The checksum in a PE header: against its definition, word by word."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from kit.efi import OPTIONAL, tiny
from kit.inside import sign_inside, stripped
from kit.pki import Pki
from sealwright.artifact.source import open_artifact
from sealwright.formats.pechecksum import checksum, words, words_between

RELEASE = Pki.make().leaf()


def by_definition(data: bytes) -> int:
    """Microsoft's: each 16-bit word is added, its carry put back; then the size."""
    padded = data + bytes(len(data) % 2)
    total = 0
    for (word,) in struct.iter_unpack("<H", padded):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(data)


@pytest.mark.parametrize("size", [1, 2, 3, 8191, 8192, 8193, 65537, 300_001])
def test_words_are_added_with_their_carry_whatever_their_number(size: int) -> None:
    for data in (os.urandom(size), b"\xff" * size):
        assert checksum(words(data, 0), size) == by_definition(data)
        assert checksum(words(data[:7], 0) + words(data[7:], 7), size) == by_definition(data)


def large(path: Path) -> Path:
    path.write_bytes(tiny(extra=os.urandom(1 << 20) * 9 + b"odd"))
    return path


def test_a_large_program_is_added_up_from_its_place_in_the_file(tmp_path: Path) -> None:
    plain = large(tmp_path / "plain.efi")
    data = plain.read_bytes()
    with open_artifact(str(plain)) as source:
        assert words_between(source, 305, len(data)) == words(data[305:], 305) % 0xFFFF


def test_what_is_written_carries_its_own_checksum(tmp_path: Path) -> None:
    plain = large(tmp_path / "plain.efi")
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.efi")
    for path in (signed, stripped(signed, tmp_path / "bare.efi")):
        data = path.read_bytes()
        field = slice(OPTIONAL + 64, OPTIONAL + 68)
        said = int.from_bytes(data[field], "little")
        assert said == by_definition(data[: field.start] + bytes(4) + data[field.stop :])
