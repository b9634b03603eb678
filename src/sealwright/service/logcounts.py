"""What the log got since this process began, counted from its entries: what is durable is counted, whichever replica appended it.

counts = LogCounts(reader, size_at_start)
counts.read()                        # at most `AT_ONCE` entries further; a number that is behind catches up at the next call
counts.by_type, counts.signatures, counts.refusals
"""

from __future__ import annotations

import threading
from collections import Counter

import msgspec

from sealwright.log.reader import LogReader

AT_ONCE = 20_000
_PAGE = 1024
MAX_LABELS = 64
OTHER = "other"


class _Entry(msgspec.Struct):
    """As much of an entry as is counted. The entries are the log's own, so that nothing is judged here."""

    type: str
    key: str = ""
    stage: str = ""
    code: str = ""


class LogCounts:
    """Counters that only grow; for any thread. by_type: entries by their type; signatures: by key; refusals: by stage and code."""

    def __init__(self, reader: LogReader, since: int) -> None:
        self.by_type: Counter[str] = Counter()
        self.signatures: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self._reader = reader
        self._next = since
        self._lock = threading.Lock()
        self._decoder = msgspec.json.Decoder(_Entry)

    def read(self) -> None:
        """Go on to the log's end; StoreUnavailable, LogRefused."""
        with self._lock:
            until = self._next + AT_ONCE
            while self._next < until and (entries := self._reader.entries(self._next, _PAGE)):
                for entry in entries:
                    self._count(entry)
                self._next += len(entries)

    def _count(self, data: bytes) -> None:
        try:
            entry = self._decoder.decode(data)
        except msgspec.DecodeError:
            entry = _Entry(OTHER)  # of a newer version's log
        self.by_type[_bounded(self.by_type, entry.type)] += 1
        if entry.type == "signature":
            self.signatures[_bounded(self.signatures, entry.key)] += 1
        elif entry.type == "refusal":
            known = (entry.stage, entry.code)
            self.refusals[known if known in self.refusals or len(self.refusals) < MAX_LABELS else (OTHER, OTHER)] += 1


def _bounded(counter: Counter[str], name: str) -> str:
    return name if name in counter or len(counter) < MAX_LABELS else OTHER
