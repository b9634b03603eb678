"""The intents of a request for a few stand with its use, and what then keeps it from the key is in the log too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from kit.service import World, signed, wanted, world
from sealwright.artifact.digest import Digest
from sealwright.errors import KeyRefused, KeyUnavailable, LogRefused
from sealwright.log.canonical import read_canonical
from sealwright.log.entries import Refusal, Withdrawn
from sealwright.log.entryfields import Stage
from sealwright.log.tables import ENTRIES
from sealwright.signing.desk import LEAST
from sealwright.signing.history import Histories
from sealwright.signing.requests import Asking
from sealwright.signing.stamps import utc_now
from sealwright.signing.wish import Wish


@pytest.fixture
def service(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.close()


def ask(service: World, name: str, count: int) -> Asking:
    items = wanted([f"{name}-{number}.bin" for number in range(count)])
    return service.requests.ask(service.principal("max"), Wish("release", items))


def transactions(service: World, asking: Asking) -> list[list[str]]:
    """The types of the entries about a request, those that were appended together in one list."""
    numbers = asking.recorded.result(10)
    reader = service.writer.reader
    found = [read_canonical(one) for one in reader.entries(numbers[0], reader.head().size - numbers[0])]
    mine = [str(one.get("type")) for one in found[: len(numbers)] if one.get("request") == asking.id]
    rest = [
        str(one["type"]) for one in found[len(numbers) :] if "type" in one and one.get("request") in (asking.id, None)
    ]
    return [mine, rest]


def test_a_request_for_a_few_is_recorded_with_its_intents_and_one_for_many_without(service: World) -> None:
    few = ask(service, "few", LEAST)
    assert len(signed(few)) == LEAST
    assert transactions(service, few) == [["request", "used", *["intent"] * LEAST], ["signature"] * LEAST]
    many = ask(service, "many", LEAST + 1)
    assert len(signed(many)) == LEAST + 1
    asked, later = transactions(service, many)
    assert (asked, later.count("intent"), later.count("signature")) == (["request", "used"], LEAST + 1, LEAST + 1)


def test_a_key_whose_certificate_has_ended_leaves_a_refusal_behind_the_intents(service: World) -> None:
    assert len(signed(ask(service, "before", 1))) == 1
    service.desk._clock = lambda: utc_now() + timedelta(days=36500)
    late = ask(service, "late", 2)
    with pytest.raises(KeyRefused, match="ended"):
        signed(late)
    service.writer.append([b"{}"]).result(10)  # nobody waits for the refusal
    assert transactions(service, late) == [["request", "used", "intent", "intent"], ["refusal"]]
    assert service.requests.shelf.signatures(service.principal("max"), late.id, 0, 10) == {}


def test_a_desk_that_closes_leaves_a_refusal_behind_the_intents(service: World) -> None:
    assert len(signed(ask(service, "before", 1))) == 1
    service.desk.close()
    late = ask(service, "late", 1)
    with pytest.raises(KeyUnavailable, match="closing"):
        signed(late)
    service.writer.append([b"{}"]).result(10)
    assert transactions(service, late) == [["request", "used", "intent"], ["refusal"]]


def test_a_refusal_that_comes_late_takes_nothing_from_the_next_attempt(service: World) -> None:
    asking = ask(service, "one", 1)
    assert len(signed(asking)) == 1
    requests = service.requests
    with service.store.read() as connection:
        history = requests.history(connection, requests.shelf.stored(connection, asking.id))
    digest, now = Digest.of(b"a"), utc_now()
    late = Refusal(time=now, request=asking.id, stage=Stage.KEY, code="SW-ERROR", policy=digest, private=digest)
    for entry, is_news in ((late, False), (Withdrawn(time=now, request=asking.id, private=digest), True)):
        service.writer.append([entry.encoded()]).result(10)
        with service.store.read() as connection:
            assert requests.news(connection, asking.id, history) is is_news


def test_a130_an_entry_about_a_request_that_nobody_can_read_is_the_logs_fault(service: World) -> None:
    asking = ask(service, "one", 1)
    assert len(signed(asking)) == 1
    requests = service.requests
    with service.store.read() as connection:
        requests.history(connection, requests.shelf.stored(connection, asking.id))
    requests._histories = Histories(service.writer)
    with service.store.write() as connection:
        forged = f'{{"request":"{asking.id}","type":"used"}}'.encode()
        connection.execute(update(ENTRIES).where(ENTRIES.c.number == 1).values(entry=forged))
    with service.store.read() as connection, pytest.raises(LogRefused, match="entry 1 about it cannot be read"):
        requests.history(connection, requests.shelf.stored(connection, asking.id))
