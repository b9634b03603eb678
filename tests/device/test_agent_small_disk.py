"""The agent on a disk that is full at any point of a round: the installed release stays and is led to, and with room the next is installed."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from kit.agents import Maker, Site, site
from kit.smalldisk import SmallDisk, on_small_disk
from sealwright.cli.main import main


def installed(device: Site) -> tuple[int, str]:
    """The agent's command: its exit code and what it said of an error."""
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = main(["agent", "install", "--yes", "--config", str(device.path)])
    return code, errors.getvalue()


@pytest.mark.parametrize(("short_of", "points"), [("names", range(0, 60, 4)), ("bytes", range(0, 240, 80))])
def test_a_full_device_keeps_its_release_and_takes_the_next_when_there_is_room(
    tmp_path: Path, short_of: str, points: range
) -> None:
    maker = Maker.at(tmp_path / "maker")
    files = {f"application/part{n}": os.urandom(5000) for n in range(3)}
    first, second = maker.release("1.0.0", 1), maker.release("1.1.0", 2, files=files)
    maker.offer(first)

    def work(disk: SmallDisk) -> None:
        disk.folder.chmod(0o755)
        device = site(disk.folder / "device", maker)
        assert installed(device) == (0, "")
        maker.offer(second)
        refused = []
        for free in points:
            disk.leave_names(free) if short_of == "names" else disk.leave(free)
            code, said = installed(device)
            if code == 0:
                break
            assert code == 1, said
            assert said.startswith("sealwright: /"), said
            assert said.count("\n") == 1, said
            assert "oom" in said, said
            assert (device.version, (device.current / "application/start").read_bytes()) == ("1.0.0", b"1.0.0" * 100)
            refused.append(said)
        disk.room()
        assert refused
        if code != 0:
            assert installed(device) == (0, "")
        assert device.version == "1.1.0"
        assert all((device.current / name).read_bytes() == data for name, data in files.items())

    on_small_disk(tmp_path / "small", work)
