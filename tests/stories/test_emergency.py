"""A night in which a plant stands still: an emergency is asked for, called by one officer, signed, told at once, and looked at by two others."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.openssl import cms_verify
from kit.signingservice import House, house, running

POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"read", Action::"approve"], resource);
@id("by-two") permit (principal, action == Action::"sign", resource) when { context.approvals >= 2 };
@id("emergency-by-one-officer") @followup("24h")
permit (principal in Role::"requester", action == Action::"sign", resource) when { context.emergency && context.officers >= 1 };
@id("officers-call-it") @followup("24h")
permit (principal in Role::"officer", action == Action::"break-glass", resource);
"""
OFFICERS = ("olga", "otto", "omar")


@contextmanager
def receiver(folder: Path) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An operator's alarm receiver over TLS, with the service's own server certificate; what it got, with the signature header."""
    got: list[tuple[str, bytes]] = []

    class Takes(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.headers["Sealwright-Signature"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if len(got) > 1 else 500)  # the first time it is not well
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/alarm", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def command(made: House, who: str, *arguments: object, code: int = 0) -> str:
    certificate, key = made.identity(who)
    service = ["--service", made.address, "--service-ca", made.folder / "servers.pem"]
    line = [*arguments, *service, "--client", certificate, "--client-key", key]
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, line)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_an_emergency_at_night(tmp_path: Path) -> None:
    made = house(tmp_path / "house", POLICY, OFFICERS)
    (made.folder / "hook.secret").write_text("a shared secret\n")
    artifact = tmp_path / "fix.bin"
    artifact.write_bytes(b"the fix")
    with receiver(made.folder) as (url, got):
        with made.configuration.open("a") as file:
            file.write(f'[webhook]\nurl = "{url}"\nca = "servers.pem"\nsecret_file = "hook.secret"\n')
        with running(made):
            asks = ("sign", artifact, "--product", "drive", "--environment", "production", "--reason", "line 3 stands")
            answer: list[str] = []
            sign = threading.Thread(target=lambda: answer.append(command(made, "max", *asks, "--emergency")))
            sign.start()
            id_ = ""
            while not id_:
                waits = [json.loads(line) for line in command(made, "olga", "approve", "--json").splitlines()]
                id_ = next((one["id"] for one in waits), "")
            said = command(made, "olga", "approve", id_, "--home", made.persons["olga"].folder, "--yes")
            assert "AN EMERGENCY" in said
            assert "reason: line 3 stands" in said
            sign.join()
            signature, manifest = tmp_path / "fix.bin.manifest.p7s", tmp_path / "fix.bin.manifest"
            assert cms_verify(signature, manifest, made.folder / "home" / "ca.pem")[0]
            assert id_ in command(made, "otto", "follow-up")
            look = ("follow-up", id_, "--confirm", "--home")
            assert "AN EMERGENCY" in command(made, "otto", "follow-up", id_, code=1)
            command(made, "olga", *look, made.persons["olga"].folder, code=1)
            assert "another officer" in command(made, "otto", *look, made.persons["otto"].folder)
            assert "confirmed" in command(made, "omar", *look, made.persons["omar"].folder)
            assert id_ not in command(made, "otto", "follow-up")
            for _ in range(100):
                if len(got) >= 2:
                    break
                time.sleep(0.2)
    assert len(got) >= 2
    for mac, body in got[:2]:
        assert mac == "sha256=" + hmac.new(b"a shared secret", body, hashlib.sha256).hexdigest()
        event = json.loads(body)
        assert (event["event"], event["request"], event["service"]) == ("emergency", id_, "acme-signing")
    assert "emergency" in (made.folder / "service.log").read_text()
