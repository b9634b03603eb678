"""Signed images of Espressif's chips: what is hashed, where signatures go, whose they are, and every layout chips could read differently."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from esptool.bin_image import ESP32C2FirmwareImage

from kit.boards import FIRMWARE, esp_image
from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, Signer, p7s
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope.kinds import Construction
from sealwright.errors import KeyRefused, LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.embedded import embedded_format, recognise
from sealwright.formats.format import Existing, Search
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
FORMAT = embedded_format("esp32")
OWN = Claims(product="drive", version="1.2.3", generation=7)
SECTOR, BLOCK = 4096, 1216


def boot_key(kind: str = "p256", name: str = "boot key") -> Signer:
    return PKI.leaf(name, kind=KeyKind(kind), construction=Construction.ESP32)


KEYS = {kind: boot_key(kind) for kind in ("p256", "p384", "rsa3072-pss")}
BOOT = KEYS["p256"]
RSA = KEYS["rsa3072-pss"]
TRUST = believed(PKI, certificate=knowing(*KEYS.values()))


def signed(folder: Path, signer: Signer = BOOT, **image: object) -> Path:
    return sign_inside(esp_image(folder, **image), signer, folder / "signed.bin", "esp32")  # type: ignore[arg-type]


def changed(path: Path, data: bytes) -> Path:
    out = path.parent / "changed.bin"
    out.write_bytes(data)
    return out


def with_crc(data: bytes, number: int = 0) -> bytes:
    """The same with the CRC of a block made right again."""
    start = len(data) - SECTOR + number * BLOCK
    return data[: start + 1196] + struct.pack("<I", zlib.crc32(data[start : start + 1196])) + data[start + 1200 :]


def put(data: bytes, at: int, new: bytes) -> bytes:
    at = at if at >= 0 else len(data) + at
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("image", [{}, {"secure_pad": True}, {"digest": False}], ids=["plain", "64k", "no digest"])
def test_an_image_is_trusted_with_the_claims_it_carries(tmp_path: Path, kind: str, image: dict[str, object]) -> None:
    path = signed(tmp_path, KEYS[kind], **image)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format, verdict.claims) == (TRUSTED, "esp32", OWN)
    assert [one.subject.split(",")[0] for one in verdict.signers] == ["CN=boot key"]
    size = path.stat().st_size
    assert [(one.start, one.end, one.extent) for one in verdict.coverage.ranges] == [
        (0, size - SECTOR, "hashed"),
        (size - SECTOR, size, "signature"),
    ]


def test_a_bootloader_has_no_claims(tmp_path: Path) -> None:
    assert judge(signed(tmp_path, description=None), TRUST).claims == Claims()
    with pytest.raises(UsageError, match="no application's description"):
        sign_inside(tmp_path / "esp.bin", BOOT, tmp_path / "no.bin", "esp32", claims=Claims(version="1.0"))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (Claims(product="pump"), "image says product drive"),
        (Claims(version="1.2.4"), "image says version 1.2.3"),
        (Claims(generation=8), "image says generation 7"),
        (Claims(hardware=("board",)), "product, version and generation only"),
        (Claims(environment="production"), "product, version and generation only"),
    ],
)
def test_claims_are_those_of_the_image(tmp_path: Path, claims: Claims, why: str) -> None:
    plain = esp_image(tmp_path)
    sign_inside(plain, BOOT, tmp_path / "own.bin", "esp32", claims=OWN)
    with pytest.raises(UsageError, match=why):
        sign_inside(plain, BOOT, tmp_path / "no.bin", "esp32", claims=claims)
    assert not (tmp_path / "no.bin").exists()


def test_a_claim_nobody_could_read_aloud_is_refused(tmp_path: Path) -> None:
    assert judge(signed(tmp_path, description=("", "", 0)), TRUST).claims == Claims(generation=0)
    for project in ("dr\x1bive", "drive\n"):
        with pytest.raises(MalformedArtifact, match="byte 80: the application's description is not printable"):
            sign_inside(esp_image(tmp_path, description=(project, "1", 0)), BOOT, tmp_path / "no.bin", "esp32")


def test_rules_on_generations_read_the_security_version(tmp_path: Path) -> None:
    rule = {"name": "boards", "formats": ["esp32"], "environment": "production", "signer": [{"anchors": ["root"]}]}
    path = signed(tmp_path)
    for least, outcome in ((7, TRUSTED), (8, REJECTED)):
        trust = believed(PKI, certificate=knowing(BOOT), rule=[rule | {"minimum_generation": least}])
        assert judge(path, trust).outcome is outcome


def test_a_signer_nobody_knows_is_told_by_the_digest_of_its_key(tmp_path: Path) -> None:
    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(path, believed(PKI, certificate=knowing(boot_key())))
    assert codes(verdict) == ["SW-SIGNER-UNKNOWN"]
    assert "names its signer by the key of digest" in verdict.findings[0].found


def test_a_known_certificate_counts_by_its_path_alone(tmp_path: Path) -> None:
    stranger = Pki.make("EVIL").leaf("boot key", construction=Construction.ESP32)
    trust = believed(PKI, certificate=knowing(BOOT, stranger))
    assert judge(signed(tmp_path), trust).outcome is TRUSTED
    (tmp_path / "signed.bin").unlink()
    assert codes(judge(signed(tmp_path, stranger), trust)) == ["SW-CERT-NO-PATH"]


def test_a_key_signs_by_its_one_construction(tmp_path: Path) -> None:
    release, mcuboot = PKI.leaf(), PKI.leaf("mcuboot", construction=Construction.MCUBOOT)
    every = believed(PKI, certificate=knowing(BOOT, release, mcuboot))
    for signer, said in ((BOOT, []), (release, ["SW-KEY-CONSTRUCTION"]), (mcuboot, ["SW-KEY-CONSTRUCTION"])):
        path = signed(tmp_path, signer)
        assert codes(judge(path, every)) == said
        path.unlink()
    path = tmp_path / "drive.bin"
    path.write_bytes(FIRMWARE)
    for signer, said in ((release, []), (BOOT, ["SW-KEY-CONSTRUCTION"])):
        (tmp_path / "drive.bin.p7s").write_bytes(p7s(signer, FIRMWARE))
        assert codes(judge(path, every)) == said


def test_up_to_three_keys_sign_side_by_side(tmp_path: Path) -> None:
    keys = [boot_key(name=f"key {number}") for number in range(4)]
    images = [signed(tmp_path, keys[0])]
    for number, key in enumerate(keys[1:3]):
        images.append(sign_inside(images[-1], key, tmp_path / f"{number}.bin", "esp32", existing=Existing.ADD))
    for number, key in enumerate(keys[:3]):
        trust = believed(PKI, certificate=knowing(key))
        assert [judge(one, trust).outcome is TRUSTED for one in images] == [number <= at for at in range(3)]
    assert {one.stat().st_size for one in images} == {2 * SECTOR}
    with pytest.raises(LimitExceeded, match="3 signatures, and there is room for no more"):
        sign_inside(images[-1], keys[3], tmp_path / "no.bin", "esp32", existing=Existing.ADD)
    with pytest.raises(UsageError, match="this key has signed it already"):
        sign_inside(images[0], keys[0], tmp_path / "no.bin", "esp32", existing=Existing.ADD)
    with pytest.raises(UsageError, match="signed already"):
        sign_inside(images[0], keys[1], tmp_path / "no.bin", "esp32")
    only = sign_inside(images[-1], keys[3], tmp_path / "only.bin", "esp32", existing=Existing.REPLACE)
    assert judge(only, believed(PKI, certificate=knowing(*keys[:3]))).outcome is REJECTED
    assert judge(only, believed(PKI, certificate=knowing(keys[3]))).outcome is TRUSTED


@pytest.mark.parametrize(
    ("kind", "why"), [("rsa3072-pss", "want all of one scheme"), ("p384", "this key signs sha384")]
)
def test_all_signatures_are_of_one_scheme(tmp_path: Path, kind: str, why: str) -> None:
    path = signed(tmp_path)
    sign_inside(path, boot_key(), tmp_path / "both.bin", "esp32", existing=Existing.ADD)
    with pytest.raises(UsageError, match=why):
        sign_inside(path, KEYS[kind], tmp_path / "no.bin", "esp32", existing=Existing.ADD)
    assert not (tmp_path / "no.bin").exists()


@pytest.mark.parametrize("kind", ["p521", "rsa4096-pss"])
def test_a_key_that_no_chip_reads_signs_nothing(tmp_path: Path, kind: str) -> None:
    signed(tmp_path)
    with pytest.raises(KeyRefused, match="no chip reads"):
        sign_inside(tmp_path / "esp.bin", boot_key(kind), tmp_path / "no.bin", "esp32")
    assert not (tmp_path / "no.bin").exists()


@pytest.mark.parametrize("image", [{}, {"secure_pad": True}, {"digest": False}, {"description": None}])
def test_strip_gives_the_image_as_it_was_built(tmp_path: Path, image: dict[str, object]) -> None:
    path = signed(tmp_path, **image)
    bare = stripped(path, tmp_path / "bare.bin", "esp32")
    assert bare.read_bytes() == (tmp_path / "esp.bin").read_bytes()
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.bin", "esp32")


def test_an_image_that_is_filled_already_is_signed_as_the_same(tmp_path: Path) -> None:
    path = signed(tmp_path)
    plain = (tmp_path / "esp.bin").read_bytes()
    filled = changed(path, plain.ljust(SECTOR, b"\xff"))
    again = sign_inside(filled, BOOT, tmp_path / "again.bin", "esp32")
    assert again.read_bytes()[:SECTOR] == path.read_bytes()[:SECTOR]
    assert stripped(again, tmp_path / "bare.bin", "esp32").read_bytes() == plain
    for bad in (plain.ljust(SECTOR, b"\0"), plain + b"\xff", plain.ljust(2 * SECTOR, b"\xff")):
        with pytest.raises(MalformedArtifact, match=r"byte 2336: the image ends here|byte 4096: there is no signature"):
            sign_inside(changed(path, bad), BOOT, tmp_path / "no.bin", "esp32")


def test_an_image_of_every_length_is_signed_where_chips_look(tmp_path: Path) -> None:
    for size in range(4 * 440, 4 * 464, 4):
        code = (FIRMWARE * 3)[: size + 2048]
        path = signed(tmp_path, code=code)
        assert judge(path, TRUST).outcome is TRUSTED
        assert path.stat().st_size == SECTOR + -(-(tmp_path / "esp.bin").stat().st_size // SECTOR) * SECTOR
        path.unlink()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: put(d, 1, b"\0"), "byte 1: 0 segments"),
        (lambda d: put(d, 1, b"\x11"), "byte 1: 17 segments"),
        (lambda d: put(d, 23, b"\2"), "byte 23: 2 where 1 says"),
        (lambda d: put(d, 28, struct.pack("<I", 0xFFFF_FFFC)), "byte 28: segment 0 of 4294967292 bytes"),
        (lambda d: put(d, 28, struct.pack("<I", 257)), "byte 28: segment 0 of 257 bytes"),
        (lambda d: put(d, 28, struct.pack("<I", 252)), "byte 28[0-9]: "),
        (lambda d: put(d, 1, b"\1"), "the image ends here"),
        (lambda d: put(d, 1, b"\3"), "segment 2 of"),
        (lambda d: put(d, -SECTOR - 1, b"\0"), "byte 2336: .* not 0xFF alone"),
        (lambda d: d + b"\xff", "this has 8193"),
        (lambda d: d + b"\xff" * SECTOR, "this has 12288"),
        (lambda d: d[:-SECTOR] + b"\xff" * SECTOR + d[-SECTOR:], "this has 12288"),
        (lambda d: d[:-SECTOR] + b"\xff" * SECTOR, "no signature block"),
        (lambda d: d[:-1] + b"\0", "not filled with 0xFF"),
        (lambda d: put(d, -SECTOR + BLOCK, b"\0" * BLOCK), "neither a signature block nor filling"),
        (lambda d: put(d, -SECTOR + 2 * BLOCK, d[-SECTOR : BLOCK - SECTOR]), "not filled with 0xFF"),
        (lambda d: put(d, -SECTOR + 1199, b"\0\1"), "CRC-32"),
        (lambda d: put(d, -SECTOR + 1200, b"\1"), "has zeros"),
        (lambda d: with_crc(put(d, -SECTOR + 1195, b"\1")), "has zeros"),
        (lambda d: with_crc(put(d, -SECTOR + 3, b"\1")), "version, digest or curve"),
        (lambda d: with_crc(put(d, -SECTOR + 2, b"\2")), "version, digest or curve"),
        (lambda d: with_crc(put(d, -SECTOR + 1, b"\4")), "version, digest or curve"),
        (lambda d: with_crc(put(d, -SECTOR + 36, b"\3")), "version, digest or curve"),
        (lambda d: with_crc(put(d, -SECTOR + 36, b"\1")), "longer than those of P-192"),
    ],
)
def test_a_layout_chips_could_read_differently_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(changed(path, change(path.read_bytes())), TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert re.search(why, verdict.findings[0].found), verdict.findings[0].found


def test_what_a_chip_computes_with_must_be_of_the_modulus(tmp_path: Path) -> None:
    path = signed(tmp_path, RSA)
    data = path.read_bytes()
    assert judge(path, TRUST).outcome is TRUSTED
    for at, why in ((424, "R or M'"), (808, "R or M'"), (36, "even"), (419, "not of 3072 bits")):
        bad = bytes((data[-SECTOR + at] ^ (0x80 if at == 419 else 1),))
        verdict = judge(changed(path, with_crc(put(data, -SECTOR + at, bad))), TRUST)
        assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
        assert why in verdict.findings[0].found


def test_blocks_over_different_images_or_of_two_schemes_are_refused(tmp_path: Path) -> None:
    path, other = signed(tmp_path), boot_key(name="other")
    both = sign_inside(path, other, tmp_path / "both.bin", "esp32", existing=Existing.ADD).read_bytes()
    trust = believed(PKI, certificate=knowing(BOOT, other))
    assert judge(changed(path, both), trust).outcome is TRUSTED
    rsa = sign_inside(tmp_path / "esp.bin", RSA, tmp_path / "rsa.bin", "esp32").read_bytes()
    mixed = put(both, -SECTOR + BLOCK, rsa[-SECTOR : -SECTOR + BLOCK])
    differing = with_crc(put(both, -SECTOR + BLOCK + 4, bytes(32)), 1)
    for bad, why in ((mixed, "RSA-3072 beside one of P-256"), (differing, "over different images")):
        verdict = judge(changed(path, bad), trust)
        assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
        assert why in verdict.findings[0].found


def test_a_signature_of_another_image_is_told_as_changed_content(tmp_path: Path) -> None:
    path = signed(tmp_path)
    moved = put(path.read_bytes(), 600, b"\0")
    assert "SW-FILE-CHANGED" in codes(judge(changed(path, moved), TRUST))
    value = put(path.read_bytes(), -SECTOR + 101, b"\0\0")
    assert codes(judge(changed(path, with_crc(value)), TRUST)) == ["SW-SIGNATURE-INVALID"]


def test_an_image_that_no_chip_starts_is_not_signed(tmp_path: Path) -> None:
    plain = esp_image(tmp_path, digest=False)
    data = plain.read_bytes()
    sign_inside(plain, BOOT, tmp_path / "good.bin", "esp32")
    with pytest.raises(MalformedArtifact, match=f"byte {len(data) - 1}: the checksum is not 0x"):
        sign_inside(changed(plain, put(data, 700, b"\0")), BOOT, tmp_path / "no.bin", "esp32")
    whole = esp_image(tmp_path).read_bytes()
    with pytest.raises(MalformedArtifact, match=f"byte {len(whole) - 32}: the SHA-256 appended"):
        sign_inside(changed(plain, put(whole, 2, b"\2")), BOOT, tmp_path / "no.bin", "esp32")
    for bad in (b"", b"\xe9", data[:24], data[:-1], b"MZ" + data, data + data):
        with pytest.raises(MalformedArtifact):
            sign_inside(changed(plain, bad), BOOT, tmp_path / "no.bin", "esp32")
    assert not (tmp_path / "no.bin").exists()


@pytest.mark.parametrize("existing", [Existing.ADD, Existing.REPLACE])
def test_an_altered_image_is_not_signed_again(tmp_path: Path, existing: Existing) -> None:
    path, second = signed(tmp_path, digest=False), boot_key()
    sign_inside(path, second, tmp_path / "good.bin", "esp32", existing=existing)
    altered = changed(path, put(path.read_bytes(), 2, b"\2"))
    with pytest.raises(MalformedArtifact, match="the digest in its signatures is not its own"):
        sign_inside(altered, second, tmp_path / "no.bin", "esp32", existing=existing)


def test_a_signed_image_whose_own_digest_is_wrong_is_refused(tmp_path: Path) -> None:
    """The signer's hand may have been forced: what is signed must still be what chips start."""
    path = signed(tmp_path)
    data = path.read_bytes()
    broken = put(data[:SECTOR], 2330, b"\0\0")
    value = BOOT.key._private.sign(broken, ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr]
    block = data[-SECTOR : -SECTOR + 4] + hashlib.sha256(broken).digest() + data[-SECTOR + 36 : -SECTOR + 101]
    block += b"".join(number.to_bytes(32, "little") for number in decode_dss_signature(value))
    made = with_crc(broken + block.ljust(BLOCK, b"\0").ljust(SECTOR, b"\xff"))
    verdict = judge(changed(path, made), TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert "the SHA-256 appended" in verdict.findings[0].found


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    path = signed(tmp_path, code=FIRMWARE[:64], description=None)
    data = path.read_bytes()
    for bit in (0x01, 0x80):
        for at, bad in flips(data, bit=bit):
            if at > 180 and not SECTOR <= at < SECTOR + 180 and at % 41:
                continue  # nothing but filling
            assert judge(changed(path, bad), TRUST).outcome is REJECTED, at
    for bad in truncations(data, step=61):
        assert judge(changed(path, bad), TRUST).outcome is REJECTED, len(bad)


def test_other_things_that_begin_with_the_same_byte_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "jump.bin"
    for data, form in (
        (esp_image(tmp_path).read_bytes(), "esp32"),
        (b"\xe9\x10\x00" + bytes(600), None),
        (b"\xe9" * 9000, None),
        (bytes((0xE9,)), None),
        (b"\xe9" * 4096 + b"\xe7\x02\x01\x00" * 1024, None),
        (b"\xe9" * 4096 + b"\xe7\x02\x00\x00" * 1024, "esp32"),
    ):
        path.write_bytes(data)
        with open_artifact(path) as source:
            found = recognise(source)
        assert (found.name if found else None) == form


def test_what_an_image_is_made_of_is_told(tmp_path: Path) -> None:
    path = signed(tmp_path, chip=ESP32C2FirmwareImage)
    structure = FORMAT.extract(str(path), Search()).structure
    assert structure[0] == "image for ESP32-C2 up to byte 2336, segments: 2"
    assert structure[1].startswith("signature 0: P-256, key digest sha256:")
    assert len(structure) == 2
    both = sign_inside(path, boot_key(), tmp_path / "both.bin", "esp32", existing=Existing.ADD)
    assert FORMAT.extract(str(both), Search()).structure[3] == "ESP32-C2 looks at signature 0 alone"


def test_the_command_line_signs_for_chips_with_a_key_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, plain, out = str(tmp_path / "home"), str(esp_image(tmp_path)), str(tmp_path / "signed.bin")
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "esp32", "--home", home, "--algorithm", "p521"]) == 1
    assert main(["key", "enrol", "esp32", "--home", home, "--algorithm", "rsa4096-pss"]) == 1
    assert main(["key", "enrol", "esp32", "--home", home]) == 0
    assert main(["sign", plain, "--home", home, "--out", out, "--product", "drive", "--generation", "7"]) == 0
    assert main(["verify", out, "--trust", f"{home}/trust.toml"]) == 0
    capsys.readouterr()
    assert main(["inspect", out, "--json"]) == 0
    facts = [(fact["name"], fact["value"]) for fact in json.loads(capsys.readouterr().out)["facts"]]
    assert ("generation", "7") in facts
    assert any(name == "structure" and "RSA-3072, key digest" in value for name, value in facts)
    assert main(["strip", out, "--out", str(tmp_path / "bare.bin")]) == 0
    assert (tmp_path / "bare.bin").read_bytes() == Path(plain).read_bytes()


def test_an_rsa_key_of_another_pki_signs_with_the_padding_that_chips_read(tmp_path: Path) -> None:
    home, other, out = str(tmp_path / "home"), str(tmp_path / "other"), str(tmp_path / "signed.bin")
    assert main(["init", home]) == 0
    assert main(["init", other]) == 0
    assert main(["key", "enrol", "esp32", "--home", other]) == 0
    words = ["key", "import-certificate", f"{other}/trust.d/esp32.pem", "--home", home, "--name", "chips"]
    assert main([*words, "--key", f"file:{other}/keys/esp32.pem", "--construction", "digest:esp32"]) == 0
    assert main(["sign", str(esp_image(tmp_path)), "--home", home, "--format", "esp32", "--out", out]) == 0
    assert main(["verify", out, "--trust", f"{other}/trust.toml"]) == 0


def test_a_file_that_only_looks_like_an_image_is_signed_beside_all_the_same(tmp_path: Path) -> None:
    release = PKI.leaf()
    path = tmp_path / "fw.bin"
    for data in (esp_image(tmp_path).read_bytes(), b"\xe9" + FIRMWARE, b"\xe9" * 4096 + b"\xe7" * 4096):
        path.write_bytes(data)
        (tmp_path / "fw.bin.p7s").write_bytes(p7s(release, data))
        assert judge(path, TRUST).outcome is TRUSTED
        path.write_bytes(data[:-1] + b"\0")
        assert judge(path, TRUST).outcome is REJECTED


def test_an_image_that_changes_before_it_is_written_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = type(FORMAT).attach
    other = esp_image(tmp_path, code=FIRMWARE[::-1]).read_bytes()
    plain = esp_image(tmp_path)
    sign_inside(plain, BOOT, tmp_path / "good.bin", "esp32")

    def swapped(form, prepared, sealed):  # type: ignore[no-untyped-def]
        plain.write_bytes(other)
        return attach(form, prepared, sealed)

    monkeypatch.setattr(type(FORMAT), "attach", swapped)
    with pytest.raises(SealwrightError):
        sign_inside(plain, BOOT, tmp_path / "no.bin", "esp32")
    assert not (tmp_path / "no.bin").exists()


def test_a_large_image_is_read_in_little_memory(tmp_path: Path) -> None:
    path = signed(tmp_path, code=bytes(12 << 20))
    tracemalloc.start()
    assert judge(path, TRUST).outcome is TRUSTED
    again = sign_inside(path, BOOT, tmp_path / "again.bin", "esp32", existing=Existing.REPLACE)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert again.stat().st_size == path.stat().st_size


def test_every_error_is_a_typed_one(tmp_path: Path) -> None:
    path = signed(tmp_path, code=FIRMWARE[:64])
    data = path.read_bytes()
    for at in [*range(300), *range(SECTOR, SECTOR + 110), *range(SECTOR + 1190, SECTOR + 1220)]:
        for new in (b"\0", b"\xff", b"\x7f\xff\xff\xff"):
            bad = str(changed(path, put(data, at, new)))
            for read in (
                lambda bad=bad: FORMAT.extract(bad, Search()),
                lambda bad=bad: FORMAT.prepare(bad, (HashName.SHA256,), Claims(), Existing.REPLACE, None),
            ):
                with suppress(SealwrightError):
                    read()
