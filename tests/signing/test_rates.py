"""Alarms about rates that are not usual: counted from the log, told once in each hour or day, by one replica of several (A124)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from kit.postgres import Postgres
from kit.service import World, opened, wanted, world
from sealwright.artifact.section import read_toml
from sealwright.errors import MalformedConfiguration, ServiceUnavailable, StoreConflict
from sealwright.log.entries import Alarm, Intent, read_any
from sealwright.log.entryfields import RateOf, RatePer
from sealwright.service.config import CONFIGURATION
from sealwright.service.ratealarms import RateAlarms, read_limits
from sealwright.service.webhook import Webhook
from sealwright.signing.rates import RateLimit, Rates
from sealwright.signing.tables import RATED, RATES
from sealwright.signing.wish import Wish

BY_KEY = RateLimit(RateOf.KEY, RatePer.HOUR, 5)
BY_PRINCIPAL = RateLimit(RateOf.PRINCIPAL, RatePer.DAY, 5)
BY_PRODUCT = RateLimit(RateOf.PRODUCT, RatePer.HOUR, 5)
NOON = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)


class Clock:
    """What the service takes for now."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, database_server: Postgres) -> Iterator[tuple[World, World]]:
    """Two replicas."""
    url = f"sqlite:///{tmp_path}/service.db" if request.param == "sqlite" else database_server.database()
    with ExitStack() as stack:
        one = world(tmp_path, url)
        stack.callback(one.close)
        other = opened(tmp_path, one.home, one.persons, one.people, url)
        stack.callback(other.close)
        yield one, other


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.close()


def at(made: World, clock: Clock) -> World:
    """With that clock, for requests and signatures."""
    made.requests.clock = clock
    made.desk._clock = clock
    return made


def sign(made: World, name: str, count: int, who: str = "max", product: str = "drive") -> str:
    items = wanted([f"{name}-{number}.bin" for number in range(count)], product=product)
    asking = made.requests.ask(made.principal(who), Wish("release", items))
    assert asking.answer is not None
    assert len(asking.answer.result(60)) == count
    return asking.id


def alarms(made: World) -> list[Alarm]:
    size = made.writer.reader.head().size
    return [one for one in map(read_any, made.writer.reader.entries(0, size)) if isinstance(one, Alarm)]


def begun(made: World, *limits: RateLimit) -> Rates:
    rates = Rates(made.requests, limits)
    rates.look(made.requests.clock())
    return rates


@pytest.mark.parametrize("limit", [BY_KEY, BY_PRINCIPAL, BY_PRODUCT], ids=lambda one: one.of)
def test_a124_more_than_is_usual_is_an_alarm_and_as_much_as_is_usual_is_none(own: World, limit: RateLimit) -> None:
    made = at(own, Clock())
    rates = begun(made, limit)
    sign(made, "usual", 5)
    rates.look(NOON)
    assert (rates.to_tell(), alarms(made)) == ([], [])
    by = sign(made, "more", 2)
    rates.look(NOON)
    (told,) = rates.to_tell()
    (entry,) = alarms(made)
    hour = limit.per is RatePer.HOUR
    since = NOON.replace(hour=12 if hour else 0, minute=0)
    assert (entry.request, entry.of, entry.per, entry.above) == (by, limit.of, limit.per, 5)
    assert (entry.since, entry.count) == (since, 7)
    assert entry.key == (made.desk.key if limit.of is RateOf.KEY else None)
    assert (told.request, told.uses, told.counted.tenant) == (by, 7, "acme")
    assert b"max" not in entry.encoded()


def test_a124_it_is_told_once_in_each_span_however_much_more_is_signed(own: World) -> None:
    clock = Clock()
    made = at(own, clock)
    rates = begun(made, BY_KEY)
    sign(made, "a", 6)
    rates.look(clock())
    rates.told(rates.to_tell()[0])
    sign(made, "b", 20)
    rates.look(clock())
    assert rates.to_tell() == []
    clock.now += timedelta(hours=1)
    sign(made, "c", 5)
    rates.look(clock())
    assert rates.to_tell() == []
    sign(made, "d", 1)
    rates.look(clock())
    assert [one.counted.start.hour for one in rates.to_tell()] == [13]
    assert len(alarms(made)) == 2


def test_a124_persons_and_products_are_counted_each_by_itself(own: World) -> None:
    made = at(own, Clock())
    rates = begun(made, BY_PRINCIPAL, BY_PRODUCT)
    sign(made, "max-drive", 3)
    sign(made, "max-pump", 2, product="pump")
    sign(made, "eva-pump", 3, who="eva", product="pump")
    rates.look(NOON)
    assert alarms(made) == []
    sign(made, "eva-pump-too", 1, who="eva", product="pump")  # the sixth of the pump; Eva's fourth
    rates.look(NOON)
    assert [(one.counted.of, one.counted.subject, one.uses) for one in rates.to_tell()] == [(RateOf.PRODUCT, "pump", 6)]


def test_a124_two_replicas_count_each_use_once_and_a_restart_forgets_none(pair: tuple[World, World]) -> None:
    one, other = (at(made, Clock()) for made in pair)
    first, second = begun(one, BY_KEY), begun(other, BY_KEY)
    sign(one, "one", 2)
    first.look(NOON)
    second.look(NOON)
    sign(other, "other", 3)
    second.look(NOON)
    first.look(NOON)
    assert alarms(one) == []
    again = Rates(other.requests, [BY_KEY])  # as after a restart
    sign(one, "last", 1)
    again.look(NOON)
    first.look(NOON)
    assert [entry.count for entry in alarms(one)] == [6]
    assert [told.uses for told in first.to_tell()] == [6]
    first.told(first.to_tell()[0])
    assert again.to_tell() == []


def test_a124_who_comes_second_to_the_same_entries_counts_none_of_them(pair: tuple[World, World]) -> None:
    one, other = (at(made, Clock()) for made in pair)
    rates = begun(one, BY_KEY)
    start = one.writer.reader.head().size
    sign(one, "some", 4)
    data = one.writer.reader.entries(start, 1000)
    rates._count(data, start, NOON)
    with pytest.raises(StoreConflict):
        Rates(other.requests, [BY_KEY])._count(data, start, NOON)
    with one.store.read() as connection:
        assert connection.execute(select(RATES.c.count)).scalar() == 4


def test_counts_that_are_over_are_removed(own: World) -> None:
    clock = Clock()
    made = at(own, clock)
    rates = begun(made, BY_KEY, BY_PRINCIPAL)
    sign(made, "old", 1)
    rates.look(clock())
    clock.now += timedelta(days=3)
    sign(made, "new", 1)
    rates.look(clock())
    with made.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(RATES)).scalar() == 2
        assert connection.execute(select(RATED.c.next)).scalar() == made.writer.reader.head().size


def test_what_was_long_ago_is_no_alarm_where_counting_was_off_meanwhile(own: World) -> None:
    clock = Clock()
    made = at(own, clock)
    rates = begun(made, BY_KEY)
    sign(made, "long-ago", 9)
    clock.now += timedelta(days=3)
    rates.look(clock())
    assert (rates.to_tell(), alarms(made)) == ([], [])
    sign(made, "now", 6)
    rates.look(clock())
    assert len(rates.to_tell()) == 1


def test_a124_an_alarm_that_nobody_took_is_told_again_and_one_that_was_taken_is_not(own: World) -> None:
    made, said = at(own, Clock()), list[dict[str, object]]()
    dead = RateAlarms(
        made.requests, (BY_KEY,), Webhook("https://127.0.0.1:1/", "", ""), lambda one: said.append(dict(one))
    )
    dead.round()
    by = sign(made, "many", 6)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            dead.round()
    well = RateAlarms(made.requests, (BY_KEY,), None, lambda one: said.append(dict(one)))
    well.round()
    well.round()
    assert [one["request"] for one in said] == [by] * 3
    assert said[0] == {
        "event": "rate", "service": "acme-signing", "tenant": "acme", "of": "key", "per": "hour",
        "since": "2026-11-26T12:00:00Z", "count": "6", "above": "5", "key": "release", "request": by,
    }  # fmt: skip


def test_rows_that_somebody_lowered_hide_no_later_alarm_of_the_log(own: World) -> None:
    """The counts are a convenience: the entries that they are made of stay, for an auditor (`log usage`)."""
    made = at(own, Clock())
    rates = begun(made, BY_KEY)
    sign(made, "a", 5)
    rates.look(NOON)
    with made.store.write() as connection:
        connection.execute(update(RATES).values(count=0))
    sign(made, "b", 6)
    rates.look(NOON)
    assert len(alarms(made)) == 1
    assert sum(isinstance(one, Intent) for one in map(read_any, made.writer.reader.entries(0, 1000))) == 11


def limits(text: str) -> Sequence[RateLimit]:
    return read_limits(read_toml(f"# x\n{text}".encode(), "service.toml", "# x", CONFIGURATION))


def test_limits_are_read_and_what_nobody_meant_is_refused() -> None:
    good = '[[rate_alarm]]\nof = "key"\nper = "hour"\nabove = 40\n'
    assert limits("") == ()
    assert limits(good + good.replace("hour", "day")) == (
        RateLimit(RateOf.KEY, RatePer.HOUR, 40),
        RateLimit(RateOf.KEY, RatePer.DAY, 40),
    )
    for wrong in (good + good, good.replace('"key"', '"person"'), good.replace("40", "0"), good + "below = 1\n"):
        with pytest.raises(MalformedConfiguration):
            limits(wrong)
