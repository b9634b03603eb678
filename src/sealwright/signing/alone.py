"""Whether a service is the only one on its SQLite file: then whatever others were signing, nobody signs any more.

A replica is known to be dead when its lease has run out (`sweeper.py`). Where one service after the other uses a file, that would be half
a minute after each crash, and the `start` entry would not name what the crash left. So a service holds a lock beside the file as long as
it lives; the kernel gives it back when the process dies. Who gets it at the start is alone, and forgets the replicas before it. Who does
not (`--check` beside a running service) relies on leases.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete

from sealwright.errors import StoreRefused
from sealwright.signing.tables import REPLICAS
from sealwright.store.engine import Store


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Hold the lock for the block, where it is free, and forget the replicas before; nothing with PostgreSQL."""
    if sys.platform == "win32" or not store.is_sqlite:
        yield
        return
    import fcntl  # not everywhere

    path = f"{store.engine.url.database}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as cause:
        raise StoreRefused(path, f"it cannot be opened ({cause.strerror})", "Remove what lies there.") from cause
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another one is running
        else:
            with store.write() as connection:
                connection.execute(delete(REPLICAS))
        yield
    finally:
        os.close(descriptor)
