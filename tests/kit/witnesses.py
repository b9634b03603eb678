"""Witnesses as processes of their own, and some that do not do what witnesses do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import open_home
from sealwright.signing.init import InitOptions, init_home


@dataclass
class RunningWitness:
    """A witness. key: as those who ask it know it."""

    folder: Path
    url: str
    key: str
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """As an operator does."""
        self.process.terminate()
        assert self.process.wait(20) == 0
        if self.process.stdout is not None:
            self.process.stdout.close()


def prepare(folder: Path, name: str, log_keys: list[str], more: str = "") -> Path:
    """A home with a key and `witness.toml`, which is given back."""
    folder.mkdir()
    init_home(str(folder / "home"), InitOptions(datetime.now(UTC), name, "ACME"))
    enrol_for(open_home(str(folder / "home")), "log", "witness", None, datetime.now(UTC))
    return write_configuration(folder, name, log_keys, more)


def write_configuration(folder: Path, name: str, log_keys: list[str], more: str = "") -> Path:
    """`witness.toml`. more: whole tables."""
    path = folder / "witness.toml"
    logs = "".join(f'[[log]]\nkey = "{key}"\n' for key in log_keys)
    path.write_text(
        f'# sealwright witness 1\nname = "{name}"\nlisten = "127.0.0.1:0"\nhome = "home"\nkey = "witness"\n'
        f'folder = "seen"\n{more}{logs}'
    )
    return path


def start(configuration: Path) -> RunningWitness:
    """The command, once it listens."""
    command = [sys.executable, "-m", "sealwright", "serve", "witness", str(configuration), "--json"]
    with (configuration.parent / "log").open("ab") as log:
        process = subprocess.Popen([*command, "--access-log", "none"], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (configuration.parent / "log").read_text()
    told = json.loads(line)
    return RunningWitness(configuration.parent, told["address"], told["key"], process)


@contextmanager
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(listening.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        for one in taken:
            one.close()
        thread.join(5)


def dead() -> str:
    """The URL of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
