"""Intel HEX and S-record: one memory image, or a refusal that names the line; never a guess where readers could differ (A092)."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.boards import FIRMWARE
from kit.inside import sign_inside
from kit.mutate import flips, truncations
from kit.pki import Pki
from kit.trust import believed, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope.kinds import Construction
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.embedded import embedded_format
from sealwright.formats.hexfile import MAX_GAP_BYTES, Memory, memory_blocks, read_memory, syntax_of
from sealwright.trust.verdict import Outcome

PKI = Pki.make()
BOOT = PKI.leaf("boot key", construction=Construction.MCUBOOT)
END = ":00000001FF"


def ihex(address: int, kind: int, data: bytes) -> str:
    """One record of Intel HEX; the address' low 16 bits are written."""
    body = bytes((len(data),)) + (address & 0xFFFF).to_bytes(2) + bytes((kind,)) + data
    return ":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper()


def srec(kind: int, address: int, data: bytes = b"") -> str:
    """One S-record."""
    width = {0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}[kind]
    body = bytes((width + len(data) + 1,)) + address.to_bytes(width) + data
    return f"S{kind}" + (body + bytes((~sum(body) & 0xFF,))).hex().upper()


def written(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "fw.hex"
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def memory(path: Path) -> tuple[Memory, bytes]:
    """What is read, and its bytes, of which the digest is."""
    with open_artifact(path) as source:
        found = read_memory(source, (HashName.SHA256,))
        data = b"".join(memory_blocks(source))
    assert found.digests == {HashName.SHA256: Digest.of(data)}
    assert found.size == len(data)
    return found, data


def refused(path: Path) -> str:
    with pytest.raises((MalformedArtifact, LimitExceeded)) as why:
        memory(path)
    return str(why.value)


def firmware(folder: Path, syntax: str, start: int = 0x0800_0000) -> Path:
    rows = [(start + at, FIRMWARE[at : at + 16]) for at in range(0, len(FIRMWARE), 16)]
    if syntax == "srec":
        lines = [srec(0, 0, b"drive"), *(srec(3, at, row) for at, row in rows), srec(5, len(rows)), srec(7, start)]
    else:
        lines = [ihex(0, 4, (start >> 16).to_bytes(2)), *(ihex(at, 0, row) for at, row in rows), END]
    return written(folder, *lines)


@pytest.mark.parametrize("syntax", ["ihex", "srec"])
def test_both_syntaxes_stand_for_the_same_memory(tmp_path: Path, syntax: str) -> None:
    found, data = memory(firmware(tmp_path, syntax))
    assert (found.start, found.end, found.gaps) == (0x0800_0000, 0x0800_0000 + len(FIRMWARE), 0)
    assert data == FIRMWARE


def test_line_ends_and_letters_make_no_difference(tmp_path: Path) -> None:
    path = firmware(tmp_path, "ihex")
    text = path.read_bytes()
    for other in (text.replace(b"\n", b"\r\n"), text.lower(), text[:-1]):
        path.write_bytes(other)
        assert memory(path)[1] == FIRMWARE
    for other in (text.replace(b"\n", b"\r"), text.replace(b":", b" :"), text.replace(b"\n", b"\n\n", 1)):
        path.write_bytes(other)
        assert refused(path)


def test_gaps_are_filled_with_what_erased_flash_reads(tmp_path: Path) -> None:
    path = written(tmp_path, ihex(0x10, 0, b"ab"), ihex(0x20, 0, b"cd"), END)
    found, data = memory(path)
    assert (found.start, found.gaps, data) == (0x10, 14, b"ab" + b"\xff" * 14 + b"cd")


def test_segments_and_linear_addresses_are_both_read(tmp_path: Path) -> None:
    by_segment = written(tmp_path, ihex(0, 2, b"\x10\x00"), ihex(4, 0, b"ab"), ihex(0, 3, bytes(4)), END)
    assert memory(by_segment)[0].start == 0x1_0004
    reset = [
        ihex(0, 2, b"\xf0\x00"),
        ihex(0xFFFF, 0, b"a"),
        ihex(0, 2, bytes(2)),
        ihex(0, 4, b"\0\x10"),
        ihex(0, 0, b"b"),
    ]
    assert memory(written(tmp_path, *reset, END))[1] == b"ab"
    twice = [ihex(0, 4, b"\0\1"), ihex(0, 4, b"\0\1"), ihex(0, 0, b"a")]
    assert memory(written(tmp_path, *twice, END))[0].start == 0x1_0000


GOOD = ihex(0, 0, b"abcd")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((GOOD, ihex(3, 0, b"x"), END), "line 2: address 0x3 is below 0x4"),
        ((ihex(8, 0, b"x"), GOOD, END), "line 2: address 0x0 is below 0x9"),
        ((GOOD, GOOD, END), "line 2: address 0x0 is below"),
        ((GOOD, END, ihex(4, 0, b"x")), "line 3: there is something behind the end"),
        ((GOOD, END, END), "line 3: there is something behind the end"),
        ((GOOD, END, ""), "line 3: there is something behind the end"),
        ((GOOD, END, "\x1a"), "line 3: there is something behind the end"),
        ((GOOD,), "there is no end record"),
        ((END,), "line 1: there are no data"),
        ((GOOD[:-1] + "0", END), "line 1: its length or sum"),
        ((GOOD + "00", END), "line 1: its length or sum"),
        ((GOOD[:-2], END), "line 1: its length or sum"),
        ((GOOD[:-1], END), "line 1: it is not a record in hexadecimal"),
        ((GOOD, ":0000", END), "line 2: it is not a record, or too short"),
        ((GOOD, "0400000061626364", END), "line 2: it is not a record"),
        ((GOOD, "", END), "line 2: it is not a record"),
        ((GOOD, ": 01000400 FB", END), "line 2: it is not a record in hexadecimal"),
        ((GOOD, ihex(0xFFFF, 0, b"ab"), END), "line 2: no data, or data that wrap"),
        ((GOOD, ihex(8, 0, b""), END), "line 2: no data, or data that wrap"),
        ((GOOD, ihex(0, 4, b"\0\1"), ihex(0, 4, b"\0\2"), ihex(0, 0, b"x"), END), "line 3: an extended address that contra"),
        ((GOOD, ihex(0, 2, b"\x10\0"), ihex(0, 4, b"\0\1"), ihex(0, 0, b"x"), END), "line 4: .* both in force"),
        ((GOOD, ihex(0, 4, b"\0\1"), ihex(0, 2, b"\0\0"), ihex(8, 0, b"x"), END), "line 4: .* both in force"),
        ((GOOD, ihex(1, 4, b"\0\1"), END), "line 2: a record of type 04 with 2 bytes at address 0001"),
        ((GOOD, ihex(0, 4, b"\1"), END), "line 2: a record of type 04 with 1 bytes"),
        ((GOOD, ihex(0, 6, b""), END), "line 2: a record of type 06"),
        ((GOOD, ihex(0, 1, b"a")), "line 2: a record of type 01 with 1 bytes"),
        ((GOOD, ihex(0, 5, bytes(4)), ihex(0, 3, bytes(4)), END), "line 3: a second start address"),
        ((GOOD, ihex(0, 4, b"\x10\0"), ihex(0, 0, b"x"), END), "line 3: a gap of 268435452 bytes before address 0x10000000"),
        ((GOOD, "S9030000FC"), "line 2: it is not a record"),
    ],
)  # fmt: skip
def test_intel_hex_that_two_readers_could_load_differently_is_refused(
    tmp_path: Path, lines: tuple[str, ...], why: str
) -> None:
    assert memory(written(tmp_path, GOOD, END))[1] == b"abcd"
    with pytest.raises((MalformedArtifact, LimitExceeded), match=why):
        memory(written(tmp_path, *lines))


DATA, LAST = srec(1, 0, b"abcd"), srec(9, 0)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((DATA, srec(1, 3, b"x"), LAST), "line 2: address 0x3 is below 0x4"),
        ((DATA, LAST, srec(1, 4, b"x")), "line 3: there is something behind the end"),
        ((DATA,), "there is no end record"),
        ((LAST,), "line 1: there are no data"),
        ((DATA[:-1] + "0", LAST), "line 1: its type, length or sum"),
        ((DATA, "S4" + srec(1, 8, b"x")[2:], LAST), "line 2: its type, length or sum"),
        ((DATA, "S10100FE", LAST), "line 2: it is not a record, or too short|its type"),
        ((DATA, "S", LAST), "line 2: it is not a record"),
        ((DATA, "SA0500006100", LAST), "line 2: its type"),
        ((DATA, srec(0, 0, b"late"), LAST), "line 2: a header that is not the first"),
        ((DATA, srec(5, 2), LAST), "line 2: it counts 2 data records, and there are 1"),
        ((DATA, srec(5, 1), srec(5, 1), LAST), "line 3: it counts"),
        ((DATA, srec(5, 1), srec(1, 8, b"x"), LAST), "line 3: .* behind their count"),
        ((DATA, srec(1, 0xFFFF, b"xy"), LAST), "line 2: .* wrap around"),
        ((DATA, srec(3, 0xFFFF_FFFF, b"xy"), LAST), "line 2: .* wrap around"),
        ((DATA, srec(1, 8), LAST), "line 2: no data"),
        ((DATA, srec(9, 0, b"x")), "line 2: a record S9 with data"),
        ((DATA, END), "line 2: it is not a record"),
    ],
)  # fmt: skip
def test_s_records_that_two_readers_could_load_differently_are_refused(
    tmp_path: Path, lines: tuple[str, ...], why: str
) -> None:
    assert memory(written(tmp_path, srec(0, 0, b"name"), DATA, srec(5, 1), LAST))[1] == b"abcd"
    with pytest.raises((MalformedArtifact, LimitExceeded), match=why):
        memory(written(tmp_path, *lines))


def test_what_would_fill_the_memory_is_refused_before_it_does(tmp_path: Path) -> None:
    step = MAX_GAP_BYTES >> 16
    lines = [line for at in range(8) for line in (ihex(0, 4, (at * step).to_bytes(2)), ihex(0, 0, b"x"))]
    path = written(tmp_path, *lines[:8], END)
    tracemalloc.start()
    assert memory_size(path) == 3 * MAX_GAP_BYTES + 1
    path = written(tmp_path, *lines, END)
    assert "line 10: an image of 67108865 bytes" in refused(path)
    path.write_bytes(b":" + b"0" * (1 << 20))
    assert "line 1: it is longer than any record" in refused(path)
    path.write_bytes((GOOD + "\n").encode() + b"\n" * (1 << 20))
    assert "line 2: it is not a record" in refused(path)
    with path.open("wb") as file:
        file.write((GOOD + "\n").encode())
        file.truncate(1 << 40)
    assert "bytes of text" in refused(path)
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()


def memory_size(path: Path) -> int:
    with open_artifact(path) as source:
        return read_memory(source).size


@pytest.mark.parametrize("syntax", ["ihex", "srec"])
def test_no_changed_byte_means_other_memory(tmp_path: Path, syntax: str) -> None:
    """A sum finds each single changed character, so it is refused or means the same (a letter's case, a name, a start)."""
    path = firmware(tmp_path, syntax)
    sample = path.read_bytes()[:400].rpartition(b"\n")[0] + b"\n" + (END if syntax == "ihex" else srec(7, 0)).encode()
    path.write_bytes(sample)
    good = memory(path)[1]
    for bit in (0x01, 0x20):
        for at, bad in flips(sample, bit=bit):
            path.write_bytes(bad)
            try:
                assert memory(path)[1] == good, at
            except (MalformedArtifact, LimitExceeded):
                continue
    for bad in truncations(sample):
        path.write_bytes(bad)
        assert refused(path)


def noise(sample: bytes, dice: random.Random) -> Iterator[bytes]:
    lines = sample.split(b"\n")
    for _ in range(150):
        some = [dice.choice(lines) for _ in range(dice.randrange(1, 12))]
        yield b"\n".join([*some, dice.choice((END.encode(), srec(9, 0).encode(), dice.randbytes(8)))])


def test_every_error_is_a_typed_one(tmp_path: Path) -> None:
    dice = random.Random(7)
    for syntax in ("ihex", "srec"):
        path = firmware(tmp_path, syntax)
        for bad in noise(path.read_bytes(), dice):
            path.write_bytes(bad)
            try:
                memory(path)
            except SealwrightError:
                continue


def test_binary_firmware_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "fw.bin"
    for data in (b"", b":", b"S", b"S1", b":00000001F", b":\0\0\0", b"SPARC program", b": 00000001FF", FIRMWARE):
        path.write_bytes(data)
        with open_artifact(path) as source:
            assert syntax_of(source) is None
            with pytest.raises(MalformedArtifact, match="line 1: neither"):
                read_memory(source)


@pytest.mark.parametrize("syntax", ["ihex", "srec"])
def test_mcuboot_signs_the_memory_image(tmp_path: Path, syntax: str) -> None:
    claims, trust = Claims(version="1.2.3+0", generation=7), believed(PKI, certificate=knowing(BOOT))
    (tmp_path / "fw.bin").write_bytes(FIRMWARE)
    of_text = sign_inside(firmware(tmp_path, syntax), BOOT, tmp_path / "1.img", "mcuboot", claims=claims)
    of_bytes = sign_inside(tmp_path / "fw.bin", BOOT, tmp_path / "2.img", "mcuboot", claims=claims)
    end = 512 + len(FIRMWARE) + 12
    assert of_text.read_bytes()[:end] == of_bytes.read_bytes()[:end]
    verdict = judge(of_text, trust)
    assert (verdict.outcome, verdict.claims) == (Outcome.TRUSTED, claims)


def test_room_for_the_header_is_found_in_the_memory_image(tmp_path: Path) -> None:
    rows = [ihex(at, 0, (bytes(512) + FIRMWARE)[at : at + 32]) for at in range(0, 512 + len(FIRMWARE), 32)]
    path = sign_inside(
        written(tmp_path, *rows, END), BOOT, tmp_path / "fw.img", "mcuboot", claims=Claims(version="1.0.0")
    )
    assert path.read_bytes()[512 : 512 + len(FIRMWARE)] == FIRMWARE


def test_text_that_holds_an_image_or_is_wrong_is_not_signed(tmp_path: Path) -> None:
    claims = Claims(version="1.0.0")
    sign_inside(written(tmp_path, GOOD, END), BOOT, tmp_path / "good.img", "mcuboot", claims=claims)
    image = written(tmp_path, ihex(0, 0, bytes.fromhex("3db8f396") + bytes(28)), END)
    with pytest.raises(UsageError, match="an MCUboot image already, written as Intel HEX"):
        sign_inside(image, BOOT, tmp_path / "no.img", "mcuboot", claims=claims)
    with pytest.raises(MalformedArtifact, match="line 2: address 0x0 is below 0x4"):
        sign_inside(written(tmp_path, GOOD, GOOD, END), BOOT, tmp_path / "no.img", "mcuboot", claims=claims)
    assert not (tmp_path / "no.img").exists()


def test_text_that_changes_before_it_is_written_is_not_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mcuboot = type(embedded_format("mcuboot"))
    attach, claims = mcuboot.attach, Claims(version="1.0.0")
    path = written(tmp_path, GOOD, END)
    sign_inside(path, BOOT, tmp_path / "good.img", "mcuboot", claims=claims)
    for other in ((ihex(0, 0, b"abce"), END), (GOOD, ihex(4, 0, b"e"), END), (GOOD,)):
        written(tmp_path, GOOD, END)

        def swapped(form, prepared, sealed, other=other):  # type: ignore[no-untyped-def]
            written(tmp_path, *other)
            return attach(form, prepared, sealed)

        monkeypatch.setattr(mcuboot, "attach", swapped)
        with pytest.raises(SealwrightError):
            sign_inside(path, BOOT, tmp_path / "no.img", "mcuboot", claims=claims)
        assert sorted(one.name for one in tmp_path.iterdir()) == ["fw.hex", "good.img"]


@pytest.mark.parametrize("syntax", ["ihex", "srec"])
def test_inspect_shows_both_digests(tmp_path: Path, syntax: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = firmware(tmp_path, syntax)
    assert main(["inspect", str(path), "--json"]) == 0
    facts = {fact["name"]: fact["value"] for fact in json.loads(capsys.readouterr().out)["facts"]}
    assert facts["digest"] == str(Digest.of(path.read_bytes()))
    assert facts["memory digest"] == str(Digest.of(FIRMWARE))
    assert facts["memory image"].startswith("addresses 0x8000000 to 0x80007d0: 2,000 bytes")
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert str(Digest.of(FIRMWARE)) in text
    assert str(Digest.of(path.read_bytes())) in text


def test_inspect_says_why_there_is_no_memory_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD, GOOD, END)
    assert main(["inspect", str(path), "--json"]) == 0
    facts = {fact["name"]: fact["value"] for fact in json.loads(capsys.readouterr().out)["facts"]}
    assert "line 2: address 0x0 is below" in facts["memory image"]
    assert "memory digest" not in facts
