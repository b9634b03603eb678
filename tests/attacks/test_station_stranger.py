"""The checking station attacked by somebody who did not write it: what lies beside good files, places others write to, and work cut off anywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.deliveries import delivered, signing_home
from kit.receiving import compared, sums
from sealwright.cli.main import main

Event = dict[str, object]
Check = Callable[..., tuple[int, list[Event]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signing_home(tmp_path_factory.mktemp("home") / "home")


@pytest.fixture(scope="module")
def delivery(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered(home, tmp_path_factory.mktemp("delivery"), "drive.bin", 30_000)


@pytest.fixture
def stick(delivery: Path, tmp_path: Path) -> Path:
    """The delivery, to be spoilt."""
    return Path(shutil.copytree(delivery, tmp_path / "stick"))


@pytest.fixture
def check(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Check a folder as a medium and write what is allowed to `clean`; the exit code and the events."""
    for name in ("state", "clean"):
        (tmp_path / name).mkdir()

    def call(medium: Path, *more: str | Path) -> tuple[int, list[Event]]:
        words = ["station", "--once", medium, "--trust", home / "trust.toml", "--state", tmp_path / "state", "--json",
                 "--write", tmp_path / "clean"]  # fmt: skip
        capsys.readouterr()
        code = main([str(word) for word in (*words, *more)])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def written(tmp_path: Path) -> set[str]:
    """What is on the clean stick."""
    clean = tmp_path / "clean"
    return {str(one.relative_to(clean)) for one in clean.rglob("*") if not one.is_dir()}


def codes(events: list[Event]) -> list[object]:
    """Of what was remarked."""
    return [event["code"] for event in events if event.get("event") == "remark"]


GOOD = {
    "drive.bin", "drive.bin.p7s", "release/a.cfg", "release.manifest", "release.manifest.p7s", "sealwright-checked.txt",
}  # fmt: skip


def test_a150_a_file_called_like_a_signed_folder_does_not_go_along_with_it(
    stick: Path, check: Check, tmp_path: Path
) -> None:
    (stick / "release.exe").write_bytes(b"MZ nobody signed this")
    code, events = check(stick)
    assert code == 1
    assert {event["name"]: event["outcome"] for event in events if event["event"] == "judged"} == {
        "drive.bin": "trusted",
        "release": "trusted",
        "release.exe": "rejected",
    }
    assert written(tmp_path) == GOOD


def test_the_whole_of_a_good_delivery_goes_onto_the_clean_stick(stick: Path, check: Check, tmp_path: Path) -> None:
    assert check(stick)[0] == 0
    assert written(tmp_path) == GOOD


BESIDE = {
    "drive.bin.plant.p7s": b"0",
    "drive.bin.pq.p7s": b"0",
    "drive.bin.roothash.p7s": b"0",
    "drive.bin.fsverity.p7s": b"0",
    "drive.bin.p7s.p7s": b"0",
    "drive.bin.p7s.tsr": b"0",
    "drive.bin.tsr": b"0",
    "drive.bin.ers": b"0",
    "drive.bin.sig": b"\x03\x02",
    "drive.bin.tlog-proof": b"c2sp.org/tlog-proof@v1\n\n",
    "drive.bin.xmldsig": b"<Signature/>",
    "drive.bin.manifest": b"# sealwright manifest 1 sha256\n",
    "drive.bin.manifest.p7s": b"0",
    "drive.bin.plant.manifest": b"# sealwright acceptance 1 sha256\n",
    "drive.bin.received.manifest": b"# sealwright receiving 1 sha256\n",
    "release.manifest.plant.p7s": b"0",
    "release.manifest.tsr": b"0",
    "release.tlog-proof": b"c2sp.org/tlog-proof@v1\n\n",
}


@pytest.mark.parametrize("name", BESIDE)
def test_a066_what_is_only_called_like_a_signature_goes_no_further(
    stick: Path, check: Check, tmp_path: Path, name: str
) -> None:
    (stick / name).write_bytes(BESIDE[name] + b" MZ nobody signed this")
    code, events = check(stick)
    assert (code, codes(events)) == (1, ["SW-STATION-BESIDE"])
    assert written(tmp_path) == GOOD


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that the station's trust file does not know."""
    folder = tmp_path_factory.mktemp("stranger") / "home"
    assert main(["init", str(folder)]) == 0
    return folder


def test_a150_evidence_goes_along_only_with_a_record_that_somebody_trusted_signed(
    stick: Path, home: Path, stranger: Path, check: Check, tmp_path: Path
) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"from ACME")
    evidence = ["--evidence", str(tmp_path / "letter.pdf")]
    received = [str(word) for word in compared(stick / "drive.bin", sums(tmp_path, stick / "drive.bin"), home)]
    assert main([*received, *evidence]) == 0
    there = {str(one.relative_to(stick)) for one in stick.rglob("drive.bin.*") if one.is_file()}
    there |= {f"drive.bin.received/{one.name}" for one in (stick / "drive.bin.received").iterdir()}
    code, events = check(stick)
    assert (code, codes(events)) == (0, [])
    assert written(tmp_path) == GOOD | there
    assert "drive.bin.received/letter.pdf" in there

    shutil.rmtree(tmp_path / "clean")
    (tmp_path / "clean").mkdir()
    shutil.rmtree(stick / "drive.bin.received")
    for one in stick.glob("drive.bin.received.*"):
        one.unlink()
    assert main([*received[:-1], str(stranger), *evidence]) == 0
    code, events = check(stick)
    assert (code, codes(events)) == (1, ["SW-STATION-BESIDE"])
    assert not [one for one in written(tmp_path) if "letter" in one]


def test_a_plants_acceptance_goes_along(stick: Path, home: Path, check: Check, tmp_path: Path) -> None:
    assert main(["accept", str(stick / "drive.bin"), "--home", str(home), "--trust", str(home / "trust.toml")]) == 0
    there = {one.name for one in stick.iterdir() if one.name.startswith("drive.bin.")}
    assert "drive.bin.plant.manifest" in there
    assert check(stick)[0] == 0
    assert written(tmp_path) == GOOD | there


def test_a_signature_goes_with_the_longest_name_that_it_may_belong_to(
    stick: Path, home: Path, check: Check, tmp_path: Path
) -> None:
    (stick / "drive").write_bytes(b"signed")
    assert main(["sign", str(stick / "drive"), "--home", str(home)]) == 0
    (stick / "drive.bin").write_bytes(b"changed")
    check(stick)
    assert written(tmp_path) == GOOD - {"drive.bin", "drive.bin.p7s"} | {"drive", "drive.p7s"}


def test_a150_a_state_folder_in_which_others_may_write_is_refused(stick: Path, check: Check, tmp_path: Path) -> None:
    assert check(stick)[0] == 0
    shutil.rmtree(tmp_path / "clean")
    (tmp_path / "clean").mkdir()
    (tmp_path / "state").chmod(0o777)
    code, events = check(stick)
    assert (code, events[-1]["error"]["code"]) == (1, "SW-OUTPUT-REFUSED")  # type: ignore[index]
    assert written(tmp_path) == set()


def test_a_missing_medium_or_label_folder_is_said_before_anything_is_written(
    stick: Path, check: Check, tmp_path: Path
) -> None:
    code, events = check(tmp_path / "gone")
    assert (code, events[-1]["error"]["code"]) == (1, "SW-FILE-UNREADABLE")  # type: ignore[index]
    code, events = check(stick, "--label", tmp_path / "gone")
    assert (code, events[-1]["error"]["code"]) == (1, "SW-OUTPUT-REFUSED")  # type: ignore[index]
    assert written(tmp_path) == set()
    (tmp_path / "labels").mkdir()
    assert check(stick, "--label", tmp_path / "labels")[0] == 0


def test_a_missing_state_folder_is_a_typed_error(stick: Path, check: Check, tmp_path: Path) -> None:
    code, events = check(stick, "--private", tmp_path / "gone")
    assert (code, events[-1]["error"]["code"]) == (1, "SW-OUTPUT-REFUSED")  # type: ignore[index]


def test_a_delivered_folder_called_like_our_list_does_not_stop_it(stick: Path, check: Check, tmp_path: Path) -> None:
    (stick / "sealwright-checked.txt").mkdir()
    for name in ("drive.bin", "drive.bin.p7s"):
        shutil.copy(stick / name, stick / "sealwright-checked.txt" / name)
    assert check(stick)[0] == 0
    assert "sealwright-checked-2.txt" in written(tmp_path)
