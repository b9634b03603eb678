"""Sizes that wrap, holes that never end, and files that change meanwhile: images and what lies beside them (A073, A074, A150)."""

from __future__ import annotations

import os
import shutil
import struct
import time
from pathlib import Path

import pytest

from kit.boards import esp_image
from kit.inside import sign_inside
from kit.layouts import DRIVE, drive_image, sign_layout, trusting
from kit.pki import NOW, Pki
from kit.trust import codes, judge
from sealwright.envelope.kinds import KINDS
from sealwright.formats.dmverity import level_blocks
from sealwright.formats.embedded import BESIDE, EMBEDDED
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, verify_paths

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
SIGNERS = {
    name: PKI.leaf(name, construction=KINDS[EMBEDDED[name].kind].construction) for name in (*BESIDE, "esp32", "layout")
}
TRUST = trusting(PKI, DRIVE, known=tuple(SIGNERS.values()))
BLOCK = 4096
DATA = bytes(range(256)) * 2048  # more than one block of those that are read
SECONDS = 4.0


def made(folder: Path, form: str) -> Path:
    """A signed file that is trusted: each refusal's twin."""
    plain, out = folder / "plain", folder / "signed"
    plain.write_bytes(drive_image() if form == "layout" else DATA)
    if form == "esp32":
        plain = esp_image(folder)
    if form == "layout":
        sign_layout(plain, SIGNERS[form], out, DRIVE)
    else:
        sign_inside(plain, SIGNERS[form], out, form)
    assert judge(out, TRUST).outcome is TRUSTED
    return out


def refused_soon(path: Path, trust: Believed = TRUST) -> None:
    started = time.monotonic()
    assert judge(path, trust).outcome is REJECTED
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("form", ["layout", "esp32"])
def test_a074_what_a_length_of_32_bits_does_not_count_is_not_signed(tmp_path: Path, form: str) -> None:
    """A reader that adds in 32 bits finds the end where it was; 4 GiB follow."""
    path = made(tmp_path, form)
    size = path.stat().st_size
    for more in (1 << 32, (1 << 32) - size, 1 << 31):
        os.truncate(path, size + more)
        refused_soon(path)
    os.truncate(path, size)
    assert judge(path, TRUST).outcome is TRUSTED


@pytest.mark.parametrize("wrap", [1 << 52, 1 << 63, 1 << 20])
def test_a074_a_number_of_blocks_that_wraps_is_not_the_images(tmp_path: Path, wrap: int) -> None:
    """Times 4096, in 64 or 32 bits, it is the size that the signed image has."""
    path = made(tmp_path, "verity")
    data = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<Q", data, len(DATA) + 72)
    assert count == len(DATA) // BLOCK
    struct.pack_into("<Q", data, len(DATA) + 72, count + wrap)
    path.write_bytes(data)
    assert codes(judge(path, TRUST)) == ["SW-ARTIFACT-MALFORMED"]


def test_a073_a_hole_of_a_tebibyte_with_the_signature_of_an_image_is_refused_at_its_first_blocks(
    tmp_path: Path,
) -> None:
    """Also where a deny list asks for the digest of the whole file."""
    path, hole = made(tmp_path, "verity"), tmp_path / "hole"
    blocks = (1 << 40) // BLOCK
    head = bytearray(path.read_bytes()[len(DATA) : len(DATA) + BLOCK])
    struct.pack_into("<Q", head, 72, blocks)
    with hole.open("wb") as file:
        file.truncate((blocks + 1 + sum(level_blocks(blocks))) * BLOCK)
        file.seek(blocks * BLOCK)
        file.write(head)
    for ending in BESIDE["verity"]:
        shutil.copy(f"{path}{ending}", f"{hole}{ending}")
    refused_soon(hole)
    denied = Denied("artifact", f"* sha256:{'0' * 64}", 0, "a test")
    watching = trusting(PKI, DRIVE, known=tuple(SIGNERS.values()), denied=[denied])
    assert judge(path, watching).outcome is TRUSTED
    refused_soon(hole, watching)


class Meddler:
    """Somebody who writes while we read, and puts everything back."""

    def __init__(self, path: Path, at: int) -> None:
        self.path, self.at, self.met = path, at, 0

    def advance(self, _bytes_done: int) -> None:
        self.met += 1
        if self.met > 1:
            return
        time.sleep(0.02)  # a file system counts time in ticks
        before = self.path.stat()
        with self.path.open("r+b") as file:
            file.seek(self.at)
            there = file.read(1)
            file.seek(self.at)
            file.write(bytes((there[0] ^ 1,)))
            file.seek(self.at)
            file.write(there)
        os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("form", [*BESIDE, "esp32", "layout"])
def test_a150_a_file_that_is_written_while_it_is_read_is_not_trusted(tmp_path: Path, form: str) -> None:
    path = made(tmp_path, form)
    meddler = Meddler(path, 200)
    (verdict,) = verify_paths([str(path)], TRUST, Request(clock=NOW), meddler)
    assert meddler.met
    assert codes(verdict) == ["SW-FILE-CHANGING"]
    assert judge(path, TRUST).outcome is TRUSTED
