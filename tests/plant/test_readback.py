"""A read-back compared with what was signed: every byte, the first difference by its place, nothing beyond the end that was not declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.openssl import run
from sealwright.artifact.digest import Digest
from sealwright.errors import UsageError
from sealwright.plant.readback import Compared, Layout, Reading, compare

IMAGE = bytes(range(256)) * 600


def compared(
    folder: Path, signed: bytes, found: bytes, layout: Layout = Layout.EXACT, padding: int | None = None
) -> Compared:
    (folder / "signed").write_bytes(signed)
    (folder / "back.bin").write_bytes(found)
    return compare(str(folder / "signed"), Reading(str(folder / "back.bin"), layout, padding))


def said(result: Compared) -> list[tuple[str, str, str, str]]:
    return [(one.code, one.subject, one.wanted, one.found) for one in result.findings]


def hex_of(folder: Path, image: bytes, form: str, base: int = 0x08004000) -> bytes:
    """As objcopy writes it."""
    (folder / "plain.bin").write_bytes(image)
    words = ["objcopy", "-I", "binary", "-O", form, "--change-addresses", hex(base)]
    done, answer = run([*words, str(folder / "plain.bin"), str(folder / "plain.hex")])
    assert done, answer
    return (folder / "plain.hex").read_bytes()


def test_the_same_bytes_are_the_same(tmp_path: Path) -> None:
    result = compared(tmp_path, IMAGE, IMAGE)
    assert (result.result.is_same, result.result.digest, result.findings) == (True, Digest.of(IMAGE), ())


@pytest.mark.parametrize("at", [0, 1, 65_535, 65_536, 153_599])
def test_one_other_bit_is_named_by_its_place(at: int, tmp_path: Path) -> None:
    assert compared(tmp_path, IMAGE, IMAGE).result.is_same
    other = bytearray(IMAGE)
    other[at] ^= 1
    result = compared(tmp_path, IMAGE, bytes(other))
    expected = ("SW-READBACK-DIFFERS", f"back.bin at {at:#x}", f"{IMAGE[at]:02x}", f"{other[at]:02x}")
    assert (result.result.is_same, said(result)) == (False, [expected])
    assert result.result.digest == Digest.of(bytes(other))  # of all that was read, not up to the difference


def test_too_little_is_not_enough(tmp_path: Path) -> None:
    result = compared(tmp_path, IMAGE, IMAGE[:-1])
    assert said(result) == [("SW-READBACK-SHORT", "back.bin", "", f"{len(IMAGE) - 1:#x}")]
    assert not compared(tmp_path, IMAGE, b"").result.is_same


def test_padding_counts_only_where_it_was_declared_and_only_that_byte(tmp_path: Path) -> None:
    filled = IMAGE + b"\xff" * 70_000
    declared = compared(tmp_path, IMAGE, filled, padding=0xFF)
    assert (declared.result.is_same, said(declared)) == (True, [("SW-READBACK-PADDED", "back.bin", "ff", "70,000")])
    end = f"{len(IMAGE):#x}"
    assert said(compared(tmp_path, IMAGE, filled)) == [("SW-READBACK-LONGER", "back.bin", "nothing", end)]
    assert said(compared(tmp_path, IMAGE, filled, padding=0)) == [("SW-READBACK-LONGER", "back.bin", "00", end)]
    hidden = compared(tmp_path, IMAGE, filled[:-1] + b"\x90", padding=0xFF)
    assert said(hidden) == [("SW-READBACK-LONGER", "back.bin", "ff", f"{len(filled) - 1:#x}")]


@pytest.mark.parametrize("form", ["ihex", "srec"])
def test_a_memory_image_is_compared_by_what_it_means(form: str, tmp_path: Path) -> None:
    signed = hex_of(tmp_path, IMAGE, form)
    for found in (IMAGE, hex_of(tmp_path, IMAGE, "ihex"), hex_of(tmp_path, IMAGE, "srec")):
        assert compared(tmp_path, signed, found, Layout.MEMORY).result.is_same
    other = bytearray(IMAGE)
    other[0x1234] ^= 0x80
    result = compared(tmp_path, signed, bytes(other), Layout.MEMORY)
    assert said(result)[0][:2] == ("SW-READBACK-DIFFERS", "back.bin at 0x8005234")
    assert not compared(tmp_path, signed, IMAGE).result.is_same  # exactly, text is not memory


def test_the_same_memory_at_another_address_is_not_the_same(tmp_path: Path) -> None:
    signed, moved = hex_of(tmp_path, IMAGE, "ihex"), hex_of(tmp_path, IMAGE, "ihex", base=0x08008000)
    assert compared(tmp_path, signed, signed, Layout.MEMORY).result.is_same
    result = compared(tmp_path, signed, moved, Layout.MEMORY)
    assert said(result) == [("SW-READBACK-ADDRESS", "back.bin", "0x8004000", "0x8008000")]
    assert not result.result.is_same


def test_gaps_are_erased_memory_and_nothing_else(tmp_path: Path) -> None:
    records = (":0400000001020304F2", ":040010000506070" + "8D2", ":00000001FF")
    signed = "".join(f"{one}\n" for one in records).encode()
    memory = bytes([1, 2, 3, 4]) + b"\xff" * 12 + bytes([5, 6, 7, 8])
    same = compared(tmp_path, signed, memory, Layout.MEMORY)
    assert (same.result.is_same, said(same)) == (True, [("SW-READBACK-GAPS", "back.bin", "", "12")])
    hidden = memory[:8] + b"\x90" + memory[9:]
    assert said(compared(tmp_path, signed, hidden, Layout.MEMORY))[0][1] == "back.bin at 0x8"


def test_a_folder_is_compared_file_by_file(tmp_path: Path) -> None:
    signed, found = tmp_path / "signed", tmp_path / "found"
    for folder in (signed, found):
        (folder / "sub").mkdir(parents=True)
        for name in ("a.cfg", "b.cfg", "sub/c.cfg"):
            (folder / name).write_bytes(name.encode() * 10)
        (folder / "now").symlink_to("a.cfg")
    assert compare(str(signed), Reading(str(found))).result.is_same
    (found / "a.cfg").write_bytes(b"a.cfg" * 9 + b"a.cfG")
    (found / "b.cfg").unlink()
    (found / "sub/d.cfg").write_bytes(b"")
    (found / "now").unlink()
    (found / "now").symlink_to("sub/c.cfg")
    result = compare(str(signed), Reading(str(found)))
    assert not result.result.is_same
    assert [one[:2] for one in said(result)] == [
        ("SW-READBACK-DIFFERS", "a.cfg at 0x31"),
        ("SW-READBACK-MISSING", "b.cfg"),
        ("SW-READBACK-EXTRA", "now"),
        ("SW-READBACK-EXTRA", "sub/d.cfg"),
    ]


def test_thousands_of_differences_are_named_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "signed").mkdir()
    (tmp_path / "found").mkdir()
    for number in range(150):
        (tmp_path / "signed" / f"{number}").write_bytes(b"1")
    result = compare(str(tmp_path / "signed"), Reading(str(tmp_path / "found")))
    assert (len(result.findings), result.findings[-1].code) == (101, "SW-READBACK-MORE")


def test_a_file_is_not_compared_with_a_folder(tmp_path: Path) -> None:
    (tmp_path / "signed").write_bytes(b"1")
    (tmp_path / "found").mkdir()
    with pytest.raises(UsageError, match="what was signed is a file"):
        compare(str(tmp_path / "signed"), Reading(str(tmp_path / "found")))
    with pytest.raises(UsageError, match="compared file by file"):
        compare(str(tmp_path / "found"), Reading(str(tmp_path / "found"), Layout.MEMORY))
