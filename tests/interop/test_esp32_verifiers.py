"""Secure Boot V2 before espsecure: what we sign it accepts, what it signs we trust, and nothing that it refuses is trusted here."""

from __future__ import annotations

import io
import zlib
from contextlib import redirect_stdout
from pathlib import Path

import espsecure as their
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from esptool import FatalError
from esptool.bin_image import ESP32C6FirmwareImage, ESP32FirmwareImage, ESP32S3FirmwareImage

from kit.boards import FIRMWARE, esp_image, espsecure, public_key
from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.samples import SAMPLES
from kit.trust import believed, codes, judge, knowing
from sealwright.envelope.kinds import Construction
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Search
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
KINDS = ("p256", "p384", "rsa3072-pss")
SECTOR, BLOCK = 4096, 1216


def boot_key(kind: str = "p256", name: str = "boot key") -> Signer:
    return PKI.leaf(name, kind=KeyKind(kind), construction=Construction.ESP32)


KEYS, OTHERS = {kind: boot_key(kind) for kind in KINDS}, {kind: boot_key(kind) for kind in KINDS}
CHIPS = {"p256": ESP32C6FirmwareImage, "p384": ESP32S3FirmwareImage, "rsa3072-pss": ESP32FirmwareImage}


def verified(path: Path, key: Path) -> tuple[bool, str]:
    return espsecure("verify-signature", "--version", "2", "--keyfile", key, path)


def accepts(data: bytes, key: bytes) -> bool:
    """The same without a process for each of thousands of files."""
    try:
        with redirect_stdout(io.StringIO()):
            their.verify_signature_v2(False, None, io.BytesIO(key), io.BytesIO(data))
    except (FatalError, AssertionError, UnboundLocalError, ValueError):
        return False
    return True


def private_key(signer: Signer, folder: Path) -> Path:
    path = folder / "private.pem"
    form = PrivateFormat.TraditionalOpenSSL
    path.write_bytes(signer.key._private.private_bytes(Encoding.PEM, form, NoEncryption()))  # type: ignore[union-attr]
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_espsecure_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: str) -> None:
    signer = KEYS[kind]
    code = next(one for one in SAMPLES if one.name == "opensbi.bin").source.read_bytes()
    plain = esp_image(tmp_path, chip=CHIPS[kind], code=code[: len(code) // 4 * 4], secure_pad=kind != "p256")
    path = sign_inside(plain, signer, tmp_path / "signed.bin", "esp32")
    own, key, stranger = path.read_bytes(), public_key(signer, tmp_path), public_key(OTHERS[kind], tmp_path)
    accepted, words = verified(path, key)
    assert accepted, words
    assert "Signature block 0 verification successful" in words
    assert not verified(path, stranger)[0]
    for at in (0x4000, len(own) - SECTOR + 4, len(own) - SECTOR + 170):
        path.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not verified(path, key)[0]
        assert judge(path, believed(PKI, certificate=knowing(signer))).outcome is REJECTED


@pytest.mark.parametrize("kind", KINDS)
def test_we_trust_what_espsecure_signs(tmp_path: Path, kind: str) -> None:
    signer, private = KEYS[kind], private_key(KEYS[kind], tmp_path)
    for number, image in enumerate(({}, {"secure_pad": True}, {"description": None})):
        plain, path = esp_image(tmp_path, chip=CHIPS[kind], **image), tmp_path / f"{number}.bin"  # type: ignore[arg-type]
        accepted, words = espsecure("sign-data", "--version", "2", "--keyfile", private, "--output", path, plain)
        assert accepted, words
        assert judge(path, believed(PKI, certificate=knowing(signer))).outcome is TRUSTED
        assert judge(path, believed(PKI, certificate=knowing(OTHERS[kind]))).outcome is REJECTED
        assert stripped(path, tmp_path / f"bare{number}.bin", "esp32").read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_both_add_signatures_to_the_other_s(tmp_path: Path, kind: str) -> None:
    first, second = KEYS[kind], OTHERS[kind]
    ours = sign_inside(esp_image(tmp_path), first, tmp_path / "ours.bin", "esp32")
    both, private = tmp_path / "both.bin", private_key(second, tmp_path)
    words = ["sign-data", "--version", "2", "--append-signatures", "--keyfile", private, "--output", both, ours]
    assert espsecure(*words)[0]
    third = sign_inside(both, boot_key(kind), tmp_path / "three.bin", "esp32", existing=Existing.ADD)
    for signer in (first, second):
        trust = believed(PKI, certificate=knowing(signer))
        assert verified(third, public_key(signer, tmp_path))[0]
        assert [judge(one, trust).outcome for one in (both, third)] == [TRUSTED] * 2
    assert not verified(ours, public_key(second, tmp_path))[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_digest_is_the_one_that_is_burnt_into_chips(tmp_path: Path, kind: str) -> None:
    path = sign_inside(esp_image(tmp_path), KEYS[kind], tmp_path / "signed.bin", "esp32")
    key = public_key(KEYS[kind], tmp_path)
    assert espsecure("digest-sbv2-public-key", "--keyfile", key, "--output", tmp_path / "digest")[0]
    said = embedded_format("esp32").extract(str(path), Search()).structure
    assert said[1].endswith((tmp_path / "digest").read_bytes().hex())


def test_openssl_agrees_on_the_value_over_the_image(tmp_path: Path) -> None:
    signer = KEYS["rsa3072-pss"]
    data = sign_inside(esp_image(tmp_path), signer, tmp_path / "signed.bin", "esp32").read_bytes()
    value = data[-SECTOR + 812 : -SECTOR + 1196][::-1]
    command = ["openssl", "dgst", "-sha256", "-verify", public_key(signer, tmp_path)]
    command += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "-signature", tmp_path / "value"]
    for content, good in ((data[:-SECTOR], True), (data[: -SECTOR - 1], False)):
        (tmp_path / "value").write_bytes(value)
        (tmp_path / "content").write_bytes(content)
        assert run([*command, tmp_path / "content"])[0] is good


def test_a_signature_with_p192_is_too_weak_to_count(tmp_path: Path) -> None:
    plain, key, path = esp_image(tmp_path), tmp_path / "p192.pem", tmp_path / "signed.bin"
    assert espsecure("generate-signing-key", "--version", "2", "--scheme", "ecdsa192", key)[0]
    assert espsecure("sign-data", "--version", "2", "--keyfile", key, "--output", path, plain)[0]
    assert verified(path, key)[0]
    assert codes(judge(path, believed(PKI, certificate=knowing(KEYS["p256"])))) == ["SW-ALGORITHM-WEAK"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_espsecure_refuses_is_accepted_here(tmp_path: Path, kind: str) -> None:
    signer = KEYS[kind]
    image = esp_image(tmp_path, chip=CHIPS[kind], code=FIRMWARE[:64], description=None)
    path = sign_inside(image, signer, tmp_path / "signed.bin", "esp32")
    data, trust, key = path.read_bytes(), believed(PKI, certificate=knowing(signer)), public_key(signer, tmp_path)
    end, pem, lenient = len(image.read_bytes()), key.read_bytes(), []
    assert accepts(data, pem)
    for at, bad in flips(data):
        if (end + 64 < at < SECTOR or at > SECTOR + BLOCK + 64) and at % 16:
            continue  # nothing but filling
        accepted = accepts(bad, pem)
        path.write_bytes(bad)
        ours = judge(path, trust).outcome is TRUSTED
        assert accepted or not ours, at
        assert not ours, at
        if accepted:
            lenient.append(at)
    # what espsecure does not look at: the zeros behind the CRC, and what follows the last block
    assert min(lenient) == SECTOR + 1200, lenient
    assert {at for at in lenient if at < SECTOR + BLOCK} == set(range(SECTOR + 1200, SECTOR + BLOCK))


def test_a_second_block_that_is_wrong_spoils_the_first_for_both(tmp_path: Path) -> None:
    """espsecure gives up at a block over another digest, whatever the block before it was."""
    first, second = KEYS["p256"], OTHERS["p256"]
    one = sign_inside(esp_image(tmp_path), first, tmp_path / "one.bin", "esp32")
    both = sign_inside(one, second, tmp_path / "both.bin", "esp32", existing=Existing.ADD)
    other = sign_inside(esp_image(tmp_path, code=FIRMWARE[::-1]), second, tmp_path / "other.bin", "esp32")
    trust, key = believed(PKI, certificate=knowing(first)), public_key(first, tmp_path)
    assert verified(both, key)[0]
    assert judge(both, trust).outcome is TRUSTED
    block = other.read_bytes()[-SECTOR : -SECTOR + BLOCK]
    both.write_bytes(one.read_bytes()[: -SECTOR + BLOCK] + block + one.read_bytes()[-SECTOR + 2 * BLOCK :])
    assert not verified(both, key)[0]
    assert judge(both, trust).outcome is REJECTED


def test_values_that_chips_believe_are_not_looked_at_by_espsecure(tmp_path: Path) -> None:
    signer = KEYS["rsa3072-pss"]
    path, key = tmp_path / "signed.bin", public_key(signer, tmp_path)
    data = sign_inside(esp_image(tmp_path), signer, path, "esp32").read_bytes()
    assert verified(path, key)[0]
    block = bytearray(data[-SECTOR:])
    block[500] ^= 1  # R
    block[1196:1200] = zlib.crc32(block[:1196]).to_bytes(4, "little")
    path.write_bytes(data[:-SECTOR] + block)
    assert verified(path, key)[0]
    assert codes(judge(path, believed(PKI, certificate=knowing(signer)))) == ["SW-ARTIFACT-MALFORMED"]


def test_what_is_no_image_is_signed_by_espsecure_alone(tmp_path: Path) -> None:
    signer = KEYS["p256"]
    private, key, path = private_key(signer, tmp_path), public_key(signer, tmp_path), tmp_path / "signed.bin"
    image = esp_image(tmp_path).read_bytes()
    for content, good in (
        (image, True),
        (FIRMWARE, False),
        (image + FIRMWARE, False),
        (image.ljust(9000, b"\xff"), False),
    ):
        (tmp_path / "plain.bin").write_bytes(content)
        words = ["--keyfile", private, "--output", path, tmp_path / "plain.bin"]
        assert espsecure("sign-data", "--version", "2", *words)[0]
        assert verified(path, key)[0]
        assert (judge(path, believed(PKI, certificate=knowing(signer))).outcome is TRUSTED) is good
