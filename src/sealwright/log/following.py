"""The entries of a log one after the other, each once, as they come: hashed into the tree that its newest checkpoint signs.

    following = Following(writer)
    for entry in following.read(connection): ...        what came since the last time

Entries that were edited, left out or put in lead to another tree: that is told when the checkpoint is reached, and from then on each
time. A log that is far ahead is read in parts, of which the last one proves them all.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from sealwright.errors import LogRefused, LogRewound
from sealwright.log.merkle import leaf_hash
from sealwright.log.reader import check_head, read_entries, read_head
from sealwright.log.tree import Edge, Growing
from sealwright.log.writer import LogWriter

MOST = 100_000
_LOOK = 4096
_NEXT = "Keep the database as it is, compare it with the log's published tiles, and find out who wrote there."


class Following:
    """How far a log was read. Used by one thread."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._growing = Growing(Edge(0, ()))

    def read(self, connection: Connection) -> Iterator[bytes]:
        """What came since, at most `MOST`. LogRewound where the log is smaller than it was, LogRefused where its entries are not those
        that its key signed."""
        name, growing = self._writer.key.name, self._growing
        head = read_head(connection, name)
        if head is None or head.size < growing.size:
            raise LogRewound(name, "it is smaller than it was", _NEXT)
        check_head(head, self._writer.key, name)
        end = min(head.size, growing.size + MOST)
        while growing.size < end:
            entries = read_entries(connection, growing.size, min(_LOOK, end - growing.size), name)
            if not entries:
                raise LogRefused(name, f"entry {growing.size} is missing", _NEXT)
            for entry in entries:
                growing.add(leaf_hash(entry))
            growing.finished.clear()
            yield from entries
        if growing.size == head.size and growing.edge != head.edge:
            raise LogRefused(name, "its entries do not lead to its checkpoint", _NEXT)
