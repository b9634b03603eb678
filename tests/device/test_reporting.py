"""Reports on a device: numbered without a repetition, signed so that OpenSSL verifies them, kept within bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.openssl import run
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import OnDevice, Report, parse_report
from sealwright.device import reporting
from sealwright.device.reporting import copy_reports, raise_number, read_signed, waiting, waiting_at, write_report
from sealwright.errors import MalformedArtifact, OutputRefused, UsageError
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import Home, open_home
from sealwright.signing.init import InitOptions, init_home

NOW = datetime.now(UTC).replace(microsecond=0)
REPORT = Report(
    "gw-17", 0, NOW, "line-1", "production", "nordhof", 7, (OnDevice("drive", "1.4", 7, Digest.of(b"x"), NOW),)
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = str(tmp_path_factory.mktemp("device") / "home")
    init_home(folder, InitOptions(NOW, "gw-17", "ACME"))
    enrol_for(open_home(folder), "report", "report", None, NOW)
    return open_home(folder)


def test_a_report_is_one_that_openssl_verifies_and_no_altered_one(home: Home, tmp_path: Path) -> None:
    written = write_report(REPORT, str(tmp_path / "spool"), home, NOW)
    report = parse_report(Path(written.path).read_bytes(), "report")
    assert (report.device, report.number, report.made, report.running) == ("gw-17", 1, NOW, REPORT.running)
    verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-out", "/dev/null", "-in"]
    asked = [*verify, written.signature, "-content", written.path, "-CAfile", home.path("ca.pem")]
    assert run(asked)[0]
    Path(written.path).write_bytes(Path(written.path).read_bytes().replace(b"line-1", b"line-2"))
    assert not run(asked)[0]


def test_each_report_has_a_higher_number_though_the_file_with_it_is_gone(home: Home, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    numbers = [write_report(REPORT, str(spool), home, NOW).number]
    (spool / "number").unlink()
    numbers.append(write_report(REPORT, str(spool), home, NOW).number)
    for one in waiting(str(spool)):
        reporting.remove(one)
    numbers.append(write_report(REPORT, str(spool), home, NOW).number)
    raise_number(str(spool), 40)
    raise_number(str(spool), 5)
    numbers.append(write_report(REPORT, str(spool), home, NOW).number)
    assert numbers == [1, 2, 3, 41]


def test_of_too_many_reports_the_newest_wait(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "MAX_WAITING", 3)
    for _ in range(5):
        write_report(REPORT, str(tmp_path), home, NOW)
    assert [one.number for one in waiting(str(tmp_path))] == [3, 4, 5]
    assert {one.name for one in tmp_path.iterdir()} == {
        "number", *(f"gw-17-{number}.report{suffix}" for number in (3, 4, 5) for suffix in ("", ".p7s"))
    }  # fmt: skip


def test_what_a_crash_left_without_a_signature_does_not_wait(home: Home, tmp_path: Path) -> None:
    write_report(REPORT, str(tmp_path), home, NOW)
    (tmp_path / "gw-17-2.report").write_bytes(b"half")
    (tmp_path / "..-3.report").write_bytes(b"")
    (tmp_path / "..-3.report.p7s").write_bytes(b"")
    assert [one.number for one in waiting(str(tmp_path))] == [1]


def test_reports_are_copied_for_a_courier_and_go_on_waiting(home: Home, tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    one = write_report(REPORT, str(tmp_path / "spool"), home, NOW)
    for _ in range(2):
        (copied,) = copy_reports(str(tmp_path / "spool"), str(tmp_path / "stick"))
    assert read_signed(copied) == read_signed(one)
    assert waiting_at(copied.path).number == 1
    Path(copied.signature).unlink()
    with pytest.raises(UsageError, match="no signature lies beside it"):
        waiting_at(copied.path)


def test_what_no_reader_takes_is_not_signed_and_takes_no_number(home: Home, tmp_path: Path) -> None:
    with pytest.raises(MalformedArtifact):
        write_report(Report("gw 17", 0, NOW, "line-1", "production", "nordhof", 7), str(tmp_path), home, NOW)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputRefused):
        write_report(REPORT, str(tmp_path / "file"), home, NOW)
    assert write_report(REPORT, str(tmp_path), home, NOW).number == 1
