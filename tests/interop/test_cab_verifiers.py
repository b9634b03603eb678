"""Cabinets before osslsigncode and gcab: what we sign it accepts, what is altered it refuses, and what it signs we read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.cabinets import RESERVE, cabinet, gcab
from kit.efi import osslsigncode
from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.openssl import run
from kit.packages import number, put
from kit.pki import Pki
from kit.powershell import signed_by_osslsigncode
from kit.trust import believed, judge
from sealwright.formats.format import Existing
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
    bad = path.with_name("bad.cab")
    bad.write_bytes(data)
    return bad


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
@pytest.mark.parametrize("options", [(), ("-z",)])
def test_osslsigncode_accepts_what_we_sign_and_refuses_what_is_altered(
    tmp_path: Path, options: tuple[str, ...], kind: KeyKind
) -> None:
    plain, release, ring = gcab(tmp_path, *options), PKI.leaf(kind=kind), anchors(tmp_path)
    signed = sign_inside(plain, release, tmp_path / "signed.cab", "cab", tsa=PKI.tsa())
    accepted, words = osslsigncode(signed, ring)
    assert accepted, words
    assert "Timestamp Server Signature verification: ok" in words
    assert judge(signed, believed(PKI)).outcome is TRUSTED
    assert not osslsigncode(plain, ring)[0]
    assert not osslsigncode(signed, anchors(tmp_path, EVIL))[0]
    assert judge(signed, believed(EVIL)).outcome is REJECTED
    data = sign_inside(plain, release, tmp_path / "bare.cab", "cab").read_bytes()
    for at, reason in ((200, "MISMATCH!!!"), (len(data) - 24, "")):
        bad = changed(signed, data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :])
        accepted, words = osslsigncode(bad, ring)
        assert not accepted, at
        assert reason in words
        assert judge(bad, believed(PKI)).outcome is REJECTED, at


def test_a_signed_cabinet_is_still_a_cabinet(tmp_path: Path) -> None:
    plain = gcab(tmp_path)
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.cab", "cab")
    assert run(["gcab", "-t", signed]) == run(["gcab", "-t", plain]) == (True, "a.bin\nb.txt\n")
    (tmp_path / "out").mkdir()
    assert run(["gcab", "-x", signed, "-C", tmp_path / "out"])[0]
    assert (tmp_path / "out" / "a.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()
    assert stripped(signed, tmp_path / "bare.cab", "cab").read_bytes() == plain.read_bytes()


def test_we_trust_what_osslsigncode_signs(tmp_path: Path) -> None:
    plain, ring = gcab(tmp_path), anchors(tmp_path)
    theirs = signed_by_osslsigncode(plain, RELEASE, tmp_path / "theirs.cab")
    assert osslsigncode(theirs, ring)[0]
    verdict = judge(theirs, believed(PKI))
    assert (verdict.outcome, verdict.format) == (TRUSTED, "cab")
    assert judge(theirs, believed(EVIL)).outcome is REJECTED
    ours = sign_inside(plain, RELEASE, tmp_path / "ours.cab", "cab").read_bytes()
    both = theirs.read_bytes()
    assert ours[:48] + ours[52 : number(ours, 44)] == both[:48] + both[52 : number(both, 44)]
    assert stripped(theirs, tmp_path / "bare.cab", "cab").read_bytes() == plain.read_bytes()
    again = sign_inside(theirs, PKI.leaf(), tmp_path / "again.cab", "cab", existing=Existing.REPLACE)
    assert osslsigncode(again, ring)[0]
    nested = signed_by_osslsigncode(theirs, PKI.leaf(), tmp_path / "nested.cab", "-nest")
    assert osslsigncode(nested, ring)[0]
    assert len(judge(nested, believed(PKI)).signers) == 2
    assert judge(nested, believed(PKI)).outcome is TRUSTED


def test_a089_data_that_go_on_in_the_signature_are_refused_though_osslsigncode_signs_them(tmp_path: Path) -> None:
    """A reader then takes as the file's end what is the signature, and of that much is nobody's word."""
    plain, ring = tmp_path / "a.cab", anchors(tmp_path)
    for data, wanted in ((cabinet(b"x" * 300), TRUSTED), (cabinet(b"x" * 300)[:-200], REJECTED)):
        plain.write_bytes(put(data, 8, len(data)))
        theirs = signed_by_osslsigncode(plain, RELEASE, tmp_path / f"{wanted}.cab")
        assert osslsigncode(theirs, ring)[0]
        assert judge(theirs, believed(PKI)).outcome is wanted


def test_a_reserve_that_build_tools_left_is_used(tmp_path: Path) -> None:
    plain = tmp_path / "a.cab"
    plain.write_bytes(cabinet(reserve=RESERVE))
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.cab", "cab")
    accepted, words = osslsigncode(signed, anchors(tmp_path))
    assert accepted, words


def test_every_byte_that_we_accept_changed_osslsigncode_accepts_too(tmp_path: Path) -> None:
    plain = tmp_path / "a.cab"
    plain.write_bytes(cabinet())
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.cab", "cab")
    ring = anchors(tmp_path)
    assert osslsigncode(signed, ring)[0]
    for at, data in flips(signed.read_bytes()):
        bad = changed(signed, data)
        if judge(bad, believed(PKI)).outcome is TRUSTED:
            accepted, words = osslsigncode(bad, ring)
            assert accepted, (at, words)
