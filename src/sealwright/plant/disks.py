"""On which whole disks a file system lies, as Linux tells of block devices below `/sys/dev/block` (sysfs(5)).

A partition is a folder in that of its disk and has a file `partition`; what is made of other devices (LVM, dm-crypt, RAID) lists them in
`slaves`. Two file systems with a disk in common are on one stick, whatever their numbers are. A file system without a device, and what
a program serves from somewhere else, has no disk here.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from sealwright.artifact.names import display
from sealwright.errors import OutputRefused
from sealwright.plant.media import Medium, medium_of, mount_of, mounted

BLOCK_DEVICES = "/sys/dev/block"
_MAX_DEPTH = 8


def disks_of(medium: Medium) -> frozenset[str]:
    """The names of its whole disks, such as `sdb`; none where the system knows of none."""
    found: set[str] = set()
    numbers = {medium.device}
    with suppress(OSError, ValueError):  # btrfs and FUSE have numbers of their own; the source names the device
        status = os.stat(medium.source)
        if stat.S_ISBLK(status.st_mode):
            numbers.add(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    for number in numbers:
        found |= _disks(os.path.join(BLOCK_DEVICES, number), _MAX_DEPTH)
    return frozenset(found)


def shared_disk(medium_path: str, place: str) -> str:
    """The disk on which both a mounted medium and another place lie; "" for none, and where the path is not that of a mount.

    A folder that is checked in place of a stick may share its disk with anything.
    """
    medium, other = medium_of(medium_path), medium_of(place)
    if medium is None or other is None or os.path.realpath(medium_path) != medium.path:
        return ""
    return min(disks_of(medium) & disks_of(other), default="")


def is_own_mount(descriptor: int) -> bool:
    """Whether an open folder is where a medium is mounted: not a folder or subvolume of what lies above it, and not on a disk of the system."""
    above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        number = mount_of(descriptor)
        if number == mount_of(above):
            return False
    finally:
        os.close(above)
    medium, system = next((one for one in mounted() if one.number == number), None), medium_of("/")
    if medium is None or system is None:
        return False
    return medium.device != system.device and disks_of(medium).isdisjoint(disks_of(system))


def refuse_same_disk(medium_path: str, target: str) -> None:
    """OutputRefused where what is clean would come onto the stick that is checked, be it another partition of it."""
    if disk := shared_disk(medium_path, target):
        what = f"it is on the same stick as what is checked ({display(disk)})"
        raise OutputRefused(target, what, "Put in another stick for what is clean.")


def _disks(device: str, depth: int) -> set[str]:
    """device: a folder of sysfs, which may be a link to it."""
    real = os.path.realpath(device)
    if depth == 0 or not os.path.isdir(real):
        return set()
    if os.path.exists(os.path.join(real, "partition")):
        return _disks(os.path.dirname(real), depth - 1)
    below = os.path.join(real, "slaves")
    slaves = sorted(os.listdir(below)) if os.path.isdir(below) else []
    if not slaves:
        return {os.path.basename(real)}
    return {disk for slave in slaves for disk in _disks(os.path.join(below, slave), depth - 1)}
