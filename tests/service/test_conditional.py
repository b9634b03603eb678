"""Conditional requests: who has the answer already is told so, and whoever has an older one never is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from kit.asgi import ask, serving
from kit.service import World, wanted, world
from sealwright.service.api import Office, application
from sealwright.signing.people import Principal
from sealwright.signing.requestrows import millis
from sealwright.signing.tables import FOLLOWUPS, REQUESTS
from sealwright.signing.wish import Wish


@pytest.fixture
def service(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.close()


class Known:
    """A door that lets everybody in as one person."""

    def __init__(self, who: Principal) -> None:
        self._who = who

    async def enter(self, *_: object) -> Principal:
        return self._who


def test_a_request_that_stands_otherwise_has_another_tag(service: World) -> None:
    """Its follow-up and what failed it change neither its state nor how often it was approved."""
    wish = Wish("release", wanted(["u.bin"], "production"), emergency=True)
    asking = service.requests.ask(service.principal("max"), wish)
    asking.recorded.result(10)
    nobody: Any = None
    door: Any = Known(service.principal("max"))
    due = millis(service.requests.clock() + timedelta(hours=1))
    changes = (
        update(REQUESTS).values(problem="the token was away"),
        insert(FOLLOWUPS).values(request=asking.id, due=due, outcome="", told=0),
        update(FOLLOWUPS).values(outcome="disputed"),
    )
    with serving(application(Office(service.requests, door, "acme-signing", nobody, nobody))) as port:
        path = f"/v1/requests/{asking.id}"
        tags = [ask(port, "GET", path).headers["etag"]]
        for change in changes:
            same = ask(port, "GET", path, headers={"If-None-Match": tags[-1]})
            assert (same.status, same.body) == (304, b"")
            with service.store.write() as connection:
                connection.execute(change)
            said = ask(port, "GET", path, headers={"If-None-Match": ", ".join(tags)})
            assert said.status == 200, change
            tags.append(said.headers["etag"])
    assert len(set(tags)) == len(changes) + 1
