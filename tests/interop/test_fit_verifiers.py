"""FIT images before U-Boot's own code: what we sign it starts, what is altered it refuses, and we trust what mkimage signs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import believed, codes, judge, knowing
from kit.uboot import KERNEL, compiled, fit, fit_check_sign
from sealwright.artifact.output import Output, write_batch
from sealwright.envelope.kinds import Construction
from sealwright.formats.control_tree import with_required_key
from sealwright.formats.format import Existing
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
KINDS = (KeyKind.RSA3072, KeyKind.RSA3072_PSS)


def board_key(kind: KeyKind = KeyKind.RSA3072) -> Signer:
    return PKI.leaf("board", kind=kind, construction=Construction.FIT)


def control(folder: Path, signer: Signer, name: str = "control") -> Path:
    plain = compiled(folder, '/ { model = "u-boot"; };', f"plain-{name}")
    path = folder / f"{name}.dtb"
    write_batch([Output(str(path), with_required_key(str(plain), signer.certificate, signer.key.info.algorithm))])
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [(), ("-E",), ("-E", "-B", "0x1000")], ids=["inside", "behind", "aligned"])
def test_u_boot_starts_what_we_sign_and_refuses_what_is_altered(
    tmp_path: Path, kind: KeyKind, options: tuple[str, ...]
) -> None:
    signer, other = board_key(kind), board_key(kind)
    plain = fit(tmp_path, *options)
    path = sign_inside(plain, signer, tmp_path / "signed.fit", "fit")
    trust, keys, strange = (
        believed(PKI, certificate=knowing(signer)),
        control(tmp_path, signer),
        control(tmp_path, other, "o"),
    )
    accepted, words = fit_check_sign(path, keys)
    assert accepted, words
    assert judge(path, trust).outcome is TRUSTED
    for image, tree in ((path, strange), (plain, keys), (stripped(path, tmp_path / "bare.fit", "fit"), keys)):
        assert not fit_check_sign(image, tree)[0]
    assert judge(path, believed(PKI, certificate=knowing(other))).outcome is REJECTED
    own = path.read_bytes()
    for place in (own.index(KERNEL) + 99, own.index(b"plant image"), own.index(b"conf-1\0")):
        path.write_bytes(own[:place] + bytes([own[place] ^ 1]) + own[place + 1 :])
        assert not fit_check_sign(path, keys)[0]
        assert judge(path, trust).outcome is REJECTED


def test_an_image_swapped_together_with_its_hash_is_refused(tmp_path: Path) -> None:
    signer = board_key()
    path = sign_inside(fit(tmp_path), signer, tmp_path / "signed.fit", "fit")
    keys, trust = control(tmp_path, signer), believed(PKI, certificate=knowing(signer))
    assert fit_check_sign(path, keys)[0]
    assert judge(path, trust).outcome is TRUSTED
    evil = KERNEL[::-1]
    data = path.read_bytes().replace(KERNEL, evil)
    path.write_bytes(data.replace(hashlib.sha256(KERNEL).digest(), hashlib.sha256(evil).digest()))
    assert not fit_check_sign(path, keys)[0]
    assert judge(path, trust).outcome is REJECTED


def test_we_trust_what_mkimage_signs_where_everything_is_covered(tmp_path: Path) -> None:
    signer = board_key()
    plain = fit(tmp_path)
    (tmp_path / "dev.key").write_bytes(
        signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())  # type: ignore[union-attr]
    )
    (tmp_path / "dev.crt").write_text(signer.pem)
    keys = compiled(tmp_path, '/ { model = "u-boot"; };', "keys")
    made, words = run(["dtc", "-q", "-I", "dtb", "-O", "dtb", "-p", "4096", "-o", tmp_path / "keys4k.dtb", keys])
    assert made, words
    trust = believed(PKI, certificate=knowing(signer))
    assert judge(plain, trust).outcome is REJECTED
    made, words = run(["mkimage", "-F", "-k", tmp_path, "-K", tmp_path / "keys4k.dtb", "-r", plain])
    assert made, words
    assert fit_check_sign(plain, tmp_path / "keys4k.dtb")[0]
    assert codes(judge(plain, trust)) == []


def test_each_configuration_is_signed_and_started(tmp_path: Path) -> None:
    signer = board_key()
    first = sign_inside(fit(tmp_path, configurations=2), signer, tmp_path / "1.fit", "fit", existing=Existing.ADD)
    both = sign_inside(first, signer, tmp_path / "2.fit", "fit", existing=Existing.ADD)
    keys, trust = control(tmp_path, signer), believed(PKI, certificate=knowing(signer))
    assert [fit_check_sign(first, keys, name)[0] for name in ("conf-1", "conf-2")] == [True, False]
    assert judge(first, trust).outcome is REJECTED
    assert [fit_check_sign(both, keys, name)[0] for name in ("conf-1", "conf-2")] == [True, True]
    assert judge(both, trust).outcome is TRUSTED


def test_nothing_that_u_boot_refuses_is_accepted_here(tmp_path: Path) -> None:
    signer = board_key()
    path = sign_inside(fit(tmp_path, kernel=KERNEL[:32]), signer, tmp_path / "signed.fit", "fit")
    trust, keys, bad = believed(PKI, certificate=knowing(signer)), control(tmp_path, signer), tmp_path / "bad.fit"
    for at, data in flips(path.read_bytes()):
        bad.write_bytes(data)
        if judge(bad, trust).outcome is TRUSTED:
            assert fit_check_sign(bad, keys)[0], at
