"""Which CI tokens were used, in the service's database: a token is good once, across restarts and for all replicas (A118).

    replay = StoredReplay.open(store, now)
    await replay.first_use(verified.once, verified.issued, verified.expires, now)      # False for the second time

1. A use is a row whose key is the token's own digest, committed before anybody is let in: of two replicas the database refuses one.
2. Tokens that were issued before the first start on this database, or before it was restored, may have been used unseen: refused.
   Where the clock of that start was ahead of today's, that is all until now.
3. There is an end to the rows. Those that ended `KEPT` ago are swept, a day late, so that a clock that was ahead for a while brings
   no token back; where `most` are left, nobody is let in by a token until some have ended.
4. What the database cannot say is no: its error is the caller's to tell, and the token stays as it is.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select

from sealwright.artifact.digest import Digest
from sealwright.errors import StoreConflict
from sealwright.service.tables import TOKEN_FLOOR, TOKEN_USES
from sealwright.store.engine import Store

MAX_USES = 100_000
KEPT = timedelta(days=1)
EACH = 256  # uses from one counting of the rows to the next, so that replicas together pass the bound by so many each


class StoredReplay:
    """The uses in a store; for any thread. floor: tokens issued before it are refused, whole seconds."""

    def __init__(self, store: Store, floor: datetime, most: int = MAX_USES) -> None:
        self._store = store
        self._floor = floor
        self._most = most
        self._lock = threading.Lock()  # of the line below
        self._room = 0

    @classmethod
    def open(cls, store: Store, now: datetime, most: int = MAX_USES) -> StoredReplay:
        """Begin to know uses, or go on; StoreUnavailable. now: aware."""
        try:
            with store.write() as connection:
                found = connection.execute(select(TOKEN_FLOOR.c.issued)).scalar()
                if found is None:
                    found = int(now.timestamp())
                    connection.execute(insert(TOKEN_FLOOR).values(id=1, issued=found))
        except StoreConflict:  # another replica began at the same moment
            with store.read() as connection:
                found = connection.execute(select(TOKEN_FLOOR.c.issued)).scalar_one()
        return cls(store, min(datetime.fromtimestamp(found, now.tzinfo), now.replace(microsecond=0)), most)

    async def first_use(self, once: Digest, issued: datetime, until: datetime, now: datetime) -> bool:
        """As `oidc.Replay` says; False too where there is no room for one more. StoreUnavailable where nobody can know."""
        if issued < self._floor:
            return False
        return await asyncio.to_thread(self._note, once, until, now)

    def _note(self, once: Digest, until: datetime, now: datetime) -> bool:
        with self._lock:
            if self._room <= 0:
                self._room = min(EACH, self._swept(now))
            if self._room <= 0:
                return False
            self._room -= 1
        try:
            with self._store.write() as connection:
                connection.execute(insert(TOKEN_USES).values(once=str(once), until=int(until.timestamp()) + 1))
        except StoreConflict:
            return False
        return True

    def _swept(self, now: datetime) -> int:
        """How many more there is room for, after those that ended long ago are gone."""
        with self._store.write() as connection:
            connection.execute(delete(TOKEN_USES).where(TOKEN_USES.c.until < int((now - KEPT).timestamp())))
            return self._most - connection.execute(select(func.count()).select_from(TOKEN_USES)).scalar_one()
