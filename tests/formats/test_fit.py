"""FIT images: what a signature must cover, and every tree that two readers could read differently."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import truncations
from kit.openssl import run
from kit.pki import Pki
from kit.trust import believed, codes, judge, knowing
from kit.uboot import KERNEL, fit
from sealwright.artifact.claims import Claims
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope.kinds import Construction
from sealwright.errors import KeyRefused, MalformedArtifact, UsageError
from sealwright.formats.devicetree import Tree, read_tree
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Extent, Search
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
BOARD = PKI.leaf("board", kind=KeyKind.RSA3072, construction=Construction.FIT)
SECOND = PKI.leaf("second", kind=KeyKind.RSA3072, construction=Construction.FIT)
TRUST = believed(PKI, certificate=knowing(BOARD))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    return sign_inside(fit(folder), BOARD, folder / "signed.fit", "fit")


def changed(image: Path, folder: Path, data: bytes) -> Path:
    path = folder / "changed.fit"
    path.write_bytes(data)
    return path


def rebuilt(image: Path, folder: Path, change: Callable[[str], str]) -> Path:
    """The signed tree as text, changed, and compiled again: hashes and signature stay as they are."""
    text, path = folder / "tree.dts", folder / "rebuilt.fit"
    made, words = run(["dtc", "-q", "-I", "dtb", "-O", "dts", "-o", text, image])
    assert made, words
    text.write_text(change(text.read_text()))
    made, words = run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", path, text])
    assert made, words
    return path


def edited(image: Path, folder: Path, change: Callable[[Tree], Tree]) -> Path:
    """The signed tree with a change that somebody without the key could make."""
    path = folder / "edited.fit"
    with open_artifact(str(image)) as source:
        pieces = change(read_tree(source)).pieces(image.stat().st_size)
        read = [one if isinstance(one, bytes) else source.read_at(one.start, one.end - one.start) for one in pieces]
    path.write_bytes(b"".join(read))
    return path


def test_the_signature_is_trusted_and_its_coverage_tiles_the_file(image: Path) -> None:
    verdict = judge(image, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "fit")
    ranges = verdict.coverage.ranges
    assert ranges[-1].end == image.stat().st_size
    at = image.read_bytes().index(KERNEL)
    assert all(one.extent is Extent.HASHED for one in ranges if one.start < at + len(KERNEL) and one.end > at)
    assert {one.reason for one in ranges if one.extent is Extent.UNCOVERED} == {
        "the tree's header: sizes and places",
        "the size of an image",
        "padding behind an image",
        "which configuration is used unless told otherwise",
        "free space, zero bytes",
    }


def test_strip_and_sign_again(image: Path, tmp_path: Path) -> None:
    bare = stripped(image, tmp_path / "bare.fit", "fit")
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    again = sign_inside(bare, BOARD, tmp_path / "again.fit", "fit")
    assert judge(again, TRUST).outcome is TRUSTED
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.fit", "fit")


def test_a_second_signer_needs_a_node_that_was_left_for_it(image: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="signed already"):
        sign_inside(image, SECOND, tmp_path / "no.fit", "fit")
    with pytest.raises(UsageError, match="no empty signature node left"):
        sign_inside(image, SECOND, tmp_path / "no.fit", "fit", existing=Existing.ADD)
    other = sign_inside(image, SECOND, tmp_path / "other.fit", "fit", existing=Existing.REPLACE)
    assert judge(other, TRUST).outcome is REJECTED
    roomy = fit(tmp_path / "roomy", signatures=2)
    first = sign_inside(roomy, BOARD, tmp_path / "1.fit", "fit")
    both = sign_inside(first, SECOND, tmp_path / "2.fit", "fit", existing=Existing.ADD)
    for signer in (BOARD, SECOND):
        assert judge(both, believed(PKI, certificate=knowing(signer))).outcome is TRUSTED


def test_a_node_is_made_where_the_image_has_none(tmp_path: Path) -> None:
    plain = rebuilt(fit(tmp_path), tmp_path, lambda text: re.sub(r"signature-1 \{[^}]*\};", "", text))
    signed = sign_inside(plain, BOARD, tmp_path / "signed.fit", "fit")
    assert judge(signed, TRUST).outcome is TRUSTED


def test_one_signer_signs_every_configuration(tmp_path: Path) -> None:
    plain = fit(tmp_path, configurations=2)
    with pytest.raises(UsageError, match="2 configurations"):
        sign_inside(plain, BOARD, tmp_path / "no.fit", "fit")
    first = sign_inside(plain, BOARD, tmp_path / "1.fit", "fit", existing=Existing.ADD)
    assert set(codes(judge(first, TRUST))) == {"SW-PART-UNSIGNED"}
    both = sign_inside(first, BOARD, tmp_path / "2.fit", "fit", existing=Existing.ADD)
    assert judge(both, TRUST).outcome is TRUSTED
    mixed = sign_inside(first, SECOND, tmp_path / "mixed.fit", "fit", existing=Existing.ADD)
    for known in ((BOARD,), (BOARD, SECOND)):
        assert judge(mixed, believed(PKI, certificate=knowing(*known))).outcome is REJECTED


HASH = "/images/kernel/hash-1"
CONF, SIGNATURE = "/configurations/conf-1", "/configurations/conf-1/signature-1"
NODES = b"/\0/configurations/conf-1\0/images/kernel\0/images/kernel/hash-1\0/images/fdt-1\0/images/fdt-1/hash-1\0"
X = {"data": b"x"}
X_HASH = {"algo": b"sha256\0", "value": hashlib.sha256(b"x").digest()}


def extra_image(tree: Tree) -> Tree:
    return tree.with_node("/images/extra").with_properties("/images/extra", X)


def extra_image_with_its_hash(tree: Tree) -> Tree:
    node = "/images/extra/hash-1"
    return extra_image(tree).with_node(node).with_properties(node, X_HASH)


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        (extra_image, "SW-PART-UNSIGNED", "images/extra"),
        (extra_image_with_its_hash, "SW-PART-UNSIGNED", "images/extra"),
        (lambda t: t.with_properties(CONF, {"fdt": b"kernel\0"}), "SW-PART-UNSIGNED", "does not need"),
        (lambda t: t.with_properties(CONF, {"load": bytes(4)}), "SW-SIGNATURE-INVALID", "not genuine"),
        (lambda t: t.with_properties("/configurations", {"load": bytes(4)}), "SW-PART-UNSIGNED", "/load"),
        (lambda t: t.with_properties("/images", {"load": bytes(4)}), "SW-PART-UNSIGNED", "/load"),
        (lambda t: t.with_node("/more"), "SW-SIGNATURE-INVALID", "not genuine"),
        (lambda t: t.with_node(SIGNATURE + "/x"), "SW-PART-UNSIGNED", "signature-1/x"),
        (lambda t: t.with_properties("/configurations", {"default": b"conf-9\0"}), "SW-ARTIFACT-MALFORMED", "default"),
        (lambda t: t.with_properties(SIGNATURE, {"hashed-nodes": NODES[:66]}), "SW-PART-UNSIGNED", "fdt-1 of /conf"),
        (lambda t: t.with_properties(SIGNATURE, {"hashed-nodes": NODES + b"/x\0"}), "SW-PART-UNSIGNED", "not need"),
        (lambda t: t.with_properties(SIGNATURE, {"hashed-nodes": NODES[:-1]}), "SW-PART-UNSIGNED", "kernel of /conf"),
        (
            lambda t: t.with_properties(SIGNATURE, {"hashed-strings": bytes(7) + b"\x08"}),
            "SW-PART-UNSIGNED",
            "the name of",
        ),
        (
            lambda t: t.with_properties(SIGNATURE, {"hashed-strings": bytes(3)}),
            "SW-ARTIFACT-MALFORMED",
            "how many strings",
        ),
        (lambda t: t.with_properties(SIGNATURE, {"padding": b"none\0"}), "SW-ARTIFACT-MALFORMED", "padding"),
        (lambda t: t.with_properties(SIGNATURE, {"algo": b"sha1,rsa3072\0"}), "SW-ARTIFACT-MALFORMED", "algorithm"),
        (lambda t: t.with_properties(HASH, {"algo": b"crc32\0"}), "SW-PART-UNSIGNED", "no SHA-2 hash node"),
        (lambda t: t.with_properties(HASH, {"value": bytes(31)}), "SW-ARTIFACT-MALFORMED", "digest of 31 bytes"),
        (lambda t: t.with_node("/images/kernel@1"), "SW-ARTIFACT-MALFORMED", "has an @"),
        (lambda t: replace(t, reserved=bytes(15) + b"\1" + bytes(16)), "SW-ARTIFACT-MALFORMED", "reserves memory"),
    ],
)
def test_what_is_not_covered_is_refused(
    image: Path, tmp_path: Path, change: Callable[[Tree], Tree], code: str, why: str
) -> None:
    assert judge(edited(image, tmp_path, lambda tree: tree), TRUST).outcome is TRUSTED
    verdict = judge(edited(image, tmp_path, change), TRUST)
    assert code in codes(verdict)
    assert any(why in finding.sentence for finding in verdict.findings), [f.sentence for f in verdict.findings]


def word(data: bytes, at: int, value: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(">I", out, at, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: word(d, 4, len(d) + 1), "not where the specification"),
        (lambda d: word(d, 8, 57), "not where the specification"),
        (lambda d: word(d, 12, 0xFFFF_FFF0), "overlap"),
        (lambda d: word(d, 16, 44), "not where the specification"),
        (lambda d: word(d, 20, 18), "version 18"),
        (lambda d: word(d, 32, 0xFFFF_FFFF), "overlap"),
        (lambda d: word(d, 36, 8), "overlap"),
        (lambda d: word(d, 56, 3), "root|belong"),
        (lambda d: word(d, 56, 7), "belong"),
        (lambda d: word(d, 68, 0xFFFF_FFF0), "leaves its block"),
        (lambda d: word(d, 72, 0xFFFF_FFF0), "leaves its block"),
        (lambda d: d + b"PK\3\4", "behind the last image"),
        (lambda d: d + bytes(8192), "behind the last image"),
        (lambda d: d[:-1] + b"x", "not zero"),
    ],
)
def test_a_tree_that_could_be_read_differently_is_refused(
    image: Path, tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    assert judge(image, TRUST).outcome is TRUSTED
    verdict = judge(changed(image, tmp_path, change(image.read_bytes())), TRUST)
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
    assert re.search(why, verdict.findings[0].found), verdict.findings[0].found


def test_every_truncation_is_refused(image: Path, tmp_path: Path) -> None:
    assert judge(image, TRUST).outcome is TRUSTED
    for data in truncations(image.read_bytes(), step=7):
        assert judge(changed(image, tmp_path, data), TRUST).outcome is REJECTED


def test_data_behind_the_tree_lies_without_gap_or_overlap(tmp_path: Path) -> None:
    path = sign_inside(fit(tmp_path, "-E"), BOARD, tmp_path / "signed.fit", "fit")
    assert judge(path, TRUST).outcome is TRUSTED
    data = path.read_bytes()
    offset = data.index(b"data-size\0") and struct.unpack_from(">I", data, 4)[0]
    for at in (offset, len(data) - 1):
        bad = data[:at] + b"\x55" + data[at + 1 :]
        assert judge(changed(path, tmp_path, bad), TRUST).outcome is REJECTED
    for extra in (b"x", bytes(4096), b"\0" * 100 + b"x"):
        assert judge(changed(path, tmp_path, data + extra), TRUST).outcome is REJECTED


def test_what_cannot_be_signed_is_told(tmp_path: Path) -> None:
    plain = fit(tmp_path)
    with pytest.raises(UsageError, match="no fields for product"):
        sign_inside(plain, BOARD, tmp_path / "no.fit", "fit", claims=Claims(version="1"))
    data = bytearray(plain.read_bytes())
    at = data.index(KERNEL)
    data[at] ^= 1
    (tmp_path / "damaged.fit").write_bytes(data)
    with pytest.raises(MalformedArtifact, match="not whole"):
        sign_inside(tmp_path / "damaged.fit", BOARD, tmp_path / "no.fit", "fit")
    wide = PKI.leaf(kind=KeyKind.P384, construction=Construction.FIT)
    with pytest.raises(KeyRefused, match="over sha384"):
        sign_inside(plain, wide, tmp_path / "no.fit", "fit")


def test_structure_is_told(image: Path) -> None:
    assert embedded_format("fit").extract(str(image), Search()).structure == ("conf-1: kernel, fdt-1",)


def test_a_control_tree_gets_the_key_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, plain = tmp_path / "home", tmp_path / "u-boot.dtb"
    (tmp_path / "u.dts").write_text('/dts-v1/;\n/ { model = "u-boot"; };\n')
    assert run(["dtc", "-q", "-O", "dtb", "-o", plain, tmp_path / "u.dts"])[0]
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "fit", "--home", str(home)]) == 0
    out = tmp_path / "control.dtb"
    words = ["key", "control-tree", str(plain), "--home", str(home), "--out", str(out)]
    assert main([*words, "--key", "release"]) == 1
    assert main([*words, "--key", "fit"]) == 0
    assert main([*words, "--key", "fit"]) == 1
    assert main([*words[:2], str(out), *words[3:-1], str(tmp_path / "twice.dtb"), "--key", "fit"]) == 2
    assert "is in it already" in capsys.readouterr().err
    _, text = run(["dtc", "-q", "-I", "dtb", "-O", "dts", out])
    assert 'required = "conf"' in text
    assert "rsa,num-bits = <0xc00>" in text
    shutil.copy(fit(tmp_path / "fit"), tmp_path / "image.fit")
    signed = tmp_path / "signed.fit"
    assert (
        main(["sign", str(tmp_path / "image.fit"), "--home", str(home), "--format", "fit", "--out", str(signed)]) == 0
    )
    assert main(["verify", str(signed), "--trust", str(home / "trust.toml")]) == 0
