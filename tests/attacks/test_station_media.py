"""The checking station attacked through what is mounted: partitions, subvolumes, mounts on mounts, and sticks that go away or change at any point."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kit.deliveries import delivered, signing_home
from kit.sticks import ext4_stick, loop_device, lying_stick, mounted, partitioned_stick
from sealwright.cli.main import main
from sealwright.plant.disks import disks_of
from sealwright.plant.intake import Group, Intake
from sealwright.plant.media import Medium, medium_of
from sealwright.plant.station import asked_of

Event = dict[str, object]
Check = Callable[..., tuple[int, list[Event]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signing_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture(scope="module")
def delivery(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered(home, tmp_path_factory.mktemp("delivery"))


@pytest.fixture
def check(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check a medium; the exit code and the events."""
    (tmp_path / "state").mkdir()

    def call(medium: Path, *more: str | Path) -> tuple[int, list[Event]]:
        words = ["station", "--once", medium, "--trust", home / "trust.toml", "--state", tmp_path / "state", "--json"]
        capsys.readouterr()
        code = main([str(word) for word in (*words, *more)])
        assert not [name for name in os.listdir(tmp_path / "state") if name.startswith("intake-")]
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def error(events: list[Event]) -> object:
    """The code of what ended the check before its end."""
    return events[-1]["error"]["code"]  # type: ignore[index]


def remarks(events: list[Event]) -> list[tuple[object, object]]:
    """Code and subject of what was remarked."""
    return [(event["code"], event["subject"]) for event in events if event.get("event") == "remark"]


def outcomes(events: list[Event]) -> dict[object, object]:
    """What was said of each thing that was judged."""
    return {event["name"]: event["outcome"] for event in events if event.get("event") == "judged"}


def test_a171_another_partition_of_the_checked_stick_is_not_the_clean_one(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    with (
        partitioned_stick(tmp_path / "disk", tmp_path / "one", tmp_path / "two") as (one, two),
        ext4_stick(tmp_path / "image", tmp_path / "clean") as clean,
    ):
        shutil.copytree(delivery, one, dirs_exist_ok=True)
        code, events = check(one, "--only-mounted", "--write", two)
        assert (code, error(events)) == (1, "SW-OUTPUT-REFUSED")
        assert os.listdir(two) == ["lost+found"]
        assert check(one, "--only-mounted", "--write", clean)[0] == 0
        assert (clean / "target.bin").exists()


def test_the_disk_of_a_file_system_is_found_through_partition_and_program(tmp_path: Path) -> None:
    with partitioned_stick(tmp_path / "disk", tmp_path / "one", tmp_path / "two") as (one, two):
        first, second = medium_of(str(one)), medium_of(str(two))
        assert first is not None
        assert second is not None
        assert first.device != second.device
        assert disks_of(first) == disks_of(second) != frozenset()
        served = Medium("/media/x", "fuseblk", first.source, "0:77", False)
        assert disks_of(served) == disks_of(first)
    assert disks_of(Medium("/media/x", "fuse.sshfs", "user@host:/x", "0:78", False)) == frozenset()


BTRFS = (
    Path(__file__).parent.parent / "plant/sticks/btrfs.img.xz"
)  # `mkfs.btrfs -M -m single -d single`, 114 MB, with the subvolume `sub`


@contextmanager
def btrfs_stick(image: Path, mount: Path) -> Iterator[Path]:
    """A btrfs file system in a file, with a subvolume `sub`."""
    data = lzma.decompress(BTRFS.read_bytes())
    with image.open("wb") as out:
        for at in range(0, len(data), 1 << 20):
            block = data[at : at + (1 << 20)]
            out.seek(at)
            out.write(block if block.strip(b"\0") else b"")
        out.truncate(len(data))
    with loop_device(image) as device, mounted(["mount", "-t", "btrfs", device, str(mount)], mount):
        yield mount


HAS_BTRFS = ["btrfs"] if "btrfs" in Path("/proc/filesystems").read_text().split() else []


@pytest.mark.parametrize("_kind", HAS_BTRFS)
def test_a_subvolume_is_part_of_its_medium_and_no_stick_of_its_own(
    _kind: str, delivery: Path, check: Check, tmp_path: Path
) -> None:
    with btrfs_stick(tmp_path / "image", tmp_path / "stick") as medium:
        assert (medium / "sub").stat().st_dev != medium.stat().st_dev
        assert check(delivery, "--only-mounted", "--write", medium)[1][-1]["error"]["code"] == "SW-OUTPUT-REFUSED"  # type: ignore[index]
        code, events = check(delivery, "--only-mounted", "--write", medium / "sub")
        assert (code, error(events)) == (1, "SW-OUTPUT-REFUSED")
        assert os.listdir(medium / "sub") == []
        shutil.copytree(delivery, medium / "sub", dirs_exist_ok=True)
        code, events = check(medium)
        assert (code, outcomes(events)) == (0, {"sub/target.bin": "trusted", "sub/release": "trusted"})
        source = medium_of(str(medium))
        assert source is not None
        again = tmp_path / "again"
        with mounted(["mount", "-o", "subvol=sub", source.source, str(again)], again):
            code, events = check(medium, "--write", again)
            assert code != 0
            assert error(events) in {"SW-OUTPUT-REFUSED", "SW-USAGE"}


def test_what_is_mounted_on_a_stick_is_not_the_sticks(delivery: Path, check: Check, tmp_path: Path) -> None:
    with (
        ext4_stick(tmp_path / "image", tmp_path / "stick") as medium,
        ext4_stick(tmp_path / "other", tmp_path / "filled") as other,
    ):
        shutil.copytree(delivery, medium, dirs_exist_ok=True)
        for name in ("bound", "other"):
            (medium / name).mkdir()
        assert check(medium)[0] == 0
        with (
            mounted(["mount", "--bind", str(medium / "release"), str(medium / "bound")], medium / "bound"),
            mounted(["mount", "--bind", str(other), str(medium / "other")], medium / "other"),
        ):
            code, events = check(medium)
        assert code == 1
        assert {*remarks(events)} >= {("SW-STATION-OTHER-MEDIUM", "bound"), ("SW-STATION-OTHER-MEDIUM", "other")}


@pytest.mark.parametrize("how", ["gone", "gone again", "unopened", "unlisted", "dies"])
def test_a_stick_that_goes_away_at_any_point_leaves_nothing_allowed(
    how: str, delivery: Path, check: Check, tmp_path: Path
) -> None:
    (tmp_path / "clean").mkdir()
    with lying_stick(delivery, tmp_path / "honest", "honest") as medium:
        assert check(medium)[0] == 0
    with lying_stick(delivery, tmp_path / "stick", how) as medium:
        code, events = check(medium, "--write", tmp_path / "clean")
    assert (code, error(events)) == (1, "SW-STATION-MEDIUM-GONE")
    assert os.listdir(tmp_path / "clean") == []


def test_a_stick_unmounted_while_it_is_read_is_read_to_its_end_or_not_at_all(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    with ext4_stick(tmp_path / "image", tmp_path / "stick") as medium:
        shutil.copytree(delivery, medium, dirs_exist_ok=True)
        assert check(medium)[0] == 0
        (tmp_path / "private").mkdir()
        intake = Intake(str(medium), str(tmp_path / "private"), told=lambda _: lazily(medium))
        found = [one for one in intake.take() if isinstance(one, Group)]
        # what is open stays readable after `umount -l`: the copy is whole
        assert sum(len(one.files) for one in found) >= 2
        code, events = check(medium)
        assert code == 1, "an empty mount point is no stick on which everything is allowed"
        assert outcomes(events) == {}


def lazily(mount: Path) -> None:
    """Unmount it as somebody does who pulls it out in a file manager."""
    subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True)


def swapping(medium: Path, tmp_path: Path, swap: Callable[[Path], None]) -> list[object]:
    """What an intake finds when the last of many files is swapped while the first is copied."""
    medium.mkdir()
    for number in range(60):
        (medium / f"{number:02}.bin").write_bytes(b"x" * 1000)
    private = tmp_path / f"private-{medium.name}"
    private.mkdir()
    done: list[int] = []

    def once(_: int) -> None:
        if not done:
            done.append(1)
            (medium / "59.bin").unlink()
            swap(medium / "59.bin")

    found: list[object] = list(Intake(str(medium), str(private), told=once).take())
    assert sum(isinstance(one, Group) for one in found) >= 59
    return [one for one in found if not isinstance(one, Group)]


def test_a071_a_file_swapped_for_a_fifo_a_link_or_nothing_is_not_taken(tmp_path: Path) -> None:
    swaps: dict[str, Callable[[Path], object]] = {
        "same": lambda path: path.write_bytes(b"y" * 1000),
        "fifo": os.mkfifo,
        "link": lambda path: path.symlink_to("/etc/passwd"),
        "folder": lambda path: path.mkdir(),
        "nothing": lambda _: None,
    }
    seen = {
        name: [getattr(one, "code", "") for one in swapping(tmp_path / name, tmp_path, lambda path, do=do: do(path))]  # type: ignore[misc]
        for name, do in swaps.items()
    }
    assert seen == {
        "same": [],
        "fifo": ["SW-STATION-SPECIAL"],
        "link": ["SW-STATION-UNREAD"],
        "folder": ["SW-STATION-SPECIAL"],
        "nothing": ["SW-STATION-UNREAD"],
    }


_KILLED = """
import os, signal, sys
from sealwright.plant import intakeaside
from sealwright.plant.intake import Intake
from sealwright.errors import Unreadable
judging = os.getpid()
def sorted_out(found):
    if sys.argv[3] == "killed" and found.files[0].name == b"b.bin":
        assert os.getpid() != judging
        os.kill(os.getpid(), signal.SIGKILL)
    return [found.files[0].name]
try:
    for arrived in intakeaside.incoming(Intake(sys.argv[1], sys.argv[2]), sorted_out):
        print([str(part) for part in arrived.parts])
except Unreadable as cause:
    print(cause)
"""


def test_a_copying_process_that_is_killed_is_a_medium_that_was_not_read(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    for name in ("a.bin", "b.bin"):
        (tmp_path / "stick" / name).write_bytes(b"x")
    said = []
    for how in ("whole", "killed"):
        (tmp_path / how).mkdir()
        words = [sys.executable, "-c", _KILLED, str(tmp_path / "stick"), str(tmp_path / how), how]
        said.append(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert "Ended(files=2, size_bytes=2)" in said[0]
    assert "the process that copied it ended early" in said[1]
    assert "Ended" not in said[1]


def test_a_station_that_is_stopped_leaves_no_process_and_no_copy(delivery: Path, home: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with lying_stick(delivery, tmp_path / "stick", "honest") as medium:
        words = [sys.executable, "-m", "sealwright", "station", "--once", medium, "--trust", home / "trust.toml", "--state", state, "--json"]  # fmt: skip
        running = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, start_new_session=True)
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        running.wait(timeout=60)
    assert not [name for name in os.listdir(state) if name.startswith("intake-")]


def test_a_read_only_clean_stick_is_refused_and_a_long_name_goes_along(
    delivery: Path, home: Path, check: Check, tmp_path: Path
) -> None:
    medium = tmp_path / "stick"
    medium.mkdir()
    longest = "n" * 240 + ".bin"
    (medium / longest).write_bytes(b"long")
    assert main(["sign", str(medium / longest), "--home", str(home)]) == 0
    with ext4_stick(tmp_path / "image", tmp_path / "clean") as clean:
        assert check(medium, "--only-mounted", "--write", clean)[0] == 0
        assert {longest, f"{longest}.p7s"} <= {*os.listdir(clean)}
    with ext4_stick(tmp_path / "empty", tmp_path / "clean"):
        pass
    with ext4_stick(tmp_path / "empty", tmp_path / "clean", read_only=True) as clean:
        code, events = check(medium, "--only-mounted", "--write", clean)
        assert (code, error(events)) == (1, "SW-OUTPUT-REFUSED")
        assert os.listdir(clean) == ["lost+found"]


def test_a049_nothing_of_a_stick_or_its_label_reaches_a_terminal_raw(
    delivery: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    medium = tmp_path / "label\x1b]0;ALLOWED\x07\u202e"
    with ext4_stick(tmp_path / "image", medium):
        shutil.copytree(delivery, medium, dirs_exist_ok=True)
        for name in ("a\x1b[2J.bin", "b\r\x1b[KALLOWED.bin", "c\u202egpj.exe", "d\x9b31m"):
            (medium / name).write_bytes(b"x")
        os.mkfifo(medium / "fifo\x1b[H")
        (medium / "link\n").symlink_to("x")
        (tmp_path / "state").mkdir()
        capsys.readouterr()
        words = ["station", "--once", medium, "--trust", home / "trust.toml", "--state", tmp_path / "state"]
        assert main([str(word) for word in words]) == 1
        assert main([str(word) for word in (*words, "--write", medium / "x")]) == 2
        assert main([str(word) for word in (*words, "--max-files", "2")]) == 1
        assert main([str(word) for word in (*words, "--json")]) == 1
        out, err = capsys.readouterr()
    assert "ALLOWED" in out
    assert not [one for one in out + err if not one.isprintable() and one != "\n"]


def stick_with(folder: Path, home: Path, generation: int, day: int) -> Path:
    """A stick with one release, whose files have this day as their date."""
    folder.mkdir()
    (folder / "drive.bin").write_bytes(b"release %d" % generation)
    claims = ["--product", "drive", "--version", f"{generation}.0", "--generation", str(generation)]
    assert main(["sign", str(folder / "drive.bin"), "--home", str(home), *claims]) == 0
    for one in folder.iterdir():
        os.utime(one, (day * 86400, day * 86400))
    return folder


def test_a153_a_stick_with_a_newer_date_and_an_older_release_is_not_allowed(
    home: Path, check: Check, tmp_path: Path
) -> None:
    older, newer = stick_with(tmp_path / "a", home, 1, 20_700), stick_with(tmp_path / "b", home, 2, 20_600)
    assert check(older)[0] == 0
    assert check(newer)[0] == 0
    assert check(newer)[0] == 0, "the same release once more"
    code, events = check(older)
    assert (code, outcomes(events)) == (1, {"drive.bin": "rejected"})
    found = [event["findings"] for event in events if event.get("event") == "judged"]
    assert "SW-GENERATION-OLD" in {finding["code"] for finding in found[0]}  # type: ignore[attr-defined]


def test_a153_what_would_start_by_itself_is_refused_by_name_and_goes_no_further(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    medium = Path(shutil.copytree(delivery, tmp_path / "stick"))
    for name in ("autorun.inf", "desktop.ini", ".autorun"):
        (medium / name).write_bytes(b"[autorun]\r\nopen=setup.exe\r\n")
    (tmp_path / "clean").mkdir()
    code, events = check(medium, "--write", tmp_path / "clean")
    assert code == 1
    refused = {name for name, outcome in outcomes(events).items() if outcome != "trusted"}
    assert refused == {"autorun.inf", "desktop.ini", ".autorun"}
    assert "target.bin" in os.listdir(tmp_path / "clean")
    assert not refused & {*os.listdir(tmp_path / "clean")}


def test_a073_many_names_that_begin_alike_are_no_more_work_than_others(tmp_path: Path) -> None:
    medium, private = tmp_path / "stick", tmp_path / "private"
    medium.mkdir()
    private.mkdir()
    for number in range(5000):
        (medium / f"a.{number}").touch()
    (medium / "a").touch()
    (group,) = Intake(str(medium), str(private)).take()
    assert isinstance(group, Group)
    every = [one.every for one in asked_of(group)]
    assert len(every) == 5001
    assert sum(len(names or ()) for names in every) == 5000, (
        "each name is beside the one that it begins with, and no other"
    )
