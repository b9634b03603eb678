"""JAR archives before jarsigner and java.util.jar: what we sign they accept, what is altered they refuse, and the other way round."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from kit.archives import (
    FILES,
    anchors,
    jarsigner,
    java_reads,
    signature_block,
    signed_by_jarsigner,
    with_member,
    zipped,
)
from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.pki import Pki
from kit.trust import believed, codes, judge
from sealwright.formats.format import Existing
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EVIL = Pki.make("EVIL")
RELEASE = PKI.leaf()


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
def test_jarsigner_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    plain, store = zipped(tmp_path / "plain.jar"), anchors(tmp_path, PKI)
    signed = sign_inside(plain, PKI.leaf(kind=kind), tmp_path / "signed.jar", "jar", tsa=PKI.tsa())
    accepted, words = jarsigner(signed, store)
    assert accepted, words
    assert judge(signed, believed(PKI)).outcome is TRUSTED
    block = signature_block(signed)
    cms = zipfile.ZipFile(signed).read(block)
    value = bytes(byte ^ (index == 1200) for index, byte in enumerate(cms))
    for name, data in (
        ("fw.bin", b"other"),
        ("extra", b"x"),
        ("META-INF/MAKER.SF", b"Signature-Version: 1.0\r\n\r\n"),
        (block, value),
    ):
        bad = with_member(signed, name, data, tmp_path / "bad.jar")
        assert not jarsigner(bad, store)[0], name
        assert judge(bad, believed(PKI)).outcome is REJECTED, name
    accepted, words = jarsigner(signed, anchors(tmp_path, EVIL, "evil"))
    assert not accepted
    assert judge(signed, believed(EVIL)).outcome is REJECTED
    bare = stripped(signed, tmp_path / "bare.jar", "jar")
    assert not jarsigner(bare, store)[0]
    assert codes(judge(bare, believed(PKI))) == ["SW-SIGNATURE-MISSING"]


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA3072])
def test_we_trust_what_jarsigner_signs(tmp_path: Path, kind: KeyKind) -> None:
    made = signed_by_jarsigner(zipped(tmp_path / "made.jar"), PKI.leaf(kind=kind))
    accepted, words = jarsigner(made, anchors(tmp_path, PKI))
    assert accepted, words
    verdict = judge(made, believed(PKI))
    assert (verdict.outcome, verdict.format) == (TRUSTED, "jar")
    assert judge(made, believed(EVIL)).outcome is REJECTED


def test_signers_stand_side_by_side(tmp_path: Path) -> None:
    store = anchors(tmp_path, PKI)
    ours = sign_inside(zipped(tmp_path / "plain.jar"), RELEASE, tmp_path / "ours.jar", "jar")
    both = sign_inside(ours, PKI.leaf(kind=KeyKind.RSA3072), tmp_path / "both.jar", "jar", existing=Existing.ADD)
    theirs = signed_by_jarsigner(zipped(tmp_path / "theirs.jar"), RELEASE)
    three = sign_inside(theirs, RELEASE, tmp_path / "three.jar", "jar", existing=Existing.ADD)
    for path, signers in ((both, 2), (three, 2)):
        accepted, words = jarsigner(path, store)
        assert accepted, words
        verdict = judge(path, believed(PKI))
        assert (verdict.outcome, len(verdict.signers)) == (TRUSTED, signers)


def test_every_byte_that_we_accept_changed_java_accepts_too(tmp_path: Path) -> None:
    plain = zipped(tmp_path / "plain.jar", {"a": b"hello", "b/c": b"there" * 9})
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.jar", "jar")
    assert java_reads([signed]) == [True]
    accepted = []
    for at, data in flips(signed.read_bytes()):
        bad = tmp_path / f"{at}.jar"
        bad.write_bytes(data)
        if judge(bad, believed(PKI)).outcome is TRUSTED:
            accepted.append(bad)
        else:
            bad.unlink()
    assert len(accepted) > 5  # dates and attributes are nobody's
    refused = [path.name for path, ok in zip(accepted, java_reads(accepted), strict=True) if not ok]
    assert refused == []


def test_names_in_the_archive_are_those_java_knows(tmp_path: Path) -> None:
    signed = sign_inside(zipped(tmp_path / "plain.jar"), RELEASE, tmp_path / "signed.jar", "jar")
    assert set(FILES) < set(zipfile.ZipFile(signed).namelist())
    assert zipfile.ZipFile(signed).testzip() is None
    assert java_reads([signed]) == [True]
