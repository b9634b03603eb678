"""Requests as they stand, for whoever may see them: whoever may not hears that there is none (A121).

States are for finding things: what a request may still do is judged where it is used (`requests.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from sealwright.signing.request import SigningRequest
from sealwright.signing.requestrows import time_of
from sealwright.signing.storedrequest import StoredRequest
from sealwright.signing.tables import APPROVALS, FOLLOWUPS, PREPARES, SIGNATURES, State


class Owed(NamedTuple):
    """What is owed after an emergency. outcome: "" while nobody has looked at it."""

    until: datetime
    outcome: str


class Standing(NamedTuple):
    """A request as it stands. request: its bytes; approvals: persons who approved; prepares: persons and machines that prepared the same; signed: how many of its artifacts.

    owed: its follow-up, None where it was no emergency, or has not been used.
    """

    id: str
    number: int
    state: State
    request: SigningRequest
    created: datetime
    attempt: int
    problem: str
    approvals: tuple[str, ...]
    prepares: tuple[str, ...]
    signed: int
    reason: str
    owed: Owed | None


class Listed(NamedTuple):
    """A page of requests. next: the number to go on behind, None at the end; some of those before it may not be shown."""

    standings: list[Standing]
    next: int | None


def standing_of(connection: Connection, stored: StoredRequest, now: datetime) -> Standing:
    """How it stands by its rows."""
    persons = connection.execute(
        select(APPROVALS.c.person).where(APPROVALS.c.request == stored.id).order_by(APPROVALS.c.number)
    ).scalars()
    others = connection.execute(
        select(PREPARES.c.principal).where(PREPARES.c.request == stored.id).order_by(PREPARES.c.number)
    ).scalars()
    signed = connection.execute(select(func.sum(SIGNATURES.c.count)).where(SIGNATURES.c.request == stored.id)).scalar()
    owed = None
    if stored.request.emergency:
        row = connection.execute(select(FOLLOWUPS).where(FOLLOWUPS.c.request == stored.id)).one_or_none()
        owed = None if row is None else Owed(time_of(row.due), row.outcome)
    over = stored.state is State.WAITING and stored.request.expires < now
    return Standing(
        id=stored.id,
        number=stored.number,
        state=State.EXPIRED if over else stored.state,
        request=stored.request,
        created=stored.created,
        attempt=stored.attempt,
        problem=stored.problem,
        approvals=tuple(persons),
        prepares=tuple(others),
        signed=int(signed or 0),
        reason="" if stored.asker is None else stored.asker.reason,
        owed=owed,
    )
