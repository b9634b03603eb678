"""Two builds of one commit are the same bytes, whoever makes them, where and when."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kit.bundles import CACHE, ROOT, Bundle, build


def contents(bundle: Bundle) -> dict[str, tuple[str, int, int]]:
    """Each file by name: digest, mode and time."""
    found = {}
    for path in sorted(bundle.folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(bundle.folder))] = (digest, status.st_mode, int(status.st_mtime))
    return found


def test_another_build_has_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    another = build(tmp_path / "elsewhere", bundle.commit, umask=0o077, zone="Pacific/Auckland")
    assert contents(another) == contents(bundle)
    assert another.beside(".manifest").read_bytes() == bundle.beside(".manifest").read_bytes()


def test_every_wheel_is_one_that_was_pinned(bundle: Bundle) -> None:
    listed = (ROOT / "requirements" / "base.txt").read_text() + (
        bundle.folder / "wheels" / "requirements.txt"
    ).read_text()
    wheels = sorted((bundle.folder / "wheels").glob("*.whl"))
    assert len(wheels) > 20
    for wheel in wheels:
        assert f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in listed, wheel.name
    for python in ("cp311", "cp312", "cp313", "cp314"):
        for system in ("manylinux", "win_amd64"):
            assert sum(python in wheel.name and system in wheel.name for wheel in wheels) >= 2, (python, system)


def test_the_wheel_holds_what_is_committed_and_nothing_else(bundle: Bundle) -> None:
    (wheel,) = (bundle.folder / "wheels").glob("sealwright-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if not name.startswith("sealwright-")}
    words = ["git", "ls-tree", "-r", "--name-only", bundle.commit, "src/sealwright"]
    committed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert inside == {name.removeprefix("src/") for name in committed}


def test_a_file_of_the_cache_that_was_changed_is_fetched_again(bundle: Bundle, tmp_path: Path) -> None:
    """What stands in the cache is believed by its hash alone: the changed wheel of this copy is found before it is used."""
    assert bundle
    shutil.copytree(CACHE, tmp_path / "cache")
    wheel = next((tmp_path / "cache").glob("*/argcomplete-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    program = (
        "import sys; from pathlib import Path; from bundling import wheels\n"
        "wheels._fetch = lambda *_: None\n"
        "wheels.fetched(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ROOT / "requirements/base.txt", tmp_path / "cache"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}/scripts"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "changed since it was fetched" in done.stderr
    assert not wheel.exists()


@pytest.mark.parametrize("line", ["tomlkit==0.15.2", "tomlkit>=0.15 --hash=sha256:" + "0" * 64, "tomlkit"])
def test_a_requirement_without_a_hash_is_refused(line: str) -> None:
    program = "import sys; from bundling.pins import parsed; print(len(parsed(sys.argv[1], 'base.txt')))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}/scripts"}
    pinned = "tomlkit==0.15.2 --hash=sha256:" + "0" * 64
    for text, wanted in ((pinned, 0), (f"{pinned}\n{line}", 1)):
        done = subprocess.run([sys.executable, "-c", program, text], env=environment, capture_output=True, text=True)
        assert done.returncode == wanted
    assert "is not pinned by version and hash" in done.stderr
