"""Alarms about rates that are not usual: a stolen token of a build system signs fast, long before a quota refuses (A124).

    [[rate_alarm]]                      # of service.toml
    of = "key"                          # whose signatures are counted: "principal" (who asked), "product", "key"
    per = "hour"                        # or "day"; of UTC, from its beginning
    above = 40                          # told once in each hour or day in which more is signed

    rates = Rates(requests, limits)
    rates.look(now)                     # every few seconds: counts what the log got since
    for alarm in rates.to_tell(): ...; rates.told(alarm)

1. Counted are the intents of the log: what a key was to be used for, of whichever replica, that no row can hide. Who asked, and for what product, is in the
   request's row, as quotas count it.
2. How far the log was counted, the counts and the alarm's own entry are of one transaction: of several replicas one counts an entry, once,
   and a restart forgets nothing.
3. The alarm's entry names the request by which it was too much, and no person: who asked is in that request's private part.
Nothing is refused here. A burst across two hours may be twice as large before it is told: choose `above` by half.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from sealwright.artifact.digest import Digest
from sealwright.errors import StoreConflict
from sealwright.log import entries
from sealwright.log.canonical import read_time
from sealwright.log.entryfields import RateOf, RatePer
from sealwright.signing.requestrows import millis, time_of
from sealwright.signing.requests import Requests
from sealwright.signing.tables import RATED, RATES, REQUESTS

AT_ONCE = 4096
PAGES = 16  # of a look: a service that was away for long counts on at the next one
KEPT = timedelta(days=2)
MAX_TOLD = 100
_IDS = 500


class RateLimit(NamedTuple):
    """What is not usual: more than `above` signatures of one principal, product or key in a span."""

    of: RateOf
    per: RatePer
    above: int


class Counted(NamedTuple):
    """One count. subject: id of the principal, name of the product, digest of the key; start: of the hour or day."""

    start: datetime
    per: RatePer
    of: RateOf
    tenant: str
    subject: str


class RateAlarm(NamedTuple):
    """A rate of which somebody must hear. request: by which it was too much."""

    counted: Counted
    uses: int
    request: str


class _Tally(NamedTuple):
    """A count as it stands. request: by which it was too much, "" while it is not."""

    uses: int
    request: str


class _Entry(msgspec.Struct):
    """As much of an entry as is counted."""

    type: str
    request: str = ""
    key: str = ""
    time: str = ""


class _Use(NamedTuple):
    """Intents of one request and key at one time."""

    request: str
    key: str
    time: datetime


class _Asker(NamedTuple):
    tenant: str
    requester: str
    product: str


class Rates:
    """The rates of one service; `look` is for one thread at a time."""

    def __init__(self, requests: Requests, limits: Sequence[RateLimit]) -> None:
        self._requests = requests
        self._limits = tuple(limits)
        self._decoder = msgspec.json.Decoder(_Entry)

    def look(self, now: datetime) -> None:
        """Count what the log got; StoreUnavailable, JournalError. Where another replica counts at the same time, it counts."""
        for _ in range(PAGES):
            with self._requests.store.read() as connection:
                begun = connection.execute(select(RATED.c.next)).scalar()
            if begun is None:
                self._begin()
                return
            data = self._requests.writer.reader.entries(begun, AT_ONCE)
            if not data:
                return
            try:
                self._count(data, begun, now)
            except StoreConflict:
                return

    def to_tell(self) -> list[RateAlarm]:
        """Of which rates somebody must hear now."""
        query = select(RATES).where(RATES.c.request != "", RATES.c.told == 0).limit(MAX_TOLD)
        with self._requests.store.read() as connection:
            return [
                RateAlarm(
                    Counted(time_of(row.start), RatePer(row.per), RateOf(row.of), row.tenant, row.subject),
                    row._mapping["count"],
                    row.request,
                )
                for row in connection.execute(query)
            ]

    def told(self, alarm: RateAlarm) -> None:
        """Somebody has heard of it."""
        with self._requests.store.write() as connection:
            connection.execute(update(RATES).where(_row(alarm.counted)).values(told=1))

    def _begin(self) -> None:
        """Count from here on."""
        size = self._requests.writer.reader.head().size
        try:
            with self._requests.store.write() as connection:
                connection.execute(insert(RATED).values(id=1, next=size))
        except StoreConflict:  # another replica has begun
            return

    def _count(self, data: Sequence[bytes], begun: int, now: datetime) -> None:
        """Count a page of entries, with their alarms; StoreConflict where another replica has."""
        uses = self._uses(data, now)
        with self._requests.store.read() as connection:
            grown = list(self._grown(uses, _askers(connection, {use.request for use in uses})))
            tallies = {one.counted: _tally(connection, one.counted) for one in grown}
        over: list[_Grown] = []
        for one in grown:
            was = tallies[one.counted]
            count, too_much = was.uses + one.times, not was.request and was.uses + one.times > one.limit.above
            tallies[one.counted] = _Tally(count, one.use.request if too_much else was.request)
            if too_much:
                over.append(one)

        def rows(connection: Connection, _: int) -> None:
            moved = connection.execute(update(RATED).where(RATED.c.next == begun).values(next=begun + len(data)))
            if moved.rowcount != 1:
                raise StoreConflict("rates", "another replica counted these entries", "Nothing: they are counted.")
            for counted, tally in tallies.items():
                _keep(connection, counted, tally)
            heard = or_(RATES.c.request == "", RATES.c.told == 1)
            connection.execute(delete(RATES).where(RATES.c.start < millis(now - KEPT), heard))

        if over:
            self._requests.append([_entry(one, tallies[one.counted].uses, now) for one in over], rows)
        else:
            with self._requests.store.write() as connection:
                rows(connection, 0)

    def _uses(self, data: Sequence[bytes], now: datetime) -> dict[_Use, int]:
        """The intents among entries, in their order; what was long ago is nobody's alarm any more."""
        found: dict[_Use, int] = {}
        for one in data:
            entry = self._decoder.decode(one)
            if entry.type == entries.Intent.TYPE and (time := read_time(entry.time)) > now - KEPT:
                use = _Use(entry.request, entry.key, time)
                found[use] = found.get(use, 0) + 1
        return found

    def _grown(self, uses: Mapping[_Use, int], askers: Mapping[str, _Asker]) -> Iterator[_Grown]:
        for use, count in uses.items():
            asker = askers.get(use.request)
            for limit in self._limits:
                subject = _subject(limit.of, use, asker)
                if asker is not None and subject:
                    start = _start(use.time, limit.per)
                    yield _Grown(Counted(start, limit.per, limit.of, asker.tenant, subject), limit, use, count)


class _Grown(NamedTuple):
    """What one use adds to one count."""

    counted: Counted
    limit: RateLimit
    use: _Use
    times: int


def _subject(of: RateOf, use: _Use, asker: _Asker | None) -> str:
    match of:
        case RateOf.KEY:
            return use.key
        case RateOf.PRINCIPAL:
            return "" if asker is None else asker.requester
        case RateOf.PRODUCT:
            return "" if asker is None else asker.product


def _start(time: datetime, per: RatePer) -> datetime:
    """When the hour or day of a time began, in UTC."""
    hour = time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if per is RatePer.HOUR else hour.replace(hour=0)


def _askers(connection: Connection, requests: Collection[str]) -> dict[str, _Asker]:
    """Who asked for these requests, by their ids."""
    found, wanted = {}, sorted(requests)
    for first in range(0, len(wanted), _IDS):
        query = select(REQUESTS.c.id, REQUESTS.c.tenant, REQUESTS.c.requester, REQUESTS.c.product)
        for row in connection.execute(query.where(REQUESTS.c.id.in_(wanted[first : first + _IDS]))):
            found[row.id] = _Asker(row.tenant, row.requester, row.product)
    return found


def _row(counted: Counted) -> ColumnElement[bool]:
    return and_(
        RATES.c.start == millis(counted.start),
        RATES.c.per == counted.per,
        RATES.c.of == counted.of,
        RATES.c.tenant == counted.tenant,
        RATES.c.subject == counted.subject,
    )


def _tally(connection: Connection, counted: Counted) -> _Tally:
    row = connection.execute(select(RATES.c.count, RATES.c.request).where(_row(counted))).first()
    return _Tally(0, "") if row is None else _Tally(row[0], row[1])


def _keep(connection: Connection, counted: Counted, tally: _Tally) -> None:
    values = {"count": tally.uses, "request": tally.request}
    if connection.execute(update(RATES).where(_row(counted)).values(**values)).rowcount:
        return
    key = {"per": counted.per.value, "of": counted.of.value, "tenant": counted.tenant, "subject": counted.subject}
    connection.execute(insert(RATES).values(start=millis(counted.start), told=0, **key, **values))


def _entry(one: _Grown, count: int, now: datetime) -> bytes:
    return entries.Alarm(
        time=now,
        request=one.use.request,
        of=one.limit.of,
        per=one.limit.per,
        above=one.limit.above,
        since=one.counted.start,
        count=count,
        key=Digest.parse(one.use.key) if one.limit.of is RateOf.KEY else None,
    ).encoded()
