"""Cabinets: what is hashed, where the signature stands, and every cabinet that two readers could read differently."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.cabinets import RESERVE, cabinet
from kit.forge import with_unsigned
from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.packages import number, put
from kit.pki import Pki, p7s
from kit.trust import believed, codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope.asn1 import der
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.formats.authenticode import pkcs7_size
from sealwright.formats.cab import read_layout
from sealwright.formats.format import Existing, Extent
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
TRUST = believed(PKI)


def written(folder: Path, data: bytes, name: str = "changed.cab") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("signed")
    return sign_inside(written(folder, cabinet()), RELEASE, folder / "b.cab", "cab").read_bytes()


def outcome(folder: Path, data: bytes) -> Outcome:
    return judge(written(folder, data), TRUST).outcome


@pytest.mark.parametrize("plain", [cabinet(), cabinet(b"", folders=3), cabinet(b"x" * 9001)], ids=len)
@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
def test_a_cabinet_is_trusted_and_stripped_to_itself(tmp_path: Path, plain: bytes, kind: KeyKind) -> None:
    path = sign_inside(written(tmp_path, plain), PKI.leaf(kind=kind), tmp_path / "signed.cab", "cab", tsa=PKI.tsa())
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "cab")
    assert verdict.coverage.ranges[-1].end == path.stat().st_size
    bare = stripped(path, tmp_path / "bare.cab", "cab")
    assert bare.read_bytes() == plain
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.cab", "cab")


def test_a_reserve_that_is_there_is_filled(tmp_path: Path) -> None:
    """Build tools leave room for the signature; it is the same signature, and `strip` takes the room out as well."""
    roomy = sign_inside(written(tmp_path, cabinet(reserve=RESERVE)), RELEASE, tmp_path / "a.cab", "cab")
    other = sign_inside(written(tmp_path, cabinet(), "b.cab"), RELEASE, tmp_path / "c.cab", "cab")
    assert judge(roomy, TRUST).outcome is TRUSTED
    one, two = roomy.read_bytes(), other.read_bytes()
    assert one[:48] + one[52 : number(one, 44)] == two[:48] + two[52 : number(two, 44)]
    assert stripped(roomy, tmp_path / "bare.cab", "cab").read_bytes() == cabinet()


def test_signing_again_replaces(tmp_path: Path, signed: bytes) -> None:
    path = written(tmp_path, signed)
    again = sign_inside(path, PKI.leaf(), tmp_path / "again.cab", "cab", existing=Existing.REPLACE)
    assert judge(again, TRUST).outcome is TRUSTED
    assert number(again.read_bytes(), 44) == number(signed, 44)
    for existing, why in ((Existing.REFUSE, "signed already"), (Existing.ADD, "one signature")):
        with pytest.raises(UsageError, match=why):
            sign_inside(path, RELEASE, tmp_path / "no.cab", "cab", existing=existing)
    with pytest.raises(UsageError, match="has no fields"):
        sign_inside(path, RELEASE, tmp_path / "no.cab", "cab", claims=Claims(version="1"))
    assert not (tmp_path / "no.cab").exists()


def test_a_wrong_key_is_refused(tmp_path: Path, signed: bytes) -> None:
    path = written(tmp_path, signed)
    assert judge(path, TRUST).outcome is TRUSTED
    assert judge(path, believed(Pki.make("EVIL"))).outcome is REJECTED


def place(data: bytes, start: int, length: int) -> bytes:
    return put(put(data, 44, start), 48, length)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a byte of a file", lambda d: d.replace(b"firmware", b"firmwarf")),
        ("a file's name", lambda d: d.replace(b"drive.bin", b"drive.bat")),
        ("an archive behind it", lambda d: d + b"PK\5\6" + bytes(18)),
        ("a zero behind it", lambda d: d + b"\0"),
        ("an archive behind it that is called signature", lambda d: put(d + b"PK\5\6" * 2, 48, number(d, 48) + 8)),
        ("eight zeros called signature", lambda d: put(d + bytes(8), 48, number(d, 48) + 8)),
        ("bytes in front of it", lambda d: place(d[: number(d, 44)] + b"x" + d[number(d, 44) :], number(d, 44) + 1, number(d, 48))),
        ("the signature before its place", lambda d: place(d, number(d, 44) - 1, number(d, 48) + 1)),
        ("the signature in the header", lambda d: place(d, 60, len(d) - 60)),
        ("the signature outside", lambda d: place(d, len(d), 8)),
        ("offset and size wrap", lambda d: place(d, 0xFFFFFFFF, len(d) + 1)),
        ("no signature where one stands", lambda d: place(d, 0, 0)),
        ("a signature of 0 bytes", lambda d: place(d, number(d, 44), 0)),
        ("a signature at 0", lambda d: place(d, 0, len(d))),
        ("a larger cabinet", lambda d: put(d, 8, len(d))),
        ("a smaller cabinet", lambda d: put(d, 8, number(d, 8) - 8)),
        ("files elsewhere", lambda d: put(d, 16, number(d, 16) + 8)),
        ("files outside", lambda d: put(d, 16, 0xFFFFFFF0)),
        ("a folder's data in the header", lambda d: put(d, 60, 4)),
        ("a folder's data in the signature", lambda d: put(d, 60, number(d, 44) + 1)),
        ("65535 folders", lambda d: put(d, 26, b"\xff\xff")),
        ("a cabinet before", lambda d: put(d, 30, b"\5")),
        ("a cabinet behind", lambda d: put(d, 30, b"\6")),
        ("an unknown flag", lambda d: put(d, 30, b"\x14")),
        ("a second place in a set", lambda d: put(d, 34, b"\1")),
        ("reserved bytes", lambda d: put(d, 4, 1)),
        ("another version", lambda d: put(d, 24, b"\4")),
        ("a longer reserve", lambda d: put(d, 36, b"\x15")),
        ("a reserve in folders", lambda d: put(d, 38, b"\1")),
        ("another reserve", lambda d: put(d, 40, 1)),
        ("a filled reserve", lambda d: put(d, 52, 1)),
        ("no reserve", lambda d: put(d, 30, b"\0")),
    ],
)  # fmt: skip
def test_a_cabinet_that_could_be_read_differently_is_refused(
    tmp_path: Path, signed: bytes, what: str, change: Callable[[bytes], bytes]
) -> None:
    assert outcome(tmp_path, signed) is TRUSTED
    assert change(signed) != signed
    assert outcome(tmp_path, change(signed)) is REJECTED, what


def shown_as(folder: Path, signed: bytes, hidden: bytes) -> Outcome:
    """The verdict on the cabinet with bytes in an attribute of its signature that nobody signed."""
    start = number(signed, 44)
    envelope = with_unsigned(signed[start : start + pkcs7_size(signed[start:])], der(0x04, hidden))
    envelope += bytes(-len(envelope) % 8)
    return outcome(folder, put(signed[:start] + envelope, 48, len(envelope)))


@pytest.mark.parametrize("hidden", [b"PK\5\6" + bytes(18), cabinet(b"another")], ids=["archive", "cabinet"])
def test_a059_what_readers_look_for_anywhere_does_not_hide_in_the_signature(
    tmp_path: Path, signed: bytes, hidden: bytes
) -> None:
    """Java runs the archive; cabextract unpacks every cabinet that it finds in a file."""
    assert shown_as(tmp_path, signed, b"x" + hidden[1:]) is TRUSTED
    assert shown_as(tmp_path, signed, hidden) is REJECTED


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a block that is cut off", lambda d: put(d[:-8], 8, len(d) - 8)),
        ("a block's head that is cut off", lambda d: put(d[:-12], 8, len(d) - 12)),
        ("a second block", lambda d: put(d, 40, b"\2")),
        ("65535 blocks", lambda d: put(d, 40, b"\xff\xff")),
        ("a second file", lambda d: put(d, 28, b"\2")),
        ("65535 files", lambda d: put(d, 28, b"\xff\xff")),
        ("a name that goes on behind it", lambda d: put(put(d, 28, b"\2"), 8, len(d) + 1) + b"x"),
    ],
)  # fmt: skip
def test_a089_what_a_reader_would_take_from_the_signature_is_refused(
    tmp_path: Path, what: str, change: Callable[[bytes], bytes]
) -> None:
    plain = cabinet(b"x" * 8)
    assert judge(sign_inside(written(tmp_path, plain), RELEASE, tmp_path / "good.cab", "cab"), TRUST).outcome is TRUSTED
    with pytest.raises(MalformedArtifact, match="at byte"):
        sign_inside(written(tmp_path, change(plain)), RELEASE, tmp_path / "no.cab", "cab")


def test_more_blocks_than_any_cabinet_has_are_not_counted(tmp_path: Path) -> None:
    plain = cabinet(b"", folders=18)
    many = plain
    for folder in range(1, 18):
        many = put(many, 36 + 8 * folder, struct.pack("<IH", len(plain) - 8, 65535))
    with pytest.raises(LimitExceeded, match="blocks of data"):
        sign_inside(written(tmp_path, many), RELEASE, tmp_path / "no.cab", "cab")


def test_errors_name_the_offset(tmp_path: Path, signed: bytes) -> None:
    with pytest.raises(MalformedArtifact, match="at byte 8: a cabinet of"):
        sign_inside(written(tmp_path, cabinet() + b"PK"), RELEASE, tmp_path / "no.cab", "cab")
    with pytest.raises(MalformedArtifact, match="at byte 36: a reserve"):
        roomy = cabinet(reserve=b"\x00\x18\0\0" + bytes(6144))
        sign_inside(written(tmp_path, roomy), RELEASE, tmp_path / "no.cab", "cab")
    with pytest.raises(UsageError, match="set of cabinets"):
        sign_inside(written(tmp_path, cabinet(flags=2)), RELEASE, tmp_path / "no.cab", "cab")
    with pytest.raises(LimitExceeded, match="signature of"):
        sign_inside(written(tmp_path, put(signed, 48, 1 << 30)), RELEASE, tmp_path / "no.cab", "cab")


def test_signatures_for_other_things_do_not_count(tmp_path: Path, signed: bytes) -> None:
    """A file's signature, and no signature at all, where the cabinet's stands."""
    assert outcome(tmp_path, signed) is TRUSTED
    start = number(signed, 44)
    for wrong in (p7s(RELEASE, cabinet()), b"\x30\x00", signed[start : start + 64]):
        assert outcome(tmp_path, put(signed[:start] + wrong, 48, len(wrong))) is REJECTED


def test_every_byte_counts(tmp_path: Path, signed: bytes) -> None:
    verdict = judge(written(tmp_path, signed), TRUST)
    assert verdict.outcome is TRUSTED
    hashed = [range(part.start, part.end) for part in verdict.coverage.ranges if part.extent is Extent.HASHED]
    accepted = {at for at, bad in flips(signed) if outcome(tmp_path, bad) is TRUSTED}
    assert not any(at in part for part in hashed for at in accepted)
    # what may change is unsigned in the signature alone: no byte of the header
    assert not accepted or min(accepted) > number(signed, 44)
    for bad in truncations(signed, step=7):
        assert outcome(tmp_path, bad) is REJECTED, len(bad)


def test_large_cabinets_take_little_memory(tmp_path: Path) -> None:
    plain, size = written(tmp_path, cabinet(b"x" * 100)), 24 << 20
    with plain.open("r+b") as file:
        file.seek(8)
        file.write(size.to_bytes(4, "little"))
        file.truncate(size)
    tracemalloc.start()
    path = sign_inside(plain, RELEASE, tmp_path / "signed.cab", "cab")
    assert judge(path, TRUST).outcome is TRUSTED
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    with open_artifact(path) as source:
        end = read_layout(source).content_end
    with path.open("r+b") as file:
        file.seek(end - 1)
        file.write(b"x")
    assert judge(path, TRUST).outcome is REJECTED


def test_the_command_finds_the_format_by_the_content(tmp_path: Path) -> None:
    home, out, plain = tmp_path / "home", tmp_path / "signed.bin", written(tmp_path, cabinet(), "plain.bin")
    assert main(["init", str(home)]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--out", str(out)]) == 0
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 0
    assert main(["inspect", str(out)]) == 0
    assert main(["strip", str(out), "--out", str(tmp_path / "bare.bin")]) == 0
    assert (tmp_path / "bare.bin").read_bytes() == plain.read_bytes()
