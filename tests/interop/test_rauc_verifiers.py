"""RAUC bundles before rauc itself, which checks the signature, and veritysetup, which checks the payload as the kernel does."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.openssl import run
from kit.pki import Pki, Signer, p7s
from kit.trust import believed, judge
from kit.updates import IMAGE, bundle, rauc_info, updater, veritysetup
from sealwright.errors import UsageError
from sealwright.formats.format import Existing
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
CODESIGN = "check-purpose=codesign"


def keyring(folder: Path, pki: Pki = PKI, name: str = "ca.pem") -> Path:
    path = folder / name
    path.write_text(pki.root.pem)
    return path


def ours(folder: Path, form: str, signer: Signer, tsa: Signer | None = None) -> Path:
    theirs = bundle(folder, updater(PKI), form)
    return sign_inside(theirs, signer, folder / "ours.raucb", "rauc", existing=Existing.REPLACE, tsa=tsa)


def flip(path: Path, at: int) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    bad = path.parent / "bad.raucb"
    bad.write_bytes(bytes(data))
    return bad


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS])
@pytest.mark.parametrize("form", ["plain", "verity", "crypt"])
def test_rauc_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, form: str, kind: KeyKind) -> None:
    path, ring = ours(tmp_path, form, updater(PKI, kind=kind)), keyring(tmp_path)
    accepted, words = rauc_info(path, ring)
    assert accepted, words
    assert "Verified " in words
    assert judge(path, believed(PKI)).outcome is TRUSTED
    assert not rauc_info(path, keyring(tmp_path, Pki.make("EVIL"), "evil.pem"))[0]
    if form != "crypt":  # its signature holds the key of its payload
        assert not rauc_info(stripped(path, tmp_path / "bare.squashfs", "rauc"), ring)[0]
    bad = flip(path, path.stat().st_size - 12)  # in the signature value
    assert not rauc_info(bad, ring)[0]
    assert judge(bad, believed(PKI)).outcome is REJECTED
    payload = flip(path, 5000)
    assert judge(payload, believed(PKI)).outcome is REJECTED
    if form == "plain":
        assert not rauc_info(payload, ring)[0]
    else:
        # rauc info never reads the payload of a verity bundle; the kernel does, and so do we
        assert rauc_info(payload, ring)[0]
        assert veritysetup(path)[0]
        assert not veritysetup(payload)[0]


def test_a_timestamp_does_not_disturb_rauc(tmp_path: Path) -> None:
    path = ours(tmp_path, "verity", updater(PKI), PKI.tsa())
    accepted, words = rauc_info(path, keyring(tmp_path))
    assert accepted, words
    assert judge(path, believed(PKI)).times.proved is not None


def test_a_certificate_for_code_alone_needs_rauc_to_be_told(tmp_path: Path) -> None:
    path, ring = ours(tmp_path, "verity", PKI.leaf()), keyring(tmp_path)
    accepted, words = rauc_info(path, ring)
    assert not accepted
    assert "unsuitable certificate purpose" in words
    accepted, words = rauc_info(path, ring, CODESIGN)
    assert accepted, words
    assert judge(path, believed(PKI)).outcome is TRUSTED


def test_the_certificates_that_key_enrol_makes_serve_both_ways(tmp_path: Path) -> None:
    path, ring = ours(tmp_path, "verity", updater(PKI)), keyring(tmp_path)
    for configuration in ("", CODESIGN):
        accepted, words = rauc_info(path, ring, configuration)
        assert accepted, words


@pytest.mark.parametrize("form", ["plain", "verity", "crypt"])
def test_we_trust_what_rauc_signs(tmp_path: Path, form: str) -> None:
    path = bundle(tmp_path, updater(PKI), form)
    assert rauc_info(path, keyring(tmp_path))[0]
    assert judge(path, believed(PKI)).outcome is TRUSTED
    bad = flip(path, path.stat().st_size - 12)
    assert not rauc_info(bad, keyring(tmp_path))[0]
    assert judge(bad, believed(PKI)).outcome is REJECTED
    assert judge(flip(path, 5000), believed(PKI)).outcome is REJECTED
    assert not rauc_info(path, keyring(tmp_path, Pki.make("EVIL"), "evil.pem"))[0]
    assert judge(path, believed(Pki.make("EVIL"))).outcome is REJECTED


def test_a_crypt_bundle_is_verified_until_it_is_encrypted_for_its_devices(tmp_path: Path) -> None:
    path, ring = ours(tmp_path, "crypt", updater(PKI)), keyring(tmp_path)
    assert IMAGE[:4096] not in path.read_bytes()
    assert judge(path, believed(PKI)).claims.product == "acme-plc"
    with pytest.raises(UsageError, match="holds the key of its payload"):
        stripped(path, tmp_path / "bare.squashfs", "rauc")
    device, key = tmp_path / "device.pem", tmp_path / "device.key"
    made, words = run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", device, "-subj", "/CN=plc"]
    )
    assert made, words
    sent = tmp_path / "sent.raucb"
    made, words = run(["rauc", f"--keyring={ring}", "encrypt", f"--to={device}", path, sent])
    assert made, words
    assert rauc_info(path, ring)[0]
    assert rauc_info(sent, ring, f"[encryption]\nkey={key}\ncert={device}")[0]
    verdict = judge(sent, believed(PKI))
    assert verdict.outcome is REJECTED
    assert "encrypted for its devices" in verdict.findings[0].sentence
    (tmp_path / "sent.raucb.p7s").write_bytes(p7s(PKI.leaf(), sent.read_bytes()))
    assert judge(sent, believed(PKI)).outcome is TRUSTED
