"""IMA signatures of many files: one `sealwright sign TREE --format ima` against a loop of `evmctl ima_sign --sigfile`.

The loop is one shell that starts evmctl for each file, as build scripts do; it is timed over some of the files. Both sign the same
files with keys of the same kind, SHA-256. Rounds in turn, ratio of the rates of each round, median.
Usage: ima.py [FILES [ROUNDS [LOOP]]]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sealwright.keys.key import KeyKind
from sealwright.signing.init import InitOptions, init_home

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
FILE_BYTES = 4096
WANTED = 20
LOOP = 'for one in "$@"; do evmctl ima_sign --sigfile -a sha256 --key "$KEY" "$one" >/dev/null 2>&1; done'


def timed(command: Sequence[str | Path], environment: dict[str, str] | None = None) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], capture_output=True, check=True, env=environment)
    return time.perf_counter() - started


def measure(kind: KeyKind, folder: Path, tree: Path, files: list[Path], rounds: int, loop: int) -> None:
    """Print the rates for keys of one kind."""
    home, out = folder / f"home-{kind}", folder / f"{kind}.ima"
    init_home(str(home), InitOptions(datetime.now(UTC), "Bench"))
    timed([SEALWRIGHT, "key", "enrol", "ima", "--home", home, "--algorithm", kind])
    environment = dict(os.environ, KEY=str(home / "keys" / "ima.pem"))
    ours, theirs, ratios = [], [], []
    for turn in range(rounds + 1):
        command = [SEALWRIGHT, "sign", tree, "--home", home, "--format", "ima", "--out", out, "--replace"]
        own = len(files) / timed(command)
        other = loop / timed(["sh", "-c", LOOP, "sh", *files[:loop]], environment)
        for one in files[:loop]:
            one.with_name(one.name + ".sig").unlink()
        if turn:  # the first round warms the page cache
            ours.append(own)
            theirs.append(other)
            ratios.append(own / other)
    verify = len(files) / timed([SEALWRIGHT, "verify", tree, "--trust", home / "trust.toml", "--signature", out])
    print(
        f"{kind}: {statistics.median(ours):.0f} files/s, evmctl {statistics.median(theirs):.0f} files/s, "
        f"ratio {statistics.median(ratios):.1f}, wanted >= {WANTED}; verify {verify:.0f} files/s"
    )


def main() -> None:
    """Make the tree and measure each kind of key."""
    count, rounds, loop = ([int(text) for text in sys.argv[1:4]] + [10_000, 5, 300][len(sys.argv) - 1 :])[:3]
    with tempfile.TemporaryDirectory(prefix="ima-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        tree = folder / "tree"
        files = [tree / f"{number // 100:04}" / f"{number:06}" for number in range(count)]
        for one in files:
            one.parent.mkdir(parents=True, exist_ok=True)
            one.write_bytes(os.urandom(FILE_BYTES))
        for kind in (KeyKind.P256, KeyKind.RSA3072):
            measure(kind, folder, tree, files, rounds, loop)


if __name__ == "__main__":
    main()
