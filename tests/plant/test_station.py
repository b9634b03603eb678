"""The checking station on real media: what is allowed, what is not taken, and sticks that are no sticks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.deliveries import delivered, signing_home
from kit.sticks import STICKS, exfat_stick, ext4_stick, lying_stick
from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import locked, remove_unless_locked
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, OutputRefused
from sealwright.plant.cleanstick import write_clean
from sealwright.plant.intake import Group, Intake
from sealwright.plant.intakecopy import Limits, Taken
from sealwright.plant.media import media_below, medium_of, parse_mounts
from sealwright.plant.station import private_place

Check = Callable[..., tuple[int, list[dict[str, object]]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signing_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture(scope="module")
def delivery(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered(home, tmp_path_factory.mktemp("delivery"), more=5_000_000)


@pytest.fixture
def check(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check a medium; the exit code and the events. `state` is kept for the test."""
    (tmp_path / "state").mkdir()

    def call(medium: Path, *more: str | Path) -> tuple[int, list[dict[str, object]]]:
        words = ["station", "--once", medium, "--trust", home / "trust.toml", "--state", tmp_path / "state", "--json"]
        capsys.readouterr()
        code = main([str(word) for word in (*words, *more)])
        lines = capsys.readouterr().out.splitlines()
        assert not [name for name in os.listdir(tmp_path / "state") if name.startswith("intake-")]
        return code, [json.loads(line) for line in lines]

    return call


def outcomes(events: list[dict[str, object]]) -> dict[object, object]:
    """What was said of each thing that was judged."""
    return {event["name"]: event["outcome"] for event in events if event.get("event") == "judged"}


def remarks(events: list[dict[str, object]]) -> list[str]:
    """The codes of what was not taken."""
    return sorted(str(event["code"]) for event in events if event.get("event") == "remark")


def copied(folder: Path, target: Path) -> Path:
    """A copy that a test may spoil."""
    source = target / "source"
    subprocess.run(["cp", "-a", str(folder), str(source)], check=True)
    return source


def error(events: list[dict[str, object]]) -> object:
    """The code of what ended the check before its end."""
    return events[-1]["error"]["code"]  # type: ignore[index]


GOOD = {"target.bin": "trusted", "release": "trusted"}


@pytest.mark.parametrize("stick", STICKS)
def test_a_signed_delivery_is_allowed_from_every_usual_file_system(
    stick: Callable[..., object], delivery: Path, check: Check, tmp_path: Path
) -> None:
    with stick(tmp_path / "image", tmp_path / "stick") as medium:  # type: ignore[attr-defined]
        subprocess.run(["cp", "-r", f"{delivery}/.", str(medium)], check=True)
        code, events = check(medium)
    assert (code, outcomes(events)) == (0, GOOD)
    assert {*remarks(events)} <= {"SW-TREE-LEFTOVER", "SW-STATION-FILESYSTEM"}


def test_what_is_allowed_goes_onto_the_clean_stick_and_sha256sum_agrees(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    source = copied(delivery, tmp_path)
    (source / "tool.exe").write_bytes(b"MZ nobody signed this")
    with exfat_stick(tmp_path / "image", tmp_path / "clean") as clean:
        code, events = check(source, "--write", clean)
        listed = subprocess.run(
            ["sha256sum", "-c", "sealwright-checked.txt"], cwd=clean, capture_output=True, text=True, check=False
        )
        there = sorted(str(one.relative_to(clean)) for one in clean.rglob("*") if one.is_file())
    assert code == 1
    assert outcomes(events)["tool.exe"] == "rejected"
    assert listed.returncode == 0, listed.stderr
    assert there == [
        "release.manifest", "release.manifest.p7s", "release/a.cfg", "release/b.bin", "sealwright-checked.txt",
        "target.bin", "target.bin.p7s",
    ]  # fmt: skip


def test_every_verdict_leaves_its_record_signed_by_the_station(
    delivery: Path, check: Check, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = tmp_path / "station"
    assert main(["init", str(station)]) == 0
    assert main(["key", "enrol", "record", "--home", str(station), "--name", "gate"]) == 0
    (tmp_path / "records").mkdir()
    source = copied(delivery, tmp_path)
    (source / "tool.exe").write_bytes(b"MZ")
    monkeypatch.chdir(tmp_path)
    assert outcomes(check(source, "--record", "records", "--station-home", "station")[1]) == {
        **GOOD,
        "tool.exe": "rejected",
    }
    assert main(["record", "check", "records", "--key", str(station / "certificates/gate.pem")]) == 0
    texts = sorted((tmp_path / "records").rglob("record.txt"))
    assert len(texts) == 3
    assert sum(one.with_name("record.txt.p7s").exists() or one.with_name("record.p7s").exists() for one in texts) == 3
    (tmp_path / "records").chmod(0o500)
    assert outcomes(check(source, "--record", "gone", "--station-home", "station")[1]) == dict.fromkeys(
        {**GOOD, "tool.exe": ""}, "rejected"
    )


def test_a_file_changed_in_a_tree_or_beside_its_signature_is_not_allowed(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    assert outcomes(check(delivery)[1]) == GOOD
    source = copied(delivery, tmp_path)
    (source / "release/a.cfg").write_bytes(b"A" * 100)
    with (source / "target.bin").open("r+b") as file:
        file.write(b"\xff\xff\xff\xff")
    code, events = check(source)
    assert code == 1
    assert outcomes(events) == {"target.bin": "rejected", "release": "rejected"}


def test_an_extra_file_in_a_tree_is_not_allowed(delivery: Path, check: Check, tmp_path: Path) -> None:
    source = copied(delivery, tmp_path)
    (source / "release/extra.dll").write_bytes(b"x")
    assert outcomes(check(source)[1])["release"] == "rejected"


def test_a069_a071_links_fifos_and_names_that_differ_in_case_are_not_taken(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    source = copied(delivery, tmp_path)
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo")
    (source / "Target.BIN").write_bytes(b"x")
    (source / "evil\x1b[2Jname").write_bytes(b"x")
    code, events = check(source)
    assert code == 1
    assert remarks(events) == ["SW-STATION-LINK", "SW-STATION-NAME", "SW-STATION-NAME", "SW-STATION-SPECIAL"]
    assert "\x1b" not in json.dumps(events).replace("\\u001b", "\x1b")
    assert outcomes(events)["release"] == "trusted"


def test_a153_a_folder_that_leads_back_to_itself_ends(delivery: Path, check: Check, tmp_path: Path) -> None:
    source = copied(delivery, tmp_path)
    (source / "loop").symlink_to(source)
    assert remarks(check(source)[1]) == ["SW-STATION-LINK"]


def test_the_leftovers_of_systems_are_named_and_left_alone(delivery: Path, check: Check, tmp_path: Path) -> None:
    source = copied(delivery, tmp_path)
    (source / "System Volume Information").mkdir()
    (source / "System Volume Information/IndexerVolumeGuid").write_bytes(b"x")
    code, events = check(source)
    assert (code, remarks(events), outcomes(events)) == (0, ["SW-TREE-LEFTOVER"], GOOD)


def test_an_unfinished_download_is_pointed_at(delivery: Path, check: Check, tmp_path: Path) -> None:
    source = copied(delivery, tmp_path)
    (source / "drive.bin.part").write_bytes(b"half")
    assert remarks(check(source)[1]) == ["SW-STATION-UNFINISHED"]


def test_a150_a_stick_that_answers_differently_a_second_time_is_not_allowed(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    with lying_stick(delivery, tmp_path / "honest", "honest") as medium:
        code, events = check(medium, "--read-twice")
    assert (code, outcomes(events)) == (0, GOOD)
    for number, more in enumerate([["--read-twice"], []]):
        with lying_stick(delivery, tmp_path / f"lies-{number}", "lies") as medium:
            code, events = check(medium, *more)
        assert code == 1
        assert remarks(events) == ["SW-STATION-DIFFERS", "SW-STATION-FILESYSTEM"]
        assert outcomes(events) == {"release": "trusted"}


def test_a_stick_pulled_out_leaves_nothing_allowed_and_nothing_written(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    with lying_stick(delivery, tmp_path / "stick", "gone") as medium:
        code, events = check(medium, "--write", clean)
    assert code == 1
    assert error(events) == "SW-STATION-MEDIUM-GONE"
    assert not any(event.get("event") == "ended" for event in events)
    assert os.listdir(clean) == []


def test_a153_more_files_than_may_be_are_refused_as_a_whole(delivery: Path, check: Check, tmp_path: Path) -> None:
    source = copied(delivery, tmp_path)
    assert check(source, "--max-files", "9")[0] == 0
    (source / "one-more").mkdir()
    code, events = check(source, "--max-files", "6")
    assert code == 1
    assert error(events) == "SW-LIMIT"


def test_a073_more_bytes_than_may_be_are_refused_as_a_whole(delivery: Path, check: Check) -> None:
    assert check(delivery, "--max-bytes", "9000000")[0] == 0
    code, events = check(delivery, "--max-bytes", "4000000")
    assert (code, error(events)) == (1, "SW-LIMIT")


def test_a073_folders_too_deep_are_refused(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    deep = tmp_path / "stick"
    deep.joinpath(*["d"] * 12).mkdir(parents=True)
    assert list(Intake(str(deep), str(tmp_path / "private"), Limits(depth=12)).take()) == []
    subprocess.run(["rm", "-rf", str(tmp_path / "private/d")], check=True)
    with pytest.raises(LimitExceeded):
        list(Intake(str(deep), str(tmp_path / "private"), Limits(depth=11)).take())


def test_an_empty_stick_is_not_allowed(check: Check, tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    assert check(tmp_path / "stick")[0] == 1


def test_a_file_that_grows_while_it_is_read_is_half_written(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "stick").mkdir()
    file = tmp_path / "stick/a.bin"
    file.write_bytes(bytes(3 << 20))
    one = Intake(str(tmp_path / "stick"), str(tmp_path / "private"))
    assert [type(found) for found in one.take()] == [Group]
    (tmp_path / "private/a.bin").unlink()

    def grow(_: int) -> None:
        with file.open("ab") as out:
            out.write(b"x")

    found = list(Intake(str(tmp_path / "stick"), str(tmp_path / "private"), told=grow).take())
    assert [getattr(item, "code", "") for item in found] == ["SW-STATION-CHANGING"]
    assert os.listdir(tmp_path / "private") == []


def taken(folder: Path, name: bytes) -> Taken:
    """One file of a private folder, as the intake hands it on."""
    data = (folder / os.fsdecode(name)).read_bytes()
    return Taken(name, len(data), Digest.of(data))


def test_a150_a_private_copy_that_changed_is_not_written_and_nothing_stays(tmp_path: Path) -> None:
    private, clean = tmp_path / "private", tmp_path / "clean"
    private.mkdir()
    clean.mkdir()
    for name in ("a.bin", "b.bin"):
        (private / name).write_bytes(b"good " + name.encode())
    files = [taken(private, b"a.bin"), taken(private, b"b.bin")]
    write_clean(str(clean), str(private), files, ["checked"])
    assert sorted(os.listdir(clean)) == ["a.bin", "b.bin", "sealwright-checked.txt"]
    for name in os.listdir(clean):
        (clean / name).unlink()
    (private / "b.bin").write_bytes(b"evil b.bin")
    with pytest.raises(OutputRefused):
        write_clean(str(clean), str(private), files, ["checked"])
    assert os.listdir(clean) == []


def two_files(tmp_path: Path) -> tuple[Path, Path, list[Taken]]:
    """A private folder, a clean one, and what goes from one to the other."""
    private, clean = tmp_path / "private", tmp_path / "clean"
    (private / "sub").mkdir(parents=True)
    clean.mkdir()
    for name in ("a.bin", "sub/b.bin"):
        (private / name).write_bytes(b"good " + name.encode())
    return private, clean, [taken(private, b"a.bin"), taken(private, b"sub/b.bin")]


def test_a171_another_stick_that_comes_to_the_place_is_neither_written_to_nor_cleaned_up(tmp_path: Path) -> None:
    private, clean, files = two_files(tmp_path)
    write_clean(str(clean), str(private), files, ["checked"])
    assert (clean / "sub/b.bin").read_bytes() == b"good sub/b.bin"
    for second_fails in (False, True):
        clean.rename(tmp_path / f"filled-{second_fails}")
        clean.mkdir()

        def swap(_: int, aside: Path = tmp_path / f"aside-{second_fails}") -> None:
            if not aside.exists():
                clean.rename(aside)
                (clean / "sub").mkdir(parents=True)
                for name in ("a.bin", "sub/b.bin"):
                    (clean / name).write_bytes(b"somebody else's")

        if second_fails:
            (private / "sub/b.bin").write_bytes(b"evil")
        with pytest.raises(OutputRefused):
            write_clean(str(clean), str(private), files, ["checked"], swap)
        assert sorted(str(one.relative_to(clean)) for one in clean.rglob("*")) == ["a.bin", "sub", "sub/b.bin"]
        assert (clean / "sub/b.bin").read_bytes() == b"somebody else's"
        assert os.listdir(tmp_path / f"aside-{second_fails}") == []


def test_a171_a_folder_of_the_clean_stick_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    private, clean, files = two_files(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.bin").write_bytes(b"somebody else's")

    def link(_: int) -> None:
        for made in clean.rglob("sub"):
            if not made.is_symlink():
                made.rename(tmp_path / "moved")
                made.symlink_to(elsewhere)

    with pytest.raises(OutputRefused):
        write_clean(str(clean), str(private), files, ["checked"], link)
    assert (elsewhere / "b.bin").read_bytes() == b"somebody else's"
    assert os.listdir(clean) == []


_KILLED = """
import os, signal, sys
from sealwright.plant import cleanstick, intakecopy as intake
taken = [intake.Taken(b"a.bin", 4, intake.Digest.of(b"good")), intake.Taken(b"b.bin", 4, intake.Digest.of(b"good"))]
left = int(sys.argv[3])
def step(event, _):
    global left
    if event in ("open", "os.mkdir", "os.rename", "os.rmdir") and sys.argv[2] == "work":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(step)
sys.argv[2] = "work"
cleanstick.write_clean(sys.argv[1] + "/clean", sys.argv[1] + "/private", taken, ["checked"])
"""


def test_a171_a_station_killed_anywhere_leaves_no_stick_that_looks_finished(tmp_path: Path) -> None:
    private, clean = tmp_path / "private", tmp_path / "clean"
    private.mkdir()
    for name in ("a.bin", "b.bin"):
        (private / name).write_bytes(b"good")
    whole = {"a.bin", "b.bin", "sealwright-checked.txt"}
    for step in range(40):
        clean.mkdir()
        done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), "-", str(step)], check=False)
        there = {*os.listdir(clean)}
        if done.returncode == 0:
            assert there == whole
            break
        assert there <= {"sealwright-unfinished"} or "sealwright-unfinished" in there
        assert "sealwright-checked.txt" not in there or there >= whole
        if there:
            with pytest.raises(OutputRefused, match=r"cut off \(sealwright-unfinished is on it\)"):
                write_clean(str(clean), str(private), [], ["checked"])
        subprocess.run(["rm", "-r", str(clean)], check=True)
    else:
        raise AssertionError("it never came to its end")
    assert step > 5


def test_a_delivered_file_called_like_our_folder_does_not_stop_it(tmp_path: Path) -> None:
    private, clean = tmp_path / "private", tmp_path / "clean"
    private.mkdir()
    clean.mkdir()
    (private / "Sealwright-Unfinished").write_bytes(b"good")
    write_clean(str(clean), str(private), [taken(private, b"Sealwright-Unfinished")], ["checked"])
    assert sorted(os.listdir(clean)) == ["Sealwright-Unfinished", "sealwright-checked.txt"]


def test_a171_a_used_stick_is_not_written_to(delivery: Path, check: Check, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    (clean / "autorun.inf").write_bytes(b"x")
    code, events = check(delivery, "--write", clean)
    assert (code, error(events)) == (1, "SW-OUTPUT-REFUSED")
    assert os.listdir(clean) == ["autorun.inf"]


def test_a_clean_stick_that_is_too_small_stays_empty(delivery: Path, check: Check, tmp_path: Path) -> None:
    with ext4_stick(tmp_path / "image", tmp_path / "clean", megabytes=4) as clean:
        code, events = check(delivery, "--write", clean)
        left = sorted(os.listdir(clean))
    assert (code, error(events), left) == (1, "SW-OUTPUT-REFUSED", ["lost+found"])


def test_the_checked_stick_is_not_the_clean_one(delivery: Path, tmp_path: Path, home: Path) -> None:
    words = ["station", "--once", str(delivery), "--trust", str(home / "trust.toml"), "--state"]
    assert main([*words, str(tmp_path)]) == 0
    assert main([*words, str(tmp_path), "--write", str(delivery / "out")]) == 2
    assert main([*words, str(delivery / "state")]) == 2
    (tmp_path / "labels").mkdir()
    assert main([*words, str(tmp_path), "--label", str(tmp_path / "labels")]) == 0
    assert main([*words, str(tmp_path), "--label", str(delivery / "release")]) == 2


def mounts_again(source: str | Path, place: Path, *, bind: bool) -> None:
    place.mkdir()
    subprocess.run(["mount", *(["--bind"] if bind else []), str(source), str(place)], check=True)


def test_a171_the_checked_stick_mounted_a_second_time_is_not_the_clean_one(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    with (
        ext4_stick(tmp_path / "image", tmp_path / "stick") as medium,
        ext4_stick(tmp_path / "other", tmp_path / "clean") as clean,
    ):
        subprocess.run(["cp", "-r", f"{delivery}/.", str(medium)], check=True)
        (medium / "empty").mkdir()
        assert check(medium, "--write", clean)[0] == 0
        device = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(medium)], capture_output=True, text=True, check=True
        ).stdout.strip()
        again = tmp_path / "again", tmp_path / "bound"
        mounts_again(device, again[0], bind=False)
        mounts_again(medium / "empty", again[1], bind=True)
        try:
            for place in (again[0] / "empty", again[1]):
                code, events = check(medium, "--write", place)
                assert (code, error(events)) == (2, "SW-USAGE")
                assert os.listdir(place) == []
        finally:
            subprocess.run(["umount", *map(str, again)], check=False)


def test_a_station_that_writes_to_sticks_alone_takes_no_folder_of_its_own_disk(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    with ext4_stick(tmp_path / "image", tmp_path / "clean") as clean:
        assert check(delivery, "--only-mounted", "--write", clean)[0] == 0
        assert (clean / "target.bin").exists()
    folder = tmp_path / "folder"
    folder.mkdir()
    mounts_again(folder, tmp_path / "bound", bind=True)
    try:
        for place in (tmp_path / "clean", tmp_path / "bound"):
            code, events = check(delivery, "--only-mounted", "--write", place)
            assert (code, error(events)) == (1, "SW-OUTPUT-REFUSED")
            assert os.listdir(place) == []
    finally:
        subprocess.run(["umount", str(tmp_path / "bound")], check=False)


def test_the_code_on_a_label_is_read_by_a_reader(delivery: Path, check: Check, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "one").mkdir()
    for name in ("target.bin", "target.bin.p7s"):
        (tmp_path / "one" / name).write_bytes((delivery / name).read_bytes())
    code, events = check(tmp_path / "one", "--label", tmp_path / "labels", "--name", "hall 3; east")
    assert code == 0
    text, picture = (Path(str(one)) for one in events[-1]["labels"])  # type: ignore[attr-defined]
    read = subprocess.run(["zbarimg", "--quiet", "--raw", str(picture)], capture_output=True, text=True, check=True)
    digest = subprocess.run(["sha256sum", str(delivery / "target.bin")], capture_output=True, text=True, check=True)
    fields = read.stdout.strip().split(";")
    assert fields[:3] == ["SEALWRIGHT-1", "ALLOWED", "sha256:" + digest.stdout.split()[0]]
    assert fields[4] == "hall 3, east"
    assert digest.stdout.split()[0] in text.read_text().replace(" ", "").replace("\n", "")


def test_two_stations_with_one_state_leave_each_other_alone(tmp_path: Path) -> None:
    with private_place(str(tmp_path)) as one, private_place(str(tmp_path)) as two:
        assert sorted(os.listdir(tmp_path)) == sorted(os.path.basename(place) for place in (one, two))
    assert os.listdir(tmp_path) == []


def test_a_private_place_that_another_station_takes_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, []

    def then_removed(**where: str) -> str:
        made.append(make(**where))
        if len(made) == 1:
            remove_unless_locked(made[0])
        elif len(made) == 2:
            held.append(locked(made[1]))
        return made[-1]

    held: list[int] = []
    monkeypatch.setattr(tempfile, "mkdtemp", then_removed)
    with private_place(str(tmp_path)) as place:
        os.close(held[0])
        assert place == made[2]
        with private_place(str(tmp_path)):
            assert os.path.isdir(place)


def test_what_an_earlier_process_left_in_the_private_place_is_removed(
    delivery: Path, check: Check, tmp_path: Path
) -> None:
    left = tmp_path / "state/intake-old"
    left.mkdir()
    (left / "half.bin").write_bytes(b"x")
    assert check(delivery)[0] == 0
    assert not left.exists()


MOUNTS = """22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
60 22 8:17 / /media/my\\040stick ro,nosuid - vfat /dev/sdb1 rw,codepage=437
61 22 0:50 / /media/net rw - fuse.sshfs user@host:/x rw
nonsense
"""


def test_mountinfo_is_read_with_its_escapes() -> None:
    found = parse_mounts(MOUNTS)
    assert [(one.path, one.kind, one.read_only, one.usual) for one in found] == [
        ("/", "ext4", False, True),
        ("/media/my stick", "vfat", True, True),
        ("/media/net", "fuse.sshfs", False, False),
    ]
    assert [one.root for one in found] == ["/", "/", "/"]
    here = medium_of("/")
    assert here is not None
    assert here.path == "/"


@pytest.mark.parametrize("label", ["plain", "a\u2028b", "a\x85b", "a\x0cb", "a\x1eb", "a\rb"])
def test_a150_no_label_hides_a_stick(label: str) -> None:
    found = parse_mounts(f"60 22 8:17 / /media/{label} rw - vfat /dev/sdb1 rw\n")
    assert [one.path for one in found] == [f"/media/{label}"]


def test_sticks_are_seen_below_a_folder_that_is_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "link").symlink_to("media")
    with ext4_stick(tmp_path / "image", tmp_path / "media/stick"):
        assert [one.path for one in media_below(str(tmp_path / "media"))] == [str(tmp_path / "media/stick")]
        assert media_below(str(tmp_path / "link")) == media_below(str(tmp_path / "media"))


def screen(session: str) -> str:
    return subprocess.run(
        ["tmux", "-L", session, "capture-pane", "-p"], capture_output=True, text=True, check=True
    ).stdout


def until(session: str, words: str) -> str:
    """The screen once it shows some words, wherever its lines end."""
    for _ in range(150):
        shown = screen(session)
        if words in " ".join(shown.split()):
            return shown
        time.sleep(0.2)
    raise AssertionError(f"{words!r} never came:\n{shown}")


def test_the_screen_says_in_large_words_what_becomes_of_each_stick(home: Path, delivery: Path, tmp_path: Path) -> None:
    state, media = tmp_path / "state", tmp_path / "media"
    state.mkdir()
    media.mkdir()
    session = f"station-{os.getpid()}-{time.monotonic_ns()}"
    (tmp_path / "sealwright.py").write_text(
        "raise SystemExit('the folder in which the station was started is no program')"
    )
    (tmp_path / "clean").mkdir()
    command = [
        sys.executable, "-P", "-m", "sealwright", "station", "--watch", media, "--trust", home / "trust.toml", "--state",
        state, "--write", tmp_path / "clean", "--print-command", f"tee {tmp_path}/printed",
    ]  # fmt: skip
    tmux = ["tmux", "-L", session]
    subprocess.run(
        [
            *tmux,
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-c",
            str(tmp_path),
            "-x",
            "100",
            "-y",
            "32",
            *map(str, command),
        ],
        check=True,
    )
    try:
        until(session, "F10 end")
        with ext4_stick(tmp_path / "image", tmp_path / "filled") as medium:
            subprocess.run(["cp", "-r", f"{delivery}/.", str(medium)], check=True)
        with ext4_stick(tmp_path / "image", media / "stick", read_only=True):
            shown = until(session, "Every file on this stick may be used.")
            assert "██" in shown
            assert "ALLOWED      target.bin" in shown
            subprocess.run([*tmux, "send-keys", "F2"], check=True)
            until(session, "SEALWRIGHT CHECKING STATION")
            assert "Verdict:  ALLOWED" in (tmp_path / "printed").read_text()
            subprocess.run([*tmux, "send-keys", "Escape"], check=True)
            until(session, "Every file on this stick")
            assert "no stick is mounted there" in " ".join(screen(session).split())
            assert os.listdir(tmp_path / "clean") == [], "a folder of the station's own disk is no stick"
            for label in (state / "labels").iterdir():
                label.unlink()
            subprocess.run([*tmux, "send-keys", "F2"], check=True)
            until(session, "The label was not printed")
        until(session, "F10 end")
        with ext4_stick(tmp_path / "image", tmp_path / "filled") as medium:
            (medium / "target.bin").write_bytes(b"something else")
        with ext4_stick(tmp_path / "image", media / "stick", read_only=True):
            shown = until(session, "Some files must not be used.")
            assert "DO NOT USE   target.bin: the file was changed" in shown
            # another one, or another partition of the same, does not make it good
            with ext4_stick(tmp_path / "good", tmp_path / "filled") as medium:
                subprocess.run(["cp", "-r", f"{delivery}/.", str(medium)], check=True)
            with ext4_stick(tmp_path / "good", media / "zz", read_only=True):
                shown = until(session, "zz: ALLOWED")
                assert "stick: DO NOT USE" in " ".join(shown.split())
        with ext4_stick(tmp_path / "good", media / "zz", read_only=True):
            until(session, "Every file on this stick")
        with lying_stick(delivery, media / "pulled", "gone"):
            until(session, "Nothing of this stick was checked to the end")
        time.sleep(3)
        assert "Nothing of this stick was checked" in screen(session), "it stays until the next one comes"
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
