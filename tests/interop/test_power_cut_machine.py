"""A device that is a machine: Debian's kernel, ext4, the real agent, and the plug pulled while it installs.

One cut, of those that `make soak-machine` makes in numbers (scripts/soak_machine.py). It takes a quarter of a minute, as each of its two boots
emulates a processor, and stays here because every other test of power cuts stands in for the kernel and its file system.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.inmachine import POINT
from kit.machine import Machine
from kit.machinedevice import NEW, OLD, MachineDevice, said

SWITCHING = (
    190  # of some 270 calls that change the disk: the new release is in its slot, and what leads to it is being turned
)


@pytest.mark.timeout(400)
def test_after_a_power_cut_the_machine_starts_with_a_whole_release_and_ends_with_the_new_one(tmp_path: Path) -> None:
    machine = Machine.made(tmp_path / "machine")
    device = MachineDevice.made(tmp_path / "device")
    disk = device.disk(tmp_path / "disk.img")
    cut = machine.cut(f"install:{SWITCHING}", disk, device.tree, word=POINT)
    assert POINT in cut.words, cut.words
    after = machine.boot("after:", disk, device.tree)
    assert after.code == 0, after.words
    (told,) = said(after)
    assert told["found"] in (OLD, NEW)
    assert told["recovered"] == told["state"] == told["flash"]
    assert (told["trouble"], told["ended"]) == ("", NEW)
