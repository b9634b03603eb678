"""A signing service as a process that a test kills, pauses and starts again, and the token workers below it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from kit.signingservice import House
from sealwright.cli.main import main
from sealwright.keys.backends import create_key
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin

SOON_S = 60.0
_WORKER = b"sealwright.keys.pkcs11_worker"


def until(what: Callable[[], object], seconds: float = SOON_S) -> None:
    """Wait for it."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.05)


def add_key(made: House, name: str, uri: str, pin: str | None, workers: int = 1) -> None:
    """A key in a token or TPM, certified by the home's own authority, in service beside the one that is there."""
    secret = made.folder / f"{name}.pin"
    secret.write_text(f"{pin or ''}\n")
    secret.chmod(0o600)
    info = create_key(uri, KeyKind.P256, Pin(pin) if pin else None)
    pins = ["--pin-file", str(secret)] if pin else []
    home = made.home.folder
    words = ["key", "import-certificate", "--own-authority", "--home", home, "--name", name, "--key", info.uri, *pins]
    assert main(words) == 0
    lines = f'[[key]]\nname = "{name}"\ntenant = "acme"\nworkers = {workers}\n'
    lines += f'pin_file = "{name}.pin"\n' if pin else ""
    with made.configuration.open("a") as configuration:
        configuration.write(lines)


@dataclass
class Killable:
    """A service that can be killed. environment: more of it; configuration: its file, for a second replica of one house."""

    made: House
    configuration: Path
    environment: dict[str, str] = field(default_factory=dict)
    address: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.launch()
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        self.address = json.loads(line)["address"]

    def launch(self) -> subprocess.Popen[str]:
        """Start it, whatever becomes of that."""
        command = [sys.executable, "-m", "sealwright", "serve", "signing", str(self.configuration), "--json"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--access-log", "none"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | self.environment,
            )
        return self.process

    def kill(self) -> None:
        """kill -9, of the service alone."""
        self.address = ""
        self._signal(signal.SIGKILL)
        self._gone(SOON_S)

    def stop(self) -> None:
        """SIGTERM: what was begun is finished."""
        self.address = ""
        self._signal(signal.SIGTERM)
        assert self._gone(SOON_S) == 0, self.log

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote on stderr."""
        return self._log.read_text()

    @property
    def workers(self) -> list[int]:
        """The processes of its tokens."""
        assert self.process is not None
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and _WORKER in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found

    def client(self, name: str = "max", timeout_s: float = 90.0) -> httpx.Client:
        """HTTP as somebody."""
        certificate, key = self.made.identity(name)
        context = ssl.create_default_context(cafile=str(self.made.folder / "servers.pem"))
        context.load_cert_chain(certificate, key)
        return httpx.Client(verify=context, timeout=timeout_s, trust_env=False, base_url=self.address)

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        with self.client() as client:
            answer = client.get("/health")
        return answer.status_code, answer.json()

    @property
    def _log(self) -> Path:
        return self.made.folder / f"{self.configuration.stem}.log"

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _gone(self, seconds: float) -> int:
        assert self.process is not None
        code = self.process.wait(seconds)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
