"""SWUpdate archives: what the description binds, and every archive that two readers could read differently."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, p7s
from kit.trust import believed, codes, judge
from kit.updates import IMAGE, archive, description, updater
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.formats.cpio import CHECKED, byte_sum, member, read_archive
from sealwright.formats.format import Existing
from sealwright.formats.swdescription import read_description
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = updater(PKI)
TRUST = believed(PKI)
SHA = hashlib.sha256(IMAGE).hexdigest()
END = member("TRAILER!!!", b"", CHECKED)


def signed(folder: Path, **how: object) -> Path:
    return sign_inside(archive(folder, **how), RELEASE, folder / "signed.swu", "swupdate")  # type: ignore[arg-type]


def changed(folder: Path, data: bytes) -> Path:
    path = folder / "changed.swu"
    path.write_bytes(data)
    return path


def rebuilt(path: Path, folder: Path, edit: Callable[[list[tuple[str, bytes]]], None]) -> Path:
    """The archive with its list of files edited."""
    with open_artifact(str(path)) as source:
        files = [(one.name, source.read_at(one.data, one.size)) for one in read_archive(source).members]
    edit(files)
    return changed(folder, b"".join(member(name, data, CHECKED) for name, data in files) + END)


@pytest.mark.parametrize("form", ["crc", "newc"])
def test_an_archive_is_trusted_with_what_its_description_claims(tmp_path: Path, form: str) -> None:
    made = signed(tmp_path, form=form)
    verdict = judge(made, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "swupdate")
    assert verdict.claims == Claims(version="2026.1", hardware=("1.0", "1.2"))
    assert verdict.coverage.ranges[-1].end == made.stat().st_size
    bare = stripped(made, tmp_path / "bare.swu", "swupdate")
    assert bare.read_bytes() == (tmp_path / "made.swu").read_bytes()
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no", "swupdate")


def test_signing_again_replaces(tmp_path: Path) -> None:
    made = signed(tmp_path)
    again = sign_inside(made, RELEASE, tmp_path / "again.swu", "swupdate", existing=Existing.REPLACE)
    assert judge(again, TRUST).outcome is TRUSTED
    for existing, why in ((Existing.REFUSE, "signed already"), (Existing.ADD, "reads one signature")):
        with pytest.raises(UsageError, match=why):
            sign_inside(made, RELEASE, tmp_path / "no", "swupdate", existing=existing)


def test_claims_are_the_description_s(tmp_path: Path) -> None:
    made, out = archive(tmp_path), tmp_path / "out.swu"
    sign_inside(made, RELEASE, out, "swupdate", claims=Claims(version="2026.1", hardware=("1.0", "1.2")))
    assert judge(out, TRUST).outcome is TRUSTED
    with pytest.raises(UsageError, match="claims something else"):
        sign_inside(made, RELEASE, tmp_path / "no", "swupdate", claims=Claims(version="2026.2"))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"sw-description": b'software = { files: ( { filename = "fw.bin"; } ); }', "fw.bin": IMAGE}, "no sha256"),
        ({"sw-description": description(), "fw.bin": IMAGE, "extra": b"x"}, "does not name"),
        ({"sw-description": description()}, "not there"),
        ({"sw-description": description(), "fw.bin": b"other"}, "must be sha256"),
        ({"fw.bin": IMAGE, "sw-description": description()}, "first file is not sw-description"),
    ],
)
def test_what_the_description_does_not_bind_is_not_signed(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    assert judge(signed(tmp_path), TRUST).outcome is TRUSTED
    with pytest.raises(MalformedArtifact, match=why):
        sign_inside(archive(tmp_path, files=files, name="bad"), RELEASE, tmp_path / "no", "swupdate")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda f: f.append(("extra.sh", b"rm -rf /")), "SW-PART-UNSIGNED"),
        (lambda f: f.pop(2), "SW-ARTIFACT-MALFORMED"),
        (lambda f: f.__setitem__(2, ("fw.bin", b"other")), "SW-FILE-CHANGED"),
        (lambda f: f.append(("fw.bin", IMAGE)), "SW-ARTIFACT-MALFORMED"),
        (lambda f: f.append(f.pop(1)), "SW-ARTIFACT-MALFORMED"),
        (lambda f: f.pop(1), "SW-SIGNATURE-MISSING"),
        (lambda f: f.insert(0, ("first", b"x")), "SW-SIGNATURE-MISSING"),
        (lambda f: f.__setitem__(1, ("sw-description.sig", p7s(RELEASE, f[0][1]))), "SW-SIGNATURE-KIND"),
        (lambda f: f.__setitem__(1, ("sw-description.sig", b"no CMS")), "SW-SIGNATURE-MALFORMED"),
        (lambda f: f.append(("../fw.bin", IMAGE)), "SW-ARTIFACT-MALFORMED"),
        (lambda f: f.append(("a\u202eb", IMAGE)), "SW-ARTIFACT-MALFORMED"),
    ],
)
def test_an_archive_that_is_not_what_was_signed_is_refused(
    tmp_path: Path, edit: Callable[[list[tuple[str, bytes]]], None], code: str
) -> None:
    made = signed(tmp_path)
    assert judge(rebuilt(made, tmp_path, lambda files: None), TRUST).outcome is TRUSTED
    verdict = judge(rebuilt(made, tmp_path, edit), TRUST)
    assert verdict.outcome is REJECTED
    assert codes(verdict) == [code]


def test_bytes_behind_the_archive_are_refused(tmp_path: Path) -> None:
    data = signed(tmp_path).read_bytes()
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    for more in (b"\1", bytes(512), END, data):
        assert judge(changed(tmp_path, data + more), TRUST).outcome is REJECTED


def test_every_byte_counts_or_is_told_as_not_covered(tmp_path: Path) -> None:
    """Owner and date in the headers of cpio are signed by nobody, and used by nobody either."""
    made = signed(tmp_path)
    data = made.read_bytes()
    verdict = judge(made, TRUST)
    assert verdict.outcome is TRUSTED
    free = [range(r.start, r.end) for r in verdict.coverage.ranges if r.extent.value == "uncovered"]
    for at, bad in flips(data[:6000], step=5):
        if judge(changed(tmp_path, bad + data[6000:]), TRUST).outcome is TRUSTED:
            assert any(at in part for part in free), at
    for at in range(6000, len(data) - 600, 1999):
        bad = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        assert judge(changed(tmp_path, bad), TRUST).outcome is REJECTED, at
    for bad in truncations(data[: data.index(b"TRAILER!!!")], step=977):
        assert judge(changed(tmp_path, bad), TRUST).outcome is REJECTED, len(bad)


def test_the_checksum_of_the_archive_is_checked(tmp_path: Path) -> None:
    data = signed(tmp_path).read_bytes()
    at = data.index(b"fw.bin\0") - 8
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    assert codes(judge(changed(tmp_path, data[:at] + b"00000001" + data[at + 8 :]), TRUST)) == ["SW-ARTIFACT-MALFORMED"]


GOOD = f'software = {{ version = "1"; images: ( {{ filename = "a"; sha256 = "{SHA}"; }} ); }}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace(";", ","),
        f"# a comment\nother = [1, 2L, 0x1f, 1.5e3, true];\n{GOOD}",
        GOOD.replace('"a"', '"" "a" /* in two parts */'),
        GOOD.replace("software =", "software:"),
        json.dumps({"software": {"version": "1", "board": {"images": [{"filename": "a", "sha256": SHA}]}}}),
    ],
)
def test_descriptions_are_read_as_swupdate_reads_them(text: str) -> None:
    found = read_description(text.encode(), "x")
    assert found.files == {"a": Digest(HashName.SHA256, bytes.fromhex(SHA))}
    assert found.claims == Claims(version="1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace('version = "1"', 'version = "1"; version = "2"'), "twice"),
        (GOOD.replace('"1"', '"1\n"'), "does not end on its line"),
        (GOOD.replace("software", '@include "x"\nsoftware'), "no name of a setting"),
        (GOOD.replace("software", "other"), "no `software`"),
        (GOOD.replace('"1"', '"\\q"'), "escape"),
        (GOOD.replace('"1"', "9" * 5000), "digits"),
        (GOOD.replace(SHA, SHA[1:]), "no sha256"),
        (GOOD.replace(SHA, "@" + SHA), "no sha256"),
        (GOOD.replace('"a"', "17"), "no text"),
        (GOOD + "\0", "zero byte"),
        (GOOD + "}", "no name of a setting"),
        (GOOD[:-1], "before the end"),
        (GOOD.replace("images: (", f'b: ( {{ filename = "a"; sha256 = "{"0" * 64}"; }} ); images: ('), "two different"),
        (GOOD.replace('"1"', '" 1"'), "not plain text"),
        (GOOD + " /* no end", "no name of a setting"),
        ('{"software": {"a": 1, "a": 2}}', "twice"),
        ('{"software": ', "not JSON"),
        ('{"software": [' + "9" * 5000 + "]}", "not JSON"),
        ('{"software": ' * 30_000, "not JSON"),
    ],
)
def test_a_description_with_two_readings_is_refused(text: str, why: str) -> None:
    assert read_description(GOOD.encode(), "x").claims.version == "1"
    with pytest.raises(MalformedArtifact, match=why):
        read_description(text.encode(), "x")
    with pytest.raises(MalformedArtifact, match="UTF-8"):
        read_description(GOOD.encode() + b"\xff", "x")


@pytest.mark.parametrize(
    "text", ["software = " + "(" * 500, '{"software": {"a": ' + "[" * 400 + "]" * 400 + "}}", " " * ((1 << 20) + 1)]
)
def test_descriptions_are_bounded(text: str) -> None:
    assert read_description(GOOD.encode(), "x").claims.version == "1"
    with pytest.raises(LimitExceeded):
        read_description(text.encode(), "x")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 70_000, 5_000_001])
def test_a_checksum_is_the_sum_of_the_bytes(tmp_path: Path, size: int) -> None:
    for number, data in enumerate((b"\xff" * size, bytes(size), (bytes(range(256)) * (size // 256 + 1))[:size])):
        path = tmp_path / str(number)
        path.write_bytes(b"in front" + data + b"behind")
        with open_artifact(str(path)) as source:
            assert byte_sum(source, 8, size) == sum(data) & 0xFFFF_FFFF
