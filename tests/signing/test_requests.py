"""The life of a request for signatures: asked, approved by others, used once, signed, and never on the word of a row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from kit.service import World, signed, wanted, world
from sealwright.cli.main import main
from sealwright.errors import KeyRefused, LogRefused, RequestOver
from sealwright.signing.tables import PRIVATE, State
from sealwright.signing.wish import Wish


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("service"))
    yield made
    made.close()


def test_what_needs_nobody_is_signed_at_once_and_is_in_the_log(service: World) -> None:
    max_ = service.principal("max")
    asking = service.requests.ask(max_, Wish("release", wanted(["a.bin", "b.bin"])))
    asking.recorded.result(10)
    values = signed(asking)
    assert sorted(values) == [0, 1]
    assert service.requests.shelf.signatures(max_, asking.id) == values
    standing = service.requests.shelf.standing(max_, asking.id)
    assert (standing.state, standing.signed, standing.attempt) == (State.SIGNED, 2, 1)
    assert service.writer.proof(values[0].leaf)


def test_what_needs_two_waits_for_two_others(service: World) -> None:
    max_, eva, jan = map(service.principal, ("max", "eva", "jan"))
    asking = service.requests.ask(max_, Wish("release", wanted(["p.bin"], "production"), reason="release 7"))
    asking.recorded.result(10)
    assert (asking.needed.approvals, asking.answer) == (2, None)
    data = service.requests.shelf.request_bytes(eva, asking.id)
    one = service.requests.approve(eva, asking.id, service.approval("eva", data))
    assert (one.state, one.approvals, one.reason) == (State.WAITING, ("eva",), "release 7")
    service.requests.approve(jan, asking.id, service.approval("jan", data))
    for _ in range(100):
        standing = service.requests.shelf.standing(max_, asking.id)
        if standing.state is State.SIGNED:
            break
        time.sleep(0.05)
    assert standing.state is State.SIGNED, standing


def test_a_key_that_was_revoked_meanwhile_signs_nothing_more(tmp_path: Path) -> None:
    made = world(tmp_path)
    max_ = made.principal("max")
    try:
        asking = made.requests.ask(max_, Wish("release", wanted(["a.bin"])))
        asking.recorded.result(10)
        signed(asking)
        assert main(["cert", "revoke", "release", "--home", made.home.folder, "--reason", "keyCompromise"]) == 0
        again = made.requests.ask(max_, Wish("release", wanted(["b.bin"])))
        again.recorded.result(10)
        with pytest.raises(KeyRefused, match="revoked"):
            signed(again)
        for _ in range(200):  # written down right after whoever waits was told
            if made.requests.shelf.standing(max_, again.id).state is State.FAILED:
                break
            time.sleep(0.02)
        assert "revoked" in made.requests.shelf.standing(max_, again.id).problem
    finally:
        made.close()


def test_a_request_and_its_approvals_are_good_at_one_service_alone(tmp_path: Path) -> None:
    made = world(tmp_path)
    max_, eva = made.principal("max"), made.principal("eva")
    try:
        asking = made.requests.ask(max_, Wish("release", wanted(["p.bin"], "production")))
        asking.recorded.result(10)
        approval = made.approval("eva", made.requests.shelf.request_bytes(eva, asking.id))
        assert made.requests.approve(eva, asking.id, approval).approvals == ("eva",)
        with pytest.raises(LogRefused, match="made by the service acme-signing"):
            made.another("acme-staging").use(asking.id)  # the same database under another service's name
    finally:
        made.close()


def test_who_withdrew_a_request_is_known_and_nothing_is_signed_by_it(service: World) -> None:
    max_, eva = map(service.principal, ("max", "eva"))
    asking = service.requests.ask(max_, Wish("release", wanted(["w.bin"], "production")))
    asking.recorded.result(10)
    approval = service.approval("eva", service.requests.shelf.request_bytes(eva, asking.id))
    assert service.requests.shelf.standing(max_, asking.id).state is State.WAITING
    assert service.requests.withdraw(max_, asking.id).state is State.WITHDRAWN
    with pytest.raises(RequestOver):
        service.requests.approve(eva, asking.id, approval)
    with service.store.read() as connection:
        texts = connection.execute(select(PRIVATE.c.text).where(PRIVATE.c.request == asking.id)).scalars().all()
    assert any(b'"withdrawn_by":"max"' in bytes(text) for text in texts)


def test_a_page_of_requests_leads_to_the_next_one(service: World) -> None:
    max_ = service.principal("max")
    for number in range(3):
        service.requests.ask(max_, Wish("release", wanted([f"{number}.bin"], "production"))).recorded.result(10)
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = service.requests.shelf.listed(max_, (), after, count=2)
        seen += [one.id for one in page.standings]
        after = page.next
    assert len(seen) == len(set(seen)) >= 3
    assert service.requests.shelf.listed(service.principal("stranger"), (), 0) == ([], None)
