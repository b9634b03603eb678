"""`sealwright serve …` as a process of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.signing.init import InitOptions, init_home

QUERY = "application/timestamp-query"
NO_SOURCE = ("--time-source", "none")


def tsa_home(folder: Path, token: str | None = None, pin: Pin | None = None, kind: KeyKind = KeyKind.P256) -> Path:
    """A home whose timestamp key lives in a file, a token or a TPM."""
    init_home(str(folder), InitOptions(now=datetime.now(UTC), token=token, pin=pin, kind=kind))
    return folder


@dataclass
class Reply:
    """What came over HTTP."""

    status: int
    type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Served:
    """A running service; its access and event lines are in `log`."""

    def __init__(
        self, service: str, home: Path, *options: str, around: Sequence[str] = (), listen: str = "127.0.0.1:0"
    ) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.{time.monotonic_ns()}.log"
        command = [*around, sys.executable, "-m", "sealwright", "serve", service, "--home", str(home)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", listen, "--json", *options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.told: dict[str, Any] = json.loads(line) if line else {}
        self.address = str(self.told.get("address", ""))
        self.port = int(self.address.rpartition(":")[2]) if self.address.startswith("http") else 0

    def __enter__(self) -> Served:
        assert self.address, self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, if it ever served; its exit code."""
        if self.address and self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """One request on a connection of its own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            kind = str(answer.headers.get_content_type())
            return Reply(answer.status, kind, answer.read(), dict(answer.headers))
        finally:
            line.close()

    def stamp(self, request: bytes) -> bytes:
        """A timestamp query's answer."""
        reply = self.ask("POST", "/", request, Content_Type=QUERY)
        assert (reply.status, reply.type) == (200, "application/timestamp-reply"), reply
        return reply.body

    def health(self) -> tuple[int, dict[str, Any]]:
        """`GET /health`."""
        reply = self.ask("GET", "/health")
        return reply.status, json.loads(reply.body)

    def raw(self, data: bytes, wait_s: float = 20.0) -> tuple[bytes, float]:
        """Octets as they are; all that came back until the other side closed, and how long that took."""
        started, back = time.monotonic(), b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait_s) as line:
            try:
                line.sendall(data)
                while part := line.recv(65536):
                    back += part
            except ConnectionError:
                pass
        return back, time.monotonic() - started

    def events(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def memory_kib(process: int) -> int:
    """The most that a process ever had in memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
