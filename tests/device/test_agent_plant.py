"""An agent that follows its maker's repository and its plant's beside it: what both have is installed, and neither speaks for the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from kit.agents import NOW, PLACE, Maker, Site, write_device_trust
from kit.plantrepo import BOTH, accepted, following
from kit.tufrepo import TufRepository
from sealwright.artifact.digest import Digest
from sealwright.device import agreed
from sealwright.device.agentfolder import MEMORY
from sealwright.device.agreed import Said, offered_to, seen_of
from sealwright.device.messages import Seen, Wanted
from sealwright.device.round import Doing
from sealwright.errors import InstallRefused, RepositoryRefused, RepositoryStale, RepositoryUnavailable, SealwrightError
from sealwright.release.channels import Channels, Named, Offer, Withdrawn
from sealwright.trust.state import read_state


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def plant(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "plant")


@pytest.fixture
def device(tmp_path: Path, maker: Maker, plant: Maker) -> Site:
    return following(tmp_path / "device", maker, plant)


def test_a_device_takes_what_its_plant_offers_of_its_makers_releases_and_when(
    maker: Maker, plant: Maker, device: Site
) -> None:
    first, second = maker.release("1.0.0", 1), maker.release("1.1.0", 2)
    maker.offer(first)
    plant.publish()
    assert device.install() == "nothing-offered"
    maker.offer(second)
    plant.offer(first, channel="pilot")
    assert device.install() == "nothing-offered", "another channel of the plant's"
    plant.offer(first)
    assert device.install() == "installed", "the maker offers a newer one by now, and still has this one"
    assert device.install() == "nothing-new"
    plant.offer(second)
    assert device.install() == "installed"
    assert device.version == "1.1.0"


def test_the_acceptance_comes_from_the_plants_repository_and_the_makers_signature_from_the_makers(
    maker: Maker, plant: Maker, tmp_path: Path
) -> None:
    release = maker.release("1.0.0", 1)
    maker.repository.put(f"{PLACE}/1.0.0.plant.manifest", b"the maker's own idea of an acceptance\n")
    maker.offer(release)
    plant.repository.put(f"{PLACE}/1.0.0.manifest.p7s", b"the plant's own idea of a signature\n")
    plant.offer(release)
    device = following(tmp_path / "device", maker, plant, BOTH)
    refused = device.round()
    assert (refused.outcome, device.version) == ("refused", "")
    accepted(plant, maker, release)
    plant.offer(release)
    assert device.install() == "installed"


def _other_manifest(_maker: Maker, plant: Maker, first: Named) -> None:
    plant.offer(replace(first, generation=3, manifest=Digest.of(b"another")))


def _nothing_of_the_maker(_maker: Maker, plant: Maker, _first: Named) -> None:
    plant.offer(plant.release("9.9.9", 9))


def _plant_frozen(_maker: Maker, plant: Maker, _first: Named) -> None:
    plant.let_end(NOW - timedelta(hours=1))


def _maker_frozen(maker: Maker, _plant: Maker, _first: Named) -> None:
    maker.let_end(NOW - timedelta(hours=1))


def _plant_gone(_maker: Maker, plant: Maker, _first: Named) -> None:
    shutil.rmtree(plant.repository.folder)


def _maker_gone(maker: Maker, _plant: Maker, _first: Named) -> None:
    shutil.rmtree(maker.repository.folder)


def _the_makers_in_the_plants_place(maker: Maker, plant: Maker, _first: Named) -> None:
    shutil.rmtree(plant.repository.folder)
    shutil.copytree(maker.repository.folder, plant.repository.folder)


def _roles_of_the_maker_among_the_plants(maker: Maker, plant: Maker, _first: Named) -> None:
    maker.publish()
    maker.publish()
    for role in ("timestamp.json", f"{maker.repository.snapshot.version}.snapshot.json"):
        shutil.copy(maker.repository.folder / "metadata" / role, plant.repository.folder / "metadata" / role)


def _name_that_leads_away(_maker: Maker, plant: Maker, _first: Named) -> None:
    path = b'{"kind":"sealwright channels 1","offers":["production ../../x 9 sha256:%s 100 *"],"product":"VX-200 drive","serial":9,"withdrawn":[]}'
    plant.repository.put(f"{PLACE}/channels.json", path % (b"ab" * 32))
    plant.repository.publish()


def _another_product(_maker: Maker, plant: Maker, first: Named) -> None:
    from sealwright.release.channels import channels_bytes

    other = Channels("VX-300 drive", 9, (Offer("production", first, 100, ()),), ())
    plant.repository.put(f"{PLACE}/channels.json", channels_bytes(other))
    plant.repository.publish()


Attack = Callable[[Maker, Maker, Named], None]
ATTACKS: list[tuple[Attack, type[SealwrightError], str]] = [
    (_other_manifest, RepositoryRefused, "has another drives/vx-200/1.0.0.manifest"),
    (_nothing_of_the_maker, RepositoryRefused, "has no drives/vx-200/9.9.9.manifest"),
    (_plant_frozen, RepositoryStale, "expired"),
    (_maker_frozen, RepositoryStale, "expired"),
    (_plant_gone, RepositoryUnavailable, "plant"),
    (_maker_gone, RepositoryUnavailable, "maker"),
    (_the_makers_in_the_plants_place, RepositoryRefused, "not what its keys signed"),
    (_roles_of_the_maker_among_the_plants, RepositoryRefused, "not what its keys signed"),
    (_name_that_leads_away, RepositoryRefused, "not readable"),
    (_another_product, RepositoryRefused, "is VX-300 drive there"),
]


def test_mixed_frozen_foreign_and_missing_repositories_are_refused_and_the_device_keeps_what_it_has(
    maker: Maker, plant: Maker, device: Site
) -> None:
    first, second = maker.release("1.0.0", 1), maker.release("1.1.0", 2)
    maker.offer(first, second)
    plant.offer(first)
    assert device.install() == "installed"
    both = (maker, plant)
    good = [(one.repository.folder, shutil.copytree(one.repository.folder, one.folder / "good")) for one in both]
    for attack, error, said in ATTACKS:
        attack(maker, plant, first)
        with pytest.raises(error, match=said):
            device.round()
        assert device.version == "1.0.0", attack.__name__
        for folder, copy in good:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(copy, folder)
        maker.offer(first, second)
        plant.offer(first)
        assert device.install() == "nothing-new", attack.__name__
    plant.offer(second)
    assert device.install() == "installed"


@pytest.mark.parametrize("who", ["maker", "plant"])
def test_either_repository_set_back_is_refused_though_every_copy_of_its_metadata_is_gone(
    maker: Maker, plant: Maker, device: Site, tmp_path: Path, who: str
) -> None:
    release = maker.release("1.0.0", 1)
    maker.offer(release)
    plant.offer(release)
    assert device.install() == "installed"
    one = maker if who == "maker" else plant
    old = shutil.copytree(one.repository.folder, tmp_path / "old")
    one.publish()
    assert device.install() == "nothing-new"
    new = shutil.copytree(one.repository.folder, tmp_path / "new")
    shutil.rmtree(one.repository.folder)
    shutil.copytree(old, one.repository.folder)
    with pytest.raises(RepositoryRefused):
        device.round()
    for gone in ("fetch", "metadata", "metadata-plant"):
        shutil.rmtree(device.state / gone)
    with pytest.raises(RepositoryRefused, match="seen before"):
        device.round()
    shutil.rmtree(one.repository.folder)
    shutil.copytree(new, one.repository.folder)
    shutil.rmtree(device.state / "fetch")
    assert device.install() == "nothing-new"


@pytest.mark.parametrize("who", ["maker", "plant"])
def test_what_either_withdrew_is_offered_no_more_and_the_device_remembers_it(
    maker: Maker, plant: Maker, device: Site, tmp_path: Path, who: str
) -> None:
    release = maker.release("1.0.0", 1)
    maker.offer(release)
    plant.offer(release)
    assert device.round(Doing.CHECK).outcome == "new"
    (maker if who == "maker" else plant).withdraw(release)
    assert device.install() == "nothing-offered"
    assert [one.release for one in _withdrawn(device)] == [release]


def _withdrawn(device: Site) -> tuple[Withdrawn, ...]:
    from sealwright.device.agent import looking_at

    return looking_at(device.config).state.withdrawn


def test_a_plants_listing_makes_no_release_of_what_its_maker_did_not_sign(
    maker: Maker, plant: Maker, device: Site
) -> None:
    release = maker.release("1.0.0", 1, signer=plant.signer)
    maker.offer(release)
    plant.offer(release)
    done = device.round()
    assert (done.outcome, device.version) == ("refused", "")
    good = maker.release("1.0.1", 2)
    maker.offer(good)
    plant.offer(replace(good, generation=3))
    done = device.round()
    assert (done.outcome, device.codes(done)) == ("refused", ["SW-AGENT-OTHER-RELEASE"])
    plant.offer(good)
    assert device.install() == "installed"


def test_files_may_lie_at_either_and_the_makers_metadata_says_what_they_are(
    maker: Maker, plant: Maker, device: Site
) -> None:
    release = maker.release("1.0.0", 1)
    maker.offer(release)
    plant.offer(release)
    (there,) = (maker.repository.folder / f"targets/{PLACE}/1.0.0/application").iterdir()
    data = there.read_bytes()
    here = plant.repository.folder / there.relative_to(maker.repository.folder)
    here.parent.mkdir(parents=True)
    there.unlink()
    with pytest.raises(RepositoryUnavailable):
        device.round()
    here.write_bytes(data[:-1] + b"X")
    with pytest.raises((RepositoryRefused, RepositoryUnavailable)):
        device.round()
    here.write_bytes(data)
    assert device.install() == "installed"


@pytest.mark.parametrize("role", ["timestamp", "drives"])
def test_two_repositories_with_a_key_in_common_are_not_two(
    maker: Maker, plant: Maker, tmp_path: Path, role: str
) -> None:
    shared = Maker.at(tmp_path / "shared")
    key, its = maker.repository.signers[role], shared.repository
    above = its.root if role == "timestamp" else its.targets
    above.revoke_key(its.signers[role].public_key.keyid, role)
    above.add_key(key.public_key, role)
    its.signers[role] = key
    its.first_root = its.write_root()
    release = maker.release("1.0.0", 1)
    for one in (maker, plant, shared):
        one.offer(release)
    with pytest.raises(RepositoryRefused, match="a key in common"):
        following(tmp_path / "one", maker, shared).round()
    assert following(tmp_path / "two", maker, plant).install() == "installed"


def test_a_plants_repository_counts_only_by_the_root_that_the_trust_file_names(
    maker: Maker, plant: Maker, device: Site, tmp_path: Path
) -> None:
    release = maker.release("1.0.0", 1)
    for one in (maker, plant):
        one.offer(release)
    named = device.folder / "trust.toml"
    kept = {path: path.read_bytes() for path in device.folder.glob("trust.toml*")}
    write_device_trust(device.folder, maker)
    with pytest.raises(InstallRefused, match=r"no \[\[repository\]\] `nordhof`"):
        device.round()
    other = TufRepository(tmp_path / "other", NOW)
    write_device_trust(device.folder, maker, repository=[{"name": "nordhof", "root": str(other.root_digest)}])
    with pytest.raises(RepositoryRefused, match="the trust file names"):
        device.round()
    for path, data in kept.items():
        path.write_bytes(data)
    assert named.exists()
    assert device.install() == "installed"


def test_a_fetch_process_that_was_taken_over_cannot_leave_the_plant_out(
    maker: Maker, plant: Maker, device: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = maker.release("1.0.0", 1)
    maker.offer(release)
    plant.publish()
    assert device.round(Doing.CHECK).outcome == "nothing-offered"
    import sealwright.device.fetch as fetching

    def alone(source: str, said: Said, _offered: Named | None) -> Seen:
        return seen_of(source, Said(said.maker), release)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "seen_of", alone)
        patch.setattr(fetching, "offered_to", lambda *_: release)
        plant.publish()
        with pytest.raises(RepositoryRefused, match="does not follow"):
            device.round()
    plant.offer(release)
    assert device.install() == "installed"


def _channels(*offers: Named, withdrawn: tuple[Named, ...] = ()) -> Channels:
    gone = tuple(Withdrawn(one, "CVE-1") for one in withdrawn)
    return Channels("VX-200 drive", 1, tuple(Offer("production", one, 100, ()) for one in offers), gone)


def test_a_release_that_a_permit_is_for_may_be_one_that_the_plant_did_not_accept(device: Site) -> None:
    old, new = Named("1", 1, Digest.of(b"1")), Named("2", 2, Digest.of(b"2"))
    plain = Wanted(device.config, Digest.of(b""), NOW, frozenset())
    permitted = replace(plain, permitted=frozenset({new.manifest}))
    said = Said(_channels(old), _channels(new))
    assert offered_to(said, plain) == old
    assert offered_to(said, permitted) == new
    assert offered_to(Said(_channels(old, withdrawn=(new,)), _channels(new)), permitted) == old


def test_neither_list_of_withdrawals_pushes_out_the_other() -> None:
    flood = tuple(Named(f"9.{n}", 1000 + n, Digest.of(b"%d" % n)) for n in range(300))
    one = Named("1", 1, Digest.of(b"one"))
    told = seen_of("x", Said(_channels(withdrawn=flood), _channels(withdrawn=(one,))), None).withdrawn
    assert one in [each.release for each in told]
    assert len(told) <= agreed.MAX_TOLD


def roots_seen(device: Site) -> list[int]:
    """The versions of both repositories' roots that the verifier's memory knows, sorted."""
    kept = read_state(str(device.state / MEMORY)).lists
    return sorted(number for name, number in kept.items() if name.startswith("tuf root "))


@pytest.mark.parametrize("who", ["maker", "plant"])
def test_a_new_root_of_either_counts_though_no_new_timestamp_came_with_it(
    maker: Maker, plant: Maker, device: Site, who: str
) -> None:
    """A stolen timestamp key that the root ends: whoever has it and hides that root is refused from then on."""
    release = maker.release("1.0.0", 1)
    maker.offer(release)
    plant.offer(release)
    assert device.install() == "installed"
    assert roots_seen(device) == [1, 1]
    repository = (maker if who == "maker" else plant).repository
    thief = repository.signers["timestamp"]
    repository.signers["timestamp"] = CryptoSigner.generate_ecdsa()
    repository.root.revoke_key(thief.public_key.keyid, "timestamp")
    repository.root.add_key(repository.signers["timestamp"].public_key, "timestamp")
    repository.root.version += 1
    repository.write_root()
    with pytest.raises(RepositoryRefused):
        device.round()
    assert roots_seen(device) == [1, 2]
    (repository.folder / "metadata/2.root.json").unlink()
    new, repository.signers["timestamp"] = repository.signers["timestamp"], thief
    repository.publish()
    for gone in ("fetch", "metadata", "metadata-plant"):
        shutil.rmtree(device.state / gone)
        with pytest.raises(RepositoryRefused):
            device.round()
    repository.signers["timestamp"] = new
    repository.write_root()
    repository.publish()
    shutil.rmtree(device.state / "fetch")
    assert device.install() == "nothing-new"
