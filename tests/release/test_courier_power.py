"""Unpacking a courier that is killed, or loses its power on a disk that has only what was synced: the mirror is old or new, and it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.gap import Gap, copy_gap, make_gap, run
from kit.powercut import dropped_at, killed_at, points
from kit.sticks import lying_stick
from sealwright.artifact.digest import Digest
from sealwright.release.client import open_client
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher

STEP = 7
Cut = Callable[[int, Path, Callable[[], None]], int]


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    """One courier was taken over, and the next one, of a newer view of the repository, lies on the stick."""
    made = tmp_path_factory.mktemp("made")
    repo = make_gap(made)
    gap = copy_gap(made, tmp_path_factory.mktemp("gap"))
    shutil.copytree(made / "repo", gap.folder / "newer")
    repo.folder = gap.folder / "newer"
    repo.put("drives/vx-200/1.4.2.plant.manifest", b"accepted")
    repo.publish()
    first = gap.folder / "first"
    first.mkdir()
    assert gap.pack(first, "--number", 41) == 0
    gap.repo.folder = repo.folder
    assert gap.pack(gap.stick, "--number", 42) == 0
    (gap.folder / "watched").mkdir()
    for name in ("transfer", "state"):
        (gap.folder / name).rename(gap.folder / "watched" / name)
        (gap.folder / name).symlink_to(gap.folder / "watched" / name)
    assert gap.unpack(first) == 0
    subprocess.run(["cp", "-aT", gap.folder / "watched", gap.folder / "kept"], check=True)
    return gap


def put_back(gap: Gap) -> None:
    """As it was before the second courier."""
    shutil.rmtree(gap.folder / "watched")
    subprocess.run(["cp", "-aT", gap.folder / "kept", gap.folder / "watched"], check=True)


def check_mirror(gap: Gap, folder: Path) -> int:
    """The version of the whole view that a device finds in the mirror."""
    mirror = gap.into / "repository"
    client = open_client(
        (mirror / "metadata" / "1.root.json").read_bytes(),
        Digest.of((gap.repo.folder / "metadata" / "1.root.json").read_bytes()),
        str(folder),
        FolderFetcher(str(mirror)),
        (METADATA, TARGETS),
        datetime.now(UTC),
    )
    version = int(json.loads((mirror / "metadata" / "timestamp.json").read_bytes())["signed"]["version"])
    names = ["channels.json", "1.4.2.manifest", "1.4.2/app.bin", *(["1.4.2.plant.manifest"] if version > 1 else [])]
    for name in names:
        target = client.target(f"drives/vx-200/{name}")
        assert target is not None
        client.download(target, str(folder / "target"))
    for path in (mirror / "targets").rglob("*"):
        if path.is_file() and not path.name.endswith((".new", ".tmp")):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.partition(".")[0]
    return version


@pytest.mark.parametrize("cut", [killed_at, dropped_at])
def test_a152_whenever_unpacking_is_cut_off_the_mirror_is_old_or_new_and_the_same_command_goes_on(
    gap: Gap, tmp_path: Path, cut: Cut
) -> None:
    watched = gap.folder / "watched"

    def work() -> None:
        assert gap.unpack() == 0

    put_back(gap)
    count = points(watched, work)
    seen = []
    for point in range(1, count + 1, STEP):
        put_back(gap)
        assert cut(point, watched, work) == -9
        (tmp_path / str(point)).mkdir()
        seen.append(check_mirror(gap, tmp_path / str(point)))
        if (gap.into / "couriers" / "courier-acme-42").is_dir():
            continue
        assert gap.unpack() == 0, point
        (tmp_path / f"{point}-after").mkdir()
        assert check_mirror(gap, tmp_path / f"{point}-after") == 2
        assert not [one for one in os.listdir(gap.into / "couriers") if one.startswith(".")]
    assert set(seen) == {1, 2}


@pytest.mark.parametrize("target", ["app.bin", "timestamp.json", ".manifest", "courier.toml"])
def test_a150_a_stick_that_answers_otherwise_the_second_time_gets_nothing_else_in(
    gap: Gap, tmp_path: Path, target: str
) -> None:
    put_back(gap)
    with lying_stick(gap.stick, tmp_path / "mount", "lies", target) as mount:
        assert run(
            "courier", "unpack", mount, "--into", gap.into, "--as", "nordhof", "--trust", gap.home / "trust.toml",
            "--state", gap.folder / "state",
        ) in (0, 1)  # fmt: skip
    (tmp_path / "client").mkdir()
    assert check_mirror(gap, tmp_path / "client") in (1, 2)
    put_back(gap)
    with lying_stick(gap.stick, tmp_path / "mount", "honest", target) as mount:
        assert gap.unpack(mount) == 0
