"""SWUpdate archives before swupdate itself, which checks signature, digests and the archive's own checksums."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.inside import sign_inside, stripped
from kit.pki import Pki
from kit.trust import believed, codes, judge
from kit.updates import IMAGE, archive, description, repacked, swupdate, updater
from sealwright.artifact.source import open_artifact
from sealwright.formats.cpio import read_archive
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = updater(PKI)


def keyring(folder: Path, pki: Pki = PKI, name: str = "ca.pem") -> Path:
    """Anchor and intermediate: Debian's swupdate looks for the path in this file alone, not in the signature."""
    path = folder / name
    above = (x509.load_der_x509_certificate(der) for der in updater(pki).chain)
    path.write_text(pki.root.pem + "".join(one.public_bytes(Encoding.PEM).decode() for one in above))
    return path


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS])
def test_swupdate_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    made = sign_inside(archive(tmp_path), updater(PKI, kind=kind), tmp_path / "ours.swu", "swupdate")
    ring = keyring(tmp_path)
    accepted, words = swupdate(made, ring)
    assert accepted, words
    assert "Verified OK" in words
    assert judge(made, believed(PKI)).outcome is TRUSTED
    image = bytes([IMAGE[0] ^ 1]) + IMAGE[1:]
    for number, (change, said, code) in enumerate(
        (
            ({"fw.bin": image}, "HASH mismatch", "SW-FILE-CHANGED"),
            ({"sw-description": description(image), "fw.bin": image}, "erif", "SW-FILE-CHANGED"),
        )
    ):
        (tmp_path / str(number)).mkdir()
        bad = repacked(made, tmp_path / str(number), change)
        accepted, words = swupdate(bad, ring)
        assert not accepted
        assert said in words
        assert code in codes(judge(bad, believed(PKI)))
    accepted, words = swupdate(made, keyring(tmp_path, Pki.make("EVIL"), "evil.pem"))
    assert not accepted
    assert "Authentication of all signatures failed" in words
    assert judge(made, believed(Pki.make("EVIL"))).outcome is REJECTED
    bare = stripped(made, tmp_path / "bare.swu", "swupdate")
    assert not swupdate(bare, ring)[0]
    assert codes(judge(bare, believed(PKI))) == ["SW-SIGNATURE-MISSING"]


def test_an_altered_signature_is_refused_by_both(tmp_path: Path) -> None:
    made, ring = sign_inside(archive(tmp_path), RELEASE, tmp_path / "ours.swu", "swupdate"), keyring(tmp_path)
    assert swupdate(made, ring)[0]
    with open_artifact(str(made)) as source:
        member = read_archive(source).members[1]
        cms = bytearray(source.read_at(member.data, member.size))
    cms[-3] ^= 1
    bad = repacked(made, tmp_path, {"sw-description.sig": bytes(cms)})
    accepted, words = swupdate(bad, ring)
    assert not accepted
    assert "erif" in words
    assert judge(bad, believed(PKI)).outcome is REJECTED


def test_the_device_needs_the_intermediate_beside_the_root(tmp_path: Path) -> None:
    made = sign_inside(archive(tmp_path), RELEASE, tmp_path / "ours.swu", "swupdate")
    assert swupdate(made, keyring(tmp_path))[0]
    (tmp_path / "root.pem").write_text(PKI.root.pem)
    accepted, words = swupdate(made, tmp_path / "root.pem")
    assert not accepted
    assert "Failed to verify certificate 0 in signer sequence" in words


def test_a_timestamp_does_not_disturb_swupdate(tmp_path: Path) -> None:
    made = sign_inside(archive(tmp_path), RELEASE, tmp_path / "ours.swu", "swupdate", tsa=PKI.tsa())
    accepted, words = swupdate(made, keyring(tmp_path))
    assert accepted, words
    assert judge(made, believed(PKI)).times.proved is not None


def test_purposes_are_those_of_key_enrol(tmp_path: Path) -> None:
    made, ring = sign_inside(archive(tmp_path), RELEASE, tmp_path / "ours.swu", "swupdate"), keyring(tmp_path)
    for options in ((), ("--cert-purpose", "codeSigning")):
        accepted, words = swupdate(made, ring, *options)
        assert accepted, words
    for_code = sign_inside(archive(tmp_path, name="code"), PKI.leaf(), tmp_path / "code-signed.swu", "swupdate")
    assert not swupdate(for_code, ring)[0]
    accepted, words = swupdate(for_code, ring, "--cert-purpose", "codeSigning")
    assert accepted, words


@pytest.mark.parametrize("form", ["crc", "newc"])
def test_we_trust_what_openssl_and_cpio_make(tmp_path: Path, form: str) -> None:
    made, ring = archive(tmp_path, RELEASE, form=form), keyring(tmp_path)
    accepted, words = swupdate(made, ring)
    assert accepted, words
    assert judge(made, believed(PKI)).outcome is TRUSTED
    assert judge(made, believed(Pki.make("EVIL"))).outcome is REJECTED


def test_every_byte_of_the_description_and_the_headers_agrees_with_swupdate(tmp_path: Path) -> None:
    """Every 13th byte of everything in front of the image: nothing that we accept is refused there."""
    made, ring = sign_inside(archive(tmp_path), RELEASE, tmp_path / "ours.swu", "swupdate"), keyring(tmp_path)
    data = made.read_bytes()
    end = data.index(b"fw.bin\0")
    for at in range(3, end + 8, 13):
        bad = tmp_path / "bad.swu"
        bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        if judge(bad, believed(PKI)).outcome is TRUSTED:
            accepted, words = swupdate(bad, ring)
            assert accepted, (at, words)
