"""Makers' own headers: what is hashed, what is claimed, and every image that a device could read differently."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kit.inside import stripped
from kit.layouts import (
    DRIVE,
    METER,
    PAYLOAD,
    PLC,
    drive_image,
    layout,
    meter_image,
    plc_image,
    sign_layout,
    trusting,
)
from kit.mutate import flips, truncations
from kit.pki import NOW, Pki, Signer, p7s
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.envelope.cms_write import signed_attributes, to_be_signed
from sealwright.envelope.kinds import FILE, Construction
from sealwright.errors import ChangedWhileRead, KeyRefused, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Extent, Search
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
BOOT = PKI.leaf("boot key", construction=Construction.LAYOUT)
RSA = PKI.leaf("plc key", kind=KeyKind.RSA3072, construction=Construction.LAYOUT)
SMALL = PAYLOAD[:96]
EVERY = {
    "drive": (DRIVE, drive_image(SMALL), BOOT),
    "plc": (PLC, plc_image(SMALL), RSA),
    "meter": (METER, meter_image(SMALL, flash=512), BOOT),
}
TRUST = trusting(PKI, DRIVE, PLC, METER, known=(BOOT, RSA))
NOTHING = Claims()


def signed(
    folder: Path,
    which: str,
    *,
    claims: Claims = NOTHING,
    signer: Signer | None = None,
    image: bytes | None = None,
    existing: Existing = Existing.REFUSE,
) -> Path:
    text, usual, key = EVERY[which]
    plain = folder / f"{which}.bin"
    plain.write_bytes(image if image is not None else usual)
    out = folder / f"{which}.signed"
    out.unlink(missing_ok=True)
    return sign_layout(plain, signer or key, out, text, claims=claims, existing=existing)


def changed(folder: Path, data: bytes) -> Path:
    path = folder / "changed"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("which", EVERY)
def test_an_image_is_trusted_by_the_layout_that_the_trust_file_names(tmp_path: Path, which: str) -> None:
    path = signed(tmp_path, which)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, f"layout:{layout(EVERY[which][0]).name}"), codes(verdict)
    assert verdict.coverage.ranges[-1].end == path.stat().st_size
    unknown = judge(path, believed(PKI, certificate=knowing(BOOT, RSA)))
    assert codes(unknown) == ["SW-SIGNATURE-MISSING"], "a file of a layout that nobody named is a file"


@pytest.mark.parametrize("which", EVERY)
def test_no_changed_byte_is_accepted(tmp_path: Path, which: str) -> None:
    data = signed(tmp_path, which).read_bytes()
    accepted = [at for at, one in flips(data) if judge(changed(tmp_path, one), TRUST).outcome is TRUSTED]
    factory = range(len(data) - 16, len(data)) if which == "meter" else range(0)
    assert accepted == list(factory), "what the layout leaves out, with its reason, and nothing else"
    uncovered = [one for one in judge(changed(tmp_path, data), TRUST).coverage.ranges if one.extent is Extent.UNCOVERED]
    assert [(one.start, one.end) for one in uncovered if "factory" in one.reason] == (
        [(factory.start, factory.stop)] if which == "meter" else []
    )


@pytest.mark.parametrize("which", EVERY)
def test_no_cut_or_lengthened_image_is_accepted(tmp_path: Path, which: str) -> None:
    data = signed(tmp_path, which).read_bytes()
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    text, _, key = EVERY[which]
    trust = TRUST
    if which == "meter":  # erased flash is of any size, unless the layout says of which
        trust = trusting(PKI, _sized(text, len(data)), known=(key,))
    for one in truncations(data, step=7):
        assert judge(changed(tmp_path, one), trust).outcome is not TRUSTED, len(one)
    for more in (b"\0", b"\xff", b"PK\3\4 another file", data):
        assert judge(changed(tmp_path, data + more), trust).outcome is not TRUSTED, more
    assert judge(changed(tmp_path, data), trust).outcome is TRUSTED


def _sized(text: str, size: int) -> str:
    return text.replace("\n[[magic]]", f"\nlength_of_file = {size}\n[[magic]]", 1)


def test_fill_bytes_may_go_on_and_be_nothing_else(tmp_path: Path) -> None:
    data = signed(tmp_path, "meter").read_bytes()
    head, factory = data[:-16], data[-16:]
    assert judge(changed(tmp_path, head + b"\xff" * 64 + factory), TRUST).outcome is TRUSTED
    verdict = judge(changed(tmp_path, head + b"\xff" * 63 + b"\xfe" + factory), TRUST)
    assert re.search(rf"byte {len(head) + 63}: a byte that is not 0xff", verdict.findings[0].found)


def test_claims_are_read_from_signed_fields(tmp_path: Path) -> None:
    asked = Claims(product="VX-201 drive", version="2.1.900", generation=7, hardware=("rev C",))
    image = bytearray(drive_image(SMALL))
    image[24:26] = bytes(2)
    verdict = judge(signed(tmp_path, "drive", claims=asked, image=bytes(image)), TRUST)
    assert (verdict.outcome, verdict.claims) == (TRUSTED, asked)
    written = (tmp_path / "drive.signed").read_bytes()
    assert written[16:26] == struct.pack("<BBHIH", 2, 1, 900, 7, 0x201)
    assert judge(signed(tmp_path, "plc"), TRUST).claims == Claims(version="4.2-lts", generation=7)
    assert judge(signed(tmp_path, "meter"), TRUST).claims == Claims(product="meter 3", generation=9)


def test_rules_on_products_and_generations_are_met_by_fields(tmp_path: Path) -> None:
    path = signed(tmp_path, "drive", claims=Claims(generation=7, version="1.0.0"))
    rule = {"name": "drives", "environment": "production", "signer": [{"anchors": ["root"]}]}
    for more, outcome in (
        ({"products": ["VX-200 drive"], "minimum_generation": 7}, TRUSTED),
        ({"products": ["VX-200 drive"], "minimum_generation": 8}, REJECTED),
        ({"products": ["VX-201 drive"]}, REJECTED),
        ({"formats": ["layout"]}, TRUSTED),
        ({"formats": ["layout:acme-drive"]}, TRUSTED),
        ({"formats": ["layout:nordic-plc"]}, REJECTED),
        ({"formats": ["mcuboot"]}, REJECTED),
        ({"hardware": ["rev C"]}, TRUSTED),
        ({"hardware": ["rev D"]}, REJECTED),
    ):
        trust = trusting(PKI, DRIVE, PLC, known=(BOOT,), rule=[rule | more])  # type: ignore[list-item]
        assert judge(path, trust).outcome is outcome, more


def test_a_lax_rule_for_one_layout_does_not_open_the_strict_one_for_all(tmp_path: Path) -> None:
    path = signed(tmp_path, "drive", claims=Claims(generation=7))
    rule = {"environment": "production", "signer": [{"anchors": ["root"]}]}
    lax = rule | {"name": "lax", "formats": ["layout:acme-drive"]}
    for least, outcome in ((7, TRUSTED), (8, REJECTED)):
        strict = rule | {"name": "strict", "formats": ["layout"], "minimum_generation": least}
        assert judge(path, trusting(PKI, DRIVE, known=(BOOT,), rule=[lax, strict])).outcome is outcome  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (Claims(version="1.2"), "not 3 numbers with dots"),
        (Claims(version="1.2.03"), "not 3 numbers"),
        (Claims(version="256.0.0"), "does not fit into 8 bits"),
        (Claims(generation=1 << 32), "does not fit into 32 bits"),
        (Claims(generation=0xFFFF_FFFF), "erased memory"),
        (Claims(product="VX-999 drive"), "it is none of"),
        (Claims(product="VX-201 drive"), "the image says product VX-200 drive"),
        (Claims(hardware=("rev D",)), "the image says hardware rev C"),
        (Claims(hardware=("rev C", "rev D")), "one for hardware"),
        (Claims(environment="test"), "no field for the environment"),
    ],
)
def test_claims_that_a_field_cannot_carry_or_does_not_say_are_refused(tmp_path: Path, claims: Claims, why: str) -> None:
    assert signed(tmp_path, "drive", claims=Claims(version="1.2.3", generation=3, product="VX-200 drive"))
    (tmp_path / "drive.signed").unlink()
    with pytest.raises(UsageError, match=why):
        signed(tmp_path, "drive", claims=claims)
    assert not (tmp_path / "drive.signed").exists()


def test_a_claim_without_a_field_is_for_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no field for the product.*manifest"):
        signed(tmp_path, "plc", claims=Claims(product="PLC"))


@pytest.mark.parametrize("which", EVERY)
def test_a_filled_place_is_refused_replaced_and_stripped(tmp_path: Path, which: str) -> None:
    text, image, key = EVERY[which]
    path, other = signed(tmp_path, which), PKI.leaf("next", construction=Construction.LAYOUT, kind=_kind(key))
    one = layout(text)
    with pytest.raises(UsageError, match="filled already"):
        sign_layout(path, other, tmp_path / "no", text)
    with pytest.raises(UsageError, match="room for one signature"):
        sign_layout(path, other, tmp_path / "no", text, existing=Existing.ADD)
    again = sign_layout(path, other, tmp_path / "again", text, existing=Existing.REPLACE)
    assert judge(again, trusting(PKI, text, known=(other,))).outcome is TRUSTED
    assert judge(again, trusting(PKI, text, known=(key,))).outcome is REJECTED
    bare = stripped(path, tmp_path / "bare", "layout", (one,))
    expected = image
    if which == "meter":  # its payload's digest was not filled in, and stays now
        expected = image[:32] + hashlib.sha256(SMALL).digest() + image[64:]
    assert bare.read_bytes() == expected
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no", "layout", (one,))


def _kind(signer: Signer) -> KeyKind:
    return KeyKind.RSA3072 if signer is RSA else KeyKind.P256


def test_erased_flash_is_an_empty_place_too(tmp_path: Path) -> None:
    image = bytearray(drive_image(SMALL))
    image[64:128] = b"\xff" * 64
    assert judge(signed(tmp_path, "drive", image=bytes(image)), TRUST).outcome is TRUSTED
    assert codes(judge(changed(tmp_path, bytes(image)), TRUST)) == ["SW-SIGNATURE-MISSING"]


def test_a_key_of_another_type_or_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for which, kind, why in (
        ("drive", KeyKind.P384, "wants sha256, and this key signs sha384"),
        ("drive", KeyKind.RSA3072, "wants ECDSA with SHA-256 in 64 bytes"),
        ("plc", KeyKind.RSA3072_PSS, "wants RSA PKCS#1"),
        ("plc", KeyKind.RSA4096, "in 384 bytes"),
    ):
        signer = PKI.leaf("wrong", kind=kind, construction=Construction.LAYOUT)
        with pytest.raises(KeyRefused, match=why):
            signed(tmp_path, which, signer=signer)
        assert not (tmp_path / f"{which}.signed").exists()


def test_a_key_signs_by_its_one_construction(tmp_path: Path) -> None:
    release, boards = PKI.leaf(), PKI.leaf(construction=Construction.MCUBOOT)
    trust = trusting(PKI, DRIVE, known=(BOOT, release, boards))
    assert judge(signed(tmp_path, "drive"), trust).outcome is TRUSTED
    for signer in (release, boards):
        assert codes(judge(signed(tmp_path, "drive", signer=signer), trust)) == ["SW-KEY-CONSTRUCTION"]
    path = changed(tmp_path, SMALL)
    for signer, said in ((release, []), (BOOT, ["SW-KEY-CONSTRUCTION"])):
        (tmp_path / "changed.p7s").write_bytes(p7s(signer, SMALL))
        assert codes(judge(path, trust)) == said


def test_a_stranger_and_a_wrong_key_are_refused(tmp_path: Path) -> None:
    stranger = Pki.make("EVIL").leaf("boot key", construction=Construction.LAYOUT)
    assert judge(signed(tmp_path, "drive"), TRUST).outcome is TRUSTED
    path = signed(tmp_path, "drive", signer=stranger)
    assert codes(judge(path, TRUST)) == ["SW-SIGNATURE-INVALID"]
    assert codes(judge(path, trusting(PKI, DRIVE, known=(BOOT, stranger)))) == ["SW-CERT-NO-PATH"]
    assert codes(judge(path, trusting(PKI, DRIVE, known=()))) == ["SW-SIGNER-UNKNOWN"]


def _at(at: int, data: bytes) -> Callable[[bytes], bytes]:
    return lambda image: image[:at] + data + image[at + len(data) :]


@pytest.mark.parametrize(
    ("which", "change", "why"),
    [
        ("drive", _at(12, struct.pack("<I", 97)), "byte 224: it has 224 bytes, and its layout says 225"),
        ("drive", _at(12, struct.pack("<I", 0)), "its layout says 128"),
        ("drive", _at(12, b"\xff\xff\xff\xff"), "its layout says 4294967423"),
        ("drive", _at(10, b"\1"), "byte 10: there is not 00 00, which every image has there"),
        ("drive", _at(50, b"\1"), "byte 50: a byte that is not 0x00 among fill bytes"),
        ("drive", _at(24, b"\x99\x99"), "byte 24: the field of the product: the number 0x9999 has no name"),
        ("drive", _at(32, b"rev\x1b\0"), "byte 32: the field of the hardware: something follows|not printable"),
        ("drive", _at(32, b"rev\0C"), "byte 32: the field of the hardware: something follows the end of its text"),
        ("plc", _at(8, b"\xff\xff\xff\xff"), "its layout says"),
        ("plc", _at(16, b"\xff\xfe\0\0"), "byte 16: the field of the version"),
        ("meter", _at(4, struct.pack("<H", 96)), r"byte 176: part 3 \(hashed\) would end at 96"),
        ("meter", _at(4, struct.pack("<H", 0xFFFF)), r"part 5 \(fill\) would end at 496"),
        ("meter", _at(8, struct.pack("<I", 0xFFFF_FFFF)), r"part 5 \(fill\) would end at 496"),
        ("meter", _at(16, b"\xff" * 7 + b"\x80"), "byte 16: the field of the generation: .* beyond 63 bits"),
    ],
)  # fmt: skip
def test_an_image_that_a_device_could_read_differently_is_refused(
    tmp_path: Path, which: str, change: Callable[[bytes], bytes], why: str
) -> None:
    path = signed(tmp_path, which)
    assert judge(path, TRUST).outcome is TRUSTED
    data = change(path.read_bytes())
    verdict = judge(changed(tmp_path, data), TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert re.search(why, verdict.findings[0].found), verdict.findings[0].found
    with pytest.raises(MalformedArtifact, match=why):
        signed(tmp_path, which, image=change(EVERY[which][1]))


def test_a_changed_payload_is_told_by_the_digest_that_is_stored(tmp_path: Path) -> None:
    for which, at in (("plc", 64), ("meter", 300)):
        data = signed(tmp_path, which).read_bytes()
        assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
        assert codes(judge(changed(tmp_path, _at(at, b"\0")(data)), TRUST)) == ["SW-FILE-CHANGED"]
    wrong = _at(40, b"\0")(EVERY["plc"][1])
    with pytest.raises(MalformedArtifact, match="the digest in it is not its own"):
        signed(tmp_path, "plc", image=wrong)
    filled = _at(32, hashlib.sha256(b"another payload").digest())(EVERY["meter"][1])
    with pytest.raises(MalformedArtifact, match="the payload's digest in it is"):
        signed(tmp_path, "meter", image=filled)
    emptied = _at(32 + 96, bytes(32))(signed(tmp_path, "plc").read_bytes())
    assert re.search("its stored digest is empty", judge(changed(tmp_path, emptied), TRUST).findings[0].found)


def test_values_that_are_no_signatures_are_refused(tmp_path: Path) -> None:
    data = signed(tmp_path, "drive").read_bytes()
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    for value in (bytes(63) + b"\1", b"\1" + bytes(63), b"\xff" * 63 + b"\xfe", bytes(31) + b"\1" + bytes(31) + b"\1"):
        assert codes(judge(changed(tmp_path, _at(64, value)(data)), TRUST)) == ["SW-SIGNATURE-INVALID"]  # A001
    data = signed(tmp_path, "meter").read_bytes()
    size = data[97] + 2
    value = data[96 : 96 + size]
    r, _ = decode_dss_signature(value)
    assert r
    odd = [
        bytes.fromhex("3006020100020100"),  # A001
        b"\x30\x81" + value[1:2] + value[2:],  # a length in a long form (A003)
        b"\x30\x80" + value[2:] + b"\0\0",
        b"\x30" + bytes([value[1] + 1]) + value[2:] + b"\0",
        value + b"\0",
        value[:-1],
    ]
    for one in odd:
        verdict = judge(changed(tmp_path, _at(96, one.ljust(80, b"\xff"))(data)), TRUST)
        assert verdict.outcome is REJECTED
        assert codes(verdict)[0] in ("SW-ARTIFACT-MALFORMED", "SW-SIGNATURE-INVALID")


ONE = """# sealwright layout 1
name = "one"
[[magic]]
at = 0
text = "MAGICONE"
[[part]]
from = 0
to = 8
is = "hashed"
[[part]]
from = 8
to = 72
is = "signature"
[[part]]
from = 72
to = "end"
is = "hashed"
[signature]
scheme = "ecdsa"
encoding = "raw-be"
[generation]
at = 72
number = "u32-le"
"""
# the same signed bytes, the signature at their end, and another field for the counter
TWO = (
    ONE.replace('"one"', '"two"')
    .replace('at = 0\ntext = "MAGICONE"', 'at = 8\ntext = "MAGICTWO"')
    .replace('from = 0\nto = 8\nis = "hashed"', 'from = 0\nto = "end - 64"\nis = "hashed"')
    .replace('from = 8\nto = 72\nis = "signature"', 'from = "end - 64"\nto = "end"\nis = "signature"')
    .replace('[[part]]\nfrom = 72\nto = "end"\nis = "hashed"\n', "")
    .replace("at = 72\nnumber", "at = 16\nnumber")
)


def test_a_signature_made_under_one_layout_is_none_under_another(tmp_path: Path) -> None:
    """A029, A089: the same key, the same signed bytes, another reading."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"MAGICONEMAGICTWO" + (5).to_bytes(4, "little") + PAYLOAD + bytes(64))
    path = sign_layout(plain, BOOT, tmp_path / "two", TWO)
    assert judge(path, trusting(PKI, TWO, known=(BOOT,))).claims == Claims(generation=5)
    data = path.read_bytes()
    moved = changed(tmp_path, data[:8] + data[-64:] + data[8:-64])
    alone = judge(moved, trusting(PKI, ONE, known=(BOOT,)))
    assert alone.claims.generation == int.from_bytes(b"MAGI", "little"), "with that layout alone nobody could tell"
    both = trusting(PKI, ONE, TWO, known=(BOOT,))
    verdict = judge(moved, both)
    assert verdict.outcome is REJECTED
    assert "its signed bytes have the magic of the layout two as well" in verdict.findings[0].found
    assert "the magic of several layouts: one and two" in judge(path, both).findings[0].found
    fine = tmp_path / "fine"
    fine.write_bytes(b"MAGICONE" + bytes(64) + PAYLOAD)
    assert judge(sign_layout(fine, BOOT, tmp_path / "one", ONE), both).outcome is TRUSTED


def test_signed_attributes_of_a_cms_never_serve_as_an_image(tmp_path: Path) -> None:
    """A027: the key of a certificate that says nothing of constructions signed a CMS; its attributes are made an image."""
    certificate = BOOT.signing
    attributes = signed_attributes(certificate, FILE, Digest.of(PAYLOAD), NOW)
    value = BOOT.key.sign([to_be_signed(attributes, certificate.algorithm)])[0]
    r, s = decode_dss_signature(value)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    text = ONE.replace('at = 0\ntext = "MAGICONE"', f'at = 0\nbytes = "{attributes[:8].hex()}"').replace(
        '[generation]\nat = 72\nnumber = "u32-le"\n', ""
    )
    path = changed(tmp_path, attributes[:8] + raw + attributes[8:])
    verdict = judge(path, trusting(PKI, text, known=(BOOT,)))
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert "one DER SET of attributes, as a CMS signs" in verdict.findings[0].found
    longer = tmp_path / "longer"
    longer.write_bytes(attributes[:8] + bytes(64) + attributes[8:] + b"!")
    signed_longer = sign_layout(longer, BOOT, tmp_path / "ok", text)
    assert judge(signed_longer, trusting(PKI, text, known=(BOOT,))).outcome is TRUSTED


def test_a_denied_image_is_refused_by_the_name_of_its_layout_or_of_all(tmp_path: Path) -> None:
    path = signed(tmp_path, "drive")
    digest = str(judge(path, TRUST).artifact)
    for form, outcome in (("layout", REJECTED), ("layout:acme-drive", REJECTED), ("layout:other", TRUSTED)):
        deny = [{"artifact": digest, "format": form, "reason": "it overheats"}]
        assert judge(path, trusting(PKI, DRIVE, known=(BOOT,), deny=deny)).outcome is outcome  # type: ignore[arg-type]


def test_a_file_that_changes_after_it_was_prepared_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = embedded_format("layout", (layout(DRIVE),))
    attach = type(form).attach

    def late(self: object, prepared: object, sealed: object) -> object:
        (tmp_path / "drive.bin").write_bytes(drive_image(SMALL[::-1]))
        return attach(self, prepared, sealed)  # type: ignore[arg-type]

    monkeypatch.setattr(type(form), "attach", late)
    with pytest.raises((ChangedWhileRead, SealwrightError)):
        signed(tmp_path, "drive")
    assert not (tmp_path / "drive.signed").exists()


def test_fields_that_meet_in_one_image_are_not_written_over_each_other(tmp_path: Path) -> None:
    text = METER.replace("[product]\nat = 64\ntext = 32\npadding = 32\n", "").replace(
        "[generation]\nat = 16", '[generation]\nat = "header - 80"'
    )
    text += '[version]\nat = 176\nnumbers = ["u32-le"]\n'
    for header, outcome in ((272, None), (258, "would be written into the same bytes")):
        image = struct.pack("<4sHHI20x", b"ZMTR", header, 0, len(SMALL)) + bytes(144) + bytes(header - 176) + SMALL
        plain = tmp_path / f"{header}.bin"
        plain.write_bytes(image + b"\xff" * 32)
        claims = Claims(version="3", generation=7)
        if outcome is None:
            path = sign_layout(plain, BOOT, tmp_path / "ok", text, claims=claims)
            assert judge(path, trusting(PKI, text, known=(BOOT,))).claims == claims
        else:
            with pytest.raises(MalformedArtifact, match=outcome):
                sign_layout(plain, BOOT, tmp_path / "no", text, claims=claims)


def test_a_large_sparse_image_is_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(drive_image(SMALL))
    os.truncate(path, 1 << 40)
    with pytest.raises(MalformedArtifact, match="its layout says 224"):
        embedded_format("layout", (layout(DRIVE),)).strip(str(path))
    assert codes(judge(path, TRUST)) == ["SW-ARTIFACT-MALFORMED"]


def test_structure_and_candidates_are_the_same_whoever_asks(tmp_path: Path) -> None:
    path = signed(tmp_path, "meter")
    with_search = embedded_format("layout", (layout(METER),)).extract(str(path), Search())
    assert len(with_search.candidates) == 1
    assert with_search.structure[0].startswith("layout zeta-meter")
    assert "bytes 96 to 176: signature" in with_search.structure
