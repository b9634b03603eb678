"""What an emergency owes: two other officers look at it afterwards, each with a signature of their own key, within a set time.

    follow_up_text(id_, Outcome.CONFIRMED)                      what an officer signs, as an approval
    FollowUps(requests).look(principal, id_, outcome, approval)
    FollowUps(requests).to_tell(now)                            whom the alarm has not reached yet, by the rows
    FollowUps(requests).unheard(now)                            and what the log has that they would keep silent

Neither who asked nor who let it through looks at it: who that was, that it is owed and whether it is settled says the log, and never a
row (A130). Every word that counts is verified again when the second one comes; then an entry of the log says what became of it: disputed
where one of them disputes it. Until then it is loud: told when it is used, when its time is over, and every day after that. When it was
told last is a row's word, so each replica also tells by itself what it has not told for longer than that; what the log has and the rows have
otherwise is told at once, and put right. A receiver may hear of one several times.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from sealwright.artifact.digest import Digest
from sealwright.errors import RequestOver, RequestRefused, SealwrightError, StoreConflict
from sealwright.log import entries
from sealwright.log.canonical import canonical_json
from sealwright.log.entryfields import Outcome
from sealwright.signing.approval import Approval, Approver, Scheme, approver_of
from sealwright.signing.emergencies import Emergencies
from sealwright.signing.history import History
from sealwright.signing.people import Principal, Role
from sealwright.signing.policy import FOLLOW_UP_OFFICERS
from sealwright.signing.requestrows import keep_private, millis, owe, time_of
from sealwright.signing.requests import Requests
from sealwright.signing.signcounts import take
from sealwright.signing.standings import Standing
from sealwright.signing.storedrequest import StoredRequest, doers_text, read_users
from sealwright.signing.tables import APPROVALS, FOLLOWUPS, LOOKS, REQUESTS

TYPE = "sealwright/follow-up/1"
AGAIN = timedelta(days=1)
MAX_TOLD = 100
UNHEARD = timedelta(minutes=10)
_SLACK = timedelta(hours=1)
_SECOND = timedelta(seconds=1)
_LAST = millis(datetime(9999, 1, 1, tzinfo=UTC))
_OFFICERS = "Two other officers of the tenant look at it."


class Alarm(NamedTuple):
    """An emergency that somebody must hear of. late: its time is over; hidden: the rows say otherwise than the log; tenant: "" where they
    have no such request any more."""

    request: str
    tenant: str
    due: datetime
    late: bool
    hidden: bool = False


class Unheard(NamedTuple):
    """trouble: why the log could not be read to its end."""

    alarms: list[Alarm]
    trouble: SealwrightError | None


def follow_up_text(id_: str, outcome: Outcome) -> bytes:
    """What an officer signs, as an approval: no request has this form."""
    return canonical_json({"type": TYPE, "request": id_, "outcome": outcome.value})


class FollowUps:
    """The emergencies of one service; used by any thread, but whom to tell by one alone."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._emergencies = Emergencies(requests.writer)
        self._heard: dict[str, datetime] = {}  # when this replica told of one
        self._seen: dict[str, datetime] = {}  # since when it knows one

    def look(self, principal: Principal, id_: str, outcome: Outcome, approval: Approval) -> Standing:
        """Take an officer's word in; with the second one the log says what became of it.

        RequestRefused for a word that does not hold or is not of another officer, RequestOver where nothing is owed or they said it already;
        LogRefused where rows say otherwise than the log. Said again, it settles what a crash left with enough words.
        """
        requests, now = self._requests, self._requests.clock()
        with requests.store.read() as connection:
            stored = requests.shelf.find(connection, principal, id_, now)
            history = requests.history(connection, stored)
            _check_owed(stored, history)
            involved = _involved(connection, stored, history)
        looked = self._officer(stored, outcome, approval, now)
        if looked is None or looked.person != principal.person or principal.machine:
            raise RequestRefused("follow-up", "its key is none with which you approve as an officer", _OFFICERS)
        if looked.person in involved:
            raise RequestRefused("follow-up", "you asked for it, or let it through", _OFFICERS)
        try:
            with requests.store.write() as connection:
                connection.execute(
                    insert(LOOKS).values(
                        request=id_,
                        person=looked.person,
                        outcome=outcome.value,
                        scheme=approval.scheme,
                        proof=approval.proof,
                        at=millis(now),
                    )
                )
                if looked.counted is not None:
                    take(connection, looked.counted)
        except StoreConflict as cause:
            if not self._settle(stored, history, involved, now):
                raise RequestOver("follow-up", "you have said it already", "Wait for the other officer.") from cause
        else:
            self._settle(stored, history, involved, now)
        return requests.shelf.standing(principal, id_)

    def to_tell(self, now: datetime) -> list[Alarm]:
        """Of which emergencies somebody must hear now: once when they are used, once when they are late, and every day after that."""
        today, yesterday = millis(now), millis(now - AGAIN)
        late = and_(FOLLOWUPS.c.due < today, or_(FOLLOWUPS.c.told < FOLLOWUPS.c.due, FOLLOWUPS.c.told < yesterday))
        query = (
            select(FOLLOWUPS.c.request, FOLLOWUPS.c.due, REQUESTS.c.tenant)
            .join_from(FOLLOWUPS, REQUESTS, FOLLOWUPS.c.request == REQUESTS.c.id)
            .where(or_(FOLLOWUPS.c.told == 0, and_(FOLLOWUPS.c.outcome == "", late)))
            .limit(MAX_TOLD)
        )
        with self._requests.store.read() as connection:
            rows = connection.execute(query).all()
        return [Alarm(row.request, row.tenant, time_of(_by_row(row.due)), _by_row(row.due) < today) for row in rows]

    def unheard(self, now: datetime) -> Unheard:
        """Those of the log that its rows say otherwise of, or that this replica has not told of for too long."""
        trouble = None
        with self._requests.store.read() as connection:
            try:
                self._emergencies.look(connection)
            except (
                SealwrightError
            ) as cause:  # what was read before is told all the same: a broken log must not silence it
                trouble = cause
            return Unheard(self._by_log(connection, now)[:MAX_TOLD], trouble)

    def told(self, alarm: Alarm, now: datetime) -> None:
        """Somebody has heard of it."""
        self._heard[alarm.request] = now
        with self._requests.store.write() as connection:
            if alarm.hidden and alarm.tenant:
                connection.execute(delete(FOLLOWUPS).where(FOLLOWUPS.c.request == alarm.request))
                owe(connection, alarm.request, alarm.due)
            connection.execute(update(FOLLOWUPS).where(FOLLOWUPS.c.request == alarm.request).values(told=millis(now)))

    def _by_log(self, connection: Connection, now: datetime) -> list[Alarm]:
        owed = self._emergencies.open
        self._seen = {id_: self._seen.get(id_, now) for id_ in owed}
        self._heard = {id_: at for id_, at in self._heard.items() if id_ in owed}
        alarms = []
        for id_, due in owed.items():
            tenant = connection.execute(select(REQUESTS.c.tenant).where(REQUESTS.c.id == id_)).scalar() or ""
            row = connection.execute(select(FOLLOWUPS).where(FOLLOWUPS.c.request == id_)).one_or_none()
            hidden = not tenant or row is None or row.outcome != "" or _by_row(row.due) > millis(due + _SECOND)
            if self._is_to_tell(id_, due, hidden, now):
                alarms.append(Alarm(id_, tenant, due, due < now, hidden))
        return alarms

    def _is_to_tell(self, id_: str, due: datetime, hidden: bool, now: datetime) -> bool:
        heard = self._heard.get(id_)
        if heard is None:
            return hidden or abs(now - self._seen[id_]) > UNHEARD
        if hidden:
            return abs(now - heard) > AGAIN
        return due < now and (heard > now or now - max(heard, due) > AGAIN + _SLACK)

    def _officer(self, stored: StoredRequest, outcome: Outcome, approval: Approval, now: datetime) -> Approver | None:
        """The officer of now whose word this is; None where it is nobody's."""
        people = self._requests.people()
        register = people.approvers(stored.request.tenant, now)
        found = approver_of(follow_up_text(stored.id, outcome), approval, register, "follow-up")
        return found if found is not None and Role.OFFICER in people.persons[found.person].roles else None

    def _settle(self, stored: StoredRequest, history: History, involved: frozenset[str], now: datetime) -> bool:
        """With enough words that hold now, write down what became of it; False where there are not enough."""
        with self._requests.store.read() as connection:
            rows = connection.execute(select(LOOKS).where(LOOKS.c.request == stored.id)).all()
        words: dict[str, tuple[Outcome, Digest]] = {}
        for row in rows:
            outcome, approval = Outcome(row.outcome), Approval(Scheme(row.scheme), bytes(row.proof))
            officer = self._officer(stored, outcome, approval, now)
            if officer is not None and officer.person not in involved:
                words[officer.person] = outcome, Digest.of(approval.proof)
        if len(words) < FOLLOW_UP_OFFICERS:
            return False
        disputed = any(outcome is Outcome.DISPUTED for outcome, _ in words.values())
        became = Outcome.DISPUTED if disputed else Outcome.CONFIRMED
        private = doers_text("looked", words, stored.id)
        entry = entries.FollowUp(
            time=now,
            request=stored.id,
            outcome=became,
            approvals=tuple(proof for _, proof in words.values()),
            private=Digest.of(private),
        )

        def settled(connection: Connection, _: int) -> None:
            if self._requests.news(connection, stored.id, history):
                raise RequestOver(
                    stored.id, "something became of it meanwhile", "Look how it stands, and say it again."
                )
            connection.execute(update(FOLLOWUPS).where(FOLLOWUPS.c.request == stored.id).values(outcome=became.value))
            keep_private(connection, stored.id, private)

        self._requests.append([entry.encoded()], settled)
        return True


def _by_row(said: object) -> int:
    """When, in milliseconds: a row may say a time that is none, or a text."""
    return min(max(said, 0), _LAST) if isinstance(said, int) else _LAST


def _check_owed(stored: StoredRequest, history: History) -> None:
    if history.until is None:
        raise RequestOver(stored.id, "it owes no follow-up", "Only emergencies that were used do.")
    if history.outcome is not None:
        raise RequestOver(stored.id, f"it is {history.outcome} already", "Nothing more is owed.")


def _involved(connection: Connection, stored: StoredRequest, history: History) -> frozenset[str]:
    """Who asked for it, or answers for who did, who let it through, and who approved it besides."""
    query = select(APPROVALS.c.person).where(APPROVALS.c.request == stored.id)
    users = (read_users(connection, used) for used in history.used)
    return frozenset((stored.person, *connection.execute(query).scalars())).union(*users)
