"""The fleet's service as a process of its own, over TLS, asked by curl and by the commands: who runs what, who is behind, whom a revocation touches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.fleet import (
    DRIVE,
    GATE,
    NOW,
    FleetDevice,
    FleetHouse,
    channels,
    enter,
    fleet_house,
    manifest,
    release,
    serving_fleet,
)
from kit.postgres import Postgres, postgres
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Event, OnDevice, Outcome, Report
from sealwright.device.reporting import waiting, write_report
from sealwright.device.reportsender import Address, send
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home

Run = Callable[..., tuple[int, str, str]]

PERMIT, COURIER = Digest.of(b"permit"), Digest.of(b"courier")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetHouse]:
    """Four devices: two run the newest release, one an older one, one has never reported."""
    url = "sqlite:///fleet.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("database_server")
        url = server.database()
    devices = [FleetDevice("gw-1"), FleetDevice("gw-2"), FleetDevice("gw-3", "line-2"), FleetDevice("gw-4", "line-2")]
    made = fleet_house(tmp_path_factory.mktemp("house"), url, devices)
    (made.folder / "channels" / "drive.json").write_bytes(channels(DRIVE, 1, (7, 100), withdrawn=(5,)))
    events = [Event(Outcome.REFUSED, release(DRIVE, 8), "SW-TRUST-STALE")]
    with serving_fleet(made):
        reports = [
            devices[0].report(release(GATE, 2), release(DRIVE, 7), couriers=(COURIER,)),
            devices[1].report(release(DRIVE, 7), events=events, permits=(PERMIT,)),
            devices[2].report(release(DRIVE, 5)),
        ]
        assert made.post(*reports) == (200, ["taken"] * 3)
        yield made


def test_people_see_who_runs_what_who_is_behind_and_what_went_wrong(service: FleetHouse) -> None:
    seen = service.look("status")
    assert {name: seen[name] for name in ("devices", "retired", "never", "silent")} == {
        "devices": 4, "retired": 0, "never": 1, "silent": 1
    }  # fmt: skip
    drive = {"product": DRIVE, "version": "1.7", "generation": 7, "manifest": str(manifest(DRIVE, 7))}
    assert {**drive, "group": "line-1", "channel": "production", "devices": 2} in seen["runs"]
    assert seen["behind"] == [{"product": DRIVE, "group": "line-2", "generation": 5, "wanted": 7, "devices": 1}]
    assert [(one["generation"], one["advisory"], one["devices"]) for one in seen["withdrawn"]] == [
        (5, "CVE-2026-1234", 1)
    ]
    assert [(one["outcome"], one["code"], one["devices"]) for one in seen["troubles"]] == [
        ("refused", "SW-TRUST-STALE", 1)
    ]
    assert {(one["kind"], one["digest"]): one["devices"] for one in seen["used"]} == {
        ("permit", str(PERMIT)): 1, ("courier", str(COURIER)): 1
    }  # fmt: skip


def test_a_dry_run_lists_the_devices_that_a_revocation_would_touch(service: FleetHouse) -> None:
    """A155."""

    def touched(query: str) -> list[str]:
        found = service.look(f"touched?{query}")
        assert found["total"] == len(found["devices"])
        return [one["device"] for one in found["devices"]]

    assert touched(f"manifest={manifest(DRIVE, 7)}") == ["gw-1", "gw-2"]
    assert touched("product=VX-200+drive&below=7") == ["gw-3"]
    assert touched("product=VX-200%20drive") == ["gw-1", "gw-2", "gw-3"]
    assert touched(f"manifest={manifest(DRIVE, 7)}&manifest={manifest(DRIVE, 5)}") == ["gw-1", "gw-2", "gw-3"]
    assert touched(f"manifest={manifest(DRIVE, 6)}") == []


def test_lists_name_the_devices_that_are_behind_or_silent_or_took_a_courier_over(service: FleetHouse) -> None:
    assert [(one["device"], one["wanted"]) for one in service.look("behind")["devices"]] == [("gw-3", 7)]
    assert service.look("behind?group=line-1")["devices"] == []
    assert [one["device"] for one in service.look("silent")["devices"]] == ["gw-4"]
    assert [one["device"] for one in service.look(f"used?courier={COURIER}")["devices"]] == ["gw-1"]
    assert [one["device"] for one in service.look(f"used?permit={PERMIT}")["devices"]] == ["gw-2"]


def test_the_newest_report_can_be_verified_again_by_whoever_sees_it(service: FleetHouse) -> None:
    seen = service.look("devices/gw-2")
    assert (seen["number"], seen["group"], seen["retired"]) == (1, "line-1", False)
    assert seen["report"]
    assert seen["signature"]
    assert service.curl("/v1/fleet/devices/gw-9", name="ada")[0] == 404


@pytest.mark.parametrize(
    "query",
    ["status?hours=0", "status?hour=1", "touched", "touched?manifest=x", "behind?after=../x", "used", "status?a"],
)
def test_a_question_that_is_none_is_a_problem_that_says_why(service: FleetHouse, query: str) -> None:
    status, told = service.curl(f"/v1/fleet/{query}", name="ada")
    assert (status, told["code"]) == (400, "SW-USAGE")


def test_the_commands_show_the_same_as_text_json_and_csv(service: FleetHouse, run: Run) -> None:
    code, shown, _ = run("fleet", "status", *service.who("olaf"))
    assert code == 0
    assert "4 devices: 1 without a report for 48 hours, 1 of them never; 0 retired" in shown
    assert "2  VX-200 drive 1.7 (generation 7), line-1, production" in shown
    code, shown, _ = run("fleet", "touched", "--product", GATE, "--csv", *service.who("olaf"))
    assert code == 0
    assert shown.splitlines()[1].split(",")[4] == "'=gate()"  # A142
    code, shown, _ = run("fleet", "behind", "--json", *service.who("olaf"))
    assert [json.loads(one)["device"] for one in shown.splitlines()] == ["gw-3"]
    code, shown, said = run("fleet", "touched", *service.who("olaf"))
    assert code == 1
    assert "nothing is named" in said
    code, shown, _ = run("fleet", "silent", *service.who("olaf"))
    assert "gw-4  line-2  nordhof  never" in shown


def test_what_cannot_be_kept_is_not_said_to_be_taken(tmp_path: Path) -> None:
    device = FleetDevice("gw-1")
    with postgres() as server:
        made = fleet_house(tmp_path / "house", server.database(), [device])
        with serving_fleet(made):
            assert made.post(device.report(release(DRIVE, 6))) == (200, ["taken"])
            server.stop("immediate")
            report = device.report(release(DRIVE, 7))
            assert made.post(report) == (503, [])
            for path in ("/v1/fleet/status", "/v1/fleet/devices/gw-1", "/fleet"):
                assert made.curl(path, name="ada")[0] == 503
            assert made.curl("/health")[0] == 200
            server.start()
            assert made.look("devices/gw-1")["number"] == 1
            assert made.post(report) == (200, ["taken"])


def test_who_is_behind_is_counted_anew_where_the_channels_change(tmp_path: Path) -> None:
    devices = [FleetDevice(f"gw-{number}") for number in range(20)]
    made = fleet_house(tmp_path / "house", devices=devices)
    with serving_fleet(made):
        made.post(*(one.report(release(DRIVE, 6)) for one in devices))
        assert made.look("behind")["total"] == 0
        (made.folder / "channels" / "drive.json").write_bytes(channels(DRIVE, 1, (7, 50)))
        assert 2 < eventually(made) < 18  # a roll-out to half of them
        (made.folder / "channels" / "broken.json").write_bytes(b"{}")  # the last good ones count
        assert made.post(devices[0].report(release(DRIVE, 7))) == (200, ["taken"])
        (made.folder / "channels" / "broken.json").unlink()
        (made.folder / "channels" / "drive.json").write_bytes(channels(DRIVE, 2, (7, 100)))
        until = time.monotonic() + 30
        while made.look("behind")["total"] != 19 and time.monotonic() < until:
            time.sleep(0.2)
        assert made.look("behind")["total"] == 19


def eventually(made: FleetHouse) -> int:
    until = time.monotonic() + 30
    while not (found := int(made.look("behind")["total"])) and time.monotonic() < until:
        time.sleep(0.2)
    return found


def test_a_device_reports_by_its_own_key_and_a_courier_brings_what_it_kept(tmp_path: Path, run: Run) -> None:
    init_home(str(tmp_path / "home"), InitOptions(NOW, "gw-17", "ACME"))
    enrol_for(open_home(str(tmp_path / "home")), "report", "report", None, NOW)
    home, spool = open_home(str(tmp_path / "home")), str(tmp_path / "spool")
    key = home.key(None, KeyPurpose.REPORT).digest
    made = fleet_house(tmp_path / "house")
    added = ["gw-17", str(key), "line-1", "nordhof", "--config", made.configuration]
    report = Report("gw-17", 0, NOW, "line-1", "production", "nordhof", 7, (release(DRIVE, 7),))
    write_report(report, spool, home, NOW)
    with serving_fleet(made):
        address = Address(made.address, str(made.ca))
        assert send(spool, address).refused == 1  # not entered yet: it is kept
        assert len(waiting(spool)) == 1
        assert run("fleet", "device", "add", *added)[:2] == (
            0,
            "1 added, 0 with another group or plant, 0 as they were\n",
        )
        write_report(report, spool, home, NOW)
        where = ["--service", made.address, "--service-ca", made.ca]
        code, shown, _ = run("report", "send", spool, *where)
        assert (code, [one.rpartition(" ")[2] for one in shown.splitlines()]) == (0, ["taken", "taken"])
        code, shown, _ = run("report", "show", spool)
        assert code == 0
        assert f"signed by the key {key}" in shown
        assert run("report", "send", "--spool", spool, *where)[:2] == (0, "0 taken, 2 known before, 0 refused\n")
        assert waiting(spool) == []
        for name in Path(
            spool
        ).iterdir():  # the folder is lost, so numbers begin again: the service says where they were
            name.unlink()
        write_report(report, spool, home, NOW)
        assert send(spool, address).known == 1
        write_report(report, spool, home, NOW)
        assert send(spool, address).taken == 1
        assert made.look("devices/gw-17")["number"] == 3
    write_report(report, spool, home, NOW)
    code, _, said = run("report", "send", "--spool", spool, *where)
    assert (code, "does not answer" in said, len(waiting(spool))) == (3, True, 1)


def test_whom_the_denial_of_a_makers_key_would_touch_is_asked_by_what_it_signed(tmp_path: Path, run: Run) -> None:
    """A155."""
    init_home(str(tmp_path / "home"), InitOptions(NOW, "maker", "ACME"))
    folder = tmp_path / "releases" / "1.9"
    folder.mkdir(parents=True)
    (folder / "drive.bin").write_bytes(b"firmware")
    assert run("sign", folder, "--home", tmp_path / "home", "--product", DRIVE, "--generation", "9")[0] == 0
    signed = Digest.of((tmp_path / "releases" / "1.9.manifest").read_bytes())
    runs, other = FleetDevice("gw-1"), FleetDevice("gw-2")
    made = fleet_house(tmp_path / "house", devices=[runs, other])
    key = tmp_path / "home" / "certificates" / "release.pem"
    with serving_fleet(made):
        made.post(runs.report(OnDevice(DRIVE, "1.9", 9, signed, NOW)), other.report(release(DRIVE, 9)))
        asked = ["fleet", "touched", "--releases", tmp_path / "releases", *made.who("ada"), "--json"]
        code, shown, _ = run(*asked, "--signed-by", key)
        assert (code, [json.loads(one)["device"] for one in shown.splitlines()]) == (0, ["gw-1"])
        code, _, said = run(*asked, "--signed-by", tmp_path / "home" / "certificates" / "timestamp.pem")
        assert (code, "signed 0 manifests" in said) == (2, True)
        (tmp_path / "releases" / "1.9.manifest").write_bytes(b"another")  # the signature is not of it
        assert run(*asked, "--signed-by", key)[0] == 2
    assert run("fleet", "touched", "--signed-by", key, *made.who("ada"))[0] == 2


def test_the_register_takes_a_list_as_a_whole_and_never_a_key_twice(tmp_path: Path, run: Run) -> None:
    one, two = FleetDevice("gw-1"), FleetDevice("gw-2")
    made = fleet_house(tmp_path / "house", devices=[one, two])
    config, listed = ["--config", made.configuration], tmp_path / "list"

    def taken(*lines: str) -> tuple[int, str]:
        listed.write_text("# sealwright devices 1\n# a comment\n\n" + "".join(lines))
        code, shown, said = run("fleet", "device", "import", listed, *config)
        return code, shown or said

    three = FleetDevice("gw-3")
    assert taken(one.line, two.line.replace("line-1", "line-9")) == (
        0,
        "0 added, 1 with another group or plant, 1 as they were\n",
    )
    for wrong, why in (
        (f"gw-1 {FleetDevice('new').key} line-1 nordhof\n", "it is there with the key"),
        (f"gw-4 {one.key} line-1 nordhof\n", "its key is that of gw-1"),
        (three.line, "listed twice"),
        ("gw-5 sha256:00 line-1 nordhof\n", "a key is `sha256:`"),
        (f"gw-5 {two.key} Line-1 nordhof\n", "a group or plant"),
        ("gw-5 line-1 nordhof\n", "DEVICE KEY GROUP PLANT"),
        (f"gw 5 {two.key} line-1 nordhof\n", "DEVICE KEY GROUP PLANT"),
    ):
        code, said = taken(three.line, wrong)
        assert code == 1
        assert why in said
    assert run("fleet", "device", "rekey", "gw-1", three.key, *config)[0] == 0
    code, _, said = run("fleet", "device", "rekey", "gw-2", three.key, *config)
    assert (code, "it is that of gw-1" in said) == (2, True)
    assert run("fleet", "device", "retire", "gw-2", *config)[0] == 0
    assert run("fleet", "device", "retire", "gw-2", *config)[0] == 2
    assert run("fleet", "device", "retire", "gw-\udcff", *config)[0] == 2
    assert taken(two.line)[0] == 1
    code, shown, _ = run("fleet", "device", "list", "--csv", *config)
    lines = [one.split(",") for one in shown.splitlines()[1:]]
    assert [(one[0], one[1], bool(one[5])) for one in lines] == [
        ("gw-1", str(three.key), False),
        ("gw-2", str(two.key), True),
    ]


def test_a_configuration_is_checked_without_listening(tmp_path: Path, run: Run) -> None:
    made = fleet_house(tmp_path / "house", devices=[FleetDevice("gw-1")])
    code, shown, _ = run("serve", "fleet", made.configuration, "--check")
    assert (code, "1 devices in the register" in shown) == (0, True)
    text = made.configuration.read_text()
    for before, after in (
        ("tenant", "tennant"),
        ('"acme"', '"nobody"'),
        ('"channels"', '"nowhere"'),
        ("fleet 1", "fleet 2"),
    ):
        made.configuration.write_text(text.replace(before, after))
        code, _, said = run("serve", "fleet", made.configuration, "--check")
        assert code in (1, 2)
        assert said.startswith("sealwright: ")
    made.configuration.write_text(text)
    enter(made, FleetDevice("gw-2"))
