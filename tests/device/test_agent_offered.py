"""A fetch process that was taken over, and copies of metadata that went away: what the agent believes of an offer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import sealwright.device.offered  # noqa: F401  # it has the honest `seen_of` before one is exchanged
from kit.agents import NOW, Maker, Site, site
from sealwright.artifact.digest import Digest
from sealwright.device.agreed import Said
from sealwright.device.fetch import Ask
from sealwright.device.fetcher import Source
from sealwright.device.messages import Seen, Wanted
from sealwright.device.round import Doing
from sealwright.errors import AgentDamaged, InstallRefused, RepositoryRefused, RepositoryStale
from sealwright.release.channels import Named, Withdrawn


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def device(maker: Maker, tmp_path: Path) -> Site:
    return site(tmp_path / "device", maker)


def taken_over(patch: pytest.MonkeyPatch, says: Callable[[Seen], Seen]) -> None:
    """The fetch process says something else; the agent's own code stays."""
    import sealwright.device.fetch as fetching

    real = fetching.seen_of

    def lying(source: str, said: Said, offered: Named | None) -> Seen:
        return says(real(source, said, offered))

    patch.setattr(fetching, "seen_of", lying)


def _forgets(seen: Seen) -> Seen:
    return Seen(seen.source, seen.offered, (), seen.serial)


def _floods(seen: Seen) -> Seen:
    """So many, of so high generations, that the real ones would be forgotten."""
    made = tuple(Withdrawn(Named("9", 10**9 + n, Digest.of(b"%d" % n)), "X-1") for n in range(100))
    return Seen(seen.source, seen.offered, made, seen.serial)


def _offers_the_former(seen: Seen) -> Seen:
    return Seen(seen.source, Named("0.9.0", 1, Digest.of(b"0.9.0")), seen.withdrawn, seen.serial)


def _offers_nothing(seen: Seen) -> Seen:
    return Seen(seen.source, None, seen.withdrawn, seen.serial)


@pytest.mark.parametrize("says", [_forgets, _floods, _offers_the_former, _offers_nothing])
def test_a_fetch_process_that_was_taken_over_is_refused_and_the_device_forgets_nothing(
    maker: Maker, device: Site, monkeypatch: pytest.MonkeyPatch, says: Callable[[Seen], Seen]
) -> None:
    bad = maker.release("0.9.0", 1)
    maker.offer(bad)
    assert device.round(Doing.CHECK).outcome == "new"
    maker.withdraw(bad)
    maker.offer(maker.release("1.0.0", 2))
    with monkeypatch.context() as patch:
        taken_over(patch, says)
        with pytest.raises(RepositoryRefused, match="does not follow"):
            device.round()
    assert device.version == ""
    assert device.install() == "installed"
    with monkeypatch.context() as patch:
        taken_over(patch, says)
        with pytest.raises(RepositoryRefused, match="does not follow"):
            device.round()
    assert device.with_agent(lambda agent: agent.round(Doing.CHECK, lambda *_: True)).outcome == "nothing-new"


def test_a144_an_older_repository_is_refused_though_every_copy_of_its_metadata_is_gone(
    maker: Maker, device: Site, tmp_path: Path
) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    old = shutil.copytree(maker.repository.folder, tmp_path / "old")
    maker.publish()
    assert device.install() == "nothing-new"
    new = shutil.copytree(maker.repository.folder, tmp_path / "new")
    shutil.rmtree(maker.repository.folder)
    shutil.copytree(old, maker.repository.folder)
    for gone in ("fetch", "metadata"):
        shutil.rmtree(device.state / gone)
    with pytest.raises(RepositoryRefused, match="seen before"):
        device.round()
    shutil.rmtree(maker.repository.folder)
    shutil.copytree(new, maker.repository.folder)
    shutil.rmtree(device.state / "fetch")
    assert device.install() == "nothing-new"


def test_a147_what_was_noted_counts_no_longer_than_its_metadata(
    maker: Maker, device: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    assert device.install() == "nothing-new"
    said = Seen(str(maker.repository.folder), maker.offers[0].release, (), maker.serial)

    def lies_still(_source: Source, _wanted: Wanted, go_on: Ask, _plant: object) -> int:
        go_on(said)
        return -1

    with monkeypatch.context() as patch:
        patch.setattr("sealwright.device.fetch.fetch", lies_still)
        assert device.install() == "nothing-new"
        with pytest.raises(RepositoryStale):
            device.round(clock=lambda: NOW + timedelta(days=60))


def test_links_in_the_fetch_folder_are_not_followed(maker: Maker, device: Site, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    fetched = device.state / "fetch" / "metadata"
    shutil.copytree(fetched, tmp_path / "elsewhere")
    maker.publish()
    assert device.install() == "nothing-new"
    (fetched / "timestamp.json").unlink()
    (fetched / "timestamp.json").symlink_to(tmp_path / "elsewhere" / "timestamp.json")
    assert device.install() == "nothing-new"
    assert not (fetched / "timestamp.json").is_symlink(), "it was made anew"


@pytest.mark.parametrize("way", ["open", "link"])
def test_a150_a_link_to_the_release_that_others_could_turn_is_none(maker: Maker, tmp_path: Path, way: str) -> None:
    folder = tmp_path / "programs"
    folder.mkdir(mode=0o755)
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker, current=f'"{folder}/below/current"')
    if way == "open":
        (folder / "below").mkdir()
        (folder / "below").chmod(0o777)
    else:
        (tmp_path / "others").mkdir()
        (folder / "below").symlink_to(tmp_path / "others")
        os.chown(folder / "below", 65534, 65534, follow_symlinks=False)
    with pytest.raises(InstallRefused, match="not safe"):
        device.round()
    if way == "open":
        (folder / "below").chmod(0o755)
    else:
        os.chown(folder / "below", 0, 0, follow_symlinks=False)
    assert device.install() == "installed"
    assert (folder / "below" / "current").readlink().name == "1.0.0"


def test_a144_a_memory_that_is_empty_is_gone(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    memory = device.state / "memory" / "state.json"
    memory.rename(device.folder / "kept.json")
    with pytest.raises(AgentDamaged, match="memory is gone"):
        device.round()
    (device.folder / "kept.json").rename(memory)
    assert device.install() == "nothing-new"
