"""A courier of some GiB packed onto a folder and as one file, and unpacked, each beside `cp -r` and `sync` of the same files in the same round.

    PYTHONPATH=src:tests .venv/bin/python bench/courier.py [GIBIBYTES] [FOLDER]

Files of 64 MiB and a thousand small ones; the clock's time of whole commands, the middle of three rounds, the system's memory of files
emptied before each where this account may (root). FOLDER: on the disk that is to be measured (else the temporary folder).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.gap import names_senders, unsigned
from sealwright.cli.main import main

ROUNDS = 3
LARGE = 64 << 20
SMALL = 1000


def made(folder: Path, gibibytes: float) -> Path:
    """What is carried: bytes that do not compress."""
    files = folder / "files"
    files.mkdir()
    block = os.urandom(1 << 20)
    for number in range(max(1, int(gibibytes * (1 << 30)) // LARGE)):
        with open(files / f"image-{number:04}.bin", "wb") as file:
            for at in range(LARGE >> 20):
                file.write(number.to_bytes(4, "big") + at.to_bytes(4, "big") + block[8:])
    (files / "small").mkdir()
    for number in range(SMALL):
        (files / "small" / f"{number:04}.cfg").write_bytes(block[number : number + 2000])
    return files


def cold() -> None:
    """Nothing of the files is in memory, where this account may see to that."""
    os.sync()
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("1")


def timed(work: Callable[[], None]) -> float:
    """Seconds by the clock, written through."""
    cold()
    started = time.monotonic()
    work()
    os.sync()
    return time.monotonic() - started


def command(*words: object) -> None:
    """A command of Sealwright in a process of its own."""
    subprocess.run([sys.executable, "-m", "sealwright", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def copied(source: Path, target: Path) -> Callable[[], None]:
    """The peer."""
    return lambda: subprocess.run(["cp", "-r", str(source), str(target)], check=True) and None


def run(folder: Path, gibibytes: float) -> None:
    """Print the four ratios: the peer's time divided by ours."""
    assert main(["init", str(folder / "home")]) == 0
    names_senders(unsigned(folder / "home"), "acme")
    sign = ("--home", str(folder / "home"), "--person", "officer")
    assert main(["trust", "sign", str(folder / "home" / "trust.toml"), *sign]) == 0
    files = made(folder, gibibytes)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(1, ROUNDS + 1):
        for name in ("stick", "into", "state"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir(mode=0o700)
        peer = timed(copied(files, folder / "stick" / "copy"))
        shutil.rmtree(folder / "stick" / "copy")
        common = ("--from", "acme", "--to", "nordhof", "--home", folder / "home", "--log", files, "--number", number)
        for form, out in (("folder", folder / "stick"), ("one file", folder / "stick" / "one.courier")):
            ours = timed(partial(command, "courier", "pack", out, *common))
            found.setdefault(f"pack, {form}", []).append((peer, ours))
        shutil.rmtree(folder / "stick" / f"courier-acme-{number}")
        for beside in (folder / "stick").glob("courier-acme-*"):
            beside.unlink()
        words = ("--into", folder / "into", "--as", "nordhof", "--trust", folder / "home" / "trust.toml")
        unpack = partial(command, "courier", "unpack", folder / "stick" / "one.courier", *words)
        ours = timed(partial(unpack, "--state", folder / "state"))
        found.setdefault("unpack, one file", []).append((peer, ours))
    for name, times in found.items():
        peer, ours = (statistics.median(one[at] for one in times) for at in (0, 1))
        print(f"{name}: {ours:.2f} s, cp and sync {peer:.2f} s: {peer / ours:.2f} x (goal 0.8)")


if __name__ == "__main__":
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        run(Path(place), size)
