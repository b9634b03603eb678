"""Several replicas over one database: what one of them was signing when it stood still is signed by another, and by that one alone."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from kit.postgres import Postgres
from kit.service import World, opened, signed, wanted, world
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import RequestOver
from sealwright.keys.key import OpenKey
from sealwright.log.canonical import Field, read_canonical
from sealwright.log.tables import HEAD
from sealwright.signing.alone import alone
from sealwright.signing.requestrows import made_of
from sealwright.signing.requests import Asking
from sealwright.signing.stamps import utc_now
from sealwright.signing.sweeper import ENDED, LEASE, Sweeper
from sealwright.signing.tables import REQUESTS, State
from sealwright.signing.wish import Wish


class Gate:
    """In front of a real key: each batch waits until it is let through, as it would at a token that hangs."""

    def __init__(self, key: OpenKey) -> None:
        self.info = key.info
        self.key = key
        self.waiting: list[int] = []
        self.through = threading.Semaphore(0)

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        self.waiting.append(len(batch))
        assert self.through.acquire(timeout=60)
        return self.key.sign(batch)

    def close(self) -> None:
        self.key.close()


def gated(replica: World) -> Gate:
    gate = Gate(replica.desk._pipeline._key)
    replica.desk._pipeline._key = gate
    return gate


def until(what: Callable[[], object]) -> None:
    ends = time.monotonic() + 30
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, database_server: Postgres) -> Iterator[tuple[World, World]]:
    """Two replicas, of which the first one has said that it lives."""
    url = f"sqlite:///{tmp_path}/service.db" if request.param == "sqlite" else database_server.database()
    with ExitStack() as stack:
        one = world(tmp_path, url)
        stack.callback(one.close)
        other = opened(tmp_path, one.home, one.persons, one.people, url)
        stack.callback(other.close)
        Sweeper(one.requests).begin()
        yield one, other


def after_a_lease(replica: World) -> Sweeper:
    """The sweeper of a replica when no other one has been seen for the time of a lease."""
    return Sweeper(replica.requests, lambda _: utc_now() + LEASE + timedelta(seconds=1))


def ask(replica: World, name: str, count: int) -> Asking:
    asking = replica.requests.ask(
        replica.principal("max"), Wish("release", wanted([f"{name}-{number}.bin" for number in range(count)]))
    )
    asking.recorded.result(10)
    return asking


def entries(replica: World) -> list[dict[str, Field]]:
    reader = replica.writer.reader
    return [read_canonical(one) for one in reader.entries(0, reader.head().size)]


def artifacts(replica: World) -> Counter[str]:
    """How many signatures of each artifact are in the log."""
    return Counter(str(one["artifact"]) for one in entries(replica) if one["type"] == "signature")


def take_over(other: World, *askings: Asking) -> None:
    """The second replica gives up what the first one was signing, and its client has it attempted again."""
    max_ = other.principal("max")
    after_a_lease(other).sweep()
    for asking in askings:
        standing = other.requests.shelf.standing(max_, asking.id)
        assert (standing.state, standing.problem) == (State.FAILED, ENDED)
        other.requests.attempt(max_, asking.id)
        until(lambda id_=asking.id: other.requests.shelf.standing(max_, id_).state is State.SIGNED)


def test_what_a_replica_signs_that_stood_still_longer_than_its_lease_is_not_recorded(pair: tuple[World, World]) -> None:
    one, other = pair
    assert len(signed(ask(one, "before", 3))) == 3  # it signs while it is there
    gate = gated(one)
    first = ask(one, "first", 200)
    until(lambda: gate.waiting)  # its first part has intents, and is with the key
    second = ask(one, "second", 5)  # waits behind it
    take_over(other, first, second)
    gate.through.release(10)
    for asking in (first, second):
        assert asking.answer is not None
        with pytest.raises(RequestOver, match="given up"):
            asking.answer.result(30)
    found = entries(other)
    intents = Counter((entry["request"], entry["attempt"]) for entry in found if entry["type"] == "intent")
    assert 0 < intents[first.id, 1] < 200
    assert intents[first.id, 2] == 200
    assert (intents[second.id, 1], intents[second.id, 2]) == (5, 5)  # those of a few stand with its use
    counted = artifacts(other)
    assert (len(counted), set(counted.values())) == (208, {1})
    for asking, count in ((first, 200), (second, 5)):
        standing = one.requests.shelf.standing(one.principal("max"), asking.id)
        assert (standing.state, standing.signed, standing.attempt) == (State.SIGNED, count, 2)
    assert len(signed(ask(one, "after", 2))) == 2  # and the replica goes on with what is its own


def test_the_key_is_not_used_for_what_was_given_up_while_it_waited(
    pair: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    monkeypatch.setattr("sealwright.signing.logrecord.FRESH_S", 0.0)  # whatever waits at all is looked at again
    gate = gated(one)
    first = ask(one, "first", 1)
    until(lambda: gate.waiting)
    second = ask(one, "second", 5)
    take_over(other, first, second)
    gate.through.release(10)
    for asking in (first, second):
        assert asking.answer is not None
        with pytest.raises(RequestOver, match="given up"):
            asking.answer.result(30)
    after = ask(one, "after", 3)
    assert len(signed(after)) == 3
    assert gate.waiting == [1, 3]
    intents = Counter((one["request"], one["attempt"]) for one in entries(other) if one["type"] == "intent")
    assert [intents[asking.id, 1] for asking in (first, second, after)] == [1, 5, 3], (
        "each once: rates are counted by them"
    )


def test_an_attempt_after_the_first_part_signs_only_what_has_no_signature(pair: tuple[World, World]) -> None:
    one, other = pair
    gate = gated(one)
    asking = ask(one, "parts", 300)
    gate.through.release()
    until(lambda: len(gate.waiting) == 2)  # one part is in the log, the next one with the key
    take_over(other, asking)
    gate.through.release(10)
    assert asking.answer is not None
    with pytest.raises(RequestOver):
        asking.answer.result(30)
    counted = artifacts(other)
    assert (len(counted), set(counted.values())) == (300, {1})
    with other.store.read() as connection:
        assert sorted(made_of(connection, asking.id)) == list(range(300))


def test_one_request_that_was_given_up_takes_none_of_its_batch_along(pair: tuple[World, World]) -> None:
    one, _ = pair
    gate = gated(one)
    before = ask(one, "before", 1)
    until(lambda: gate.waiting)
    given_up, stays = ask(one, "given-up", 4), ask(one, "stays", 4)
    gate.through.release()
    until(lambda: gate.waiting == [1, 8])  # both are with the key together
    with one.store.write() as connection:
        connection.execute(update(REQUESTS).where(REQUESTS.c.id == given_up.id).values(state=State.FAILED))
    gate.through.release(5)
    assert len(signed(before)) == 1
    assert sorted(signed(stays)) == [0, 1, 2, 3]
    assert given_up.answer is not None
    with pytest.raises(RequestOver, match="given up"):
        given_up.answer.result(30)
    assert len(artifacts(one)) == 5


def test_an_older_attempt_that_ends_late_says_nothing_about_the_newer_one(pair: tuple[World, World]) -> None:
    """Both by one replica, whose request was given up by another one while it stood still."""
    one, other = pair
    max_ = one.principal("max")
    gate = gated(one)
    asking = ask(one, "late", 3)
    until(lambda: gate.waiting == [3])
    after_a_lease(other).sweep()
    one.requests.attempt(max_, asking.id)
    gate.through.release()  # the first attempt ends, and the second one is with the key
    assert asking.answer is not None
    with pytest.raises(RequestOver):
        asking.answer.result(30)
    until(lambda: gate.waiting == [3, 3])
    Sweeper(one.requests).sweep()
    assert one.requests.shelf.standing(max_, asking.id).state is State.SIGNING
    gate.through.release(5)
    until(lambda: one.requests.shelf.standing(max_, asking.id).state is State.SIGNED)
    assert set(artifacts(one).values()) == {1}


def test_who_is_alone_on_a_file_waits_for_no_lease(tmp_path: Path) -> None:
    made = world(tmp_path)
    try:
        with alone(made.store):
            Sweeper(made.requests).begin()
            asking = ask(made, "a", 1)
            signed(asking)
            with made.store.write() as connection:  # as a crash leaves it
                connection.execute(update(REQUESTS).values(state=State.SIGNING))
            beside = Sweeper(made.another("acme-signing"))
            with alone(made.store):  # somebody is there already
                beside.begin()
            assert beside.unfinished() == ()
        after = Sweeper(made.another("acme-signing"))
        with alone(made.store):
            after.begin()
        assert after.unfinished() == (asking.id,)
    finally:
        made.close()


def test_an_attempt_is_recorded_together_with_what_others_ask(pair: tuple[World, World]) -> None:
    one, other = pair
    asking = failed(one, other)
    with ThreadPoolExecutor(4) as threads:
        with (
            one.store.write() as connection
        ):  # the log's writer waits for the head, and what comes meanwhile is written together
            connection.execute(select(HEAD.c.id).with_for_update())
            asked = [threads.submit(ask, one, "first", 1)]
            time.sleep(0.2)
            asked += [threads.submit(ask, one, f"beside-{number}", 2) for number in range(2)]
            time.sleep(0.2)
            attempted = threads.submit(one.requests.use, asking.id)
            time.sleep(0.2)
        answer = attempted.result(30)
        assert answer is not None
        assert len(answer.result(30)) == 3
        assert [len(signed(recorded.result(30))) for recorded in asked] == [1, 2, 2]


def test_what_the_log_has_is_read_as_of_one_moment_while_others_append(pair: tuple[World, World]) -> None:
    one, other = pair
    asking = failed(one, other)
    with one.store.read() as connection:
        row = connection.execute(select(REQUESTS).where(REQUESTS.c.id == asking.id)).one()
        one.requests.use(asking.id)
        until(lambda: one.requests.shelf.standing(one.principal("max"), asking.id).state is State.SIGNED)
        history = one.requests._histories.read(connection, asking.id, row.leaf)
        assert (row.attempt, history.attempts, len(history.signatures)) == (1, 1, 0)
    with one.store.read() as connection:
        history = one.requests._histories.read(connection, asking.id, row.leaf)
    assert (history.attempts, len(history.signatures)) == (2, 3)


def failed(one: World, other: World) -> Asking:
    """A request of three that was given up with nothing signed, at a replica that is there again."""
    gate = gated(one)
    asking = ask(one, "failed", 3)
    until(lambda: gate.waiting)
    after_a_lease(other).sweep()
    gate.through.release(100)
    assert asking.answer is not None
    with pytest.raises(RequestOver):
        asking.answer.result(30)
    return asking


@pytest.mark.parametrize("ahead", [timedelta(hours=1), -timedelta(hours=1)], ids=["ahead", "behind"])
def test_a_replica_whose_clock_is_wrong_takes_nothing_from_one_that_lives(
    tmp_path: Path, database_server: Postgres, ahead: timedelta
) -> None:
    """Leases are counted by the database's clock: several machines need not agree on the time."""
    url = database_server.database()
    with ExitStack() as stack:
        one = world(tmp_path, url)
        stack.callback(one.close)
        other = opened(tmp_path, one.home, one.persons, one.people, url)
        stack.callback(other.close)
        sweepers = Sweeper(one.requests), Sweeper(other.requests)
        for sweeper in sweepers:
            sweeper.begin()
        gates = [gated(one), gated(other)]
        askings = [ask(one, "one", 40), ask(other, "other", 40)]
        until(lambda: all(gate.waiting for gate in gates))
        other.requests.clock = lambda: utc_now() + ahead
        for sweeper in (*sweepers, *sweepers):
            sweeper.sweep()
        for gate in gates:
            gate.through.release(100)
        assert [len(signed(asking)) for asking in askings] == [40, 40]
        counted = artifacts(one)
        assert (len(counted), set(counted.values())) == (80, {1})
        attempts = {entry["attempt"] for entry in entries(one) if entry["type"] == "intent"}
        assert attempts == {1}
        gate = gated(one)
        last = ask(one, "last", 2)
        until(lambda: gate.waiting)
        after_a_lease(other).sweep()  # what is dead by the database's clock is given up all the same
        gate.through.release(100)
        assert last.answer is not None
        with pytest.raises(RequestOver):
            last.answer.result(30)
