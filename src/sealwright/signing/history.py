"""What the log has about a request, proved up to the log's signed checkpoint: what counts where a row says something else (A130).

    history = Histories(writer).read(connection, id_, leaf)
    history.request, history.approvals, history.prepares, history.uploaded, history.attempts, history.signatures, history.over

The entries are read from the request's own one on and hashed into the tree that the newest checkpoint signs, so that none can be edited,
left out or put in: neither the table of entries nor any index of them is believed. What was read of a request is remembered, and the
next look begins where that ended. A look costs some 3 us for each entry that the log got since.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from sealwright.artifact.digest import Digest
from sealwright.errors import LogRefused, LogRewound
from sealwright.log.canonical import Field, read_canonical, read_time
from sealwright.log.entries import (
    Approval,
    Emergency,
    Expired,
    FollowUp,
    Intent,
    Prepare,
    Refusal,
    Request,
    Upload,
    Used,
    Withdrawn,
)
from sealwright.log.entry import TYPE as SIGNATURE
from sealwright.log.entryfields import Outcome, Result
from sealwright.log.merkle import leaf_hash
from sealwright.log.reader import Head, check_head, read_entries, read_head, tree_of
from sealwright.log.tree import Edge, Growing
from sealwright.log.writer import LogWriter
from sealwright.signing.storedrequest import TAMPERED

_LOOK = 4096
_REMEMBERED = 256
_INTENT, _REFUSAL = (f'"type":"{one.TYPE}"'.encode() for one in (Intent, Refusal))


class Over(StrEnum):
    """How a request has ended without being used."""

    WITHDRAWN = Withdrawn.TYPE
    EXPIRED = Expired.TYPE


@dataclass(frozen=True, slots=True)
class History:
    """What the log has about one request. size: of the log that was read.

    request: the entry that it was asked by; approvals: when each was given, by the digest of its proof; prepares: the same of who prepared
    it too; uploaded: numbers of the items whose files the service prepared to the same; unlike: how often it came to something else; used:
    digests of the private parts of its uses; signatures: digests of the values that were made by it; over: how it ended, None while it
    has not; until: when the follow-up of its emergency is due, None where there was none; outcome: of that, None while nobody has settled it.
    """

    size: int
    request: bytes
    approvals: Mapping[Digest, datetime]
    prepares: Mapping[Digest, datetime]
    uploaded: frozenset[int]
    unlike: int
    used: tuple[Digest, ...]
    signatures: tuple[Digest, ...]
    over: Over | None
    until: datetime | None
    outcome: Outcome | None

    @property
    def attempts(self) -> int:
        """How often it was used."""
        return len(self.used)


@dataclass(slots=True)
class _Reading:
    """What was read about a request. leaf: where that began; edge: where it ended, which a checkpoint has signed."""

    leaf: int
    edge: Edge
    request: bytes = b""
    approvals: dict[Digest, datetime] = field(default_factory=dict)
    prepares: dict[Digest, datetime] = field(default_factory=dict)
    uploaded: set[int] = field(default_factory=set)
    unlike: int = 0
    used: tuple[Digest, ...] = ()
    privates: tuple[bytes, ...] = ()  # the same as entries have them
    signatures: list[Digest] = field(default_factory=list)
    over: Over | None = None
    until: datetime | None = None
    outcome: Outcome | None = None

    @property
    def history(self) -> History:
        return History(
            size=self.edge.size,
            request=self.request,
            approvals=dict(self.approvals),
            prepares=dict(self.prepares),
            uploaded=frozenset(self.uploaded),
            unlike=self.unlike,
            used=self.used,
            signatures=tuple(self.signatures),
            over=self.over,
            until=self.until,
            outcome=self.outcome,
        )

    def take(self, entry: bytes, needle: bytes) -> None:
        if needle in entry:
            if _INTENT not in entry:
                self._learn(read_canonical(entry), entry)
        elif any(private in entry for private in self.privates):
            found = read_canonical(entry)
            if found.get("type") == SIGNATURE:
                self.signatures.append(Digest.parse(str(found["signature"])))

    def _learn(self, found: dict[str, Field], entry: bytes) -> None:
        match found.get("type"):
            case Request.TYPE if not self.request:
                self.request = entry
            case Approval.TYPE:
                self.approvals.setdefault(Digest.parse(str(found["approval"])), read_time(found["time"]))
            case Prepare.TYPE:
                self.prepares.setdefault(Digest.parse(str(found["approval"])), read_time(found["time"]))
            case Upload.TYPE if found["result"] == Result.SAME:
                self.uploaded.add(int(str(found["item"])))
            case Upload.TYPE:
                self.unlike += 1
            case Used.TYPE:
                self.used = (*self.used, Digest.parse(str(found["private"])))
                self.privates = (*self.privates, f'"private":"{found["private"]}"'.encode())
            case Withdrawn.TYPE | Expired.TYPE:
                self.over = Over(str(found["type"]))
            case Emergency.TYPE:
                self.until = read_time(found["until"])
            case FollowUp.TYPE:
                self.outcome = Outcome(str(found["outcome"]))


class Histories:
    """Reads histories from the log of a writer; used by any thread."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._name = writer.key.name
        self._lock = threading.Lock()  # of what is remembered, and while it is read on
        self._read: OrderedDict[str, _Reading] = OrderedDict()

    def read(self, connection: Connection, id_: str, leaf: int) -> History:
        """What the log has about a request, now. leaf: of its own entry, as its row says.

        Raises LogRefused where entry `leaf` is not the request's, or the entries do not lead to the log's checkpoint; LogRewound where
        the log is smaller than it was.
        """
        with self._lock:
            head = self._head(connection)
            seen = self._read.pop(id_, None)
            if seen is None or seen.leaf != leaf or seen.edge.size > head.size:
                seen = self._begun(connection, leaf, head)
            self._read_on(connection, seen, id_, head)
            self._read[id_] = seen
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)
            return seen.history

    def since(self, connection: Connection, id_: str, history: History) -> bool:
        """Whether entries about a request came after its history was read, up to the head that this transaction finds. Intents and refusals
        change no history: nobody waits for the last ones of an attempt, and the next one may be asked for before they come."""
        needle, head = _needle(id_), read_head(connection, self._name)
        return head is None or any(
            needle in entry and _INTENT not in entry and _REFUSAL not in entry
            for entry in self._entries(connection, history.size, head.size)
        )

    def _head(self, connection: Connection) -> Head:
        least = self._writer.head.size
        head = read_head(connection, self._name)
        if head is None or (head.size < least and self._writer.reader.head().size < least):
            # the first of them is as old as its transaction, within which others may have appended
            raise LogRewound(self._name, "it is smaller than it was", TAMPERED)
        check_head(head, self._writer.key, self._name)
        return head

    def _begun(self, connection: Connection, leaf: int, head: Head) -> _Reading:
        try:
            if not 0 <= leaf < head.size:
                raise ValueError("there is no such entry")
            return _Reading(leaf, tree_of(connection, self._name).edge(leaf))
        except ValueError as cause:
            raise LogRefused(f"entry {leaf}", str(cause), TAMPERED) from cause

    def _read_on(self, connection: Connection, seen: _Reading, id_: str, head: Head) -> None:
        growing, needle = Growing(seen.edge), _needle(id_)
        for entry in self._entries(connection, growing.size, head.size):
            growing.add(leaf_hash(entry))
            try:
                seen.take(entry, needle)
            except (ValueError, KeyError) as cause:
                raise LogRefused(id_, f"entry {growing.size - 1} about it cannot be read", TAMPERED) from cause
        if growing.edge != head.edge:
            raise LogRefused(
                id_, "the log does not have it as it stands here: entries do not lead to its checkpoint", TAMPERED
            )
        if not seen.request:
            raise LogRefused(id_, f"the log does not have it: entry {seen.leaf} is not of it", TAMPERED)
        seen.edge = growing.edge

    def _entries(self, connection: Connection, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            found = read_entries(connection, start, min(_LOOK, end - start), self._name)
            if not found:
                raise LogRefused(f"entry {start}", "it is missing", TAMPERED)
            yield from found
            start += len(found)


def _needle(id_: str) -> bytes:
    return f'"request":"{id_}"'.encode()
