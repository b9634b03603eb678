"""Firmware as text before objcopy and imgtool: the same memory image, and the same MCUboot image of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kit.boards import imgtool, public_key
from kit.inside import sign_inside
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki
from kit.samples import SAMPLES
from kit.trust import believed, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.source import open_artifact
from sealwright.envelope.kinds import Construction
from sealwright.errors import SealwrightError
from sealwright.formats.hexfile import memory_blocks
from sealwright.trust.verdict import Outcome

PKI = Pki.make()
BOOT = PKI.leaf("boot key", construction=Construction.MCUBOOT)
ZEPHYR = next(sample for sample in SAMPLES if sample.name == "zephyr.hex")


def memory(path: Path) -> bytes | None:
    with open_artifact(path) as source:
        try:
            return b"".join(memory_blocks(source))
        except SealwrightError:
            return None


def by_objcopy(path: Path, form: str = "ihex") -> bytes | None:
    out = path.parent / "objcopy.bin"
    out.unlink(missing_ok=True)
    accepted, _ = run(["objcopy", "-I", form, "-O", "binary", "--gap-fill", "0xff", path, out])
    return out.read_bytes() if accepted else None


def test_zephyr_firmware_is_the_memory_that_objcopy_makes_of_it(tmp_path: Path) -> None:
    path = ZEPHYR.copy_to(tmp_path)
    data = memory(path)
    assert data is not None
    assert len(data) == 100660
    assert data == by_objcopy(path)
    for options in ([], ["--srec-forceS3"], ["--srec-len", "64"]):
        text = tmp_path / "fw.s19"
        assert run(["objcopy", "-I", "ihex", "-O", "srec", *options, path, text])[0]
        assert memory(text) == by_objcopy(text, "srec") == data


@pytest.mark.parametrize("form", ["ihex", "srec"])
@pytest.mark.parametrize("start", [0, 0xFFF8, 0xF_FFF0, 0x0800_0000, 0xFFFF_0000])
def test_text_of_objcopy_is_read_at_every_address(tmp_path: Path, form: str, start: int) -> None:
    data = random.Random(start).randbytes(0x3000)
    (tmp_path / "in.bin").write_bytes(data)
    text = tmp_path / "fw.txt"
    move = ["--change-addresses", hex(start)] if start else []
    assert run(["objcopy", "-I", "binary", "-O", form, *move, tmp_path / "in.bin", text])[0]
    assert memory(text) == data
    assert by_objcopy(text, form) == data


def test_gaps_are_filled_as_objcopy_and_imgtool_fill_them(tmp_path: Path) -> None:
    """Two parts, 300 bytes apart, as a linker leaves them between sections."""
    lines = ZEPHYR.source.read_text().splitlines(keepends=True)
    path = tmp_path / "gaps.hex"
    path.write_text("".join([*lines[:20], *lines[40:60], lines[-1]]))
    data = memory(path)
    assert data is not None
    assert data == by_objcopy(path)
    assert b"\xff" * 300 in data
    ours, theirs = both_images(path, tmp_path)
    assert ours == theirs


def both_images(path: Path, folder: Path) -> tuple[bytes, bytes]:
    """What is hashed of the image that we make of a text, and that imgtool makes."""
    ours = sign_inside(path, BOOT, folder / "ours.img", "mcuboot", claims=Claims(version="1.2.3+4", generation=7))
    accepted, words = imgtool(
        "sign", "--align", "1", "--version", "1.2.3+4", "--security-counter", "7", "--header-size", "0x200",
        "--pad-header", "-S", "0x40000", path, folder / "theirs.bin",
    )  # fmt: skip
    assert accepted, words
    assert imgtool("verify", "-k", public_key(BOOT, folder), ours)[0]
    assert judge(ours, believed(PKI, certificate=knowing(BOOT))).outcome is Outcome.TRUSTED
    data = memory(path) or b""
    end = 512 + len(data) + 12
    made = [one.read_bytes()[:end] for one in (ours, folder / "theirs.bin")]
    # imgtool fills the room behind its header with 0xFF, we with zeros
    return made[0][:32] + made[0][512:], made[1][:32] + made[1][512:]


def test_imgtool_makes_the_same_image_of_zephyr_firmware(tmp_path: Path) -> None:
    ours, theirs = both_images(ZEPHYR.copy_to(tmp_path), tmp_path)
    assert ours == theirs


def test_imgtool_refuses_an_altered_image_that_was_made_of_text(tmp_path: Path) -> None:
    path = ZEPHYR.copy_to(tmp_path)
    both_images(path, tmp_path)
    image, key = tmp_path / "ours.img", public_key(BOOT, tmp_path)
    data = image.read_bytes()
    image.write_bytes(data[:5000] + bytes((data[5000] ^ 1,)) + data[5001:])
    assert not imgtool("verify", "-k", key, image)[0]
    assert judge(image, believed(PKI, certificate=knowing(BOOT))).outcome is Outcome.REJECTED


def test_what_is_read_after_a_change_is_what_objcopy_reads(tmp_path: Path) -> None:
    """Where both read a changed text they read the same memory; the changes are spread over all kinds of records."""
    lines = ZEPHYR.source.read_text().splitlines(keepends=True)
    sample = "".join([*lines[:2], *lines[-3:]]).encode()
    path = tmp_path / "fw.hex"
    path.write_bytes(sample)
    assert memory(path) == by_objcopy(path)
    for _, bad in flips(sample, step=3, bit=0x01):
        path.write_bytes(bad)
        ours = memory(path)
        assert ours is None or ours == by_objcopy(path)
