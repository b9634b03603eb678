"""RAUC bundles: what is signed in each kind, what is believed of the manifest, and every bundle that two readers could read differently."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.openssl import run
from kit.pki import NOW, Pki, p7s
from kit.trust import believed, codes, judge
from kit.updates import IMAGE, bundle, updater
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.envelope.construct import asked_of_key, attributes_of, built
from sealwright.envelope.kinds import RAUC_PLAIN
from sealwright.errors import MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.dmverity import Verity, first_difference
from sealwright.formats.format import Existing
from sealwright.formats.rauc import read_bundle
from sealwright.formats.raucmanifest import read_manifest
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = updater(PKI)
TRUST = believed(PKI)
REPLACE = Existing.REPLACE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of RAUC, and the same signed by us."""
    folder = tmp_path_factory.mktemp("rauc")
    found = {form: bundle(folder, RELEASE, form) for form in ("plain", "verity", "crypt")}
    return found | {
        f"our {form}": sign_inside(path, RELEASE, folder / f"our-{form}.raucb", "rauc", existing=REPLACE)
        for form, path in list(found.items())
    }


def changed(folder: Path, data: bytes) -> Path:
    path = folder / "changed.raucb"
    path.write_bytes(data)
    return path


def with_cms(path: Path, cms: bytes) -> bytes:
    with open_artifact(str(path)) as source:
        end = read_bundle(source).payload_end
    return path.read_bytes()[:end] + cms + len(cms).to_bytes(8, "big")


@pytest.mark.parametrize("form", ["plain", "verity", "crypt", "our plain", "our verity", "our crypt"])
def test_bundles_are_trusted_with_what_their_manifest_claims(made: dict[str, Path], form: str) -> None:
    verdict = judge(made[form], TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "rauc")
    claimed = Claims(product="acme-plc", version="2026.1") if "plain" not in form else Claims()
    assert verdict.claims == claimed
    assert verdict.coverage.ranges[-1].end == made[form].stat().st_size


def test_signing_again_wants_replace_and_an_intact_bundle(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="signed already"):
        sign_inside(made["verity"], RELEASE, tmp_path / "no", "rauc")
    with pytest.raises(UsageError, match="unless all its signers verify"):
        sign_inside(made["verity"], RELEASE, tmp_path / "no", "rauc", existing=Existing.ADD)
    for form, at in (("plain", 5000), ("verity", 5000)):
        data = bytearray(made[form].read_bytes())
        data[at] ^= 1
        with pytest.raises(SealwrightError):
            sign_inside(changed(tmp_path, bytes(data)), RELEASE, tmp_path / "no", "rauc", existing=REPLACE)
    assert not (tmp_path / "no").exists()


def test_claims_are_the_manifest_s(made: dict[str, Path], tmp_path: Path) -> None:
    same = Claims(product="acme-plc", version="2026.1")
    sign_inside(made["verity"], RELEASE, tmp_path / "same.raucb", "rauc", existing=REPLACE, claims=same)
    for form, claims, why in (
        ("verity", Claims(version="2026.2"), "claims something else"),
        ("verity", Claims(product="acme-plc", version="2026.1", generation=3), "claims something else"),
        ("plain", same, "inside its squashfs"),
    ):
        with pytest.raises(UsageError, match=why):
            sign_inside(made[form], RELEASE, tmp_path / "no", "rauc", existing=REPLACE, claims=claims)


def test_strip_gives_the_squashfs_and_a_squashfs_becomes_a_bundle(made: dict[str, Path], tmp_path: Path) -> None:
    for form in ("plain", "verity"):
        bare = stripped(made[form], tmp_path / f"{form}.squashfs", "rauc")
        assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
        listed, words = run(["unsquashfs", "-l", bare])
        assert listed, words
        assert "rootfs.img" in words
        signed = sign_inside(bare, RELEASE, tmp_path / f"{form}-again.raucb", "rauc")
        assert judge(signed, TRUST).outcome is TRUSTED
        with pytest.raises(UsageError, match="no signature in it"):
            stripped(bare, tmp_path / "no", "rauc")
    (tmp_path / "text").write_text("hello, this is a text of no format at all")
    with pytest.raises(MalformedArtifact, match="no size of a CMS"):
        sign_inside(tmp_path / "text", RELEASE, tmp_path / "no", "rauc")


@pytest.mark.parametrize("form", ["our plain", "our verity", "our crypt"])
def test_every_block_of_the_payload_is_covered(made: dict[str, Path], tmp_path: Path, form: str) -> None:
    data = made[form].read_bytes()
    with open_artifact(str(made[form])) as source:
        end = read_bundle(source).payload_end
    assert judge(changed(tmp_path, data), TRUST).outcome is TRUSTED
    for at in (*range(1, end, 2048), end - 1):
        bad = data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :]
        assert judge(changed(tmp_path, bad), TRUST).outcome is REJECTED, at


@pytest.mark.parametrize("form", ["our plain", "our verity", "our crypt"])
def test_a_changed_signature_is_refused_or_changes_nothing_that_counts(
    made: dict[str, Path], tmp_path: Path, form: str
) -> None:
    """A certificate above the signer's that was changed is one less; nothing else of the CMS may change."""
    data = made[form].read_bytes()
    with open_artifact(str(made[form])) as source:
        end = read_bundle(source).payload_end
    head, tail = data[:end], data[end:]
    for at, bad in flips(tail, step=3):
        assert judge(changed(tmp_path, head + bad), TRUST).outcome is REJECTED, at
    for bad in truncations(tail, step=5):
        assert judge(changed(tmp_path, head + bad), TRUST).outcome is REJECTED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d, e: d + b"\0", "SW-SIGNATURE-MISSING"),
        (lambda d, e: d[:-8] + b"PK" + d[-8:], "SW-SIGNATURE-MISSING"),
        (lambda d, e: d[:e] + bytes(8) + d[e:], "SW-ARTIFACT-MALFORMED"),
        (lambda d, e: d[:e] + b"\1" * 4096 + d[e:], "SW-ARTIFACT-MALFORMED"),
        (lambda d, e: d[:40] + (e + 1).to_bytes(8, "little") + d[48:], "SW-ARTIFACT-MALFORMED"),
        (lambda d, e: b"\0" * 4 + d[4:], "SW-ARTIFACT-MALFORMED"),
        (lambda d, e: d[: e - 4096] + d[e:], "SW-ARTIFACT-MALFORMED"),
    ],
)
def test_a_bundle_that_could_be_read_differently_is_refused(
    made: dict[str, Path], tmp_path: Path, change: Callable[[bytes, int], bytes], code: str
) -> None:
    path = made["our verity"]
    with open_artifact(str(path)) as source:
        end = read_bundle(source).payload_end
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(changed(tmp_path, change(path.read_bytes(), end)), TRUST)
    assert codes(verdict) == [code]


def test_a_signature_for_a_file_is_none_for_a_bundle(made: dict[str, Path], tmp_path: Path) -> None:
    path = made["our plain"]
    with open_artifact(str(path)) as source:
        payload = path.read_bytes()[: read_bundle(source).payload_end]
    assert judge(path, TRUST).outcome is TRUSTED
    verdict = judge(changed(tmp_path, with_cms(path, p7s(RELEASE, payload))), TRUST)
    assert codes(verdict) == ["SW-SIGNATURE-KIND"]


def test_the_signer_is_who_the_rule_names(made: dict[str, Path]) -> None:
    assert judge(made["our verity"], TRUST).outcome is TRUSTED
    assert judge(made["our verity"], believed(Pki.make("EVIL"))).outcome is REJECTED
    older = {"name": "plc", "products": ["acme-plc"], "environment": "production", "signer": [{"anchors": ["root"]}]}
    assert judge(made["our verity"], believed(PKI, rule=[older])).outcome is TRUSTED
    other = older | {"products": ["other-plc"]}
    assert codes(judge(made["our verity"], believed(PKI, rule=[other]))) == ["SW-RULE-NONE"]


MANIFEST = (
    "[update]\ncompatible=acme\nversion=1\n\n[bundle]\nformat=verity\n"
    f"verity-hash={'ab' * 32}\nverity-salt={'cd' * 32}\nverity-size=4096\n"
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.replace("compatible=acme\n", ""), "no compatible="),
        (lambda t: t.replace("version=1", "version=1\nversion=2"), "a second version="),
        (lambda t: t + "[update]\nversion=2\n", "a second group"),
        (lambda t: t.replace("version=1", "version =2"), "neither a group"),
        (lambda t: "version=9\n" + t, "neither a group"),
        (lambda t: t.replace("format=verity", "format=plain"), "format is 'plain'"),
        (lambda t: t.replace("verity-size=4096", "verity-size=4095"), "not a multiple"),
        (lambda t: t.replace("verity-size=4096", "verity-size=-4096"), "not a multiple"),
        (lambda t: t.replace("ab" * 32, "ab" * 31), "not 32 bytes"),
        (lambda t: t.replace("compatible=acme", "compatible=a\\tb"), "not plain text"),
        (lambda t: t.replace("compatible=acme", "compatible=a\x1bb"), "control character"),
        (lambda t: t.replace("compatible=acme", "compatible=" + "a" * 201), "longer than 200"),
    ],
)
def test_a_manifest_with_two_readings_is_refused(change: Callable[[str], str], why: str) -> None:
    assert read_manifest(MANIFEST.encode(), "bundle").compatible == "acme"
    with pytest.raises(MalformedArtifact, match=why):
        read_manifest(change(MANIFEST).encode(), "bundle")
    with pytest.raises(MalformedArtifact, match="not UTF-8"):
        read_manifest(MANIFEST.encode() + b"\xff", "bundle")


@pytest.mark.parametrize("blocks", [2, 128, 129, 300])
def test_the_hash_tree_is_that_of_veritysetup(tmp_path: Path, blocks: int) -> None:
    data, tree, salt = tmp_path / "data", tmp_path / "tree", "5a" * 32
    data.write_bytes(IMAGE[: 4096 * min(blocks, 12)].ljust(4096 * blocks, b"\7"))
    made, words = run(
        ["/sbin/veritysetup", "format", data, tree, "--no-superblock", f"--salt={salt}", "--hash=sha256",
         "--data-block-size=4096", "--hash-block-size=4096", "--format=1"]
    )  # fmt: skip
    assert made, words
    root = next(line.split()[-1] for line in words.splitlines() if line.startswith("Root hash"))
    whole = tmp_path / "whole"
    whole.write_bytes(data.read_bytes() + tree.read_bytes())
    verity = Verity(4096 * blocks, bytes.fromhex(salt), bytes.fromhex(root))
    assert verity.tree_bytes == tree.stat().st_size
    with open_artifact(str(whole)) as source:
        assert first_difference(source, verity) is None
    own = whole.read_bytes()
    for at in (0, 4096 * blocks - 1, 4096 * blocks, len(own) - 4096, len(own) - 1):
        whole.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        with open_artifact(str(whole)) as source:
            assert first_difference(source, verity) is not None, at


def test_bytes_beyond_two_gibibytes_are_hashed(tmp_path: Path) -> None:
    """A074, CVE-2026-34155: a plain bundle of 2 GiB and some, a hole on the disk, changed in its last block alone."""
    size, path, state = (2 << 30) + 8192, tmp_path / "big.raucb", hashlib.sha256()
    head = bytearray(stripped(bundle(tmp_path, RELEASE, "plain"), tmp_path / "small", "rauc").read_bytes())
    head[40:48] = size.to_bytes(8, "little")
    state.update(head)
    zeros = bytes(1 << 20)
    for left in range(size - len(head), 0, -len(zeros)):
        state.update(zeros[: min(left, len(zeros))])
    digest = Digest(HashName.SHA256, state.digest())
    attributes = attributes_of(RELEASE.signing, RAUC_PLAIN, digest, NOW)
    value = RELEASE.key.sign([asked_of_key(RELEASE.signing, RAUC_PLAIN, digest, attributes)])[0]
    cms = built(RELEASE.signing, RAUC_PLAIN, attributes, value)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.seek(size)
        file.write(cms + len(cms).to_bytes(8, "big"))
    assert judge(path, TRUST).outcome is TRUSTED
    with path.open("r+b") as file:
        file.seek(size - 100)
        file.write(b"\1")
    assert judge(path, TRUST).outcome is REJECTED


def test_a_key_of_another_type_is_refused_before_it_is_used(made: dict[str, Path], tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "rauc", "--home", str(home), "--algorithm", "ed25519"]) == 1
    assert main(["key", "enrol", "rauc", "--home", str(home), "--algorithm", KeyKind.P384]) == 0
    shutil.copy(made["verity"], tmp_path / "in.raucb")
    words = [
        "sign",
        str(tmp_path / "in.raucb"),
        "--home",
        str(home),
        "--format",
        "rauc",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--replace"]) == 0
    assert main(["verify", str(tmp_path / "out"), "--trust", str(home / "trust.toml")]) == 0
