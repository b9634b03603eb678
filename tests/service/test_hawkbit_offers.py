"""What a service for hawkBit's clients takes over from a repository: never older than it or another replica saw, and nothing after an error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select, update

from kit.agents import NOW, PLACE, Maker
from kit.hawkbit import SWU, release_with
from kit.postgres import Postgres
from sealwright.errors import RepositoryRefused, SealwrightError
from sealwright.release.layout import product_path
from sealwright.service import hawkbitoffers
from sealwright.service.hawkbitoffers import RepositoryOffers
from sealwright.service.hawkbitregister import Entry, add, token_known
from sealwright.service.hawkbittables import SEEN, Updater
from sealwright.signing.stamps import utc_now
from sealwright.store.engine import Store, open_store

ENTRY = Entry(
    "plc-1",
    Updater.SWUPDATE,
    product_path(PLACE),
    "production",
    "line-1",
    "nordhof",
    token_known(b"a-token-of-its-own"),
)


@dataclass
class World:
    """A repository, and who reads it."""

    folder: Path
    maker: Maker
    store: Store
    told: list[dict[str, object]] = field(default_factory=list)

    def offers(self) -> RepositoryOffers:
        repository = self.maker.repository
        state = str(self.folder / "state")
        return RepositoryOffers(str(repository.folder), repository.root_digest, state, self.store, utc_now, self._log)

    def _log(self, line: object) -> None:
        assert isinstance(line, dict)
        self.told.append(line)


def names(offers: RepositoryOffers) -> list[str] | None:
    """The files that the device is offered; None where the repository is refused."""
    view = offers.current
    if view is None:
        return None
    offered = view.offered(ENTRY)
    return [one.name for one in offered.bundles] if offered is not None else []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    maker = Maker.at(tmp_path / "maker")
    maker.offer(release_with(maker, "1.0.0", 1, b"an archive"))
    with closing(open_store(f"sqlite:///{tmp_path}/hawkbit.db")) as store:
        add(store, ENTRY, NOW)
        yield World(tmp_path, maker, store)


def test_after_an_error_of_any_kind_nothing_is_offered_and_the_next_look_is_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = world.offers()
    offers.refresh()
    assert names(offers) == ["system.swu"]

    def broken(*_: object) -> None:
        raise KeyError("of somebody's library")

    world.maker.publish()
    with monkeypatch.context() as patched:
        patched.setattr(hawkbitoffers, "open_client", broken)
        offers.refresh()
    assert names(offers) is None
    assert world.told[-1]["event"] == "repository-refused"
    offers.refresh()
    assert names(offers) == ["system.swu"]
    # no folder for metadata
    os.rename(world.folder / "state", world.folder / "elsewhere")
    (world.folder / "state").write_text("")
    world.maker.publish()
    offers.refresh()
    assert names(offers) is None
    assert world.told[-1]["code"] == "SW-OUTPUT-REFUSED"
    os.unlink(world.folder / "state")
    offers.refresh()
    assert names(offers) == ["system.swu"]


def test_a_release_whose_files_have_one_name_is_offered_to_nobody(world: World) -> None:
    """By their names alone devices ask for them: one would be served in the other's place."""
    offers = world.offers()
    second = "[[component]]\nname = 'second'\npath = 'more/{}.swu'\n"
    for version, generation, name, offered in (
        ("1.1.0", 2, "other", ["system.swu", "other.swu"]),
        ("1.2.0", 3, "system", []),
    ):
        files = {"system.swu": b"an archive", f"more/{name}.swu": b"another"}
        maker = world.maker
        maker.offer(maker.release(version, generation, files=files, description=SWU + second.format(name)))
        offers.refresh()
        assert names(offers) == offered
    (refused,) = [one for one in world.told if one["event"] == "release-refused"]
    assert "one name" in str(refused["why"])


def test_of_two_replicas_the_one_with_an_older_copy_never_lowers_what_the_other_saw(
    tmp_path: Path, database_server: Postgres
) -> None:
    """A144: on PostgreSQL, where both write at once."""
    maker = Maker.at(tmp_path / "maker")
    maker.offer(release_with(maker, "1.0.0", 1, b"an archive"))
    url = database_server.database()
    ended: list[SealwrightError | None] = []

    def read_again(offers: RepositoryOffers) -> None:
        try:
            offers.check()
            ended.append(None)
        except SealwrightError as cause:
            ended.append(cause)

    with closing(open_store(url)) as store:
        add(store, ENTRY, NOW)
        older = World(tmp_path, maker, store).offers()
        read_again(older)
        assert ended == [None]
        with store.write() as connection:
            seen = connection.execute(select(SEEN).with_for_update()).all()
            connection.execute(update(SEEN).values(version=SEEN.c.version + 5))
            reader = threading.Thread(target=read_again, args=(older,))
            reader.start()
            database_server.until_waiting(url)
        reader.join()
        assert isinstance(ended[-1], RepositoryRefused)
        with store.read() as connection:
            after = {row.name: row.version for row in connection.execute(select(SEEN))}
    assert after == {row.name: row.version + 5 for row in seen}
