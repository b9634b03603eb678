"""A plant accepts at once all that a channel of its maker's repository offers, and publishes the acceptances in a repository of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.nginx import nginx
from kit.repository import PRODUCT, begun, fetched, folder_client, home_in, make_home, now, published, repository
from sealwright.release.catalogue import channels_of, release_of
from sealwright.release.channels import Offer
from sealwright.release.intake import put_channels
from sealwright.release.offers import Wanted, promoted
from sealwright.release.staging import Staging
from sealwright.signing.home import Home

Run = Callable[..., tuple[int, str, str]]
VERSIONS = (("1.4.1", 6), ("1.4.2", 7), ("1.4.3", 8))


def offered(staging: Staging, home: Home, *versions: str) -> None:
    """Offer releases in the pilot channel to one group each, so that one ends no other's offer."""
    for version in versions:
        channels = channels_of(staging, PRODUCT)
        assert channels is not None
        offer = Offer("pilot", release_of(staging, PRODUCT, version).named, 100, (f"g-{version.replace('.', '-')}",))
        put_channels(staging, PRODUCT, promoted(channels, Wanted(offer, {})), now())
    published(staging, home)


def trusting(run: Run, plant: Home, maker: Home, root: str) -> Path:
    """The plant's trust file: the maker, the plant's own acceptance beside, and the maker's repository."""
    trust = Path(plant.path("trust.toml"))
    key = maker.path("certificates", "release.pem")
    rule = [
        "drives",
        "--environment",
        "development",
        "--anchor",
        "acme",
        "--plant",
        "root",
        "--plant-person",
        "release-engineer",
    ]
    assert run("trust", "new", "--next", trust)[0] == 0
    for words in (
        ["anchor", maker.path("ca.pem"), "--name", "acme", "--environment", "development"],
        ["person", "acme-1", "--organisation", "ACME", "--certificate", key],
        ["rule", *rule],
    ):
        assert run("trust", "add", trust, *words)[0] == 0
    first, _, rest = trust.read_text().partition("\n")
    trust.write_text(f'{first}\ntuf_root = "{root}"\n{rest}')
    assert run("trust", "sign", trust, "--home", plant.folder, "--person", "officer")[0] == 0
    return trust


@pytest.mark.parametrize("how", ["folder", "server"])
def test_everything_that_a_channel_offers_is_accepted_at_once(tmp_path: Path, run: Run, how: str) -> None:
    maker, plant = home_in(tmp_path), make_home(tmp_path / "plant")
    staging = repository(tmp_path, maker, *VERSIONS)
    offered(staging, maker, "1.4.1", "1.4.2")
    trust = trusting(run, plant, maker, str(staging.settings.root))
    desk = begun(tmp_path / "plant-desk", plant)
    published(desk, plant)
    into = tmp_path / "received"

    def accepted(place: str) -> tuple[int, str, str]:
        return run(
            "release", "accept", "--all", "pilot", "--repository", place, "--product", PRODUCT, "--into", into,
            "--desk", desk.folder, "--promote", "production", "--home", plant.folder, "--trust", trust, "--timestamp", "none", "--json",
        )  # fmt: skip

    public = tmp_path / "desk/public"
    with nginx(public, tmp_path / "nginx") as url:
        place = url if how == "server" else str(public)
        code, said, told = accepted(place)
        assert code == 0, told
        outcomes = [json.loads(line)["outcome"] for line in said.splitlines()]
        assert outcomes == ["accepted", "accepted", "staged", "promoted"]
        newest = into / str(PRODUCT) / "1.4.2"
        assert run("verify", newest, "--trust", trust)[0] == 0
        offered(staging, maker, "1.4.3")
        code, said, told = accepted(place)
        assert code == 0, told
        lines = [json.loads(line) for line in said.splitlines()]
        assert [one["outcome"] for one in lines] == ["compared", "accepted", "staged", "promoted"]
        assert (lines[0]["before"], lines[2]["acceptances"]) == (str(newest), 1)
        code, said, _ = accepted(place)
        assert (code, json.loads(said)["acceptances"]) == (0, 0)
    published(Staging(desk.folder), plant)
    updater = folder_client(tmp_path / "client", desk)
    for version, _ in VERSIONS:
        name = f"{version}.plant.manifest"
        assert fetched(updater, f"{PRODUCT}/{name}") == (into / str(PRODUCT) / name).read_bytes()
    assert fetched(updater, PRODUCT.manifest("1.4.2")) == Path(f"{newest}.manifest").read_bytes()
    assert updater.get_targetinfo(f"{PRODUCT}/1.4.2/application/fw.bin") is None
    channels = channels_of(Staging(desk.folder), PRODUCT)
    assert channels is not None
    assert [(one.channel, one.release.version) for one in channels.offers] == [("production", "1.4.3")]


def test_a_repository_that_the_trust_file_does_not_name_is_not_accepted_from(tmp_path: Path, run: Run) -> None:
    maker, plant = home_in(tmp_path), make_home(tmp_path / "plant")
    staging = repository(tmp_path, maker, VERSIONS[1])
    offered(staging, maker, "1.4.2")
    trust = trusting(run, plant, maker, f"sha256:{'ab' * 32}")
    words = (
        "release",
        "accept",
        "--all",
        "pilot",
        "--product",
        PRODUCT,
        "--into",
        tmp_path / "in",
        "--home",
        plant.folder,
    )
    code, _, said = run(*words, "--repository", tmp_path / "desk/public", "--trust", trust)
    assert (code, "its first root is" in said) == (1, True)
    code, _, said = run(*words, "--repository", tmp_path / "desk/public", "--trust", maker.path("trust.toml"))
    assert (code, "it names no repository" in said) == (2, True)
    code, _, said = run(*words, "--trust", trust)
    assert (code, "--repository" in said) == (2, True)


def test_a_repository_that_is_set_back_is_not_accepted_from(tmp_path: Path, run: Run) -> None:
    """What was withdrawn meanwhile would be offered again, by a state of the repository that has not ended yet."""
    maker, plant = home_in(tmp_path), make_home(tmp_path / "plant")
    staging, public = repository(tmp_path, maker, VERSIONS[1]), tmp_path / "desk/public"
    offered(staging, maker, "1.4.2")
    trust = trusting(run, plant, maker, str(staging.settings.root))
    words: list[object] = ["--repository", public, "--product", PRODUCT, "--into", tmp_path / "in", "--dry-run"]
    words += ["--home", plant.folder, "--trust", trust]
    assert run("release", "accept", "--all", "pilot", *words)[0] == 0
    shutil.copytree(public, tmp_path / "old")
    assert run("release", "withdraw", staging.folder, PRODUCT, "1.4.2", "--advisory", "CVE-2026-1234")[0] == 0
    published(Staging(staging.folder), maker)
    assert run("release", "accept", "--all", "pilot", *words)[0] == 0
    public.rename(tmp_path / "new")
    (tmp_path / "old").rename(public)
    assert run("release", "accept", "--all", "pilot", *words)[0] == 1
    public.rename(tmp_path / "old")
    (tmp_path / "new").rename(public)
    assert run("release", "accept", "--all", "pilot", *words)[0] == 0
