"""Kernel modules: what is appended, whose signature it is, and every ending a kernel could read differently."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat import asn1

from kit.inside import sign_inside, stripped
from kit.modules import tiny_module
from kit.mutate import flips, truncations
from kit.pki import NOW, Pki, Signer, p7s
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.envelope import asn1 as types
from sealwright.envelope.cms_write import assemble, signed_attributes, to_be_signed
from sealwright.envelope.kinds import FILE, Construction
from sealwright.errors import UsageError
from sealwright.formats.format import Existing
from sealwright.formats.kmod import MARK
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RSA = PKI.leaf("modules", kind=KeyKind.RSA3072, construction=Construction.KMOD)
EC = PKI.leaf("modules", construction=Construction.KMOD)
TRUST = believed(PKI, certificate=knowing(RSA, EC))
MODULE = tiny_module()


def module(folder: Path, signer: Signer = EC) -> Path:
    plain = folder / "plain.ko"
    plain.write_bytes(MODULE)
    return sign_inside(plain, signer, folder / "signed.ko", "kmod")


def changed(path: Path, data: bytes) -> Path:
    out = path.parent / "changed.ko"
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("signer", [RSA, EC], ids=["rsa3072", "p256"])
def test_a_module_is_trusted_and_stripped_to_itself(tmp_path: Path, signer: Signer) -> None:
    path = module(tmp_path, signer)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "kmod")
    assert path.read_bytes().endswith(MARK)
    assert stripped(path, tmp_path / "bare.ko", "kmod").read_bytes() == MODULE
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(tmp_path / "bare.ko", tmp_path / "no.ko", "kmod")


def test_a_signer_nobody_knows_is_told_by_serial(tmp_path: Path) -> None:
    path = module(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(path, believed(PKI, certificate=knowing(RSA)))
    assert codes(verdict) == ["SW-SIGNER-UNKNOWN"]
    assert f"serial {EC.x509.serial_number:x}" in verdict.findings[0].found
    assert codes(judge(tmp_path / "plain.ko", TRUST)) == ["SW-SIGNATURE-MISSING"]


def test_a_key_that_signs_files_does_not_sign_modules(tmp_path: Path) -> None:
    release = PKI.leaf(construction=Construction.CMS_ATTRIBUTES)
    trust = believed(PKI, certificate=knowing(EC, release))
    assert judge(module(tmp_path), trust).outcome is TRUSTED
    (tmp_path / "signed.ko").unlink()
    assert codes(judge(module(tmp_path, release), trust)) == ["SW-KEY-CONSTRUCTION"]
    (tmp_path / "plain.ko.p7s").write_bytes(p7s(EC, MODULE))
    assert codes(judge(tmp_path / "plain.ko", trust)) == ["SW-KEY-CONSTRUCTION"]
    (tmp_path / "plain.ko.p7s").write_bytes(p7s(release, MODULE))
    assert codes(judge(tmp_path / "plain.ko", trust)) == []


def test_signing_again_replaces(tmp_path: Path) -> None:
    path = module(tmp_path)
    for existing, why in ((Existing.REFUSE, "signed already"), (Existing.ADD, "reads one signature")):
        with pytest.raises(UsageError, match=why):
            sign_inside(path, RSA, tmp_path / "no.ko", "kmod", existing=existing)
    again = sign_inside(path, RSA, tmp_path / "again.ko", "kmod", existing=Existing.REPLACE)
    assert judge(again, believed(PKI, certificate=knowing(RSA))).outcome is TRUSTED
    assert stripped(again, tmp_path / "bare.ko", "kmod").read_bytes() == MODULE


def test_what_is_no_module_is_not_signed(tmp_path: Path) -> None:
    program = MODULE[:16] + b"\x02\x00" + MODULE[18:]
    for data in (program, b"#!/bin/sh\n", b""):
        (tmp_path / "other").write_bytes(data)
        with pytest.raises(UsageError, match="no ELF object"):
            sign_inside(tmp_path / "other", EC, tmp_path / "no.ko", "kmod")
    with pytest.raises(UsageError, match="no fields for product"):
        (tmp_path / "plain.ko").write_bytes(MODULE)
        sign_inside(tmp_path / "plain.ko", EC, tmp_path / "no.ko", "kmod", claims=Claims(version="1"))


def ending(data: bytes, form: str, at: int, value: int) -> bytes:
    """A signed module with a number of its struct module_signature changed."""
    info = bytearray(data)
    struct.pack_into(form, info, len(data) - len(MARK) - 12 + at, value)
    return bytes(info)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: ending(d, ">B", 0, 1), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">B", 1, 4), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">B", 2, 1), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">B", 3, 1), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">B", 4, 1), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">B", 7, 1), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">I", 8, 0), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">I", 8, 0xFFFF_FFFF), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">I", 8, len(d)), "SW-ARTIFACT-MALFORMED"),
        (lambda d: ending(d, ">I", 8, struct.unpack_from(">I", d, len(d) - 32)[0] - 1), "SW-SIGNATURE-MALFORMED"),
        (lambda d: d + b"\0", "SW-SIGNATURE-MISSING"),
        (lambda d: d[:-1], "SW-SIGNATURE-MISSING"),
        (lambda d: MARK, "SW-ARTIFACT-MALFORMED"),
        (lambda d: d[-len(MARK) - 12 :], "SW-ARTIFACT-MALFORMED"),
        (lambda d: b"#!/b" + d[4:], "SW-ARTIFACT-MALFORMED"),
    ],
)
def test_an_ending_the_kernel_could_read_differently_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], code: str
) -> None:
    path = module(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    bad = changed(path, change(path.read_bytes()))
    verdict = judge(bad, TRUST)
    expected = [code] if bad.read_bytes()[:4] == b"\x7fELF" else ["SW-SIGNATURE-MISSING"]
    assert codes(verdict) == expected


def test_signed_attributes_are_refused_where_there_are_none(tmp_path: Path) -> None:
    """A027: the signature of a CMS with attributes must not serve as one without, nor the other way round."""
    path = module(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    made = EC.signing
    attributes = signed_attributes(made, FILE, Digest.of(MODULE), NOW)
    value = EC.key.sign([to_be_signed(attributes, made.algorithm)])[0]
    full = assemble(made, FILE, attributes, value)
    info = struct.pack(">BBBBB3sI", 0, 0, 2, 0, 0, bytes(3), len(full))
    assert codes(judge(changed(path, MODULE + full + info + MARK), TRUST)) == ["SW-SIGNATURE-MALFORMED"]
    # the attributes themselves as the module: no ELF object, so no module
    bare = asn1.decode_der(types.ContentInfo, path.read_bytes()[len(MODULE) : -len(MARK) - 12])
    (signer,) = bare.content.signers.as_list()
    signer.signature = value
    bare.content.signers = asn1.SetOf([signer])
    cms = asn1.encode_der(bare)
    info = struct.pack(">BBBBB3sI", 0, 0, 2, 0, 0, bytes(3), len(cms))
    assert judge(changed(path, attributes + cms + info + MARK), TRUST).outcome is REJECTED


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    path = module(tmp_path)
    data = path.read_bytes()
    for bit in (0x01, 0x80):
        for at, bad in flips(data, bit=bit):
            assert judge(changed(path, bad), TRUST).outcome is REJECTED, at
    for bad in truncations(data):
        assert judge(changed(path, bad), TRUST).outcome is REJECTED, len(bad)
