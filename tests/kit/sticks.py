"""Sticks for tests: real file systems in a file (FAT, exFAT, ext4), and one that is no stick: it lies, stalls or goes away (FUSE).

ext4 is mounted by the kernel, exFAT by Debian's `exfat-fuse`, because not every kernel has it. FAT32 is tried where the kernel has it:
Debian's `fusefat` gives zeros when a file is read a second time, and the station says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LYING = """
import os, sys, errno, stat
import mfusepy

FOLDER, HOW = sys.argv[2], sys.argv[3]

class Stick(mfusepy.Operations):
    use_ns = True
    def __init__(self): self.read_once = set()
    def getattr(self, path, fh=None):
        found = os.lstat(FOLDER + path)
        return {key: getattr(found, key) for key in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")} | {
            key: int(getattr(found, key) * 1e9) for key in ("st_atime", "st_mtime", "st_ctime")}
    def readdir(self, path, fh): return [".", "..", *os.listdir(FOLDER + path)]
    def open(self, path, flags): return 0
    def read(self, path, size, offset, fh):
        with open(FOLDER + path, "rb") as source:
            source.seek(offset)
            data = source.read(size)
        if not path.endswith("target.bin"):
            return data
        again = path in self.read_once
        if offset + len(data) >= os.path.getsize(FOLDER + path):
            self.read_once.add(path)
        if HOW == "lies" and again:
            return bytes(len(data))
        if HOW == "gone" and offset >= 65536:
            raise mfusepy.FuseOSError(errno.EIO)
        return data

mfusepy.FUSE(Stick(), sys.argv[1], foreground=True, nothreads=True, ro=True, direct_io=HOW == "lies")
"""


@contextmanager
def lying_stick(folder: Path, mount: Path, how: str) -> Iterator[Path]:
    """A folder served as a medium. how: "honest", "lies" (target.bin reads as zeros a second time) or "gone" (EIO in it)."""
    mount.mkdir()
    served = subprocess.Popen([sys.executable, "-c", _LYING, str(mount), str(folder), how])
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
    with _mounted(["mount", "-o", "loop,ro" if read_only else "loop", str(image), str(mount)], mount):
        yield mount


@contextmanager
def fat_stick(image: Path, mount: Path, *, megabytes: int = 64) -> Iterator[Path]:
    """A FAT32 file system in a file."""
    if not image.exists():
        _sized(image, megabytes)
        subprocess.run(["mkfs.vfat", "-F", "32", str(image)], check=True, capture_output=True)
    with _mounted(["mount", "-t", "vfat", "-o", "loop", str(image), str(mount)], mount):
        yield mount


@contextmanager
def exfat_stick(image: Path, mount: Path, *, megabytes: int = 32) -> Iterator[Path]:
    """An exFAT file system in a file."""
    if not image.exists():
        _sized(image, megabytes)
        subprocess.run(["mkfs.exfat", str(image)], check=True, capture_output=True)
    found = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=True)
    try:
        with _mounted(["mount.exfat-fuse", found.stdout.strip(), str(mount)], mount):
            yield mount
    finally:
        subprocess.run(["losetup", "-d", found.stdout.strip()], check=False)


# what this machine can mount, each made anew in a file
STICKS = [exfat_stick, ext4_stick, *([fat_stick] if "vfat" in Path("/proc/filesystems").read_text().split() else [])]


@contextmanager
def _mounted(command: list[str], mount: Path) -> Iterator[None]:
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
        if os.path.ismount(mount):
            return
        time.sleep(0.05)
    raise AssertionError(f"{mount} was not mounted")
