"""An agent takes its releases from a repository that `sealwright release` publishes: installed, followed, and no more once withdrawn."""

from __future__ import annotations

from pathlib import Path

from kit.agents import Maker, site
from kit.plantrepo import NAME
from kit.repository import PRODUCT, begun, home_in, make_home, now, published
from sealwright.release.catalogue import channels_of, release_of
from sealwright.release.channels import Offer
from sealwright.release.intake import add_acceptances, add_releases, put_channels
from sealwright.release.offers import Wanted, promoted, withdrawn
from sealwright.release.promoting import promote_newest
from sealwright.release.staging import Staging
from sealwright.signing.home import Home
from sealwright.trust.belief import load_trust


def released(staging: Staging, home: Home, maker: Maker, trust: Path, version: str, generation: int) -> None:
    """Sign, take in, offer to production and publish."""
    maker.release(version, generation)
    add_releases(staging, [str(maker.folder / "made" / version)], PRODUCT, load_trust(str(trust)), now())
    channels = channels_of(staging, PRODUCT)
    assert channels is not None
    offer = Offer("production", release_of(staging, PRODUCT, version).named, 100, ())
    put_channels(staging, PRODUCT, promoted(channels, Wanted(offer, {})), now())
    published(staging, home)


def test_an_agent_installs_what_release_publishes_and_leaves_what_was_withdrawn(tmp_path: Path) -> None:
    home, maker = home_in(tmp_path), Maker.at(tmp_path / "maker")
    staging = begun(tmp_path / "desk", home)
    published(staging, home)
    device = site(
        tmp_path / "device",
        maker,
        trust={"tuf_root": str(staging.settings.root)},
        repositories=f'["{staging.folder}/public"]',
    )
    trust = tmp_path / "device/trust.toml"
    released(staging, home, maker, trust, "1.4.2", 7)
    device.install()
    assert device.version == "1.4.2"
    released(staging, home, maker, trust, "1.4.3", 8)
    channels = channels_of(staging, PRODUCT)
    assert channels is not None
    put_channels(
        staging, PRODUCT, withdrawn(channels, release_of(staging, PRODUCT, "1.4.3").named, "CVE-2026-1"), now()
    )
    published(staging, home)
    device.install()
    assert device.version == "1.4.2"
    released(staging, home, maker, trust, "1.4.4", 9)
    device.install()
    assert device.version == "1.4.4"


def test_an_agent_follows_a_plants_repository_that_release_keeps_beside_its_makers(tmp_path: Path) -> None:
    home, plant_home, maker = home_in(tmp_path), make_home(tmp_path / "plant-home"), Maker.at(tmp_path / "maker")
    staging, desk = begun(tmp_path / "desk", home), begun(tmp_path / "plant-desk", plant_home)
    published(staging, home)
    published(desk, plant_home)
    device = site(
        tmp_path / "device",
        maker,
        extra=f'[plant]\nrepository = "{NAME}"\nrepositories = ["{desk.folder}/public"]\n',
        trust={
            "tuf_root": str(staging.settings.root),
            "repository": [{"name": NAME, "root": str(desk.settings.root)}],
        },
        repositories=f'["{staging.folder}/public"]',
    )
    trust = tmp_path / "device/trust.toml"

    def accepted(version: str) -> None:
        folder = str(maker.folder / "made" / version)
        add_acceptances(desk, [folder], PRODUCT, load_trust(str(trust)), now())
        assert promote_newest(desk, PRODUCT, "production", now())
        published(desk, plant_home)

    released(staging, home, maker, trust, "1.4.2", 7)
    assert device.install() == "nothing-offered"
    accepted("1.4.2")
    assert device.install() == "installed"
    released(staging, home, maker, trust, "1.4.3", 8)
    assert device.install() == "nothing-new"
    accepted("1.4.3")
    assert device.install() == "installed"
    assert device.version == "1.4.3"
