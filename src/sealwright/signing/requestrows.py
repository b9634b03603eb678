"""Rows of the service's tables as values, and values as rows (`tables.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, func, insert, or_, select

from sealwright.artifact.digest import Digest
from sealwright.log.writer import NewRow
from sealwright.signing.approval import Approval, Scheme
from sealwright.signing.items import Item
from sealwright.signing.orders import Value
from sealwright.signing.policyquestion import Usage
from sealwright.signing.tables import APPROVALS, FOLLOWUPS, PREPARES, PRIVATE, REQUESTS, SIGNATURES, State

_PRIVATE = insert(PRIVATE)


def packed(contents: Sequence[bytes | None]) -> bytes:
    """The content of each item that has one: its number and length, 4 octets each, and its bytes."""
    return b"".join(
        number.to_bytes(4, "big") + len(content).to_bytes(4, "big") + content
        for number, content in enumerate(contents)
        if content is not None
    )


def items_of(lines: bytes, packed_contents: bytes) -> Iterator[Item]:
    """What a row asks to sign, in order: the other way of `packed`."""
    whole, at = packed_contents, 0
    contents: dict[int, bytes] = {}
    while at < len(whole):
        number, size = int.from_bytes(whole[at : at + 4], "big"), int.from_bytes(whole[at + 4 : at + 8], "big")
        contents[number] = whole[at + 8 : at + 8 + size]
        at += 8 + size
    for number, line in enumerate(lines.split(b"\n")[:-1]):
        yield Item(line, contents.get(number))


def made_of(connection: Connection, id_: str) -> dict[int, Value]:
    """The signatures that a request has, by the number of their item."""
    made: dict[int, Value] = {}
    for row in connection.execute(select(SIGNATURES).where(SIGNATURES.c.request == id_)):
        packed, at = bytes(row._mapping["values"]), 0
        for place in range(row._mapping["count"]):
            size = int.from_bytes(packed[at : at + 4], "big")
            made[row.first + place] = Value(packed[at + 4 : at + 4 + size], time_of(row.at), row.leaf + place)
            at += 4 + size
    return made


def approvals_of(connection: Connection, id_: str) -> list[Approval]:
    """The approvals of a request, in the order in which they came."""
    return _proofs(connection, APPROVALS, id_)


def prepares_of(connection: Connection, id_: str) -> list[Approval]:
    """What others signed who prepared the same, in the order in which it came."""
    return _proofs(connection, PREPARES, id_)


def keep_private(connection: Connection, id_: str, text: bytes) -> None:
    """Keep the private part of an entry about a request, by its digest."""
    connection.execute(_PRIVATE, _private(id_, text))


def private_row(id_: str, text: bytes) -> NewRow:
    """The same as a row that goes in with an entry."""
    return NewRow(_PRIVATE, _private(id_, text))


def owe(connection: Connection, id_: str, due: datetime) -> None:
    """Write down that a request was used as an emergency. due: when its follow-up is."""
    connection.execute(insert(FOLLOWUPS).values(request=id_, due=millis(due), outcome="", told=0))


def usage(connection: Connection, whose: ColumnElement[bool], now: datetime) -> Usage:
    """How many artifacts were asked for in the hour and the day before now. whose: a condition on `requests`.

    What was withdrawn does not count, unless it was used before: some of it may be signed.
    """
    counts = or_(REQUESTS.c.state != State.WITHDRAWN, REQUESTS.c.attempt > 0)

    def since(age: timedelta) -> int:
        query = select(func.coalesce(func.sum(REQUESTS.c.count), 0)).where(
            whose, REQUESTS.c.created > millis(now - age), counts
        )
        return int(connection.execute(query).scalar() or 0)

    return Usage(since(timedelta(hours=1)), since(timedelta(days=1)))


def _private(id_: str, text: bytes) -> dict[str, object]:
    return {"digest": str(Digest.of(text)), "request": id_, "text": text}


def _proofs(connection: Connection, table: Table, id_: str) -> list[Approval]:
    rows = connection.execute(select(table).where(table.c.request == id_).order_by(table.c.number))
    return [Approval(Scheme(row.scheme), bytes(row.proof)) for row in rows]


def millis(time: datetime) -> int:
    """A time as rows have it, milliseconds since 1970."""
    return round(time.timestamp() * 1000)


def time_of(millis: object) -> datetime:
    """The time in a row, aware."""
    return datetime.fromtimestamp(int(str(millis)) / 1000, UTC)
