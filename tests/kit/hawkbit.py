"""hawkBit's device interface as a process of its own, over a maker's repository, with devices that ask it."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx

from kit.agents import PLACE, Maker
from kit.pki import Pki
from kit.tls import client_certificate, pem_files, server_certificate
from sealwright.cli.main import main
from sealwright.pki.crl import make_crl
from sealwright.release.channels import Named

SWU = "# sealwright release 1\n[[component]]\nname = 'system'\npath = 'system.swu'\n"
BOTH = SWU + "[[component]]\nname = 'rauc'\npath = 'images/system.raucb'\n"
WAIT_S = 40.0
_HOUR = timedelta(hours=1)


@dataclass
class HawkbitHouse:
    """A folder with everything that the service and its operator need. inside: words before a command that bring it where the service listens."""

    folder: Path
    maker: Maker
    https: str
    http: str
    inside: Sequence[str] = ()
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def configuration(self) -> Path:
        return self.folder / "hawkbit.toml"

    @property
    def log(self) -> str:
        """What the service wrote."""
        return (self.folder / "hawkbit.log").read_text()

    def sealwright(self, *words: str | Path) -> str:
        """A command, as an operator types it."""
        with redirect_stdout(StringIO()) as shown:
            assert main([*map(str, words), "--config", str(self.configuration)]) == 0
        return shown.getvalue()

    def add(self, device: str, *words: str, updater: str = "swupdate", group: str = "line-1", **by: str) -> None:
        """Enter a device; with a token of its own unless `certificate` is said."""
        known = ["--certificate", by["certificate"]] if by else ["--new-token", str(self.folder / f"{device}.token")]
        where = ["--path", PLACE, "--channel", "production", "--group", group, "--plant", "nordhof"]
        self.sealwright("fleet", "updater", "add", device, "--updater", updater, *where, *known, *words)
        if not by:
            self.tokens[device] = (self.folder / f"{device}.token").read_text().strip()

    def told(self, device: str) -> dict[str, Any]:
        """What a device told, as the operator sees it."""
        lines = self.sealwright("fleet", "updater", "list", "--json").splitlines()
        return next(one for one in map(json.loads, lines) if one["device"] == device)

    def client(self, device: str, token: str | None = None) -> httpx.Client:
        """One over TLS, with a device's token, or another."""
        return httpx.Client(
            base_url=f"{self.https}/acme/controller/v1/{device}",
            headers={"authorization": f"TargetToken {token or self.tokens.get(device, 'none')}"},
            verify=ssl.create_default_context(cafile=self.folder / "servers.pem"),
            trust_env=False,
        )

    def follow(self) -> None:
        """Wait until the service has read what the maker published last."""
        self._settled(lambda: self._read() > self._before)

    def says(self, text: str) -> None:
        """Wait until the service's log has a text."""
        self._settled(lambda: text in self.log)

    def published(self) -> None:
        """Remember how often the repository was read, before it is published again."""
        self._before = self._read()

    _before: int = 0

    def _read(self) -> int:
        return self.log.count('"event": "repository"') + self.log.count('"event": "repository-refused"')

    @staticmethod
    def _settled(done: Any) -> None:
        until = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < until
            time.sleep(0.05)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def hawkbit_house(folder: Path, maker: Maker, inside: Sequence[str] = ()) -> HawkbitHouse:
    """Everything but the running service."""
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC).replace(microsecond=0)
    devices, servers = Pki.make("ACME devices", at=now - 24 * _HOUR), Pki.make("ACME servers", at=now - 24 * _HOUR)
    pem_files(server_certificate(servers), folder, "server")
    (folder / "servers.pem").write_text(servers.root.pem)
    (folder / "devices.pem").write_text(devices.root.pem + devices.intermediate.pem)
    for name in ("plc-cert", "plc-other"):
        pem_files(client_certificate(devices, name), folder, name)
    for name, issuer in (("root.crl", devices.root), ("ca.crl", devices.intermediate)):
        data = make_crl(
            issuer.certificate, issuer.key, number=1, this_update=now - _HOUR, next_update=now + 24 * _HOUR, revoked=[]
        )
        (folder / name).write_bytes(data)
    secure, plain = free_port(), free_port()
    made = HawkbitHouse(folder, maker, f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}", inside)
    made.configuration.write_text(
        f"""# sealwright hawkbit 1
listen = "127.0.0.1:{secure}"
address = "{made.https}"
plain_listen = "127.0.0.1:{plain}"
plain_address = "{made.http}"
tenant = "acme"
repository = "{maker.repository.folder}"
tuf_root = "{maker.repository.root_digest}"
database = "sqlite:///hawkbit.db"
state = "hawkbit"
poll_seconds = 1
[tls]
certificate = "server.pem"
key = "server.key"
client_authorities = "devices.pem"
revocation_lists = ["root.crl", "ca.crl"]
"""
    )
    return made


@contextmanager
def serving_hawkbit(made: HawkbitHouse) -> Iterator[HawkbitHouse]:
    """The service, until the end of the block."""
    command = [*made.inside, sys.executable, "-m", "sealwright", "serve", "hawkbit", str(made.configuration), "--json"]
    with (made.folder / "hawkbit.log").open("ab") as log:
        process = subprocess.Popen([*command, "--access-log", "none"], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), made.log
        yield made
    finally:
        process.terminate()
        assert process.wait(30) == 0, made.log
        process.stdout.close()


def release_with(maker: Maker, version: str, generation: int, swu: bytes) -> Named:
    """A release whose one component is an archive for SWUpdate."""
    return maker.release(version, generation, files={"system.swu": swu}, description=SWU)
