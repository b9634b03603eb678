"""MCUboot images before imgtool, whose checks are the bootloader's: what we sign it accepts, what it signs we trust."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from imgtool.image import Image, VerifyResult
from imgtool.keys import load as load_key

from kit.boards import FIRMWARE, imgtool, public_key
from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.samples import SAMPLES
from kit.trust import believed, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.formats.format import Existing
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
KINDS = ("p256", "p384", "ed25519", "rsa3072-pss")


def boot_key(kind: str = "p256", name: str = "boot key") -> Signer:
    return PKI.leaf(name, kind=KeyKind(kind), construction=Construction.MCUBOOT)


@pytest.mark.parametrize("kind", KINDS)
def test_imgtool_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: str) -> None:
    signer, other = boot_key(kind), boot_key(kind)
    plain = next(sample for sample in SAMPLES if sample.name == "u-boot-arm.bin").copy_to(tmp_path)
    path = sign_inside(plain, signer, tmp_path / "fw.img", "mcuboot", claims=Claims(version="2.1.0+9", generation=3))
    own, key, stranger = path.read_bytes(), public_key(signer, tmp_path), public_key(other, tmp_path)
    accepted, words = imgtool("verify", "-k", key, path)
    assert accepted, words
    assert "Image version: 2.1.0+9" in words
    assert not imgtool("verify", "-k", stranger, path)[0]
    for at in (0x20, 0x4000, len(own) - 3):
        path.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not imgtool("verify", "-k", key, path)[0]
        assert judge(path, believed(PKI, certificate=knowing(signer))).outcome is REJECTED
    accepted, words = imgtool("dumpinfo", path)
    assert "SEC_CNT" in words, words


@pytest.mark.parametrize("kind", KINDS)
def test_we_trust_what_imgtool_signs(tmp_path: Path, kind: str) -> None:
    signer = boot_key(kind)
    private = tmp_path / "key.pem"
    private.write_bytes(signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
    (tmp_path / "fw.bin").write_bytes(FIRMWARE)
    for number, options in enumerate(([], ["--security-counter", "7", "-d", "(1, 1.2.3+0)"], ["--boot-record", "app"])):
        path = tmp_path / f"{number}.img"
        accepted, words = imgtool(
            "sign", "-k", private, "--align", "4", "--version", "1.2.3+4", "--header-size", "0x80", "--pad-header",
            "-S", "0x20000", *options, tmp_path / "fw.bin", path,
        )  # fmt: skip
        assert accepted, words
        verdict = judge(path, believed(PKI, certificate=knowing(signer)))
        assert (verdict.outcome, verdict.claims.version) == (TRUSTED, "1.2.3+4")
        assert verdict.claims.generation == (7 if number == 1 else None)
        assert judge(path, believed(PKI, certificate=knowing(boot_key(kind)))).outcome is REJECTED


def test_an_unsigned_image_of_imgtool_is_signed_and_stripped_to_itself(tmp_path: Path) -> None:
    signer = boot_key()
    (tmp_path / "fw.bin").write_bytes(FIRMWARE)
    unsigned = tmp_path / "unsigned.img"
    accepted, words = imgtool(
        "sign", "--align", "4", "--version", "1.2.3", "--header-size", "0x100", "--pad-header", "-S", "0x20000",
        tmp_path / "fw.bin", unsigned,
    )  # fmt: skip
    assert accepted, words
    signed = sign_inside(unsigned, signer, tmp_path / "signed.img", "mcuboot")
    key = public_key(signer, tmp_path)
    assert imgtool("verify", "-k", key, signed)[0]
    assert not imgtool("verify", "-k", key, unsigned)[0]
    assert stripped(signed, tmp_path / "again.img", "mcuboot").read_bytes() == unsigned.read_bytes()


def test_imgtool_finds_each_of_several_signers(tmp_path: Path) -> None:
    first, second = boot_key(), boot_key(name="second")
    (tmp_path / "fw.bin").write_bytes(FIRMWARE)
    one = sign_inside(tmp_path / "fw.bin", first, tmp_path / "1.img", "mcuboot", claims=Claims(version="1.0.0"))
    both = sign_inside(one, second, tmp_path / "2.img", "mcuboot", existing=Existing.ADD)
    for signer in (first, second):
        assert imgtool("verify", "-k", public_key(signer, tmp_path), both)[0]
    assert not imgtool("verify", "-k", public_key(second, tmp_path), one)[0]


def test_openssl_agrees_on_the_value_over_the_digest(tmp_path: Path) -> None:
    signer = boot_key()
    (tmp_path / "fw.bin").write_bytes(FIRMWARE)
    path = sign_inside(tmp_path / "fw.bin", signer, tmp_path / "fw.img", "mcuboot", claims=Claims(version="1.0.0"))
    data = path.read_bytes()
    end = 0x200 + len(FIRMWARE)
    (tmp_path / "digest").write_bytes(hashlib.sha256(data[:end]).digest())
    at = end + 4 + 36 + 36
    kind, size = struct.unpack_from("<HH", data, at)
    assert kind == 0x22
    for value, good in ((data[at + 4 : at + 4 + size], True), (data[at + 4 : at + 3 + size] + b"\x00", False)):
        (tmp_path / "value").write_bytes(value)
        key = public_key(signer, tmp_path)
        verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-in", tmp_path / "digest"]
        assert run([*verify, "-sigfile", tmp_path / "value"])[0] is good


def test_nothing_that_imgtool_refuses_is_accepted_here(tmp_path: Path) -> None:
    signer = boot_key()
    (tmp_path / "fw.bin").write_bytes(FIRMWARE[:64])
    path = sign_inside(
        tmp_path / "fw.bin", signer, tmp_path / "fw.img", "mcuboot", claims=Claims(version="1.2.3+4", generation=7)
    )
    trust, key = believed(PKI, certificate=knowing(signer)), load_key(str(public_key(signer, tmp_path)))
    bad = tmp_path / "bad.img"
    lenient = []
    for at, data in flips(path.read_bytes()):
        bad.write_bytes(data)
        try:
            accepted = Image.verify(str(bad), key)[0] is VerifyResult.OK
        except (struct.error, KeyError, ValueError, IndexError):
            accepted = False
        ours = judge(bad, trust).outcome is TRUSTED
        assert accepted or not ours, at
        if accepted:
            lenient.append(at)
    # imgtool takes the hash of a key as a hint, reads no second byte of a type, and lengths as far as there are bytes
    plain = 0x200 + 64 + 12
    value = plain + 4 + 72
    key_hash = range(plain + 4 + 36, value)
    assert {at for at in lenient if at not in key_hash} <= {
        plain + 2,
        plain + 3,
        plain + 5,
        value + 1,
        value + 2,
        value + 3,
    }, lenient
