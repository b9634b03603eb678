"""A large file in the formats with a signature beside it: `verify` and `sign` against `openssl dgst -sha256`, and `veritysetup verify`.

What each program takes for a file of 1 MiB is its start-up, and is taken off. Rounds in turn, ratio of each round, median.
Hash trees are made of one SHA-256 for each 4 KiB, by all cores where a file has 16 MiB or more.
Usage: verity.py [MiB [ROUNDS]]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sealwright.signing.init import InitOptions, init_home

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
FORMATS = ("verity", "fsverity", "ima")


def timed(command: Sequence[str | Path]) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return time.perf_counter() - started


def commands(form: str, plain: Path, home: Path) -> dict[str, list[str | Path]]:
    """What is timed, the signing first."""
    out = plain.with_name(f"{plain.name}.{form}")
    found: dict[str, list[str | Path]] = {
        "sign": [SEALWRIGHT, "sign", plain, "--home", home, "--format", form, "--out", out, "--replace"],
        "verify": [SEALWRIGHT, "verify", out, "--trust", home / "trust.toml"],
    }
    if form == "verity":
        script = f'/sbin/veritysetup verify "$0" "$0" "$(cat "$0.roothash")" --hash-offset={plain.stat().st_size}'
        found["veritysetup"] = ["sh", "-c", script, out]
    return found


def main() -> None:
    """Print seconds, ratios and memory."""
    mebibytes, rounds = ([int(text) for text in sys.argv[1:3]] + [256, 7][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory(prefix="verity-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        home, files = folder / "home", {"large": folder / "large", "small": folder / "small"}
        init_home(str(home), InitOptions(datetime.now(UTC), "Bench"))
        for which, size in (("large", mebibytes), ("small", 1)):
            with files[which].open("wb") as file:
                for _ in range(size):
                    file.write(os.urandom(1 << 20))
        for form in FORMATS:
            timed([SEALWRIGHT, "key", "enrol", form, "--home", home, "--algorithm", "p256"])
            times: dict[tuple[str, str], list[float]] = {}
            for turn in range(rounds + 1):
                for which, plain in files.items():
                    every = {"openssl dgst": ["openssl", "dgst", "-sha256", plain], **commands(form, plain, home)}
                    for what, command in every.items():
                        seconds = timed(command)
                        if turn:  # the first round warms the page cache
                            times.setdefault((what, which), []).append(seconds)
            beyond = {
                what: [a - b for a, b in zip(times[what, "large"], times[what, "small"], strict=True)]
                for what, _ in times
            }
            for what, wanted in (("verify", " wanted <= 1.3"), ("sign", " wanted <= 2.5"), ("veritysetup", "")):
                if what in beyond:
                    ratio = statistics.median(a / b for a, b in zip(beyond[what], beyond["openssl dgst"], strict=True))
                    seconds = statistics.median(beyond[what])
                    print(f"{form} {what}: {seconds:.3f} s beyond its start, {ratio:.2f} x openssl dgst{wanted}")
        print(f"most memory of a child: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
