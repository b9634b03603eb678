"""A signing service as a process of its own, over TLS, with its clients' certificates and their approval keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.pki import Pki
from kit.service import ORIGIN, POLICY, person_home, service_home, spki_of
from kit.tls import client_certificate, pem_files, server_certificate
from sealwright.envelope.verifierkey import NoteType, VerifierKey, key_id
from sealwright.pki.crl import make_crl
from sealwright.service.connections import Limits
from sealwright.signing.home import Home, KeyPurpose
from sealwright.trust.certificate import tbs_digest

PEOPLE = ("max", "eva", "jan", "stranger")
APPROVERS = ("eva", "jan")
HOUR = timedelta(hours=1)


@dataclass
class House:
    """A folder with everything that a service and its clients need."""

    folder: Path
    home: Home
    persons: dict[str, Home]
    address: str = ""
    process: int = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    @property
    def configuration(self) -> Path:
        return self.folder / "service.toml"

    def identity(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a client."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"


def house(
    folder: Path, policy: str = POLICY, officers: Sequence[str] = (), builders: Mapping[str, str] | None = None
) -> House:
    """Everything but the running service. officers: who is there besides, as officers; builders: machines that prepare again, and who owns each."""
    folder.mkdir(exist_ok=True)
    home = service_home(folder)
    persons = {name: person_home(folder, name + "-home") for name in (*APPROVERS, *officers)}
    at = datetime.now(UTC) - 24 * HOUR
    clients, servers = Pki.make("ACME people", at=at), Pki.make("ACME servers", at=at)
    pem_files(server_certificate(servers), folder, "server")
    (folder / "servers.pem").write_text(servers.root.pem)
    (folder / "clients.pem").write_text(clients.root.pem + clients.intermediate.pem)
    register = '# sealwright people 1\ntenants = ["acme", "other"]\n'
    for name in (*PEOPLE, *officers):
        signer = client_certificate(clients, name)
        pem_files(signer, folder, name)
        tenant = "other" if name == "stranger" else "acme"
        roles = '"approver", "officer"' if name in officers else '"requester", "approver"'
        register += f'[[person]]\nid = "{name}"\ntenant = "{tenant}"\nroles = [{roles}]\n'
        register += f'certificates = ["{tbs_digest(signer.x509)}"]\n'
        if name in persons:
            key = spki_of(persons[name], KeyPurpose.APPROVAL)
            register += f'[[person.approval_key]]\nscheme = "cms"\nkey = "{key}"\n'
    for name, owner in (builders or {}).items():
        signer = client_certificate(clients, name)
        pem_files(signer, folder, name)
        persons[name] = person_home(folder, name + "-home")
        register += f'[[machine]]\nid = "{name}"\ntenant = "acme"\nroles = ["builder"]\nowner = "{owner}"\n'
        register += f'certificates = ["{tbs_digest(signer.x509)}"]\n'
        register += f'prepare_keys = ["{spki_of(persons[name], KeyPurpose.APPROVAL)}"]\n'
    (folder / "people.toml").write_text(register)
    (folder / "policies").mkdir()
    (folder / "policies" / "rules.cedar").write_text(policy)
    made = House(folder, home, persons)
    publish(made, clients)
    made.configuration.write_text(
        f"""# sealwright service 1
id = "acme-signing"
listen = "127.0.0.1:0"
home = "home"
people = "people.toml"
policies = "policies"
database = "sqlite:///service.db"
origin = "{ORIGIN}"
head = "head"
[tls]
certificate = "server.pem"
key = "server.key"
client_authorities = "clients.pem"
revocation_lists = ["root.crl", "ca.crl"]
[[key]]
name = "release"
tenant = "acme"
"""
    )
    return made


def log_key(made: House) -> str:
    """The key of its log, as verifiers know it."""
    raw = made.home.key("log", KeyPurpose.LOG).public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return str(VerifierKey(ORIGIN, key_id(ORIGIN, NoteType.LOG, raw), NoteType.LOG, raw))


def publish(made: House, clients: Pki) -> None:
    """Lists that are good for a day."""
    at = datetime.now(UTC) - HOUR
    for name, issuer in (("root.crl", clients.root), ("ca.crl", clients.intermediate)):
        data = make_crl(
            issuer.certificate, issuer.key, number=1, this_update=at, next_update=at + 25 * HOUR, revoked=[]
        )
        (made.folder / name).write_bytes(data)


BOUNDED = """
import sys
from sealwright.cli.main import main
from sealwright.service import signing
from sealwright.service.connections import Limits
signing.LIMITS = {limits}
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def running(
    made: House, limits: Limits | None = None, access: str = "none", around: Sequence[str] = ()
) -> Iterator[House]:
    """The service, until the end of the block. limits: narrower ones than its own; access: a file for its access lines; around: a
    program that becomes it.
    """
    program = ["-m", "sealwright"] if limits is None else ["-c", BOUNDED.format(limits=limits)]
    command = [
        *around,
        sys.executable,
        *program,
        "serve",
        "signing",
        str(made.configuration),
        "--json",
        "--access-log",
        access,
    ]
    with (made.folder / "service.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (made.folder / "service.log").read_text()
        made.address, made.process = json.loads(line)["address"], process.pid
        yield made
    finally:
        process.terminate()
        assert process.wait(30) == 0, (made.folder / "service.log").read_text()
        process.stdout.close()
