"""A signing service whose clients are CI jobs: an issuer of tokens, a machine of the register, and a runner of GitHub's that gives tokens."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from kit.oidc import CiIssuer, serving
from kit.people import AUDIENCE, SAID, SUBJECT
from kit.pki import Pki
from kit.signingservice import House, house, running
from kit.tls import pem_files, server_certificate

ISSUER = "https://ci.acme.example"
CLAIMS = {"repository": "acme/fw", "ref_type": "tag", "event_name": "push", "environment": "release"}
SECRET = "runner-secret-5eed"
POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve"], resource);
@id("development-by-our-repository") permit (principal is Machine, action == Action::"sign", resource)
when { resource.environment == Environment::"development" && principal.claims.repository == "acme/fw" };
@id("test-by-one") permit (principal, action == Action::"sign", resource)
when { resource.environment == Environment::"test" && context.approvals >= 1 };
"""


@dataclass
class CiHouse:
    """A running service and the issuer of its CI system. asked: what the runner was asked for."""

    service: House
    issuer: CiIssuer
    runner: str = ""
    runner_ca: str = ""
    asked: list[str] = field(default_factory=list)

    def token(self, **claims: object) -> str:
        """A token of the job that the register knows, unless claims say otherwise."""
        self.issuer.at = datetime.now(UTC)
        return self.issuer.token(**{**CLAIMS, **claims}).decode()

    @property
    def where(self) -> list[str]:
        """Options of a client."""
        return ["--service", self.service.address, "--service-ca", str(self.service.folder / "servers.pem")]

    def ci(self, *arguments: object, code: int = 0, **environment: str) -> str:
        """`sealwright ci` as a job runs it, and all that it says; nothing of the environment but what is given."""
        given = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", "sealwright", "ci", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=given | environment,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        for secret in (*(environment.get(name, "") for name in ("TOKEN", "TOKEN_2")), SECRET):
            assert not secret or secret not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def github(self, run: str = "7", **more: str) -> dict[str, str]:
        """The environment of a job on GitHub."""
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/fw",
            "GITHUB_WORKFLOW_REF": "acme/fw/.github/workflows/release.yml@refs/tags/v1",
            "GITHUB_REF": "refs/tags/v1",
            "GITHUB_SHA": "5eed" * 10,
            "GITHUB_RUN_ID": run,
            "GITHUB_JOB": "sign",
            "ACTIONS_ID_TOKEN_REQUEST_URL": self.runner,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": SECRET,
            "SSL_CERT_FILE": self.runner_ca,
            **more,
        }


@contextmanager
def ci_house(
    folder: Path,
    policy: str = POLICY,
    settings: str = "",
    officers: Sequence[str] = (),
    prepare: Callable[[House], None] = lambda _: None,
) -> Iterator[CiHouse]:
    """Everything, running. prepare: what is done to the house before."""
    issuer = CiIssuer(issuer=ISSUER)
    made = house(folder / "house", policy, officers)
    prepare(made)
    (folder / "issuer").mkdir()
    with serving(issuer, folder / "issuer") as keys, _runner(folder) as runner:
        listed = "\n".join(f'{name} = "{value}"' for name, value in CLAIMS.items())
        with (made.folder / "people.toml").open("a") as people:
            people.write(
                f'[[machine]]\nid = "ci"\ntenant = "acme"\nroles = ["requester"]\nowner = "max"\n[machine.oidc]\nissuer = "{ISSUER}"\n'
                f'audience = "{AUDIENCE}"\nsubject = "{SUBJECT}"\nhand_on = ["ref"]\n[machine.oidc.claims]\n{listed}\n'
            )
        with made.configuration.open("a") as configuration:
            configuration.write(
                f'[[issuer]]\nkind = "other"\naudience = "{AUDIENCE}"\naddress = "{ISSUER}"\n'
                f'keys = "https://localhost:{keys.port}/jwks"\nca_file = "{keys.ca_file}"\n'
            )
        if settings:
            (made.folder / "policies" / "settings.toml").write_text("# sealwright policy settings 1\n" + settings)
        with running(made):
            runner.house = CiHouse(made, issuer, runner.address, str(folder / "runner-ca.pem"), runner.asked)
            yield runner.house


@dataclass
class _Runner:
    address: str
    asked: list[str]
    house: CiHouse | None = None


@contextmanager
def _runner(folder: Path) -> Iterator[_Runner]:
    """What gives GitHub's jobs their tokens."""
    pki = Pki.make("Runner", at=datetime.now(UTC) - timedelta(days=1))
    (folder / "runner").mkdir()
    certificate, key = pem_files(server_certificate(pki), folder / "runner", "runner")
    (folder / "runner-ca.pem").write_text(pki.root.pem)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            made.asked.append(self.path)
            right = self.headers.get("authorization") == f"bearer {SECRET}" and made.house is not None
            audience = parse_qs(asked.query).get("audience", [""])[0]
            token = made.house.token(aud=audience) if right and made.house is not None else ""
            data = json.dumps({"value": token, "count": 1}).encode()
            self.send_response(200 if right else 401)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made = _Runner(f"https://localhost:{server.server_address[1]}/token?api-version=2.0", [])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def said(changes: Mapping[str, str]) -> dict[str, str]:
    """What a token says, with changes."""
    return {**SAID, **changes}
