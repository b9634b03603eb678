"""A150 at the engineering station: what is loaded is what was judged, whatever becomes of the source, and whoever touches the copy is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.deliveries import delivered, signing_home
from kit.engineering import installations, vendor_tool
from kit.sticks import lying_stick
from sealwright.cli.main import main
from sealwright.plant.installation import Stage

Run = Callable[..., tuple[int, str]]
CHANGES = """#!/bin/sh
cp "$2" "$1"; chmod u+w "$2"; %s
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signing_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture(scope="module")
def tool() -> Iterator[Path]:
    with vendor_tool() as program:
        yield program


@pytest.fixture
def run(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Load `device` with one file: exit code and what was said."""
    for name in ("state", "records"):
        (tmp_path / name).mkdir()

    def call(path: Path, program: Path) -> tuple[int, str]:
        words: list[str | Path] = ["handover", "install", path, "--trust", home / "trust.toml", "--serial", "4711"]
        words += ["--present", "VX-200 bootloader=4"]
        words += ["--person", "p-17", "--state", tmp_path / "state", "--record", tmp_path / "records"]
        capfd.readouterr()
        code = main([str(word) for word in (*words, "--tool", program, tmp_path / "device", "{file}")])
        shown = capfd.readouterr()
        assert not [name for name in os.listdir(tmp_path / "state") if name.startswith("intake-")]
        return code, shown.out + shown.err

    return call


def test_a150_a_stick_that_answers_otherwise_the_second_time_changes_nothing(
    run: Run, home: Path, tool: Path, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    made = delivered(home, tmp_path / "made")
    signed, device = (made / "target.bin").read_bytes(), tmp_path / "device"
    with lying_stick(made, tmp_path / "honest", "honest") as stick:
        assert run(stick / "target.bin", tool)[0] == 0
        assert device.read_bytes() == signed
    device.unlink()
    with lying_stick(made, tmp_path / "lying", "lies") as stick:
        assert run(stick / "target.bin", tool)[0] == 0
        assert device.read_bytes() == signed  # it was read once
        device.unlink()
        code, said = run(stick / "target.bin", tool)
        assert (code, "NOT HANDED OVER" in said, device.exists()) == (1, True, False)


@pytest.mark.parametrize("how", ["gone", "unopened"])
def test_a_stick_that_goes_away_is_not_handed_over(how: str, run: Run, home: Path, tool: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    made = delivered(home, tmp_path / "made")
    assert run(made / "target.bin", tool)[0] == 0
    (tmp_path / "device").unlink()
    with lying_stick(made, tmp_path / "stick", how) as stick:
        code, said = run(stick / "target.bin", tool)
    assert (code, "Traceback" in said, (tmp_path / "device").exists()) == (1, False, False)


@pytest.mark.parametrize(
    "change",
    [
        'echo x >> "$2"',
        'rm "$2"',
        'rm "$2"; ln -s /another/file "$2"',
        'mv "$1" "$2.x"; mv "$2.x" "$2"; echo y >> "$2"',
    ],
)
def test_a150_a_copy_that_was_changed_meanwhile_is_told(
    change: str, run: Run, home: Path, tool: Path, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    made = delivered(home, tmp_path / "made")
    assert run(made / "target.bin", tool)[0] == 0
    other = tmp_path / "other"
    other.write_text("somebody else's")
    other.chmod(0o640)
    with vendor_tool(CHANGES % change.replace("/another/file", str(other))) as changing:
        code, said = run(made / "target.bin", changing)
    assert other.stat().st_mode & 0o777 == 0o640
    assert (code, "the private copy was changed" in said) == (1, True), said
    assert installations(tmp_path / "records")[-1].stage is Stage.FAILED


def test_a150_a_source_that_is_swapped_while_the_tool_runs_is_not_what_it_loads(
    run: Run, home: Path, tmp_path: Path
) -> None:
    """By a rename, by another folder in its place, and by a link."""
    (tmp_path / "made").mkdir()
    made = delivered(home, tmp_path / "made")
    signed, file = (made / "target.bin").read_bytes(), made / "target.bin"
    swap = f'#!/bin/sh\necho evil > {file}.new; mv {file}.new {file}; cp "$2" "$1"\n'
    with vendor_tool(swap) as program:
        assert run(file, program)[0] == 0
        assert ((tmp_path / "device").read_bytes(), file.read_text()) == (signed, "evil\n")
        assert run(file, program)[0] == 1
    shutil.move(made, tmp_path / "moved")
    (tmp_path / "moved" / "target.bin").write_bytes(signed)
    made.symlink_to(tmp_path / "moved")
    swap = f'#!/bin/sh\nrm {made}; ln -s /etc {made}; cp "$2" "$1"\n'
    with vendor_tool(swap) as program:
        assert run(file, program)[0] == 0
    assert (tmp_path / "device").read_bytes() == signed


def test_a150_a_place_that_others_could_exchange_is_not_used(run: Run, home: Path, tool: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    made = delivered(home, tmp_path / "made")
    assert run(made / "target.bin", tool)[0] == 0
    (tmp_path / "device").unlink()
    (tmp_path / "state").chmod(0o777)
    code, said = run(made / "target.bin", tool)
    assert (code, "others may write in" in said, (tmp_path / "device").exists()) == (1, True, False)


def test_a_station_that_is_killed_meanwhile_leaves_a_begun_installation_and_no_copy(
    run: Run, home: Path, tool: Path, tmp_path: Path
) -> None:
    """The vendor's tool kills it; the next run removes the copy, and the record shows that nobody saw the end."""
    (tmp_path / "made").mkdir()
    made = delivered(home, tmp_path / "made")
    with vendor_tool("#!/bin/sh\nkill -9 $PPID\n") as killing:
        words: list[str | Path] = ["handover", "install", made / "target.bin", "--trust", home / "trust.toml"]
        words += ["--serial", "4711", "--person", "p-17", "--state", tmp_path / "state"]
        words += ["--record", tmp_path / "records", "--tool", killing, "{file}"]
        done = subprocess.run([sys.executable, "-m", "sealwright", *map(str, words)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in os.listdir(tmp_path / "state") if name.startswith("intake-")]
    assert [one.stage for one in installations(tmp_path / "records")] == [Stage.BEGUN]
    assert run(made / "target.bin", tool)[0] == 0  # and `run` sees that no copy is left
    assert [one.stage for one in installations(tmp_path / "records")] == [Stage.BEGUN, Stage.BEGUN, Stage.DONE]
