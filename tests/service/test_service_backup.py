"""A signing service is backed up while it serves and restored whole; what is altered, torn, old or another's is refused (A130, A135)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from kit.doors import ask_body, get, post, told
from kit.postgres import BIN, Postgres, postgres
from kit.service import ORIGIN
from kit.signingservice import House, house, running
from sealwright.envelope.kinds import CHECKPOINT
from sealwright.envelope.verifierkey import NoteType, VerifierKey
from sealwright.errors import BackupRefused
from sealwright.log.note import verifier_key
from sealwright.log.tree import WIDTH
from sealwright.service import backup
from sealwright.service.config import read_configuration
from sealwright.signing.home import KeyPurpose

SQLITE = "sqlite:///service.db"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest) -> Callable[[], str]:
    """A database that is not there, or empty, relative to a configuration."""
    if request.param == "sqlite":
        return lambda: SQLITE
    started: Postgres = request.getfixturevalue("server")
    return started.database


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")


@dataclass
class Kept:
    """A service with a backup of it, and a place where it is restored."""

    service: House
    folder: Path
    backup: Path

    def configured(self, name: str, url: str, head: str = "") -> Path:
        """The same service's configuration, with another database in the same folder."""
        lines = self.service.configuration.read_text().splitlines()
        lines = [f'database = "{url}"' if one.startswith("database") else one for one in lines]
        lines = [
            f'head = "{head}"' if one.startswith("head") else one for one in lines if head or not one.startswith("head")
        ]
        path = self.service.folder / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def fresh(self, name: str, new_url: Callable[[], str], head: str = "") -> Path:
        """The same for a database that is not there yet."""
        return self.configured(name, new_url().replace("service.db", f"{name}.db"), head)


def command(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def signed(service: House, *names: str) -> int:
    return told(service, "max", post("/v1/requests", ask_body(*names, environment="development"))).status


def log_key(service: House) -> str:
    enrolled = service.home.key("log", KeyPurpose.LOG, CHECKPOINT)
    return str(verifier_key(ORIGIN, NoteType.LOG, enrolled.public_key))


def made(folder: Path, new_url: Callable[[], str], many: int = 3) -> Kept:
    """A service that has signed some files and stands still, with a backup."""
    service = house(folder / "house")
    kept = Kept(service, folder, folder / "backup")
    url = new_url()
    service.configuration.write_text(service.configuration.read_text().replace(SQLITE, url))
    with running(service):
        assert signed(service, *(f"file {number}" for number in range(many))) == 201
        assert told(service, "max", post("/v1/requests", ask_body("waits"))).status == 202
    command("service", "backup", service.configuration, kept.backup)
    return kept


def test_a_backup_under_load_is_whole_and_the_restored_service_goes_on(
    tmp_path: Path, new_url: Callable[[], str]
) -> None:
    service = house(tmp_path / "house")
    service.configuration.write_text(service.configuration.read_text().replace(SQLITE, new_url()))
    kept = Kept(service, tmp_path, tmp_path / "backup")
    export, state, key = tmp_path / "export", tmp_path / "monitor.state", log_key(service)
    over = threading.Event()
    with running(service):

        def load() -> None:
            number = 0
            while not over.is_set():
                number += 1
                assert signed(service, *(f"{number} {part}" for part in range(40))) == 201

        assert signed(service, *(f"before {part}" for part in range(2 * WIDTH))) == 201
        loads = [threading.Thread(target=load) for _ in range(2)]
        for one in loads:
            one.start()
        time.sleep(0.3)
        database = json.loads(command("service", "backup", service.configuration, kept.backup, "--json"))
        over.set()
        for one in loads:
            one.join()
        size = int(told(service, "max", get("/v1/log/checkpoint")).body.split(b"\n")[1])
    assert size > database["entries"] > 2 * WIDTH
    sums = subprocess.run(
        ["sha256sum", "-c", "backup.txt"], cwd=kept.backup, capture_output=True, text=True, check=False
    )
    assert sums.returncode == 0, sums.stderr
    again = kept.fresh("again", new_url)
    assert f"{database['entries']:,} entries" in command("service", "restore", kept.backup, again, "--check")
    told_so = command("service", "restore", kept.backup, again)
    assert "Nothing here remembers" in told_so
    url = next(one for one in again.read_text().splitlines() if one.startswith("database"))[12:-1]
    url = url.replace("sqlite:///", f"sqlite:///{service.folder}/")
    command("log", "export", "--database", url, "--out", export)
    command("log", "monitor", export, "--state", state, "--log-key", key)
    restored = House(service.folder, service.home, service.persons)
    shutil.copy(again, service.configuration)
    with running(restored):
        assert signed(restored, "after") == 201
        listed = told(restored, "max", get("/v1/requests?state=signed")).json["requests"]
        assert listed
        assert told(restored, "max", get(f"/v1/requests/{listed[0]['id']}/proofs")).status == 200
    command("log", "export", "--database", url, "--out", export)
    command("log", "monitor", export, "--state", state, "--log-key", key)


def test_a135_a_backup_that_is_older_than_what_is_remembered_is_refused(
    tmp_path: Path, new_url: Callable[[], str]
) -> None:
    kept = made(tmp_path, new_url)
    same = kept.fresh("same", new_url, "head")
    command("service", "restore", kept.backup, same, "--check")
    with running(kept.service):
        assert signed(kept.service, "one more") == 201
    for words in (("--check",), ()):
        told_so = command("service", "restore", kept.backup, same, *words, code=1)
        assert "and had" in told_so
        assert "Restore the newest" in told_so
    assert not (kept.service.folder / "same.db").exists()
    shutil.rmtree(kept.backup)
    command("service", "backup", kept.service.configuration, kept.backup)
    command("service", "restore", kept.backup, same)


def altered_files(backup: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each way to alter a folder, and what the refusal names."""

    def flip(name: str) -> Callable[[], None]:
        def do() -> None:
            data = bytearray((backup / name).read_bytes())
            data[len(data) // 2] ^= 1
            (backup / name).write_bytes(data)

        return do

    def reseal(name: str) -> Callable[[], None]:
        def do() -> None:
            flip(name)()
            digest = hashlib.sha256((backup / name).read_bytes()).hexdigest()
            lines = (backup / "backup.txt").read_text().splitlines()
            lines = [f"{digest}  {name}" if one.endswith(f"  {name}") else one for one in lines]
            (backup / "backup.txt").write_text("\n".join(lines) + "\n")

        return do

    yield "database was changed", flip("database")
    yield "people.toml was changed", flip("people.toml")
    yield "rules.cedar was changed", flip("policies/rules.cedar")
    yield "its checkpoint is not of this backup.txt", reseal("database")
    yield "its checkpoint is not of this backup.txt", lambda: (backup / "backup.txt").write_text("# nothing\n") and None
    yield "its checkpoint", flip("checkpoint")
    yield "service.toml is missing", (backup / "service.toml").unlink
    yield "more is missing, or was added", lambda: (backup / "more").write_text("x") and None
    yield "", (backup / "checkpoint").unlink
    yield (
        "its checkpoint is not of this backup.txt",
        lambda: shutil.copy(backup.parent / "house" / "head", backup / "checkpoint") and None,
    )


def test_a130_an_altered_backup_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    kept = made(tmp_path, lambda: SQLITE)
    whole = tmp_path / "whole"
    shutil.copytree(kept.backup, whole)
    ways = list(altered_files(kept.backup))
    for number, (said, _) in enumerate(ways):
        shutil.rmtree(kept.backup)
        shutil.copytree(whole, kept.backup)
        into = kept.configured(f"into-{number}", f"sqlite:///into-{number}.db", "head")
        ways[number][1]()
        assert said in command("service", "restore", kept.backup, into, code=1)
        assert not list(kept.service.folder.glob(f"into-{number}.db*"))
    shutil.rmtree(kept.backup)
    shutil.copytree(whole, kept.backup)
    command("service", "restore", kept.backup, kept.configured("last", "sqlite:///last.db", "head"))


def test_what_is_exchanged_after_it_was_checked_is_not_restored(
    tmp_path: Path, new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger in a table that no log knows of would run in the service; a dump is SQL that is run at once."""
    kept = made(tmp_path, new_url)
    database, url = kept.backup / "database", new_url()
    read, whole = backup.read_backup, database.read_bytes()

    def exchanged(folder: str, key: VerifierKey) -> backup.ReadBackup:
        found = read(folder, key)
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(database)) as connection, connection:
                spy = "INSERT INTO sign_counts VALUES (new.credential || 'x', 0)"
                connection.execute(f"CREATE TRIGGER spy AFTER INSERT ON tickets BEGIN {spy}; END")
        else:
            database.write_bytes(whole + b"\0")
        return found

    with monkeypatch.context() as raced:
        raced.setattr(backup, "read_backup", exchanged)
        into = read_configuration(str(kept.fresh("into", lambda: url, "head")))
        with pytest.raises(BackupRefused, match="changed while it was restored"):
            backup.restore(into, str(kept.backup))
    assert not list(kept.service.folder.glob("into.db*"))
    database.write_bytes(whole)
    assert backup.restore(into, str(kept.backup)).backup.checkpoint.size > 0


ROWS = {
    "UPDATE log_entries SET entry = cast(replace(entry, 'drive', 'valve') AS blob)": "its entries do not lead to",
    "UPDATE log_entries SET entry = cast(entry AS text) WHERE number = 2": "where octets were kept",
    "DELETE FROM log_entries WHERE number = 1": "entry 1 is missing",
    "UPDATE requests SET request = cast(replace(request, 'max', 'eva') AS blob) WHERE number = 1": "its bytes are not those",
    "UPDATE requests SET leaf = 0 WHERE number = 1": "of the log is not about it",
    "UPDATE signatures SET \"values\" = cast(replace(hex(\"values\"), '30', '31') AS blob)": "is not the one of entry",
    "UPDATE private SET text = cast('{}' AS blob)": "the record of who asked is another one",
}


@pytest.mark.parametrize("statement", ROWS)
def test_a130_a_database_that_somebody_wrote_into_is_not_backed_up(tmp_path: Path, statement: str) -> None:
    kept = made(tmp_path, lambda: SQLITE)
    engine = create_engine(f"sqlite:///{kept.service.folder}/service.db")
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert ROWS[statement] in command("service", "backup", kept.service.configuration, tmp_path / "second", code=1)
    assert not list(tmp_path.glob("*second*"))


def test_a_backup_of_another_service_or_kind_or_over_a_database_is_refused(tmp_path: Path, server: Postgres) -> None:
    kept = made(tmp_path, lambda: SQLITE)
    assert "there is something already" in command(
        "service", "restore", kept.backup, kept.service.configuration, code=1
    )
    elsewhere = kept.configured("elsewhere", server.database(), "head")
    assert "its database is of sqlite" in command("service", "restore", kept.backup, elsewhere, code=1)
    another = kept.configured("another", "sqlite:///another.db", "head")
    another.write_text(another.read_text().replace("acme-signing", "staging-signing"))
    assert "it is of the service acme-signing" in command("service", "restore", kept.backup, another, code=1)
    (tmp_path / "stranger").mkdir()
    stranger = made(tmp_path / "stranger", lambda: SQLITE)
    assert "its checkpoint is not one of the log" in command(
        "service", "restore", stranger.backup, kept.configured("own", "sqlite:///own.db", "head"), code=1
    )
    assert "something is there already" in command("service", "backup", kept.service.configuration, kept.backup, code=2)


def test_files_that_people_changed_since_are_named(tmp_path: Path) -> None:
    kept = made(tmp_path, lambda: SQLITE)
    with (kept.service.folder / "people.toml").open("a") as lines:
        lines.write("# reviewed\n")
    said = command("service", "restore", kept.backup, kept.service.configuration, "--check")
    assert "people.toml is another one" in said
    assert "rules.cedar" not in said


def test_killed_at_any_moment_a_backup_or_a_restore_leaves_nothing_half(
    tmp_path: Path, new_url: Callable[[], str]
) -> None:
    kept = made(tmp_path, new_url, many=500)
    for number in range(3):
        into = kept.fresh(f"killed-{number}", new_url, "head")
        for words, result in (
            (("backup", kept.service.configuration, tmp_path / f"made-{number}"), tmp_path / f"made-{number}"),
            (("restore", kept.backup, into), None),
        ):
            program = [sys.executable, "-m", "sealwright", "service", *map(str, words)]
            process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                process.wait(0.4 + number * 0.2)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            process.communicate()
            if result is not None and result.exists():
                command("service", "restore", result, kept.fresh(f"looked-{number}", new_url, "head"), "--check")
            elif result is not None:
                command("service", *words)
            elif process.returncode == 0:
                continue
            elif SQLITE.partition(":")[0] in into.read_text():
                assert not (kept.service.folder / f"killed-{number}.db").exists()
                command("service", *words)
                assert not list(kept.service.folder.glob("*.restoring*"))
            else:
                check_all_or_nothing(into)


def check_all_or_nothing(configuration: Path) -> None:
    """What a killed `pg_restore` leaves: a log that is whole, or no table."""
    url = next(one for one in configuration.read_text().splitlines() if one.startswith("database"))[12:-1]
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        tables = set(connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars())
        if tables:
            count, size = (connection.execute(text(one)).scalar_one() for one in COUNTS)
            assert count == size
    engine.dispose()


COUNTS = ("SELECT count(*) FROM log_entries", "SELECT size FROM log_head")


def test_a_password_of_the_database_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A129: `pg_dump` and `pg_restore` get it by their environment."""
    from sqlalchemy import make_url

    from sealwright.service import copies

    seen = tmp_path / "seen"
    fake = tmp_path / "pg_restore"
    fake.write_text(f'#!/bin/sh\necho "$@" > {seen}\necho "$PGPASSWORD" >> {seen}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    copies._run(make_url("postgresql+psycopg://eva:s3cret@db.example/service"), "pg_restore", "file")
    arguments, password = seen.read_text().splitlines()
    assert arguments == "--dbname=postgresql://eva@db.example/service file"
    assert password == "s3cret"
