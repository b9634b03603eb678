"""Requests as people and machines may look at them; whoever may not hears that there is none (A121).

shelf.standing(principal, id_)
shelf.listed(principal, (State.WAITING,), after=0)
shelf.signatures(principal, id_)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from sealwright.errors import NoSuchRequest, PolicyRefused, RequestOver
from sealwright.signing.items import MAX_ITEMS, Item
from sealwright.signing.orders import Value
from sealwright.signing.people import Principal
from sealwright.signing.policy import Decision, Policies
from sealwright.signing.policyquestion import Action, Context, Question
from sealwright.signing.requestrows import made_of
from sealwright.signing.standings import Listed, Standing, standing_of
from sealwright.signing.storedrequest import StoredRequest, read_stored
from sealwright.signing.tables import FOLLOWUPS, REQUESTS, State
from sealwright.signing.wish import Wish, body_of, subject_seen
from sealwright.store.engine import Store

PAGE = 100


@dataclass(frozen=True, slots=True)
class Shelf:
    """The requests of one service. service, origin: ids of it and of its log; used by any thread."""

    store: Store
    service: str
    origin: str
    policies: Callable[[], Policies]
    clock: Callable[[], datetime]

    def said_before(self, principal: Principal, wish: Wish) -> Standing:
        """What the same word was said for; RequestOver where it was another wish."""
        with self.store.read() as connection:
            row = connection.execute(
                select(REQUESTS.c.id, REQUESTS.c.body).where(
                    REQUESTS.c.requester == principal.id, REQUESTS.c.word == wish.word
                )
            ).one_or_none()
        if row is None:
            raise NoSuchRequest(wish.word[:80], "nothing was asked by this word", "Ask for the signatures again.")
        if bytes(row.body) != body_of(wish):
            raise RequestOver(
                f"Idempotency-Key {wish.word[:80]}",
                "it was used for another request",
                "Use a new one for each request.",
            )
        return self.standing(principal, row.id)

    def standing(self, principal: Principal, id_: str) -> Standing:
        """How a request stands; NoSuchRequest where there is none that they may see."""
        now = self.clock()
        with self.store.read() as connection:
            return standing_of(connection, self.find(connection, principal, id_, now), now)

    def listed(self, principal: Principal, states: Sequence[State], after: int, count: int = PAGE) -> Listed:
        """Requests of the principal's tenant that they may see, oldest first, behind a number."""
        now, found = self.clock(), []
        with self.store.read() as connection:
            query = select(REQUESTS.c.id, REQUESTS.c.number).where(
                REQUESTS.c.tenant == principal.tenant, REQUESTS.c.number > after
            )
            if states:
                query = query.where(REQUESTS.c.state.in_(states))
            looked_at = connection.execute(query.order_by(REQUESTS.c.number).limit(count)).all()
            for row in looked_at:
                stored = self.stored(connection, row.id)
                if self._allowed(principal, Action.READ, stored, now).allowed:
                    found.append(standing_of(connection, stored, now))
        return Listed(found, looked_at[-1].number if len(looked_at) == count else None)

    def owing(self, principal: Principal, count: int = PAGE) -> list[Standing]:
        """The emergencies of the principal's tenant that they may see and nobody has settled, the first due first."""
        now, found = self.clock(), []
        query = (
            select(REQUESTS.c.id)
            .join_from(FOLLOWUPS, REQUESTS, FOLLOWUPS.c.request == REQUESTS.c.id)
            .where(REQUESTS.c.tenant == principal.tenant, FOLLOWUPS.c.outcome == "")
            .order_by(FOLLOWUPS.c.due)
            .limit(count)
        )
        with self.store.read() as connection:
            for id_ in connection.execute(query).scalars().all():
                stored = self.stored(connection, id_)
                if self._allowed(principal, Action.READ, stored, now).allowed:
                    found.append(standing_of(connection, stored, now))
        return found

    def items(self, principal: Principal, id_: str, first: int, count: int = PAGE) -> list[Item]:
        """What a request asks to sign, for approvers to look at and prepare again."""
        with self.store.read() as connection:
            stored = self.find(connection, principal, id_, self.clock())
            return list(stored.items())[first : first + count]

    def request_bytes(self, principal: Principal, id_: str) -> bytes:
        """The bytes that approvers sign."""
        return self.standing(principal, id_).request.encoded()

    def signatures(self, principal: Principal, id_: str, first: int = 0, count: int = MAX_ITEMS) -> dict[int, Value]:
        """The signatures that are made, by the number of their item."""
        with self.store.read() as connection:
            stored = self.find(connection, principal, id_, self.clock())
            made = made_of(connection, id_)
        return {
            number: made[number] for number in range(first, min(first + count, stored.request.count)) if number in made
        }

    # for those who do something with a request

    def stored(self, connection: Connection, id_: str) -> StoredRequest:
        """A request, whoever looks; NoSuchRequest, LogRefused where it is not what it is named by."""
        return read_stored(connection, id_, self.service, self.origin)

    def find(self, connection: Connection, principal: Principal, id_: str, now: datetime) -> StoredRequest:
        """A request that somebody may see; NoSuchRequest."""
        stored = read_stored(connection, id_, self.service, self.origin, principal.tenant)
        if principal.tenant != stored.request.tenant or not self._allowed(principal, Action.READ, stored, now).allowed:
            raise NoSuchRequest(id_[:80], "there is no such request", "Check its number.")
        return stored

    def must(self, principal: Principal, action: Action, stored: StoredRequest, now: datetime) -> None:
        """PolicyRefused unless the policies let somebody do that with a request now."""
        decision = self._allowed(principal, action, stored, now)
        if not decision.allowed:
            raise PolicyRefused(f"{action}", decision.reason, decision.advice or "Ask who decides what is allowed.")

    def _allowed(self, principal: Principal, action: Action, stored: StoredRequest, now: datetime) -> Decision:
        subject = subject_seen(stored.request)
        return self.policies().decide(Question(principal, action, subject, Context(now, requester=stored.person)))
