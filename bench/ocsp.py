"""OCSP answers a second on one core over HTTP, fresh P-256 signatures (each request has a nonce), and kept ones without.

Peers in the same run, with the same certificates and requests: `openssl ocsp -index … -port` (its own responder, which takes
one connection for each request) and a loop of `openssl ocsp -index … -reqin … -respout`. The servers have one core, the
client the other. The goal is 1,500 fresh answers a second. Usage: ocsp.py [rounds] [seconds].
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate
from cryptography.x509.ocsp import OCSPCertStatus, load_der_ocsp_response

from kit.ocsp import OcspWorld
from sealwright.pki.ocsp import State, Status
from sealwright.service.ocsp import routes
from sealwright.service.published import Publications
from sealwright.service.server import parse_listen, serve

CERTIFICATES = 1000
CONNECTIONS = 16
SERVER_CORE, CLIENT_CORE = 0, 1


def ours(world: OcspWorld, ready: Connection) -> None:
    """The responder, in a process of its own."""
    os.sched_setaffinity(0, {SERVER_CORE})
    offered = Publications(dict, {})
    paths = routes(world.responder(), offered, lambda: datetime.now(UTC), print)
    asyncio.run(serve(paths, parse_listen("127.0.0.1:0"), announce=ready.send))


@contextmanager
def our_server(world: OcspWorld) -> Iterator[int]:
    """Its port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=ours, args=(world, there))
    process.start()
    try:
        yield int(here.recv().rpartition(":")[2])
    finally:
        process.terminate()
        process.join()


@contextmanager
def openssl_server(folder: Path) -> Iterator[int]:
    """Port of `openssl ocsp -port`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["taskset", "-c", str(SERVER_CORE), "openssl", "ocsp", "-port", str(port), "-nmin", "60", *INDEX]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # a connection that is only a probe makes it spin
        yield port
    finally:
        process.kill()
        process.wait()


INDEX = ["-index", "index.txt", "-rsigner", "responder.pem", "-rkey", "responder.key", "-CA", "issuer.pem"]


def prepare(folder: Path) -> OcspWorld:
    """An authority with a thousand certificates, half of them revoked, in our source and in openssl's index."""
    world = OcspWorld.make(at=datetime.now(UTC).replace(microsecond=0))
    serials = [secrets.randbits(159) | 1 << 158 for _ in range(CERTIFICATES)]
    lines = []
    revoked = Status(State.REVOKED, datetime(2026, 1, 1, tzinfo=UTC))
    good = world.table.statuses[world.good.x509.serial_number]
    world.table.statuses = {serial: revoked if at % 2 else good for at, serial in enumerate(serials)}
    for at, serial in enumerate(serials):
        status = "R\t361231235959Z\t260101000000Z" if at % 2 else "V\t361231235959Z\t"
        lines.append(f"{status}\t{serial:X}\tunknown\t/CN=device {at}\n")
    (folder / "index.txt").write_text("".join(lines))
    (folder / "issuer.pem").write_text(world.pki.intermediate.pem)
    own = load_der_x509_certificate(world.signer.certificates[0])
    (folder / "responder.pem").write_bytes(own.public_bytes(Encoding.PEM))
    private = world.signer.key._private  # type: ignore[attr-defined]
    (folder / "responder.key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return world


def posts(world: OcspWorld, nonce: bool) -> list[bytes]:
    """HTTP requests for each certificate in turn."""
    made = []
    for serial in world.table.statuses:
        body = world.request(serial, nonce=secrets.token_bytes(32) if nonce else None)
        head = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n"
        made.append(head % len(body) + body)
    return made


def kept_alive(port: int, requests: list[bytes], seconds: float) -> float:
    """Answers a second on connections that stay: one request on each, then the answers, again and again."""
    lines = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CONNECTIONS)]
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for line in lines:
            line.sendall(requests[count % len(requests)])
            count += 1
        for line in lines:
            answer(line)
    rate = count / (time.perf_counter() - started)
    for line in lines:
        line.close()
    return rate


def one_each(port: int, requests: list[bytes], seconds: float) -> float:
    """Answers a second with a connection for each, which is all that openssl's responder offers."""
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(requests[count % len(requests)])
            answer(line)
        count += 1
    return count / (time.perf_counter() - started)


def answer(line: socket.socket) -> bytes:
    """The body of one answer; it must be of the kind that was asked for."""
    data = line.recv(65536)
    while b"\r\n\r\n" not in data:
        data += line.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < size:
        body += line.recv(65536)
    assert head.split(b" ")[1] == b"200"
    return body


def by_files(folder: Path, world: OcspWorld, count: int) -> float:
    """Answers a second of one process for each request."""
    serial = next(iter(world.table.statuses))
    (folder / "request.der").write_bytes(world.request(serial, nonce=secrets.token_bytes(32)))
    command = ["taskset", "-c", str(SERVER_CORE), "openssl", "ocsp", *INDEX, "-nmin", "60", "-reqin", "request.der"]
    started = time.perf_counter()
    for _ in range(count):
        subprocess.run([*command, "-respout", "answer.der"], cwd=folder, capture_output=True, check=True)
    return count / (time.perf_counter() - started)


def check(port: int, requests: list[bytes]) -> None:
    """The first two certificates: one good, one revoked."""
    for request, wanted in zip(requests, (OCSPCertStatus.GOOD, OCSPCertStatus.REVOKED), strict=False):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(request)
            assert load_der_ocsp_response(answer(line)).certificate_status is wanted


def main() -> None:
    """Print medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    os.sched_setaffinity(0, {CLIENT_CORE})
    with tempfile.TemporaryDirectory(prefix="ocsp-") as name:
        folder = Path(name)
        world = prepare(folder)
        fresh, plain = posts(world, nonce=True), posts(world, nonce=False)
        found: dict[str, list[float]] = {}
        with our_server(world) as port, openssl_server(folder) as other:
            for at in (port, other):
                check(at, fresh)
            kept_alive(port, plain, 1)
            for _ in range(rounds):
                for what, rate in {
                    "sealwright, fresh": kept_alive(port, fresh, seconds),
                    "sealwright, kept": kept_alive(port, plain, seconds),
                    "sealwright, fresh, a connection each": one_each(port, fresh, seconds),
                    "openssl ocsp -port": one_each(other, fresh, seconds),
                    "a loop of openssl ocsp -reqin": by_files(folder, world, 50),
                }.items():
                    found.setdefault(what, []).append(rate)
        ours_ = found["sealwright, fresh"]
        for what, rates in found.items():
            ratio = statistics.median(one / rate for one, rate in zip(ours_, rates, strict=True))
            print(f"OCSP on one core: {what} {statistics.median(rates):.0f}/s, sealwright, fresh is {ratio:.2f} x")


if __name__ == "__main__":
    main()
