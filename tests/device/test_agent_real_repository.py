"""An agent takes its releases from a repository that `sealwright release` publishes: installed, followed, and no more once withdrawn."""

from __future__ import annotations

from pathlib import Path

from kit.agents import Maker, site
from kit.repository import PRODUCT, begun, home_in, now, published
from sealwright.release.catalogue import channels_of, release_of
from sealwright.release.channels import Offer
from sealwright.release.intake import add_releases, put_channels
from sealwright.release.offers import Wanted, promoted, withdrawn
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
