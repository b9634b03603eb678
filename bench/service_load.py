"""The signing service with a key in a token, an emergency during a night batch, two replicas, and its memory while it goes on.

1. A P-256 key in SoftHSM with one and with two workers, beside the same service's key in a file (a file's key signs within the service).
2. Emergencies, one after the other, while 100,000 artifacts of one request are being signed by the same token.
3. Two replicas over PostgreSQL, beside one, with the same clients. On two cores the loading process, PostgreSQL, and the tokens' workers want theirs too.
4. Memory of the service (resident) after warming up and at the end. Usage: service_load.py [seconds of each part].
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.killable import Killable, add_key
from kit.postgres import postgres
from kit.service import POLICY, wanted
from kit.servicefaults import replicas_of
from kit.signingservice import House, house
from kit.tokens import PIN, make_token
from service import BATCH, CLIENTS, job, loaded, of_service, tls_of

EMERGENCIES = (
    POLICY
    + """
@id("emergency") @followup("24h") permit (principal, action == Action::"sign", resource) when { context.emergency };
@id("who-calls-it") @followup("24h") permit (principal in Role::"officer", action == Action::"break-glass", resource);
"""
)
NIGHT = 100_000
KEYS = "pkcs11:token=bench;object="


def of_token(made: House, service: Killable, seconds: float) -> None:
    """Rates beside the key in a file, three rounds in turn."""
    for count, clients, name in ((1, CLIENTS, f"single, {CLIENTS} clients"), (BATCH, 2, f"batches of {BATCH:,}")):
        made.address = service.address
        found: dict[str, list[float]] = {"release": [], "one": [], "two": []}
        for _ in range(3):
            for key, rates in found.items():
                rates.append(of_service(made, count, clients, seconds, key)["rate"] * count)
        file, one, two = (sorted(rates)[1] for rates in found.values())
        print(
            f"{name}: SoftHSM, 1 worker {one:,.0f} signatures a second, 2 workers {two:,.0f} ({two / one:.2f} x);",
            end=" ",
        )
        print(f"key in a file {file:,.0f} ({one / file:.2f} x)")


def emergencies(made: House, service: Killable, seconds: float) -> None:
    """Asked by an officer while a batch is signed, with the same key."""
    items = [{"line": one.line.decode()} for one in wanted([f"night-{number}.bin" for number in range(NIGHT)])]
    with service.client() as client:
        answer = client.post("/v1/requests", json={"key": "two", "items": items, "wait_s": 0})
        assert answer.status_code == 202, answer.text
        night = f"/v1/requests/{answer.json()['id']}"
        before = client.get(night).json()["signed"]
        began = time.monotonic()
        line = wanted(["emergency.bin"], "production")[0].line.decode()
        body = {"key": "two", "items": [{"line": line}], "emergency": True, "reason": "bench", "wait_s": 60}
        found = loaded({"jobs": [job(service.address, body)], "seconds": seconds, "tls": tls_of(made, "otto")})
        spent = time.monotonic() - began
        standing = client.get(night).json()
    assert standing["state"] == "signing", "the batch ended before"
    rate = (standing["signed"] - before) / spent
    print(
        f"emergencies during a batch of {NIGHT:,} that goes on at {rate:,.0f} a second: {found['count']:.0f} asked,",
        end=" ",
    )
    print(f"p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms")
    while standing["state"] == "signing":
        with service.client() as client:
            standing = client.get(f"{night}?wait_s=50").json()


def replicas(made: House, seconds: float) -> None:
    """Two beside one, over one PostgreSQL database."""
    with postgres() as server:
        pair = replicas_of(made, server.database(), ("first", "second"))
        try:
            for replica in pair:
                replica.start()
            for count, clients, name in (
                (1, CLIENTS, f"single, {CLIENTS} clients"),
                (BATCH, 2, f"batches of {BATCH:,}"),
            ):
                rounds = []
                for _ in range(3):
                    rates = [
                        of_service(made, count, clients, seconds, "release", [one.address for one in some])["rate"]
                        * count
                        for some in (pair[:1], pair)
                    ]
                    rounds.append((rates[1] / rates[0], *rates))
                ratio, one, two = sorted(rounds)[1]
                print(
                    f"PostgreSQL, {name}: one replica {one:,.0f} a second, two {two:,.0f}; {ratio:.2f} x ({os.cpu_count()} cores)"
                )
            for replica in pair:
                replica.stop()
        finally:
            for replica in pair:
                replica.end()


def memory(made: House, service: Killable, seconds: float) -> None:
    """Resident memory while it goes on."""
    assert service.process is not None
    made.address = service.address
    of_service(made, 20, CLIENTS, seconds, "two")
    start, asked = resident_mib(service.process.pid), 0.0
    for _ in range(6):
        asked += of_service(made, 20, CLIENTS, seconds, "two")["count"]
    end = resident_mib(service.process.pid)
    print(
        f"memory: {start:.0f} MiB after warming up, {end:.0f} MiB after {asked:,.0f} more requests of 20 ({end - start:+.1f})"
    )


def resident_mib(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no process {process}")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    folder = Path(tempfile.mkdtemp())
    try:
        os.environ["SOFTHSM2_CONF"] = str(make_token(folder / "token", "bench"))
        made = house(folder / "house", EMERGENCIES, ("otto",))
        add_key(made, "one", KEYS + "one", PIN)
        add_key(made, "two", KEYS + "two", PIN, workers=2)
        service = Killable(made, made.configuration)
        try:
            service.start()
            of_token(made, service, seconds)
            emergencies(made, service, 2 * seconds)
            memory(made, service, seconds)
            service.stop()
        finally:
            service.end()
        replicas(made, seconds)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
