"""Tickets of CI jobs: good for reading one request until its time, of a machine that the register still knows, and for nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from kit.oidc import CiIssuer, fresh_replay
from kit.people import AUDIENCE, SUBJECT, people_text
from kit.postgres import postgres
from kit.provenance import encoded, statement, subject
from kit.service import World, wanted, world
from sealwright.errors import IdentityRefused
from sealwright.service.identity import Door, PeopleFile, Tokens, Unidentified
from sealwright.service.oidc import TokenIssuer
from sealwright.service.tickets import AFTER, PREFIX, Tickets
from sealwright.signing.people import Machine, Principal, Role, TokenRule
from sealwright.signing.requestprovenance import kept
from sealwright.signing.tables import TICKETS
from sealwright.signing.wish import Wish

CLAIMS = {"repository": "acme/fw", "ref_type": "tag"}
RULE = TokenRule("https://ci.acme.example", AUDIENCE, SUBJECT, CLAIMS, ("ref",))
SAID = (("ref", "refs/tags/v1"), ("ref_type", "tag"), ("repository", "acme/fw"))
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("service"))
    ci = Machine("ci", "acme", frozenset({Role.REQUESTER}), None, None, "max", (), RULE)
    by_certificate = replace(ci, id="station", token=None)
    made.people = replace(made.people, machines={"ci": ci, "station": by_certificate})
    yield made
    made.close()


def machine(made: World, name: str = "ci") -> Principal:
    one = made.people.machines[name]
    return Principal(name, "max", True, "acme", one.roles, SAID if one.token else ())


def asked(made: World) -> str:
    asking = made.requests.ask(machine(made), Wish("release", wanted(["p.bin"], "production")))
    asking.recorded.result(10)
    return asking.id


def tickets(made: World) -> Tickets:
    return Tickets(made.store, lambda: made.people)


def test_a_ticket_reads_its_request_as_the_machine_that_asked(service: World) -> None:
    id_, book = asked(service), tickets(service)
    ticket = book.give(machine(service), id_, NOW + timedelta(hours=1), NOW)
    for path in (f"/v1/requests/{id_}", f"/v1/requests/{id_}/signatures", f"/v1/requests/{id_}/proofs"):
        found = book.principal(ticket, "GET", path, NOW)
        assert found == machine(service)
    assert book.principal(ticket, "POST", "/v1/timestamps", NOW) == machine(service)  # over whatever it signed
    assert service.requests.shelf.standing(found, id_).id == id_
    with service.store.read() as connection:
        stored = connection.execute(select(TICKETS).where(TICKETS.c.request == id_)).one()
    assert ticket.removeprefix(PREFIX) not in str(stored)  # the database cannot show it to anybody


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/requests/{id}"),
        ("HEAD", "/v1/requests/{id}"),
        ("GET", "/v1/requests"),
        ("GET", "/v1/keys"),
        ("GET", "/v1/requests/{id}/items"),
        ("GET", "/v1/requests/{id}/approvals"),
        ("GET", "/v1/requests/{id}/"),
        ("GET", "/v1/requests/{id}/signatures/.."),
        ("GET", "/V1/requests/{id}"),
        ("GET", "/v1/requests/{other}"),
        ("GET", "/v1/requests/{other}/signatures"),
        ("POST", "/v1/requests/{id}/approvals"),
        ("POST", "/v1/requests/{id}/withdrawal"),
        ("POST", "/v1/requests/{id}/attempts"),
        ("POST", "/v1/requests"),
        ("GET", "/v1/timestamps"),
        ("POST", "/v1/timestamps/"),
    ],
)
def test_a_ticket_is_good_for_nothing_else(service: World, method: str, path: str) -> None:
    id_, other, book = asked(service), asked(service), tickets(service)
    ticket = book.give(machine(service), id_, NOW + timedelta(hours=1), NOW)
    assert book.principal(ticket, "GET", f"/v1/requests/{id_}", NOW)
    with pytest.raises(IdentityRefused, match="of another request, or for reading alone"):
        book.principal(ticket, method, path.replace("{id}", id_).replace("{other}", other), NOW)


def test_a_ticket_ends_and_the_last_one_alone_is_good(service: World) -> None:
    id_, book, until = asked(service), tickets(service), NOW + timedelta(hours=1)
    path = f"/v1/requests/{id_}"
    first = book.give(machine(service), id_, until, NOW)
    assert book.principal(first, "GET", path, until + AFTER)
    with pytest.raises(IdentityRefused, match="there is no such ticket, or it has ended"):
        book.principal(first, "GET", path, until + AFTER + timedelta(seconds=1))
    second = book.give(machine(service), id_, until, NOW)
    assert book.principal(second, "GET", path, NOW)
    for wrong in (first, second[:-1], second + "x", PREFIX, second.lower()):
        with pytest.raises(IdentityRefused, match="there is no such ticket, or it has ended"):
            book.principal(wrong, "GET", path, NOW)


def test_whoever_shows_a_certificate_gets_none(service: World) -> None:
    id_ = asked(service)
    assert tickets(service).give(machine(service), id_, NOW, NOW)
    for who in (machine(service, "station"), service.principal("max")):
        assert tickets(service).give(who, id_, NOW, NOW) == ""


@pytest.mark.parametrize(
    "changed",
    [
        replace(RULE, claims={**CLAIMS, "repository": "acme/fw2"}),
        replace(RULE, claims={**CLAIMS, "environment": "release"}),
        replace(RULE, hand_on=("ref", "sha")),
        replace(RULE, subject="repo:acme/fw2:environment:release"),
        replace(RULE, issuer="https://ci2.acme.example"),
        replace(RULE, audience="https://other.acme.example"),
        None,
    ],
    ids=["another claim", "a claim more", "handed on more", "subject", "issuer", "audience", "no token at all"],
)
def test_a_register_that_changed_since_knows_nobody_by_it(service: World, changed: TokenRule | None) -> None:
    id_, book = asked(service), tickets(service)
    ticket, path = book.give(machine(service), id_, NOW + timedelta(hours=1), NOW), f"/v1/requests/{id_}"
    assert book.principal(ticket, "GET", path, NOW)
    before = service.people
    try:
        now = replace(before.machines["ci"], token=changed)
        service.people = replace(before, machines={**before.machines, "ci": now})
        with pytest.raises(IdentityRefused, match="does not know it by these claims"):
            book.principal(ticket, "GET", path, NOW)
        service.people = replace(before, machines={})
        with pytest.raises(IdentityRefused):
            book.principal(ticket, "GET", path, NOW)
    finally:
        service.people = before


def test_at_the_door_a_wrong_ticket_hears_what_everybody_hears(service: World, tmp_path: Path) -> None:
    (tmp_path / "people.toml").write_text(people_text())
    issuer = CiIssuer()

    async def keys(_: TokenIssuer) -> bytes:
        return json.dumps(issuer.jwks()).encode()

    said: list[object] = []
    tokens = Tokens([issuer.trusted()], fresh_replay(tmp_path, NOW - timedelta(days=1)), said.append, keys)
    people = PeopleFile(str(tmp_path / "people.toml"))
    door = Door(people, tokens, said.append, tickets(service))
    without = Door(people, tokens, said.append)
    id_ = asked(service)
    ticket = tickets(service).give(machine(service), id_, NOW + timedelta(hours=1), NOW)

    def ask(at: Door, shown: str) -> Principal:
        headers = [(b"authorization", f"Bearer {shown}".encode())]
        return asyncio.run(
            at.enter(
                {"client": ("192.0.2.7", 1), "headers": headers, "method": "GET", "path": f"/v1/requests/{id_}"}, NOW
            )
        )

    assert ask(door, ticket) == machine(service)
    for at, shown in ((door, ticket[:-2]), (without, ticket)):
        with pytest.raises(Unidentified) as nobody:
            ask(at, shown)
        assert nobody.value.answer.body == b"who asks is not known here\n"
    assert len(said) == 2
    assert ticket.removeprefix(PREFIX)[:20] not in str(said)


def test_provenance_and_tickets_are_kept_in_postgresql_too(tmp_path: Path) -> None:
    with postgres() as server:
        made = world(tmp_path, server.database())
        try:
            ci = Machine("ci", "acme", frozenset({Role.REQUESTER}), None, None, "max", (), RULE)
            made.people = replace(made.people, machines={"ci": ci})
            built = encoded(statement(subject(b"p.bin")))
            wish = Wish("release", wanted(["p.bin"], "production"), provenance=built)
            asking = made.requests.ask(machine(made), wish)
            asking.recorded.result(10)
            with made.store.read() as connection:
                assert kept(connection, asking.request) == built
            book, until = tickets(made), NOW + timedelta(hours=1)
            first, path = book.give(machine(made), asking.id, until, NOW), f"/v1/requests/{asking.id}"
            second = book.give(machine(made), asking.id, until, NOW)
            assert book.principal(second, "GET", path, NOW) == machine(made)
            with pytest.raises(IdentityRefused):
                book.principal(first, "GET", path, NOW)
        finally:
            made.close()
