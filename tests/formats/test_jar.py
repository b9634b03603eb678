"""JAR archives: what the manifest binds, and every archive or manifest that two readers could read differently."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.archives import FILES, zipped
from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, p7s
from kit.trust import believed, codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.format import Existing
from sealwright.formats.jarmanifest import read_manifest, section
from sealwright.formats.ziparchive import contents, read_zip
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
TRUST = believed(PKI)
END = struct.Struct("<4sHHHHIIH")


def signed(folder: Path, **how: object) -> Path:
    return sign_inside(zipped(folder / "plain.jar"), RELEASE, folder / "signed.jar", "jar", **how)  # type: ignore[arg-type]


def changed(folder: Path, data: bytes) -> Path:
    path = folder / "changed.jar"
    path.write_bytes(data)
    return path


def rebuilt(path: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive made anew with its files edited."""
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist()}
    edit(files)
    return zipped(path.with_name("rebuilt.jar"), files)


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_trusted_and_stripped_to_its_files(tmp_path: Path, packing: int) -> None:
    plain = zipped(tmp_path / "plain.jar", packing=packing)
    path = sign_inside(plain, RELEASE, tmp_path / "signed.jar", "jar", claims=Claims(product="VX", version="7"))
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "jar")
    assert verdict.claims == Claims(product="VX", version="7")
    assert verdict.coverage.ranges[-1].end == path.stat().st_size
    plainly = sign_inside(plain, RELEASE, tmp_path / "plainly.jar", "jar")
    assert stripped(plainly, tmp_path / "bare.jar", "jar").read_bytes() == plain.read_bytes()
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(plain, tmp_path / "no.jar", "jar")


def test_a_manifest_of_its_own_is_kept(tmp_path: Path) -> None:
    text = b"Manifest-Version: 1.0\nMain-Class: a.B\nImplementation-Version: 3\n\nName: a\nSealed: true\n"
    plain = zipped(tmp_path / "plain.jar", {"META-INF/MANIFEST.MF": text, "a": b"1", "b": b"2"})
    path = sign_inside(plain, RELEASE, tmp_path / "signed.jar", "jar")
    assert judge(path, TRUST).claims == Claims(version="3")
    kept = read_manifest(zipfile.ZipFile(path).read("META-INF/MANIFEST.MF"), "x")
    assert kept.main == {"Manifest-Version": "1.0", "Main-Class": "a.B", "Implementation-Version": "3"}
    assert list(kept.sections["a"]) == ["Sealed", "SHA-256-Digest"]
    bare = zipfile.ZipFile(stripped(path, tmp_path / "bare.jar", "jar")).read("META-INF/MANIFEST.MF")
    assert read_manifest(bare, "x").sections == {"a": {"Sealed": "true"}}
    with pytest.raises(UsageError, match="Implementation-Version: 3"):
        sign_inside(plain, RELEASE, tmp_path / "no.jar", "jar", claims=Claims(version="4"))
    with pytest.raises(UsageError, match="product and version only"):
        sign_inside(plain, RELEASE, tmp_path / "no.jar", "jar", claims=Claims(generation=4))


def test_signing_again_replaces_or_adds(tmp_path: Path) -> None:
    path = signed(tmp_path)
    with pytest.raises(UsageError, match="signed already"):
        sign_inside(path, RELEASE, tmp_path / "no.jar", "jar")
    anew = sign_inside(path, RELEASE, tmp_path / "anew.jar", "jar", existing=Existing.REPLACE)
    assert judge(anew, TRUST).outcome is TRUSTED
    more = sign_inside(path, RELEASE, tmp_path / "more.jar", "jar", existing=Existing.ADD)
    assert [one.accepted for one in judge(more, TRUST).signers] == [True, True]
    bad = rebuilt(path, lambda files: files.update({"fw.bin": b"other"}))
    with pytest.raises(MalformedArtifact):
        sign_inside(bad, RELEASE, tmp_path / "no.jar", "jar", existing=Existing.ADD)
    with pytest.raises(UsageError, match="claims something else"):
        sign_inside(path, RELEASE, tmp_path / "no.jar", "jar", existing=Existing.ADD, claims=Claims(version="9"))
    assert not (tmp_path / "no.jar").exists()


SF, EC, MF = "META-INF/MAKER.SF", "META-INF/MAKER.EC", "META-INF/MANIFEST.MF"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda f: f.update({"fw.bin": b"other"}), "SW-FILE-CHANGED"),
        (lambda f: f.update({"extra.class": b"x"}), "SW-PART-UNSIGNED"),
        (lambda f: f.update({"META-INF/services/x.Y": b"x"}), "SW-PART-UNSIGNED"),
        (lambda f: f.update({"META-INF/SIG-X": b"x"}), "SW-PART-UNSIGNED"),
        (lambda f: f.update({"META-INF/OTHER.SF": b"x"}), "SW-PART-UNSIGNED"),
        (lambda f: f.update({"META-INF/MAKER.RSA": f[EC]}), "SW-SIGNATURE-MISSING"),
        (lambda f: f.pop("fw.bin"), "SW-ARTIFACT-MALFORMED"),
        (lambda f: f.pop(MF), "SW-SIGNATURE-MISSING"),
        (lambda f: f.pop(SF), "SW-SIGNATURE-MISSING"),
        (lambda f: f.pop(EC), "SW-SIGNATURE-MISSING"),
        (lambda f: f.update({SF: f[SF] + b"Name: x\r\n\r\n"}), "SW-FILE-CHANGED"),
        (lambda f: f.update({MF: f[MF] + b"Name: x\r\n\r\n"}), "SW-FILE-CHANGED"),
        (lambda f: f.update({MF: f[MF].replace(b"SHA-256", b"SHA1")}), "SW-PART-UNSIGNED"),
        (lambda f: f.update({EC: p7s(RELEASE, f[SF])}), "SW-SIGNATURE-KIND"),
        (lambda f: f.update({EC: b"no CMS"}), "SW-SIGNATURE-MALFORMED"),
        (lambda f: f.update({"meta-inf/manifest.mf": f[MF]}), "SW-ARTIFACT-MALFORMED"),
        (lambda f: f.update({"META-INF/maker.sf": f[SF]}), "SW-ARTIFACT-MALFORMED"),
    ],
)
def test_an_archive_that_is_not_what_was_signed_is_refused(
    tmp_path: Path, edit: Callable[[dict[str, bytes]], None], code: str
) -> None:
    path = signed(tmp_path)
    assert judge(rebuilt(path, lambda files: None), TRUST).outcome is TRUSTED
    verdict = judge(rebuilt(path, edit), TRUST)
    assert verdict.outcome is REJECTED
    assert code in codes(verdict)


def test_a_statement_that_names_less_than_the_manifest_signs_less(tmp_path: Path) -> None:
    """Java would take the rest for unsigned and go on."""
    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED

    def less(files: dict[str, bytes]) -> None:
        files[SF] = files[SF][: files[SF].index(b"Name: fw.bin")]
        files[EC] = p7s(RELEASE, files[SF], kind="jar")

    assert set(codes(judge(rebuilt(path, less), TRUST))) == {"SW-PART-UNSIGNED"}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: b"MZ stub" + d,
        lambda d: d + b"\0",
        lambda d: d[:-2] + b"\1\0x",
        lambda d: d[: len(d) - 22] + b"gap!" + d[len(d) - 22 :],
        lambda d: d[:-12] + (0).to_bytes(2, "little") + d[-10:],
        lambda d: d.replace(b"fw.bin", b"fw.bix", 1),
        lambda d: d[::-1].replace(b"nib.wf", b"xib.wf", 1)[::-1],
        lambda d: d.replace(b"fw.bin", b"../win"),
        lambda d: d.replace(b"fw.bin", b"fw\\bin"),
        lambda d: d.replace(b"fw.bin", b"empty/"),
        lambda d: b"".join((d[:6], b"\1", d[7:])),
    ],
)
def test_an_archive_with_two_readings_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    data = signed(tmp_path).read_bytes()
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    assert judge(changed(tmp_path, change(data)), TRUST).outcome is REJECTED


def entry_of(data: bytes, name: bytes) -> int:
    """Where a member's entry of the directory begins."""
    return data.rindex(name) - 46


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [(10, b"\x0c\0", "something else"), (16, b"\0\0\0\0", "other sizes"), (24, b"\xff\0\0\0", "other sizes"), (34, b"\1\0", "another name"),
     (32, b"\1\0", "comment"), (8, b"\1\0", "something else")],
)  # fmt: skip
def test_the_directory_says_what_the_headers_say(tmp_path: Path, offset: int, value: bytes, why: str) -> None:
    data = bytearray(signed(tmp_path).read_bytes())
    with open_artifact(str(changed(tmp_path, bytes(data)))) as source:
        assert read_zip(source).members[3].name == "fw.bin"
    at = entry_of(bytes(data), b"fw.bin") + offset
    data[at : at + len(value)] = value
    with open_artifact(str(changed(tmp_path, bytes(data)))) as source, pytest.raises(MalformedArtifact, match=why):
        read_zip(source)


def test_a_folder_has_no_bytes_that_nobody_reads(tmp_path: Path) -> None:
    data = signed(tmp_path).read_bytes()
    folder = data.index(b"data/\x03\x00")
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    for nothing in (b"\x02\x00", b"\x03\x01", b"\xff\xff"):
        bad = data[: folder + 5] + nothing + data[folder + 7 :]
        assert judge(changed(tmp_path, bad), TRUST).outcome is REJECTED


def test_what_is_unpacked_is_as_long_as_it_says(tmp_path: Path) -> None:
    """A bomb says that it is small; a member that goes on behind its end hides something."""
    path = zipped(tmp_path / "a.jar", {"a": bytes(1 << 20)})
    data = path.read_bytes()
    for size in (1000, (1 << 20) + 1):
        lying = data.replace((1 << 20).to_bytes(4, "little"), size.to_bytes(4, "little"))
        with open_artifact(str(changed(tmp_path, lying))) as source:
            member = read_zip(source).members[0]
            with pytest.raises(MalformedArtifact, match=r"longer than|not as long"):
                for _ in contents(source, member):
                    pass
    with open_artifact(str(path)) as source:
        assert sum(len(piece) for piece in contents(source, read_zip(source).members[0])) == 1 << 20


def test_zip64_is_told_as_a_limit(tmp_path: Path) -> None:
    data = zipped(tmp_path / "a.jar").read_bytes()
    huge = data[:-6] + b"\xff\xff\xff\xff" + data[-2:]
    with open_artifact(str(changed(tmp_path, huge))) as source, pytest.raises(LimitExceeded, match="ZIP64"):
        read_zip(source)


def test_every_byte_counts_or_is_told_as_not_covered(tmp_path: Path) -> None:
    plain = zipped(tmp_path / "plain.jar", packing=zipfile.ZIP_STORED)  # deflated data have some bits that nobody reads
    data = sign_inside(plain, RELEASE, tmp_path / "signed.jar", "jar").read_bytes()
    verdict = judge(changed(tmp_path, data), TRUST)
    assert verdict.outcome is TRUSTED
    free = [range(r.start, r.end) for r in verdict.coverage.ranges if r.extent.value != "hashed"]
    for at, bad in flips(data):
        if judge(changed(tmp_path, bad), TRUST).outcome is TRUSTED:
            assert any(at in part for part in free), at
    for bad in truncations(data, step=97):
        assert judge(changed(tmp_path, bad), TRUST).outcome is REJECTED, len(bad)


GOOD = b"Manifest-Version: 1.0\r\n\r\nName: a\r\nSHA-256-Digest: x\r\n\r\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "empty"),
        (b"Created-By: x\n\n", "begin with Manifest-Version"),
        (GOOD[:-2] + b"Name: b\r\n\r\n", "a second Name"),
        (GOOD + b"Name: a\r\n\r\n", "second one for a"),
        (GOOD + b"SHA-256-Digest: x\r\nName: b\r\n\r\n", "without a name"),
        (GOOD.replace(b"1.0\r\n", b"1.0\r\nmanifest-version: 2\r\n"), "a second manifest-version"),
        (GOOD + b"Name: b", "does not end"),
        (GOOD.replace(b"Name: a", b"Name:a"), "no `Name: value`"),
        (GOOD.replace(b"Name: a", b"Name: a\rName: b"), "no `Name: value`"),
        (GOOD.replace(b"Name: a", b"Name: \xff"), "not UTF-8"),
        (b" x\r\n" + GOOD, "continues nothing"),
    ],
)
def test_a_manifest_with_two_readings_is_refused(text: bytes, why: str) -> None:
    assert list(read_manifest(GOOD, "x").sections) == ["a"]
    with pytest.raises(MalformedArtifact, match=why):
        read_manifest(text, "x")


def test_long_lines_are_continued_at_72_octets() -> None:
    name = "\u00e4" * 200
    text = section([("Name", name), ("A", "")])
    assert all(len(line) <= 72 for line in text.split(b"\r\n"))
    assert read_manifest(b"Manifest-Version: 1.0\r\n\r\n" + text, "x").sections == {name: {"A": ""}}


def test_the_command_finds_the_format(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "b.jar"
    assert main(["init", str(home)]) == 0
    plain = zipped(tmp_path / "a.jar")
    assert main(["sign", str(plain), "--home", str(home), "--out", str(out), "--product", "VX", "--version", "7"]) == 0
    assert main(["verify", str(out), "--trust", str(home / "trust.toml"), "--product", "VX"]) == 0
    assert set(FILES) < set(zipfile.ZipFile(out).namelist())
    zipped(tmp_path / "docs.zip")
    with pytest.raises(SealwrightError):
        sign_inside(tmp_path / "home" / "trust.toml", RELEASE, tmp_path / "no", "jar")
