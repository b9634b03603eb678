"""Kernel modules: one `sealwright sign *.ko` against a loop of the kernel's own `sign-file`, for RSA-3072 and for P-256.

Both sign the same copies of a small module with the same key; a loop over 200 of them is measured and scaled to all. In turn, and of
each the quickest round counts. Usage: kmod.py [modules [rounds]]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.house import Backend, House
from kit.modules import compiled_module
from sealwright.keys.key import KeyKind

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
SIGN_FILE = next(iter(sorted(Path("/usr/lib").glob("linux-kbuild-*/scripts/sign-file"), reverse=True)), None)
LOOP = 200
LOOP_SCRIPT = 'key=$1 certificate=$2; shift 2; for one in "$@"; do "$0" sha256 "$key" "$certificate" "$one" "$one.signed" || exit 1; done'


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command that must succeed."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, os.times()
    return wall, sum(after[2:4]) - sum(before[2:4])


def main() -> None:
    """Print seconds and ratios."""
    if SIGN_FILE is None:
        print("sign-file is not there; it is in the package linux-kbuild of Debian")
        return
    count, rounds = ([int(text) for text in sys.argv[1:3]] + [2000, 3][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory(prefix="kmod-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        house = House.make(folder, Backend.FILE)
        module = compiled_module(folder)
        modules = [folder / "modules" / f"{number}.ko" for number in range(count)]
        modules[0].parent.mkdir()
        for path in modules:
            shutil.copy(module, path)
        for kind in (KeyKind.RSA3072, KeyKind.P256):
            maker = house.maker("kmod", kind)
            key = str(house.home / "keys" / f"{maker.name}.pem")
            ours: list[tuple[float, float]] = []
            theirs: list[list[float]] = []
            for _ in range(rounds):
                out = folder / "out"
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                words = ["--home", str(house.home), "--key", maker.name, "--format", "kmod", "--out", str(out)]
                ours.append(timed([SEALWRIGHT, "sign", *map(str, modules), *words]))
                loop = [
                    "sh",
                    "-c",
                    LOOP_SCRIPT,
                    str(SIGN_FILE),
                    key,
                    str(maker.certificate_pem),
                    *map(str, modules[:LOOP]),
                ]
                theirs.append([one * count / min(LOOP, count) for one in timed(loop)])
            (wall, processor), (loop_wall, loop_processor) = (map(min, zip(*t, strict=True)) for t in (ours, theirs))
            print(f"{kind}: {count} modules in {wall:.2f} s, a loop of sign-file {loop_wall:.2f} s (of {LOOP}, scaled): {loop_wall / wall:.1f} x "
                  f"its rate, {loop_processor / processor:.1f} x for each second of a processor (wanted >= 20)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
