"""Backing up a home whose journal has a million entries, while others want to sign.

    .venv/bin/python bench/backup.py

Peer, in the same run: `tar -cf` of the same folder and `sha256sum` of the archive, which is a backup that nobody signed and that
is not consistent. Also told: how long another process waited for the journal at most, and how long restoring takes, which
reads every entry.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src")]

from sealwright.log.journal import Entry, EntryType, Journal  # noqa: E402
from sealwright.signing.backup import make_backup, read_anchors  # noqa: E402
from sealwright.signing.enrol import enrol_for  # noqa: E402
from sealwright.signing.home import Home, open_home  # noqa: E402
from sealwright.signing.init import InitOptions, init_home  # noqa: E402
from sealwright.signing.restore import restore  # noqa: E402

ENTRIES = 1_000_000
BATCH = 10_000
NOW = datetime.now(UTC)


def grown(folder: Path) -> Home:
    """A home with as many entries."""
    init_home(str(folder), InitOptions(NOW))
    enrol_for(open_home(str(folder)), "backup", "backup", None, NOW)
    digest = "sha256:" + "a" * 64
    fields = {
        "key": digest,
        "certificate": digest,
        "artifact": digest,
        "product": "VX-200",
        "time": "2026-01-01T00:00:00Z",
    }
    with Journal.open(str(folder / "journal")) as journal:
        for begin in range(0, ENTRIES, BATCH):
            batch = range(begin, begin + BATCH)
            journal.append([Entry(EntryType.INTENT, {**fields, "request": f"{number:032x}"}) for number in batch])
    return open_home(str(folder))


def longest_wait(home: Home, done: threading.Event, waits: list[float]) -> None:
    """What somebody waits who wants to sign meanwhile."""
    while not done.is_set():
        begun = time.perf_counter()
        with Journal.open(home.path("journal")):
            waits.append(time.perf_counter() - begun)
        time.sleep(0.005)


def main() -> None:
    """Print the figures and ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = grown(folder / "home")
        size = os.path.getsize(home.path("journal", "journal.jsonl"))
        ours, theirs, waits = [], [], [0.0]
        for number in range(3):
            done = threading.Event()
            other = threading.Thread(target=longest_wait, args=(home, done, waits))
            other.start()
            begun = time.perf_counter()
            make_backup(home, str(folder / f"{number}.tar"), NOW, None)
            ours.append(time.perf_counter() - begun)
            done.set()
            other.join()
            begun = time.perf_counter()
            subprocess.run(["tar", "-cf", "peer.tar", "home"], cwd=folder, check=True)
            subprocess.run(["sha256sum", "peer.tar"], cwd=folder, check=True, capture_output=True)
            subprocess.run(["sync", "peer.tar"], cwd=folder, check=True)
            theirs.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        restore(str(folder / "0.tar"), str(folder / "new"), read_anchors(home.path("ca.pem")), NOW)
        restored = time.perf_counter() - begun
        print(f"journal: {ENTRIES:,} entries, {size >> 20} MiB")
        print(f"backup, read again and checked: {min(ours):.2f} s; tar, sha256sum and sync: {min(theirs):.2f} s")
        print(f"ratio to tar and sha256sum: {min(ours) / min(theirs):.2f}")
        print(f"longest wait of another process: {max(waits) * 1000:.0f} ms")
        print(f"restoring, every entry checked: {restored:.1f} s, {restored / ENTRIES * 1e6:.1f} us an entry")


if __name__ == "__main__":
    main()
