"""A real file system of a few KiB that gets full and has room again, in a mount namespace of its own: for root and for anybody.

def work(disk: SmallDisk) -> None:
    disk.leave(12)                                  # 12 KiB are free from now on
    ...
    disk.room()

on_small_disk(folder, work)                         # what it raises is raised here
"""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NEW_NAMES, _NEW_USERS = 0x20000, 0x10000000
_REMOUNT, _RECURSIVE, _PRIVATE = 32, 1 << 14, 1 << 18
_ROOM = "size=256m,nr_inodes=20000"
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """folder: where it is mounted."""

    folder: Path

    def leave(self, kibibytes: int) -> None:
        """So much is free, in pages of 4 KiB."""
        about = os.statvfs(self.folder)
        used = (about.f_blocks - about.f_bfree) * about.f_frsize
        size = max(used + (kibibytes << 10), about.f_frsize)  # 0 is no limit
        self._options(f"size={size},nr_inodes=20000")

    def leave_names(self, count: int) -> None:
        """So many files and folders can be made, and there is room in them."""
        about = os.statvfs(self.folder)
        self._options(f"size=256m,nr_inodes={about.f_files - about.f_ffree + count}")

    def room(self) -> None:
        """As much as anybody wants."""
        self._options(_ROOM)

    def _options(self, options: str) -> None:
        _called("mount", b"none", os.fsencode(self.folder), b"tmpfs", _REMOUNT, options.encode())


def on_small_disk(folder: Path, work: Callable[[SmallDisk], None]) -> None:
    """Do it in a child that alone sees the disk; AssertionError with its traceback where it fails. folder: is made."""
    folder.mkdir(exist_ok=True)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _mount(folder)
            work(SmallDisk(folder))
            code = 0
        except BaseException:  # noqa: BLE001  # told on the other side
            os.write(writing, traceback.format_exc().encode()[-16000:])
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as said:
        words = said.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, words


def _mount(folder: Path) -> None:
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _called("unshare", _NEW_NAMES)
    else:
        _called("unshare", _NEW_NAMES | _NEW_USERS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text)
    _called("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    _called("mount", b"none", os.fsencode(folder), b"tmpfs", 0, f"mode=700,{_ROOM}".encode())


def _called(name: str, *arguments: object) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
