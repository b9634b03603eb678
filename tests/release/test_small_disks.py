"""A disk that is full while a courier is packed or unpacked, or a release published: the old state stays, it is said where room is
wanted, and with room the same command works."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from kit.gap import copy_gap, make_gap
from kit.repository import PRODUCT, folder_client, home_in, now, published, release, repository, trust_of
from kit.smalldisk import SmallDisk, on_small_disk
from sealwright.errors import SealwrightError
from sealwright.release.intake import add_releases
from sealwright.release.staging import Staging
from sealwright.signing.home import Home


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gap")
    make_gap(folder)
    return folder


def told(command: Callable[[], int]) -> tuple[int, str]:
    """The exit code of a command and what it said of an error."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = command()
    return code, errors.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def check_refused(code: int, said: str, *next_steps: str) -> None:
    assert code == 1, said
    assert said.startswith("sealwright: "), said
    assert said.count("\n") == 1, said
    assert any(step in said.lower() for step in next_steps), said


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_full_medium_is_left_as_it_was_and_takes_the_courier_when_there_is_room(
    made: Path, tmp_path: Path, form: str
) -> None:
    (tmp_path / "gap").mkdir()
    gap = copy_gap(made, tmp_path / "gap")
    refused = []

    def work(disk: SmallDisk) -> None:
        out = disk.folder if form == "folder" else disk.folder / "a.courier"
        for free in range(0, 200, 12):
            disk.leave(free)
            code, said = told(lambda: gap.pack(out, "--number", 7))
            if code == 0:
                break
            check_refused(code, said, "make room", "check the folder")
            assert os.listdir(disk.folder) == [], (free, said)
            refused.append(said)
        disk.room()
        assert len(refused) > 1
        assert any("full" in one for one in refused), refused
        assert (code, os.listdir(disk.folder) != []) == (0, True)
        assert told(lambda: gap.unpack(out)) == (0, "")

    on_small_disk(tmp_path / "small", work)


@pytest.mark.parametrize("step", [1, 2])
def test_a_full_receiver_keeps_its_old_state_and_unpacks_when_there_is_room(
    made: Path, tmp_path: Path, step: int
) -> None:
    """Its mirror, couriers and memory lie on the disk, and a first courier is there; names run out at each point of the second."""
    (tmp_path / "gap").mkdir()
    gap = copy_gap(made, tmp_path / "gap")
    for number in (1, 2):
        (tmp_path / f"stick{number}").mkdir()
        assert gap.pack(tmp_path / f"stick{number}", "--number", number) == 0

    def work(disk: SmallDisk) -> None:
        for name in ("transfer", "state"):
            (disk.folder / name).mkdir(mode=0o700)
            shutil.rmtree(gap.folder / name)
            (gap.folder / name).symlink_to(disk.folder / name)
        assert told(lambda: gap.unpack(tmp_path / "stick1")) == (0, "")
        before = tree(disk.folder)
        refused = 0
        for free in range(step - 1, 100, 2):
            disk.leave_names(free)
            code, said = told(lambda: gap.unpack(tmp_path / "stick2"))
            if code == 0:
                break
            check_refused(code, said, "make room", "check the folder above")
            kept = tree(disk.folder)
            assert all(kept.get(name) == data for name, data in before.items() if name.startswith("transfer/couriers"))
            assert not (disk.folder / "transfer/couriers/courier-acme-2").exists()
            refused += 1
        assert refused > 3
        disk.room()
        assert code == 0

    on_small_disk(tmp_path / "small", work)


def test_a_receiver_without_room_for_the_bytes_says_how_many_are_wanted(made: Path, tmp_path: Path) -> None:
    (tmp_path / "gap").mkdir()
    gap = copy_gap(made, tmp_path / "gap")
    assert gap.pack() == 0

    def work(disk: SmallDisk) -> None:
        shutil.rmtree(gap.into)
        (disk.folder / "transfer").mkdir(mode=0o700)
        gap.into.symlink_to(disk.folder / "transfer")
        disk.leave(100)
        code, said = told(gap.unpack)
        check_refused(code, said, "make room there")
        assert "no room for" in said
        assert os.listdir(disk.folder / "transfer" / "couriers") == []
        disk.room()
        assert told(gap.unpack) == (0, "")

    on_small_disk(tmp_path / "small", work)


def test_a_full_repository_serves_what_it_had_and_is_published_to_when_there_is_room(tmp_path: Path) -> None:
    home = home_in(tmp_path)

    def work(disk: SmallDisk) -> None:
        staging = repository(disk.folder, home, ("1.4.2", 7))
        new = release(tmp_path / "new", home, "1.4.3", 8, {"application/fw.bin": os.urandom(60_000)})
        refused = [
            until_there_is_room(disk, staging, tmp_path / "adding", lambda: adding(staging, str(new), home)),
            until_there_is_room(disk, staging, tmp_path / "publishing", lambda: published(staging, home)),
        ]
        assert min(refused) > 1
        client = folder_client(tmp_path / "client", staging)
        assert client.get_targetinfo("drives/vx-200/1.4.3.manifest") is not None

    on_small_disk(tmp_path / "small", work)


def adding(staging: Staging, path: str, home: Home) -> None:
    add_releases(staging, [path], PRODUCT, trust_of(home), now())


def until_there_is_room(disk: SmallDisk, staging: Staging, clients: Path, step: Callable[[], object]) -> int:
    """A step with more room each time; how often it was refused, and between two of them python-tuf's client has what it had."""
    clients.mkdir()
    for number in range(100):
        disk.leave(8 * number)
        try:
            step()
            disk.room()
            return number
        except SealwrightError as cause:
            assert "ake room" in str(cause), cause  # noqa: PT017  # what is said, each time
        disk.room()
        client = folder_client(clients / str(number), staging)
        assert client.get_targetinfo("drives/vx-200/1.4.2.manifest") is not None
    raise AssertionError("it never worked")
