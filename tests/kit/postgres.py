"""A real PostgreSQL server of the tests: its own data folder below /tmp, a private unix socket, no network, fsync on.

with postgres() as server:
    url = server.database()          # a new, empty database
    server.stop("immediate"); server.start()

initdb refuses root, so as root it runs as the user `postgres`; that user's processes end with the server.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"


@dataclass(frozen=True)
class Postgres:
    """A running server. folder: its data and its socket."""

    folder: Path

    @classmethod
    def made(cls) -> Postgres:
        """A new one, not started."""
        folder = Path(tempfile.mkdtemp(prefix="sealwright-pg-", dir="/tmp"))
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        server = cls(folder)
        server._run("initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        settings = f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = on\nmax_connections = 40\nautovacuum_naptime = 5\n"
        with (folder / "data" / "postgresql.conf").open("a") as lines:
            lines.write(settings)
        return server

    def start(self, options: str = "") -> None:
        """Start it and wait until it answers. options: such as `-c fsync=off`."""
        self._run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """how: `fast`, or `immediate` for what a power cut leaves."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", how, "-w", "stop")

    def database(self) -> str:
        """The URL of a new database."""
        name = f"t{secrets.token_hex(6)}"
        self._run("createdb", "-h", self.folder, "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def sql(self, url: str, statement: str) -> str:
        """What psql prints for a statement, without headings."""
        return self._run("psql", "-h", self.folder, "-U", USER, "-Atqc", statement, _name(url))

    def until_waiting(self, url: str) -> None:
        """Wait until a transaction in a database waits for another one's lock."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        until = time.monotonic() + 30
        while self.sql(url, waiting).strip() == "0":
            assert time.monotonic() < until
            time.sleep(0.02)

    def dump(self, url: str) -> bytes:
        """A backup of a database."""
        return self._run("pg_dump", "-h", self.folder, "-U", USER, _name(url)).encode()

    def restore(self, url: str, dump: bytes) -> None:
        """Put a backup in the place of a database."""
        for command in ("dropdb", "createdb"):
            self._run(command, "-h", self.folder, "-U", USER, _name(url))
        self._run("psql", "-h", self.folder, "-U", USER, "-q", _name(url), given=dump)

    def remove(self) -> None:
        """Stop it, whatever state it is in, and remove its folder."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object, given: bytes | None = None) -> str:
        command = [str(BIN / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        done = subprocess.run(command, input=given, capture_output=True, cwd="/", timeout=60)
        assert done.returncode == 0, (command, done.stderr.decode(errors="replace")[-500:])
        return done.stdout.decode().strip()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A started server, removed at the end."""
    server = Postgres.made()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]
