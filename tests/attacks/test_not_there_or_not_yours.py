"""A129, A121: what is another's and what is not there is answered alike, octet by octet, on the same way through the database."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from sqlalchemy import event, update

from kit.service import World, wanted, world
from kit.signingservice import House, house, running
from sealwright.cli.main import main
from sealwright.errors import NoSuchRequest
from sealwright.signing.tables import REQUESTS
from sealwright.signing.wish import Wish

NOWHERE = "0" * 64
READS = ("", "/items", "/signatures", "/proofs", "/provenance", "/challenge", "/previous")
WRITES = {
    "/approvals": {"scheme": "cms", "proof": "AAAA"},
    "/follow-ups": {"outcome": "confirmed", "scheme": "cms", "proof": "AAAA"},
    "/withdrawal": {},
    "/attempts": {},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("alike") / "house")
    with made.configuration.open("a") as lines:
        lines.write('[[key]]\nname = "stranger"\ntenant = "other"\n')
    assert main(["key", "enrol", "jar", "--home", made.home.folder, "--name", "stranger"]) == 0
    with running(made) as service:
        yield service


def asked(
    made: House, who: str, method: str, path: str, body: object = None
) -> tuple[int, list[tuple[str, str]], dict[str, object]]:
    """Status, headers but those that no two answers have in common, and the body without the request's number."""
    context = ssl.create_default_context(cafile=str(made.folder / "servers.pem"))
    context.load_cert_chain(*made.identity(who))
    line = HTTPSConnection("127.0.0.1", made.port, context=context, timeout=60)
    try:
        data = None if body is None else json.dumps(body)
        line.request(method, path, data, {} if data is None else {"content-type": "application/json"})
        answer = line.getresponse()
        value = json.loads(answer.read())
    finally:
        line.close()
    value.pop("request_id", None)
    once = ("date", "x-request-id", "content-length")
    return answer.status, sorted((name, text) for name, text in answer.getheaders() if name.lower() not in once), value


@pytest.fixture(scope="module")
def of_max(served: House) -> str:
    item = {"line": wanted(["m.bin"], "production")[0].line.decode()}
    status, _, told = asked(served, "max", "POST", "/v1/requests", {"key": "release", "items": [item]})
    assert status == 202
    return str(told["id"])


@pytest.mark.parametrize(("method", "path"), [*(("GET", one) for one in READS), *(("POST", one) for one in WRITES)])
def test_a129_a_request_of_others_is_answered_as_one_that_is_not_there(
    served: House, of_max: str, method: str, path: str
) -> None:
    body = WRITES.get(path)
    own = asked(served, "max", method, f"/v1/requests/{of_max}{path}", body)
    if method == "GET" and path != "/provenance":
        assert own[0] == 200  # for whoever asked it is there
    theirs = asked(served, "stranger", method, f"/v1/requests/{of_max}{path}", body)
    nobodys = asked(served, "stranger", method, f"/v1/requests/{NOWHERE}{path}", body)
    assert theirs[0] == 404
    assert json.dumps(theirs).replace(of_max, NOWHERE) == json.dumps(nobodys)


def test_a129_a_key_of_others_is_answered_as_one_that_is_not_there(served: House) -> None:
    item = {"line": wanted(["k.bin"])[0].line.decode()}

    def ask(who: str, key: str) -> tuple[int, list[tuple[str, str]], dict[str, object]]:
        return asked(served, who, "POST", "/v1/requests", {"key": key, "items": [item], "wait_s": 30})

    assert ask("max", "release")[0] == 201
    theirs, nobodys = ask("max", "stranger"), ask("max", "nowhere7")
    assert theirs[0] == 404
    assert json.dumps(theirs).replace("stranger", "nowhere7") == json.dumps(nobodys)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.close()


def test_a129_both_take_the_same_way_through_the_database_even_where_somebody_has_written_into_the_row(
    own: World,
) -> None:
    asking = own.requests.ask(own.principal("max"), Wish("release", wanted(["a.bin"], "production")))
    asking.recorded.result(10)
    said: list[str] = []
    event.listen(own.store.engine, "before_cursor_execute", lambda *words: said.append(words[2]))

    def looked(who: str, id_: str) -> list[str]:
        said.clear()
        with pytest.raises(NoSuchRequest):
            own.requests.shelf.standing(own.principal(who), id_)
        return list(said)

    assert own.requests.shelf.standing(own.principal("max"), asking.id).id == asking.id
    nobodys = looked("stranger", NOWHERE)
    assert looked("stranger", asking.id) == nobodys
    assert len([one for one in nobodys if one.startswith("SELECT")]) == 1
    with own.store.write() as connection:
        connection.execute(update(REQUESTS).values(request=b"{}"))
    assert looked("stranger", asking.id) == nobodys
