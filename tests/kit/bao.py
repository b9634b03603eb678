"""A real OpenBao server with TLS for each test that wants one: initialised, unsealed, a transit engine, and a token that may only sign.

with bao(tmp_path) as server: open_key(server.uri("release"))

`restart` and `kill` keep its storage; `seal` and `unseal` are its operators'.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

BAO = shutil.which("bao") or str(Path(sys.executable).parent / "bao")
# what Sealwright's token may do, and nothing else: docs/keys.md prints the same
POLICY = """
path "transit/keys/+" { capabilities = ["read", "create", "update"] }
path "transit/keys" { capabilities = ["list"] }
path "transit/sign/*" { capabilities = ["update"] }
"""


@dataclass
class Bao:
    """A running server. root: its operators' token; token_file: Sealwright's."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    root: str = ""
    unseal_key: str = ""
    token: str = ""

    @property
    def ca(self) -> Path:
        """The authority of its TLS certificate."""
        return self.folder / "tls.pem"

    @property
    def token_file(self) -> Path:
        """Where Sealwright finds its token."""
        return self.folder / "token"

    @property
    def engine(self) -> str:
        """The key string of its transit engine."""
        return self.uri("").replace("/keys/", "")

    def uri(self, name: str, version: int = 0) -> str:
        """The key string of one key."""
        words = [f"version={version}"] if version else []
        words += [f"ca-file={self.ca}", f"token-source=file:{self.token_file}"]
        return f"transit:https://127.0.0.1:{self.port}/v1/transit/keys/{name}?" + "&".join(words)

    @property
    def audit_log(self) -> Path:
        """What its file audit device writes."""
        return self.folder / "audit.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [BAO, "server", "-config", str(self.folder / "bao.hcl")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(400):
            try:
                self.call("GET", "sys/seal-status")
                return
            except httpx.TransportError:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """As a power cut."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def unseal(self) -> None:
        """Its operators give their key."""
        self.call("POST", "sys/unseal", {"key": self.unseal_key})
        for _ in range(200):
            found = self.call("GET", "sys/health", fine=(200, 503, 429, 472, 473))
            if found["sealed"] is False and found["standby"] is False:
                return
            time.sleep(0.05)
        raise RuntimeError("it does not become active")

    def seal(self) -> None:
        """Its operators close it."""
        self.call("PUT", "sys/seal")

    def make(self, name: str, kind: str = "ecdsa-p256", **options: object) -> str:
        """A key, and its key string."""
        self.call("POST", f"transit/keys/{name}", {"type": kind, **options})
        return self.uri(name)

    def configure(self, name: str, **options: object) -> None:
        """Change a key's configuration, as its operators may."""
        self.call("POST", f"transit/keys/{name}/config", options)

    def give_token(self, ttl: str = "1h") -> str:
        """A new token for Sealwright, written where it looks."""
        answer = self.call("POST", "auth/token/create", {"policies": ["sealwright"], "ttl": ttl, "no_parent": True})
        self.token = str(answer["auth"]["client_token"])
        self.token_file.write_text(self.token + "\n")
        self.token_file.chmod(0o600)
        return self.token

    def call(
        self, method: str, path: str, body: dict[str, object] | None = None, fine: tuple[int, ...] = (200, 204)
    ) -> dict[str, Any]:
        """As an operator, by HTTP."""
        answer = httpx.request(
            method,
            f"https://127.0.0.1:{self.port}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": self.root},
            verify=False,  # noqa: S501 - the operator of the test; Sealwright checks it
            trust_env=False,
            timeout=20,
        )
        assert answer.status_code in fine, answer.text
        found: dict[str, Any] = json.loads(answer.text) if answer.text else {}
        return found


@contextmanager
def bao(folder: Path) -> Iterator[Bao]:
    """A server of this test's own, initialised and unsealed; ended with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    folder.mkdir(parents=True, exist_ok=True)
    certificate(folder)
    (folder / "store").mkdir()
    (folder / "bao.hcl").write_text(
        f'storage "raft" {{\n  path = "{folder}/store"\n  node_id = "one"\n  performance_multiplier = 1\n}}\n'
        f'listener "tcp" {{\n  address = "127.0.0.1:{port}"\n  tls_cert_file = "{folder}/tls.pem"\n'
        f'  tls_key_file = "{folder}/tls.key"\n}}\napi_addr = "https://127.0.0.1:{port}"\n'
        f'cluster_addr = "https://127.0.0.1:{port + 1}"\ndisable_mlock = true\n'
        f'audit "file" "file" {{\n  options {{\n    file_path = "{folder}/audit.log"\n  }}\n}}\n'
    )
    server = Bao(folder, port)
    server.start()
    try:
        made = server.call("POST", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        server.root, server.unseal_key = str(made["root_token"]), str(made["keys"][0])
        server.unseal()
        server.call("POST", "sys/mounts/transit", {"type": "transit"})
        server.call("POST", "sys/policies/acl/sealwright", {"policy": POLICY})
        server.give_token()
        yield server
    finally:
        server.kill()


def certificate(folder: Path, name: str = "tls") -> None:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bao")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(built.public_bytes(Encoding.PEM))
    path = folder / f"{name}.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    os.chmod(path, 0o600)
