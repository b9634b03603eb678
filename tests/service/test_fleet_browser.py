"""The fleet's page in a real browser: the numbers, names that are only text, nothing asked for and nothing run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.browser import browser
from kit.fleet import NOW, FleetDevice, FleetHouse, fleet_house, manifest, release, serving_fleet
from sealwright.artifact.report import OnDevice

HOSTILE = (
    "<script>document.title='RAN'</script>",
    "<img src=http://evil.example/stolen onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "&lt;b&gt;",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetHouse]:
    device = FleetDevice("gw-1")
    made = fleet_house(tmp_path_factory.mktemp("house"), devices=[device])
    running = [OnDevice(name, name, 7, manifest(name, 7), NOW) for name in HOSTILE]
    running.append(release("VX-200 drive", 7))
    with serving_fleet(made):
        told = made.post(device.report(*sorted(running, key=lambda one: one.product)))
        assert told == (200, ["taken"])
        yield made


def test_the_page_shows_what_devices_say_as_text_and_asks_for_nothing(service: FleetHouse, tmp_path: Path) -> None:
    status, page = service.curl("/fleet", name="ada")
    assert status == 200
    (tmp_path / "fleet.html").write_bytes(page)
    with browser(tmp_path) as opened:
        shown = opened.dom((tmp_path / "fleet.html").as_uri())
        assert opened.requests == []
        assert opened.console == []
    assert "<title>The fleet</title>" in shown
    assert "1 devices: 0 without a report" in shown
    assert "VX-200 drive" in shown
    for tag in ("<script", "<img", "<svg", "<b>"):
        assert tag not in shown
    assert "&lt;script&gt;" in shown


def test_what_a_browser_may_do_with_the_page_is_nothing(service: FleetHouse) -> None:
    status, told = service.curl("/fleet", "-D", "-", name="olaf")
    head = told.partition(b"\r\n\r\n")[0].decode().lower()
    assert status == 200
    assert "content-security-policy: default-src 'none'" in head
    assert "frame-ancestors 'none'" in head
    assert "cache-control: no-store" in head
    assert service.curl("/fleet")[0] == 401
    assert service.curl("/fleet", name="max")[0] == 404
    assert service.curl("/fleet?a=b", name="ada")[0] == 400
