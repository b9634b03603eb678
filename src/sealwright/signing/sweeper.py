"""Keeping house over requests: what is past its day ends, what a dead replica was signing is given up, what a crash left approved is used.

sweeper = Sweeper(requests)
for problem in sweeper.sweep(): ...          every few seconds; says that this replica lives

Leases are counted by the database's clock: replicas on several machines need not agree on the time, and one whose clock is ahead takes
nothing from the others. A SQLite file is of one machine, whose clock it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

from sqlalchemy import Connection, delete, func, insert, select, update

from sealwright.errors import RequestOver, SealwrightError
from sealwright.log import entries
from sealwright.signing.requestrows import approvals_of, millis
from sealwright.signing.requests import Requests
from sealwright.signing.tables import APPROVALS, REPLICAS, REQUESTS, State

LEASE = timedelta(seconds=30)
FORGOTTEN = timedelta(days=1)
MANY = 100
ENDED = "the service ended while it was signing"


class Sweeper:
    """Keeps house for the requests of one replica; used by one thread at a time. leased_at: the time by which leases run out."""

    def __init__(self, requests: Requests, leased_at: Callable[[Connection], datetime] | None = None) -> None:
        self._requests = requests
        self._leased_at = leased_at or self._database_time
        self._tried: dict[str, int] = {}  # what was tried to be used, with so many approvals

    def begin(self) -> None:
        """At the start: say that this replica lives, and give up what nobody signs."""
        self._live(self._requests.clock())

    def sweep(self) -> Sequence[SealwrightError]:
        """Keep house once; what stood in the way of single requests, for the operator's log."""
        now = self._requests.clock()
        self._requests.store.end_stalled()  # before anything here waits for what they have locked
        for id_ in self._live(now):
            with suppress(RequestOver):  # another replica was first
                self._requests.end(id_, State.EXPIRED, entries.Expired(time=now, request=id_))
        return self._use_left(now)

    def unfinished(self) -> tuple[str, ...]:
        """The requests that were being signed when their service ended, at most 256: what a start reports."""
        with self._requests.store.read() as connection:
            found = connection.execute(
                select(REQUESTS.c.id)
                .where(REQUESTS.c.state == State.FAILED, REQUESTS.c.problem == ENDED)
                .order_by(REQUESTS.c.number.desc())
                .limit(256)
            ).scalars()
            return tuple(found)

    def _live(self, now: datetime) -> list[str]:
        """What is past its day."""
        replica = self._requests.replica
        with self._requests.store.write() as connection:
            leased = self._leased_at(connection)
            here = connection.execute(update(REPLICAS).where(REPLICAS.c.id == replica).values(seen=millis(leased)))
            if here.rowcount == 0:
                connection.execute(insert(REPLICAS).values(id=replica, started=millis(now), seen=millis(leased)))
            connection.execute(delete(REPLICAS).where(REPLICAS.c.seen < millis(leased - FORGOTTEN)))
            self._give_up(connection, leased)
            late = (
                select(REQUESTS.c.id)
                .where(REQUESTS.c.state.in_((State.WAITING, State.FAILED)), REQUESTS.c.expires < millis(now))
                .limit(MANY)
            )
            return list(connection.execute(late).scalars())

    def _database_time(self, connection: Connection) -> datetime:
        if self._requests.store.is_sqlite:
            return self._requests.clock()
        at = connection.execute(select(func.clock_timestamp())).scalar_one()
        return cast("datetime", at).astimezone(UTC)

    def _give_up(self, connection: Connection, leased: datetime) -> None:
        """What a dead replica was signing, and what this one is not signing although its row says so."""
        alive = select(REPLICAS.c.id).where(REPLICAS.c.seen > millis(leased - LEASE))
        signing = connection.execute(
            select(REQUESTS.c.id, REQUESTS.c.attempt, REQUESTS.c.holder)
            .where(
                REQUESTS.c.state == State.SIGNING,
                (REQUESTS.c.holder == self._requests.replica) | REQUESTS.c.holder.not_in(alive),
            )
            .order_by(REQUESTS.c.id)  # rows are locked in the order in which desks do it
        ).all()
        mine = self._requests.signing()
        for row in signing:
            if row.holder == self._requests.replica and row.id in mine:
                continue
            connection.execute(
                update(REQUESTS)
                .where(
                    REQUESTS.c.id == row.id,
                    REQUESTS.c.state == State.SIGNING,
                    REQUESTS.c.attempt == row.attempt,
                    REQUESTS.c.holder == row.holder,
                )
                .values(state=State.FAILED, problem=ENDED)
            )

    def _use_left(self, now: datetime) -> list[SealwrightError]:
        """Use what waits although it may be used: who approved last was cut off before."""
        with self._requests.store.read() as connection:
            waiting = connection.execute(
                select(REQUESTS.c.id)
                .where(
                    REQUESTS.c.state == State.WAITING,
                    REQUESTS.c.expires >= millis(now),
                    REQUESTS.c.id.in_(select(APPROVALS.c.request)),
                )
                .order_by(REQUESTS.c.number.desc())
                .limit(MANY)
            ).scalars()
            standing = {id_: len(approvals_of(connection, id_)) for id_ in waiting}
        problems = []
        for id_, approvals in standing.items():
            if self._tried.get(id_) == approvals:
                continue
            try:
                self._requests.use(id_)
            except RequestOver:
                continue
            except SealwrightError as cause:
                problems.append(cause)
        self._tried = standing
        return problems
