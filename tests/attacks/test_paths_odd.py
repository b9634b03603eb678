"""Names that look like options, and signature files that are no files: one refusal that names the right one (A071, A169)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sealwright.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    (place / "drive.bin").write_bytes(b"firmware of a drive" * 100)
    assert main(["init", str(place / "home")]) == 0
    assert main(["sign", str(place / "drive.bin"), "--home", str(place / "home")]) == 0
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """The signed file and its trust file, in a folder of the test's own."""
    for name in ("drive.bin", "drive.bin.p7s"):
        shutil.copy(made / name, tmp_path / name)
    shutil.copytree(made / "home", tmp_path / "home")
    return tmp_path


def sealwright(place: Path, *arguments: str) -> tuple[int, str]:
    """The whole program, in the folder, with a limit on its time; exit code and everything it said."""
    command = [sys.executable, "-m", "sealwright", *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, timeout=30, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def verify(place: Path, *paths: str) -> tuple[int, str]:
    return sealwright(place, "verify", "--trust", "home/trust.toml", *paths)


@pytest.mark.parametrize("name", ["--key=x", "-h", "@list", "$(id)", ";reboot", "--", "*", "a b", "%s%n", "--trust=x"])
def test_a169_a_name_is_a_name_whatever_it_looks_like(place: Path, name: str) -> None:
    code, said = verify(place, "--", "drive.bin")
    assert (code, said.splitlines()[0]) == (0, "INSTALL: allowed")
    (place / "drive.bin").rename(place / name)
    (place / "drive.bin.p7s").rename(place / f"{name}.p7s")
    code, said = verify(place, "--", name)
    assert (code, said.splitlines()[0]) == (0, "INSTALL: allowed")
    with (place / name).open("ab") as file:
        file.write(b"x")
    code, said = verify(place, "--", name)
    assert (code, said.splitlines()[0]) == (1, "DO NOT INSTALL: the file was changed")
    code, said = sealwright(place, "sign", "--home", "home", "--replace", "--", name)
    assert code == 0, said
    assert verify(place, "--", name)[0] == 0


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


SUFFIXES = [".p7s", ".plant.p7s", ".pq.p7s", ".tsr", ".manifest"]
NO_FILES = [fifo, Path.mkdir, loop, endless]
# a sparse terabyte as the artifact itself is read to its end, as its owner asks: that takes long, and no memory
ODD = [
    *((become, suffix) for become in NO_FILES for suffix in [*SUFFIXES, ""]),
    *((huge, suffix) for suffix in SUFFIXES),
]


@pytest.mark.parametrize(("become", "suffix"), ODD)
def test_a071_what_should_be_a_file_is_none(place: Path, become: Callable[[Path], None], suffix: str) -> None:
    assert verify(place, "drive.bin")[0] == 0
    odd = place / f"drive.bin{suffix}"
    odd.unlink(missing_ok=True)
    become(odd)
    code, said = verify(place, "drive.bin")
    assert code == 1
    assert "Traceback" not in said
    if suffix:
        assert odd.name in said, said


@pytest.mark.parametrize("state", ["/dev/null", "drive.bin", "/proc/nobody/state", "mistyped"])
def test_a105_a_state_that_cannot_be_kept_is_an_error(place: Path, state: str) -> None:
    (place / "kept").mkdir(exist_ok=True)
    assert verify(place, "drive.bin", "--state", "kept")[0] == 0
    code, said = verify(place, "drive.bin", "--state", state)
    assert code in (1, 2)
    assert "--state" in said
    assert "allowed" not in said
    assert not (place / "mistyped").exists()
