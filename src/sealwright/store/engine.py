"""One database under all rooms that persist: SQLite in a file, or PostgreSQL where several replicas serve.

    store = open_store("sqlite:////var/lib/sealwright/service.db")       # migrated to this version's schema
    with store.write() as connection:                                    # BEGIN IMMEDIATE; committed at the end, or rolled back
        connection.execute(insert(entries).values(...))
    with store.read() as connection: ...
    store.close()

1. What is committed is on the disk: SQLite with WAL and synchronous=FULL; PostgreSQL with fsync and synchronous_commit, which
   are checked at every new connection and never assumed.
2. SQLite's file is nobody else's (`place.py`), foreign keys hold, and who waits for the lock waits `WAIT_S`.
3. A writing transaction takes SQLite's lock when it begins, so that it never fails for having read first.
4. The driver's errors come out typed: StoreConflict where a key is taken, CommitInDoubt where the connection went at COMMIT,
   StoreUnavailable for everything else. A password is never in a message.
5. A replica that stands still within a transaction loses its connection after `IDLE_S`: the others go on. PostgreSQL ends it by itself
   between two statements; where it waits for the rest of one, or of a batch of them, another replica does (`end_stalled`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from sealwright.errors import CommitInDoubt, StoreConflict, StoreRefused, StoreUnavailable, UsageError
from sealwright.store.migrate import check_current, migrate
from sealwright.store.place import prepare_file

WAIT_S = 10
IDLE_S = 30
_POSTGRES = ("postgresql", "postgresql+psycopg")
_AGAIN = "Nothing was recorded; see to the database, then try again."


_STALLED = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user"
    " AND wait_event = 'ClientRead' AND xact_start IS NOT NULL AND state_change < now() - make_interval(secs => :after)"
)


class _Begin(Enum):
    READ = "BEGIN"
    WRITE = "BEGIN IMMEDIATE"


class Store:
    """An open database of this version's schema; used by any thread. name: for messages, without a password."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    @property
    def is_sqlite(self) -> bool:
        """Whether one writer at a time has the whole database; else rows are locked."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, rolled back with any error."""
        with self._transaction(_Begin.WRITE) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads, all of it one state: what others commit meanwhile is not seen."""
        with self._transaction(_Begin.READ) as connection:
            yield connection

    def end_stalled(self, after_s: int = IDLE_S) -> int:
        """End connections of this database's user on which a transaction waits for its client so long; how many. PostgreSQL alone."""
        if self.is_sqlite:
            return 0
        with self.write() as connection:
            return len(connection.execute(_STALLED, {"after": after_s}).all())

    def close(self) -> None:
        """Give the connections back. Closing twice is fine."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self, begin: _Begin) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                if begin is _Begin.READ and not self.is_sqlite:
                    connection.execution_options(isolation_level="REPEATABLE READ")
                transaction = connection.begin()
                try:
                    if (
                        self.is_sqlite
                    ):  # its driver begins nothing, and a listener to do so would be asked at every statement
                        connection.exec_driver_sql(begin.value)
                    yield connection
                except BaseException:
                    with suppress(SQLAlchemyError):  # a connection that is gone rolls back by itself
                        transaction.rollback()
                    raise
                try:
                    transaction.commit()
                except DBAPIError as cause:
                    raise CommitInDoubt(self.name, _said(cause), "Look whether it was recorded.") from cause
        except SQLAlchemyError as cause:
            raise typed_error(self.name, cause) from cause


def open_store(url: str) -> Store:
    """Open a database and bring its schema to this version's, from none or any earlier one; StoreRefused, StoreUnavailable.

    url: `sqlite:///PATH` (four slashes: absolute) or `postgresql://USER@HOST/NAME`, as SQLAlchemy reads it.
    """
    return _opened(url, migrate)


def open_current(url: str) -> Store:
    """The same for who only reads: the schema is left as it is, and must be this version's."""
    return _opened(url, check_current)


def _opened(url: str, see_to_schema: Callable[[Connection, str], None]) -> Store:
    parsed = _parsed(url)
    name = parsed.render_as_string(hide_password=True)
    store = Store(_sqlite(parsed) if parsed.drivername == "sqlite" else _postgres(parsed, name), name)
    try:
        with store.write() as connection:
            see_to_schema(connection, name)
    except BaseException:
        store.close()
        raise
    return store


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as cause:
        raise UsageError("database", "it is no database URL", "Write sqlite:///FILE or postgresql://…") from cause
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:") and not parsed.query:
        return parsed
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(
        parsed.render_as_string(hide_password=True),
        "this is no database that can be used",
        "Write sqlite:///FILE or postgresql://…",
    )


def _sqlite(url: URL) -> Engine:
    path = str(url.database)
    prepare_file(path)
    engine = create_engine(url, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # else the driver begins transactions as it sees fit
        cursor = connection.cursor()
        mode = _write_ahead(cursor)
        if mode != "wal":
            raise StoreRefused(path, f"SQLite keeps its journal as `{mode}` there", "Put it on a disk of this machine.")
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def _write_ahead(cursor: Any) -> str:
    """Switch to WAL, where it is not so already, and answer with the mode. SQLite does not wait for a lock here, so this does."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            if (mode := str(cursor.execute("PRAGMA journal_mode").fetchone()[0])) == "wal":
                return mode
            return str(cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as cause:
            if "locked" not in str(cause) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _postgres(url: URL, name: str) -> Engine:
    options = f"-c lock_timeout={WAIT_S}s -c idle_in_transaction_session_timeout={IDLE_S}s"
    engine = create_engine(
        url,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"connect_timeout": WAIT_S, "options": options, "keepalives_idle": 10, "keepalives_count": 3},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            for setting in ("fsync", "full_page_writes"):
                if cursor.execute(f"SHOW {setting}").fetchone()[0] != "on":
                    raise StoreRefused(
                        name,
                        f"its server runs with {setting}=off",
                        "What it commits would not be durable: switch it on.",
                    )
            if cursor.execute("SHOW synchronous_commit").fetchone()[0] in ("off", "local"):
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    return engine


def typed_error(name: str, cause: SQLAlchemyError) -> StoreConflict | StoreUnavailable:
    """A driver's error as ours. name: of the store."""
    if isinstance(cause, IntegrityError):
        return StoreConflict(name, _said(cause), "Nothing was recorded; ask for what is there.")
    return StoreUnavailable(name, _said(cause), _AGAIN)


def _said(cause: SQLAlchemyError) -> str:
    """What the driver said, on one line, without the statement and its values."""
    said = cause.orig if isinstance(cause, DBAPIError) else cause
    return " ".join(str(said).split())[:200].rstrip(".") or type(cause).__name__
