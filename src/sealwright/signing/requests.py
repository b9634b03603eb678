"""The life of a request for signatures: asked, approved, used once, signed, handed out.

    waiting --approved--> signing --> signed
       |                     +------> failed --attempted again--> signing
       +--> withdrawn, expired

1. Asking: what is asked is parsed; policies say whether it may be asked, and with how many approvals it would be signed. The service
   makes the request's bytes; they, and the digest of who asked, are in the log before anybody hears of it. Quotas are counted in the
   transaction that records it, so that of several at once none slips through.
2. Approving: somebody else's own key over those bytes (`approval.py`), in the log. The same of a second prepare (`secondprepare.py`); what
   the service came to by itself, of uploaded files, is in the log too (`uploads.py`).
3. Using: all of it is judged again from what nobody can have written into the database (A130): the request's bytes have its name; by
   the log, proved up to its checkpoint (`history.py`), it was asked so, not withdrawn, has not ended, was attempted as often as its row
   says, and the signatures it has are those that are there; every approval and second prepare is in the log too, holds by a key that the
   register has now, and is of somebody whom the policies of today let give it; none is the requester's, of then or of now; who asked is
   still there, and has no role that was taken away or given since; the policies of today allow it. Then an entry says that it is used.
4. Signing: the key's desk (`desk.py`), intents and results in the log. It begins once the record is durable, whether or not who asked
   still listens. What failed may be attempted again, which is a second entry; what was signed before is not signed again.
5. Emergencies: an officer calls one, and it is used like every other request; what it owes is in the same transaction (`followup.py`).
States and rows only find things. Whoever may not see a request hears that there is none.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from sealwright.artifact.digest import Digest
from sealwright.errors import (
    JournalError,
    NoSuchRequest,
    PolicyRefused,
    RequestOver,
    RequestRefused,
    SealwrightError,
    StoreConflict,
)
from sealwright.formats.format import Prepared
from sealwright.log import entries
from sealwright.log.entryfields import Scheme
from sealwright.log.writer import LogWriter
from sealwright.signing.approval import Approval, approver_of
from sealwright.signing.history import Histories, History
from sealwright.signing.judging import asker_now, check_asked, check_history, check_state, judge_use
from sealwright.signing.newrequest import Serving, new_request, rows_of
from sealwright.signing.orders import Order, Value
from sealwright.signing.people import People, Principal
from sealwright.signing.policy import Needed, Policies
from sealwright.signing.policyquestion import Action, Context, Question, Usage
from sealwright.signing.preparing import why_not_uploaded
from sealwright.signing.request import SigningRequest
from sealwright.signing.requestprovenance import kept, proven_of
from sealwright.signing.requestrows import approvals_of, keep_private, made_of, millis, owe, prepares_of, usage
from sealwright.signing.shelf import Shelf
from sealwright.signing.signcounts import take
from sealwright.signing.stamps import utc_now
from sealwright.signing.standings import Standing
from sealwright.signing.storedrequest import (
    StoredRequest,
    asker_text,
    doer_text,
    requested,
    used_text,
)
from sealwright.signing.tables import APPROVALS, REQUESTS, State
from sealwright.signing.wish import ServedKey, Wish, claims_are_signed, needed_for, prepared_items, subject_of
from sealwright.store.engine import Store

APPEND_S = 60.0
_AGAIN = "Ask for the signatures again."


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that is being recorded. recorded: done once it is in the log; answer: its signatures then, None while it must wait."""

    request: SigningRequest
    id: str
    needed: Needed
    recorded: Future[tuple[int, ...]]
    answer: Future[dict[int, Value]] | None


class Requests:
    """The requests of one service. people, policies: what holds now; every method that writes waits for the log.

    Used by any thread. service: the id that approvals are bound to; replica: who does the signing, of several; largest_upload: of the files
    that are taken, in bytes, -1 where none is.
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
        largest_upload: int = -1,
    ) -> None:
        self.store = store
        self.writer = writer
        self.shelf = Shelf(store, service, writer.key.name, policies, clock)
        self.keys = keys
        self.people = people
        self.policies = policies
        self.clock = clock
        self.largest_upload = largest_upload
        self.replica = secrets.token_hex(8)
        self._histories = Histories(writer)
        self._lock = threading.Lock()  # of what is below
        self._going: set[tuple[str, int]] = set()  # the attempts that this replica is signing, from before their record

    # asking

    def ask(self, principal: Principal, wish: Wish) -> Asking:
        """Judge a wish, order its record, and where it needs nobody's approval its signatures once that is durable.

        NoSuchRequest for a key of others, RequestRefused, LimitExceeded, PolicyRefused. Where the word was said before, `recorded` raises
        StoreConflict: `said_before` finds what it was said for. `recorded` raises PolicyRefused where a quota was used up meanwhile.
        """
        now = self.clock().replace(microsecond=0)
        key = self._key(principal, wish.key)
        prepared = prepared_items(wish)
        claims = list(dict.fromkeys(one.claims for one in prepared))
        policies = self.policies()
        proven = proven_of(wish.provenance, prepared, policies)
        signed = claims_are_signed(prepared)
        subjects = [subject_of(key, prepared[0].format, one, len(prepared), signed) for one in claims]

        def asks(connection: Connection | None, besides: ColumnElement[bool] | None = None) -> list[Question]:
            return [
                Question(
                    principal,
                    Action.REQUEST,
                    one,
                    proven.within(self._context(connection, principal, one.product, now, wish.emergency, besides)),
                )
                for one in subjects
            ]

        questions = self._counting(policies, asks)
        needed = needed_for(policies, questions)
        service = Serving(self.shelf.service, self.writer.key.name, policies.digest)
        request = new_request(service, principal, wish, prepared, key.desk.enrolled, proven.digest, now)
        private = asker_text(principal, request.nonce, wish.reason)
        digest, id_ = Digest.of(private), request.id
        starts = needed == Needed(0, 0) and not wish.emergency
        if needed.uploaded and (
            why := next(filter(None, (why_not_uploaded(one, self.largest_upload) for one in prepared)), "")
        ):
            raise RequestRefused("upload", f"the policies want it, and {why}", "Ask the operator; docs/service.md.")
        lines = [requested(request, id_, digest, now, prepared[0])]
        if starts:
            lines.append(entries.Used(time=now, request=id_, attempt=1, private=digest).encoded())
        new = rows_of(request, wish, private, State.SIGNING if starts else State.WAITING, self.replica)

        def counted_anew(connection: Connection, _: int) -> None:
            facts = policies.settings.facts
            if any(
                facts(then) != facts(one)
                for then, one in zip(questions, asks(connection, REQUESTS.c.id != id_), strict=True)
            ):
                raise PolicyRefused("quota", "others used it up meanwhile", _AGAIN)

        rows = counted_anew if policies.settings.quotas else None
        if not starts:
            return Asking(request, id_, needed, self.writer.append(lines, rows, new), None)
        order = self._order(request, id_, digest, policies.digest, dict(enumerate(prepared)))
        lines += key.desk.intents(order, now)
        recorded = self._recorded_then_signed(key, order, lambda: self.writer.append(lines, rows, new))
        return Asking(request, id_, needed, recorded, order.answer)

    # deciding

    def approve(self, principal: Principal, id_: str, approval: Approval) -> Standing:
        """Take an approval in; where it was the last one that is needed, signing begins.

        RequestRefused for one that does not hold, is not theirs, their own request's or comes too late; PolicyRefused.
        """
        now, people = self.clock(), self.people()
        with self.store.read() as connection:
            stored = self.shelf.find(connection, principal, id_, now)
            self.check_open(connection, stored, now, people)
        self.shelf.must(principal, Action.APPROVE, stored, now)
        data = stored.request.encoded()
        approver = approver_of(data, approval, people.approvers(principal.tenant, now), "approval")
        if approver is None or approver.person != principal.person or principal.machine:
            raise RequestRefused(
                "approval", "its key is none with which you approve", "Sign with your own approval key."
            )
        person = approver.person
        if person == stored.person:
            raise RequestRefused("approval", "nobody approves what they asked for themselves", "Ask somebody else.")
        private = doer_text("approver", person, id_)
        entry = entries.Approval(
            time=now,
            request=id_,
            asked=Digest.of(data),
            scheme=Scheme(approval.scheme.value),
            approval=Digest.of(approval.proof),
            key=approver.key,
            policy=self.policies().digest,
            private=Digest.of(private),
        ).encoded()

        def rows(connection: Connection, first: int) -> None:
            state = connection.execute(
                select(REQUESTS.c.state).where(REQUESTS.c.id == id_).with_for_update()
            ).scalar_one()
            if state != State.WAITING:
                raise RequestOver(id_, f"it is {state}", "Nothing more has to be approved.")
            connection.execute(
                insert(APPROVALS).values(
                    request=id_,
                    number=len(approvals_of(connection, id_)),
                    person=person,
                    scheme=approval.scheme,
                    proof=approval.proof,
                    at=millis(now),
                    leaf=first,
                )
            )
            if approver.counted is not None:
                take(connection, approver.counted)
            keep_private(connection, id_, private)

        try:
            self.append([entry], rows)
        except StoreConflict as cause:
            raise RequestOver("approval", "you have approved it already", "Wait for the others.") from cause
        self.use(id_)
        return self.shelf.standing(principal, id_)

    def withdraw(self, principal: Principal, id_: str) -> Standing:
        """End a request that is not used yet."""
        now = self.clock()
        with self.store.read() as connection:
            stored = self.shelf.find(connection, principal, id_, now)
        self.shelf.must(principal, Action.WITHDRAW, stored, now)
        private = doer_text("withdrawn_by", principal.person, id_)
        entry = entries.Withdrawn(time=now, request=id_, private=Digest.of(private))
        self.end(id_, State.WITHDRAWN, entry, private)
        return self.shelf.standing(principal, id_)

    def attempt(self, principal: Principal, id_: str) -> Standing:
        """Sign again what failed; only what has no signature yet is signed."""
        with self.store.read() as connection:
            stored = self.shelf.find(connection, principal, id_, self.clock())
        if principal.person != stored.person:
            raise RequestRefused(id_, "somebody else asked for it", "Ask them to attempt it again.")
        self.use(id_)
        return self.shelf.standing(principal, id_)

    def use(self, id_: str) -> Future[dict[int, Value]] | None:
        """Judge a request anew and have it signed, where it is allowed now; None where it still waits (rule 3)."""
        now = self.clock().replace(microsecond=0)
        policies, people = self.policies(), self.people()
        with self.store.read() as connection:
            stored = self.shelf.stored(connection, id_)
            history = self.check_open(connection, stored, now, people)
            approvals, prepares = approvals_of(connection, id_), prepares_of(connection, id_)
            made = made_of(connection, id_)
            statement = kept(connection, stored.request)
        key = self._served(stored.request)
        mine = REQUESTS.c.id != id_

        def context(principal: Principal, product: str) -> Context:
            if not policies.settings.quotas:
                return Context(now, emergency=stored.request.emergency)
            with self.store.read() as connection:
                return self._context(connection, principal, product, now, stored.request.emergency, besides=mine)

        judged = judge_use(stored, history, approvals, prepares, made, statement, key, policies, people, now, context)
        if judged is None:
            return None
        if not judged.left:  # its state was written over
            self._set_signed(id_)
            raise RequestOver(id_, "all of it is signed", "Fetch its signatures.")
        attempt = history.attempts + 1
        private = used_text(judged.principal, id_, judged.approvers, judged.preparers)
        digest = Digest.of(private)
        used = entries.Used(
            time=now,
            request=id_,
            attempt=attempt,
            approvals=tuple(judged.approvers.values()),
            prepares=tuple(judged.preparers.values()),
            private=digest,
        )
        lines = [used.encoded()]
        due = None
        if judged.follow_up is not None and history.until is None:
            due = now + timedelta(hours=judged.follow_up.hours)
            lines.append(
                entries.Emergency(
                    time=now, request=id_, approvals=used.approvals, policy=policies.digest, until=due, private=digest
                ).encoded()
            )

        def rows(connection: Connection, _: int) -> None:
            taken = connection.execute(
                update(REQUESTS)
                .where(
                    REQUESTS.c.id == id_,
                    REQUESTS.c.attempt == history.attempts,
                    REQUESTS.c.state.in_((State.WAITING, State.FAILED)),
                )
                .values(state=State.SIGNING, attempt=attempt, holder=self.replica, problem="")
            )
            if taken.rowcount != 1 or self._histories.since(connection, id_, history):
                raise RequestOver(id_, "it is used already", "Look how it stands.")
            keep_private(connection, id_, private)
            if due is not None:
                owe(connection, id_, due)

        order = self._order(stored.request, id_, digest, policies.digest, judged.left, attempt)
        lines += key.desk.intents(order, now)
        try:
            self._recorded_then_signed(key, order, lambda: self.writer.append(lines, rows)).result(APPEND_S)
        except TimeoutError as cause:
            raise JournalError("log", "it did not answer in time", "See to its database.") from cause
        return order.answer

    def history(self, connection: Connection, stored: StoredRequest) -> History:
        """What the log has about a request; LogRefused where that is not what its row says, or who asked was erased."""
        history = self._histories.read(connection, stored.id, stored.leaf)
        check_asked(stored, history)
        return history

    def news(self, connection: Connection, id_: str, history: History) -> bool:
        """Whether the log has more about a request than its history, as far as this transaction sees."""
        return self._histories.since(connection, id_, history)

    def signing(self) -> frozenset[str]:
        """What this replica is signing, or about to record that it does."""
        with self._lock:
            return frozenset(id_ for id_, _ in self._going)

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
            if key.desk.enrolled.digest == request.key and key.tenant == request.tenant:
                return key
        raise RequestRefused("key", "it is no longer in service", "Ask for the signatures by another key.")

    def _counting(self, policies: Policies, asks: Callable[[Connection | None], list[Question]]) -> list[Question]:
        if not policies.settings.quotas:
            return asks(None)
        with self.store.read() as connection:
            return asks(connection)

    def _context(
        self,
        connection: Connection | None,
        principal: Principal,
        product: str,
        now: datetime,
        emergency: bool,
        besides: ColumnElement[bool] | None = None,
    ) -> Context:
        """Circumstances of a request. connection: where quotas are to be counted; besides: the request itself, which was counted when it was asked."""
        if connection is None:
            return Context(now, emergency=emergency)

        def used(*whose: ColumnElement[bool]) -> Usage:
            return usage(connection, and_(*whose) if besides is None else and_(besides, *whose), now)

        return Context(
            now,
            emergency=emergency,
            by_principal=used(REQUESTS.c.requester == principal.id),
            of_product=used(REQUESTS.c.tenant == principal.tenant, REQUESTS.c.product == product),
        )

    def check_open(self, connection: Connection, stored: StoredRequest, now: datetime, people: People) -> History:
        """What the log has about a request that something can still be done with; RequestOver, RequestRefused, LogRefused."""
        check_state(stored, now)
        history = self._histories.read(connection, stored.id, stored.leaf)
        check_history(stored, history)
        asker_now(stored, people, now)
        return history

    def _order(
        self,
        request: SigningRequest,
        id_: str,
        private: Digest,
        policy: Digest,
        items: Mapping[int, Prepared],
        attempt: int = 1,
    ) -> Order:
        return Order(
            id_, request.tenant, request.emergency, policy, private, tuple(items.items()), self.replica, attempt
        )

    def _recorded_then_signed(
        self, key: ServedKey, order: Order, record: Callable[[], Future[tuple[int, ...]]]
    ) -> Future[tuple[int, ...]]:
        """Record a use, and have it signed as soon as that is durable, whoever still waits. From before the record on it is this replica's."""
        order.answer.set_running_or_notify_cancel()  # it goes on, whoever still waits
        with self._lock:
            self._going.add((order.request, order.attempt))

        def ended(done: Future[dict[int, Value]]) -> None:
            try:
                if (cause := done.exception()) is not None:
                    self._failed(order, cause)
            finally:
                self._gone(order)

        def recorded(done: Future[tuple[int, ...]]) -> None:
            if (cause := done.exception()) is not None:
                self._gone(order)
                order.answer.set_exception(cause)
                return
            order.answer.add_done_callback(ended)
            key.desk.order(order)

        try:
            future = record()
        except BaseException:
            self._gone(order)
            raise
        future.add_done_callback(recorded)
        return future

    def _set_signed(self, id_: str) -> None:
        with self.store.write() as connection:
            connection.execute(
                update(REQUESTS)
                .where(REQUESTS.c.id == id_, REQUESTS.c.state.in_((State.WAITING, State.FAILED)))
                .values(state=State.SIGNED)
            )

    def _gone(self, order: Order) -> None:
        with self._lock:
            self._going.discard((order.request, order.attempt))

    def _failed(self, order: Order, cause: BaseException) -> None:
        why = str(cause) if isinstance(cause, SealwrightError) else "internal error"
        with self.store.write() as connection:
            connection.execute(
                update(REQUESTS)
                .where(
                    REQUESTS.c.id == order.request,
                    REQUESTS.c.state == State.SIGNING,
                    REQUESTS.c.attempt == order.attempt,
                    REQUESTS.c.holder == order.holder,
                )
                .values(state=State.FAILED, problem=why[:500])
            )

    def end(
        self, id_: str, state: State, entry: entries.Withdrawn | entries.Expired, private: bytes | None = None
    ) -> None:
        """End what is not used; RequestOver where it is. private: who did it, where somebody did."""

        def rows(connection: Connection, _: int) -> None:
            ended = connection.execute(
                update(REQUESTS)
                .where(REQUESTS.c.id == id_, REQUESTS.c.state.in_((State.WAITING, State.FAILED)))
                .values(state=state)
            )
            if ended.rowcount != 1:
                raise RequestOver(id_, "it is used or over already", "Look how it stands.")
            if private is not None:
                keep_private(connection, id_, private)

        self.append([entry.encoded()], rows)

    def append(self, lines: Sequence[bytes], rows: Callable[[Connection, int], None]) -> tuple[int, ...]:
        """Record entries with other writes of their transaction, and wait until they are durable; JournalError."""
        try:
            return self.writer.append(lines, rows).result(APPEND_S)
        except TimeoutError as cause:
            raise JournalError("log", "it did not answer in time", "See to its database.") from cause
