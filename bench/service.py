"""The signing service under load, from a process of its own, beside OpenBao's transit engine in the same run.

The service: TLS 1.3 with client certificates, register, Cedar policies, a P-256 key, intents and signatures durable in the Merkle log (SQLite),
16 clients that each keep a connection. The peer: `bao server` with its file audit device on, the same digests by its HTTP API. Single
requests, and batches of 1,000 (OpenBao: 400). The key is in a file; `service_load.py` has tokens and replicas. Usage: service.py [seconds].
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.service import wanted
from kit.signingservice import House, house, running

CLIENTS = 16
BATCH = 1000
PEER_BATCH = 400  # more strings in one body OpenBao refuses
LOADER = "--load"
Job = tuple[str, int, str, dict[str, str], str]  # host, port, path, headers, body


def load(jobs: list[Job], seconds: float, context: ssl.SSLContext | None) -> None:
    """What the loading process does: each job's request again and again on a connection of its own; prints its counts."""
    took: list[float] = []
    failed: list[str] = []

    def one(host: str, port: int, path: str, headers: dict[str, str], body: str) -> None:
        connection: http.client.HTTPConnection
        if context is None:
            connection = http.client.HTTPConnection(host, port)
        else:
            connection = http.client.HTTPSConnection(host, port, context=context)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status not in (200, 201):
                failed.append(data.decode()[:200])
                return
            took.append(time.monotonic() - began)

    threads = [threading.Thread(target=one, args=job) for job in jobs]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.monotonic() - began
    ordered = sorted(took) or [0.0]
    print(
        json.dumps(
            {
                "rate": len(took) / spent,
                "count": len(took),
                "p50_ms": ordered[len(ordered) // 2] * 1000,
                "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
                "failed": failed[:1],
            }
        )
    )


def loaded(plan: dict[str, object]) -> dict[str, float]:
    """Run a plan in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), LOADER],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    assert not found["failed"], found
    return found


def of_service(
    made: House, count: int, clients: int, seconds: float, key: str = "release", addresses: Sequence[str] = ()
) -> dict[str, float]:
    """Requests for so many signatures each. addresses: of replicas, among which the clients are divided."""
    jobs = []
    for client in range(clients):
        items = wanted([f"{client}-{number}.bin" for number in range(count)])
        body = {"key": key, "items": [{"line": one.line.decode()} for one in items], "wait_s": 60}
        jobs.append(job((addresses or [made.address])[client % max(1, len(addresses))], body))
    return loaded({"jobs": jobs, "seconds": seconds, "tls": tls_of(made, "max")})


def job(address: str, body: object) -> Job:
    """What one client asks a service, again and again."""
    host, _, port = address.removeprefix("https://").rpartition(":")
    return host, int(port), "/v1/requests", {"content-type": "application/json"}, json.dumps(body)


def tls_of(made: House, name: str) -> dict[str, str]:
    """A client's certificates, for the loading process."""
    certificate, key = made.identity(name)
    return {"ca": str(made.folder / "servers.pem"), "certificate": str(certificate), "key": str(key)}


class Bao:
    """OpenBao's server with a P-256 key and its file audit device."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = Path(sys.executable).parent / "bao"
        (folder / "bao.hcl").write_text(f'audit "file" "file" {{ options {{ file_path = "{folder}/audit.log" }} }}\n')
        command = [program, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token"]
        listen = f"-dev-listen-address=127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [*command, listen, f"-config={folder / 'bao.hcl'}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )
        self.headers = {"x-vault-token": "root", "content-type": "application/json"}
        for _ in range(100):
            try:
                self.call("/v1/sys/mounts/transit", {"type": "transit"})
                break
            except OSError:
                time.sleep(0.1)
        self.call("/v1/transit/keys/release", {"type": "ecdsa-p256"})

    def call(self, path: str, body: object) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", path, json.dumps(body), self.headers)
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()

    def load(self, count: int, clients: int, seconds: float) -> dict[str, float]:
        common = {"prehashed": True, "marshaling_algorithm": "asn1"}
        jobs = []
        for client in range(clients):
            digests = [
                base64.b64encode(hashlib.sha256(f"{client}-{number}".encode()).digest()).decode()
                for number in range(count)
            ]
            body: dict[str, object] = {**common, "input": digests[0]}
            if count > 1:
                body = {**common, "batch_input": [{"input": one} for one in digests]}
            jobs.append(("127.0.0.1", self.port, "/v1/transit/sign/release/sha2-256", self.headers, json.dumps(body)))
        return loaded({"jobs": jobs, "seconds": seconds, "tls": None})


def row(
    name: str, count: int, peers: int, measure: Callable[[], dict[str, float]], peer: Callable[[], dict[str, float]]
) -> None:
    """Three rounds, in turn."""
    rounds = [(measure(), peer()) for _ in range(3)]
    ours = statistics.median(one["rate"] for one, _ in rounds) * count
    p99 = statistics.median(one["p99_ms"] for one, _ in rounds)
    ratio = statistics.median(one["rate"] * count / (other["rate"] * peers) for one, other in rounds)
    theirs = statistics.median(other["rate"] for _, other in rounds) * peers
    print(f"{name}: {ours:,.0f} signatures a second, p99 {p99:.0f} ms; OpenBao {theirs:,.0f}; {ratio:.2f} x")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    folder = Path(tempfile.mkdtemp())
    bao = Bao(folder)
    try:
        with running(house(folder / "house")) as made:
            row(
                "single, 16 clients",
                1,
                1,
                lambda: of_service(made, 1, CLIENTS, seconds),
                lambda: bao.load(1, CLIENTS, seconds),
            )
            row(
                "batches of 1,000, 2 clients",
                BATCH,
                PEER_BATCH,
                lambda: of_service(made, BATCH, 2, seconds),
                lambda: bao.load(PEER_BATCH, 2, seconds),
            )
    finally:
        bao.process.terminate()
        bao.process.wait()
        shutil.rmtree(folder)


if __name__ == "__main__" and sys.argv[1:] == [LOADER]:
    plan = json.loads(sys.stdin.read())
    context = None
    if plan["tls"]:
        context = ssl.create_default_context(cafile=plan["tls"]["ca"])
        context.load_cert_chain(plan["tls"]["certificate"], plan["tls"]["key"])
    load([tuple(job) for job in plan["jobs"]], plan["seconds"], context)
elif __name__ == "__main__":
    main()
