"""A signing service under load for minutes, while its processes, token workers and PostgreSQL are killed and stopped at random; counts at the end.

    scripts/soak_service.py [MINUTES]        10 by default

Two replicas over PostgreSQL, a key in SoftHSM with two workers, six clients with requests of 1 to 800 artifacts. Each round does one of:
kill -9 of a replica, of a token worker, of PostgreSQL, or SIGSTOP of a replica for longer than its lease. Exit code 1 where anything was lost,
doubled or unlogged, or a checkpoint does not fit the log. Where a fault meets the key or the log is a matter of luck: `broken off` counts it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.killable import Killable, add_key
from kit.postgres import Postgres, postgres
from kit.servicefaults import Books, load, log_key_of, reckoning, replicas_of
from kit.signingservice import house
from kit.tokens import PIN, make_token

STILL_S = 40.0  # a lease is half a minute, and who looks for those that ran out looks every five seconds
FAULTS = ("replica", "worker", "worker", "database", "pause")


def main() -> int:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    folder = Path(tempfile.mkdtemp(prefix="sealwright-soak-"))
    chance = random.SystemRandom()
    os.environ["SOFTHSM2_CONF"] = str(make_token(folder / "token", "soak"))
    made = house(folder / "house")
    add_key(made, "line", "pkcs11:token=soak;object=line", PIN, workers=2)
    books = Books()
    try:
        with postgres() as server:
            url = server.database()
            replicas = replicas_of(made, url, ("one", "two"))
            try:
                for replica in replicas:
                    replica.start()
                until = time.monotonic() + minutes * 60
                with load(replicas, books, key="line"):
                    while time.monotonic() < until:
                        time.sleep(chance.uniform(0.5, 6.0))
                        one_fault(chance, replicas, server)
                for replica in replicas:
                    replica.stop()
            finally:
                for replica in replicas:
                    replica.end()
            reckoned = reckoning(books, url, log_key_of(made))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(reckoned)
    for surprise in books.surprises[:10]:
        print(surprise)
    return int(not reckoned.in_order or bool(books.surprises))


def one_fault(chance: random.Random, replicas: list[Killable], server: Postgres) -> None:
    fault, replica = chance.choice(FAULTS), chance.choice(replicas)
    print(f"{time.strftime('%H:%M:%S')} {fault}", flush=True)
    match fault:
        case "replica":
            replica.kill()
            replica.start()
        case "worker":
            for pid in replica.workers[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        case "database":
            server.stop("immediate")
            server.start()
        case "pause":
            replica.pause()
            time.sleep(STILL_S)
            replica.resume()


if __name__ == "__main__":
    sys.exit(main())
