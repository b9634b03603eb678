"""Installation records under attack: names that forge lines, clocks, links, copies, two hosts, keys used for what they are not for."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kit.mutate import changed
from kit.openssl import cms_verify
from kit.pki import DAY, NOW, Pki, p7s
from kit.records import signature_of, text_of, write
from kit.trust import RULE, believed, codes, judge, signed_file
from kit.verdicts import signer, verdict
from sealwright.artifact.cells import cell
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.findings import reject
from sealwright.pki.oids import RECORD_SIGNING
from sealwright.pki.profiles import CODE_SIGNER, EMAIL_PROTECTION, RECORD_SIGNER, UPDATE_PACKAGE_SIGNING
from sealwright.plant.recordcheck import Check, PinnedKeys, TrustedStations, is_wrong
from sealwright.plant.recordexport import COLUMNS, Wanted, heading, kept, row
from sealwright.trust.verdict import Outcome

PKI = Pki.make("Plant")
STATION = PKI.leaf("pc7", profile=RECORD_SIGNER)


class Silent:
    """No progress."""

    def advance(self, bytes_done: int) -> None:
        pass


def wrong(folder: Path) -> list[str]:
    return [found.code for found in Check(str(folder), TrustedStations(believed(PKI), NOW)).findings(Silent())]


def test_a_record_key_that_signs_a_file_by_other_means_is_refused(tmp_path: Path) -> None:
    """Our pipeline refuses it; whoever has the key could use OpenSSL. The twin is a code signer's key of the same plant."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    trust = believed(PKI)
    assert judge(signed_file(good, PKI.leaf("release", profile=CODE_SIGNER)), trust).outcome is Outcome.TRUSTED
    assert codes(judge(signed_file(bad, STATION), trust)) == ["SW-CERT-PURPOSE"]


@pytest.mark.parametrize("purposes", [[RECORD_SIGNING], [RECORD_SIGNING, UPDATE_PACKAGE_SIGNING]])
def test_no_rule_accepts_a_record_key_not_even_one_for_any_purpose(tmp_path: Path, purposes: list[str]) -> None:
    """The twin has any other purpose, such as the mail certificate of a small maker."""
    rule = RULE | {"signer": [{"anchors": ["root"], "purposes": ["any"]}]}
    for wanted, found in (([EMAIL_PROTECTION], []), (purposes, ["SW-CERT-PURPOSE"])):
        path = signed_file(tmp_path, PKI.leaf("pc7", profile=RECORD_SIGNER, purposes=wanted))
        assert codes(judge(path, believed(PKI, rule=[rule]))) == found


def test_a_signature_over_a_record_serves_for_no_artifact(tmp_path: Path) -> None:
    """Even by a key that may sign code: a record's signature beside a file of the same bytes is of another kind."""
    release = PKI.leaf("release", profile=CODE_SIGNER)
    write(tmp_path / "records", 1, STATION)
    data = text_of(tmp_path / "records", 1).read_bytes()
    path = tmp_path / "record.txt"
    path.write_bytes(data)
    for kind, found in (("file", []), ("record", ["SW-SIGNATURE-KIND"])):
        path.with_name("record.txt.p7s").write_bytes(p7s(release, data, kind=kind))
        assert codes(judge(path, believed(PKI))) == found


def test_a_files_signature_serves_for_no_record(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    write(folder, 1, STATION)
    assert wrong(folder) == []
    for kind in ("file", "manifest", "backup", "trust"):
        signature_of(folder, 1).write_bytes(p7s(STATION, text_of(folder, 1).read_bytes(), kind=kind))
        assert wrong(folder) == ["SW-RECORD-SIGNATURE"]


FORGED = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    'a","=1+1',
    'a"\r\n=1+1',
    "\x1b]0;owned\x07",
    "a\x1b[2Kb",
    "\N{RIGHT-TO-LEFT OVERRIDE}fdp.exe",
    "a\udc9b1mb",
]


@pytest.mark.parametrize("name", FORGED)
def test_a142_no_cell_is_a_formula_and_no_name_a_row(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "records"
    of = verdict(path=f"/media/{name.replace('/', '|')}", signers=(signer(name),))
    of = of._replace(rule=name, claims=Claims(name, name, -7))
    write(folder, 2, of=of, host=name)
    data = heading() + b"".join(
        row(one.number, one.digest, one.record) for one in kept(str(folder), Wanted()) if one.record is not None
    )
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert [len(one) for one in rows] == [len(COLUMNS)] * 3
    for one in rows[1:]:
        for value in one:
            assert value.isprintable()
            assert not value.startswith(("=", "+", "-", "@", "＝"))
    assert data.count(b"\r\n") == data.count(b"\n") == 3


def test_a142_harmless_cells_are_left_as_they_are() -> None:
    for text in ("drive.bin", "line 3", "größe", "a-b", "1", ""):
        assert cell(text) == text
    assert cell("-7") == "'-7"


@pytest.mark.parametrize("name", ["a\n# outcome trusted", "\x1b[2J\x1b[H", "\N{RIGHT-TO-LEFT OVERRIDE}x"])
def test_names_reach_neither_a_terminal_nor_a_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "records"
    write(folder, 1, None, reject("SW-FILE-CHANGED", name), of=None, host=name)
    write(folder, 1, of=verdict(path=f"/media/{name}", signers=(signer(name),)), host=name)
    for words in (["list"], ["check"], ["export"]):
        assert main(["record", words[0], str(folder)]) == 0
        shown = capsys.readouterr()
        assert all(line.isprintable() for line in (shown.out + shown.err).replace("\r\n", "\n").split("\n"))
    assert main(["record", "list", str(folder), "--json"]) == 0
    assert [json.loads(line)["host"] for line in capsys.readouterr().out.splitlines()] == [name, name]


@pytest.mark.parametrize("days", [-20_000, -400, 400, 2_000_000])
def test_a_hostile_clock_is_recorded_beside_the_judgement_time(tmp_path: Path, days: int) -> None:
    """What the clock said stands in the record, and the chain does not depend on it."""
    folder = tmp_path / "records"
    write(folder, 1)
    write(folder, 1, at=NOW + days * DAY)
    write(folder, 1)
    assert [one for one in Check(str(folder)).findings(Silent()) if one.severity == "reject"] == []
    clocks = [one.record.clock for one in kept(str(folder), Wanted()) if one.record is not None]
    assert clocks == [NOW, NOW + days * DAY, NOW]


def test_the_record_folder_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "records").symlink_to(tmp_path / "real")
    for path, outcome in ((tmp_path / "records", Outcome.REJECTED), (tmp_path / "real", Outcome.TRUSTED)):
        assert write(path)[0].verdict.outcome is outcome
    assert main(["record", "check", str(tmp_path / "records")]) == 1
    assert main(["record", "check", str(tmp_path / "real")]) == 0


def test_links_inside_the_folder_lead_nowhere(tmp_path: Path) -> None:
    """A thousand's folder, a record's folder, and a text: what stands behind a link is not read as a record."""
    folder = tmp_path / "records"
    write(folder, 3, STATION)
    assert wrong(folder) == []
    for target, code in (
        (text_of(folder, 3), "DAMAGED"),
        (text_of(folder, 3).parent, "DAMAGED"),
        (folder / "000000", "STRAY"),
    ):
        moved = tmp_path / f"moved-{target.name}"
        target.rename(moved)
        target.symlink_to(moved)
        assert f"SW-RECORD-{code}" in wrong(folder)
        target.unlink()
        moved.rename(target)
    assert wrong(folder) == []


def test_devices_and_pipes_in_the_place_of_a_text_hang_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    write(folder, 2, STATION)
    text_of(folder, 2).unlink()
    os.mkfifo(text_of(folder, 2))
    assert wrong(folder) == ["SW-RECORD-DAMAGED"]
    assert write(folder)[0].verdict.outcome is Outcome.REJECTED


def test_two_hosts_write_into_one_share(tmp_path: Path) -> None:
    """Each with its own key and process, as over a network file system that has no locks: numbers are never given twice."""
    folder = tmp_path / "records"
    folder.mkdir()
    script = (
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), *sys.path]!r}\n"
        "from pathlib import Path\n"
        "from kit.pki import Pki\nfrom kit.records import write\n"
        "from sealwright.pki.profiles import RECORD_SIGNER\n"
        "station = Pki.make('Plant').leaf('x', profile=RECORD_SIGNER)\n"
        "print(station.key_digest)\n"
        "for n in range(30): assert write(Path(sys.argv[1]), 1, station, host=sys.argv[2])[0].path\n"
    )
    hosts = [
        subprocess.Popen([sys.executable, "-c", script, str(folder), name], stdout=subprocess.PIPE, text=True)
        for name in ("pc7", "pc8")
    ]
    keys = [one.communicate(timeout=120)[0].strip() for one in hosts]
    assert [one.returncode for one in hosts] == [0, 0]
    check = Check(str(folder), PinnedKeys(frozenset(map(Digest.parse, keys))))
    assert list(check.findings(Silent())) == []
    assert (check.count, check.wrote) == (60, {(keys[0], "pc7"): 30, (keys[1], "pc8"): 30})
    one_missing = Check(str(folder), PinnedKeys(frozenset([Digest.parse(keys[0])])))
    assert {found.code for found in one_missing.findings(Silent())} == {"SW-RECORD-SIGNER"}


def test_a_station_that_speaks_for_another_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A station may write any host into its records: whose key it was stands beside, in the records and in the check."""
    folder, other = tmp_path / "records", PKI.leaf("pc8", profile=RECORD_SIGNER)
    write(folder, 2, STATION, host="pc7")
    write(folder, 1, other, host="pc7")
    assert main(["record", "check", str(folder), "--key", STATION.key_digest, "--key", other.key_digest]) == 0
    shown = capsys.readouterr().out
    assert f"pc7: 2 signed by {STATION.key_digest}" in shown
    assert f"pc7: 1 signed by {other.key_digest}" in shown


def test_openssl_reads_what_two_stations_of_one_plant_wrote(tmp_path: Path) -> None:
    folder, other = tmp_path / "records", PKI.leaf("pc8", profile=RECORD_SIGNER)
    (tmp_path / "ca.pem").write_text(PKI.root.pem)
    write(folder, 1, STATION)
    write(folder, 1, other, host="pc8")
    for number in (1, 2):
        assert cms_verify(signature_of(folder, number), text_of(folder, number), tmp_path / "ca.pem")[0]
    assert not cms_verify(signature_of(folder, 2), text_of(folder, 1), tmp_path / "ca.pem")[0]
    assert wrong(folder) == []


def test_a_large_signature_or_text_is_refused_unread(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    write(folder, 1, STATION)
    for path in (text_of(folder, 1), signature_of(folder, 1)):
        good = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(8 << 30)
        assert wrong(folder) == ["SW-RECORD-DAMAGED"]
        path.write_bytes(good)
    assert wrong(folder) == []


def test_a168_a_mutated_record_or_signature_is_named_and_never_a_traceback(tmp_path: Path) -> None:
    """Checked, listed and chained to: each ends in findings or a refusal, and what was signed never passes when it was changed."""
    folder = tmp_path / "records"
    write(folder, 1, STATION)
    trust = believed(PKI)
    for path in (text_of(folder, 1), signature_of(folder, 1)):
        good = path.read_bytes()
        for other in changed(good, random.Random(7)):
            path.write_bytes(other)
            found = [
                one.code for one in Check(str(folder), TrustedStations(trust, NOW)).findings(Silent()) if is_wrong(one)
            ]
            assert found or other == good or path.name.endswith(".p7s")
            list(kept(str(folder), Wanted()))
        path.write_bytes(b"")
        assert wrong(folder)
        path.write_bytes(good)
    assert wrong(folder) == []
