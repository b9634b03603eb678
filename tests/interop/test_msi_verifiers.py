"""Packages before osslsigncode and msiinfo: what we sign it accepts, what is altered it refuses, and what it signs we read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.efi import osslsigncode
from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.openssl import run
from kit.packages import entry, package, storage, stream, wixl
from kit.pki import Pki
from kit.powershell import signed_by_osslsigncode
from kit.trust import believed, codes, judge
from sealwright.artifact.digest import HashName
from sealwright.artifact.source import open_artifact
from sealwright.formats.format import Existing
from sealwright.formats.msi import read_package
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EVIL = Pki.make("EVIL")
RELEASE = PKI.leaf()
MISMATCH = "MISMATCH!!!"


def anchors(folder: Path, pki: Pki = PKI) -> Path:
    path = folder / ("ca.pem" if pki is PKI else "evil.pem")
    path.write_text(pki.root.pem)
    return path


def changed(path: Path, data: bytes) -> Path:
    bad = path.with_name("bad.msi")
    bad.write_bytes(data)
    return bad


def listed(path: Path) -> set[str]:
    made, words = run(["msiinfo", "streams", path])
    assert made, words
    return set(words.split())


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
@pytest.mark.parametrize("maker", [wixl, lambda folder: package(folder / "small.msi", sector=4096)])
def test_osslsigncode_accepts_what_we_sign_and_refuses_what_is_altered(
    tmp_path: Path, maker: object, kind: KeyKind
) -> None:
    assert callable(maker)
    plain = maker(tmp_path)
    release, ring = PKI.leaf(kind=kind), anchors(tmp_path)
    signed = sign_inside(plain, release, tmp_path / "signed.msi", "msi", tsa=PKI.tsa())
    accepted, words = osslsigncode(signed, ring)
    assert accepted, words
    assert "Timestamp Server Signature verification: ok" in words
    assert "Warning" not in words, "it finds MsiDigitalSignatureEx"
    assert judge(signed, believed(PKI)).outcome is TRUSTED
    assert not osslsigncode(plain, ring)[0]
    assert not osslsigncode(signed, anchors(tmp_path, EVIL))[0]
    assert judge(signed, believed(EVIL)).outcome is REJECTED
    data = sign_inside(plain, release, tmp_path / "bare.msi", "msi").read_bytes()
    with open_artifact(tmp_path / "bare.msi") as source:
        found = read_package(source)
    assert found.signature is not None
    for at in (found.hashed[0][0] + 3, found.signature.spans[-1][1] - 8):
        bad = changed(signed, data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :])
        accepted, words = osslsigncode(bad, ring)
        assert not accepted, at
        assert (MISMATCH in words) == (at == found.hashed[0][0] + 3)
        assert judge(bad, believed(PKI)).outcome is REJECTED, at


def test_a_signed_and_a_stripped_package_are_still_packages(tmp_path: Path) -> None:
    plain = wixl(tmp_path)
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.msi", "msi")
    bare = stripped(signed, tmp_path / "bare.msi", "msi")
    assert listed(bare) == listed(plain)
    assert {name.strip("\5") for name in listed(signed) - listed(plain)} == {
        "DigitalSignature",
        "MsiDigitalSignatureEx",
    }
    for table in ("Property", "File", "_SummaryInformation"):
        wanted = run(["msiinfo", "export", plain, table])
        assert wanted[0]
        assert run(["msiinfo", "export", signed, table]) == run(["msiinfo", "export", bare, table]) == wanted
    assert run(["msiinfo", "extract", signed, "tool.cab"])[0]


def test_we_trust_what_osslsigncode_signs_with_the_pre_hash(tmp_path: Path) -> None:
    plain, ring = wixl(tmp_path), anchors(tmp_path)
    theirs = signed_by_osslsigncode(plain, RELEASE, tmp_path / "theirs.msi", "-add-msi-dse")
    assert osslsigncode(theirs, ring)[0]
    verdict = judge(theirs, believed(PKI))
    assert (verdict.outcome, verdict.format) == (TRUSTED, "msi")
    assert judge(theirs, believed(EVIL)).outcome is REJECTED
    ours = sign_inside(plain, RELEASE, tmp_path / "ours.msi", "msi")
    with open_artifact(ours) as one, open_artifact(theirs) as other:
        mine, others = read_package(one), read_package(other)
        assert mine.digest(one, HashName.SHA256) == others.digest(other, HashName.SHA256)
    again = sign_inside(theirs, PKI.leaf(), tmp_path / "again.msi", "msi", existing=Existing.REPLACE)
    assert osslsigncode(again, ring)[0]
    nested = signed_by_osslsigncode(theirs, PKI.leaf(), tmp_path / "nested.msi", "-add-msi-dse", "-nest")
    assert osslsigncode(nested, ring)[0]
    assert judge(nested, believed(PKI)).outcome is TRUSTED
    assert len(judge(nested, believed(PKI)).signers) == 2


def test_without_the_pre_hash_osslsigncode_accepts_a_package_whose_tables_were_renamed(tmp_path: Path) -> None:
    """Why such a signature does not count: one made with the pre-hash becomes one without when that stream is renamed."""
    plain, ring = wixl(tmp_path), anchors(tmp_path)
    theirs = signed_by_osslsigncode(plain, RELEASE, tmp_path / "theirs.msi")
    assert osslsigncode(theirs, ring)[0]
    verdict = judge(theirs, believed(PKI))
    assert verdict.outcome is REJECTED
    assert "SW-PART-UNSIGNED" in codes(verdict)
    ours = sign_inside(package(tmp_path / "a.msi"), RELEASE, tmp_path / "ours.msi", "msi")
    assert osslsigncode(ours, ring)[0]
    assert judge(ours, believed(PKI)).outcome is TRUSTED
    data = ours.read_bytes()
    for name, other in (("\5MsiDigitalSignatureEx", "\4MsiDigitalSignatureEx"), ("Tables", "Tablet")):
        data = data.replace(name.encode("utf-16-le"), other.encode("utf-16-le"))
        forged = changed(ours, data)
        accepted, words = osslsigncode(forged, ring)
        assert accepted, words
        assert "Warning: MsiDigitalSignatureEx stream doesn't exist" in words
        assert codes(judge(forged, believed(PKI))).count("SW-PART-UNSIGNED") == 1
        assert judge(forged, believed(PKI)).outcome is REJECTED


def test_osslsigncode_does_not_see_what_is_hidden(tmp_path: Path) -> None:
    """A059: bytes behind a signed package."""
    signed = sign_inside(package(tmp_path / "a.msi"), RELEASE, tmp_path / "signed.msi", "msi")
    ring, data = anchors(tmp_path), signed.read_bytes()
    assert judge(signed, believed(PKI)).outcome is TRUSTED
    bad = changed(signed, data + b"PK\5\6")
    assert osslsigncode(bad, ring)[0]
    assert judge(bad, believed(PKI)).outcome is REJECTED
    bad = changed(signed, data[: entry(data, "Tables") + 20] + b"hidden" + data[entry(data, "Tables") + 26 :])
    assert osslsigncode(bad, ring)[0]
    assert judge(bad, believed(PKI)).outcome is REJECTED


def test_every_byte_that_we_accept_changed_osslsigncode_accepts_too(tmp_path: Path) -> None:
    plain = package(tmp_path / "a.msi", stream("Tables", b"table"), storage("Patch", stream("Inner", b"inner")))
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.msi", "msi")
    ring = anchors(tmp_path)
    assert osslsigncode(signed, ring)[0]
    tried = 0
    for at, data in flips(signed.read_bytes()):
        bad = changed(signed, data)
        if judge(bad, believed(PKI)).outcome is TRUSTED:
            tried += 1
            accepted, words = osslsigncode(bad, ring)
            assert accepted, (at, words)
    assert tried
