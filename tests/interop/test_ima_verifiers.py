"""IMA before evmctl, from a file beside and from the extended attribute; setfattr restores our lists; what evmctl signs we trust."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.inside import sign_inside
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import believed, judge, knowing
from sealwright.cli.main import main
from sealwright.envelope.kinds import Construction
from sealwright.formats.imalist import Entry, list_bytes, read_list
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
KINDS = (KeyKind.RSA3072, KeyKind.P256, KeyKind.P384)
DATA = b"#!/bin/sh\nexec drive\n"


def files_key(kind: KeyKind = KeyKind.P256) -> Signer:
    return PKI.leaf("files", kind=kind, construction=Construction.IMA)


def der(folder: Path, signer: Signer) -> Path:
    path = folder / "signer.der"
    path.write_bytes(signer.certificate)
    return path


def evmctl(path: Path, signer: Signer) -> tuple[bool, str]:
    return run(["evmctl", "ima_verify", "--sigfile", "-k", der(path.parent, signer), path])


def signed(folder: Path, signer: Signer) -> Path:
    (folder / "plain").write_bytes(DATA)
    return sign_inside(folder / "plain", signer, folder / "signed", "ima")


@pytest.mark.parametrize("kind", KINDS)
def test_evmctl_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    signer, other = files_key(kind), files_key(kind)
    path = signed(tmp_path, signer)
    trust, signature = believed(PKI, certificate=knowing(signer)), path.with_name("signed.sig")
    accepted, words = evmctl(path, signer)
    assert accepted, words
    assert judge(path, trust).outcome is TRUSTED
    assert not evmctl(path, other)[0]
    for changed, at in ((path, 3), (signature, len(signature.read_bytes()) - 1)):
        own = changed.read_bytes()
        changed.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not evmctl(path, signer)[0]
        assert judge(path, trust).outcome is REJECTED
        changed.write_bytes(own)
    assert evmctl(path, signer)[0]


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("kind", KINDS)
def test_we_trust_what_evmctl_signs(tmp_path: Path, kind: KeyKind, digest: str) -> None:
    signer, path = files_key(kind), tmp_path / "theirs"
    path.write_bytes(DATA)
    (tmp_path / "key.pem").write_bytes(
        signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())  # type: ignore[union-attr]
    )
    made, words = run(["evmctl", "ima_sign", "--sigfile", "-a", digest, "--key", tmp_path / "key.pem", path])
    assert made, words
    trust = believed(PKI, certificate=knowing(signer))
    verdict = judge(path, trust)
    assert verdict.outcome is TRUSTED, verdict.findings
    path.write_bytes(DATA + b"\n")
    assert judge(path, trust).outcome is REJECTED


def test_nothing_that_evmctl_refuses_is_accepted_here(tmp_path: Path) -> None:
    signer = files_key()
    path = signed(tmp_path, signer)
    trust, lenient = believed(PKI, certificate=knowing(signer)), []
    signature = path.with_name("signed.sig")
    whole = signature.read_bytes()
    changes = [*flips(whole, bit=0x01), *flips(whole, bit=0x10)]
    changes += [(size, whole[:size]) for size in range(len(whole))] + [(len(whole), whole + b"\0")]
    for at, bad in changes:
        signature.write_bytes(bad)
        accepted, words = evmctl(path, signer)
        here = judge(path, trust).outcome is TRUSTED
        assert accepted or not here, (at, words)
        assert not here, at
        if accepted:
            lenient.append(at)
    # evmctl reads neither the size of the value nor what stands behind it
    assert set(lenient) <= {7, 8, len(whole)}, lenient


def test_setfattr_restores_a_list_and_evmctl_accepts_each_attribute(tmp_path: Path) -> None:
    """On a file system with security attributes and as its root; elsewhere setfattr says that it may not."""
    home, root, listed = tmp_path / "home", tmp_path / "tree", tmp_path / "tree.ima"
    names = ("bin/start", "a\\b c", "größe")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "ima", "--home", str(home), "--algorithm", "p256"]) == 0
    assert main(["sign", str(root), "--home", str(home), "--format", "ima", "--out", str(listed)]) == 0
    made, words = run(
        ["openssl", "x509", "-in", home / "trust.d" / "ima.pem", "-outform", "der", "-out", tmp_path / "c.der"]
    )
    assert made, words
    restored, words = run(["setfattr", f"--restore={listed}"], cwd=root)
    if not restored:
        assert os.geteuid() != 0 or "not supported" in words, words
        assert "not permitted" in words or "not supported" in words, words
        return
    for name in names:
        accepted, words = run(["evmctl", "ima_verify", "-k", tmp_path / "c.der", name], cwd=root)
        assert accepted, words
    dumped, words = run(["getfattr", "--dump", "-m", "security.ima", "-e", "base64", "-R", "-P", "."], cwd=root)
    assert dumped, words
    (tmp_path / "dumped.ima").write_text(words)
    verifying = ["verify", str(root), "--trust", str(home / "trust.toml")]
    assert main([*verifying, "--signature", str(tmp_path / "dumped.ima")]) == 0
    (root / names[0]).write_text("other")
    assert not run(["evmctl", "ima_verify", "-k", tmp_path / "c.der", names[0]], cwd=root)[0]
    assert main([*verifying, "--signature", str(tmp_path / "dumped.ima")]) == 1


def test_setfattr_reads_names_as_we_write_them_and_getfattr_writes_them_so(tmp_path: Path) -> None:
    """With an attribute that every user may set, so that it is tried everywhere."""
    names = [bytes((byte, 0x61)) for byte in range(1, 256) if byte != 0x2F]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    text = list_bytes([Entry(name, name) for name in names]).replace(b"\nsecurity.ima=", b"\nuser.ima=")
    (tmp_path / "list.ima").write_bytes(text)
    restored, words = run(["setfattr", "--restore=list.ima"], cwd=tmp_path)
    assert restored, words
    for name in names:
        assert os.getxattr(os.path.join(os.fsencode(tmp_path), name), "user.ima") == name
    dump = ["getfattr", "--dump", "-m", "user.ima", "-e", "base64", "-R", "-P", "."]
    dumped = subprocess.run(dump, cwd=tmp_path, check=True, capture_output=True).stdout
    read = read_list(dumped.replace(b"\nuser.ima=", b"\nsecurity.ima="), "dump.ima")
    assert sorted(read) == sorted(Entry(name, name) for name in names)
