"""A whole copy of a database, taken while others write, and a database made from one.

    head = copy_database(store, "backup/database", look)     # look: at the very state that is copied
    load_copy("backup/database", digest, url, check)         # into a database that is empty, or not there

SQLite's copy is made by its online backup in one step, PostgreSQL's by `pg_dump` at a snapshot that `look` saw too; both are read by
those programs themselves. What is loaded is a copy of our own that has the digest, whatever becomes of the file meanwhile: its SQL is run.
One in PostgreSQL's form is loaded in one transaction: all of it or nothing. Of SQLite's, `load_copy` makes the file beside its place, and
it gets its name after `check` said nothing against it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar, cast

from sqlalchemy import URL, Connection, Table, create_engine, delete, inspect, make_url, text

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import sync_folder
from sealwright.errors import BackupRefused, OutputRefused, StoreRefused, StoreUnavailable
from sealwright.service.backupfolder import digest_of
from sealwright.store.engine import Store, open_store
from sealwright.store.place import MODE

_Seen = TypeVar("_Seen")
_PROGRAMS = "Install PostgreSQL's own programs of the server's version, and see what it says."
_BESIDE = ("", "-wal", "-shm", "-journal")


def copy_database(store: Store, path: str, look: Callable[[Connection], _Seen], emptied: Sequence[Table] = ()) -> _Seen:
    """Write a new file, durable, and answer with what `look` saw; StoreUnavailable, OutputRefused.

    emptied: tables whose rows do not come along.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE))
        seen = (_copy_sqlite if store.is_sqlite else _copy_postgres)(store, path, look, emptied)
        _sync(path)
    except OSError as cause:
        raise OutputRefused(
            path, f"it cannot be written ({cause.strerror})", "Make room, or name another place."
        ) from cause
    return seen


def load_copy(path: str, digest: Digest, url: str, check: Callable[[Store], None]) -> None:
    """Make the database of a copy, of this version's schema; StoreRefused where there is something already, and what `check` raises.

    digest: SHA-256 that the copy has, BackupRefused where it has another one by now. What `check` refuses is taken away again.
    """
    parsed = make_url(url)
    if parsed.drivername == "sqlite":
        _load_sqlite(path, digest, str(parsed.database), check)
    else:
        _load_postgres(path, digest, url, parsed, check)


def _copy_sqlite(store: Store, path: str, look: Callable[[Connection], _Seen], emptied: Sequence[Table]) -> _Seen:
    try:
        with store.engine.connect() as connection, closing(sqlite3.connect(path)) as copy:
            source = cast("sqlite3.Connection", connection.connection.driver_connection)
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file that is whole by itself
    except sqlite3.Error as cause:
        raise StoreUnavailable(
            store.name, f"it cannot be copied ({cause})"[:200], "See to its disk; try again."
        ) from cause
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            for table in emptied:
                connection.execute(delete(table))
            return look(connection)
    finally:
        engine.dispose()


def _copy_postgres(store: Store, path: str, look: Callable[[Connection], _Seen], emptied: Sequence[Table]) -> _Seen:
    with store.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        snapshot = str(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())
        seen = look(connection)
        without = [f"--exclude-table-data={table.name}" for table in emptied]
        _run(
            store.engine.url,
            "pg_dump",
            *without,
            "--format=custom",
            "--no-owner",
            "--no-acl",
            f"--snapshot={snapshot}",
            f"--file={path}",
        )
    return seen


def _load_sqlite(path: str, digest: Digest, target: str, check: Callable[[Store], None]) -> None:
    for end in _BESIDE:
        if os.path.lexists(target + end):
            raise StoreRefused(
                target + end, "there is something already", "Move it aside, and keep it until all is well."
            )
    made = f"{target}.restoring"
    try:
        for end in _BESIDE:  # what a crash left
            if os.path.lexists(made + end):
                os.unlink(made + end)
        os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE))
        _take(path, digest, made)
        store = open_store(f"sqlite:///{made}")
        try:
            check(store)
        finally:
            store.close()
        _sync(made)
        os.link(made, target)
        os.unlink(made)
        sync_folder(os.path.dirname(os.path.abspath(target)))
    except OSError as cause:
        raise OutputRefused(
            target, f"it cannot be made ({cause.strerror})", "Make room, or name another place."
        ) from cause
    finally:
        for end in _BESIDE:
            if os.path.lexists(made + end):
                os.unlink(made + end)


def _load_postgres(path: str, digest: Digest, url: str, parsed: URL, check: Callable[[Store], None]) -> None:
    parsed = parsed.set(drivername="postgresql+psycopg")
    name = parsed.render_as_string(hide_password=True)
    engine = create_engine(parsed)
    try:
        if inspect(engine).get_table_names():
            raise StoreRefused(
                name, "there are tables already", "Make a new, empty database, and keep this one until all is well."
            )
        with tempfile.TemporaryDirectory(prefix="sealwright-restore-") as folder:
            own = os.path.join(folder, "database")
            _take(path, digest, own)
            _run(parsed, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-acl", own)
        store = open_store(url)
        try:
            check(store)
        except BaseException:
            with store.engine.begin() as connection:
                for table in inspect(connection).get_table_names():
                    connection.execute(text(f'DROP TABLE "{table}" CASCADE'))
            raise
        finally:
            store.close()
    finally:
        engine.dispose()


def _take(path: str, digest: Digest, own: str) -> None:
    """Make a copy of our own; BackupRefused where it is not of that digest."""
    try:
        shutil.copyfile(path, own)
    except OSError as cause:
        raise OutputRefused(own, f"it cannot be made ({cause.strerror})", "Make room, or set TMPDIR.") from cause
    if digest_of(own) != digest:
        raise BackupRefused(
            path, "it was changed while it was restored", "Use another backup, and keep this one as evidence."
        )


def _run(url: URL, program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs; a password goes by the environment, never by its arguments (A129)."""
    environment = os.environ | ({} if url.password is None else {"PGPASSWORD": str(url.password)})
    plain = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query).render_as_string()
    try:
        done = subprocess.run(
            [program, f"--dbname={plain}", *arguments],
            env=environment,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as cause:
        raise StoreUnavailable(program, f"it cannot be run ({cause.strerror})", _PROGRAMS) from cause
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[:300]
        raise StoreUnavailable(program, f"it ended with {done.returncode}: {said}", _PROGRAMS)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
