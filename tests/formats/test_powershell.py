"""PowerShell files: what is hashed, where the signature stands, and every file that two readers could read differently."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, p7s
from kit.powershell import FILES
from kit.trust import believed, codes, judge
from sealwright.artifact.claims import Claims
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.formats.format import Existing
from sealwright.trust.verdict import Outcome, Purpose

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
TRUST = believed(PKI)
BEGIN = b"# SIG # Begin signature block"


def signed(folder: Path, name: str = "crlf.ps1", out: str = "signed") -> Path:
    plain = folder / name
    plain.write_bytes(FILES[name])
    return sign_inside(plain, RELEASE, folder / f"{out}{plain.suffix}", "powershell")


def changed(folder: Path, data: bytes, name: str = "changed.ps1") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_trusted_and_stripped_to_itself(tmp_path: Path, name: str) -> None:
    path = signed(tmp_path, name)
    assert path.read_bytes().startswith(FILES[name])
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "powershell")
    bare = stripped(path, tmp_path / f"bare{path.suffix}", "powershell")
    assert bare.read_bytes() == FILES[name]
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.ps1", "powershell")


def test_signing_again_replaces(tmp_path: Path) -> None:
    path = signed(tmp_path)
    again = sign_inside(path, PKI.leaf(), tmp_path / "again.ps1", "powershell", existing=Existing.REPLACE)
    assert judge(again, TRUST).outcome is TRUSTED
    assert again.read_bytes().count(BEGIN) == 1
    for existing, why in ((Existing.REFUSE, "signed already"), (Existing.ADD, "reads one signature")):
        with pytest.raises(UsageError, match=why):
            sign_inside(path, RELEASE, tmp_path / "no.ps1", "powershell", existing=existing)
    with pytest.raises(UsageError, match="has no fields"):
        sign_inside(path, RELEASE, tmp_path / "no.ps1", "powershell", claims=Claims(version="1"))
    with pytest.raises(UsageError, match="by their ending"):
        sign_inside(changed(tmp_path, b"x", "a.txt"), RELEASE, tmp_path / "no.ps1", "powershell")
    assert not (tmp_path / "no.ps1").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d + b"Remove-Item C:\\\r\n",
        lambda d: d + b"\r\n",
        lambda d: d[:-2],
        lambda d: b"<#\r\n" + BEGIN + b"\r\n#>\r\n" + d,
        lambda d: d[: d.index(BEGIN) - 2] + d[d.index(BEGIN) - 2 :] * 2,
        lambda d: d.replace(BEGIN, BEGIN.lower()),
        lambda d: d.replace(b"\r\n" + BEGIN, b"; " + BEGIN),
        lambda d: d.replace(b"\r\n", b"\n"),
        lambda d: d.replace(BEGIN + b"\r\n# ", BEGIN + b"\r\n#  "),
        lambda d: d.replace(BEGIN + b"\r\n", BEGIN + b"\r\nRemove-Item C:\\\r\n"),
        lambda d: d[: d.index(BEGIN)] + BEGIN + b"\r\n# SIG # End signature block\r\n",
        lambda d: d[: d.index(BEGIN)] + BEGIN + b"\r\n",
        lambda d: d[d.index(BEGIN) :],
        lambda d: b"\xff\xfe" + d.decode().encode("utf-16-le"),
        lambda d: d.replace(b"Get-Date", b"Get-Dat\xe9"),
    ],
)
def test_a_file_that_could_be_read_differently_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    data = signed(tmp_path).read_bytes()
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    assert judge(changed(tmp_path, change(data)), TRUST).outcome is REJECTED


def test_errors_name_the_line(tmp_path: Path) -> None:
    data = signed(tmp_path).read_bytes()
    two = changed(tmp_path, data.replace(b"Get-Date", b"# sig # BEGIN signature block"))
    (finding,) = [f for f in judge(two, TRUST).findings if f.code == "SW-ARTIFACT-MALFORMED"]
    assert "line 4: a second" in finding.found
    with pytest.raises(MalformedArtifact, match="line 4"):
        sign_inside(two, RELEASE, tmp_path / "no.ps1", "powershell", existing=Existing.REPLACE)


def test_the_comment_is_that_of_the_name(tmp_path: Path) -> None:
    """PowerShell finds no signature in XML comments of a .ps1 file, so neither do we."""
    data = signed(tmp_path, "view.ps1xml").read_bytes()
    assert judge(changed(tmp_path, data, "other.ps1xml"), TRUST).outcome is TRUSTED
    assert judge(changed(tmp_path, data, "other.ps1"), TRUST).outcome is REJECTED
    assert codes(judge(changed(tmp_path, data, "other.txt"), TRUST)) == ["SW-SIGNATURE-MISSING"]


def test_signatures_for_other_things_do_not_count(tmp_path: Path) -> None:
    """A signature of a PE program's digest, or of a file's, is none of a script."""
    import base64

    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    encoded = base64.b64encode(p7s(RELEASE, FILES["crlf.ps1"])).decode()
    lines = "".join(f"# {encoded[at : at + 64]}\r\n" for at in range(0, len(encoded), 64)).encode()
    data = FILES["crlf.ps1"] + b"\r\n" + BEGIN + b"\r\n" + lines + b"# SIG # End signature block\r\n"
    assert judge(changed(tmp_path, data), TRUST).outcome is REJECTED


def test_every_byte_counts(tmp_path: Path) -> None:
    data = signed(tmp_path).read_bytes()
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    for at, bad in flips(data):
        verdict = judge(changed(tmp_path, bad), TRUST)
        # certificates above the signer's and unsigned attributes may change without changing who signed what
        assert verdict.outcome is REJECTED or at > data.index(BEGIN), at
    for bad in truncations(data, step=7):
        assert judge(changed(tmp_path, bad), TRUST).outcome is REJECTED, len(bad)


def test_large_files_are_refused(tmp_path: Path) -> None:
    signed(tmp_path)
    with pytest.raises(LimitExceeded):
        sign_inside(changed(tmp_path, b"#" * ((16 << 20) + 1)), RELEASE, tmp_path / "no.ps1", "powershell")


def test_the_command_finds_the_format_by_the_name(tmp_path: Path) -> None:
    home, plain, out = tmp_path / "home", tmp_path / "a.ps1", tmp_path / "b.ps1"
    plain.write_bytes(FILES["crlf.ps1"])
    assert main(["init", str(home)]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--out", str(out)]) == 0
    assert BEGIN in out.read_bytes()
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 0
    assert judge(signed(tmp_path, out="run"), TRUST, purpose=Purpose.RUN).outcome is TRUSTED
