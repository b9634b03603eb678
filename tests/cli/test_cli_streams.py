"""Streams that the caller closed, folders that cannot be read or are empty: each said, none passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealwright.cli.main import main

PROGRAM = f"{sys.executable} -m sealwright"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("streams") / "home"
    assert main(["init", str(home)]) == 0
    return home


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nothing_and_no_file_gets_its_number(closed: str, home: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    signing = f"{PROGRAM} sign {drive} --home {home} {closed}"
    assert subprocess.run(["sh", "-c", signing], capture_output=True, check=False).returncode == 0
    verifying = f"{PROGRAM} verify {drive} --trust {home}/trust.toml {closed}"
    assert subprocess.run(["sh", "-c", verifying], capture_output=True, check=False).returncode == 0
    assert drive.read_bytes() == b"firmware"
    assert sorted(os.listdir(tmp_path)) == ["drive.bin", "drive.bin.p7s"]
    drive.write_bytes(b"firmwarE")
    assert subprocess.run(["sh", "-c", verifying], capture_output=True, check=False).returncode == 1


def test_a_folder_with_nothing_to_sign_or_to_verify_is_told(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    (full / "sub").mkdir(parents=True)
    (full / "sub/drive.bin").write_bytes(b"x")
    empty.mkdir()
    signing, verifying = ["--recursive", "--home", str(home)], ["--recursive", "--trust", str(home / "trust.toml")]
    assert main(["sign", str(full), *signing]) == 0
    assert main(["verify", str(full), *verifying]) == 0
    assert main(["sign", str(empty), *signing]) != 0
    assert "there is no file in it to sign" in capsys.readouterr().err
    assert main(["verify", str(empty), *verifying]) == 1
    assert "DO NOT INSTALL" in capsys.readouterr().out


def as_somebody(imports: str, code: str, *words: str) -> str:
    """What Python says that gives up root after its imports: for root no folder is closed."""
    drop = "\nimport os, sys\nif os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    command = [sys.executable, "-c", imports + drop + code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def open_to_all(folder: Path) -> None:
    """Let everybody pass through the folders of a test."""
    for one in (folder, *folder.parents):
        if one != Path("/") and one.stat().st_uid == os.getuid():
            one.chmod(one.stat().st_mode | 0o055)


def test_a_folder_that_cannot_be_read_is_told_by_its_own_name(home: Path, tmp_path: Path) -> None:
    """Signing goes on with the others; verifying and hashing the tree refuse."""
    open_to_all(tmp_path)
    tree = tmp_path / "tree"
    (tree / "closed").mkdir(parents=True)
    (tree / "closed/inner.bin").write_bytes(b"x")
    (tree / "open.bin").write_bytes(b"x")
    listing = (
        "from sealwright.signing.sign import SignOptions, artifacts, NotSigned",
        "for one in artifacts([sys.argv[1]], SignOptions(recursive=True)):\n"
        "    print(one.error if isinstance(one, NotSigned) else one)\n",
        str(tree),
    )
    walking = (
        "from sealwright.artifact.walk import walk_tree\nfrom sealwright.errors import SealwrightError",
        "try: print(len(walk_tree(sys.argv[1]).files))\nexcept SealwrightError as refused: print(refused)\n",
        str(tree),
    )
    assert as_somebody(*listing).splitlines() == [str(tree / "open.bin"), str(tree / "closed/inner.bin")]
    assert as_somebody(*walking) == "2\n"
    (tree / "closed").chmod(0)
    said = as_somebody(*listing).splitlines()
    assert said[0] == str(tree / "open.bin")
    assert f"{tree}/closed: this user may not read it" in said[1]
    assert f"{tree}/closed: this user may not read it" in as_somebody(*walking)
    (tree / "closed").chmod(0o755)


def test_a_home_that_may_not_be_read_is_not_called_no_home(tmp_path: Path) -> None:
    opening = (
        "from sealwright.errors import SealwrightError\nfrom sealwright.signing.home import open_home",
        "try: print(open_home(sys.argv[1]).folder)\nexcept SealwrightError as refused: print(refused)\n",
    )
    open_to_all(tmp_path)
    assert "it is not a signing home" in as_somebody(*opening, str(tmp_path / "nothing"))
    home = tmp_path / "home"
    assert main(["init", str(home)]) == 0
    home.chmod(0)
    said = as_somebody(*opening, str(home))
    assert "this user may not read it" in said
    assert "it is not a signing home" not in said
    home.chmod(0o700)
