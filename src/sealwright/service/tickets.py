"""Tickets: by what a CI job waits for what it asked, since its token is good once.

    ticket = tickets.give(principal, id_, until)                # with the answer to who asked by a token
    principal = tickets.principal(ticket, method, path, now)     # of who shows it, or IdentityRefused

1. It is 32 octets that nobody can guess; the database has their SHA-256.
2. It is good for reading one request, its signatures and its proofs, until its time: `GET` of these three paths, letter by letter.
   And for timestamps (`POST /v1/timestamps`), which are made over anything and say nothing of who asked.
   It asks for no signature, approves nothing and withdraws nothing, so a row that somebody writes lets them read what they could read there.
3. Whose it is, is the machine as the register has it now, with issuer, audience, subject and claims of its token; where the register
   wants others since, it is nobody's. Policies decide what it may read, as ever.
4. A request has one: that of the job that asked last.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from sealwright.errors import IdentityRefused
from sealwright.log.canonical import canonical_json, read_canonical
from sealwright.signing.people import People, Principal
from sealwright.signing.requestrows import millis
from sealwright.signing.tables import TICKETS
from sealwright.store.engine import Store

PREFIX = "swt_"
AFTER = timedelta(hours=1)  # for fetching what was signed in the last minute of a request
_OCTETS = 32
_PATH = re.compile(r"/v1/requests/([0-9a-f]{64})(/signatures|/proofs)?")
_HEAD = ("iss", "aud", "sub")  # as in tokens, and no register lists a claim by these names
_TIMESTAMPS = ("POST", "/v1/timestamps")
_NEXT = "Ask again with a new token."


class Tickets:
    """The tickets of one service. people: the register as it is now; used by any thread."""

    def __init__(self, store: Store, people: Callable[[], People]) -> None:
        self._store = store
        self._people = people

    def give(self, principal: Principal, id_: str, until: datetime, now: datetime) -> str:
        """A new ticket for a request, "" for whoever can show a certificate again. until: when the request has ended."""
        machine = self._people().machines.get(principal.id)
        if machine is None or machine.token is None:
            return ""
        ticket = PREFIX + secrets.token_urlsafe(_OCTETS)
        head = dict(zip(_HEAD, machine.token.head, strict=True))
        claims = canonical_json({**dict(principal.claims), **head})
        row = {"request": id_, "digest": _digest(ticket), "machine": principal.id, "claims": claims}
        with self._store.write() as connection:
            connection.execute(delete(TICKETS).where((TICKETS.c.request == id_) | (TICKETS.c.expires < millis(now))))
            connection.execute(insert(TICKETS).values(**row, expires=millis(until + AFTER)))
        return ticket

    def principal(self, ticket: str, method: str, path: str, now: datetime) -> Principal:
        """Who shows a ticket; IdentityRefused where it is not good, or not for this."""
        with self._store.read() as connection:
            row = connection.execute(select(TICKETS).where(TICKETS.c.digest == _digest(ticket))).one_or_none()
        asked = _PATH.fullmatch(path)
        if row is None or row.expires < millis(now):
            raise _nobody("there is no such ticket, or it has ended")
        reads = method == "GET" and asked is not None and asked[1] == row.request
        if not reads and (method, path) != _TIMESTAMPS:
            raise _nobody(f"it is a ticket of another request, or for reading alone ({method})")
        said = {name: str(value) for name, value in read_canonical(bytes(row.claims)).items()}
        head = tuple(said.pop(name, "") for name in _HEAD)
        return self._people().again(row.machine, head, tuple(said.items()), now)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()


def _nobody(what: str) -> IdentityRefused:
    return IdentityRefused("ticket", what, _NEXT)
