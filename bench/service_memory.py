"""Memory and files of the signing service after as many requests as an hour of 100 a second has, at ten points on the way.

Single requests by 16 clients over TLS, a P-256 key in a file, SQLite: what `service.py` drives. Resident memory of the service alone; the
database grows by what it keeps. Usage: service_memory.py [requests, 360,000 where nothing is said].
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from service_load import resident_mib

from kit.signingservice import House, house, running
from service import CLIENTS, of_service

HOUR = 360_000
POINTS = 10
STEP_S = 5.0


def driven(made: House, wanted: int) -> int:
    """At least so many requests; how many they were."""
    asked = 0
    while asked < wanted:
        asked += int(of_service(made, 1, CLIENTS, STEP_S)["count"])
    return asked


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else HOUR
    folder = Path(tempfile.mkdtemp())
    try:
        with running(house(folder / "house")) as made:
            asked, began = driven(made, 1), time.monotonic()
            print(f"{asked:,} requests to warm up: {resident_mib(made.process):.0f} MiB", flush=True)
            for point in range(1, POINTS + 1):
                asked += driven(made, wanted * point // POINTS - asked)
                octets = sum(one.stat().st_size for one in made.folder.glob("service.db*"))
                print(
                    f"{asked:,} requests, {time.monotonic() - began:.0f} s: {resident_mib(made.process):.0f} MiB;",
                    f"database {octets / asked / 1024:.1f} KiB a request",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
