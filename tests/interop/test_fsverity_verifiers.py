"""fs-verity before `fsverity digest`, which computes what the kernel compares, and openssl cms; what `fsverity sign` makes we trust."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.inside import sign_inside
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import believed, judge, knowing
from sealwright.artifact.source import open_artifact
from sealwright.envelope.kinds import Construction
from sealwright.formats.fsverity import signed_bytes
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
KINDS = (KeyKind.RSA3072, KeyKind.P256, KeyKind.P384)
DATA = bytes(range(251)) * 300


def files_key(kind: KeyKind = KeyKind.P256) -> Signer:
    return PKI.leaf("files", kind=kind, construction=Construction.FSVERITY)


def as_the_kernel(path: Path, signer: Signer) -> tuple[bool, str]:
    """The digest by fsverity, then the signature over it by OpenSSL with a certificate it is given."""
    made, words = run(["fsverity", "digest", path, "--for-builtin-sig", "--compact"])
    assert made, words
    content, certificate = path.with_name("content"), path.with_name("signer.pem")
    content.write_bytes(bytes.fromhex(words))
    certificate.write_text(signer.pem)
    return run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", f"{path}.fsverity.p7s", "-content", content, "-binary",
         "-CAfile", certificate, "-certfile", certificate, "-purpose", "any", "-partial_chain", "-no_check_time",
         "-out", "/dev/null"]
    )  # fmt: skip


def signed(folder: Path, signer: Signer, data: bytes = DATA) -> Path:
    (folder / "plain.bin").write_bytes(data)
    return sign_inside(folder / "plain.bin", signer, folder / "signed.bin", "fsverity")


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    signer, other = files_key(kind), files_key(kind)
    path = signed(tmp_path, signer)
    trust = believed(PKI, certificate=knowing(signer))
    accepted, words = as_the_kernel(path, signer)
    assert accepted, words
    assert judge(path, trust).outcome is TRUSTED
    assert not as_the_kernel(path, other)[0]
    signature = path.with_name(path.name + ".fsverity.p7s")
    for changed, at in ((path, 0), (path, len(DATA) - 1), (signature, len(signature.read_bytes()) - 1)):
        own = changed.read_bytes()
        changed.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not as_the_kernel(path, signer)[0]
        assert judge(path, trust).outcome is REJECTED
        changed.write_bytes(own)
    assert as_the_kernel(path, signer)[0]


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 128 * 4096, 128 * 4096 + 1, 128 * 128 * 4096 + 4097])
def test_the_digest_is_that_of_fsverity_for_every_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"x"[: size - size // 2])
    made, words = run(["fsverity", "digest", path, "--for-builtin-sig", "--compact"])
    assert made, words
    with open_artifact(str(path)) as source:
        assert signed_bytes(source).hex() == words.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_we_trust_what_fsverity_signs(tmp_path: Path, kind: KeyKind) -> None:
    signer, path = files_key(kind), tmp_path / "theirs.bin"
    path.write_bytes(DATA)
    (tmp_path / "key.pem").write_bytes(
        signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[union-attr]
    )
    (tmp_path / "own.pem").write_text(signer.pem)
    made, words = run(
        ["fsverity", "sign", path, f"{path}.fsverity.p7s", f"--key={tmp_path / 'key.pem'}",
         f"--cert={tmp_path / 'own.pem'}"]
    )  # fmt: skip
    assert made, words
    trust = believed(PKI, certificate=knowing(signer))
    verdict = judge(path, trust)
    assert verdict.outcome is TRUSTED, verdict.findings
    path.write_bytes(DATA + b"\0")
    assert judge(path, trust).outcome is REJECTED


def test_nothing_that_openssl_refuses_is_accepted_here(tmp_path: Path) -> None:
    signer = files_key()
    path = signed(tmp_path, signer, b"small")
    trust, lenient = believed(PKI, certificate=knowing(signer)), []
    signature = path.with_name(path.name + ".fsverity.p7s")
    whole = signature.read_bytes()
    for at, bad in flips(whole, bit=0x10):
        signature.write_bytes(bad)
        accepted, _ = as_the_kernel(path, signer)
        here = judge(path, trust).outcome is TRUSTED
        assert accepted or not here, at
        assert not here, at
        if accepted:
            lenient.append(at)
    assert not any(at >= len(whole) - 70 for at in lenient), lenient  # the value itself
