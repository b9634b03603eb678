"""A release of ours: from a tag of a clean clone, the same bytes in two builds, signed by a key in a token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.bundles import CACHE, ROOT, Bundle
from kit.openssl import cms_verify, run, sums
from kit.tokens import PIN, another_token
from sealwright.cli.main import main

Said = tuple[bool, str]


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def clone(tmp_path: Path, bundle: Bundle) -> Path:
    """A clone of the work tree with its tag; the bundle was made first, so that the wheels are in the cache."""
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--shared", str(ROOT), str(folder))
    git(folder, "fetch", "-q", str(ROOT), bundle.commit)
    git(folder, "checkout", "-q", "FETCH_HEAD")
    git(folder, "tag", "v0.1.0")
    return folder


def release(clone: Path, tag: str, *words: str | Path) -> Said:
    environment = {**os.environ, "PYTHON": sys.executable}
    return run([clone / "scripts" / "release", tag, "--cache", CACHE, *words], cwd=clone, environment=environment)


def test_a_release_is_signed_in_a_token_and_checked_by_openssl_and_sha256sum(clone: Path, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    home = tmp_path / "home"
    assert main(["init", str(home), "--token", another_token(), "--pin-file", str(pin)]) == 0
    made, said = release(clone, "v0.1.0", "--home", home, "--pin-file", pin, "--out", tmp_path / "out")
    assert made, said
    made_there = Bundle(tmp_path / "out" / "sealwright-0.1.0-offline")
    accepted, said = cms_verify(
        made_there.beside(".manifest.p7s"), made_there.beside(".manifest"), made_there.beside(".ca.pem")
    )
    assert accepted, said
    assert sums(made_there.beside(".manifest"), made_there.folder) == (True, "")
    assert main(["verify", str(made_there.folder), "--trust", str(home / "trust.toml"), "--product", "Sealwright"]) == 0
    again, said = release(clone, "v0.1.0", "--home", home, "--pin-file", pin, "--out", tmp_path / "out")
    assert (again, "a release is made once" in said) == (False, True)


def edited(clone: Path) -> None:
    with open(clone / "src" / "sealwright" / "errors.py", "a") as file:
        file.write("# more\n")


def untracked(clone: Path) -> None:
    (clone / "src" / "sealwright" / "more.py").write_text("")


def untagged(clone: Path) -> None:
    git(clone, "tag", "-d", "v0.1.0")


def another_version(clone: Path) -> None:
    git(clone, "tag", "-d", "v0.1.0")
    git(clone, "tag", "v0.2.0")


@pytest.mark.parametrize(
    ("spoil", "tag", "why"),
    [
        (edited, "v0.1.0", "the work tree is not clean"),
        (untracked, "v0.1.0", "the work tree is not clean"),
        (untagged, "v0.1.0", "there is no tag v0.1.0"),
        (another_version, "v0.2.0", "v0.2.0 is a commit of version 0.1.0"),
    ],
)
def test_what_is_no_clean_tag_of_its_version_is_not_released(
    spoil: Callable[[Path], None], tag: str, why: str, clone: Path, tmp_path: Path
) -> None:
    spoil(clone)
    made, said = release(clone, tag, "--home", tmp_path, "--out", tmp_path / "out")
    assert (made, why in said) == (False, True), said
    assert not (tmp_path / "out").exists()
