"""The log's entries for auditors: `GET /v1/audit/entries`, a page at a time, by request, type and time.

A page looks at `SCAN` entries at most, so that it may be empty and still lead on: `next` is null only at the end of the log. Entries of
signatures name neither request nor time, so that nobody who reads the log alone can connect them: those of a request are known by the
service's rows, and between two times are those that stand behind an entry of that time. Each entry is shown as the text that the
log hashes; by `number` its proof is found in the tiles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from msgspec import Struct
from sqlalchemy import select

from sealwright.log.canonical import read_canonical, read_time
from sealwright.log.merkle import leaf_hash
from sealwright.log.reader import LogReader
from sealwright.service.logpages import LogPages
from sealwright.signing.people import Principal
from sealwright.signing.tables import REQUESTS, SIGNATURES

SCAN = 4096
MOST = 256


class AuditEntry(Struct):
    """One entry. leaf: its hash in hexadecimal, as the tile of level 0 has it; entry: RFC 8785 JSON, the very text that was hashed."""

    number: int
    leaf: str
    entry: str


class AuditEntries(Struct):
    """Entries in their order. size: how many the log has; next: what to give as `after` for the next page, null at the end."""

    entries: list[AuditEntry]
    size: int
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an auditor asks for. since, until: aware, None for any; leaves: numbers of the signatures of `request`."""

    type: str = ""
    request: str = ""
    since: datetime | None = None
    until: datetime | None = None
    leaves: frozenset[int] = frozenset()


@get("/v1/audit/entries", summary="Entries of the log, for auditors")
async def audit_entries(
    who: NamedDependency[Principal],
    pages: NamedDependency[LogPages],
    after: Annotated[int, QueryParameter(ge=-1, le=2**62)] = -1,
    count: Annotated[int, QueryParameter(ge=1, le=MOST)] = MOST,
    type_: Annotated[str, QueryParameter(name="type", max_length=40)] = "",
    request_id: Annotated[str, QueryParameter(name="request", max_length=64)] = "",
    since: FromQuery[datetime | None] = None,
    until: FromQuery[datetime | None] = None,
) -> AuditEntries:
    """Those behind the number `after`; whom no policy allows `read-log` hears that there are none such."""

    def read() -> AuditEntries:
        pages.must_read(who)
        leaves = _leaves(pages.reader, who.tenant, request_id) if request_id else frozenset[int]()
        wanted = Wanted(type_, request_id, _aware(since), _aware(until), leaves)
        return page(pages.reader, wanted, after + 1, count)

    return await asyncio.to_thread(read)


def page(reader: LogReader, wanted: Wanted, first: int, count: int) -> AuditEntries:
    """The entries from `first` on that are wanted, at most `count` of at most `SCAN`. Raises LogRefused, StoreUnavailable."""
    size = reader.head().size
    scanned = reader.entries(first, min(SCAN, max(0, size - first)))
    found: list[AuditEntry] = []
    last = first - 1
    for last, entry in _that_are(wanted, first, scanned):
        if entry is not None:
            found.append(AuditEntry(last, leaf_hash(entry).hex(), entry.decode("utf-8", "backslashreplace")))
            if len(found) == count:
                break
    return AuditEntries(found, size, last if last + 1 < size else None)


def _that_are(wanted: Wanted, first: int, entries: list[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Each number, with its entry where that is wanted."""
    time: datetime | None = None
    for number, entry in enumerate(entries, first):
        try:
            fields = read_canonical(entry)
            time = read_time(str(fields["time"])) if "time" in fields else time
        except ValueError:
            fields = {}  # it is shown where everything is
        timed = _between(time, wanted)
        typed = not wanted.type or fields.get("type") == wanted.type
        asked = not wanted.request or fields.get("request") == wanted.request or number in wanted.leaves
        yield number, entry if timed and typed and asked else None


def _between(time: datetime | None, wanted: Wanted) -> bool:
    if time is None:
        return wanted.since is None
    return (wanted.since is None or time >= wanted.since) and (wanted.until is None or time < wanted.until)


def _leaves(reader: LogReader, tenant: str, request: str) -> frozenset[int]:
    """The numbers of the signatures of a request of this tenant."""
    chunks = (
        select(SIGNATURES.c.leaf, SIGNATURES.c.count)
        .join(REQUESTS, REQUESTS.c.id == SIGNATURES.c.request)
        .where(REQUESTS.c.id == request, REQUESTS.c.tenant == tenant)
    )
    with reader.store.read() as connection:
        found = connection.execute(chunks).all()
    return frozenset(number for leaf, count in found for number in range(leaf, leaf + count))


def _aware(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)
