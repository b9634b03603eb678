"""Files that one reader takes for what was signed, and another one for something else: containers, scripts, archives, trees."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import inside
from kit.archives import zipped
from kit.efi import tiny
from kit.inside import sign_inside
from kit.signedfiles import MAKERS, PKI, RELEASE, RSA, SCRIPT, TRUST, format_of
from kit.trust import codes, judge
from kit.updates import DESCRIPTION, archive, packed
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact
from sealwright.envelope.asn1 import der
from sealwright.errors import SealwrightError
from sealwright.formats.cpio import read_archive
from sealwright.formats.devicetree import Tree, read_tree
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Extent, Search
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED


def made(folder: Path, name: str) -> tuple[Path, bytes]:
    """A sample that is trusted, and its bytes: each refusal's twin."""
    path = MAKERS[name](folder)
    assert judge(path, TRUST).outcome is TRUSTED
    return path, path.read_bytes()


def refused(path: Path, data: bytes) -> str:
    """What is said of other bytes at the path, which must be refused."""
    path.write_bytes(data)
    verdict = judge(path, TRUST)
    assert verdict.outcome is REJECTED
    assert all(finding.next_step for finding in verdict.findings if finding.severity == "reject")
    return " ".join(finding.sentence for finding in verdict.findings)


def test_a055_a_payload_behind_the_pkcs_7_of_a_program(tmp_path: Path) -> None:
    path, data = made(tmp_path, "pe")
    (table,) = struct.unpack_from("<I", data, 232)
    (length,) = struct.unpack_from("<I", data, table)
    bad = bytearray(data + b"payload!")
    struct.pack_into("<I", bad, table, length + 8)
    struct.pack_into("<I", bad, 236, length + 8)
    assert "more than one PKCS #7 and its padding" in refused(path, bytes(bad))


def test_a058_what_authenticode_leaves_out_changes_the_files_digest_and_nothing_that_is_signed(tmp_path: Path) -> None:
    """A verdict names what is not hashed; the digest of the whole file, which a release names, is another one."""
    path, data = made(tmp_path, "pe")
    fresh = judge(path, TRUST)
    place = struct.unpack_from("<I", data, 60)[0] + 24 + 64
    left_out = {
        at for one in fresh.coverage.ranges if one.extent is not Extent.HASHED for at in range(one.start, one.end)
    }
    assert left_out >= {*range(place, place + 4)}
    changed = bytearray(data)
    changed[place : place + 4] = bytes(one ^ 0x5A for one in changed[place : place + 4])
    path.write_bytes(changed)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.artifact) == (TRUSTED, fresh.artifact)
    assert hashlib.sha256(changed).digest() != hashlib.sha256(data).digest()
    assert refused(path, data[:-1] + bytes([data[-1] ^ 0x5A])), "the padding behind the signature is not left out"
    directory = struct.unpack_from("<I", data, 60)[0] + 24 + 112 + 4 * 8
    for at in (directory, directory + 4):
        assert refused(path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("name", MAKERS)
def test_a059_an_archive_is_appended_to_what_is_signed(tmp_path: Path, name: str) -> None:
    path, data = made(tmp_path, name)
    assert refused(path, data + zipped(tmp_path / "evil.zip").read_bytes())


def test_a059_an_archive_in_the_unsigned_part_of_a_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authenticode signs no unsigned attributes, and Java finds an archive by its end, up to 64 KiB in front of the file's."""
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as evil:
        evil.writestr("Evil.class", b"evil")
    (tmp_path / "plain.efi").write_bytes(tiny())
    for content, outcome in ((b"no archive", TRUSTED), (hidden.getvalue(), REJECTED)):
        token = der(0x30, der(0x04, content))
        monkeypatch.setattr(inside, "token", lambda *_, token=token: token)
        monkeypatch.setattr(inside, "check_attached", lambda *_: None)
        path = sign_inside(tmp_path / "plain.efi", RSA, tmp_path / f"{outcome}.jar", tsa=PKI.tsa())
        assert judge(path, TRUST).outcome is outcome
    assert zipfile.ZipFile(path).namelist() == ["Evil.class"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "Remove-Item C:\\plant\r\n",
        lambda text: text + "\r\n",
        lambda text: text + text,
        lambda text: text[: text.index("\r\n# SIG")] + text[text.index("\r\n# SIG") :].replace("\r\n", "\r"),
        lambda text: text.replace("\r\n", "\n"),
        lambda text: text.replace("# SIG # End", "Remove-Item C:\\plant\r\n# SIG # End"),
        lambda text: text.removeprefix("\ufeff"),
        lambda text: text.replace("\ufeff", "\ufeff# SIG # Begin signature block\r\n", 1),
    ],
    ids=["behind", "line", "second block", "carriage returns", "line feeds", "in the block", "mark", "begun in front"],
)
def test_a062_a_script_around_its_signature_block(tmp_path: Path, change: Callable[[str], str]) -> None:
    path, data = made(tmp_path, "powershell")
    assert refused(path, change(data.decode()).encode())


def test_a062_the_same_text_in_another_encoding(tmp_path: Path) -> None:
    """Authenticode signs the text: where a byte order mark says how it is written, PowerShell reads the same; else it is refused."""
    path, data = made(tmp_path, "powershell")
    refused(path, data.decode().encode("utf-16-be"))
    refused(path, data.decode("utf-8-sig").encode("utf-16-le"))
    refused(path, data.decode("utf-8-sig").replace("plant", "pl\u00e4nt").encode("latin-1"))
    path.write_bytes(data.decode().encode("utf-16-le"))
    assert judge(path, TRUST).outcome is TRUSTED


def rezipped(source: Path, path: Path, change: Callable[[zipfile.ZipFile], None], *, drop: str = "") -> bytes:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for one in old.infolist():
            if one.filename != drop:
                new.writestr(one, old.read(one))
        change(new)
    return path.read_bytes()


def adding(name: str, data: bytes = b"evil", mode: int = 0) -> Callable[[zipfile.ZipFile], None]:
    info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
    info.external_attr = mode << 16

    def change(new: zipfile.ZipFile) -> None:
        new.writestr(info, data)

    return change


def test_a064_a_member_that_is_there_twice(tmp_path: Path) -> None:
    path, data = made(tmp_path, "jar")
    (tmp_path / "good.jar").write_bytes(data)
    with pytest.warns(UserWarning, match="Duplicate"):
        bad = rezipped(tmp_path / "good.jar", tmp_path / "again.jar", adding("fw.bin"))
    assert "a second member fw.bin" in refused(path, bad)


@pytest.mark.parametrize(
    "name", ["new.txt", "META-INF/x.txt", "META-INF/services/x", "META-INF/SIG-X", "META-INF/versions/9/a.class"]
)
def test_a066_a_member_that_nobody_signed(tmp_path: Path, name: str) -> None:
    path, data = made(tmp_path, "jar")
    (tmp_path / "good.jar").write_bytes(data)
    bad = rezipped(tmp_path / "good.jar", tmp_path / "again.jar", adding(name))
    assert f"{name} is not covered" in refused(path, bad)


def test_a067_an_update_with_a_script_that_its_description_does_not_name(tmp_path: Path) -> None:
    path, _ = made(tmp_path, "swupdate")
    content = tmp_path / "again"
    content.mkdir()
    with open_artifact(str(path)) as source:
        members = read_archive(source).members
        for one in members:
            (content / one.name).write_bytes(source.read_at(one.data, one.size))
    (content / "preinst.sh").write_bytes(b"#!/bin/sh\n")
    bad = packed(content, [*(one.name for one in members), "preinst.sh"], tmp_path / "again.swu").read_bytes()
    assert "preinst.sh" in refused(path, bad)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/x",
        "C:/x",
        "a\\x",
        "//srv/x",
        "a/../../x",
        "a//x",
        "./x",
        "a/.",
        "..",
        "x\n",
        "x\x1b[2J",
        "x\u202e",
        "a:b",
    ],
)
def test_a068_a_name_that_leads_elsewhere_or_hides(tmp_path: Path, name: str) -> None:
    """Refused when it is to be signed, and where somebody else has signed it, before anything else of the archive is looked at."""
    assert sign_inside(zipped(tmp_path / "good.jar", {"x": b"good"}), RELEASE, tmp_path / "signed.jar", "jar")
    plain = zipped(tmp_path / "bad.jar", {name: b"evil"})
    with pytest.raises(SealwrightError, match="the name"):
        sign_inside(plain, RELEASE, tmp_path / "signed-bad.jar", "jar")
    assert not (tmp_path / "signed-bad.jar").exists()
    assert "the name" in refused(plain, plain.read_bytes())


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFIFO, stat.S_IFREG | 0o4755])
def test_a069_a071_a_member_becomes_a_link_a_device_or_setuid(tmp_path: Path, mode: int) -> None:
    """The mode is in the directory, which nothing signs; the content of the file would be the link's target."""
    path = sign_inside(zipped(tmp_path / "plain.jar", {"to": b"/etc"}), RELEASE, tmp_path / "signed.jar", "jar")
    assert judge(path, TRUST).outcome is TRUSTED
    data = bytearray(path.read_bytes())
    at = data.rindex(b"to") - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    for allowed in (stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, 0):
        data[at + 38 : at + 42] = (allowed << 16).to_bytes(4, "little")
        path.write_bytes(data)
        assert judge(path, TRUST).outcome is TRUSTED
    data[at + 38 : at + 42] = (mode << 16).to_bytes(4, "little")
    assert "a link, a device, or runs as its owner" in refused(path, bytes(data))


@pytest.mark.parametrize("name", MAKERS)
def test_a078_nothing_is_no_signed_file(tmp_path: Path, name: str) -> None:
    path, data = made(tmp_path, name)
    for some in (b"", data[:1], data[:8], bytes(len(data))):
        assert refused(path, some)
    path.write_bytes(b"")
    if name == "powershell":  # an empty script is a script
        return
    with pytest.raises(SealwrightError):
        embedded_format(format_of(name)).prepare(str(path), (HashName.SHA256,), Claims(), Existing.REFUSE, None)


def test_a079_a_description_in_json_that_says_a_name_twice(tmp_path: Path) -> None:
    good = b'{"software": {"version": "2", "files": []}}'
    assert sign_inside(archive(tmp_path, None, {"sw-description": good}), RELEASE, tmp_path / "s.swu", "swupdate")
    for bad in (
        b'{"software": {"version": "2", "version": "1"}}',
        b'{"software": {"version": "2"}, "software": {"version": "1"}}',
        (DESCRIPTION % ("0" * 64)).replace("files:", 'version = "1"; files:').encode(),
    ):
        plain = archive(tmp_path, None, {"sw-description": bad}, name=f"bad{len(bad)}")
        with pytest.raises(SealwrightError, match="twice"):
            sign_inside(plain, RELEASE, tmp_path / "no.swu", "swupdate")


def edited(path: Path, change: Callable[[Tree], Tree]) -> bytes:
    with open_artifact(str(path)) as source:
        pieces = change(read_tree(source)).pieces(path.stat().st_size)
        return b"".join(
            one if isinstance(one, bytes) else source.read_at(one.start, one.end - one.start) for one in pieces
        )


def test_a085_a_signed_configuration_is_copied_and_made_the_default(tmp_path: Path) -> None:
    path, _ = made(tmp_path, "fit")
    text = {"kernel": b"kernel\0", "fdt": b"fdt-1\0"}
    bad = edited(
        path,
        lambda tree: (
            tree.with_node("/configurations/evil")
            .with_properties("/configurations/evil", text)
            .with_properties("/configurations", {"default": b"evil\0"})
        ),
    )
    assert "/configurations/evil" in refused(path, bad)


@pytest.mark.parametrize("how", ["data-position", "data-offset"])
def test_a085_an_image_that_lies_in_two_places(tmp_path: Path, how: str) -> None:
    """Neither place is signed: U-Boot takes the outer one, the signature's hash is of the inner one."""
    path, data = made(tmp_path, "fit")
    node = "/images/kernel"
    bad = edited(path, lambda tree: tree.with_properties(node, {how: bytes(4), "data-size": (64).to_bytes(4, "big")}))
    assert "has no data, or two" in refused(path, bad)
    assert data != bad


@pytest.mark.parametrize("kind", [0x40, 0x50, 0x60, 0xA0])
def test_a087_an_unprotected_tlv_that_should_be_protected(tmp_path: Path, kind: int) -> None:
    path, data = made(tmp_path, "mcuboot")
    (size,) = struct.unpack_from("<I", data, 12)
    (protected,) = struct.unpack_from("<H", data, 10)
    at = 512 + size + protected
    magic, length = struct.unpack_from("<HH", data, at)
    assert magic == 0x6907
    extra = struct.pack("<HH", kind, 4) + bytes(4)
    body = data[at + 4 : at + length]
    for entries in (extra + body, body + extra):
        refused(path, data[:at] + struct.pack("<HH", magic, length + 8) + entries)


@pytest.mark.parametrize("name", MAKERS)
def test_a089_coverage_tiles_the_file_whatever_its_tables_say(tmp_path: Path, name: str) -> None:
    path, data = made(tmp_path, name)
    with open_artifact(str(path)) as source:
        known = judge(path, TRUST).coverage
        found = embedded_format(format_of(name)).extract(
            str(path), Search(source=source, certificates=TRUST.certificates)
        )
    assert known.ranges[-1].end == len(data)
    for candidate in found.candidates:
        assert candidate.coverage.ranges[-1].end == len(data)
        assert all(part.reason for part in candidate.coverage.ranges if part.extent.value == "uncovered")


def test_a076_names_of_files_are_shown_and_never_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sealwright.cli.main import main

    for name in ("--key=x.ps1", "$(id).ps1", ";reboot.ps1", "a\nb.ps1", "\x1b[31m.ps1", "-.ps1"):
        (tmp_path / name).write_bytes(SCRIPT)
        assert sign_inside(tmp_path / name, RELEASE, tmp_path / f"s{name}", "powershell")
        assert judge(tmp_path / f"s{name}", TRUST).outcome is TRUSTED
        assert main(["inspect", str(tmp_path / f"s{name}")]) == 0
        assert "\x1b" not in capsys.readouterr().out
    assert codes(judge(tmp_path / "--key=x.ps1", TRUST)) == ["SW-SIGNATURE-MISSING"]
    assert Digest.of(SCRIPT) == Digest.of((tmp_path / "-.ps1").read_bytes())
