"""A fleet's service as a process of its own, with people who may look, and devices that report."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from kit.pki import Pki, Signer, p7s
from kit.tls import client_certificate, pem_files, server_certificate
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Event, OnDevice, Report, report_bytes
from sealwright.device.reporting import SignedReport
from sealwright.pki.crl import make_crl
from sealwright.pki.profiles import DEVICE
from sealwright.release.channels import Channels, Named, Offer, Withdrawn, channels_bytes
from sealwright.trust.certificate import spki_digest, tbs_digest

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
DRIVE, GATE = "VX-200 drive", "=gate()"
ROLES = {"ada": "auditor", "olaf": "operator", "max": "requester", "stranger": "auditor"}
MAKERS = Pki.make("ACME devices", at=NOW - 24 * HOUR)


def manifest(product: str, generation: int) -> Digest:
    """Of a release that nobody has."""
    return Digest.of(f"{product} {generation}".encode())


def release(product: str, generation: int, at: datetime = NOW) -> OnDevice:
    """The same as a device has it."""
    return OnDevice(product, f"1.{generation}", generation, manifest(product, generation), at)


@dataclass
class FleetDevice:
    """A device with its key. number: of its last report."""

    id: str
    group: str = "line-1"
    number: int = 0
    signer: Signer = field(default_factory=lambda: MAKERS.leaf("device", profile=DEVICE, at=NOW - HOUR))

    @cached_property
    def key(self) -> Digest:
        """As the register has it."""
        return spki_digest(self.signer.x509)

    @property
    def line(self) -> str:
        """Of the register."""
        return f"{self.id} {self.key} {self.group} nordhof\n"

    def report(
        self, *running: OnDevice, number: int | None = None, events: Sequence[Event] = (), **more: Any
    ) -> SignedReport:
        """Its next report, signed."""
        self.number = self.number + 1 if number is None else number
        said = Report(self.id, self.number, NOW, self.group, "production", "nordhof", 7, running, tuple(events), **more)
        return self.signed(report_bytes(said))

    def signed(self, text: bytes, kind: str = "report") -> SignedReport:
        """Any octets, signed by its key as a kind."""
        return SignedReport(text, p7s(self.signer, text, kind=kind, at=NOW))


@dataclass
class FleetHouse:
    """A folder with everything that a fleet's service and its people need."""

    folder: Path
    address: str = ""

    @property
    def configuration(self) -> Path:
        return self.folder / "fleet.toml"

    @property
    def ca(self) -> Path:
        return self.folder / "servers.pem"

    def who(self, name: str) -> list[str]:
        """The options by which somebody asks."""
        client = ["--client", str(self.folder / f"{name}.pem"), "--client-key", str(self.folder / f"{name}.key")]
        return ["--service", self.address, "--service-ca", str(self.ca), *client]

    def curl(self, path: str, *words: str, name: str | None = None) -> tuple[int, Any]:
        """What curl gets: status, and JSON or octets."""
        who = ["--cert", str(self.folder / f"{name}.pem"), "--key", str(self.folder / f"{name}.key")] if name else []
        done = subprocess.run(
            ["curl", "-sS", "--path-as-is", "--cacert", self.ca, *who, *words, "-w", "\n%{http_code}", self.address + path],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition(b"\n")
        try:
            return int(status), json.loads(body)
        except ValueError:
            return int(status), body

    def post(self, *reports: SignedReport) -> tuple[int, list[Any]]:
        """Reports in one body; the answers, as words and where there is one the number."""
        body = self.folder / "body.json"
        body.write_bytes(wire(*reports))
        status, told = self.curl("/v1/reports", "-H", "content-type: application/json", "--data-binary", f"@{body}")
        answers = told.get("answers", []) if isinstance(told, dict) else []
        return status, [(one["answer"], one["number"]) if "number" in one else one["answer"] for one in answers]

    def look(self, path: str, name: str = "ada") -> Any:
        """What somebody sees who may."""
        status, told = self.curl(f"/v1/fleet/{path}", name=name)
        assert status == 200, told
        return told


def wire(*reports: SignedReport) -> bytes:
    """The body of a POST."""
    given = [
        {"report": base64.b64encode(one.report).decode(), "signature": base64.b64encode(one.signature).decode()}
        for one in reports
    ]
    return json.dumps({"reports": given}).encode()


def channels(product: str, serial: int, *offers: tuple[int, int], withdrawn: Sequence[int] = ()) -> bytes:
    """`channels.json`. offers: generation and percent, on `production` for all groups; withdrawn: generations."""
    named = {
        generation: Named(f"1.{generation}", generation, manifest(product, generation)) for generation in range(1, 20)
    }
    offered = tuple(Offer("production", named[generation], percent, ()) for generation, percent in offers)
    gone = tuple(Withdrawn(named[generation], "CVE-2026-1234") for generation in withdrawn)
    return channels_bytes(Channels(product, serial, offered, gone))


def fleet_house(folder: Path, url: str = "sqlite:///fleet.db", devices: Sequence[FleetDevice] = ()) -> FleetHouse:
    """Everything but the running service; devices: in its register."""
    folder.mkdir(exist_ok=True)
    clients, servers = Pki.make("ACME people", at=NOW - 24 * HOUR), Pki.make("ACME servers", at=NOW - 24 * HOUR)
    pem_files(server_certificate(servers), folder, "server")
    (folder / "servers.pem").write_text(servers.root.pem)
    (folder / "clients.pem").write_text(clients.root.pem + clients.intermediate.pem)
    register = '# sealwright people 1\ntenants = ["acme", "other"]\n'
    for name, role in ROLES.items():
        signer = client_certificate(clients, name)
        pem_files(signer, folder, name)
        tenant = "other" if name == "stranger" else "acme"
        register += f'[[person]]\nid = "{name}"\ntenant = "{tenant}"\nroles = ["{role}"]\n'
        register += f'certificates = ["{tbs_digest(signer.x509)}"]\n'
    (folder / "people.toml").write_text(register)
    for name, issuer in (("root.crl", clients.root), ("ca.crl", clients.intermediate)):
        at = NOW - HOUR
        data = make_crl(
            issuer.certificate, issuer.key, number=1, this_update=at, next_update=at + 25 * HOUR, revoked=[]
        )
        (folder / name).write_bytes(data)
    (folder / "channels").mkdir()
    (folder / "fleet.toml").write_text(
        f"""# sealwright fleet 1
listen = "127.0.0.1:0"
people = "people.toml"
tenant = "acme"
database = "{url}"
channels = "channels"
[tls]
certificate = "server.pem"
key = "server.key"
client_authorities = "clients.pem"
revocation_lists = ["root.crl", "ca.crl"]
"""
    )
    made = FleetHouse(folder)
    if devices:
        enter(made, *devices)
    return made


def enter(made: FleetHouse, *devices: FleetDevice) -> None:
    """Into the register, as an operator does."""
    listed = made.folder / "devices.txt"
    listed.write_text("# sealwright devices 1\n" + "".join(one.line for one in devices))
    command = [sys.executable, "-m", "sealwright", "fleet", "device", "import", listed, "--config", made.configuration]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def serving_fleet(made: FleetHouse) -> Iterator[FleetHouse]:
    """The service, until the end of the block."""
    command = [sys.executable, "-m", "sealwright", "serve", "fleet", str(made.configuration), "--json"]
    with (made.folder / "fleet.log").open("ab") as log:
        process = subprocess.Popen([*command, "--access-log", "none"], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (made.folder / "fleet.log").read_text()
        made.address = json.loads(line)["address"]
        yield made
    finally:
        process.terminate()
        assert process.wait(30) == 0, (made.folder / "fleet.log").read_text()
        process.stdout.close()
