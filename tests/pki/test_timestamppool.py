"""A pool of timestamp authorities: the next one is asked, nobody waits ten thousand times, and wrong answers never count."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from kit.authorities import BAD, authority
from kit.pki import NOW, Pki
from sealwright.artifact.digest import Digest
from sealwright.envelope.tsp import check_token, read_token
from sealwright.errors import TimestampUnavailable, UsageError
from sealwright.pki.timestamp import LocalAuthority, fetch_timestamp
from sealwright.pki.timestamppool import Limits, Outside, Pool

VALUE = b"a signature value"
IMPRINT = Digest.of(VALUE)
QUICK = Limits(try_s=0.5, total_s=3, rounds=2, first_wait_s=0.01, longest_wait_s=0.02)
A, B, C = "http://a.example/", "http://b.example/", "http://c.example/"


@dataclass
class World:
    """Authorities without a network, on a clock that only moves when somebody waits. down: the URLs that do not answer."""

    down: set[str] = field(default_factory=set)
    same_key: bool = False
    cost_s: float = 0.0
    time: float = 0.0
    waits: list[float] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        pki = Pki.make()
        self.signers = {url: pki.tsa() for url in (A, B, C)}

    def fetch(self, url: str, request: bytes, timeout_s: float) -> bytes:
        with self.lock:
            self.asked.append(url)
            self.time += min(self.cost_s, timeout_s)
        if url in self.down:
            raise TimestampUnavailable(url, "it does not answer", "Wait.")
        tsa = self.signers[A if self.same_key else url]
        return LocalAuthority(tsa.certificate, tsa.chain, tsa.key, lambda: NOW).respond(request)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def pool(self, *urls: str, limits: Limits | None = None, chance: float = 1.0) -> Pool:
        outside = Outside(self.fetch, self.sleep, lambda: self.time, lambda: chance)
        return Pool(urls, limits, outside)


def test_the_first_authority_is_asked_and_where_it_is_down_the_next_without_waiting() -> None:
    world = World()
    assert [one.authority for one in world.pool(A, B).stamp(IMPRINT)] == [A]
    world = World(down={A})
    (stamp,) = world.pool(A, B).stamp(IMPRINT)
    assert stamp.authority == B
    check_token(read_token(stamp.token, "t"), VALUE)
    assert world.asked == [A, B]
    assert world.waits == []


@pytest.mark.parametrize(("chance", "waits"), [(1.0, [0.5, 1.0, 2.0]), (0.25, [0.125, 0.25, 0.5]), (0.0, [0, 0, 0])])
def test_retries_wait_exponentially_with_full_jitter(chance: float, waits: list[float]) -> None:
    world = World(down={A})
    pool = world.pool(A, limits=Limits(rounds=4), chance=chance)
    assert pool.stamp(IMPRINT) == ()
    assert world.waits == waits
    assert "it does not answer" in str(pool.unavailable(1))


def test_everything_ends_at_the_total_limit() -> None:
    world = World(down={A, B, C}, cost_s=10)
    assert world.pool(A, B, C, limits=Limits(try_s=10, total_s=25, rounds=9)).stamp(IMPRINT) == ()
    assert world.time <= 26


def test_ten_thousand_signatures_do_not_wait_for_an_authority_that_is_down() -> None:
    world = World(down={A, B})
    pool = world.pool(A, B)
    made = [pool.stamp(IMPRINT) for _ in range(10_000)]
    assert made == [()] * 10_000
    assert len(world.asked) == 2 * Limits().rounds
    world.down.clear()
    world.time += Limits().down_s + 1
    assert pool.stamp(IMPRINT), "after a while it is asked again"


def test_an_authority_that_failed_once_is_asked_after_those_that_did_not() -> None:
    world = World(down={A})
    pool = world.pool(A, B)
    for _ in range(50):
        assert pool.stamp(IMPRINT)
    assert world.asked.count(A) == 1


def test_two_proofs_come_from_two_authorities_told_apart_by_their_keys() -> None:
    two = World().pool(A, B).stamp(IMPRINT, 2)
    assert [one.authority for one in two] == [A, B]
    assert len({one.signer for one in two}) == 2
    assert len(World(same_key=True).pool(A, B).stamp(IMPRINT, 2)) == 1
    world = World()
    (third,) = world.pool(A, B).stamp(IMPRINT, 1, [world.signers[A].certificate])
    assert third.authority == B, "who stamped it before does not count again"


@pytest.mark.parametrize(
    "urls", [(), ("ftp://a/",), ("local", A), ("none", A), tuple(f"http://{n}/" for n in range(17))]
)
def test_what_is_no_pool_is_refused(urls: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        Pool(urls)


@pytest.mark.parametrize("how", BAD)
def test_of_a_pool_whose_first_misbehaves_the_second_stamps(how: str) -> None:
    with authority(how) as bad, authority() as good:
        started = time.monotonic()
        (stamp,) = Pool([bad.url, good.url], QUICK).stamp(IMPRINT)
        assert stamp.authority == good.url
        assert bad.seen == 1
        assert Pool([bad.url], QUICK).stamp(IMPRINT) == ()
        assert time.monotonic() - started < 5


def test_headers_that_come_byte_by_byte_end_at_the_time_limit() -> None:
    with authority("drip") as slow:
        started = time.monotonic()
        with pytest.raises(TimestampUnavailable, match="within"):
            fetch_timestamp(slow.url, b"x", 0.4)
        assert time.monotonic() - started < 2


def test_a_batch_is_stamped_by_several_at_once_in_its_order() -> None:
    imprints = [Digest.of(bytes([number])) for number in range(40)]
    with authority("down") as bad, authority() as good:
        made = Pool([bad.url, good.url], QUICK).stamp_all(imprints)
        assert bad.seen <= 8
    assert [read_token(one[0].token, "t").imprint for one in made] == imprints
