"""Permits at the agent: a signed one lets this device go back, once and for some hours; never to what was altered, denied or withdrawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kit.agents import NOW, PLAIN, PRODUCT, PURPOSES, Maker, Site, site
from kit.permits import ANY, permit_for, write_permit
from kit.pki import person_key
from kit.trust import OFFICER, RECOVERY, RULE, person
from sealwright.artifact.permit import Permit
from sealwright.cli.main import main
from sealwright.device.agent import agent_at
from sealwright.device.permitted import permits_of
from sealwright.device.round import Doing, Round, Seams
from sealwright.release.channels import Named, Offer
from sealwright.trust.state import read_state

ONE, TWO = person_key(), person_key()
PEOPLE = [
    person("olga", OFFICER),
    person("rolf", RECOVERY),
    *(person(name, organisation="Plant") for name in ("p-3", "p-4")),
    person("p-1", ONE, organisation="Plant"),
    person("p-2", TWO, organisation="Plant"),
]
HOUR = timedelta(hours=1)


def permitted(release: Named, **changes: object) -> Permit:
    """A permit of person p-1 for this device and release, good now."""
    made = permit_for(release.manifest, f"{release.version}.manifest", begins=NOW - HOUR, until=NOW + 7 * HOUR)
    return replace(made, **{"device": "gw-17", **changes})  # type: ignore[arg-type]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def device(tmp_path: Path, maker: Maker) -> Site:
    """It has 1.1.0, which enforces its generation; 1.0.0 is offered in a channel that it is not in."""
    changes = {"person": PEOPLE, "permit": [dict(ANY)], "rule": [{**RULE, **PURPOSES}]}
    made = site(tmp_path / "device", maker, trust=changes)
    new = maker.release("1.1.0", 2, description=PLAIN.replace("\n", "\nenforces = 2\n", 1))
    maker.offer(new)
    assert made.install() == "installed"
    return made


@pytest.fixture
def old(maker: Maker, device: Site) -> Named:
    release = maker.release("1.0.0", 1)
    maker.offers.append(Offer("archive", release, 100, ()))
    maker.publish()
    return release


def by(device: Site, path: Path) -> Round:
    with agent_at(device.config, Seams(permits_of([str(path)]))) as agent:
        return agent.round(Doing.NOW, lambda *_: True)


def test_a_permit_leads_back_below_the_floor_once(device: Site, old: Named, tmp_path: Path) -> None:
    assert device.install() == "nothing-new"
    path = write_permit(tmp_path / "permits", permitted(old), p_1=ONE)
    done = by(device, path)
    assert (done.outcome, device.version) == ("installed", "1.0.0"), device.codes(done)
    assert done.verdict is not None
    assert done.verdict.permitted is not None
    known = read_state(str(device.state / "memory"))
    assert (known.generations, len(known.permits)) == ({PRODUCT: 2}, 1)
    # what was left is not installed again by itself, and the permit is used up
    assert device.codes(device.round()) == ["SW-AGENT-FAILED-BEFORE"]
    assert device.round(Doing.AGAIN).outcome == "installed"
    assert by(device, path).outcome == "refused"
    assert device.version == "1.1.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "gw-18"},
        {"begins": NOW - 9 * HOUR, "until": NOW - HOUR},
        {"persons": ("p-2",)},
        {},
    ],
    ids=["another device", "hours that are over", "signed by another person", "unsigned"],
)
def test_a_permit_for_something_else_changes_nothing(
    device: Site, old: Named, tmp_path: Path, changes: dict[str, object]
) -> None:
    signers = {"p_1": ONE} if changes else {}
    path = write_permit(tmp_path / "permits", permitted(old, **changes), **signers)
    done = by(device, path)
    assert (done.outcome, device.version) == ("refused", "1.1.0")
    assert "SW-GENERATION-OLD" in device.codes(done)
    assert by(device, write_permit(tmp_path / "good", permitted(old), p_1=ONE)).outcome == "installed"


def test_no_permit_makes_a_withdrawn_or_denied_release_good(
    maker: Maker, device: Site, old: Named, tmp_path: Path
) -> None:
    path = write_permit(tmp_path / "permits", permitted(old), p_1=ONE)
    maker.offers = [offer for offer in maker.offers if offer.release != old]
    maker.withdraw(old)
    assert by(device, path).outcome == "nothing-new"
    assert device.version == "1.1.0"
    other = maker.release("1.0.5", 1)
    maker.offers.append(Offer("archive", other, 100, ()))
    maker.publish()
    assert by(device, write_permit(tmp_path / "other", permitted(other), p_1=ONE)).outcome == "installed"


def test_the_command_says_that_it_was_by_permit_only(
    device: Site, old: Named, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_permit(tmp_path / "permits", permitted(old), p_1=ONE)
    words = ["agent", "install", "--yes", "--now", "--permit", str(path), "--config", str(device.path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("INSTALL BY PERMIT ONLY")
    assert "1.0.0 (generation 1) is installed and works" in said
