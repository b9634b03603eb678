"""One large file against `openssl dgst -sha256`: hashing alone, then whole `sealwright sign` and `sealwright verify`.

Rounds in turn, ratio of each round, median; page cache warm, whole processes, so each ratio holds the interpreter's start.
Usage: one_file.py [MiB [rounds]]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sealwright.signing.init import InitOptions, init_home

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
HASHING = (
    "import sys; from sealwright.artifact.source import open_artifact; from sealwright.artifact.digest import HashName\n"
    "with open_artifact(sys.argv[1]) as source: digests = source.digests([HashName.SHA256])\n"
    "print(digests[HashName.SHA256].value.hex())"
)


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds and standard output of a command that must succeed."""
    started = time.perf_counter()
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return time.perf_counter() - started, said


def main() -> None:
    """Print seconds, ratios and memory."""
    mebibytes, rounds = ([int(text) for text in sys.argv[1:3]] + [1024, 7][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory(prefix="one-file-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        file, home, signature = folder / "image.bin", folder / "home", folder / "image.bin.p7s"
        block = os.urandom(1 << 20)
        with file.open("wb") as target:
            for _ in range(mebibytes):
                target.write(block)
        init_home(str(home), InitOptions(datetime.now(UTC), "Bench"))
        commands = {
            "hashing": [sys.executable, "-c", HASHING, str(file)],
            "sign": [SEALWRIGHT, "sign", str(file), "--home", str(home)],
            "verify": [SEALWRIGHT, "verify", str(file), "--trust", str(home / "trust.toml")],
        }
        peer = ["openssl", "dgst", "-sha256", "-r", str(file)]
        before: dict[str, Callable[[], None]] = {"sign": lambda: signature.unlink(missing_ok=True)}
        times: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
        for turn in range(rounds + 1):
            for what, command in commands.items():
                before.get(what, lambda: None)()
                ours, said = timed(command)
                theirs, answer = timed(peer)
                if what == "hashing" and said.split()[0] != answer.split()[0]:
                    raise SystemExit("the two digests differ")
                if turn:  # the first round warms the page cache
                    times[what].append((ours, theirs))
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for what, pairs in times.items():
        ratios = [ours / theirs for ours, theirs in pairs]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{mebibytes} MiB, {rounds} rounds: {what} {ours:.3f} s, openssl dgst {theirs:.3f} s, "
              f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")  # fmt: skip
    print(f"the largest of these processes took {memory / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
