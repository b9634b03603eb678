"""dm-verity images before veritysetup, which reads image and tree, and openssl smime, which reads the signature as the kernel does; and the way back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.inside import sign_inside
from kit.mutate import flips, twin
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import believed, judge, knowing
from sealwright.envelope.kinds import Construction
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
KINDS = (KeyKind.RSA3072, KeyKind.P256, KeyKind.P384)
IMAGE = os.urandom(4096) * 150


def images_key(kind: KeyKind = KeyKind.P256) -> Signer:
    return PKI.leaf("images", kind=kind, construction=Construction.VERITY)


def smime(content: Path, signature: Path, signer: Signer) -> tuple[bool, str]:
    certificate = content.with_name("signer.pem")
    certificate.write_text(signer.pem)
    return run(
        ["openssl", "smime", "-verify", "-inform", "der", "-in", signature, "-content", content, "-binary",
         "-certfile", certificate, "-nointern", "-noverify", "-out", "/dev/null"]
    )  # fmt: skip


def veritysetup(path: Path, data_bytes: int) -> tuple[bool, str]:
    root = path.with_name(path.name + ".roothash").read_text().strip()
    return run(["/sbin/veritysetup", "verify", path, path, root, f"--hash-offset={data_bytes}"])


def as_the_device(path: Path, signer: Signer, data_bytes: int = len(IMAGE)) -> tuple[bool, str]:
    """The signature over the root hash, then every block against it."""
    root, signature = (path.with_name(path.name + ending) for ending in (".roothash", ".roothash.p7s"))
    accepted, words = smime(root, signature, signer)
    return (accepted, words) if not accepted else veritysetup(path, data_bytes)


def signed(folder: Path, signer: Signer, data: bytes = IMAGE) -> Path:
    (folder / "plain.img").write_bytes(data)
    return sign_inside(folder / "plain.img", signer, folder / "signed.img", "verity")


@pytest.mark.parametrize("kind", KINDS)
def test_both_verifiers_accept_what_we_sign_and_refuse_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    signer, other = images_key(kind), images_key(kind)
    path = signed(tmp_path, signer)
    root, signature = (path.with_name(path.name + ending) for ending in (".roothash", ".roothash.p7s"))
    trust = believed(PKI, certificate=knowing(signer))
    accepted, words = as_the_device(path, signer)
    assert accepted, words
    assert judge(path, trust).outcome is TRUSTED
    assert not as_the_device(path, other)[0]
    for changed, at in ((path, 5), (path, len(IMAGE) + 4096 + 40), (path, len(IMAGE) + 90), (signature, -1), (root, 0)):
        own = changed.read_bytes()
        at %= len(own)
        changed.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not as_the_device(path, signer)[0], (changed.name, at)
        assert judge(path, trust).outcome is REJECTED, (changed.name, at)
        changed.write_bytes(own)
    assert as_the_device(path, signer)[0]


@pytest.mark.parametrize("blocks", [1, 2, 127, 128, 129, 128 * 128, 128 * 128 + 1])
def test_veritysetup_reads_images_of_every_number_of_levels(tmp_path: Path, blocks: int) -> None:
    signer = images_key()
    path = tmp_path / "plain.img"
    with path.open("wb") as file:
        file.truncate(blocks * 4096)
        file.write(b"first")
        file.seek(blocks * 4096 - 4)
        file.write(b"last")
    out = sign_inside(path, signer, tmp_path / "signed.img", "verity")
    accepted, words = as_the_device(out, signer, blocks * 4096)
    assert accepted, words


@pytest.mark.parametrize("salt", ["-", "00" * 256, "0a1b"])
@pytest.mark.parametrize("kind", KINDS)
def test_we_trust_what_veritysetup_and_openssl_make(tmp_path: Path, kind: KeyKind, salt: str) -> None:
    signer, path = images_key(kind), tmp_path / "theirs.img"
    path.write_bytes(IMAGE)
    root, signature = tmp_path / "theirs.img.roothash", tmp_path / "theirs.img.roothash.p7s"
    made, words = run(
        ["/sbin/veritysetup", "format", path, path, f"--hash-offset={len(IMAGE)}", f"--salt={salt}",
         f"--root-hash-file={root}"]
    )  # fmt: skip
    assert made, words
    (tmp_path / "key.pem").write_bytes(
        signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[union-attr]
    )
    (tmp_path / "own.pem").write_text(signer.pem)
    made, words = run(
        ["openssl", "smime", "-sign", "-nocerts", "-noattr", "-binary", "-in", root, "-inkey", tmp_path / "key.pem",
         "-signer", tmp_path / "own.pem", "-outform", "der", "-out", signature]
    )  # fmt: skip
    assert made, words
    trust = believed(PKI, certificate=knowing(signer))
    verdict = judge(path, trust)
    assert verdict.outcome is TRUSTED, verdict.findings
    data = bytearray(path.read_bytes())
    data[4096] ^= 1
    path.write_bytes(data)
    assert judge(path, trust).outcome is REJECTED


@pytest.mark.parametrize(
    "options", [["--hash=sha512"], ["--data-block-size=1024"], ["--hash-block-size=1024"], ["--format=0"]]
)
def test_trees_of_other_kinds_are_refused_with_what_is_read(tmp_path: Path, options: list[str]) -> None:
    signer = images_key()
    path = signed(tmp_path, signer)
    trust = believed(PKI, certificate=knowing(signer))
    assert judge(path, trust).outcome is TRUSTED
    path.write_bytes(IMAGE)
    made, words = run(["/sbin/veritysetup", "format", path, path, f"--hash-offset={len(IMAGE)}", *options])
    assert made, words
    assert judge(path, trust).outcome is REJECTED


def test_nothing_that_the_verifiers_refuse_is_accepted_here(tmp_path: Path) -> None:
    """Where they are lenient: veritysetup reads neither its superblock's UUID nor zero bytes, nor what no digest needs."""
    signer, small = images_key(), IMAGE[:4096] + bytes(4096)
    path = signed(tmp_path, signer, small)
    trust, own, lenient = believed(PKI, certificate=knowing(signer)), path.read_bytes(), []
    sample = [*range(0, 8192, 1024), *range(8192, 8192 + 200), *range(8192 + 200, len(own), 256)]
    for at in sample:
        path.write_bytes(own[:at] + bytes([own[at] ^ 0x10]) + own[at + 1 :])
        accepted, _ = veritysetup(path, len(small))
        here = judge(path, trust).outcome is TRUSTED
        assert accepted or not here, at
        assert here is (8192 + 16 <= at < 8192 + 32), at
        if accepted and not here:
            lenient.append(at - len(small))
    path.write_bytes(own)
    # 39: behind the name of the hash; 120: the salt's room and the rest of the block; 4096 + 64: digests of no block
    assert all(39 <= at < 64 or 82 <= at < 88 or 120 <= at < 4096 or at >= 4096 + 64 for at in lenient), lenient
    signature = path.with_name(path.name + ".roothash.p7s")
    whole, root, lenient = signature.read_bytes(), path.with_name(path.name + ".roothash"), []
    for at, bad in flips(whole, bit=0x10):
        signature.write_bytes(bad)
        accepted, _ = smime(root, signature, signer)
        here = judge(path, trust).outcome is TRUSTED
        assert accepted or not here, at
        if accepted:
            lenient.append(at)
    assert not any(at >= len(whole) - 70 for at in lenient), lenient  # the value itself


def test_a_cut_image_is_refused_by_both(tmp_path: Path) -> None:
    signer = images_key()
    path = signed(tmp_path, signer)
    own, trust = path.read_bytes(), believed(PKI, certificate=knowing(signer))

    def both(data: bytes) -> tuple[bool, str]:
        path.write_bytes(data)
        accepted, words = as_the_device(path, signer)
        here = judge(path, trust).outcome is TRUSTED
        assert accepted or not here
        return here, words

    for bad in (own[:-4096], own[: len(IMAGE)], own[: len(IMAGE) + 4096], own + bytes(4096)):
        twin(both, own, bad)
