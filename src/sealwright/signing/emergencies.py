"""Which emergencies nobody has settled, by the log alone: a row that was edited or is gone makes none of them silent (A130).

emergencies.look(connection)        request -> when its follow-up is due
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from sealwright.log.canonical import read_canonical, read_time
from sealwright.log.entries import Emergency, FollowUp
from sealwright.log.following import Following
from sealwright.log.writer import LogWriter

_NEEDLES = tuple(f'"type":"{one.TYPE}"'.encode() for one in (Emergency, FollowUp))


class Emergencies:
    """What was read of one service's log, from its beginning on. Used by one thread."""

    def __init__(self, writer: LogWriter) -> None:
        self._following = Following(writer)
        self._open: dict[str, datetime] = {}
        self._settled: set[str] = set()

    def look(self, connection: Connection) -> Mapping[str, datetime]:
        """Those that are open as far as the log was read; raises what `Following.read` raises, each time."""
        for entry in self._following.read(connection):
            if any(needle in entry for needle in _NEEDLES):
                self._take(entry)
        return self._open

    def _take(self, entry: bytes) -> None:
        found = read_canonical(entry)
        request = str(found.get("request"))
        match found.get("type"):
            case Emergency.TYPE if request not in self._settled:
                self._open[request] = read_time(found["until"])
            case FollowUp.TYPE:
                self._settled.add(request)
                self._open.pop(request, None)
