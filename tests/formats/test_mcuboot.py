"""MCUboot images: what is hashed, where signatures go, whose they are, and every layout a bootloader could read differently."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.boards import FIRMWARE
from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, Signer, p7s
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.errors import ChangedWhileRead, SealwrightError, UsageError
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Search
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
BOOT = PKI.leaf("boot key", construction=Construction.MCUBOOT)
TRUST = believed(PKI, certificate=knowing(BOOT))
V1 = Claims(version="1.2.3+4", generation=7)
FORMAT = embedded_format("mcuboot")
TLVS = 0x200 + len(FIRMWARE) + 12


def firmware(folder: Path, data: bytes = FIRMWARE) -> Path:
    path = folder / "fw.bin"
    path.write_bytes(data)
    return path


def image(folder: Path, signer: Signer = BOOT, claims: Claims = V1) -> Path:
    return sign_inside(firmware(folder), signer, folder / "fw.img", "mcuboot", claims=claims)


def changed(path: Path, data: bytes) -> Path:
    out = path.parent / "changed.img"
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa3072-pss"])
def test_an_image_is_trusted_with_the_claims_it_carries(tmp_path: Path, kind: str) -> None:
    signer = PKI.leaf("boot key", kind=KeyKind(kind), construction=Construction.MCUBOOT)
    verdict = judge(image(tmp_path, signer), believed(PKI, certificate=knowing(signer)))
    assert (verdict.outcome, verdict.format) == (TRUSTED, "mcuboot")
    assert verdict.claims == V1
    assert [one.subject.split(",")[0] for one in verdict.signers] == ["CN=boot key"]
    assert verdict.coverage.ranges[0].end == TLVS


def test_a_signer_nobody_knows_is_told_by_the_hash_of_its_key(tmp_path: Path) -> None:
    path = image(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(path, believed(PKI))
    assert codes(verdict) == ["SW-SIGNER-UNKNOWN"]
    assert "names its signer by key hash" in verdict.findings[0].found


def test_a_known_certificate_counts_by_its_path_alone(tmp_path: Path) -> None:
    stranger = Pki.make("EVIL").leaf("boot key", construction=Construction.MCUBOOT)
    path = image(tmp_path, stranger)
    assert codes(judge(path, believed(PKI, certificate=knowing(BOOT, stranger)))) == ["SW-CERT-NO-PATH"]


def test_a_key_signs_by_its_one_construction(tmp_path: Path) -> None:
    release = PKI.leaf()
    both = believed(PKI, certificate=knowing(BOOT, release))
    assert judge(image(tmp_path), both).outcome is TRUSTED
    (tmp_path / "fw.img").unlink()
    assert codes(judge(image(tmp_path, release), both)) == ["SW-KEY-CONSTRUCTION"]
    path = tmp_path / "drive.bin"
    path.write_bytes(FIRMWARE)
    for signer, said in ((release, []), (BOOT, ["SW-KEY-CONSTRUCTION"])):
        (tmp_path / "drive.bin.p7s").write_bytes(p7s(signer, FIRMWARE))
        assert codes(judge(path, both)) == said


def test_rules_on_generations_read_the_security_counter(tmp_path: Path) -> None:
    rule = {"name": "boards", "formats": ["mcuboot"], "environment": "production", "signer": [{"anchors": ["root"]}]}
    path = image(tmp_path)
    for least, outcome in ((7, TRUSTED), (8, REJECTED)):
        trust = believed(PKI, certificate=knowing(BOOT), rule=[rule | {"minimum_generation": least}])
        assert judge(path, trust).outcome is outcome


def test_several_keys_sign_side_by_side(tmp_path: Path) -> None:
    second = PKI.leaf("second", construction=Construction.MCUBOOT)
    path = image(tmp_path)
    both = sign_inside(path, second, tmp_path / "both.img", "mcuboot", existing=Existing.ADD)
    only = sign_inside(path, second, tmp_path / "only.img", "mcuboot", existing=Existing.REPLACE)
    for signer, images in ((BOOT, (path, both)), (second, (both, only))):
        trust = believed(PKI, certificate=knowing(signer))
        assert [judge(one, trust).outcome for one in images] == [TRUSTED] * 2
    assert judge(only, TRUST).outcome is REJECTED
    with pytest.raises(UsageError, match="signed already"):
        sign_inside(path, second, tmp_path / "no.img", "mcuboot")
    wider = PKI.leaf(kind=KeyKind.P384, construction=Construction.MCUBOOT)
    with pytest.raises(UsageError, match="over sha256, and this key signs sha384"):
        sign_inside(path, wider, tmp_path / "no.img", "mcuboot", existing=Existing.ADD)


def test_strip_gives_the_unsigned_image(tmp_path: Path) -> None:
    path = image(tmp_path)
    bare = stripped(path, tmp_path / "bare.img", "mcuboot")
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    again = sign_inside(bare, BOOT, tmp_path / "again.img", "mcuboot")
    assert judge(again, TRUST).claims == V1
    assert stripped(again, tmp_path / "bare2.img", "mcuboot").read_bytes() == bare.read_bytes()
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.img", "mcuboot")


def test_a_header_goes_where_room_was_left_for_it_or_in_front(tmp_path: Path) -> None:
    path = image(tmp_path)
    room = firmware(tmp_path, bytes(512) + FIRMWARE)
    again = sign_inside(room, BOOT, tmp_path / "room.img", "mcuboot", claims=V1)
    assert path.read_bytes()[:TLVS] == again.read_bytes()[:TLVS]
    with pytest.raises(UsageError, match="begins with zero bytes"):
        sign_inside(firmware(tmp_path, bytes(256) + FIRMWARE), BOOT, tmp_path / "no.img", "mcuboot", claims=V1)
    with pytest.raises(SealwrightError, match="it is empty"):
        sign_inside(firmware(tmp_path, b""), BOOT, tmp_path / "no.img", "mcuboot", claims=V1)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (Claims(), "an image has a version"),
        (Claims(version="2026 spring"), "not MAJOR.MINOR"),
        (Claims(version="1.2.3+4294967296"), "not MAJOR.MINOR"),
        (Claims(version="256.0.0"), "not MAJOR.MINOR"),
        (Claims(version="1.0", generation=1 << 32), "beyond 32 bits"),
        (Claims(version="1.0", product="drive"), "version and generation only"),
    ],
)
def test_claims_an_image_cannot_carry_are_refused(tmp_path: Path, claims: Claims, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        image(tmp_path, claims=claims)
    assert not (tmp_path / "fw.img").exists()


def test_claims_of_an_image_are_its_own(tmp_path: Path) -> None:
    bare = stripped(image(tmp_path), tmp_path / "bare.img", "mcuboot")
    sign_inside(bare, BOOT, tmp_path / "same.img", "mcuboot", claims=V1)
    for claims, why in (
        (Claims(version="9.9.9"), "image says version"),
        (Claims(generation=8), "image says generation"),
    ):
        with pytest.raises(UsageError, match=why):
            sign_inside(bare, BOOT, tmp_path / "no.img", "mcuboot", claims=claims)
    (tmp_path / "fw.img").unlink()
    plain = stripped(image(tmp_path, claims=Claims(version="1.0.0")), tmp_path / "plain.img", "mcuboot")
    with pytest.raises(UsageError, match="image has no generation"):
        sign_inside(plain, BOOT, tmp_path / "no.img", "mcuboot", claims=Claims(generation=8))


def header(data: bytes, form: str, at: int, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: header(d, "<H", 8, 31), "a header of 31 bytes"),
        (lambda d: header(d, "<H", 8, 0x1FF), "byte .*: there is no TLV area"),
        (lambda d: header(d, "<I", 12, 0xFFFF_FFFF), "there is no TLV area"),
        (lambda d: header(d, "<H", 10, 0), "there is no TLV area"),
        (lambda d: header(d, "<I", 16, 4), "an encrypted image"),
        (lambda d: d + b"\0", "where there are"),
        (lambda d: d + b"PK\3\4 a second file", "where there are"),
        (lambda d: header(d, "<H", TLVS + 2, len(d) - TLVS - 1), "where there are"),
        (lambda d: header(d, "<H", TLVS + 4, 0x50), "do not begin with a digest"),
        (lambda d: header(d, "<H", TLVS + 4 + 36, 0x30), "not the hash of a key"),
        (lambda d: header(d, "<H", TLVS + 4 + 72, 0x25), "not a signature"),
        (lambda d: header(d, "<H", TLVS + 4 + 74, 0xFFFF), "runs past its area"),
        (lambda d: header(d, "<H", TLVS - 8, 0x10), "among the protected ones"),
        (lambda d: header(d, "<H", TLVS - 6, 3), "TLV is cut off"),
    ],
)
def test_a_layout_bootloaders_could_read_differently_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    path = image(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(changed(path, change(path.read_bytes())), TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert re.search(why, verdict.findings[0].found), verdict.findings[0].found


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    path = sign_inside(firmware(tmp_path, FIRMWARE[:100]), BOOT, tmp_path / "fw.img", "mcuboot", claims=V1)
    data = path.read_bytes()
    for bit in (0x01, 0x80):
        for at, bad in flips(data, bit=bit):
            assert judge(changed(path, bad), TRUST).outcome is REJECTED, at
    for bad in truncations(data):
        assert judge(changed(path, bad), TRUST).outcome is REJECTED, len(bad)


def test_what_was_altered_is_told_apart(tmp_path: Path) -> None:
    path = image(tmp_path)
    data = path.read_bytes()
    for at, code in (
        (0x300, "SW-FILE-CHANGED"),
        (len(data) - 1, "SW-SIGNATURE-INVALID"),
        (TLVS + 8, "SW-SIGNATURE-INVALID"),
    ):
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert code in codes(judge(changed(path, bad), TRUST))


def test_firmware_that_changes_before_it_is_written_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = type(FORMAT).attach

    def swapped(form, prepared, sealed):  # type: ignore[no-untyped-def]
        (tmp_path / "fw.bin").write_bytes(FIRMWARE[::-1])
        return attach(form, prepared, sealed)

    monkeypatch.setattr(type(FORMAT), "attach", swapped)
    with pytest.raises((ChangedWhileRead, SealwrightError)):
        image(tmp_path)
    assert not (tmp_path / "fw.img").exists()


def test_what_an_image_is_made_of_is_told(tmp_path: Path) -> None:
    path = image(tmp_path)
    assert FORMAT.extract(str(path), Search()).structure == ("header of 512 bytes, firmware up to byte 2524",)
