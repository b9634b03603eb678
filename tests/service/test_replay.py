"""A CI token is good once: after a restart, at another replica, and however many others there were."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, func, select

from kit.oidc import CiIssuer, rsa_key, serving
from kit.people import AUDIENCE, SUBJECT
from kit.pki import NOW
from kit.postgres import Postgres, postgres
from kit.signingservice import house, running
from sealwright.artifact.digest import Digest
from sealwright.errors import StoreUnavailable
from sealwright.service.replay import KEPT, StoredReplay
from sealwright.service.tables import TOKEN_FLOOR, TOKEN_USES
from sealwright.store.engine import Store, open_store

SECOND = timedelta(seconds=1)
END = NOW + timedelta(minutes=5)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.db"
    started: Postgres = request.getfixturevalue("server")
    return started.database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def used(replay: StoredReplay, name: str, issued: datetime = NOW, now: datetime = NOW) -> bool:
    return asyncio.run(replay.first_use(Digest.of(name.encode()), issued, issued + (END - NOW), now))


def rows(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(TOKEN_USES)).scalar_one()


def test_a_token_is_refused_by_a_service_that_started_again(store: Store) -> None:
    before = StoredReplay.open(store, NOW)
    assert [used(before, "one"), used(before, "one"), used(before, "two")] == [True, False, True]
    after = StoredReplay.open(store, NOW + SECOND)
    assert [used(after, "one"), used(after, "two"), used(after, "three")] == [False, False, True]


def test_of_many_replicas_that_get_one_token_one_takes_it(url: str) -> None:
    stores = [open_store(url) for _ in range(4)]
    replicas = [StoredReplay.open(one, NOW) for one in stores]
    with ThreadPoolExecutor(8) as threads:
        for turn in range(10):
            said = list(threads.map(lambda one, turn=turn: used(one, f"token {turn}"), replicas * 2))
            assert said.count(True) == 1
    for one in stores:
        one.close()


def test_what_was_issued_before_uses_were_known_is_refused(store: Store) -> None:
    replay = StoredReplay.open(store, NOW)
    assert [used(replay, "before", NOW - SECOND), used(replay, "since", NOW)] == [False, True]
    later = StoredReplay.open(store, NOW + timedelta(hours=1))
    assert used(later, "between", NOW + SECOND), "a restart forgets nothing"
    with store.write() as connection:
        connection.execute(delete(TOKEN_FLOOR))
    restored = StoredReplay.open(store, NOW + timedelta(hours=2))
    assert not used(restored, "may have been used after the backup", NOW + timedelta(minutes=90))
    assert used(restored, "new", NOW + timedelta(hours=2))


def test_a_clock_that_was_ahead_at_the_first_start_does_not_refuse_tokens_for_ever(store: Store) -> None:
    StoredReplay.open(store, NOW + timedelta(days=3650))
    replay = StoredReplay.open(store, NOW)
    assert [used(replay, "before", NOW - SECOND), used(replay, "now", NOW)] == [False, True]


def test_uses_have_an_end_and_a_bound(store: Store) -> None:
    replay = StoredReplay.open(store, NOW, most=3)
    assert [used(replay, str(number)) for number in range(5)] == [True, True, True, False, False]
    assert not used(replay, "once more", END, END + SECOND), "those that ended are kept for a while"
    assert used(replay, "a day later", END + KEPT, END + KEPT + 2 * SECOND)
    assert rows(store) == 1


def test_a_clock_that_was_ahead_for_an_hour_brings_no_token_back(store: Store) -> None:
    replay = StoredReplay.open(store, NOW, most=1)
    assert used(replay, "one")
    assert not used(replay, "other", NOW + timedelta(hours=1), NOW + timedelta(hours=1))
    assert not used(replay, "one")


def test_without_a_database_nobody_is_let_in_by_a_token(server: Postgres) -> None:
    url = server.database()
    opened = open_store(url)
    replay = StoredReplay.open(opened, NOW)
    assert used(replay, "one")
    server.stop("immediate")
    with pytest.raises(StoreUnavailable):
        used(replay, "two")
    server.start()
    assert [used(replay, "one"), used(replay, "two")] == [False, True]
    opened.close()


def test_a_real_service_refuses_after_its_restart_what_it_took_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house(tmp_path / "house")
    issuer = CiIssuer({"rsa-1": rsa_key()}, at=datetime.now(UTC))
    (tmp_path / "issuer").mkdir()
    with serving(issuer, tmp_path / "issuer") as keys:
        issuer.issuer = f"https://localhost:{keys.port}"
        monkeypatch.setenv("SSL_CERT_FILE", keys.ca_file)
        with made.configuration.open("a") as lines:
            lines.write(f'[[issuer]]\nkind = "gitlab"\naudience = "{AUDIENCE}"\naddress = "{issuer.issuer}"\n')
        with (made.folder / "people.toml").open("a") as lines:
            lines.write(
                f'[[machine]]\nid = "m1"\ntenant = "acme"\nowner = "max"\nroles = ["requester"]\n'
                f'[machine.oidc]\nissuer = "{issuer.issuer}"\naudience = "{AUDIENCE}"\nsubject = "{SUBJECT}"\n'
            )

        trusted = ssl.create_default_context(cafile=made.folder / "servers.pem")

        def asked(text: bytes) -> int:
            headers = {"authorization": f"Bearer {text.decode()}"}
            return httpx.get(f"{made.address}/v1/keys", headers=headers, verify=trusted).status_code

        with running(made):
            issuer.at = datetime.now(UTC) + SECOND  # a whole second that began after the service
            first, second = issuer.token(), issuer.token()
            assert [asked(first), asked(first)] == [200, 401]
        with running(made):
            assert [asked(first), asked(second), asked(second)] == [401, 200, 401]
    said = [json.loads(line) for line in (made.folder / "service.log").read_text().splitlines()]
    assert sum("used before" in str(line.get("why")) for line in said) == 3
