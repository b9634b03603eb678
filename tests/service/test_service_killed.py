"""kill -9 of the service, of token workers, of PostgreSQL and of replicas, at random instants under load: nothing is lost, doubled or unlogged.

What a client was given is in the log with a proof that holds, every checkpoint that was seen is a beginning of the last one, and no
artifact is signed twice. These tests take half a minute to a minute and a half each: they start real services many times, on a machine that does other things.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kit.killable import Killable, add_key, until
from kit.postgres import Postgres, postgres
from kit.servicefaults import Books, Reckoning, load, log_key_of, reckoning, replicas_of
from kit.signingservice import House, house
from kit.tokens import PIN, make_token
from sealwright.artifact.digest import Digest

ROUNDS = 3
STALLED_S = 120.0  # what was stopped within a transaction keeps its locks for half a minute


@pytest.fixture
def token_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """With a key in a token of its own, two workers."""
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path / "token", "killed")))
    made = house(tmp_path / "house")
    add_key(made, "line", "pkcs11:token=killed;object=line", PIN, workers=2)
    return made


def kill_a_worker(service: Killable) -> None:
    for pid in service.workers[:1]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check(reckoned: Reckoning, books: Books) -> None:
    sys.stdout.write(f"{reckoned}\n")
    assert books.surprises == []
    assert reckoned.in_order


def test_a133_a_service_killed_again_and_again_loses_doubles_and_hides_nothing(token_house: House) -> None:
    service, books, chance = Killable(token_house, token_house.configuration), Books(), random.Random(os.urandom(8))
    try:
        service.start()
        with load([service], books, key="line"):
            for _ in range(ROUNDS):
                time.sleep(chance.uniform(0.3, 1.5))
                kill_a_worker(service)
                time.sleep(chance.uniform(0.0, 1.0))
                service.kill()
                service.start()
        service.stop()
    finally:
        service.end()
    url, key = f"sqlite:///{token_house.folder}/service.db", log_key_of(token_house)
    check(reckoning(books, url, key), books)
    first, second = books.answered[:2]  # and what would not be in order is counted
    books.answered[:2] = [replace(first, value=second.value), replace(second, artifact=Digest.of(b"another"))]
    books.acknowledged.add("0" * 64)
    reckoned = reckoning(books, url, key)
    assert (reckoned.unlogged, reckoned.lost) == (2, 1)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """One that this test alone has, and kills."""
    with postgres() as running:
        yield running


def test_a133_two_replicas_whose_database_and_processes_are_killed_lose_double_and_hide_nothing(
    token_house: House, server: Postgres
) -> None:
    made, url, books = token_house, server.database(), Books()
    chance = random.Random(os.urandom(8))
    replicas = replicas_of(made, url, ("one", "two"))
    one, two = replicas
    try:
        for replica in replicas:
            replica.start()
        with load(replicas, books, key="line"):
            time.sleep(chance.uniform(0.5, 2.0))
            server.stop("immediate")
            server.start()
            time.sleep(chance.uniform(0.5, 2.0))
            kill_a_worker(two)
            one.kill()
            let_leases_run_out(server, url)
            time.sleep(chance.uniform(0.5, 1.5))
            one.start()
            stand_still(two, server, url)
            time.sleep(chance.uniform(0.5, 1.5))
        for replica in replicas:
            replica.stop()
        check(reckoning(books, url, log_key_of(made)), books)
    finally:
        for replica in replicas:
            replica.end()


def let_leases_run_out(server: Postgres, url: str) -> None:
    """As if half a minute had passed for who does not say that it lives; those that do say so again within five seconds."""
    server.sql(url, "UPDATE replicas SET seen = seen - 60000")


def stand_still(replica: Killable, server: Postgres, url: str) -> None:
    """SIGSTOP until the other one has given up what it was signing, then SIGCONT."""
    replica.pause()
    let_leases_run_out(server, url)
    signing = "SELECT count(*) FROM requests r WHERE state = 'signing' AND holder NOT IN (SELECT id FROM replicas WHERE seen > extract(epoch FROM now()) * 1000 - 30000)"
    until(lambda: server.sql(url, signing) == "0", STALLED_S)
    replica.resume()
