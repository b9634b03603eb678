"""Links inside a signed tree: none leads out, however many are passed on the way (A069)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.manifest import parse_manifest
from sealwright.artifact.tree import manifest_of_tree
from sealwright.errors import MalformedArtifact


def tree(folder: Path, *links: tuple[str, str]) -> Path:
    """A tree of one file, and links (name, target)."""
    top = folder / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_bytes(b"x")
    for name, target in links:
        (top / name).symlink_to(target)
    return top


@pytest.mark.parametrize(
    "links",
    [
        [("a/b/top", "../.."), ("out", "a/b/top/../outside")],
        [("here", "."), ("out", "here/../outside")],
        [("deep", "a/b"), ("out", "deep/../../../outside")],
        [("a/b/out", "../../../outside")],
        [("a/b/out", "./.././../../outside")],
        [("out", "a/../outside")],
    ],
)
def test_a069_no_link_leads_out_by_way_of_another(tmp_path: Path, links: list[tuple[str, str]]) -> None:
    fine = tree(tmp_path / "fine", ("a/up", "../a/./b//file"), ("a/b/top", "../.."), ("l", "a/b/file"), ("here", "."))
    assert len(manifest_of_tree(str(fine), HashName.SHA256, Claims()).links) == 4
    with pytest.raises(MalformedArtifact, match="the link"):
        manifest_of_tree(str(tree(tmp_path / "bad", *links)), HashName.SHA256, Claims())
    name, target = links[-1]
    assert parse_manifest(manifest(name, "a/b/file"), "tree.manifest").links
    with pytest.raises(MalformedArtifact, match="the link"):
        parse_manifest(manifest(name, target), "tree.manifest")


def manifest(name: str, target: str) -> bytes:
    """A manifest with one link, as no tool of ours would write it."""
    head = "# sealwright manifest 1 sha256\n#! over tree\n#! files 1\n#! bytes 1\n"
    return f"{head}#! link {name} -> {target}\n{'0' * 64}  a/b/file\n".encode()
