"""A stolen timestamp key that a new root ends: the device takes the root whenever it looks, and never the thief's word again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from kit.agents import Maker, Site, site
from sealwright.device.agentfolder import MEMORY
from sealwright.device.round import Doing
from sealwright.errors import RepositoryRefused
from sealwright.trust.state import read_state


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def device(maker: Maker, tmp_path: Path) -> Site:
    made = site(tmp_path / "device", maker)
    maker.offer(maker.release("1.0.0", 1))
    assert made.install() == "installed"
    return made


def new_key(maker: Maker, role: str) -> CryptoSigner:
    """The root's next version, published alone: another key for a role; the former one."""
    repo = maker.repository
    former = repo.signers[role]
    repo.signers[role] = CryptoSigner.generate_ecdsa()
    repo.root.revoke_key(former.public_key.keyid, role)
    repo.root.add_key(repo.signers[role].public_key, role)
    repo.root.version += 1
    repo.write_root()
    return former


def withheld(maker: Maker, thief: CryptoSigner) -> None:
    """A server that hides the new root and offers what the stolen key signs."""
    repo = maker.repository
    (repo.folder / "metadata" / f"{repo.root.version}.root.json").unlink()
    repo.signers["timestamp"] = thief
    repo.publish()


def root_seen(device: Site) -> int:
    (version,) = (
        number for name, number in read_state(str(device.state / MEMORY)).lists.items() if name.startswith("tuf root ")
    )
    return version


def test_a_new_root_counts_though_no_new_timestamp_came_with_it(maker: Maker, device: Site) -> None:
    thief = new_key(maker, "timestamp")
    with pytest.raises(RepositoryRefused):
        device.round()
    assert root_seen(device) == 2
    withheld(maker, thief)
    for gone in ("fetch", "metadata"):
        shutil.rmtree(device.state / gone)
        with pytest.raises(RepositoryRefused):
            device.round()
    assert device.version == "1.0.0"


def test_a_thief_whose_root_was_not_replaced_is_believed_and_the_new_timestamp_ends_that(
    maker: Maker, device: Site
) -> None:
    thief = maker.repository.signers["timestamp"]
    maker.repository.publish()
    assert device.install() == "nothing-new"
    new_key(maker, "timestamp")
    with pytest.raises(RepositoryRefused):
        device.round()
    maker.offer(maker.release("1.0.1", 2))
    assert device.install() == "installed"
    withheld(maker, thief)
    shutil.rmtree(device.state / "fetch")
    with pytest.raises(RepositoryRefused):
        device.round()


def test_a_check_takes_a_new_root_with_the_same_timestamp(maker: Maker, device: Site) -> None:
    assert device.round(Doing.CHECK).outcome == "nothing-new"
    maker.repository.root.version += 1
    maker.repository.write_root()
    assert device.round(Doing.CHECK).outcome == "nothing-new"
    assert root_seen(device) == 2
    assert device.round(Doing.CHECK).outcome == "nothing-new"
