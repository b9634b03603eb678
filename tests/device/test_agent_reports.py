"""What an agent reports after its rounds: what runs, what it refused and why, what it took back; signed, numbered, and never in its own way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.agents import PRODUCT, Maker, Site, program, site
from kit.fleet import fleet_house, serving_fleet
from sealwright.artifact.report import Outcome, Report, parse_report
from sealwright.device.reporting import read_signed, waiting
from sealwright.device.reportkey import key_of_report
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def device(tmp_path: Path, maker: Maker) -> Site:
    """A device that reports; its health is what a program says."""
    now, home = datetime.now(UTC), str(tmp_path / "home")
    init_home(home, InitOptions(now, "gw-17", "ACME"))
    enrol_for(open_home(home), "report", "report", None, now)
    (tmp_path / "device").mkdir()
    healthy = program(tmp_path / "device" / "healthy", f"test ! -e {tmp_path}/ill")
    health = f"[health]\ncommand = ['{healthy}']\ntries = 1\npause_s = 0\n"
    return site(
        tmp_path / "device",
        maker,
        extra=f"{health}[report]\nhome = '{home}'\nspool = '{tmp_path}/device/state/reports'\n",
    )


def reports(device: Site) -> list[Report]:
    found = [read_signed(one) for one in waiting(str(device.state / "reports"))]
    keys = {key_of_report(one, "report") for one in found}
    assert keys == {open_home(str(device.folder.parent / "home")).key(None, KeyPurpose.REPORT).digest}
    return [parse_report(one.report, "report") for one in found]


def install(run: Run, device: Site) -> int:
    return run("agent", "install", "--yes", "--config", device.path)[0]


def test_each_round_is_reported_with_what_runs_and_what_was_taken_back(
    maker: Maker, device: Site, run: Run, tmp_path: Path
) -> None:
    first = maker.release("1.0.0", 1)
    maker.offer(first)
    assert install(run, device) == 0
    second = maker.release("1.1.0", 2)
    maker.offer(second)
    (tmp_path / "ill").write_bytes(b"")
    assert install(run, device) == 1
    (tmp_path / "ill").unlink()
    third = maker.release("1.2.0", 3)
    maker.offer(third)
    assert install(run, device) == 0
    told = reports(device)
    assert [one.number for one in told] == [1, 2, 3]
    assert [[(r.product, r.version, r.generation, r.manifest) for r in one.running] for one in told] == [
        [(PRODUCT, one.version, one.generation, one.manifest)] for one in (first, first, third)
    ]
    assert [[(e.outcome, e.release.version) for e in one.events] for one in told] == [
        [], [(Outcome.RETURNED, "1.1.0")], []
    ]  # fmt: skip
    assert {(one.device, one.group, one.channel) for one in told} == {("gw-17", "line-1", "production")}


def test_a_report_that_cannot_be_made_stops_no_installation(maker: Maker, device: Site, run: Run) -> None:
    (device.folder.parent / "home" / "home.toml").unlink()
    release = maker.release("1.0.0", 1)
    maker.offer(release)
    code, _, said = run("agent", "install", "--yes", "--config", device.path)
    assert (code, device.version) == (0, release.version)
    assert "it is not a signing home" in said


def test_a_device_tells_what_it_runs_though_its_repository_is_kept_from_it(
    maker: Maker, device: Site, run: Run, tmp_path: Path
) -> None:
    first = maker.release("1.0.0", 1)
    maker.offer(first)
    assert install(run, device) == 0
    maker.repository.folder.rename(tmp_path / "away")
    assert install(run, device) == 1
    assert [one.manifest for told in reports(device) for one in told.running] == [first.manifest] * 2


def test_what_an_agent_wrote_the_fleets_service_takes(maker: Maker, device: Site, run: Run, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert install(run, device) == 0
    made = fleet_house(tmp_path / "house")
    key = tmp_path / "home" / "certificates" / "report.pem"
    assert run("fleet", "device", "add", "gw-17", key, "line-1", "nordhof", "--config", made.configuration)[0] == 0
    with serving_fleet(made):
        where = ["--service", made.address, "--service-ca", made.ca]
        assert run("report", "send", "--spool", device.state / "reports", *where)[0] == 0
        (runs,) = made.look("status")["runs"]
        assert (runs["product"], runs["version"], runs["devices"]) == (PRODUCT, "1.0.0", 1)
