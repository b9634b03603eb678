"""Kernel modules before OpenSSL, by the kernel's own rules, and before modinfo, which lists; what OpenSSL signs we trust."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.inside import sign_inside, stripped
from kit.modules import INFO, as_the_kernel, compiled_module, tiny_module
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import believed, judge, knowing
from sealwright.envelope.kinds import Construction
from sealwright.formats.kmod import MARK
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()


def modules_key(kind: KeyKind = KeyKind.RSA3072) -> Signer:
    return PKI.leaf("modules", kind=kind, construction=Construction.KMOD)


def judged(path: Path, signer: Signer, folder: Path) -> tuple[bool, str]:
    certificate = folder / "signer.pem"
    certificate.write_text(signer.pem)
    return as_the_kernel(path, certificate, folder)


@pytest.mark.parametrize("kind", [KeyKind.RSA3072, KeyKind.P256, KeyKind.P384])
def test_openssl_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    signer, other, plain = modules_key(kind), modules_key(kind), compiled_module(tmp_path)
    path = sign_inside(plain, signer, tmp_path / "signed.ko", "kmod")
    own = path.read_bytes()
    accepted, words = judged(path, signer, tmp_path)
    assert accepted, words
    assert not judged(path, other, tmp_path)[0]
    assert not judged(plain, signer, tmp_path)[0]
    value_end = len(own) - len(MARK) - INFO.size
    for at in (0x40, value_end - 1):
        path.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not judged(path, signer, tmp_path)[0]
        assert judge(path, believed(PKI, certificate=knowing(signer))).outcome is REJECTED
    path.write_bytes(own)
    assert judge(path, believed(PKI, certificate=knowing(signer))).outcome is TRUSTED
    assert stripped(path, tmp_path / "bare.ko", "kmod").read_bytes() == plain.read_bytes()


def test_modinfo_names_the_signer(tmp_path: Path) -> None:
    signer = modules_key()
    path = sign_inside(compiled_module(tmp_path), signer, tmp_path / "signed.ko", "kmod")
    accepted, words = run(["/sbin/modinfo", path])
    assert accepted, words
    assert "sig_id:         PKCS#7" in words
    shown = signer.x509.serial_number.to_bytes(20, "big").lstrip(b"\0").hex(":").upper()
    assert shown in words, words


def test_we_trust_what_openssl_signs_as_sign_file_does(tmp_path: Path) -> None:
    signer, plain = modules_key(), compiled_module(tmp_path)
    (tmp_path / "key.pem").write_bytes(
        signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[union-attr]
    )
    (tmp_path / "signer.pem").write_text(signer.pem)
    made, words = run(
        ["openssl", "cms", "-sign", "-binary", "-in", plain, "-signer", tmp_path / "signer.pem", "-inkey",
         tmp_path / "key.pem", "-outform", "DER", "-md", "sha256", "-nocerts", "-noattr", "-out", tmp_path / "cms"]
    )  # fmt: skip
    assert made, words
    cms = (tmp_path / "cms").read_bytes()
    path = tmp_path / "theirs.ko"
    ending = cms + INFO.pack(0, 0, 2, 0, 0, bytes(3), len(cms)) + MARK
    path.write_bytes(plain.read_bytes() + ending)
    trust = believed(PKI, certificate=knowing(signer))
    assert judge(path, trust).outcome is TRUSTED
    path.write_bytes(plain.read_bytes()[:-1] + b"\x07" + ending)
    assert judge(path, trust).outcome is REJECTED


def test_nothing_that_openssl_refuses_is_accepted_here(tmp_path: Path) -> None:
    signer = modules_key(KeyKind.P256)
    (tmp_path / "plain.ko").write_bytes(tiny_module())
    path = sign_inside(tmp_path / "plain.ko", signer, tmp_path / "signed.ko", "kmod")
    trust, bad, lenient = believed(PKI, certificate=knowing(signer)), tmp_path / "bad.ko", []
    own = path.read_bytes()
    start = len(tiny_module())
    for at, data in flips(own, bit=0x10):
        if at < start and at % 8:
            continue
        bad.write_bytes(data)
        accepted, _ = judged(bad, signer, tmp_path)
        assert accepted or judge(bad, trust).outcome is REJECTED, at
        if accepted:
            lenient.append(at - start)
    # types and digest algorithms that SignedData repeats, and what the kernel demands to be zero: we want them right
    module, value = 0, len(own) - start - len(MARK) - INFO.size - 64
    assert not any(at <= module or value <= at < value + 64 for at in lenient), lenient
