"""The checking station against `cp -r` followed by `sync`, from the same stick: an ext4 file system in a file, its memory dropped before each turn.

Wanted: at least 0.8 times the speed of the peer. Needs root (mount, drop_caches). Usage: station.py [rounds].
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from kit.sticks import ext4_stick  # noqa: E402
from sealwright.cli.main import main as sealwright  # noqa: E402

PROGRAM = [sys.executable, "-m", "sealwright", "station"]


def deliveries(folder: Path, home: Path) -> dict[str, Path]:
    """Six signed images of 170 MB; 20,000 signed files of 20 kB."""
    large, small = folder / "large", folder / "small"
    large.mkdir()
    small.mkdir()
    for number in range(6):
        (large / f"image{number}.bin").write_bytes(os.urandom(170_000_000))
    for number in range(20_000):
        place = small / f"{number // 500:02}"
        place.mkdir(exist_ok=True)
        (place / f"{number}.cfg").write_bytes(os.urandom(20_000))
    with contextlib.redirect_stdout(io.StringIO()):
        sealwright(["sign", *map(str, large.iterdir()), "--home", str(home)])
    sealwright(["sign", *(str(one) for one in small.rglob("*.cfg")), "--home", str(home), "--timestamp=none"])
    return {"6 images, 1.0 GB": large, "20,000 files, 0.4 GB": small}


class Took(NamedTuple):
    """Seconds of one command: by the clock, and of the processor, its children's too."""

    clock_s: float
    processor_s: float


def timed(command: list[str]) -> Took:
    """One command, from a stick that nothing remembers."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken, after = time.perf_counter() - started, os.times()
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    processor = sum(after[at] - before[at] for at in (2, 3))  # of children: user, system
    return Took(taken, processor)


def main() -> None:
    """Medians in turns, and the ratio of speeds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="station-") as name:
        folder = Path(name)
        home, state, copy = folder / "home", folder / "state", folder / "copy"
        sealwright(["init", str(home)])
        state.mkdir()
        for what, delivery in deliveries(folder, home).items():
            with ext4_stick(folder / f"{delivery.name}.img", folder / "stick", megabytes=1600) as stick:
                subprocess.run(["cp", "-r", f"{delivery}/.", str(stick)], check=True)
            ours, theirs = [], []
            with ext4_stick(folder / f"{delivery.name}.img", folder / "stick", read_only=True) as stick:
                for _ in range(rounds):
                    theirs.append(timed(["sh", "-c", f"cp -r {stick}/. {copy} && sync -f {copy}"]))
                    shutil.rmtree(copy)
                    ours.append(
                        timed(
                            [*PROGRAM, "--once", str(stick), "--trust", str(home / "trust.toml"), "--state", str(state)]
                        )
                    )
            mine, peer = (Took(*map(statistics.median, zip(*one, strict=True))) for one in (ours, theirs))
            print(
                f"{what}: station {mine.clock_s:.2f} s, cp and sync {peer.clock_s:.2f} s: {peer.clock_s / mine.clock_s:.2f} x the speed"
            )
            rounds_s = ", ".join(f"{other.clock_s / one.clock_s:.2f}" for one, other in zip(ours, theirs, strict=True))
            print(f"  each round {rounds_s}; processor time {mine.processor_s:.2f} s and {peer.processor_s:.2f} s")
            os.unlink(folder / f"{delivery.name}.img")


if __name__ == "__main__":
    main()
