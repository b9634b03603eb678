"""Sticks for tests: real file systems in a file (FAT, exFAT, ext4), and one that is no stick: it lies, stalls or goes away (FUSE).

ext4 is mounted by the kernel, exFAT by Debian's `exfat-fuse`, because not every kernel has it. FAT32 is tried where the kernel has it:
Debian's `fusefat` gives zeros when a file is read a second time, and the station says so.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sealwright.plant import media

_MOUNT = {True: ["mount", "-o", "ro"], False: ["mount"]}
_LYING = """
import os, sys, errno, stat
import mfusepy

FOLDER, HOW, TARGET = sys.argv[2:5]

class Stick(mfusepy.Operations):
    use_ns = True
    def __init__(self): self.read_once = set()
    def getattr(self, path, fh=None):
        found = os.lstat(FOLDER + path)
        return {key: getattr(found, key) for key in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")} | {
            key: int(getattr(found, key) * 1e9) for key in ("st_atime", "st_mtime", "st_ctime")}
    def readdir(self, path, fh):
        if HOW == "unlisted" and path != "/":
            raise mfusepy.FuseOSError(errno.EIO)
        return [".", "..", *os.listdir(FOLDER + path)]
    def open(self, path, flags):
        if HOW == "unopened" and path.endswith(TARGET):
            raise mfusepy.FuseOSError(errno.ENODEV)
        return 0
    def read(self, path, size, offset, fh):
        with open(FOLDER + path, "rb") as source:
            source.seek(offset)
            data = source.read(size)
        if not path.endswith(TARGET):
            return data
        again = path in self.read_once
        if offset + len(data) >= os.path.getsize(FOLDER + path):
            self.read_once.add(path)
        if HOW == "lies" and again:
            return bytes(len(data))
        if (HOW == "gone" and offset >= 65536) or (HOW == "gone again" and again):
            raise mfusepy.FuseOSError(errno.EIO)
        if HOW == "dies" and offset >= 65536:
            os._exit(1)
        return data

mfusepy.FUSE(Stick(), sys.argv[1], foreground=True, nothreads=True, ro=True, direct_io=HOW in ("lies", "gone again"))
"""


@contextmanager
def lying_stick(folder: Path, mount: Path, how: str, target: str = "target.bin") -> Iterator[Path]:
    """A folder served as a medium. target: the end of the names of files about which it lies; how: "honest", "lies" (target.bin reads as zeros a second time), or where it goes away: "gone" (in
    target.bin), "gone again" (in its second reading), "unopened" (before it), "unlisted" (in a folder), "dies" (the program that serves it)."""
    mount.mkdir(exist_ok=True)
    served = subprocess.Popen([sys.executable, "-c", _LYING, str(mount), str(folder), how, target])
    try:
        _until_mounted(mount)
        yield mount
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False, capture_output=True)
        served.terminate()
        served.wait(timeout=10)


@contextmanager
def ext4_stick(image: Path, mount: Path, *, megabytes: int = 32, read_only: bool = False) -> Iterator[Path]:
    """An ext4 file system in a file; it is made if it is not there yet."""
    if not image.exists():
        _sized(image, megabytes)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with loop_device(image) as device, mounted([*_MOUNT[read_only], device, str(mount)], mount):
        yield mount


@contextmanager
def fat_stick(image: Path, mount: Path, *, megabytes: int = 64) -> Iterator[Path]:
    """A FAT32 file system in a file."""
    if not image.exists():
        _sized(image, megabytes)
        subprocess.run(["mkfs.vfat", "-F", "32", str(image)], check=True, capture_output=True)
    with loop_device(image) as device, mounted(["mount", "-t", "vfat", device, str(mount)], mount):
        yield mount


@contextmanager
def exfat_stick(image: Path, mount: Path, *, megabytes: int = 32) -> Iterator[Path]:
    """An exFAT file system in a file."""
    if not image.exists():
        _sized(image, megabytes)
        subprocess.run(["mkfs.exfat", str(image)], check=True, capture_output=True)
    with loop_device(image) as device, mounted(["mount.exfat-fuse", device, str(mount)], mount):
        yield mount


@contextmanager
def partitioned_stick(image: Path, *mounts: Path, megabytes: int = 18) -> Iterator[tuple[Path, ...]]:
    """One disk with a partition for each mount, all of them ext4. The table is told to the kernel by `partx`."""
    size = megabytes << 11
    starts = [2048 + at * (size + 2048) for at in range(len(mounts))]
    entries = b"".join(struct.pack("<B3sB3sII", 0, b"", 0x83, b"", start, size) for start in starts)
    _sized(image, (megabytes + 1) * len(mounts) + 1)
    with image.open("r+b") as out:
        out.write(bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa")
    with loop_device(image) as device, ExitStack() as stack:
        # the kernel keeps a table until it is told otherwise, also when the device is let go
        subprocess.run(["partx", "--delete", device], check=False, capture_output=True)
        stack.callback(subprocess.run, ["partx", "--delete", device], check=False, capture_output=True)
        subprocess.run(["partx", "--add", device], check=True)
        for number, mount in enumerate(mounts, 1):
            subprocess.run(["mkfs.ext4", "-q", "-F", f"{device}p{number}"], check=True)
            stack.enter_context(mounted(["mount", f"{device}p{number}", str(mount)], mount))
        yield mounts


@contextmanager
def loop_device(image: Path) -> Iterator[str]:
    """A block device of its own over a file.

    `mount -o loop` takes a device that already shows the same file, and fails when that one is just being let go after an earlier mount.
    """
    found = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=True)
    try:
        yield found.stdout.strip()
    finally:
        subprocess.run(["losetup", "-d", found.stdout.strip()], check=False, capture_output=True)


# what this machine can mount, each made anew in a file
STICKS = [exfat_stick, ext4_stick, *([fat_stick] if "vfat" in Path("/proc/filesystems").read_text().split() else [])]


@contextmanager
def mounted(command: list[str], mount: Path) -> Iterator[None]:
    """Mounted by a command, until the end."""
    mount.mkdir(exist_ok=True)
    subprocess.run(command, check=True, capture_output=True)
    try:
        _until_mounted(mount)
        yield
    finally:
        _unmount(mount)


def _unmount(mount: Path) -> None:
    """Really, so that the file is free for the next mount; lazily only where something will not let go."""
    for _ in range(100):
        if subprocess.run(["umount", str(mount)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True)


def _sized(image: Path, megabytes: int) -> None:
    with image.open("wb") as out:
        out.truncate(megabytes << 20)


def _until_mounted(mount: Path) -> None:
    for _ in range(200):
        if any(one.path == os.path.realpath(mount) for one in media.mounted()):
            return
        time.sleep(0.05)
    raise AssertionError(f"{mount} was not mounted")
