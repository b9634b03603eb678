"""Databases: durable, private, migrated from every version, and honest about what was not recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

from kit.postgres import Postgres, postgres
from sealwright.errors import SealwrightError, StoreConflict, StoreRefused, StoreUnavailable, UsageError
from sealwright.log.tables import ENTRIES, METADATA
from sealwright.service.fleettables import METADATA as FLEET
from sealwright.service.hawkbittables import METADATA as HAWKBIT
from sealwright.service.tables import METADATA as SERVICE
from sealwright.signing.tables import METADATA as SIGNING
from sealwright.store import migrate as migration
from sealwright.store import place
from sealwright.store.engine import Store, open_current, open_store
from sealwright.store.migrate import versions

ROOMS = (METADATA, SIGNING, SERVICE, FLEET, HAWKBIT)  # every room's tables


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.db"
    running: Postgres = request.getfixturevalue("server")
    return running.database()


def put(connection: Connection, number: int) -> None:
    connection.execute(insert(ENTRIES).values(number=number, entry=b"x"))


def test_what_is_committed_is_there_and_what_failed_is_not(url: str) -> None:
    store = open_store(url)
    with store.write() as connection:
        put(connection, 1)
    with pytest.raises(RuntimeError), store.write() as connection:
        put(connection, 2)
        raise RuntimeError
    store.close()
    store = open_current(url)
    with store.read() as connection:
        assert connection.execute(select(ENTRIES.c.number)).scalars().all() == [1]
    store.close()


def test_what_is_read_is_one_state_whatever_others_commit_meanwhile(url: str) -> None:
    store = open_store(url)
    numbers = select(ENTRIES.c.number)
    with store.read() as connection:
        assert connection.execute(numbers).all() == []
        with store.write() as other:
            put(other, 1)
        assert connection.execute(numbers).all() == []
    with store.read() as connection:
        assert len(connection.execute(numbers).all()) == 1
    store.close()


def test_who_stands_still_in_the_middle_of_a_batch_of_statements_keeps_no_lock(server: Postgres) -> None:
    """As a process that gets SIGSTOP there: PostgreSQL's own limit does not count that as standing still."""
    url = server.database()
    store, replica = open_store(url), open_store(url)
    going_on, ended = threading.Event(), []

    def rows() -> Iterator[tuple[int]]:
        for number in range(50):
            yield (number,)
        assert going_on.wait(60)

    def stand_still() -> None:
        try:
            with replica.write() as connection:
                cursor = connection.connection.cursor()
                cursor.executemany("INSERT INTO log_entries (number, entry) VALUES (%s, 'x')", rows())
        except Exception as cause:  # noqa: BLE001 - the driver's own, told to the test
            ended.append(cause)

    thread = threading.Thread(target=stand_still)
    thread.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'ClientRead' AND datname = current_database()"
    for _ in range(300):
        if server.sql(url, waiting) == "1":
            break
        time.sleep(0.05)
    assert store.end_stalled() == 0  # it is not long enough yet
    assert ended == []
    assert store.end_stalled(0) == 1
    with store.write() as connection:
        put(connection, 7)
    going_on.set()
    thread.join()
    assert len(ended) == 1
    store.close()
    replica.close()


def test_a_taken_key_is_a_conflict_and_a_wrong_statement_is_none(url: str) -> None:
    store = open_store(url)
    with store.write() as connection:
        put(connection, 1)
    with pytest.raises(StoreConflict), store.write() as connection:
        put(connection, 1)
    with pytest.raises(StoreUnavailable) as said, store.write() as connection:
        connection.execute(text("SELECT secret FROM nowhere"))
    assert "\n" not in str(said.value)
    assert not isinstance(said.value, StoreConflict)
    store.close()


def test_the_scripts_make_what_the_rooms_declare(url: str) -> None:
    store = open_store(url)
    with store.read() as connection:
        for metadata in ROOMS:
            found = [
                one
                for one in compare_metadata(MigrationContext.configure(connection), metadata)
                if not str(one[0]).startswith("remove_")  # another room's
                and not (one[0] == "add_index" and one[1].name == "log_entries_numbers")  # SQLite's alone
            ]
            assert found == []
    store.close()


@pytest.mark.parametrize("version", ["base", *versions()])
def test_every_earlier_schema_becomes_the_newest_one(url: str, version: str) -> None:
    store = open_store(url)
    with store.write() as connection:
        config = migration._config()
        config.attributes["connection"] = connection
        connection.execute(text("DELETE FROM alembic_version"))
        for metadata in ROOMS:
            for table in reversed(metadata.sorted_tables):
                table.drop(connection)
        if version != "base":
            command.upgrade(config, version)
    store.close()
    if version != versions()[-1]:
        with pytest.raises(StoreRefused, match="older schema"):
            open_current(url)
    store = open_store(url)
    with store.write() as connection:
        put(connection, 7)
    store.close()


def test_a_schema_of_a_newer_version_is_left_alone(url: str) -> None:
    store = open_store(url)
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    for way in (open_store, open_current):
        with pytest.raises(StoreRefused, match="9999 is of a newer version"):
            way(url)


def test_replicas_that_start_at_once_migrate_once(url: str) -> None:
    opened: list[Store] = []
    failed: list[BaseException] = []

    def start() -> None:
        try:
            opened.append(open_store(url))
        except BaseException as cause:  # noqa: BLE001 - shown below
            failed.append(cause)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    assert len(opened) == 4
    for store in opened:
        store.close()


def test_sqlite_keeps_what_it_says(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    with store.read() as connection:
        said = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        }
    assert said == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    for name in tmp_path.iterdir():
        assert name.stat().st_mode & 0o777 == 0o600, name
    store.close()


def test_a_second_writer_of_sqlite_waits_and_then_says_that_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealwright.store.engine.WAIT_S", 0.2)
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    with store.write(), pytest.raises(StoreUnavailable, match="locked"), store.write():
        pass
    with store.write() as connection:
        put(connection, 1)
    store.close()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666, 0o400, 0o700])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.db"
    open_store(f"sqlite:///{path}").close()
    path.chmod(mode)
    with pytest.raises(StoreRefused, match=f"{mode:04o}"):
        open_store(f"sqlite:///{path}")
    path.chmod(0o600)
    open_store(f"sqlite:///{path}").close()


def test_a_folder_in_which_others_may_write_a_link_and_a_strangers_file_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StoreRefused, match="others may write in this folder"):
        open_store(f"sqlite:///{folder}/a.db")
    folder.chmod(0o755)
    open_store(f"sqlite:///{folder}/a.db").close()
    (folder / "link.db").symlink_to(folder / "a.db")
    with pytest.raises(StoreRefused, match="a link"):
        open_store(f"sqlite:///{folder}/link.db")
    if os.geteuid() == 0:
        os.chown(folder / "a.db", 12345, 12345)
        with pytest.raises(StoreRefused, match="another user"):
            open_store(f"sqlite:///{folder}/a.db")


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False)])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, refused: bool
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mounts"
    mounts.write_text(f"9 1 {os.major(device)}:{os.minor(device)} / /x rw shared:1 - {kind} server:/x rw\n")
    monkeypatch.setattr(place, "_MOUNTS", str(mounts))
    if refused:
        with pytest.raises(StoreRefused, match=kind):
            open_store(f"sqlite:///{tmp_path}/a.db")
    else:
        open_store(f"sqlite:///{tmp_path}/a.db").close()


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "mysql://x/y",
        "postgresql+asyncpg://x/y",
        "nonsense",
    ],
)
def test_what_is_no_database_of_ours_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        open_store(wrong)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this is no database" * 100)
    path.chmod(0o600)
    with pytest.raises(StoreUnavailable, match="not a database"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == b"this is no database" * 100


def test_a_password_is_in_no_message() -> None:
    with pytest.raises(SealwrightError) as said:
        open_store("postgresql://user:sesame@127.0.0.1:1/db")
    assert "sesame" not in str(said.value)
    assert isinstance(said.value, StoreUnavailable)


def test_a_server_that_loses_what_it_committed_is_refused() -> None:
    server = Postgres.made()
    try:
        server.start()
        url = server.database()
        open_store(url).close()
        server.stop()
        server.start("-c fsync=off")
        with pytest.raises(StoreRefused, match="fsync=off"):
            open_store(url)
        server.stop()
        server.start("-c synchronous_commit=off")
        store = open_store(url)
        with store.read() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
        store.close()
    finally:
        server.remove()


def test_a_server_that_was_away_is_used_again(server: Postgres) -> None:
    own = Postgres.made()
    try:
        own.start()
        url = own.database()
        store = open_store(url)
        own.stop("immediate")
        with pytest.raises(StoreUnavailable), store.write() as connection:
            put(connection, 1)
        own.start()
        with store.write() as connection:
            put(connection, 1)
        store.close()
    finally:
        own.remove()


def test_verifying_imports_no_database() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sealwright.trust.verify, sys; print('sqlalchemy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "False"
