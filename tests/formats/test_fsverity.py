"""fs-verity: the digest that the kernel compares, its signature beside the file, and what it cannot be mistaken for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.pki import Pki, Signer
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope.bare import bare_cms, content_info
from sealwright.envelope.construct import asked_of_key
from sealwright.envelope.kinds import FSVERITY as KIND
from sealwright.envelope.kinds import Construction
from sealwright.errors import UsageError
from sealwright.formats.format import Existing
from sealwright.formats.fsverity import MAX_SIGNATURE_BYTES, signed_bytes
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EC = PKI.leaf("files", construction=Construction.FSVERITY)
RSA = PKI.leaf("files", kind=KeyKind.RSA3072, construction=Construction.FSVERITY)
OTHER = PKI.leaf("other", construction=Construction.FSVERITY)
VERITY = PKI.leaf("images", construction=Construction.VERITY)
TRUST = believed(PKI, certificate=knowing(EC, RSA, VERITY))
DATA = bytes(range(256)) * 40  # two and a half blocks


def file(folder: Path, data: bytes = DATA, signer: Signer = EC) -> Path:
    path = folder / "plain.bin"
    path.write_bytes(data)
    return sign_inside(path, signer, folder / "signed.bin", "fsverity")


def signature_of(path: Path) -> Path:
    return path.with_name(path.name + ".fsverity.p7s")


@pytest.mark.parametrize("signer", [RSA, EC], ids=["rsa3072", "p256"])
@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 129 * 128 * 4096 + 5])
def test_a_file_of_any_size_is_trusted_as_it_is(tmp_path: Path, signer: Signer, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    path = file(tmp_path, data, signer)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format, codes(verdict)) == (TRUSTED, "fsverity", [])
    assert path.read_bytes() == data
    assert stripped(path, tmp_path / "bare.bin", "fsverity").read_bytes() == data


def test_the_digest_is_made_of_tree_and_size(tmp_path: Path) -> None:
    """By hand for one block: its hash is the root; the size tells files apart that differ in zero bytes at their end."""
    for data in (b"x", b"x\0"):
        (tmp_path / "one").write_bytes(data)
        root = hashlib.sha256(data.ljust(4096, b"\0")).digest()
        descriptor = bytes((1, 1, 12, 0)) + bytes(4) + len(data).to_bytes(8, "little") + root.ljust(240, b"\0")
        with open_artifact(str(tmp_path / "one")) as source:
            assert signed_bytes(source) == b"FSVerity\x01\0\x20\0" + hashlib.sha256(descriptor).digest()


@pytest.mark.parametrize(("certificates", "outcome"), [(10, TRUSTED), (32, REJECTED)])
def test_a_signature_that_the_kernel_finds_too_large_is_refused(
    tmp_path: Path, certificates: int, outcome: Outcome
) -> None:
    path = file(tmp_path)
    with open_artifact(str(path)) as source:
        digest = Digest.of(signed_bytes(source))
    value = EC.key.sign([asked_of_key(EC.signing, KIND, digest, b"")])[0]
    bag = [PKI.leaf(f"the certificate number {number} of many").certificate for number in range(certificates)]
    signature_of(path).write_bytes(content_info(bare_cms(EC.signing, value, bag=bag)))
    assert (signature_of(path).stat().st_size > MAX_SIGNATURE_BYTES) is (outcome is REJECTED)
    verdict = judge(path, TRUST)
    assert verdict.outcome is outcome
    assert codes(verdict) == ([] if outcome is TRUSTED else ["SW-LIMIT"])


@pytest.mark.parametrize("change", [DATA + b"\0", DATA[:-1], DATA[:4096], b"", DATA[::-1]])
def test_other_content_is_refused(tmp_path: Path, change: bytes) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    path.write_bytes(change)
    assert judge(path, TRUST).outcome is REJECTED


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    for at, bad in flips(DATA, step=61):
        path.write_bytes(bad)
        assert judge(path, TRUST).outcome is REJECTED, at
    path.write_bytes(DATA)
    whole = signature_of(path).read_bytes()
    for bit in (0x01, 0x80):
        for at, bad in flips(whole, bit=bit):
            signature_of(path).write_bytes(bad)
            assert judge(path, TRUST).outcome is REJECTED, at
    for size in range(len(whole)):
        signature_of(path).write_bytes(whole[:size])
        assert judge(path, TRUST).outcome is REJECTED, size
    signature_of(path).write_bytes(whole + b"\0")
    assert judge(path, TRUST).outcome is REJECTED
    signature_of(path).unlink()
    assert codes(judge(path, TRUST)) == ["SW-SIGNATURE-MISSING"]


def test_another_key_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    assert codes(judge(path, believed(PKI, certificate=knowing(OTHER)))) == ["SW-SIGNER-UNKNOWN"]


def test_a_key_for_root_hashes_does_not_sign_files(tmp_path: Path) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    path.unlink()
    signature_of(path).unlink()
    assert codes(judge(file(tmp_path, signer=VERITY), TRUST)) == ["SW-KEY-CONSTRUCTION"]


def test_what_it_cannot_hold_is_said(tmp_path: Path) -> None:
    (tmp_path / "plain.bin").write_bytes(DATA)
    with pytest.raises(UsageError, match="with a manifest"):
        sign_inside(tmp_path / "plain.bin", EC, tmp_path / "no", "fsverity", claims=Claims(version="1"))
    with pytest.raises(UsageError, match="one signature"):
        sign_inside(tmp_path / "plain.bin", EC, tmp_path / "no", "fsverity", existing=Existing.ADD)


def test_the_command_line_signs_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, out = tmp_path / "home", tmp_path / "out.bin"
    (tmp_path / "plain.bin").write_bytes(DATA)
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "fsverity", "--home", str(home), "--algorithm", "p256"]) == 0
    signing = ["sign", str(tmp_path / "plain.bin"), "--home", str(home), "--format", "fsverity", "--out", str(out)]
    assert main(signing) == 0
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out), "--json"]) == 0
    assert "fs-verity digest sha256:" in capsys.readouterr().out
    out.write_bytes(DATA[:-1] + b"?")
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 1
