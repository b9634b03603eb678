"""Trees and their manifests: what sha256sum agrees with, what is named when it differs, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.mutate import flips, truncations
from kit.openssl import run, sums
from sealwright.artifact import sums as manifests
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.manifest import Link, Manifest, Over, manifest_bytes, parse_manifest
from sealwright.artifact.sums import FileEntry
from sealwright.artifact.tree import compare_tree, manifest_of_tree
from sealwright.errors import MalformedArtifact, SealwrightError

CLAIMS = Claims("line 3 drive", "2.4%", 7, ("A-1", "B 2"), "production")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "start").write_text("#!/bin/sh\n")
    (root / "bin" / "start").chmod(0o755)
    (root / "a b.cfg").write_text("x = 1\n")
    (root / "käse\\2").write_bytes(b"\0" * 20000)
    (root / "logs").mkdir()
    (root / "current").symlink_to("bin/start")
    (root / "empty").write_bytes(b"")
    return root


def build(tree: Path, algorithm: HashName = HashName.SHA256) -> Manifest:
    return manifest_of_tree(str(tree), algorithm, CLAIMS)


def differences(tree: Path, manifest: Manifest) -> list[tuple[str, str]]:
    return [(finding.code, finding.subject) for finding in compare_tree(str(tree), manifest)]


@pytest.mark.parametrize("algorithm", list(HashName))
def test_the_sum_programs_accept_every_manifest(tree: Path, tmp_path: Path, algorithm: HashName) -> None:
    manifest = build(tree, algorithm)
    path = tmp_path / "project.manifest"
    path.write_bytes(manifest_bytes(manifest))
    program = f"{algorithm.value}sum"
    assert run([program, "-c", "--strict", path], cwd=tree)[0]
    (tree / "empty").write_text("no longer")
    assert not run([program, "-c", "--strict", path], cwd=tree)[0]


def test_a_manifest_reads_back_as_it_was_written(tree: Path) -> None:
    manifest = build(tree)
    assert manifest.claims == CLAIMS
    assert manifest.executables == (b"bin/start",)
    assert manifest.folders == (b"logs",)
    assert manifest.links == (Link(b"current", b"bin/start"),)
    assert parse_manifest(manifest_bytes(manifest), "m") == manifest
    assert differences(tree, manifest) == []


def test_missing_changed_and_extra_files_are_each_named(tree: Path) -> None:
    manifest = build(tree)
    assert differences(tree, manifest) == []
    (tree / "a b.cfg").write_text("x = 2\n")
    (tree / "empty").unlink()
    (tree / "bin" / "backdoor").write_text("x")
    (tree / "current").unlink()
    (tree / "current").symlink_to("bin/backdoor")
    (tree / "bin" / "start").chmod(0o644)
    (tree / "logs").rmdir()
    (tree / "spool").mkdir()
    found = differences(tree, manifest)
    assert ("SW-TREE-FILE-CHANGED", "a b.cfg") in found
    assert ("SW-TREE-FILE-MISSING", "empty") in found
    assert ("SW-TREE-FILE-EXTRA", "bin/backdoor") in found
    assert ("SW-TREE-LINK-CHANGED", "current") in found
    assert ("SW-TREE-FOLDER-MISSING", "logs") in found
    assert ("SW-TREE-FOLDER-EXTRA", "spool") in found


def test_a_single_lost_execute_bit_is_named(tree: Path) -> None:
    (tree / "bin" / "stop").write_text("#!/bin/sh\n")
    (tree / "bin" / "stop").chmod(0o755)
    manifest = build(tree)
    assert differences(tree, manifest) == []
    (tree / "bin" / "stop").chmod(0o644)
    assert differences(tree, manifest) == [("SW-TREE-MODE-CHANGED", "bin/stop")]
    (tree / "bin" / "start").chmod(0o644)
    assert differences(tree, manifest) == [("SW-TREE-MODES-NOT-KEPT", "project")]


@pytest.mark.parametrize(
    "name",
    [
        b"line\nfeed",
        b"tab\there",
        b"\x7f",
        b"bad\xff",
        b"CON",
        b"nul.txt",
        b"-",
        b"..\\x",
        b"\\\\srv\\x",
        b"C:x",
        b"a\xe2\x80\xa8b",
    ],
)
def test_a076_names_that_mean_different_things_on_different_systems_are_refused(tree: Path, name: bytes) -> None:
    build(tree)
    path = os.path.join(os.fsencode(tree), name)
    with open(path, "wb") as file:
        file.write(b"x")
    with pytest.raises(MalformedArtifact):
        build(tree)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Readme", "README"), ("caf\u00e9", "cafe\u0301"), ("a.", "a"), ("ß", "ss"), ("data", "data:x"), ("x", "x\\y")],
)
def test_a033_names_that_collide_elsewhere_are_refused(tree: Path, one: str, other: str) -> None:
    (tree / one).write_text("1")
    build(tree)
    (tree / other).write_text("2")
    with pytest.raises(MalformedArtifact, match="one name on some systems"):
        build(tree)


def test_a071_special_files_are_refused_and_never_block(tree: Path) -> None:
    build(tree)
    os.mkfifo(tree / "pipe")
    with pytest.raises(MalformedArtifact, match="device, socket or FIFO"):
        build(tree)
    (tree / "pipe").unlink()
    (tree / "bin" / "start").chmod(0o4755)
    with pytest.raises(MalformedArtifact, match="setuid"):
        build(tree)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "bin/../../../x", "C:\\x", "..\\..\\x"])
def test_a069_links_that_leave_the_tree_are_refused(tree: Path, target: str) -> None:
    build(tree)
    (tree / "out").symlink_to(target)
    with pytest.raises(MalformedArtifact):
        build(tree)


def test_a069_a_folder_that_became_a_link_is_not_followed(tree: Path, tmp_path: Path) -> None:
    manifest = build(tree)
    elsewhere = tmp_path / "elsewhere"
    (tree / "bin").rename(elsewhere)
    (tree / "bin").symlink_to("../elsewhere")
    with pytest.raises(SealwrightError):
        compare_tree(str(tree), manifest)


def test_a078_an_empty_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MalformedArtifact, match="no file"):
        build(tmp_path / "empty")


def text(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


HASH = "a" * 64
GOOD = ["# sealwright manifest 1 sha256", "#! over tree", "#! files 1", "#! bytes 3", f"{HASH}  x"]


@pytest.mark.parametrize(
    "lines",
    [
        ["# sealwright manifest 1 md5", *GOOD[1:]],
        ["# sealwright manifest 2 sha256", *GOOD[1:]],
        [" # sealwright manifest 1 sha256", *GOOD[1:]],
        [*GOOD[:4], f"{HASH.upper()}  x"],
        [*GOOD[:4], f"{HASH} x"],
        [*GOOD[:4], f"{HASH[:-2]}  x"],
        [*GOOD[:4], f"{HASH}  ../x"],
        [*GOOD[:4], f"{HASH}  /x"],
        [*GOOD[:4], f"{HASH}  a//x"],
        [*GOOD[:4], f"\\{HASH}  x"],
        [*GOOD[:4], f"{HASH}  a\\b"],
        [*GOOD, f"{HASH}  x"],
        [*GOOD, f"{HASH}  a"],
        [*GOOD, ""],
        GOOD[:4],
        [*GOOD[:2], "#! files 2", *GOOD[3:]],
        [*GOOD[:2], "#! files 01", *GOOD[3:]],
        [*GOOD[:2], "#! unknown x", *GOOD[2:]],
        [*GOOD[:2], "#! claim owner x", *GOOD[2:]],
        [*GOOD[:2], "#! claim product a b", *GOOD[2:]],
        [*GOOD[:2], "#! claim product %61", *GOOD[2:]],
        [*GOOD[:2], "#! claim generation -1", *GOOD[2:]],
        [*GOOD[:2], "#! claim version 1", "#! claim product p", *GOOD[2:]],
        [*GOOD[:4], "#! executable y", GOOD[4]],
        [*GOOD[:4], "#! link l -> ../../y", GOOD[4]],
        [*GOOD[:4], "#! folder x", GOOD[4]],
        [GOOD[0], "# two  spaces", *GOOD[1:]],
    ],
)
def test_a033_anything_but_the_canonical_form_is_refused(lines: list[str]) -> None:
    assert parse_manifest(text(*GOOD), "m").total_bytes == 3
    with pytest.raises(MalformedArtifact):
        parse_manifest(text(*lines), "m")


@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbf" + text(*GOOD), text(*GOOD)[:-1], text(*GOOD).replace(b"\n", b"\r\n"), b"x" * 100_000]
)
def test_a033_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedArtifact):
        parse_manifest(data, "m")


def test_mutation_of_a_manifest_is_refused_or_is_another_canonical_manifest(tree: Path) -> None:
    manifest = build(tree)
    data = manifest_bytes(manifest)
    for changed in (*(one for _, one in flips(data)), *truncations(data)):
        try:
            read = parse_manifest(changed, "m")
        except SealwrightError:
            continue
        assert read != manifest
        assert manifest_bytes(read) == changed


def outcome(data: bytes) -> Manifest | str:
    try:
        return parse_manifest(data, "m")
    except SealwrightError as refused:
        return refused.what


@pytest.mark.parametrize(
    "extra", [b"a b", b"-x", b"back\\slash", "käse".encode(), b"xxxx/" * 60 + b"x", b"d/COM2", b"DD"]
)
def test_lines_read_in_runs_and_one_by_one_are_the_same_manifest_or_the_same_refusal(
    monkeypatch: pytest.MonkeyPatch, extra: bytes
) -> None:
    names = sorted([b"d/%02d.bin" % number for number in range(12)] + [b"dd", b"z", extra])
    files = tuple(FileEntry(name, bytes(31) + b"%c" % number) for number, name in enumerate(names))
    data = manifest_bytes(Manifest(HashName.SHA256, Over.TREE, CLAIMS, files, total_bytes=5))
    lines = data.splitlines(keepends=True)
    swapped = [b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]) for at in range(len(lines) - 1)]
    repeated = [b"".join([*lines[: at + 1], *lines[at:]]) for at in range(len(lines))]
    changed = [data, *swapped, *repeated, *truncations(data), *(one for _, one in flips(data))]
    monkeypatch.setattr(manifests, "RUN_BYTES", 400)  # so that a run has five lines or six
    in_runs = list(map(outcome, changed))
    monkeypatch.setattr(manifests, "_is_whole_and_sorted", lambda *_: False)
    assert in_runs == list(map(outcome, changed))
    assert isinstance(in_runs[0], str) == (extra in (b"d/COM2", b"DD"))


NAMES = st.binary(min_size=1, max_size=30)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.binary(min_size=32, max_size=32))
def test_any_names_round_trip_or_are_refused(names: list[bytes], digest: bytes) -> None:
    files = tuple(FileEntry(name, digest) for name in sorted(names))
    manifest = Manifest(HashName.SHA256, Over.TREE, CLAIMS, files, total_bytes=5)
    try:
        assert parse_manifest(manifest_bytes(manifest), "m") == manifest
    except SealwrightError:
        return


@given(st.binary(max_size=300))
def test_any_bytes_give_a_typed_error_or_a_manifest(data: bytes) -> None:
    try:
        assert manifest_bytes(parse_manifest(data, "m")) == data
    except SealwrightError:
        return


def test_forked_workers_and_one_process_agree(tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(500):
        folder = root / f"d{number % 7}" / f"e{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(os.urandom(number * 37 % 70000))
    # in a fresh process there are no other threads, so it forks
    code = (
        "import sys; from sealwright.artifact.tree import manifest_of_tree; from sealwright.artifact.digest import HashName\n"
        "from sealwright.artifact.claims import Claims; from sealwright.artifact.manifest import manifest_bytes\n"
        "sys.stdout.buffer.write(manifest_bytes(manifest_of_tree(sys.argv[1], HashName.SHA256, Claims())))"
    )
    forked = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, check=True).stdout
    here = manifest_bytes(manifest_of_tree(str(root), HashName.SHA256, Claims()))
    assert forked == here
    path = tmp_path / "many.manifest"
    path.write_bytes(forked)
    assert sums(path, root)[0]
