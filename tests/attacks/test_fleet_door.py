"""A121, A128, A129, A153: reports that are not a device's own, come again or late, or are none; people who may not look; each beside its twin."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Run
from kit.fleet import DRIVE, FleetDevice, FleetHouse, fleet_house, release, serving_fleet, wire
from sealwright.device.reporting import SignedReport

DEVICE, OTHER = FleetDevice("gw-1"), FleetDevice("gw-2")
RUNS = release(DRIVE, 7)
JSON = ("-H", "content-type: application/json", "--data-binary")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetHouse]:
    made = fleet_house(tmp_path_factory.mktemp("house"), devices=[DEVICE, OTHER])
    with serving_fleet(made):
        yield made


def events(made: FleetHouse) -> list[dict[str, object]]:
    return [json.loads(one) for one in (made.folder / "fleet.log").read_text().splitlines()]


def posted(made: FleetHouse, body: bytes, *words: str, name: str = "body") -> int:
    path = made.folder / name
    path.write_bytes(body)
    return made.curl("/v1/reports", *words, *JSON, f"@{path}")[0]


def altered() -> SignedReport:
    signed = DEVICE.report(RUNS)
    return replace(signed, report=signed.report.replace(b"1.7", b"1.8"))


def by_another() -> SignedReport:
    return OTHER.signed(DEVICE.report(RUNS).report)


def by_nobody() -> SignedReport:
    return FleetDevice("gw-1").signed(DEVICE.report(RUNS).report)


def by_two() -> SignedReport:
    """The device's own signature with another's beside it in one file."""
    signed = DEVICE.report(RUNS)
    return replace(signed, signature=signed.signature + OTHER.signed(signed.report).signature)


def signature_of_the_last() -> SignedReport:
    first = DEVICE.report(RUNS)
    return replace(DEVICE.report(RUNS), signature=first.signature)


def of_another_kind(kind: str) -> SignedReport:
    return DEVICE.signed(DEVICE.report(RUNS).report, kind)


FORGED: dict[str, Callable[[], SignedReport]] = {
    "altered": altered,
    "by another device's key": by_another,
    "by a key of nobody, in the device's name": by_nobody,
    "by two in one file": by_two,
    "the signature of the last one": signature_of_the_last,
    "a record's signature": lambda: of_another_kind("record"),
    "an approval's signature": lambda: of_another_kind("approval"),
    "a file's signature": lambda: of_another_kind("file"),
    "a device that is not in the register": lambda: FleetDevice("gw-9").report(RUNS),
    "not canonical": lambda: DEVICE.signed(DEVICE.report(RUNS).report.replace(b"#! group", b"#! group ")),
    "no report": lambda: DEVICE.signed(b"# sealwright manifest 1 sha256\n"),
    "no signature": lambda: replace(DEVICE.report(RUNS), signature=b"0"),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_report_that_is_not_the_devices_own_is_refused_like_every_other(service: FleetHouse, how: str) -> None:
    """A129: one answer, whatever the reason; the log has the reason."""
    assert service.post(DEVICE.report(RUNS)) == (200, ["taken"])
    before = service.look("devices/gw-1")
    assert service.post(FORGED[how]()) == (403, ["refused"])
    assert service.look("devices/gw-1") == before
    assert events(service)[-1]["event"] == "report-refused"
    assert service.post(DEVICE.report(RUNS)) == (200, ["taken"])


def test_a_forged_one_spoils_none_of_those_beside_it(service: FleetHouse) -> None:
    good, bad, more = DEVICE.report(RUNS), by_another(), OTHER.report(RUNS)
    assert service.post(good, bad, more) == (200, ["taken", "refused", "taken"])


def test_a_report_that_comes_again_or_late_changes_nothing(service: FleetHouse) -> None:
    """A153: a stick with the reports of last month."""
    old, new = DEVICE.report(release(DRIVE, 6)), DEVICE.report(RUNS)
    assert service.post(old) == (200, ["taken"])
    assert service.post(new) == (200, ["taken"])
    before = service.look("devices/gw-1")
    assert service.post(new) == (200, ["known"])
    assert service.post(old, old) == (200, [("old", DEVICE.number)] * 2)
    assert service.look("devices/gw-1") == before
    newest, newer = DEVICE.report(RUNS, number=DEVICE.number + 2), DEVICE.report(RUNS, number=DEVICE.number - 1)
    assert service.post(newest, newer) == (200, ["taken", ("old", newer_than(newer))])
    DEVICE.number += 1


def newer_than(signed: SignedReport) -> int:
    return int(signed.report.split(b"#! number ")[1].split(b"\n")[0]) + 1


def test_two_devices_with_one_key_are_told_to_the_operator(service: FleetHouse) -> None:
    first = OTHER.report(RUNS)
    assert service.post(first) == (200, ["taken"])
    copy = OTHER.report(release(DRIVE, 5), number=OTHER.number)
    assert service.post(copy) == (200, [("old", OTHER.number)])
    assert [one["device"] for one in events(service) if one["event"] == "report-clash"] == ["gw-2"]


def test_a_device_says_nothing_of_its_group_that_the_register_does_not(service: FleetHouse) -> None:
    boasting = replace(DEVICE, group="line-9")
    assert service.post(boasting.report(RUNS)) == (200, ["taken"])
    DEVICE.number = boasting.number
    assert service.look("devices/gw-1")["group"] == "line-1"
    assert "line-9" not in {one["group"] for one in service.look("status")["runs"]}


def test_the_reports_of_a_retired_device_and_of_a_former_key_are_refused(tmp_path: Path, run: Run) -> None:
    stolen, gone = FleetDevice("gw-7"), FleetDevice("gw-8")
    made = fleet_house(tmp_path / "house", devices=[stolen, gone])
    config = ["--config", str(made.configuration)]
    with serving_fleet(made):
        assert made.post(stolen.report(RUNS), gone.report(RUNS)) == (200, ["taken"] * 2)
        renewed = FleetDevice("gw-7", number=stolen.number)
        assert run("fleet", "device", "rekey", "gw-7", renewed.key, *config)[0] == 0
        assert run("fleet", "device", "retire", "gw-8", *config)[0] == 0
        assert made.post(stolen.report(RUNS), gone.report(RUNS)) == (403, ["refused"] * 2)
        assert made.post(renewed.report(RUNS)) == (200, ["taken"])
        assert [one["device"] for one in made.look("touched?product=VX-200+drive")["devices"]] == ["gw-7"]


def test_what_is_too_large_too_many_or_no_list_of_reports_is_refused_before_it_is_judged(service: FleetHouse) -> None:
    """A128."""
    good = DEVICE.report(RUNS)
    assert posted(service, wire(good)) == 200
    body = json.loads(wire(good))
    (one,) = body["reports"]
    assert posted(service, json.dumps({"reports": [one] * 101}).encode()) == 400
    assert posted(service, json.dumps({**body, "tenant": "acme"}).encode()) == 400
    assert posted(service, json.dumps({"reports": [{**one, "group": "line-9"}]}).encode()) == 400
    large = {**one, "report": base64.b64encode(good.report + b"#" * (64 << 10)).decode()}
    assert posted(service, json.dumps({"reports": [large]}).encode()) == 400
    for nonsense in (b"", b"{}", b"[" * 100_000, b'{"reports":[]}', b'{"reports":[{}]}', b"\xff"):
        assert posted(service, nonsense) == 400
    assert posted(service, wire(good).ljust(2 << 20)) == 413
    assert posted(service, wire(good).ljust(2 << 20), "-H", "transfer-encoding: chunked") == 413
    assert service.curl("/v1/reports", "-d", "reports=x")[0] == 415
    assert service.curl("/v1/reports")[0] == 405


@pytest.mark.parametrize(
    "path", ["status", "behind", "silent", "touched?product=x", f"used?permit=sha256:{'0' * 64}", "devices/gw-1"]
)
def test_who_may_not_look_hears_what_everybody_hears(service: FleetHouse, path: str) -> None:
    """A121: a device, a requester, an auditor of another tenant."""
    assert service.curl(f"/v1/fleet/{path}", name="ada")[0] == 200
    status, told = service.curl(f"/v1/fleet/{path}")
    assert (status, told) == (401, b"who asks is not known here\n")
    nothing = service.curl("/v1/fleet/nothing-of-this-name", name="max")
    for name in ("max", "stranger"):
        assert service.curl(f"/v1/fleet/{path}", name=name) == nothing
    assert nothing[0] == 404


@pytest.mark.parametrize(
    "spelling", ["/v1/fleet/%73tatus", "/v1//fleet/status", "/v1/fleet/status/", "/v1/reports/../fleet/status"]
)
def test_no_spelling_of_a_path_leads_around_the_door(service: FleetHouse, spelling: str) -> None:
    assert service.curl("/v1/fleet/status", name="ada")[0] == 200
    assert service.curl(spelling)[0] == 401
    assert service.curl("/v1/fleet/status", "-X", "POST", "-d", "", name="ada")[0] == 405
    assert service.curl("/v1/reports", "-H", "x-http-method-override: GET")[0] == 405


def test_the_log_and_the_answers_hold_no_name_and_no_signature(service: FleetHouse) -> None:
    signed = by_another()
    assert service.post(DEVICE.report(RUNS), signed) == (200, ["taken", "refused"])
    log = (service.folder / "fleet.log").read_text()
    assert "Traceback" not in log
    assert signed.signature.hex()[:64] not in log
    assert base64.b64encode(signed.signature)[:64].decode() not in log
