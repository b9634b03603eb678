"""A device that runs no agent: its vendor's tool gets a verified private copy, and two records say what happened on which serial number."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.engineering import BOOT, installations, recorded, release, sign, vendor_tool
from kit.openssl import cms_verify
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import MalformedArtifact
from sealwright.plant.installation import Stage
from sealwright.plant.recordreader import parse_record

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A maker, and a station with a key for records."""
    folder = tmp_path_factory.mktemp("homes")
    assert main(["init", str(folder / "maker")]) == 0
    assert main(["init", str(folder / "station"), "--title", "station"]) == 0
    assert main(["key", "enrol", "record", "--home", str(folder / "station"), "--name", "station"]) == 0
    return folder


@pytest.fixture(scope="module")
def tool() -> Iterator[Path]:
    with vendor_tool() as program:
        yield program


@pytest.fixture
def run(homes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """`handover install` with what every run needs: exit code and all that was said."""
    for name in ("state", "records"):
        (tmp_path / name).mkdir()

    def call(
        path: Path, *more: str | Path, serial: str = "4711", person: str = "p-17", boot: str = "4"
    ) -> tuple[int, str]:
        words: list[str | Path] = ["handover", "install", path, "--trust", homes / "maker" / "trust.toml"]
        words += ["--state", tmp_path / "state", "--serial", serial, "--person", person]
        words += ["--record", tmp_path / "records", "--station-home", homes / "station"]
        words += ["--present", f"VX-200 bootloader={boot}"] if boot else []
        capfd.readouterr()
        try:
            code = main([str(word) for word in (*words, *more)])
        except SystemExit as stop:
            code = int(str(stop.code or 0))
        shown = capfd.readouterr()
        assert not [name for name in os.listdir(tmp_path / "state") if name.startswith("intake-")]
        return code, shown.out + shown.err

    return call


def test_the_tool_gets_a_private_copy_and_two_records_say_so(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    loading = ("--component", "boot", "--read-back", device, "--tool", tool, device, "{file}", "{serial}")
    code, said = run(path, "--hardware", "", *loading)
    assert (code, "boot.bin was handed over for 4711" in said) == (0, True), said
    assert (device.read_bytes(), Path(f"{device}.ran").read_text()) == (BOOT, "4711\n")
    begun, end = installations(tmp_path / "records")
    digest = Digest.of(BOOT)
    assert (begun.stage, end.stage, end.serial, end.component, end.part) == (
        Stage.BEGUN, Stage.DONE, "4711", "boot", digest,
    )  # fmt: skip
    assert begun.tool is not None
    assert end.tool is not None
    assert (begun.tool.exit, end.tool.exit, end.tool.path) == (None, 0, str(tool))
    assert end.tool.digest == Digest.of(tool.read_bytes())
    assert end.readback is not None
    assert (end.readback.is_same, end.readback.digest) == (True, digest)
    last = recorded(tmp_path / "records")[-1]
    assert last.record is not None
    manifest = Digest.of((tmp_path / "6.manifest").read_bytes())
    facts = last.record.facts
    assert (facts.name, facts.content, facts.product, facts.version, facts.generation) == (
        "6/", manifest, "VX-200", "6", 6,
    )  # fmt: skip
    assert last.record.asserted.person == "p-17"
    text = Path(last.path) / "record.txt"
    assert cms_verify(text.with_name("record.txt.p7s"), text, homes / "station" / "ca.pem")[0]


def test_the_records_are_listed_checked_shown_and_exported(
    run: Run, homes: Path, tool: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    assert run(path, "--component", "application", "--tool", tool, device, "{folder}")[0] == 0
    records, key = str(tmp_path / "records"), str(homes / "station" / "certificates" / "station.pem")
    assert main(["record", "check", records, "--key", key]) == 0
    assert main(["record", "list", records]) == 0
    assert "done for 4711" in capfd.readouterr().out
    assert main(["record", "list", records, "--json"]) == 0
    last = json.loads(capfd.readouterr().out.splitlines()[-1])["installation"]
    assert (last["stage"], last["serial"], last["component"], last["component_digest"]) == (
        "done", "4711", "application", None,
    )  # fmt: skip
    assert (last["tool"]["path"], last["tool"]["exit"], last["readback"]) == (str(tool), 0, None)
    assert main(["record", "export", records]) == 0
    heading, *rows = capfd.readouterr().out.splitlines()
    assert heading.endswith(
        "installation,serial,hardware_as_stated,component,component_digest,tool,tool_digest,tool_exit,readback,readback_digest"
    )
    assert f",done,4711,,application,,{tool},sha256:" in rows[-1]
    assert main(["inspect", os.path.join(records, "000000", "000000002", "record.txt")]) == 0
    assert "done, for the device 4711" in capfd.readouterr().out


def test_a_person_is_shown_the_copy_and_says_when_it_is_done(
    run: Run, homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = release(tmp_path, homes / "maker")
    seen: list[str] = []

    class Person:
        """Looks at the path that the command shows, and types."""

        def __init__(self, word: str) -> None:
            self.word = word

        def readline(self) -> str:
            (place,) = [one for one in (tmp_path / "state").iterdir() if one.name.startswith("intake-")]
            seen.append(oct(stat.S_IMODE(place.stat().st_mode)))
            file = place / "6" / "boot.bin"
            seen.append(oct(stat.S_IMODE(file.stat().st_mode)))
            return self.word

    monkeypatch.setattr("sys.stdin", Person("done\n"))
    assert run(path, "--component", "boot", "--by-hand")[0] == 0
    assert seen == ["0o700", "0o400"]
    for word in ("\n", "", "no\n"):
        monkeypatch.setattr("sys.stdin", Person(word))
        code, said = run(path, "--component", "boot", "--by-hand")
        assert (code, "NOT DONE: nobody said that it is done" in said) == (1, True)
    assert [one.stage for one in installations(tmp_path / "records")] == [
        Stage.BEGUN, Stage.DONE, *[Stage.BEGUN, Stage.LEFT] * 3,
    ]  # fmt: skip


def test_links_and_empty_folders_are_handed_over_as_they_were_signed(
    run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    (path / "application" / "current.st").symlink_to("main.st")
    (path / "application" / "logs").mkdir()
    sign(path, homes / "maker", 6)
    loading = ("--component", "application", "--read-back", device, "--tool", tool, device, "{folder}")
    code, said = run(path, *loading)
    assert code == 0, said
    assert (os.readlink(device / "current.st"), list((device / "logs").iterdir())) == ("main.st", [])
    (path / "application" / "current.st").unlink()
    (path / "application" / "current.st").symlink_to("hmi.json")
    assert run(path, *loading)[0] == 1


def altered(path: Path) -> None:
    (path / "boot.bin").write_bytes(BOOT + b"x")


def added(path: Path) -> None:
    (path / "application" / "more.st").write_text("x")


def removed(path: Path) -> None:
    (path / "notes.txt").unlink()


def unsigned(path: Path) -> None:
    path.with_name("6.manifest.p7s").unlink()


@pytest.mark.parametrize("alter", [altered, added, removed, unsigned])
def test_what_is_not_as_it_was_signed_is_not_handed_over(
    alter: Callable[[Path], None], run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    loading = ("--component", "application", "--tool", tool, device, "{folder}")
    assert run(path, *loading)[0] == 0
    shutil.rmtree(device)
    alter(path)
    code, said = run(path, *loading)
    assert (code, "NOT HANDED OVER" in said, device.exists()) == (1, True, False)
    assert [one.stage for one in installations(tmp_path / "records")] == [Stage.BEGUN, Stage.DONE, Stage.REFUSED]


def test_a_component_of_another_release_is_refused(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    """A148: each file is of a signed release, the set is not."""
    old, new = release(tmp_path, homes / "maker", 5, b"old boot"), release(tmp_path, homes / "maker", 6)
    loading = ("--component", "application", "--tool", tool, tmp_path / "device", "{folder}")
    assert run(new, *loading)[0] == 0
    shutil.copy(old / "boot.bin", new / "boot.bin")
    code, said = run(new, *loading)
    assert (code, "boot.bin" in said) == (1, True)


@pytest.mark.parametrize(
    ("before", "after"),
    [('path = "notes.txt"', 'path = "other.txt"'), ("[[component]]", "[[komponent]]"), ("release 1", "release 2")],
)
def test_a_signed_release_that_is_not_complete_by_its_own_word_is_refused(
    before: str, after: str, run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    path = release(tmp_path, homes / "maker")
    loading = ("--component", "boot", "--tool", tool, tmp_path / "device", "{file}")
    assert run(path, *loading)[0] == 0
    described = path / "release.toml"
    described.write_text(described.read_text().replace(before, after, 1))
    sign(path, homes / "maker", 6)
    code, said = run(path, *loading)
    assert (code, "NOT HANDED OVER" in said) == (1, True), said


def test_a149_a158_what_binds_a_serial_number_is_for_no_other_device(
    run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    path = release(tmp_path, homes / "maker", 6, BOOT, "cpu-1515", "serial:4711")
    loading = ("--component", "boot", "--hardware", "cpu-1515", "--tool", tool, tmp_path / "device", "{file}")
    assert run(path, *loading, serial="4711")[0] == 0
    code, said = run(path, *loading, serial="4712")
    assert (code, "it is for the devices 4711, and this device is 4712" in said) == (1, True)
    code, said = run(path, "--component", "boot", "--hardware", "cpu-1516", *loading[4:], serial="4711")
    assert (code, "NOT HANDED OVER" in said) == (1, True)


def test_an_older_release_is_refused_after_a_newer_one(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    old, new = release(tmp_path, homes / "maker", 5), release(tmp_path, homes / "maker", 6)
    loading = ("--component", "boot", "--tool", tool, tmp_path / "device", "{file}")
    assert run(old, *loading)[0] == 0
    assert run(new, *loading)[0] == 0
    assert run(old, *loading)[0] == 1


def test_an_older_release_is_taken_until_the_tool_has_done_the_newer_one(
    run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    old, new = release(tmp_path, homes / "maker", 5), release(tmp_path, homes / "maker", 6)
    loading = ("--component", "boot", "--tool", tool, tmp_path / "device", "{file}")
    assert run(new, *loading, "x", "7")[0] == 1
    assert run(old, *loading)[0] == 0
    assert run(new, *loading)[0] == 0
    assert run(old, *loading)[0] == 1


@pytest.mark.parametrize(("boot", "code"), [("4", 0), ("5", 0), ("3", 1), ("", 3)])
def test_what_a_release_needs_before_is_said_to_be_there_or_it_is_not_handed_over(
    run: Run, homes: Path, tool: Path, tmp_path: Path, boot: str, code: int
) -> None:
    path = release(tmp_path, homes / "maker")
    found, said = run(path, "--component", "boot", "--tool", tool, tmp_path / "device", "{file}", boot=boot)
    assert found == code
    assert ("VX-200 bootloader has to be installed before, in generation 4 or newer" in said) == (code != 0)
    assert (tmp_path / "device").exists() == (code == 0)


@pytest.mark.parametrize(
    "word", ["VX-200", "VX-200=", "=4", "VX-200=-1", "VX-200=four", pytest.param("VX-200=" + "9" * 5000, id="long")]
)
def test_what_is_present_is_a_product_and_a_number(
    run: Run, homes: Path, tool: Path, tmp_path: Path, word: str
) -> None:
    words = ("--component", "boot", "--present", word, "--tool", tool, tmp_path / "device", "{file}")
    assert run(release(tmp_path, homes / "maker"), *words)[0] == 2


def test_a_tool_that_fails_is_recorded_as_failed(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    words = ("--component", "boot", "--tool", tool, device, "{file}", "{serial}")
    assert run(path, *words)[0] == 0
    code, said = run(path, *words, "7")
    assert (code, "NOT DONE: the vendor's tool did not do it (7)" in said) == (1, True)
    end = installations(tmp_path / "records")[-1]
    assert end.tool is not None
    assert (end.stage, end.tool.exit) == (Stage.FAILED, 7)


def test_a_tool_that_others_could_have_changed_is_not_started(run: Run, homes: Path, tmp_path: Path) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    with vendor_tool() as program:
        words = ("--component", "boot", "--tool", program, device, "{file}")
        assert run(path, *words)[0] == 0
        device.unlink()
        program.chmod(0o757)
        code, said = run(path, *words)
        assert (code, "others may write it" in said, device.exists()) == (1, True, False)
        program.chmod(0o755)
        os.chown(program.parent, 65534, 65534)
        code, said = run(path, *words)
        assert (code, "belongs to another user" in said, device.exists()) == (1, True, False)


def test_one_program_may_be_meant_by_its_digest(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    digest = hashlib.sha256(tool.read_bytes()).hexdigest()
    words = ("--component", "boot", "--tool", tool, device, "{file}")
    assert run(path, "--tool-digest", digest, *words)[0] == 0
    device.unlink()
    code, said = run(path, "--tool-digest", "0" * 64, *words)
    assert (code, "its digest is sha256:" in said, device.exists()) == (1, True, False)


@pytest.mark.parametrize(
    "words",
    [
        ("--tool", "load", "{file}"),
        ("--tool", "/opt/load"),
        ("--tool", "/opt/load", "/file:{file}"),
        ("--tool", "/opt/load", "/x"),
        ("--tool",),
        (),
        ("--by-hand", "--as", "memory"),
        ("--by-hand", "--tool-digest", "sha256:12"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_begins(
    words: tuple[str, ...], run: Run, homes: Path, tmp_path: Path
) -> None:
    path = release(tmp_path, homes / "maker")
    code, said = run(path, "--component", "boot", *words)
    assert (code, "Traceback" in said) == (2, False), said
    assert not installations(tmp_path / "records")


def test_a_component_is_named_where_there_are_several(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    path = release(tmp_path, homes / "maker")
    words = ("--tool", tool, tmp_path / "device", "{file}")
    assert run(path, "--component", "boot", *words)[0] == 0
    assert "Name one with --component: boot, application" in run(path, *words)[1]
    assert "it has no component bios" in run(path, "--component", "bios", *words)[1]
    assert run(path, "--component", "application", *words)[0] == 2  # {file} for a folder


def test_any_signed_file_is_handed_over_with_the_signature_that_lies_beside_it(
    run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    file, device = tmp_path / "drive.bin", tmp_path / "device"
    file.write_bytes(BOOT)
    sign(file, homes / "maker", 3)
    assert run(file, "--tool", tool, device, "{file}")[0] == 0
    assert device.read_bytes() == BOOT
    file.write_bytes(BOOT[::-1])
    assert run(file, "--tool", tool, device, "{file}")[0] == 1


def test_nothing_is_handed_over_without_its_record(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    words = ("--component", "boot", "--tool", tool, device, "{file}")
    assert run(path, *words)[0] == 0
    device.unlink()
    newest = tmp_path / "records" / "000000" / "000000002" / "record.txt"
    newest.write_bytes(newest.read_bytes()[:-9])
    code, said = run(path, *words)
    assert (code, "its installation record could not be written" in said, device.exists()) == (1, True, False)


def test_a_device_that_gives_back_something_else_is_told(run: Run, homes: Path, tool: Path, tmp_path: Path) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    loading = ("--component", "boot", "--read-back")
    assert run(path, *loading, device, "--tool", tool, device, "{file}")[0] == 0
    (tmp_path / "other").write_bytes(BOOT[:-1] + b"\0")
    code, said = run(path, *loading, tmp_path / "other", "--tool", tool, device, "{file}")
    assert (code, "THE DEVICE GAVE BACK SOMETHING ELSE" in said, f"at {len(BOOT) - 1:#x}" in said) == (1, True, True)
    end = installations(tmp_path / "records")[-1]
    assert end.readback is not None
    assert (end.stage, end.readback.is_same) == (Stage.FAILED, False)


def test_a_read_back_that_is_not_there_leaves_its_record_all_the_same(
    run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    loading = ("--component", "boot", "--read-back")
    assert run(path, *loading, device, "--tool", tool, device, "{file}")[0] == 0
    code, said = run(path, *loading, tmp_path / "none", "--tool", tool, device, "{file}")
    assert (code, "NOT DONE" in said, "none" in said) == (1, True, True)
    assert [one.stage for one in installations(tmp_path / "records")[2:]] == [Stage.BEGUN, Stage.FAILED]


def test_what_is_read_back_later_is_compared_and_recorded(
    homes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = release(tmp_path, homes / "maker")
    (tmp_path / "records").mkdir()
    back = tmp_path / "back.bin"
    words = ["handover", "compare", path, back, "--trust", homes / "maker" / "trust.toml", "--serial", "4711"]
    words += ["--component", "boot", "--record", tmp_path / "records"]
    for data, more, code in ((BOOT, [], 0), (BOOT[1:], [], 1), (BOOT + b"\xff", ["--padding", "ff"], 0), (BOOT + b"\xff", [], 1)):  # fmt: skip
        back.write_bytes(data)
        assert main([str(word) for word in (*words, *more)]) == code
    results = [one.readback for one in installations(tmp_path / "records")]
    assert [one.is_same for one in results if one is not None] == [True, False, True, False]
    capfd.readouterr()
    assert main([str(word) for word in (*words, "--json")]) == 1
    told = json.loads(capfd.readouterr().out)
    assert (told["stage"], told["readback"]["same"], told["findings"][-1]["code"]) == (
        "compared", False, "SW-READBACK-LONGER",
    )  # fmt: skip
    back.write_bytes(BOOT)
    altered(path)
    assert main([str(word) for word in words]) == 1  # what is not trusted itself is compared with nothing
    assert "NOT COMPARED: a file was changed" in capfd.readouterr().out


LINES = """# installation failed
# serial 4711-003
# hardware cpu 1515
# component boot sha256:{digest}
# tool sha256:{digest} exit -9 /opt/vendor tool/load%0a
# readback differs sha256:{digest}
"""


@pytest.mark.parametrize(
    ("part", "by"),
    [
        ("# installation failed", "# installation perfect"),
        ("# serial 4711-003\n", ""),
        ("# serial 4711-003", "# serial 4711 003"),
        ("# component boot sha256", "# component BOOT sha256"),
        ("# component boot", "# component  boot"),
        ("exit -9", "exit -09"),
        ("exit -9", "ended -9"),
        ("exit -9", "exit 99999999999"),
        ("differs sha256", "differ sha256"),
        ("# hardware cpu 1515\n", "# hardware cpu 1515\n# hardware cpu 1515\n"),
        ("load%0a", "load\x1b"),
        ("load%0a", "load%0A"),
    ],
)
def test_the_lines_of_a_device_have_one_form(
    part: str, by: str, run: Run, homes: Path, tool: Path, tmp_path: Path
) -> None:
    path = release(tmp_path, homes / "maker")
    assert run(path, "--component", "boot", "--tool", tool, tmp_path / "device", "{file}")[0] == 0
    text = (tmp_path / "records/000000/000000002/record.txt").read_text()
    begin, end = text.index("# installation"), text.index("# claimed")
    good = text[:begin] + LINES.format(digest="ab" * 32) + text[end:]
    assert parse_record(good.encode(), "it").facts.installation is not None
    assert part in good
    with pytest.raises(MalformedArtifact):
        parse_record(good.replace(part, by, 1).encode(), "it")


def test_a_read_back_is_compared_with_the_record_of_a_station_that_the_trust_file_knows(
    run: Run, homes: Path, tool: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, device = release(tmp_path, homes / "maker"), tmp_path / "device"
    assert run(path, "--component", "boot", "--tool", tool, device, "{file}")[0] == 0
    shutil.rmtree(path)
    trust = shutil.copytree(homes / "maker", tmp_path / "maker") / "trust.toml"
    record = tmp_path / "records" / "000000" / "000000002"
    words = ["handover", "compare", str(record), str(device), "--trust", str(trust), "--serial", "4711"]
    assert main(words) == 1
    assert "signed by a key that does not count here" in capfd.readouterr().err
    assert main(["trust", "new", "--next", str(trust)]) == 0
    anchor = ["anchor", str(homes / "station" / "ca.pem"), "--name", "station", "--environment", "development"]
    assert main(["trust", "add", str(trust), *anchor]) == 0
    assert main(["trust", "sign", str(trust), "--home", str(tmp_path / "maker"), "--person", "officer"]) == 0
    assert main(words) == 0
    device.write_bytes(BOOT[1:])
    capfd.readouterr()
    assert main(words) == 1
    assert "THE DEVICE GAVE BACK SOMETHING ELSE" in capfd.readouterr().out
    assert main([*words, "--record", str(tmp_path / "records")]) == 2
