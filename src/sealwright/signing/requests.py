"""The life of a request for signatures: asked, approved, used once, signed, handed out.

    waiting --approved--> signing --> signed
       |                     +------> failed --attempted again--> signing
       +--> withdrawn, expired

1. Asking: what is asked is parsed; policies say whether it may be asked, and with how many approvals it would be signed. The service
   makes the request's bytes; they, and the digest of who asked, are in the log before anybody hears of it.
2. Approving: somebody else's own key over those bytes (`approval.py`), in the log.
3. Using: all of it is judged again from what nobody can have written into the database (A130): the request's bytes have its name and
   lead to the log's checkpoint, every approval is verified with a key that the register has now, none is the requester's, the
   policies of today allow it, and no entry of the log has used, withdrawn or ended it. Then an entry says that it is used.
4. Signing: the key's desk (`desk.py`), intents and results in the log. What failed may be attempted again, which is a second entry;
   what was signed before is not signed again.
States and rows only find things. Whoever may not see a request hears that there is none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Row, and_, func, insert, select, update

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import key_digest
from sealwright.errors import (
    IdentityRefused,
    JournalError,
    LogRefused,
    NoSuchRequest,
    PolicyRefused,
    RequestOver,
    RequestRefused,
    SealwrightError,
    StoreConflict,
)
from sealwright.formats.format import Prepared
from sealwright.log import entries
from sealwright.log.canonical import Field, canonical_json, read_canonical
from sealwright.log.proof import check_proof, read_proof
from sealwright.log.writer import LogWriter
from sealwright.signing.approval import Approval, Scheme, approvers, key_of
from sealwright.signing.desk import Order, Value
from sealwright.signing.items import MAX_ITEMS, Item, common_claims, prepared_of, root_of_items
from sealwright.signing.people import People, Principal, Role
from sealwright.signing.policy import Decision, Needed, Policies
from sealwright.signing.policyquestion import Action, Context, Question
from sealwright.signing.request import SigningRequest, new_nonce, read_request
from sealwright.signing.requestprovenance import keep, kept, proven_of
from sealwright.signing.requestrows import entries_about, items_of, made_of, millis, packed, time_of, usage
from sealwright.signing.stamps import utc_now
from sealwright.signing.tables import APPROVALS, PRIVATE, REPLICAS, REQUESTS, SIGNATURES, State
from sealwright.signing.wish import ServedKey, Wish, about, body_of, needed_for, prepared_items, subject_of
from sealwright.store.engine import Store

SALT_BYTES = 16
APPEND_S = 60.0
LEASE = timedelta(seconds=30)
PAGE = 100
_AGAIN = "Ask for the signatures again."
_TAMPERED = "Keep the database as evidence: somebody has written into it. Ask for the signatures anew."


ENDED = "the service ended while it was signing"
OVER = frozenset((State.SIGNED, State.WITHDRAWN, State.EXPIRED))


class Standing(NamedTuple):
    """A request as it stands. request: its bytes; approvals: persons who approved; signed: how many of its artifacts."""

    id: str
    number: int
    state: State
    request: SigningRequest
    created: datetime
    attempt: int
    problem: str
    approvals: tuple[str, ...]
    signed: int
    reason: str


class Listed(NamedTuple):
    """A page of requests. next: the number to go on behind, None at the end; some of those before it may not be shown."""

    standings: list[Standing]
    next: int | None


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that is being recorded. recorded: done once it is in the log; order: what its desk gets then, None while it must wait."""

    request: SigningRequest
    id: str
    needed: Needed
    recorded: Future[tuple[int, ...]]
    order: Order | None


class _Stored(NamedTuple):
    """A row of `requests`, its request read and compared with its name."""

    row: Row[tuple[object, ...]]
    request: SigningRequest
    principal: Principal
    reason: str


class Requests:
    """The requests of one service. people, policies: what holds now; every method that writes waits for the log.

    Used by any thread. service: the id that approvals are bound to; replica: who does the signing, of several.
    """

    def __init__(
        self,
        store: Store,
        writer: LogWriter,
        keys: Mapping[str, ServedKey],
        people: Callable[[], People],
        policies: Callable[[], Policies],
        service: str,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.store = store
        self.writer = writer
        self.keys = keys
        self.people = people
        self.policies = policies
        self.service = service
        self.clock = clock
        self.replica = secrets.token_hex(8)

    # asking

    def ask(self, principal: Principal, wish: Wish) -> Asking:
        """Judge a wish and order its record. NoSuchRequest for a key of others, RequestRefused, LimitExceeded, PolicyRefused.

        Where the word was said before, `recorded` raises StoreConflict: `said_before` finds what it was said for.
        """
        now = self.clock().replace(microsecond=0)
        key = self._key(principal, wish.key)
        prepared = prepared_items(wish)
        claims = list(dict.fromkeys(one.claims for one in prepared))
        policies = self.policies()
        proven = proven_of(wish.provenance, prepared, policies)
        asks = [
            Question(
                principal,
                Action.REQUEST,
                subject_of(key, prepared[0].format, one, len(prepared), prepared[0].content is not None),
                proven.within(self._context(policies, principal, one.product or "", now, wish.emergency)),
            )
            for one in claims
        ]
        needed = needed_for(policies, asks)
        request = SigningRequest(
            service=self.service,
            origin=self.writer.head.origin,
            nonce=new_nonce(),
            requester=principal.id,
            tenant=principal.tenant,
            root=root_of_items([item.line for item in wish.items]),
            count=len(prepared),
            format=prepared[0].format,
            kind=prepared[0].kind,
            construction=key.desk.enrolled.construction.value,
            key=key_digest(key.desk.enrolled.public_key),
            policy=policies.digest,
            claims=common_claims(claims),
            not_before=now,
            expires=now + wish.valid,
            provenance=proven.digest,
            emergency=wish.emergency,
        )
        private = _private_text(principal, request.nonce, wish.reason)
        digest, id_ = Digest.of(private), request.id
        starts = needed == Needed(0, 0)
        lines = [_requested(request, id_, digest, now, prepared[0])]
        if starts:
            lines.append(entries.Used(time=now, request=id_, attempt=1, private=digest).encoded())
        values = {
            "id": id_,
            "tenant": principal.tenant,
            "requester": principal.id,
            "state": State.SIGNING if starts else State.WAITING,
            "request": request.encoded(),
            "items": b"".join(item.line + b"\n" for item in wish.items),
            "contents": packed([item.content for item in wish.items]),
            "private": str(digest),
            "product": request.claims.product or "",
            "count": len(prepared),
            "created": millis(now),
            "expires": millis(request.expires),
            "attempt": 1 if starts else 0,
            "holder": self.replica,
            "problem": "",
            "word": wish.word or None,
            "body": body_of(wish) if wish.word else None,
        }

        def rows(connection: Connection, first: int) -> None:
            connection.execute(insert(REQUESTS).values(**values, leaf=first))
            connection.execute(insert(PRIVATE).values(digest=str(digest), request=id_, text=private))
            keep(connection, id_, wish.provenance)

        order = self._order(request, id_, digest, policies.digest, dict(enumerate(prepared))) if starts else None
        return Asking(request, id_, needed, self.writer.append(lines, rows), order)

    def begin(self, asking: Asking) -> Future[dict[int, Value]]:
        """Have it signed, now that it is recorded and needs nobody's approval."""
        if asking.order is None:
            raise RequestRefused(asking.id, "it waits for approvals", "Wait for them.")
        return self._sign(asking.request, asking.order)

    def said_before(self, principal: Principal, wish: Wish) -> Standing:
        """What the same word was said for; RequestRefused where it was another wish."""
        with self.store.read() as connection:
            row = connection.execute(
                select(REQUESTS.c.id, REQUESTS.c.body).where(
                    REQUESTS.c.requester == principal.id, REQUESTS.c.word == wish.word
                )
            ).one_or_none()
        if row is None:
            raise NoSuchRequest(wish.word[:80], "nothing was asked by this word", _AGAIN)
        if bytes(row.body) != body_of(wish):
            raise RequestOver(
                f"Idempotency-Key {wish.word[:80]}",
                "it was used for another request",
                "Use a new one for each request.",
            )
        return self.standing(principal, row.id)

    # looking

    def standing(self, principal: Principal, id_: str) -> Standing:
        """How a request stands; NoSuchRequest where there is none that they may see."""
        now = self.clock()
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._may(principal, Action.READ, stored, now)
            return self._standing(connection, stored, now)

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
                stored = self._stored(connection, row.id)
                if self._allowed(principal, Action.READ, stored, now).allowed:
                    found.append(self._standing(connection, stored, now))
        return Listed(found, looked_at[-1].number if len(looked_at) == count else None)

    def items(self, principal: Principal, id_: str, first: int, count: int = PAGE) -> list[Item]:
        """What a request asks to sign, for approvers to look at and prepare again."""
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._may(principal, Action.READ, stored, self.clock())
            return list(items_of(stored.row))[first : first + count]

    def request_bytes(self, principal: Principal, id_: str) -> bytes:
        """The bytes that approvers sign."""
        return self.standing(principal, id_).request.encoded()

    def signatures(self, principal: Principal, id_: str, first: int = 0, count: int = MAX_ITEMS) -> dict[int, Value]:
        """The signatures that are made, by the number of their item."""
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._may(principal, Action.READ, stored, self.clock())
            made = made_of(connection, id_)
        return {
            number: made[number] for number in range(first, min(first + count, stored.request.count)) if number in made
        }

    # deciding

    def approve(self, principal: Principal, id_: str, approval: Approval) -> Standing:
        """Take an approval in; where it was the last one that is needed, signing begins.

        RequestRefused for one that does not hold, is not theirs, their own request's or comes too late; PolicyRefused.
        """
        now = self.clock()
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._may(principal, Action.READ, stored, now)
            self._open(connection, stored, now)
        self._must(principal, Action.APPROVE, stored, now)
        person = self.people().cms_approver(
            key_of(stored.request.encoded(), approval, "approval"), principal.tenant, now
        )
        if person is None or person != principal.person or principal.machine:
            raise RequestRefused(
                "approval", "its key is none with which you approve", "Sign with your own approval key."
            )
        if person == stored.principal.person:
            raise RequestRefused("approval", "nobody approves what they asked for themselves", "Ask somebody else.")
        private = _by_whom("approver", person, id_)
        data = stored.request.encoded()
        entry = entries.Approval(
            time=now,
            request=id_,
            asked=Digest.of(data),
            scheme=entries.Scheme(approval.scheme.value),
            approval=Digest.of(approval.proof),
            key=key_of(data, approval, "approval"),
            policy=self.policies().digest,
            private=Digest.of(private),
        ).encoded()

        def rows(connection: Connection, first: int) -> None:
            state, number = connection.execute(
                select(REQUESTS.c.state, select(func.count()).where(APPROVALS.c.request == id_).scalar_subquery())
                .where(REQUESTS.c.id == id_)
                .with_for_update()
            ).one()
            if state != State.WAITING:
                raise RequestOver(id_, f"it is {state}", "Nothing more has to be approved.")
            connection.execute(
                insert(APPROVALS).values(
                    request=id_,
                    number=number,
                    person=person,
                    scheme=approval.scheme,
                    proof=approval.proof,
                    at=millis(now),
                    leaf=first,
                )
            )
            connection.execute(insert(PRIVATE).values(digest=str(Digest.of(private)), request=id_, text=private))

        try:
            self._append([entry], rows)
        except StoreConflict as cause:
            raise RequestOver("approval", "you have approved it already", "Wait for the others.") from cause
        self.use(id_)
        return self.standing(principal, id_)

    def withdraw(self, principal: Principal, id_: str) -> Standing:
        """End a request that is not used yet."""
        now = self.clock()
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._may(principal, Action.READ, stored, now)
        self._must(principal, Action.WITHDRAW, stored, now)
        private = _by_whom("withdrawn_by", principal.person, id_)
        entry = entries.Withdrawn(time=now, request=id_, private=Digest.of(private))
        self._end(id_, State.WITHDRAWN, entry, private)
        return self.standing(principal, id_)

    def attempt(self, principal: Principal, id_: str) -> Standing:
        """Sign again what failed; only what has no signature yet is signed."""
        now = self.clock()
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._may(principal, Action.READ, stored, now)
        if principal.person != stored.principal.person:
            raise RequestRefused(id_, "somebody else asked for it", "Ask them to attempt it again.")
        self.use(id_)
        return self.standing(principal, id_)

    def use(self, id_: str) -> Future[dict[int, Value]] | None:
        """Judge a request anew and have it signed, where it is allowed now; None where it still waits (rule 3)."""
        now = self.clock().replace(microsecond=0)
        policies, people = self.policies(), self.people()
        with self.store.read() as connection:
            stored = self._stored(connection, id_)
            self._open(connection, stored, now)
            approvals = [
                Approval(Scheme(row.scheme), bytes(row.proof))
                for row in connection.execute(
                    select(APPROVALS).where(APPROVALS.c.request == id_).order_by(APPROVALS.c.number)
                )
            ]
            made = made_of(connection, id_)
            items = list(items_of(stored.row))
            statement = kept(connection, stored.request)
        request, principal = stored.request, stored.principal
        if root_of_items([item.line for item in items]) != request.root or len(items) != request.count:
            raise LogRefused(id_, "the list of what it signs is another one", _TAMPERED)
        data = request.encoded()
        persons = approvers(
            data, approvals, principal.person, lambda key: people.cms_approver(key, request.tenant, now)
        )
        officers = sum(Role.OFFICER in people.persons[person].roles for person in persons)
        prepared = [prepared_of(item, f"item {number}") for number, item in enumerate(items)]
        proven = proven_of(statement, prepared, policies)
        key = self._served(request)
        for claims in dict.fromkeys(one.claims for one in prepared):
            question = Question(
                principal,
                Action.SIGN,
                subject_of(key, request.format, claims, request.count, prepared[0].content is not None),
                replace(
                    proven.within(self._context(policies, principal, claims.product or "", now, request.emergency)),
                    approvals=len(persons),
                    officers=officers,
                ),
            )
            if not policies.decide(question).allowed:
                return None
        self._check_logged(stored)
        attempt = int(str(stored.row._mapping["attempt"])) + 1
        private = _used_text(principal, id_, sorted(persons))
        digest = Digest.of(private)

        def rows(connection: Connection, _: int) -> None:
            taken = connection.execute(
                update(REQUESTS)
                .where(
                    REQUESTS.c.id == id_,
                    REQUESTS.c.attempt == attempt - 1,
                    REQUESTS.c.state.in_((State.WAITING, State.FAILED)),
                )
                .values(state=State.SIGNING, attempt=attempt, holder=self.replica, problem="")
            )
            if taken.rowcount != 1:
                raise RequestOver(id_, "it is used already", "Look how it stands.")
            connection.execute(insert(PRIVATE).values(digest=str(digest), request=id_, text=private))

        proofs = tuple(Digest.of(one.proof) for one in approvals)
        self._append(
            [entries.Used(time=now, request=id_, attempt=attempt, approvals=proofs, private=digest).encoded()], rows
        )
        left = {number: one for number, one in enumerate(prepared) if number not in made}
        return self._sign(request, self._order(request, id_, digest, policies.digest, left, attempt))

    # keeping house

    def sweep(self) -> None:
        """End what is past its day, and give up what another replica was signing when it died; this one says that it lives."""
        now = self.clock()
        with self.store.write() as connection:
            gone = connection.execute(update(REPLICAS).where(REPLICAS.c.id == self.replica).values(seen=millis(now)))
            if gone.rowcount == 0:
                connection.execute(insert(REPLICAS).values(id=self.replica, started=millis(now), seen=millis(now)))
            alive = select(REPLICAS.c.id).where(REPLICAS.c.seen > millis(now - LEASE))
            connection.execute(
                update(REQUESTS)
                .where(REQUESTS.c.state == State.SIGNING, REQUESTS.c.holder.not_in(alive))
                .values(state=State.FAILED, problem=ENDED)
            )
            late = list(
                connection.execute(
                    select(REQUESTS.c.id)
                    .where(REQUESTS.c.state.in_((State.WAITING, State.FAILED)), REQUESTS.c.expires < millis(now))
                    .limit(PAGE)
                ).scalars()
            )
        for id_ in late:
            with suppress(RequestOver):  # another replica was first
                self._end(id_, State.EXPIRED, entries.Expired(time=now, request=id_))

    def unfinished(self) -> tuple[str, ...]:
        """The requests that were being signed when their service ended, at most 256: what a start reports."""
        with self.store.read() as connection:
            found = connection.execute(
                select(REQUESTS.c.id)
                .where(REQUESTS.c.state == State.FAILED, REQUESTS.c.problem == ENDED)
                .order_by(REQUESTS.c.number.desc())
                .limit(256)
            ).scalars()
            return tuple(found)

    # inside

    def _key(self, principal: Principal, name: str) -> ServedKey:
        key = self.keys.get(name)
        if key is None or key.tenant != principal.tenant:
            raise NoSuchRequest(
                f"key {name[:80]}", "there is no such key", "Name a key that your tenant has in service."
            )
        return key

    def _served(self, request: SigningRequest) -> ServedKey:
        for key in self.keys.values():
            if key_digest(key.desk.enrolled.public_key) == request.key and key.tenant == request.tenant:
                return key
        raise RequestRefused("key", "it is no longer in service", "Ask for the signatures by another key.")

    def _context(
        self, policies: Policies, principal: Principal, product: str, now: datetime, emergency: bool
    ) -> Context:
        if not policies.settings.quotas:
            return Context(now, emergency=emergency)
        with self.store.read() as connection:
            mine = usage(connection, REQUESTS.c.requester == principal.id, now)
            its = usage(connection, and_(REQUESTS.c.tenant == principal.tenant, REQUESTS.c.product == product), now)
        return Context(now, emergency=emergency, by_principal=mine, of_product=its)

    def _allowed(self, principal: Principal, action: Action, stored: _Stored, now: datetime) -> Decision:
        request = stored.request
        subject = replace(about(request.claims), tenant=request.tenant, format=request.format, count=request.count)
        return self.policies().decide(
            Question(principal, action, subject, Context(now, requester=stored.principal.person))
        )

    def _may(self, principal: Principal, action: Action, stored: _Stored, now: datetime) -> None:
        """Whoever may not see it hears that there is none (A121)."""
        if principal.tenant != stored.request.tenant or not self._allowed(principal, action, stored, now).allowed:
            raise NoSuchRequest(stored.request.id, "there is no such request", "Check its number.")

    def _must(self, principal: Principal, action: Action, stored: _Stored, now: datetime) -> None:
        decision = self._allowed(principal, action, stored, now)
        if not decision.allowed:
            raise PolicyRefused(f"{action}", decision.reason, decision.advice or "Ask who decides what is allowed.")

    def _stored(self, connection: Connection, id_: str) -> _Stored:
        row = connection.execute(select(REQUESTS).where(REQUESTS.c.id == id_)).one_or_none()
        if row is None:
            raise NoSuchRequest(id_[:80], "there is no such request", "Check its number.")
        data = bytes(row.request)
        if Digest.of(data).value.hex() != id_:
            raise LogRefused(id_, "its bytes are not those that it is named by", _TAMPERED)
        private = connection.execute(select(PRIVATE.c.text).where(PRIVATE.c.digest == row.private)).scalar()
        if private is None or str(Digest.of(bytes(private))) != row.private:
            raise LogRefused(id_, "the record of who asked is gone or another one", _TAMPERED)
        request = read_request(data, id_)
        if (request.service, request.origin) != (self.service, self.writer.key.name):  # A118
            raise LogRefused(
                id_, f"it was made by the service {request.service} for the log {request.origin}", _TAMPERED
            )
        principal, reason = self._asker(request, read_canonical(bytes(private)))
        return _Stored(row, request, principal, reason)

    def _asker(self, request: SigningRequest, private: Mapping[str, Field]) -> tuple[Principal, str]:
        """Who asked, with the roles of then: whether they still may is asked of the register when it is used."""
        claims = private.get("claims", ())
        pairs = [tuple(one.partition("=")[::2]) for one in claims] if isinstance(claims, tuple) else []
        return Principal(
            id=str(private["requester"]),
            person=str(private["person"]),
            machine="machine" in private,
            tenant=request.tenant,
            roles=frozenset(Role(str(one)) for one in private["roles"]),  # type: ignore[union-attr]
            claims=tuple((name, value) for name, value in pairs),
        ), str(private.get("reason", ""))

    def _open(self, connection: Connection, stored: _Stored, now: datetime) -> None:
        """RequestRefused where it was used, withdrawn or has ended, whatever its row says; looked up in the log."""
        row, request = stored.row._mapping, stored.request
        state = State(str(row["state"]))
        if state in OVER or state is State.SIGNING:
            raise RequestOver(request.id, f"it is {state}", "Ask for the signatures again where you need them.")
        if not request.holds(now):
            raise RequestOver(request.id, f"it was good until {request.expires:%Y-%m-%d %H:%M} UTC", _AGAIN)
        self._still_in_register(stored.principal, now)
        attempts = 0
        for entry in entries_about(connection, request.id, int(str(row["leaf"])) + 1):
            kind = entry.get("type")
            if kind in ("withdrawn", "expired"):
                raise LogRefused(request.id, f"by its row it is {state}, and by the log it is {kind}", _TAMPERED)
            attempts += kind == "used"
        if attempts != int(str(row["attempt"])):
            raise LogRefused(request.id, "by the log it was used, and by its row it was not", _TAMPERED)

    def _still_in_register(self, principal: Principal, now: datetime) -> None:
        try:
            self.people().known(principal.id, now)
        except IdentityRefused as cause:
            raise RequestRefused("requester", "who asked is no longer in the register", "Ask anew.") from cause

    def _check_logged(self, stored: _Stored) -> None:
        """The entry of the request leads to the log's signed checkpoint, and is of exactly these bytes and this private part."""
        row, request = stored.row._mapping, stored.request
        first = prepared_of(next(items_of(stored.row)), "item 0")
        private, created = Digest.parse(str(row["private"])), time_of(row["created"])
        wanted = _requested(request, request.id, private, created, first)
        try:
            proof = read_proof(self.writer.proof(int(str(row["leaf"]))), "log")
            check_proof(proof, wanted, [self.writer.key], [], "log")
        except SealwrightError as cause:
            raise LogRefused(
                request.id, f"the log does not have it as it stands here ({cause.what})", _TAMPERED
            ) from cause

    def _order(
        self,
        request: SigningRequest,
        id_: str,
        private: Digest,
        policy: Digest,
        items: Mapping[int, Prepared],
        attempt: int = 1,
    ) -> Order:
        return Order(id_, request.tenant, request.emergency, policy, private, tuple(items.items()), attempt)

    def _sign(self, request: SigningRequest, order: Order) -> Future[dict[int, Value]]:
        future = self._served(request).desk.order(order)

        def failed(done: Future[dict[int, Value]]) -> None:
            if (cause := done.exception()) is not None:
                self._failed(order.request, cause)

        future.add_done_callback(failed)
        return future

    def _failed(self, id_: str, cause: BaseException) -> None:
        why = str(cause) if isinstance(cause, SealwrightError) else "internal error"
        with self.store.write() as connection:
            connection.execute(
                update(REQUESTS)
                .where(REQUESTS.c.id == id_, REQUESTS.c.state == State.SIGNING, REQUESTS.c.holder == self.replica)
                .values(state=State.FAILED, problem=why[:500])
            )

    def _end(
        self, id_: str, state: State, entry: entries.Withdrawn | entries.Expired, private: bytes | None = None
    ) -> None:
        """End what is not used. private: who did it, where somebody did."""

        def rows(connection: Connection, _: int) -> None:
            ended = connection.execute(
                update(REQUESTS)
                .where(REQUESTS.c.id == id_, REQUESTS.c.state.in_((State.WAITING, State.FAILED)))
                .values(state=state)
            )
            if ended.rowcount != 1:
                raise RequestOver(id_, "it is used or over already", "Look how it stands.")
            if private is not None:
                connection.execute(insert(PRIVATE).values(digest=str(Digest.of(private)), request=id_, text=private))

        self._append([entry.encoded()], rows)

    def _append(self, entries: Sequence[bytes], rows: Callable[[Connection, int], None]) -> tuple[int, ...]:
        try:
            return self.writer.append(entries, rows).result(APPEND_S)
        except TimeoutError as cause:
            raise JournalError("log", "it did not answer in time", "See to its database.") from cause

    def _standing(self, connection: Connection, stored: _Stored, now: datetime) -> Standing:
        row = stored.row._mapping
        id_ = stored.request.id
        persons = connection.execute(
            select(APPROVALS.c.person).where(APPROVALS.c.request == id_).order_by(APPROVALS.c.number)
        ).scalars()
        signed = connection.execute(select(func.sum(SIGNATURES.c.count)).where(SIGNATURES.c.request == id_)).scalar()
        state = State(str(row["state"]))
        if state is State.WAITING and not stored.request.holds(now):
            state = State.EXPIRED
        return Standing(
            id=id_,
            number=int(str(row["number"])),
            state=state,
            request=stored.request,
            created=time_of(row["created"]),
            attempt=int(str(row["attempt"])),
            problem=str(row["problem"]),
            approvals=tuple(persons),
            signed=int(signed or 0),
            reason=stored.reason,
        )


def _requested(request: SigningRequest, id_: str, private: Digest, now: datetime, first: Prepared) -> bytes:
    """The log's entry of a request. first: of what it asks to sign."""
    return entries.Request(
        time=now,
        request=id_,
        asked=Digest.parse(f"sha256:{id_}"),
        prepared=Digest(HashName.SHA256, request.root),
        count=request.count,
        format=request.format,
        artifact=next(iter(first.digests.values())),
        key=request.key,
        construction=request.construction,
        policy=request.policy,
        expires=request.expires,
        claimed=entries.Claimed.ASSERTED if first.content is None else entries.Claimed.SIGNED,
        claims=request.claims,
        build=request.provenance,
        private=private,
    ).encoded()


def _private_text(principal: Principal, nonce: str, reason: str) -> bytes:
    fields: dict[str, Field] = {
        "salt": secrets.token_hex(SALT_BYTES),
        "nonce": nonce,
        "requester": principal.id,
        "person": principal.person,
        "roles": tuple(sorted(role.value for role in principal.roles)),
        "claims": tuple(f"{name}={value}" for name, value in principal.claims),
    }
    if principal.machine:
        fields["machine"] = "yes"
    if reason:
        fields["reason"] = reason
    return canonical_json(fields)


def _by_whom(did: str, person: str, id_: str) -> bytes:
    return canonical_json({"salt": secrets.token_hex(SALT_BYTES), "request": id_, did: person})


def _used_text(principal: Principal, id_: str, persons: Sequence[str]) -> bytes:
    fields: dict[str, Field] = {
        "salt": secrets.token_hex(SALT_BYTES),
        "request": id_,
        "requester": principal.id,
        "person": principal.person,
        "approvers": tuple(persons),
    }
    return canonical_json(fields)
