"""A log's files read ahead, over several connections: while one tile is looked at, the next ones of its level are on their way.

    source = AheadSource("https://log.example/1", lambda: UrlSource(...))       one source for each thread

Who reads a log reads its tiles one after the other, so that after a full tile the next numbers are asked for too. What was fetched ahead
is only what the source gave; what it did not give then is asked for again when it is wanted, so that no error and no gap comes from here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from sealwright.errors import SealwrightError
from sealwright.log.source import Source
from sealwright.log.tiles import TileName, parse_path
from sealwright.log.tree import WIDTH

THREADS = 3
AHEAD = 4
MAX_KEPT = 64


class AheadSource:
    """A source for one reader. source: makes one for each thread; its `read` may raise, and gives None for what is not there."""

    def __init__(self, name: str, source: Callable[[], Source]) -> None:
        self.name = name
        self._make = source
        self._own = source()
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ahead")
        self._coming: dict[str, Future[bytes | None]] = {}
        self._farthest: dict[int | None, int] = {}  # the number that was asked for last, of each level

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """The file, perhaps fetched before. Raises what the source does."""
        coming = self._coming.pop(path, None)
        self._order_behind(path, limit_bytes)
        found = _result(coming)
        return self._own.read(path, limit_bytes) if found is None else found

    def _order_behind(self, path: str, limit_bytes: int) -> None:
        try:
            name = parse_path(path)
        except ValueError:
            return
        if name.width < WIDTH:
            return
        first = max(name.number, self._farthest.get(name.level, name.number)) + 1
        for number in range(first, name.number + AHEAD + 1):
            if len(self._coming) >= MAX_KEPT:
                return
            behind = TileName(name.level, number, WIDTH).path
            self._coming[behind] = self._threads.submit(self._fetch, behind, limit_bytes)
            self._farthest[name.level] = number

    def _fetch(self, path: str, limit_bytes: int) -> bytes | None:
        source: Source | None = getattr(self._local, "source", None)
        if source is None:
            source = self._local.source = self._make()
        return source.read(path, limit_bytes)


def _result(coming: Future[bytes | None] | None) -> bytes | None:
    if coming is None:
        return None
    try:
        return coming.result()
    except SealwrightError:
        return None
