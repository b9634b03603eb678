"""Which emergencies nobody has settled, by the log alone: a row that was edited or is gone makes none of them silent (A130).

emergencies.look(connection)        request -> when its follow-up is due
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from sealwright.errors import LogRefused
from sealwright.log.canonical import read_canonical, read_time
from sealwright.log.entries import Emergency, FollowUp
from sealwright.log.following import Following
from sealwright.log.reader import EVIDENCE
from sealwright.log.writer import LogWriter

_CALLED, _SETTLED = (f'"type":"{one.TYPE}"'.encode() for one in (Emergency, FollowUp))


class Emergencies:
    """What was read of one service's log, from its beginning on. Used by one thread. open: nobody has settled them, as far as it was read."""

    def __init__(self, writer: LogWriter) -> None:
        self._following = Following(writer)
        self.open: dict[str, datetime] = {}
        self._settled: set[str] = set()
        self._unread: ValueError | None = None

    def look(self, connection: Connection) -> None:
        """Read on; raises what `Following.read` raises, each time, and LogRefused for an entry that is none, when the others are taken."""
        for entry in self._following.read(connection):
            if _CALLED in entry or _SETTLED in entry:
                try:
                    self._take(entry)
                except ValueError as cause:
                    self._unread = cause
        if self._unread is not None:
            what = f"an entry about an emergency cannot be read: {self._unread}"
            raise LogRefused("log", what[:300], EVIDENCE) from self._unread

    def _take(self, entry: bytes) -> None:
        found = read_canonical(entry)
        request = str(found.get("request"))
        match found.get("type"):
            case Emergency.TYPE if request not in self._settled:
                self.open[request] = read_time(found.get("until", ""))
            case FollowUp.TYPE:
                self._settled.add(request)
                self.open.pop(request, None)
