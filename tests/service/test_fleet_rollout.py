"""How the offers of a repository stand on the devices: asked of the service, and counted from reports that came back as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from kit.fleet import DRIVE, NOW, FleetDevice, FleetHouse, channels, fleet_house, release, serving_fleet
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Event, Outcome
from sealwright.device.reporting import SignedReport
from sealwright.errors import Unreadable
from sealwright.release.channels import parse_channels
from sealwright.release.courier import couriers_in
from sealwright.service.reportfolder import Counted, count_reports, reports_in

COURIER = Digest.of(b"courier")
OFFERED = channels(DRIVE, 5, (8, 100), (9, 40), withdrawn=[7])


def told(counted: Sequence[object]) -> dict[str, tuple[int, int, int]]:
    """Devices, those that run it and those that wait, by group."""
    return {one.group: (one.devices, one.runs, one.waits) for one in counted}  # type: ignore[attr-defined]


def fleet() -> tuple[list[FleetDevice], list[SignedReport]]:
    """Six devices of the drives: two run what is offered, one waits, one refused, one went back, one runs nothing yet; a seventh never reported."""
    made = [FleetDevice(f"gw-{number}", "line-1" if number < 4 else "line-2") for number in range(7)]
    refused = Event(Outcome.REFUSED, release(DRIVE, 8), "SW-TRUST-STALE")
    returned = Event(Outcome.RETURNED, release(DRIVE, 8), "SW-INSTALL-FAILED")
    reports = [
        made[0].report(release(DRIVE, 8), couriers=(COURIER,)),
        made[1].report(release(DRIVE, 8)),
        made[2].report(release(DRIVE, 6)),
        made[3].report(release(DRIVE, 6), events=[refused]),
        made[4].report(release(DRIVE, 7), events=[returned]),
        made[5].report(events=[refused]),
    ]
    return made, reports


def files(folder: Path, reports: Sequence[SignedReport]) -> Path:
    """As a courier brings them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(reports):
        (folder / f"r-{number}.report").write_bytes(one.report)
        (folder / f"r-{number}.report.p7s").write_bytes(one.signature)
    return folder


def counted(folder: Path, register: Path, offered: bytes) -> Counted:
    return count_reports(reports_in(str(folder)), str(register), {DRIVE: parse_channels(offered, "channels")}, NOW)


@pytest.fixture
def house(tmp_path: Path) -> FleetHouse:
    devices, _ = made = fleet()
    house = fleet_house(tmp_path / "house", devices=devices)
    (house.folder / "channels" / "drive.json").write_bytes(channels(DRIVE, 5, (8, 100), withdrawn=[7]))
    files(tmp_path / "reports", made[1])
    return house


def test_each_group_shows_who_runs_waits_refused_and_went_back_and_files_say_the_same_as_the_service(
    house: FleetHouse, tmp_path: Path
) -> None:
    offered = (house.folder / "channels" / "drive.json").read_bytes()
    from_files = counted(tmp_path / "reports", house.folder / "devices.txt", offered)
    one = from_files.roll_outs[DRIVE]
    assert not from_files.not_counted
    assert (one.devices, one.never, one.serial) == (7, 1, 5)
    (offer,) = one.offers
    assert told(offer.groups) == {"line-1": (4, 2, 2), "line-2": (2, 0, 2)}
    assert [(each.group, each.outcome, each.code, each.devices) for each in offer.troubles] == [
        ("line-1", "refused", "SW-TRUST-STALE", 1),
        ("line-2", "refused", "SW-TRUST-STALE", 1),
        ("line-2", "returned", "SW-INSTALL-FAILED", 1),
    ]
    assert [(gone.version, gone.devices) for gone in one.withdrawn] == [("1.7", 1)]
    assert [(each.digest, each.devices) for each in one.couriers] == [(str(COURIER), 1)]

    reports = [
        SignedReport(path.read_bytes(), path.with_suffix(".report.p7s").read_bytes())
        for path in (tmp_path / "reports").glob("*.report")
    ]
    with serving_fleet(house):
        assert house.post(*reports)[0] == 200
        shown = house.look("rollout?product=VX-200+drive")
        assert house.curl("/v1/fleet/rollout", name="ada")[0] == 400
        assert house.curl("/v1/fleet/rollout?product=x", name="stranger")[0] == 404
        assert house.look("rollout?product=nothing")["offers"] == []
    assert shown == json.loads(msgspec.json.encode(one))


def test_a_staged_offer_is_waited_for_by_those_that_it_reaches(tmp_path: Path) -> None:
    devices = [FleetDevice(f"d-{number}") for number in range(20)]
    house = fleet_house(tmp_path / "house", devices=devices)
    folder = files(tmp_path / "reports", [one.report(release(DRIVE, 6)) for one in devices])
    offers = parse_channels(OFFERED, "channels").offers
    reached = {one.release.generation: {d.id for d in devices if one.reaches(d.id, d.group)} for one in offers}
    assert 0 < len(reached[9]) < 20
    one = counted(folder, house.folder / "devices.txt", OFFERED).roll_outs[DRIVE]
    waits = {offer.generation: told(offer.groups)["line-1"] for offer in one.offers}
    assert waits == {9: (20, 0, len(reached[9])), 8: (20, 0, 20 - len(reached[9]))}


def test_a153_what_is_not_verified_is_named_and_never_counted(house: FleetHouse, tmp_path: Path) -> None:
    """Another key, a changed report, none of the register, two of one number, no signature; the untampered ones go on counting."""
    offered = (house.folder / "channels" / "drive.json").read_bytes()
    register, folder = house.folder / "devices.txt", tmp_path / "couriers" / "c-1" / "c-1" / "reports"
    one, other = FleetDevice("gw-a"), FleetDevice("gw-b")
    listed = register.read_text()
    register.write_text(listed + one.line)
    good = one.report(release(DRIVE, 8))
    files(folder, [good])
    assert not counted(tmp_path / "couriers", register, offered).not_counted
    wrong = [
        other.report(release(DRIVE, 8)),  # not in the register
        FleetDevice("gw-a").report(release(DRIVE, 8), number=9),  # another key
        one.report(release(DRIVE, 6), number=1),  # a second report of this number
        SignedReport(good.report.replace(b"line-1", b"line-2"), good.signature),
        SignedReport(b"# sealwright report 1\n", good.signature),
    ]
    files(folder, [good, *wrong])
    (folder / "unsigned-7.report").write_bytes(good.report)
    answer = counted(tmp_path / "couriers", register, offered)
    assert told(answer.roll_outs[DRIVE].offers[0].groups) == {"line-1": (1, 1, 0)}
    why = {Path(each.path).name: each.why for each in answer.not_counted}
    assert set(why) == {*(f"r-{number}.report" for number in range(1, 6)), "unsigned-7.report"}
    for name, said in (
        ("r-1", "not in the register"), ("r-2", "another key"), ("r-3", "the number 1"), ("r-4", "SW-"), ("r-5", "SW-"),
        ("unsigned-7", "no signature"),
    ):  # fmt: skip
        assert said in why[f"{name}.report"], why


def test_couriers_are_named_by_their_manifests_as_packed_and_as_unpacked(tmp_path: Path) -> None:
    (tmp_path / "courier-acme-1").mkdir()
    (tmp_path / "courier-acme-1.manifest").write_bytes(b"packed")
    (tmp_path / "courier-acme-2").mkdir()
    (tmp_path / "courier-acme-2" / "courier-acme-2.manifest").write_bytes(b"unpacked")
    (tmp_path / "notes.txt").write_text("no courier")
    found = list(couriers_in(str(tmp_path)))
    assert found == [("courier-acme-2", Digest.of(b"unpacked")), ("courier-acme-1", Digest.of(b"packed"))]
    with pytest.raises(Unreadable):
        list(couriers_in(str(tmp_path / "nothing")))
