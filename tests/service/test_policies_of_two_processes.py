"""Two services over one database whose policies are changed at the same moment: one of them wins, the other says so, and nothing stands between."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.killable import Killable, until
from kit.postgres import Postgres
from kit.service import POLICY, wanted
from kit.signingservice import House, house
from sealwright.artifact.digest import Digest
from sealwright.log.entries import PolicyChange, read_any
from sealwright.log.reader import LogReader
from sealwright.signing.policy import load_policies
from sealwright.signing.tables import POLICIES
from sealwright.store.engine import open_store

# each forbids something that the other one allows, so that neither may follow the other without officers
BESIDES = (
    '@id("no-pump") forbid (principal, action == Action::"sign", resource) when { resource.product == "pump" };\n',
    '@id("no-valve") forbid (principal, action == Action::"sign", resource) when { resource.product == "valve" };\n',
)


class Two:
    """The services, each with a folder of policies of its own."""

    def __init__(self, made: House, url: str) -> None:
        self.made, self.url = made, url
        text = made.configuration.read_text().replace("sqlite:///service.db", url)
        self.services = []
        for name in ("one", "two"):
            own = made.folder / f"{name}.toml"
            own.write_text(
                text.replace('policies = "policies"', f'policies = "{name}"').replace(
                    'head = "head"', f'head = "{name}.head"'
                )
            )
            (made.folder / name).mkdir()
            self.rules(name, POLICY)
            self.services.append(Killable(made, own))

    def rules(self, name: str, text: str) -> None:
        """Put rules into the folder of one of them, as a whole."""
        new = self.made.folder / f"{name}.cedar"
        new.write_text(text)
        new.replace(self.made.folder / name / "rules.cedar")

    def events(self, service: Killable) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
        return [one for one in lines if str(one.get("event", "")).startswith("policies")]

    def changes(self) -> list[PolicyChange]:
        """Of the log, those that let others count."""
        store = open_store(self.url.replace("sqlite:///", f"sqlite:///{self.made.folder}/"))
        try:
            found = [read_any(one) for one in LogReader(store).entries(0, 10_000)]
        finally:
            store.close()
        return [one for one in found if isinstance(one, PolicyChange) and one.previous != one.policy]

    def kept(self) -> set[str]:
        """The digests of the texts that the database has."""
        store = open_store(self.url.replace("sqlite:///", f"sqlite:///{self.made.folder}/"))
        try:
            with store.read() as connection:
                return set(connection.execute(POLICIES.select()).scalars())
        finally:
            store.close()

    def ask(self, service: Killable, name: str) -> int:
        items = [{"line": one.line.decode()} for one in wanted([name])]
        with service.client() as client:
            answer = client.post("/v1/requests", json={"key": "release", "items": items, "wait_s": 50})
        return answer.status_code


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path, database_server: Postgres) -> Iterator[Two]:
    url = "sqlite:///service.db" if request.param == "sqlite" else database_server.database()
    made = Two(house(tmp_path / "house"), url)
    try:
        for service in made.services:
            service.start()
        yield made
    finally:
        for service in made.services:
            service.end()


def test_a132_of_two_that_change_policies_at_once_one_wins_and_the_other_is_told(two: Two) -> None:
    assert [two.ask(service, f"before-{number}") for number, service in enumerate(two.services)] == [201, 201]
    before = [len(two.events(service)) for service in two.services]
    digests, former = [], policies_of(two.made.folder / "one")
    for name, more in zip(("one", "two"), BESIDES, strict=True):
        two.rules(name, POLICY + more)
        digests.append(policies_of(two.made.folder / name))
    for service in two.services:
        assert service.process is not None
        service.process.send_signal(signal.SIGHUP)
    until(lambda: all(len(two.events(one)) > count for one, count in zip(two.services, before, strict=True)))
    first, second = two.changes()
    assert first.policy == former
    assert (second.edition, second.previous) == (first.edition + 1, first.policy)
    winner = digests.index(second.policy)
    loser = 1 - winner
    assert two.events(two.services[winner])[-1]["how"] == "not-weaker"
    refused = two.events(two.services[loser])[-1]
    assert (refused["event"], refused["code"]) == ("policies-refused", "SW-POLICY-CHANGE")
    assert two.kept() == {str(first.policy), str(second.policy)}  # nothing of the one that lost

    def stopped() -> bool:
        status, told = two.services[loser].health()
        return status == 503 and any(one.startswith("policies: ") for one in told["problems"])

    until(stopped)
    assert two.ask(two.services[winner], "by-the-winner") == 201
    assert two.ask(two.services[loser], "by-the-loser") == 503
    name = ("one", "two")[loser]
    two.rules(name, POLICY + BESIDES[winner])  # what counts, in its folder too: it follows by itself
    until(lambda: two.services[loser].health()[0] == 200)
    assert two.ask(two.services[loser], "after") == 201
    for service in two.services:
        service.stop()
        service.start()
        assert service.health()[0] == 200
    assert [one.policy for one in two.changes()] == [first.policy, second.policy]


def policies_of(folder: Path) -> Digest:
    return load_policies(str(folder)).digest
