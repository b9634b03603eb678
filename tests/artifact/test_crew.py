"""A tree hashed while it is walked: the same digests in the same order, whoever does the work and whatever the system lacks."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealwright.artifact import hashing
from sealwright.artifact.digest import HashName
from sealwright.artifact.hashing import hash_tree
from sealwright.artifact.names import check_distinct, check_members
from sealwright.artifact.walk import walk_tree
from sealwright.errors import MalformedArtifact

PARTS = ["a", "a.b", "a-b", "a b", "a0", "A1", "b", "käse", "z" * 100]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Names that sort differently with and without the `/` of a folder, several folders deep, a few hundred files."""
    root, dice = tmp_path / "tree", random.Random(3)
    for _ in range(400):
        folder = root.joinpath(*dice.choices(PARTS, k=dice.randrange(4)))
        name = folder / f"{dice.choice(PARTS)}.{dice.randrange(40)}"
        folder.mkdir(parents=True, exist_ok=True)
        name.write_bytes(dice.randbytes(dice.randrange(70_000)))
    return root


def by_hand(root: Path) -> list[tuple[bytes, bytes]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return sorted((os.fsencode(path.relative_to(root)), hashlib.sha256(path.read_bytes()).digest()) for path in files)


def hashed(root: Path) -> list[tuple[bytes, bytes]]:
    found = hash_tree(str(root), HashName.SHA256, None)
    assert found.results.total_bytes == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return list(zip(found.names, found.results.digests(), strict=True))


def test_names_come_in_the_order_of_their_raw_bytes(tree: Path) -> None:
    told: list[bytes] = []
    walked = walk_tree(str(tree), told.extend)
    assert told == walked.files == sorted(walked.files)


@pytest.mark.parametrize("lack", ["nothing", "packets", "processes", "room in the pipe", "a second core", "forks"])
def test_the_digests_are_the_same_whatever_is_missing(tree: Path, monkeypatch: pytest.MonkeyPatch, lack: str) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EAGAIN, "not now")

    def full(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(hashing, "_cores", lambda: 1 if lack == "a second core" else 3)
    if lack == "packets":
        monkeypatch.setattr(os, "pipe2", refused)
    elif lack == "processes":
        monkeypatch.setattr(os, "fork", refused)
    elif lack == "room in the pipe":
        monkeypatch.setattr(os, "write", full)
    elif lack == "forks":
        monkeypatch.setattr(hashing, "_can_fork", lambda: False)
    assert hashed(tree) == by_hand(tree)


def test_only_the_wanted_files_are_hashed(tree: Path) -> None:
    every = by_hand(tree)
    wanted = {name for name, _ in every[::3]}
    found = hash_tree(str(tree), HashName.SHA256, None, wanted)
    assert found.walked.files == [name for name, _ in every]
    assert list(zip(found.names, found.results.digests(), strict=True)) == every[::3]


def test_a_name_too_long_for_a_packet_is_hashed_too(tree: Path) -> None:
    deep = tree
    for _ in range(16):
        deep = deep / ("d" * 250)
    here = os.open(tree, os.O_RDONLY)
    for part in deep.relative_to(tree).parts:
        os.mkdir(part, dir_fd=here)
        below = os.open(part, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    for name in ("x" * 80, "y" * 80):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    found = hash_tree(str(tree), HashName.SHA256, None)
    long = [(n, d) for n, d in zip(found.names, found.results.digests(), strict=True) if len(n) + 8 > hashing.PACKET]
    assert [digest for _, digest in long] == [hashlib.sha256(b"").digest()] * 2


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.text("aAbB.-_ :\\ß~1Kcon\u212a\u00e4\u0308", min_size=1, max_size=6).map(str.encode), unique=True, max_size=6
    )
)
def test_a_folders_members_are_checked_like_a_manifests(parts: list[bytes]) -> None:
    """One after the other or all at once, a clash or a bad name is found by both or by none."""
    try:
        check_members(b"", parts, "t")
        accepted = True
    except MalformedArtifact:
        accepted = False
    try:
        check_distinct(sorted(parts), "t")
        distinct = True
    except MalformedArtifact:
        distinct = False
    assert accepted <= distinct
    if distinct and all(part.replace(b"_", b"").isalnum() for part in parts):
        assert accepted


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ([b"a", b"b"], [b"a", b"A"]),
        ([b"com10", b"aux2"], [b"com1", b"x"]),
        ([b"a.b", b"a"], [b"a.", b"a"]),
        ([b"-a"], [b"-"]),
        ([b"nul0.txt"], [b"NUL.txt"]),
    ],
)
def test_the_quick_check_of_a_folder_refuses_what_the_slow_one_does(good: list[bytes], bad: list[bytes]) -> None:
    check_members(b"", good, "t")
    with pytest.raises(MalformedArtifact):
        check_members(b"", bad, "t")
