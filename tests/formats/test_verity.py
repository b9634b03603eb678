"""dm-verity images: the tree is exactly what the image gives, the superblock says nothing else, and each part lies where systemd looks."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat import asn1

from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.pki import Pki, Signer
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.output import OLD
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope import asn1 as types
from sealwright.envelope.bare import bare_cms, content_info
from sealwright.envelope.construct import asked_of_key
from sealwright.envelope.kinds import KMOD, VERITY, Construction
from sealwright.errors import UsageError
from sealwright.formats.dmverity import level_blocks
from sealwright.formats.format import Existing
from sealwright.formats.verity import _data_bytes, read_layout
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EC = PKI.leaf("images", construction=Construction.VERITY)
RSA = PKI.leaf("images", kind=KeyKind.RSA3072, construction=Construction.VERITY)
OTHER = PKI.leaf("other", construction=Construction.VERITY)
TRUST = believed(PKI, certificate=knowing(EC, RSA))
BLOCKS = 130  # two blocks of digests, so that the tree has two levels
IMAGE = b"".join(struct.pack("<I", number) * 1024 for number in range(BLOCKS))
AT = len(IMAGE)  # of the superblock


def plain(folder: Path, data: bytes = IMAGE) -> Path:
    path = folder / "plain.img"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verity")
    return sign_inside(plain(folder), EC, folder / "signed.img", "verity")


@pytest.fixture
def image(made: Path, tmp_path: Path) -> Path:
    """A signed image of one's own, with what lies beside it."""
    for ending in ("", ".roothash", ".roothash.p7s"):
        shutil.copy(f"{made}{ending}", tmp_path)
    return tmp_path / made.name


def root_of(path: Path) -> Path:
    return path.with_name(path.name + ".roothash")


def signature_of(path: Path) -> Path:
    return path.with_name(path.name + ".roothash.p7s")


@pytest.mark.parametrize("signer", [RSA, EC], ids=["rsa3072", "p256"])
@pytest.mark.parametrize("blocks", [1, 2, 128, 129])
def test_an_image_is_trusted_and_stripped_to_itself(tmp_path: Path, signer: Signer, blocks: int) -> None:
    data = IMAGE[: blocks * 4096]
    path = sign_inside(plain(tmp_path, data), signer, tmp_path / "signed.img", "verity")
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format, codes(verdict)) == (TRUSTED, "verity", [])
    assert path.stat().st_size == (blocks + 1 + sum(level_blocks(blocks))) * 4096
    assert len(root_of(path).read_bytes()) == 64
    assert stripped(path, tmp_path / "bare.img", "verity").read_bytes() == data
    with pytest.raises(UsageError, match="no hash tree in it"):
        stripped(tmp_path / "bare.img", tmp_path / "no.img", "verity")


def test_a_larger_image_is_read_by_several_processes_and_any_changed_block_is_found(tmp_path: Path) -> None:
    data = IMAGE * 64  # 33 MiB
    path = sign_inside(plain(tmp_path, data), EC, tmp_path / "signed.img", "verity")
    assert judge(path, TRUST).outcome is TRUSTED
    for at in (0, 17 << 20, len(data) - 1):
        with path.open("r+b") as file:
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ 1]))
        verdict = judge(path, TRUST)
        assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
        assert f"at byte {at // 4096 * 4096}:" in next(f.found for f in verdict.findings if f.severity == "reject")
        with path.open("r+b") as file:
            file.seek(at)
            file.write(old)
    assert judge(path, TRUST).outcome is TRUSTED


def test_every_size_has_one_layout(tmp_path: Path) -> None:
    for blocks in [*range(1, 300), 16_384, 16_385, 1 << 20]:
        total = blocks + 1 + sum(level_blocks(blocks))
        assert _data_bytes(total * 4096) == blocks * 4096
        assert _data_bytes(total * 4096 + 1) is None
    assert [_data_bytes(size) for size in (0, 1, 4096, 3 * 4096)] == [None] * 4


def test_what_lies_beside_is_needed(image: Path) -> None:
    assert judge(image, TRUST).outcome is TRUSTED
    root, signature = root_of(image).read_bytes(), signature_of(image).read_bytes()
    signature_of(image).unlink()
    assert codes(judge(image, TRUST)) == ["SW-SIGNATURE-MISSING"]
    signature_of(image).write_bytes(signature)
    root_of(image).unlink()
    assert codes(judge(image, TRUST)) == ["SW-ARTIFACT-MALFORMED"]
    for bad in (b"", root[:-1], root.upper(), root + b" ", b"0x" + root, root + root):
        root_of(image).write_bytes(bad)
        assert codes(judge(image, TRUST)) == ["SW-ARTIFACT-MALFORMED"], bad
    root_of(image).write_bytes(root + b"\n")
    assert judge(image, TRUST).outcome is TRUSTED


def test_a_signature_elsewhere_is_named(image: Path, tmp_path: Path) -> None:
    there = tmp_path / "signatures"
    there.mkdir()
    for one in (root_of(image), signature_of(image)):
        one.rename(there / one.name)
    assert codes(judge(image, TRUST)) == ["SW-SIGNATURE-MISSING"]
    named = str(there / signature_of(image).name)
    assert judge(image, TRUST, signature=named).outcome is TRUSTED


@pytest.mark.parametrize(
    ("offset", "value", "what"),
    [
        (8, b"\x02", "version 2"),
        (12, b"\0", "format 0"),
        (32, b"sha512", "sha512"),
        (64, b"\0\x02", "blocks of 512"),
        (68, b"\0\x04", "blocks of 4096 and 1024"),
        (72, b"\x83", "131 blocks"),
        (79, b"\x80", "blocks, there are 130"),
        (80, b"\x01\x01", "salt of 257"),
        (82, b"\x01", "mean nothing"),
        (88 + 32, b"\x01", "mean nothing"),
        (344, b"\x01", "mean nothing"),
        (512, b"\x01", "mean nothing"),
        (4095, b"\x01", "mean nothing"),
        (0, b"V", "no superblock"),
    ],
)
def test_a_superblock_that_says_something_else_is_refused(image: Path, offset: int, value: bytes, what: str) -> None:
    assert judge(image, TRUST).outcome is TRUSTED
    data = bytearray(image.read_bytes())
    data[AT + offset : AT + offset + len(value)] = value
    image.write_bytes(data)
    verdict = judge(image, TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert what in verdict.findings[0].found
    assert "byte " in verdict.findings[0].found


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d + b"\0",
        lambda d: d + bytes(4096),
        lambda d: d[:-1],
        lambda d: d[:-4096],
        lambda d: d[:AT],
        lambda d: d[: AT + 512],
        lambda d: d[: AT + 4096],
        lambda d: d[:4096],
        lambda d: b"",
        lambda d: bytes(4096) + d,
        lambda d: d[:AT] + bytes(4096) + d[AT:],
        lambda d: d[:AT] + d[AT + 4096 :] + d[AT : AT + 4096],
        lambda d: d + d[AT:],
    ],
)
def test_appended_cut_and_moved_bytes_are_refused(image: Path, change: Callable[[bytes], bytes]) -> None:
    assert judge(image, TRUST).outcome is TRUSTED
    image.write_bytes(change(image.read_bytes()))
    assert codes(judge(image, TRUST)) == ["SW-ARTIFACT-MALFORMED"]


def test_a_tree_of_another_image_does_not_stand_for_this_one(image: Path) -> None:
    """The kernel reads the tree only where it reads data; here every byte of it must be what the data give."""
    assert judge(image, TRUST).outcome is TRUSTED
    data = bytearray(image.read_bytes())
    data[-4096 + 2 * 32] ^= 1  # a digest that is never looked at: zero bytes behind the last one of the level
    image.write_bytes(data)
    verdict = judge(image, TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert "the hash tree is not that of the data" in verdict.findings[0].found


def test_no_changed_byte_is_accepted_but_those_of_the_uuid(tmp_path: Path) -> None:
    small = IMAGE[:8192]
    path = sign_inside(plain(tmp_path, small), EC, tmp_path / "signed.img", "verity")
    assert judge(path, TRUST).outcome is TRUSTED
    data, accepted = path.read_bytes(), []
    for at, bad in flips(data, step=37, bit=0x10):
        path.write_bytes(bad)
        if judge(path, TRUST).outcome is TRUSTED:
            accepted.append(at - len(small))
    for at, bad in flips(data[len(small) : len(small) + 600]):
        path.write_bytes(small + bad + data[len(small) + 600 :])
        if judge(path, TRUST).outcome is TRUSTED:
            accepted.append(at)
    assert set(accepted) == set(range(16, 32))
    path.write_bytes(data)
    for beside in (root_of(path), signature_of(path)):
        whole = beside.read_bytes()
        for bit in (0x01, 0x80):
            for at, bad in flips(whole, bit=bit):
                beside.write_bytes(bad)
                assert judge(path, TRUST).outcome is REJECTED, (beside.name, at)
        beside.write_bytes(whole)
    with open_artifact(str(path)) as source:
        uncovered = [one for one in read_layout(source).coverage.ranges if one.reason]
    assert [(one.start - len(small), one.end - len(small)) for one in uncovered] == [(16, 32)]


def test_another_key_is_refused(image: Path) -> None:
    assert judge(image, TRUST).outcome is TRUSTED
    assert codes(judge(image, believed(PKI, certificate=knowing(OTHER)))) == ["SW-SIGNER-UNKNOWN"]
    theirs = image.with_name("theirs.img")
    sign_inside(plain(image.parent), OTHER, theirs, "verity")
    signature_of(image).write_bytes(signature_of(theirs).read_bytes())
    assert judge(image, TRUST).outcome is REJECTED


def test_a_signature_of_another_construction_does_not_serve(image: Path) -> None:
    """The bytes that a module's signature covers could be a root hash: then only the key's construction tells (RULES 2)."""
    assert judge(image, TRUST).outcome is TRUSTED
    modules = PKI.leaf("modules", construction=Construction.KMOD)
    digest = Digest.of(root_of(image).read_bytes())
    value = modules.key.sign([asked_of_key(modules.signing, KMOD, digest, b"")])[0]
    signature_of(image).write_bytes(content_info(bare_cms(modules.signing, value)))
    assert codes(judge(image, believed(PKI, certificate=knowing(modules)))) == ["SW-KEY-CONSTRUCTION"]
    assert VERITY.construction is not KMOD.construction


def test_signing_again_replaces_the_tree(image: Path, tmp_path: Path) -> None:
    for existing, why in ((Existing.REFUSE, "a hash tree in it already"), (Existing.ADD, "one hash tree")):
        with pytest.raises(UsageError, match=why):
            sign_inside(image, RSA, tmp_path / "no.img", "verity", existing=existing)
    again = sign_inside(image, RSA, tmp_path / "again.img", "verity", existing=Existing.REPLACE)
    assert again.stat().st_size == image.stat().st_size
    assert root_of(again).read_bytes() != root_of(image).read_bytes()  # another salt
    assert judge(again, TRUST).outcome is TRUSTED
    assert stripped(again, tmp_path / "bare.img", "verity").read_bytes() == IMAGE


def test_what_is_no_image_is_not_signed(tmp_path: Path) -> None:
    for data in (b"", b"x", IMAGE[:-1]):
        with pytest.raises(UsageError, match="whole blocks of 4096"):
            sign_inside(plain(tmp_path, data), EC, tmp_path / "no.img", "verity")
    with pytest.raises(UsageError, match="with a manifest"):
        sign_inside(plain(tmp_path), EC, tmp_path / "no.img", "verity", claims=Claims(product="drive"))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["plain.img"]


@pytest.mark.parametrize("second", ["altered", "a stranger's"])
def test_a_second_signer_that_openssl_and_kernel_refuse_the_whole_for_is_refused(image: Path, second: str) -> None:
    """A039: judged alone, the first one would do."""
    assert judge(image, TRUST).outcome is TRUSTED
    path, root = signature_of(image), Digest.of(root_of(image).read_bytes())
    info, other = (asn1.decode_der(types.ContentInfo, path.read_bytes()) for _ in range(2))
    if second == "a stranger's":
        value = OTHER.key.sign([asked_of_key(OTHER.signing, VERITY, root, b"")])[0]
        other = asn1.decode_der(types.ContentInfo, content_info(bare_cms(OTHER.signing, value)))
    (first,), (added,) = info.content.signers.as_list(), other.content.signers.as_list()
    added.signature = added.signature[:-1] + bytes((added.signature[-1] ^ 1,))
    info.content.signers = asn1.SetOf(sorted([first, added], key=asn1.encode_der))
    path.write_bytes(asn1.encode_der(info))
    verdict = judge(image, TRUST)
    assert codes(verdict) == ["SW-SIGNATURE-MALFORMED"]
    assert "it has 2 signers" in verdict.findings[0].found


def test_the_command_line_signs_verifies_inspects_and_strips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = tmp_path / "home", tmp_path / "out.img"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "verity", "--home", str(home), "--algorithm", "p256"]) == 0
    signing = ["sign", str(plain(tmp_path)), "--home", str(home), "--format", "verity", "--out", str(out)]
    assert main(signing) == 0
    checking = ["verify", str(out), "--trust", str(home / "trust.toml")]
    assert main(checking) == 0
    assert main(signing) == 1  # nothing is written over
    assert main([*signing, "--replace", "--timestamp", "local"]) == 0
    assert (tmp_path / "out.img.tsr").exists()
    assert main(checking) == 0
    assert not list(tmp_path.glob(f"*{OLD}"))
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"root hash {root_of(out).read_text()}" in shown
    assert "the UUID, which the root hash does not bind" in shown
    assert main(["strip", str(out), "--out", str(tmp_path / "bare.img")]) == 0
    assert (tmp_path / "bare.img").read_bytes() == IMAGE
    assert main([*signing, "--product", "drive", "--replace"]) == 1
    folder = tmp_path / "delivery"
    folder.mkdir()
    for ending in ("", ".roothash", ".roothash.p7s"):
        shutil.copy(f"{out}{ending}", folder)
    assert main(["verify", str(folder), "--recursive", "--trust", str(home / "trust.toml")]) == 0
    (folder / "more.roothash").write_text("0" * 64)
    assert main(["verify", str(folder), "--recursive", "--trust", str(home / "trust.toml")]) == 1
