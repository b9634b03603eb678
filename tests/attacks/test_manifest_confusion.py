"""Manifests and signatures moved to where they do not belong: other trees, other files, other kinds, lists, folders of files."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kit.manifests import claimed, manifest_pair
from kit.pki import NOW, Pki, Signer, p7s
from kit.trust import RULE, believed, codes, judge, person, signed_file
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.manifest import Over, manifest_bytes, parse_manifest
from sealwright.formats import manifest as format_manifest
from sealwright.formats.detached import Detached
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, verify_paths

CLAIMS = Claims("pump", "2", 2)
TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture(scope="module")
def release(pki: Pki) -> Signer:
    return pki.leaf("release")


def tree(folder: Path, name: str, text: str = "") -> Path:
    root = folder / name
    (root / "sub").mkdir(parents=True)
    (root / "control.xml").write_text(f"{text}version=2")
    (root / "sub" / "image.bin").write_bytes(b"image")
    return root


def move_pair(source: Path, target: Path, *suffixes: str) -> None:
    for suffix in suffixes or (".manifest", ".manifest.p7s"):
        shutil.copy(f"{source}{suffix}", f"{target}{suffix}")


def test_a148_a_manifest_of_another_tree_is_refused(tmp_path: Path, pki: Pki, release: Signer) -> None:
    one, two = tree(tmp_path, "one"), tree(tmp_path, "two", "bad ")
    manifest_pair(one, release, CLAIMS)
    manifest_pair(two, release, CLAIMS)
    assert judge(one, believed(pki)).outcome is TRUSTED
    move_pair(one, two)
    assert codes(judge(two, believed(pki))) == ["SW-TREE-FILE-CHANGED"]
    # The manifest of one with the signature of the other is nothing at all.
    manifest_pair(two, release, replace(CLAIMS, generation=3))
    move_pair(two, one, ".manifest.p7s")
    assert codes(judge(one, believed(pki)))[0] == "SW-FILE-CHANGED"


@pytest.mark.parametrize("how", ["extra", "changed", "missing", "inner only", "link", "folder"])
def test_a066_a067_every_file_of_the_tree_is_covered(tmp_path: Path, pki: Pki, release: Signer, how: str) -> None:
    root = tree(tmp_path, "package")
    manifest_pair(root, release, CLAIMS)
    (root / "sub" / "image.bin.p7s").write_bytes(p7s(release, b"image"))
    assert "SW-TREE-FILE-EXTRA" in codes(judge(root, believed(pki)))
    manifest_pair(root, release, CLAIMS)
    assert judge(root, believed(pki)).outcome is TRUSTED
    match how:
        case "extra":
            (root / "sub" / "postinst.sh").write_text("evil")
        case "changed":
            (root / "control.xml").write_text("version=9")
        case "missing":
            (root / "sub" / "image.bin").unlink()
        case "inner only":
            for suffix in (".manifest", ".manifest.p7s"):
                Path(f"{root}{suffix}").unlink()
        case "link":
            (root / "sub" / "start").symlink_to("../control.xml")
        case "folder":
            (root / "empty").mkdir()
    verdict = judge(root, believed(pki))
    assert verdict.outcome is REJECTED
    assert codes(verdict)[0].startswith(("SW-TREE-", "SW-MANIFEST-MISSING"))


@pytest.mark.parametrize("part", ["logic.st", "logic.bin"])
def test_a093_what_the_editor_shows_and_what_the_controller_runs_are_bound_together(
    tmp_path: Path, pki: Pki, release: Signer, part: str
) -> None:
    """Either of them from another release, signed as well, is not what was released together."""
    trust = believed(pki)
    for name, source, compiled in (("old", "x := 1;", b"\x01"), ("new", "x := 2;", b"\x02")):
        root = tmp_path / name
        root.mkdir()
        (root / "logic.st").write_text(source)
        (root / "logic.bin").write_bytes(compiled)
        manifest_pair(root, release, CLAIMS)
        assert judge(root, trust).outcome is TRUSTED
    shutil.copy(tmp_path / "old" / part, tmp_path / "new" / part)
    verdict = judge(tmp_path / "new", trust)
    assert (verdict.outcome, codes(verdict)) == (REJECTED, ["SW-TREE-FILE-CHANGED"])
    assert part in next(one.sentence for one in verdict.findings if one.code == "SW-TREE-FILE-CHANGED")


def test_a027_a_signature_over_a_file_never_serves_for_a_manifest_nor_the_reverse(
    tmp_path: Path, pki: Pki, release: Signer
) -> None:
    root = tree(tmp_path, "package")
    manifest = manifest_pair(root, release, CLAIMS)
    assert judge(root, believed(pki)).outcome is TRUSTED
    text = manifest.read_bytes()
    for kind in ("file", "trust", "deny", "list", ""):
        Path(f"{manifest}.p7s").write_bytes(p7s(release, text, kind=kind))
        assert codes(judge(root, believed(pki))) == ["SW-SIGNATURE-KIND"]
    copy = tmp_path / "renamed.txt"
    copy.write_bytes(text)
    (tmp_path / "renamed.txt.p7s").write_bytes(p7s(release, text, kind="file"))
    assert judge(copy, believed(pki)).outcome is TRUSTED
    (tmp_path / "renamed.txt.p7s").write_bytes(p7s(release, text, kind="manifest"))
    assert codes(judge(copy, believed(pki))) == ["SW-SIGNATURE-KIND"]


def test_a027_bytes_that_begin_like_our_own_statements_are_not_signed_as_files(tmp_path: Path) -> None:
    path = tmp_path / "harmless.txt"
    path.write_bytes(b"# sealwrong manifest 1")
    Detached().prepare(str(path), (HashName.SHA256,), Claims())
    for text in (b"# sealwright manifest 1 sha256\n", b"# sealwright trust 1\n", b"# sealwright anything"):
        path.write_bytes(text)
        with pytest.raises(format_manifest.SealwrightError):
            Detached().prepare(str(path), (HashName.SHA256,), Claims())


def test_a089_a_manifest_for_one_thing_is_refused_for_another(tmp_path: Path, pki: Pki, release: Signer) -> None:
    file = claimed(tmp_path, release, CLAIMS, "image.bin")
    root = tree(tmp_path, "package")
    manifest_pair(root, release, CLAIMS)
    assert judge(file, believed(pki)).outcome is TRUSTED
    assert judge(root, believed(pki)).outcome is TRUSTED
    other = tmp_path / "other.bin"
    other.write_bytes(file.read_bytes())
    move_pair(file, other)
    assert codes(judge(other, believed(pki))) == ["SW-MANIFEST-NAME"]
    lone = tmp_path / "lone"
    lone.mkdir()
    shutil.copy(file, lone)
    for source, target in ((root, other), (file, lone)):
        move_pair(source, target)
        assert codes(judge(target, believed(pki))) == ["SW-MANIFEST-KIND"]


@pytest.fixture
def listed(tmp_path: Path, release: Signer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose manifest was too large to be the small one."""
    root = tree(tmp_path, "large")
    monkeypatch.setattr(format_manifest, "MAX_SMALL_BYTES", 150)
    manifest_pair(root, release, CLAIMS)
    monkeypatch.undo()
    assert (tmp_path / "large.manifest.list").exists()
    return root


@pytest.mark.parametrize(
    "how", ["missing", "changed", "another tree's", "a file", "a folder of it", "a list of a list"]
)
def test_a089_the_list_of_a_large_tree_is_the_one_that_was_signed(
    tmp_path: Path, pki: Pki, release: Signer, listed: Path, how: str
) -> None:
    verdict = judge(listed, believed(pki))
    assert verdict.outcome is TRUSTED
    assert verdict.size == sum(path.stat().st_size for path in listed.rglob("*") if path.is_file())
    path = tmp_path / "large.manifest.list"
    original = path.read_bytes()
    manifest = tmp_path / "large.manifest"
    match how:
        case "missing":
            path.unlink()
        case "changed":
            path.write_bytes(original.replace(b"control.xml", b"control.xmL"))
        case "another tree's":
            manifest_pair(tree(tmp_path, "other", "x"), release, CLAIMS)
            shutil.copy(tmp_path / "other.manifest", path)
        case "a file":
            shutil.rmtree(listed)
            listed.write_bytes(b"image")
        case "a folder of it":
            path.unlink()
            path.mkdir()
        case "a list of a list":
            naming = parse_manifest(manifest.read_bytes(), "m")
            entry = naming.files[0]._replace(digest=hashlib.sha256(manifest.read_bytes()).digest())
            path.write_bytes(manifest.read_bytes())
            again = manifest_bytes(replace(naming, over=Over.LIST, files=(entry,), total_bytes=len(path.read_bytes())))
            manifest.write_bytes(again)
            Path(f"{manifest}.p7s").write_bytes(p7s(release, again, kind="manifest"))
    verdict = judge(listed, believed(pki))
    assert verdict.outcome is REJECTED


def test_a089_the_list_may_not_claim_more_than_the_small_manifest(
    tmp_path: Path, pki: Pki, release: Signer, listed: Path
) -> None:
    assert judge(listed, believed(pki)).outcome is TRUSTED
    manifest = tmp_path / "large.manifest"
    naming = parse_manifest(manifest.read_bytes(), "m")
    again = manifest_bytes(replace(naming, claims=replace(CLAIMS, generation=99)))
    manifest.write_bytes(again)
    Path(f"{manifest}.p7s").write_bytes(p7s(release, again, kind="manifest"))
    assert codes(judge(listed, believed(pki))) == ["SW-MANIFEST-KIND"]


def recursive(root: Path, pki: Pki) -> dict[str, Outcome]:
    request = Request(clock=NOW, recursive=True)
    verdicts = verify_paths([str(root)], believed(pki), request)
    return {os.path.relpath(verdict.path, root): verdict.outcome for verdict in verdicts}


@pytest.mark.parametrize("name", ["setup.manifest", "setup.ers", "setup.tlog-proof", ".p7s", "setup.plant.p7s"])
def test_a066_a_file_that_only_looks_like_a_signature_is_judged(
    tmp_path: Path, pki: Pki, release: Signer, name: str
) -> None:
    signed_file(tmp_path, release, name="a.bin")
    assert recursive(tmp_path, pki) == {"a.bin": TRUSTED}
    (tmp_path / name).write_bytes(b"#!/bin/sh\nevil\n")
    assert recursive(tmp_path, pki) == {"a.bin": TRUSTED, name: REJECTED}


BESIDE = {
    "a.bin.ers": b"0\x82\x01\x00",
    "a.bin.tlog-proof": b"c2sp.org/tlog-proof@v1\n",
    "a.bin.plant.tlog-proof": b"c2sp.org/tlog-proof@v1\n",
    "a.bin.pq.tlog-proof": b"c2sp.org/tlog-proof@v1\n",
    "a.bin.manifest.list": b"# sealwright manifest 1 sha256\n",
    "a.bin.ima": b"# file: x\nsecurity.ima=0sAwI=\n\n",
    "a.bin.roothash": b"0" * 64,
}


@pytest.mark.parametrize("name", [*BESIDE, "a.bin.evil.p7s", "a.bin.run.manifest", "a.bin.p7s.list", "a.bin.sig"])
def test_a066_nothing_hides_by_a_name_that_belongs_to_a_signed_file(
    tmp_path: Path, pki: Pki, release: Signer, name: str
) -> None:
    signed_file(tmp_path, release, name="a.bin")
    if name in BESIDE:
        (tmp_path / name).write_bytes(BESIDE[name])
    assert recursive(tmp_path, pki) == {"a.bin": TRUSTED}
    (tmp_path / name).write_bytes(b"#!/bin/sh\nevil\n")
    assert recursive(tmp_path, pki) == {"a.bin": TRUSTED, name: REJECTED}
    (tmp_path / name).write_bytes(b"# file: x\nsecurity.ima=0sAwI=\nevil\n")
    assert recursive(tmp_path, pki) == {"a.bin": TRUSTED, name: REJECTED}


@pytest.mark.parametrize("name", ["tools.p7s", "tools.tsr", "tools.manifest", "tools.ima", "tools.fsverity.p7s"])
def test_a066_nothing_hides_by_a_name_that_belongs_to_a_folder(
    tmp_path: Path, pki: Pki, release: Signer, name: str
) -> None:
    (tmp_path / "tools").mkdir()
    signed_file(tmp_path / "tools", release, name="a.bin")
    manifest_pair(tmp_path / "tools", release, CLAIMS)
    assert recursive(tmp_path, pki) == {"tools/a.bin": TRUSTED}
    (tmp_path / name).write_bytes(b"#!/bin/sh\nevil\n")
    found = recursive(tmp_path, pki)
    assert found.pop("tools/a.bin") is TRUSTED
    assert found == {"tools" if name == "tools.ima" else name: REJECTED}


@pytest.mark.parametrize("what", ["a link to a folder", "a dangling link", "a FIFO"])
def test_a153_nothing_below_a_folder_is_passed_over(tmp_path: Path, pki: Pki, release: Signer, what: str) -> None:
    root, away = tmp_path / "stick", tmp_path / "away"
    root.mkdir()
    away.mkdir()
    signed_file(root, release, name="a.bin")
    (away / "evil.bin").write_bytes(b"evil")
    assert recursive(root, pki) == {"a.bin": TRUSTED}
    if what == "a FIFO":
        os.mkfifo(root / "odd")
    else:
        (root / "odd").symlink_to(away if what == "a link to a folder" else "nowhere")
    assert recursive(root, pki) == {"a.bin": TRUSTED, "odd": REJECTED}


def test_a153_a_folder_that_links_to_itself_ends(tmp_path: Path, pki: Pki, release: Signer) -> None:
    signed_file(tmp_path, release, name="a.bin")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert recursive(tmp_path, pki) == {"a.bin": TRUSTED, "loop": REJECTED}


def two_party(pki: Pki, **changes: object) -> dict[str, object]:
    slots = [{"slot": slot, "anchors": ["root"]} for slot in ("maker", "plant")]
    return {"rule": [RULE | {"signer": slots}], **changes}


def test_a120_the_makers_signature_copied_is_no_acceptance(tmp_path: Path, pki: Pki) -> None:
    maker, plant, spare = pki.leaf("maker"), pki.leaf("plant"), pki.leaf("spare")
    people = [person("mia", maker, spare), person("pia", plant), person("olga"), person("rolf")]
    trust = believed(pki, **two_party(pki, person=people))
    for path in (signed_file(tmp_path, maker), claimed(tmp_path, maker, CLAIMS, "pump.bin")):
        signed = path if path.name == "drive.bin" else Path(f"{path}.manifest")
        kind = "file" if signed == path else "manifest"
        acceptance = signed.with_name(f"{signed.name}.plant.p7s")
        acceptance.write_bytes(p7s(plant, signed.read_bytes(), kind=kind))
        assert judge(path, trust).outcome is TRUSTED
        acceptance.write_bytes(Path(f"{signed}.p7s").read_bytes())
        assert codes(judge(path, trust)) == ["SW-SIGNERS-NOT-DISTINCT"]
        again = pki.leaf("again", key=maker.key)
        for other in (spare, again):
            acceptance.write_bytes(p7s(other, signed.read_bytes(), kind=kind))
            assert codes(judge(path, trust)) == ["SW-SIGNERS-NOT-DISTINCT"]
        acceptance.write_bytes(p7s(pki.leaf("nobody"), signed.read_bytes(), kind=kind))
        assert codes(judge(path, trust)) == ["SW-SIGNER-UNMAPPED"]


def test_a016_a_signature_that_the_rule_wants_cannot_be_taken_away(tmp_path: Path, pki: Pki) -> None:
    classic, quantum = pki.leaf("classic"), pki.leaf("quantum", kind=KeyKind.ML_DSA_65)
    people = [person("mia", classic, quantum), person("olga"), person("rolf")]
    slots = [{"slot": slot, "anchors": ["root"]} for slot in ("maker", "pq")]
    trust = believed(pki, person=people, rule=[RULE | {"signer": slots}])
    path = signed_file(tmp_path, classic)
    pq = tmp_path / "drive.bin.pq.p7s"
    pq.write_bytes(p7s(quantum, path.read_bytes()))
    assert judge(path, trust).outcome is TRUSTED
    pq.write_bytes((tmp_path / "drive.bin.p7s").read_bytes())
    assert codes(judge(path, trust)) == ["SW-SIGNER-NOT-ALLOWED"]
    pq.write_bytes(p7s(pki.leaf("classic too"), path.read_bytes()))
    assert codes(judge(path, trust)) == ["SW-SIGNER-NOT-ALLOWED"]
    pq.unlink()
    assert codes(judge(path, trust)) == ["SW-SIGNATURE-PQ-MISSING"]
