"""The text of a layout: what is refused in it, because a device could read other bytes than were signed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.layouts import DRIVE, METER, PLC, layout
from sealwright.errors import LimitExceeded, MalformedLayout, SealwrightError
from sealwright.formats.layouttext import parse_layout
from sealwright.formats.position import Position, read_position


@pytest.mark.parametrize("text", [DRIVE, PLC, METER], ids=["drive", "plc", "meter"])
def test_a_whole_layout_is_read(text: str) -> None:
    found = layout(text)
    assert found.parts[0].start == Position(0)
    assert found.claims


# Each change of a layout that was read before, and what is said of it.
BAD = [
    # what a device reads is not what is signed (A089)
    (DRIVE, 'at = 12\nnumber = "u32-le"', 'at = 70\nnumber = "u32-le"', "length.*inside a hashed part: 4 bytes at 70"),
    (DRIVE, "at = 20", "at = 62", r"\[generation\]: `at` must be inside a hashed part"),
    (DRIVE, "at = 20", "at = 126", r"inside a hashed part"),
    (DRIVE, 'at = 0\ntext = "ACMEBOOT"', 'at = 60\ntext = "ACMEBOOT"', r"\[\[magic\]\] 1: `at` must be inside a hashed"),
    (METER, "at = 16\nnumber", 'at = "end - 8"\nnumber', "inside a hashed part"),
    (METER, "at = 16\nnumber", 'at = "header + 8"\nnumber', "inside a hashed part"),
    (METER, "[payload_digest]\nat = 32", "[payload_digest]\nat = 100", "inside a hashed part"),
    # gaps, overlaps, ends
    (DRIVE, "from = 64\nto = 128", "from = 72\nto = 136", "without gap or overlap: number 2 begins at 72, not at 64"),
    (DRIVE, "from = 64\nto = 128", "from = 60\nto = 128", "number 2 begins at 60"),
    (DRIVE, "from = 0\nto = 64", "from = 4\nto = 64", "number 1 begins at 4, not at 0"),
    (DRIVE, 'to = "128 + payload"', 'to = "120 + payload"', "up to the end of the file, payload . 128"),
    (DRIVE, 'length_of_file = "128 + payload"\n', "", "up to the end of the file, end"),
    (DRIVE, 'from = 128\nto = "128 + payload"', "from = 128\nto = 128", "`to` must be behind `from`"),
    (METER, 'to = "end - 16"\nis', 'to = "header"\nis', "number 6 begins at end - 16, not at header"),
    (METER, 'reason = "production data, written by the factory"\n', "", "`reason` must be a printable text"),
    (DRIVE, 'is = "signature"', 'is = "hashed"', "one that is the signature"),
    (PLC, 'is = "stored-digest"', 'is = "signature"', "one that is the signature"),
    (METER, 'is = "payload"', 'is = "uncovered"\nreason = "none"', "payload_digest` must be there where a part is payload"),
    # signed bytes that could be read in two ways
    (METER, "at = 0\ntext = \"ZMTR\"", 'at = "header"\ntext = "ZMTR"', "inside a hashed part|a number, or counted from"),
    (METER, 'text = "ZMTR"', 'text = "ZM"', r"\[\[magic\]\] of at least 4 bytes"),
    (DRIVE, 'at = 12\nnumber = "u32-le"', 'at = "payload"\nnumber = "u32-le"', "inside a hashed|a number, or counted"),
    (DRIVE, "at = 20", "at = 18", r"\[generation\]: `at` must be apart from \[version\]|apart from"),
    (DRIVE, 'from = 128\nto = "128 + payload"', 'from = 128\nto = "128 + pay"', "pay, which is no"),
    (DRIVE, '[[part]]\nfrom = 0', '[[length]]\nname = "idle"\nat = 28\nnumber = "u16-le"\n[[part]]\nfrom = 0', "speaks of idle"),
    (DRIVE, 'length_of_file = "128 + payload"', 'length_of_file = "end"', "without `end`"),
    (DRIVE, 'name = "payload"', 'name = "end"', "not `end`"),
    # the signature's place
    (DRIVE, 'encoding = "raw-be"', 'encoding = "der"', "room for the longest value"),
    (DRIVE, 'scheme = "ecdsa"', 'scheme = "rsa-pss"', "as large as the key"),
    (DRIVE, 'scheme = "ecdsa"', 'scheme = "ed25519"', "one of"),
    (DRIVE, 'encoding = "raw-be"', 'encoding = "raw-be"\nappended = true', "the last part"),
    (PLC, 'digest = "sha256"\nlength', 'digest = "sha384"\nlength', "as large as the part that is the stored digest"),
    (DRIVE, 'digest = "sha256"', 'digest = "sha1"', "one of"),
    (METER, "hashed_as = 255", "hashed_as = 256", "a byte, 0 to 255"),
    (METER, 'is = "payload"', 'is = "payload"\nhashed_as = 0', "hashed as they are"),
    # fields
    (DRIVE, 'numbers = ["u8", "u8", "u16-le"]', 'numbers = ["u8", "u16"]', "'u16' is not u8"),
    (DRIVE, 'numbers = ["u8", "u8", "u16-le"]', "numbers = []", "numbers"),
    (DRIVE, '"0x0201" = "VX-201 drive"', '"0x10000" = "VX-201 drive"', "does not fit into 16 bits"),
    (DRIVE, '"0x0201" = "VX-201 drive"', '"513" = "VX-200 drive"', "different texts for different numbers"),
    (DRIVE, '"0x0201" = "VX-201 drive"', '"VX" = "VX-201 drive"', "texts by number"),
    (DRIVE, 'bytes = "02 00"', 'bytes = "02 0"', "hexadecimal digits in pairs"),
    (DRIVE, "[generation]", "[generations]", "unknown key `generations`; did you mean `generation`"),
    (DRIVE, '[generation]\nat = 20\nnumber = "u32-le"', '[generation]\nat = 20\ntext = 4', "left out for a generation"),
    # the file itself
    (DRIVE, "# sealwright layout 1", "# sealwright layout 2", "the first line is not"),
    (DRIVE, 'name = "acme-drive"', 'name = "Acme/Drive"', "a-z, 0-9, dot and dash"),
    (DRIVE, "[[magic]]\nat = 0", "[[magic]]\nat = 0\nat = 0", "it is not TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "why"), BAD)
def test_a_layout_that_leaves_anything_open_is_refused(text: str, old: str, new: str, why: str) -> None:
    assert layout(text)
    assert old in text
    changed = text.replace(old, new, 1)
    with pytest.raises(MalformedLayout) as refused:
        layout(changed)
    assert re.search(why, str(refused.value)), str(refused.value)


def test_a_length_that_moves_what_is_signed_may_not_move_itself() -> None:
    """A trailer behind a payload of any length is at no fixed place from the front, but from the end it is."""
    trailer = """# sealwright layout 1
name = "t"
[[magic]]
at = "end - 8"
text = "TRAILER!"
[[length]]
name = "size"
at = "end - 12"
number = "u32-le"
[[part]]
from = 0
to = 64
is = "signature"
[[part]]
from = 64
to = "64 + size"
is = "hashed"
[[part]]
from = "64 + size"
to = "end - 12"
is = "uncovered"
reason = "padding"
[[part]]
from = "end - 12"
to = "end"
is = "hashed"
[signature]
scheme = "ecdsa"
encoding = "raw-be"
"""
    assert layout(trailer)
    counted = trailer + '[generation]\nat = "64 + size - 4"\nnumber = "u32-le"\n'
    assert layout(counted)
    with pytest.raises(MalformedLayout, match="inside a hashed part"):
        layout(trailer + '[generation]\nat = "end - 20"\nnumber = "u32-le"\n')
    # the same file where a hashed part ends at a place that an unsigned one can move
    moved = trailer.replace('from = "end - 12"\nto = "end"', 'from = "end - 12"\nto = "end - 6"').replace(
        "[signature]", '[[part]]\nfrom = "end - 6"\nto = "end"\nis = "uncovered"\nreason = "x"\n[signature]'
    )
    with pytest.raises(MalformedLayout, match="inside a hashed part"):
        layout(moved)


def test_a_claim_that_the_size_of_the_file_could_move_is_refused() -> None:
    text = METER.replace('to = "end - 16"\nis = "fill"', 'to = "end - 32"\nis = "fill"').replace(
        'from = "end - 16"\nto = "end"\nis = "uncovered"',
        'from = "end - 32"\nto = "end - 16"\nis = "hashed"\n[[part]]\nfrom = "end - 16"\nto = "end"\nis = "uncovered"',
    )
    assert layout(text)
    tail = text.replace("[generation]\nat = 16", '[generation]\nat = "end - 24"')
    assert layout(tail), "it is counted from the end of the signed bytes"
    middle = text.replace("[generation]\nat = 16", '[generation]\nat = "end - 40"')
    with pytest.raises(MalformedLayout, match="inside a hashed part"):
        layout(middle)


def test_limits_are_kept() -> None:
    with pytest.raises(LimitExceeded):
        parse_layout(DRIVE.encode() + b"#" * 65536, "big")
    part = '[[part]]\nfrom = {}\nto = {}\nis = "hashed"\n'
    many = "".join(part.format(n, n + 1) for n in range(100))
    with pytest.raises(MalformedLayout, match="1 to 64 tables"):
        layout(DRIVE.replace('[[part]]\nfrom = 0\nto = 64\nis = "hashed"\n', many))
    with pytest.raises(LimitExceeded, match="dots"):
        layout(DRIVE + ".".join("a" * 200) + " = 1\n")


@given(st.text(alphabet="0123456789abcdefxen d+-_", max_size=30))
def test_a_place_is_read_or_refused(text: str) -> None:
    try:
        found = read_position(text, ["header"])
    except ValueError:
        return
    assert found == read_position(str(found), ["header"])


@given(st.binary(max_size=200))
def test_noise_is_refused_with_a_typed_error(noise: bytes) -> None:
    with pytest.raises(SealwrightError):
        parse_layout(b"# sealwright layout 1\n" + noise, "noise")


def test_changed_lines_end_in_a_layout_or_a_typed_error() -> None:
    lines = METER.splitlines()
    for at in range(1, len(lines)):
        for other in ([], [lines[at], lines[at]], ["x = 1"], ["[a.b.c]"]):
            try:
                layout("\n".join((*lines[:at], *other, *lines[at + 1 :])) + "\n")
            except SealwrightError:
                continue
