"""The keys of a token issuer: fetched from one address over TLS, kept for a while, and what happens when nobody answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.oidc import CiIssuer, KeyServer, rsa_key, serving
from kit.pki import NOW, Pki
from sealwright.errors import LimitExceeded, ServiceUnavailable
from sealwright.service import issuerkeys
from sealwright.service.issuerkeys import Ages, IssuerKeys, fetch_keys
from sealwright.service.oidc import TokenIssuer

CI = CiIssuer({"one": rsa_key()})
DATA = json.dumps(CI.jwks()).encode()
BOTH = json.dumps(CiIssuer({**CI.keys, "two": rsa_key()}).jwks()).encode()
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyServer]:
    with serving(CI, tmp_path_factory.mktemp("issuer")) as one:
        yield one


@pytest.fixture(autouse=True)
def well_behaved(server: KeyServer) -> Iterator[None]:
    yield
    server.mode = "keys"
    server.asked.clear()


def test_keys_come_over_tls_from_the_configured_address(server: KeyServer) -> None:
    assert asyncio.run(fetch_keys(server.trusted())) == DATA
    assert server.asked == ["/jwks"], "no discovery"


def test_a_server_of_another_authority_gives_no_keys(server: KeyServer, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(Pki.make("Other").root.pem)
    for ca_file in (str(other), "", str(tmp_path / "missing.pem")):
        with pytest.raises(ServiceUnavailable):
            asyncio.run(fetch_keys(server.trusted(ca_file=ca_file)))
    with pytest.raises(ServiceUnavailable):
        asyncio.run(fetch_keys(server.trusted(keys_url=f"https://127.0.0.2:{server.port}/jwks")))
    assert server.asked == []


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("redirect", ServiceUnavailable),
        ("error", ServiceUnavailable),
        ("gzip", ServiceUnavailable),
        ("long", LimitExceeded),
        ("endless", LimitExceeded),
        ("slow", ServiceUnavailable),
    ],
)
def test_an_issuer_that_misbehaves_gives_no_keys(
    server: KeyServer, mode: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode == "slow":
        monkeypatch.setattr(issuerkeys, "FETCH_S", 0.5)
    server.mode = mode
    began = time.monotonic()
    with pytest.raises(error):
        asyncio.run(fetch_keys(server.trusted()))
    assert time.monotonic() - began < 2.5
    assert server.asked == ["/jwks"], "it is followed nowhere"


def test_no_proxy_of_the_environment_is_asked(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert asyncio.run(fetch_keys(server.trusted())) == DATA


class Source:
    """An issuer that answers what it is told to, or not at all."""

    def __init__(self, data: bytes | None = DATA) -> None:
        self.data = data
        self.asked = 0
        self.said: list[Any] = []

    async def __call__(self, issuer: TokenIssuer) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if self.data is None:
            raise ServiceUnavailable(issuer.keys_url, "it is away", "Wait.")
        return self.data

    def keys(self) -> IssuerKeys:
        return IssuerKeys(CI.trusted(), self.said.append, self, Ages(30 * SECOND, HOUR, 24 * HOUR))


def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    async def story() -> None:
        source = Source()
        keys = source.keys()
        for after, asked in ((0 * HOUR, 1), (HOUR - SECOND, 1), (HOUR, 2), (HOUR + 40 * SECOND, 2)):
            assert "one" in (await keys.having("one", NOW + after)).keys
            assert source.asked == asked
        again = Source()
        many = again.keys()
        await asyncio.gather(*(many.having("one", NOW) for _ in range(50)))
        assert again.asked == 1, "who waits shares the answer"

    asyncio.run(story())


def test_an_unknown_key_is_asked_for_once_and_not_twice_in_a_while() -> None:
    async def story() -> None:
        source = Source()
        keys = source.keys()
        await keys.having("one", NOW)
        for at in range(29):
            assert "two" not in (await keys.having(f"made-up-{at}", NOW + at * SECOND)).keys
        assert source.asked == 1, "made-up tokens cost the issuer nothing"
        source.data = BOTH
        assert "two" in (await keys.having("two", NOW + 30 * SECOND)).keys
        assert source.asked == 2
        assert "two" in (await keys.having("made-up", NOW + 31 * SECOND)).keys
        assert source.asked == 2

    asyncio.run(story())


def test_a_key_that_its_issuer_took_away_is_gone_with_the_next_set() -> None:
    async def story() -> None:
        source = Source(BOTH)
        keys = source.keys()
        assert "two" in (await keys.having("two", NOW)).keys
        source.data = DATA
        assert "two" not in (await keys.having("two", NOW + HOUR)).keys

    asyncio.run(story())


@pytest.mark.parametrize("data", [None, b"<html>", b'{"keys": 1}'])
def test_old_keys_serve_on_for_a_day_where_there_are_no_new_ones(data: bytes | None) -> None:
    async def story() -> None:
        source = Source()
        keys = source.keys()
        await keys.having("one", NOW)
        source.data = data
        assert "one" in (await keys.having("one", NOW + 24 * HOUR)).keys
        assert source.said[0]["event"] == "issuer-keys"
        with pytest.raises(ServiceUnavailable, match="young enough"):
            await keys.having("one", NOW + 24 * HOUR + SECOND)
        source.data = DATA
        assert "one" in (await keys.having("one", NOW + 25 * HOUR)).keys

    asyncio.run(story())


def test_without_any_keys_no_token_is_good_and_the_issuer_is_not_pressed() -> None:
    async def story() -> None:
        source = Source(None)
        keys = source.keys()
        for at in range(20):
            with pytest.raises(ServiceUnavailable):
                await keys.having("one", NOW + at * SECOND)
        assert source.asked == 1
        source.data = DATA
        assert "one" in (await keys.having("one", NOW + 30 * SECOND)).keys

    asyncio.run(story())


def test_a_clock_that_is_set_back_makes_no_keys_young() -> None:
    async def story() -> None:
        source = Source()
        keys = source.keys()
        await keys.having("one", NOW)
        source.data = None
        with pytest.raises(ServiceUnavailable):
            await keys.having("one", NOW - 25 * HOUR)

    asyncio.run(story())
