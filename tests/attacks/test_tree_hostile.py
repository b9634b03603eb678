"""Hostile trees and manifests: names that leave, members that change between walk and hash, workers that die, two writers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sealwright.artifact import hashing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.hashing import hash_files
from sealwright.artifact.manifest import manifest_bytes, parse_manifest
from sealwright.artifact.names import display
from sealwright.artifact.source import open_artifact
from sealwright.artifact.tree import compare_tree, manifest_of_tree
from sealwright.artifact.walk import Walked, walk_tree
from sealwright.errors import ChangedWhileRead, MalformedArtifact, SealwrightError, Unreadable

HASH = b"a" * 64


def manifest_with(name: bytes, line: bytes = b"") -> bytes:
    return (
        b"# sealwright manifest 1 sha256\n#! over tree\n#! files 1\n#! bytes 3\n" + line + HASH + b"  " + name + b"\n"
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for number in range(40):
        folder = root / f"d{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(os.urandom(100 + number * 997))
    return root


@pytest.mark.parametrize(
    "name",
    [b"../x", b"/x", b"C:\\x", b"\\\\srv\\x", b"..\\x", b"a/../../x", b"a/./x", b"a//x", b"a/", b"\xc0\xae\xc0\xae/x", b"x\0", b"x\r", b"x\ty"],
)  # fmt: skip
def test_a068_a_manifest_never_names_a_file_outside_the_tree(name: bytes) -> None:
    assert parse_manifest(manifest_with(b"a/b/x"), "m").files[0].name == b"a/b/x"
    with pytest.raises(MalformedArtifact):
        parse_manifest(manifest_with(name), "m")


def test_a068_percent_signs_in_a_sum_line_mean_themselves(tree: Path) -> None:
    (tree / "%2e%2e").mkdir()
    (tree / "%2e%2e" / "x").write_text("inside")
    manifest = manifest_of_tree(str(tree), HashName.SHA256, Claims())
    assert parse_manifest(manifest_bytes(manifest), "m") == manifest
    assert compare_tree(str(tree), manifest) == ()


@pytest.mark.parametrize(
    "line", [b"#! folder %2E%2E/x\n", b"#! folder ../x\n", b"#! folder %2e\n", b"#! link l -> /etc\n"]
)
def test_a068_folders_and_links_obey_the_same_rules(line: bytes) -> None:
    assert parse_manifest(manifest_with(b"x", b"#! folder logs\n"), "m").folders == (b"logs",)
    with pytest.raises(MalformedArtifact):
        parse_manifest(manifest_with(b"x", line), "m")


def test_a049_names_are_shown_without_control_or_direction_characters() -> None:
    assert display("käse 1.bin".encode()) == "käse 1.bin"
    assert display("fir\u202enib.exe".encode()) == "fir\\u202enib.exe"
    assert display(b"a\x1b[2Jb\xff") == "a\\x1b[2Jb\\xff"


def test_a071_a_socket_in_the_tree_is_refused(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk_tree(str(tree))
    monkeypatch.chdir(tree)  # socket paths are limited to about 100 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        with pytest.raises(MalformedArtifact, match="socket"):
            walk_tree(str(tree))


def test_a074_a_file_over_four_gibibytes_is_digested_to_its_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate((1 << 32) + 1)
        file.seek(1 << 32)
        file.write(b"!")
    wanted = subprocess.run(["openssl", "dgst", "-sha256", "-r", path], capture_output=True, check=True, text=True)
    with open_artifact(path) as source:
        assert source.size == (1 << 32) + 1
        assert source.digests([HashName.SHA256])[HashName.SHA256].value.hex() == wanted.stdout[:64]


def test_a078_an_emptied_tree_is_not_what_was_signed(tree: Path, tmp_path: Path) -> None:
    manifest = manifest_of_tree(str(tree), HashName.SHA256, Claims())
    assert compare_tree(str(tree), manifest) == ()
    (tmp_path / "empty").mkdir()
    found = compare_tree(str(tmp_path / "empty"), manifest)
    assert {(finding.code, finding.subject) for finding in found} == {
        ("SW-TREE-FILE-MISSING", entry.name.decode()) for entry in manifest.files
    }


def hashed_again(walked: Walked) -> None:
    results = hash_files(walked.root, walked.files, HashName.SHA256, None)
    assert results.missing() == []


@pytest.mark.parametrize("became", ["link", "fifo", "folder", "nothing", "linked folder"])
def test_a150_a_member_swapped_between_walk_and_hash_is_refused(tree: Path, tmp_path: Path, became: str) -> None:
    walked = walk_tree(str(tree))
    hashed_again(walked)
    victim = tree / "d1" / "5"
    victim.replace(tmp_path / "kept")
    if became == "link":
        victim.symlink_to(tmp_path / "kept")
    elif became == "fifo":
        os.mkfifo(victim)
    elif became == "folder":
        victim.mkdir()
    elif became == "linked folder":
        (tmp_path / "kept").replace(victim)
        (tree / "d1").replace(tmp_path / "d1")
        (tree / "d1").symlink_to(tmp_path / "d1")
    with pytest.raises(SealwrightError, match="d1"):
        hashed_again(walked)


@pytest.mark.parametrize("size", [100, 200_000])
@pytest.mark.parametrize("change", ["none", "grows", "shrinks", "is written again"])
def test_a150_a_member_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"0" * size)
    os.utime(victim, (1, 1))
    real = hashing.read_into if size > hashing.SMALL else os.read

    def reading(descriptor: int, into: Any) -> Any:
        """What is read comes first, or last where the file grows, so that only the times or the size tell."""
        data = b"" if change == "grows" else real(descriptor, into)
        if change != "none":
            victim.write_bytes(b"0" * {"grows": size + 1, "shrinks": size - 1}.get(change, size))
        return data or real(descriptor, into)

    monkeypatch.setattr(hashing, "read_into" if size > hashing.SMALL else "read", reading)
    if change == "none":
        assert len(manifest_of_tree(str(tmp_path), HashName.SHA256, Claims()).files) == 1
        return
    with pytest.raises(ChangedWhileRead, match="victim"):
        manifest_of_tree(str(tmp_path), HashName.SHA256, Claims())


def test_a_worker_that_dies_is_an_error_and_never_a_missing_digest(tree: Path) -> None:
    code = (
        "import os, sys; from sealwright.artifact import hashing, walk; from sealwright.artifact.digest import HashName\n"
        "hashing._cores = lambda: 2\n"
        "parent, real = os.getpid(), hashing._Reader.__enter__\n"
        "def enter(self):\n"
        "    if sys.argv[2] == 'dies' and os.getpid() != parent: os._exit(9)\n"
        "    return real(self)\n"
        "hashing._Reader.__enter__ = enter\n"
        "walked = walk.walk_tree(sys.argv[1])\n"
        "try: print(len(hashing.hash_files(sys.argv[1], walked.files, HashName.SHA256, None).memory) > 0)\n"
        "except hashing.Unreadable as refused: print(refused.what)"
    )
    said = [
        subprocess.run([sys.executable, "-c", code, tree, fate], capture_output=True, check=True, text=True).stdout
        for fate in ("lives", "dies")
    ]
    assert said[0] == "True\n"
    assert "a worker process ended" in said[1]


def test_an_unreadable_root_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        walk_tree(str(tmp_path / "absent"))


def test_a171_of_two_writers_of_one_output_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; from sealwright.artifact.output import write_atomic; from sealwright.errors import OutputRefused\n"
        "sys.stdin.read()\n"
        "try: write_atomic(sys.argv[1], sys.argv[2].encode() * 1000); print('won', sys.argv[2])\n"
        "except OutputRefused: print('told')"
    )
    path = tmp_path / "out"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, letter], stdin=-1, stdout=-1, text=True)
        for letter in "abcd"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdin = None
    said = sorted(writer.communicate()[0].strip() for writer in writers)
    assert said[:3] == ["told"] * 3
    assert path.read_text() == said[3].removeprefix("won ") * 1000
    assert os.listdir(tmp_path) == ["out"]
