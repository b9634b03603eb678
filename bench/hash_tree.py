"""A whole manifest, with its walk, against `find | xargs -P2 openssl dgst`: rounds in turn, ratio of each round, median.

Printed too: the ratio of the processor time of all processes, which other work on the machine disturbs less; from one run each the
same with `sha256sum`, and `model_signing sign key`. Two trees: 100,000 files of 4-16 KiB and 2,000 files of 1-8 MiB; whole processes, page cache warm.
Usage: hash_tree.py [scale [rounds]]; a scale of 0.1 takes a tenth of the files.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from peers import model_signing

OURS = (
    "import sys; from sealwright.artifact.tree import manifest_of_tree; from sealwright.artifact.digest import HashName\n"
    "from sealwright.artifact.claims import Claims; from sealwright.artifact.manifest import manifest_bytes\n"
    "sys.stdout.buffer.write(manifest_bytes(manifest_of_tree(sys.argv[1], HashName.SHA256, Claims())))"
)
PEER = "find . -type f -print0 | xargs -0 -P2 -n {batch} openssl dgst -sha256 -r"
SUMS = "find . -type f -print0 | xargs -0 -P2 -n {batch} sha256sum"
TREES = {
    "100,000 files of 4-16 KiB": (100_000, 4096, 16384, 2000),
    "2,000 files of 1-8 MiB": (2000, 1 << 20, 8 << 20, 50),
}


def fill(root: str, count: int, least: int, most: int) -> int:
    """Make the tree in folders of 100 files; returns its bytes. Sizes are the same in every run."""
    chance, block, total = random.Random(7), os.urandom(most), 0
    for number in range(count):
        folder = os.path.join(root, f"d{number // 10_000}", f"e{number // 100}")
        if number % 100 == 0:
            os.makedirs(folder)
        size = chance.randint(least, most)
        with open(os.path.join(folder, f"f{number}.bin"), "wb") as file:
            file.write(b"%16d" % number + block[16:size])  # no two files are alike
        total += size
    return total


class Taken(NamedTuple):
    """Seconds of a command, and of the processors for it and its children."""

    wall: float
    processor: float


def timed(command: list[str], folder: str) -> Taken:
    """The output goes nowhere, because the lines of parallel processes tear each other in a pipe."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def listed(command: list[str], folder: str) -> dict[str, str]:
    """Digest of each name, as the command prints them (`HASH  NAME`, or `HASH *./NAME`)."""
    said = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True).stdout
    return {line[66:].removeprefix("./"): line[:64] for line in said.splitlines() if not line.startswith("#")}


def model_signing_of(root: str, aside: str) -> list[str] | None:
    """`model_signing` signing the tree with a fresh key, where it is installed."""
    key = os.path.join(aside, "key.pem")
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True, capture_output=True
    )
    return model_signing("sign", "key", "--private_key", key, "--signature", os.path.join(aside, "model.sig"), root)


def main() -> None:
    """Print one line for each tree, and one for each other peer."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for what, (count, least, most, batch) in TREES.items():
        with tempfile.TemporaryDirectory(prefix="hash-tree-") as root:
            total = fill(root, max(1, int(count * scale)), least, most)
            ours, theirs = [], []
            mine, peer = [sys.executable, "-c", OURS, root], PEER.format(batch=batch)
            # this also warms the page cache
            wanted = listed(["sh", "-c", peer.replace("-P2", "-P1")], root)
            if listed(mine, root) != wanted or len(wanted) != max(1, int(count * scale)):
                raise SystemExit("the digests differ")
            for _ in range(rounds):
                ours.append(timed(mine, root))
                theirs.append(timed(["sh", "-c", peer], root))
            others = {"find | xargs -P2 sha256sum": timed(["sh", "-c", SUMS.format(batch=batch)], root)}
            with tempfile.TemporaryDirectory(prefix="peer-") as aside:
                if (command := model_signing_of(root, aside)) is not None:
                    others["model_signing sign key"] = timed(command, root)
        ratios = [one.wall / other.wall for one, other in zip(ours, theirs, strict=True)]
        processor = statistics.median(one.processor / other.processor for one, other in zip(ours, theirs, strict=True))
        wall = statistics.median(one.wall for one in ours)
        print(f"{what} x {scale:g} ({total / 1e9:.1f} GB), {rounds} rounds: sealwright {wall:.2f} s, "
              f"find | xargs -P2 openssl {statistics.median(one.wall for one in theirs):.2f} s, ratio {statistics.median(ratios):.2f} "
              f"({min(ratios):.2f}-{max(ratios):.2f}), of processor time {processor:.2f}")  # fmt: skip
        for name, taken in others.items():
            print(f"  {name} {taken.wall:.2f} s, ratio {wall / taken.wall:.2f}")


if __name__ == "__main__":
    main()
