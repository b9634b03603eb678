"""Tokens of `serve tsa` over HTTP, each durable before it leaves, against a loop of `openssl ts -reply`, in turn.

The server has one core; its clients (keep-alive connections, one request each at a time) are another process on the others.
Every answer is kept; after each round a sample of them and the distinctness of all serials are checked. The goals are 1,500
tokens a second and 20 times the loop. Usage: tsa.py [seconds] [clients].
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from sealwright.artifact.digest import Digest
from sealwright.envelope.tsp import read_response, read_token, timestamp_request
from sealwright.log.journal import read_journal

LOOP = 60
ROUNDS = 3
SEALWRIGHT = [sys.executable, "-m", "sealwright"]
CORE = min(os.sched_getaffinity(0))


def main() -> None:
    """Print the ratio of some rounds."""
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    seconds, clients = (*numbers, *(4, 64)[len(numbers) :])
    folder = Path(tempfile.mkdtemp(prefix="tsa-", dir=Path.cwd()))
    try:
        home = folder / "home"
        subprocess.run([*SEALWRIGHT, "init", str(home)], check=True, capture_output=True)
        ours: list[Round] = []
        theirs = []
        with Served(home) as server:
            loop = OpensslLoop(folder, home)
            for _ in range(ROUNDS):
                theirs.append(loop())
                spent = server.processor_s()
                ours.append(asyncio.run(clients_at(server.port, clients, seconds)))
                ours[-1].processor_s = server.processor_s() - spent
        ratios = [one.rate / other for one, other in zip(ours, theirs, strict=True)]
        rates = [one.rate for one in ours]
        waits = sorted(wait for one in ours for wait in one.waits_ms)
        lines = sum(1 for _ in read_journal(str(home / "timestamps")))
        print(
            f"{clients} clients: {statistics.median(rates):.0f} tokens/s ({min(rates):.0f}-{max(rates):.0f}), "
            f"{statistics.median(one.tokens / one.processor_s for one in ours):.0f} for each second of the server's processor; "
            f"waited {waits[len(waits) // 2]:.1f} ms, 99 of 100 at most {waits[len(waits) * 99 // 100]:.1f} ms; "
            f"{sum(one.tokens for one in ours) / (lines / 2):.0f} tokens a batch\n"
            f"openssl ts -reply: {statistics.median(theirs):.0f}/s; "
            f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Round:
    """What the clients got in one round."""

    rate: float
    tokens: int
    waits_ms: list[float]
    processor_s: float = 0.0


class Served:
    """The server on one core."""

    def __init__(self, home: Path) -> None:
        command = [*SEALWRIGHT, "serve", "tsa", "--home", str(home), "--listen", "127.0.0.1:0", "--json"]
        command += ["--time-source", "none", "--access-log", "none"]
        self.process = subprocess.Popen(
            ["taskset", "-c", str(CORE), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().partition("http://127.0.0.1:")[2].partition('"')[0])

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def processor_s(self) -> float:
        """Seconds of a processor it used so far."""
        used = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


class OpensslLoop:
    """`openssl ts -reply` again and again, with the same key and certificate."""

    def __init__(self, folder: Path, home: Path) -> None:
        (folder / "serial").write_text("01\n")
        (folder / "ts.cnf").write_text(
            f"[tsa]\ndefault_tsa=t\n[t]\nserial={folder}/serial\nsigner_cert={home}/certificates/timestamp.pem\n"
            f"certs={home}/certificates/timestamp.pem\nsigner_key={home}/keys/timestamp.pem\nsigner_digest=sha256\n"
            "default_policy=1.2.3.4\ndigests=sha256\naccuracy=secs:1\ness_cert_id_alg=sha256\n"
        )
        (folder / "q").write_bytes(timestamp_request(Digest.of(b"x"), 5))
        self.command = ["openssl", "ts", "-reply", "-queryfile", str(folder / "q"), "-out", str(folder / "r")]
        self.command += ["-config", str(folder / "ts.cnf")]

    def __call__(self) -> float:
        """Replies a second, by a loop of the shell on one core."""
        script = f"for i in $(seq {LOOP}); do {' '.join(self.command)} 2>/dev/null || exit 1; done"
        started = time.perf_counter()
        subprocess.run(["taskset", "-c", str(CORE), "sh", "-c", script], check=True)
        return LOOP / (time.perf_counter() - started)


async def clients_at(port: int, clients: int, seconds: int) -> Round:
    """Tokens a second over all clients."""
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {CORE} or {CORE})
    wanted = [(Digest.of(secrets.token_bytes(8)), secrets.randbits(62)) for _ in range(500)]
    requests = [_http(timestamp_request(imprint, nonce)) for imprint, nonce in wanted]
    answers: list[tuple[int, bytes]] = []
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        at = number
        while (began := time.perf_counter()) < until:
            at = (at + clients) % len(requests)
            writer.write(requests[at])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            answers.append((at, await reader.readexactly(length)))
            waits.append((time.perf_counter() - began) * 1000)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    rate = len(answers) / (time.perf_counter() - started)
    for at, answer in answers[:: max(1, len(answers) // 50)]:
        imprint, nonce = wanted[at]
        assert read_token(read_response(answer, imprint, nonce, "tsa"), "tsa").imprint == imprint
    assert len({answer for _, answer in answers}) == len(answers)
    return Round(rate, len(answers), waits)


def _http(body: bytes) -> bytes:
    head = "POST / HTTP/1.1\r\nHost: tsa\r\nContent-Type: application/timestamp-query\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    main()
