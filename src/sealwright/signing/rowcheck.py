"""Whether the rows of requests, approvals, second prepares and signatures are what the log has of them (A130): who wrote into the database shows here.

    for odd in odd_rows(store): ...          one sentence a row, `MAX_ODD` at most

The log itself is checked before (`log/whole.py`). A row that is missing is no finding: what counts is in the log, and old rows may be
taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from sqlalchemy import Connection, select

from sealwright.artifact.digest import Digest
from sealwright.log.canonical import Field, read_canonical
from sealwright.log.tables import ENTRIES
from sealwright.signing.requestrows import made_of
from sealwright.signing.tables import APPROVALS, PREPARES, PRIVATE, REQUESTS
from sealwright.store.engine import Store

MAX_ODD = 20
PAGE = 500


def odd_rows(store: Store) -> Iterator[str]:
    """What does not fit, named by request; StoreUnavailable."""
    yield from islice(_odd(store), MAX_ODD)


def _odd(store: Store) -> Iterator[str]:
    last = 0
    while True:
        with store.read() as connection:
            rows = connection.execute(
                select(REQUESTS.c.number, REQUESTS.c.id, REQUESTS.c.request, REQUESTS.c.private, REQUESTS.c.leaf)
                .where(REQUESTS.c.number > last)
                .order_by(REQUESTS.c.number)
                .limit(PAGE)
            ).all()
            for row in rows:
                if wrong := _of_request(connection, row.id, bytes(row.request), row.private, row.leaf):
                    yield f"request {row.id}: {wrong}"
        if not rows:
            return
        last = rows[-1].number


def _of_request(connection: Connection, id_: str, request: bytes, private: str, leaf: int) -> str:
    """The first thing that does not fit, "" where all does."""
    if Digest.of(request).value.hex() != id_:
        return "its bytes are not those that it is named by"
    entry = _entry(connection, leaf)
    if (entry.get("type"), entry.get("request"), entry.get("private")) != ("request", id_, private):
        return f"entry {leaf} of the log is not about it"
    text = connection.execute(select(PRIVATE.c.text).where(PRIVATE.c.digest == private)).scalar()
    if text is not None and str(Digest.of(bytes(text))) != private:
        return "the record of who asked is another one"
    for table, type_, what in ((APPROVALS, "approval", "approval"), (PREPARES, "prepare", "second prepare")):
        for one in connection.execute(select(table).where(table.c.request == id_)):
            entry = _entry(connection, one.leaf)
            if (entry.get("type"), entry.get("request")) != (type_, id_) or entry.get("approval") != str(
                Digest.of(bytes(one.proof))
            ):
                return f"its {what} {one.number} is not the one of entry {one.leaf}"
    for number, made in made_of(connection, id_).items():
        entry = _entry(connection, made.leaf)
        if (entry.get("type"), entry.get("signature")) != ("signature", str(Digest.of(made.value))):
            return f"its signature {number} is not the one of entry {made.leaf}"
    return ""


def _entry(connection: Connection, number: int) -> Mapping[str, Field]:
    data = connection.execute(select(ENTRIES.c.entry).where(ENTRIES.c.number == number)).scalar()
    try:
        return {} if data is None else read_canonical(bytes(data))
    except ValueError:
        return {}
