"""A device in an emulated machine: power cuts while a release is installed, real restarts, and a stick with FAT; exit code 1 where
something went wrong.

    scripts/soak_machine.py [CUTS]        48 by default, spread over all calls of an installation that change the disk

The kernel is Debian's, which scripts/debian-kernel fetches once. Each cut: a disk with release 1.0.0, a boot, `agent install` of 1.1.0, kill -9 of the emulator behind one of those calls (what the guest
had not yet written is gone), a second boot from the same disk. It must find a release that is whole, the agent must come to know which,
and its next round must end with 1.1.0 whole. It takes some half a minute of one processor for each cut.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.inmachine import POINT
from kit.machine import Machine, Ran
from kit.machinedevice import AT_ONCE, NEW, OLD, ORDERLY, MachineDevice, said
from kit.machinestick import on_fat

CUTS = 48
ROOT = Path(__file__).resolve().parent.parent
LINUX = ROOT / ".cache" / "linux"


def main() -> int:
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else CUTS
    folder = Path(tempfile.mkdtemp(prefix="sealwright-machine-"))
    try:
        subprocess.run([ROOT / "scripts" / "debian-kernel", LINUX], check=True)
        machine = Machine.made(folder / "machine", LINUX)
        wrong = restarts(machine, folder) + stick(machine, folder) + power_cuts(machine, folder, cuts)
    finally:
        shutil.rmtree(folder)
    print(f"{wrong} went wrong")
    return 1 if wrong else 0


def restarts(machine: Machine, folder: Path) -> int:
    """A release that counts after the next boot: one that works then, one that does not, and both orders of the restart."""
    wrong = 0
    for number, (how, command) in enumerate((("orderly", ORDERLY), ("at once", AT_ONCE))):
        for health, wanted in (("", NEW), (f"test $(cat {{flash}}) = {OLD}", OLD)):
            tree = folder / f"restart-{number}-{wanted}"
            device = MachineDevice.made(tree, restart=command, health=health.format(flash=tree / "flash"))
            ran = machine.restart("round:", device.disk(folder / "disk.img"), tree)
            told = said(ran)
            ended = told[-1] if told else {}
            good = (ended.get("current"), ended.get("flash")) == (wanted, wanted)
            wrong += not good
            print(f"restart {how:8} wanted {wanted}: {told} {'' if good else 'WRONG ' + ran.words}", flush=True)
            shutil.rmtree(tree)
    return wrong


def stick(machine: Machine, folder: Path) -> int:
    """Every command of the table on FAT; how many ended otherwise."""
    wrong = 0
    for told in on_fat(machine, folder / "fat"):
        wrong += not told.good
        words = " ".join(told.row.words).replace(str(folder), "")
        print(f"FAT: {'as wanted' if told.good else 'WRONG'}, {told.code}: {words}", flush=True)
        if not told.good or told.code:
            print(f"     {told.words.splitlines()[0] if told.words else ''}".replace(str(folder), ""), flush=True)
    return wrong


def power_cuts(machine: Machine, folder: Path, cuts: int) -> int:
    """Cuts at points spread evenly; how many did not end well."""
    tree = folder / "device"
    device = MachineDevice.made(tree)
    disk = folder / "disk.img"
    points = int(said(machine.boot("count:", device.disk(disk), tree))[0]["points"])
    print(f"{points} calls of an installation change the disk", flush=True)
    print("  cut   point   found   step        recovered   next round", flush=True)
    steps: Counter[str] = Counter()
    wrong = again = 0
    for number in range(1, cuts + 1):
        point = max(1, points * number // (cuts + 1))
        cut = machine.cut(f"install:{point}", device.disk(disk), tree, word=POINT)
        after = machine.boot("after:", disk, tree)
        good = POINT in cut.words and recovered(after)
        wrong += not good
        told = said(after)[0] if said(after) else {}
        again += cut.starts + after.starts - 2
        steps[told.get("step", "?") or "none"] += 1
        row = " ".join(f"{told.get(key, '?'):11}" for key in ("step", "recovered", "outcome"))
        print(f"  {number:3}   {point:5}   {told.get('found', '?'):7} {row} {'' if good else 'WRONG'}", flush=True)
        if not good:
            print(cut.words, after.words, sep="\n", flush=True)
    print(f"{cuts} cuts, by the step in which the next boot found the installation: {dict(steps)}")
    print(f"{again} times the emulated kernel had to be started again")
    return wrong


def recovered(after: Ran) -> bool:
    """Whether a boot after a cut found, knew and finished what it should."""
    if after.code != 0 or len(said(after)) != 1:
        return False
    told = said(after)[0]
    version = told["recovered"]
    return (
        told["found"] in (OLD, NEW)
        and version in (OLD, NEW)
        and told["state"] == told["flash"] == version
        and told["generation"] == {OLD: "1", NEW: "2"}[version]
        and told["trouble"] == ""
        and told["outcome"] in ("installed", "nothing-new")
        and told["ended"] == NEW
    )


if __name__ == "__main__":
    sys.exit(main())
