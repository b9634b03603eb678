"""PowerShell files before osslsigncode: what we sign it accepts, what is altered it refuses, and what it signs we read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.efi import osslsigncode
from kit.inside import sign_inside
from kit.mutate import flips
from kit.pki import Pki
from kit.powershell import FILES, signed_by_osslsigncode
from kit.trust import believed, judge
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EVIL = Pki.make("EVIL")
RELEASE = PKI.leaf()


def anchors(folder: Path, pki: Pki = PKI) -> Path:
    path = folder / ("ca.pem" if pki is PKI else "evil.pem")
    path.write_text(pki.root.pem)
    return path


def changed(path: Path, data: bytes) -> Path:
    bad = path.with_name(f"bad{path.suffix}")
    bad.write_bytes(data)
    return bad


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA3072])
@pytest.mark.parametrize("name", FILES)
def test_osslsigncode_accepts_what_we_sign_and_refuses_what_is_altered(
    tmp_path: Path, name: str, kind: KeyKind
) -> None:
    plain = tmp_path / name
    plain.write_bytes(FILES[name])
    signed = sign_inside(plain, PKI.leaf(kind=kind), tmp_path / f"signed{plain.suffix}", "powershell", tsa=PKI.tsa())
    accepted, words = osslsigncode(signed, anchors(tmp_path))
    assert accepted, words
    assert "Timestamp Server Signature verification: ok" in words
    assert judge(signed, believed(PKI)).outcome is TRUSTED
    assert not osslsigncode(plain, anchors(tmp_path))[0]
    accepted, words = osslsigncode(signed, anchors(tmp_path, EVIL))
    assert not accepted
    assert judge(signed, believed(EVIL)).outcome is REJECTED
    bare = sign_inside(plain, PKI.leaf(kind=kind), tmp_path / f"bare{plain.suffix}", "powershell")
    assert osslsigncode(bare, anchors(tmp_path))[0]
    data = bare.read_bytes()
    wide = name.startswith("utf16")
    value = data.rindex("SIG # End".encode("utf-16-le" if wide else "utf-8")) - (300 if wide else 150)
    for at in (len(FILES[name]) // 4 * 2, value // 2 * 2):
        bad = changed(signed, data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :])
        assert not osslsigncode(bad, anchors(tmp_path))[0], at
        assert judge(bad, believed(PKI)).outcome is REJECTED, at


@pytest.mark.parametrize("name", FILES)
def test_we_trust_what_osslsigncode_signs(tmp_path: Path, name: str) -> None:
    plain = tmp_path / name
    plain.write_bytes(FILES[name])
    theirs = signed_by_osslsigncode(plain, RELEASE, tmp_path / f"theirs{plain.suffix}")
    assert osslsigncode(theirs, anchors(tmp_path))[0]
    verdict = judge(theirs, believed(PKI))
    assert (verdict.outcome, verdict.format) == (TRUSTED, "powershell")
    assert judge(theirs, believed(EVIL)).outcome is REJECTED


def test_every_byte_that_we_accept_changed_osslsigncode_accepts_too(tmp_path: Path) -> None:
    plain = tmp_path / "a.ps1"
    plain.write_bytes(FILES["crlf.ps1"])
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.ps1", "powershell")
    ring = anchors(tmp_path)
    assert osslsigncode(signed, ring)[0]
    for at, data in flips(signed.read_bytes()):
        bad = changed(signed, data)
        if judge(bad, believed(PKI)).outcome is TRUSTED:
            accepted, words = osslsigncode(bad, ring)
            assert accepted, (at, words)
