"""People at a running service by its commands: one asks and waits, others do what the request waits for, and what the log has of it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from kit.signingservice import House


def command(made: House, who: str, *arguments: object, code: int = 0, **environment: str) -> str:
    """What a command of Sealwright says to somebody with a certificate. Where there is an environment it is a job, which has a token instead."""
    certificate, key = made.identity(who)
    line = [*arguments, "--service", made.address, "--service-ca", made.folder / "servers.pem"]
    line += [] if environment else ["--client", certificate, "--client-key", key]
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, line)],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


@dataclass
class Asked:
    """Somebody who waits for a signature. said: what their command said in the end."""

    id: str
    said: list[str] = field(default_factory=list)


@contextmanager
def asked(made: House, *arguments: object, code: int = 0, who: str = "max", **environment: str) -> Iterator[Asked]:
    """Somebody asks by `sign`, or by the command that arguments begin with, and waits until the end of the block and the answer."""
    said: list[str] = []
    failed: list[BaseException] = []
    words = arguments if arguments[0] == "ci" else ("sign", *arguments)

    def ask() -> None:
        try:
            said.append(command(made, who, *words, code=code, **environment))
        except BaseException as cause:
            failed.append(cause)
            raise

    asking = threading.Thread(target=ask)
    asking.start()
    waits: list[str] = []
    while not waits:
        assert not failed, failed
        waits = [json.loads(line)["id"] for line in command(made, "eva", "approve", "--json").splitlines()]
    yield Asked(waits[0], said)
    asking.join()
    assert not failed, failed


def entries(made: House, id_: str) -> list[str]:
    """The types of a request's entries in the log of a service over SQLite."""
    with closing(sqlite3.connect(made.folder / "service.db", timeout=30)) as database:
        found = [json.loads(row[0]) for row in database.execute("select entry from log_entries order by number")]
    return [one["type"] for one in found if one.get("request") == id_]
