"""One large file against `openssl dgst`: rounds in turn, ratio of each round, median; and the memory it takes.

Both are whole processes with the page cache warm, so the ratio holds the interpreter's start. Usage: hash_file.py [MiB [rounds]]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

OURS = (
    "import sys; from sealwright.artifact.source import open_artifact; from sealwright.artifact.digest import HashName\n"
    "with open_artifact(sys.argv[1]) as source: digests = source.digests([HashName.SHA256])\n"
    "print(digests[HashName.SHA256].value.hex())\n"
    "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
)


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds and standard output."""
    started = time.perf_counter()
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return time.perf_counter() - started, said


def main() -> None:
    """Print seconds, ratio and memory."""
    mebibytes, rounds = ([int(text) for text in sys.argv[1:3]] + [1024, 7][len(sys.argv) - 1 :])[:2]
    with tempfile.NamedTemporaryFile(prefix="hash-file-") as file:
        block = os.urandom(1 << 20)
        for _ in range(mebibytes):
            file.write(block)
        file.flush()
        ours, theirs, kibibytes = [], [], 0
        for turn in range(rounds + 1):
            one, said = timed([sys.executable, "-c", OURS, file.name])
            other, answer = timed(["openssl", "dgst", "-sha256", "-r", file.name])
            digest, memory = said.split()
            if digest != answer.split()[0]:
                raise SystemExit("the two digests differ")
            kibibytes = max(kibibytes, int(memory))
            if turn:  # the first round warms the page cache
                ours.append(one)
                theirs.append(other)
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    print(f"{mebibytes} MiB, {rounds} rounds: sealwright {statistics.median(ours):.3f} s, "
          f"openssl dgst {statistics.median(theirs):.3f} s, ratio {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f}-{max(ratios):.2f}), memory {kibibytes / 1024:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
