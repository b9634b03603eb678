"""A new folder is there whole or not at all, and never in the place of the one in which somebody stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sealwright.artifact import folders
from sealwright.artifact.folders import new_folder, sync_folder
from sealwright.cli.main import main
from sealwright.errors import OutputRefused, UsageError
from sealwright.signing.home import open_home

PROGRAM = (sys.executable, "-m", "sealwright")


@pytest.mark.parametrize("named", [".", "./", "{cwd}", "../here", "link", "{cwd}/../link"])
def test_a_home_is_not_made_in_the_place_of_the_folder_in_which_one_is(tmp_path: Path, named: str) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "link").symlink_to("here")
    if named == "link":
        named = "../link"
    number = here.stat().st_ino
    done = subprocess.run(
        [*PROGRAM, "init", named.format(cwd=here)], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "it is the folder in which you are. Leave it first (cd ..), or name a new folder in it." in done.stderr
    assert here.stat().st_ino == number
    assert os.listdir(here) == []
    assert sorted(os.listdir(tmp_path)) == ["here", "link"]
    done = subprocess.run([*PROGRAM, "init", "home"], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(open_home(str(here / "home")).keys) == 6
    assert (
        subprocess.run([*PROGRAM, "init", str(here.parent / "new")], cwd=here, check=False, stdout=-3).returncode == 0
    )


def test_an_empty_folder_is_filled_and_a_full_one_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / "empty")]) == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert main(["init", str(tmp_path / "full")]) == 2
    assert os.listdir(tmp_path / "full") == ["notes.txt"]


def test_what_was_built_is_gone_with_any_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_folder(str(tmp_path / "good")) as building:
        Path(building, "file").write_text("x")
        assert not (tmp_path / "good").exists()
    assert (tmp_path / "good" / "file").exists()
    for problem, said in (
        (OSError(28, "No space left on device"), OutputRefused),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with pytest.raises(said), new_folder(str(tmp_path / "bad")):
            raise problem
        assert os.listdir(tmp_path) == ["good"]
    for taken in ("good", "good/file"):
        with pytest.raises(UsageError, match="something is there already"), new_folder(str(tmp_path / taken)):
            raise AssertionError
    with monkeypatch.context() as full, pytest.raises(OutputRefused, match="No space left"):
        full.setattr(folders.os, "rename", _fails)
        with new_folder(str(tmp_path / "late")):
            pass
    assert os.listdir(tmp_path) == ["good"]


def _fails(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_whose_names_cannot_be_synced_is_no_error_and_a_failing_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_folder(str(tmp_path))
    for number, fails in ((22, False), (95, False), (5, True), (28, True)):

        def fsync(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(folders.os, "fsync", fsync)
        if fails:
            with pytest.raises(OSError, match=os.strerror(number)):
                sync_folder(str(tmp_path))
        else:
            sync_folder(str(tmp_path))
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(str(tmp_path))


KILLED = """
import os, signal, sys
from sealwright.artifact.folders import new_folder
with new_folder(sys.argv[1]) as building:
    os.makedirs(os.path.join(building, "keys"))
    open(os.path.join(building, "keys/root.pem"), "w").write("a key")
    print(building, flush=True)
    sys.stdin.read() if len(sys.argv) > 2 else os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_maker_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    died = subprocess.run([sys.executable, "-c", KILLED, str(home)], capture_output=True, text=True, check=False)
    left = Path(died.stdout.strip())
    assert died.returncode == -9
    assert (left / "keys/root.pem").exists()
    command = [sys.executable, "-c", KILLED, str(home), "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
        assert living.stdout is not None
        building = Path(living.stdout.readline().strip())
        assert not left.exists()
        with pytest.raises(RuntimeError), new_folder(str(home)):
            raise RuntimeError
        assert (building / "keys/root.pem").exists()
        living.communicate("")
    assert living.returncode == 0
    assert (home / "keys/root.pem").exists()
