"""Where a SQLite file may lie: on a disk of this machine, in a folder and a file that nobody else writes or reads.

1. The file is regular, no link, of this user, with mode 0600; a new one is made so before SQLite opens it.
2. Its folder is writable for its owner alone: whoever may write there can put another database in its place.
3. Its file system is no network's: SQLite's locks and WAL need shared memory and honest locks of one kernel.
"""

from __future__ import annotations

import os
import re
import stat
import sys

from sealwright.errors import StoreRefused

MODE = 0o600
_NETWORK = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|9p|afs|ceph|coda|ncpfs|lustre|beegfs|orangefs|virtiofs|fuse\.(sshfs|glusterfs|s3fs|rclone|davfs|ceph.*|curlftpfs)"
)
_MOUNTS = "/proc/self/mountinfo"


def prepare_file(path: str) -> None:
    """Make the file where it is not there; StoreRefused unless nobody else can change or read it."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        _check_folder(folder)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), MODE))
        except FileExistsError:
            pass
        _check_file(path)
    except OSError as cause:
        raise StoreRefused(
            path, f"it cannot be opened ({cause.strerror})", "Make its folder, or name another."
        ) from cause


def _check_folder(folder: str) -> None:
    status = os.stat(folder)
    if os.name != "nt" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
        raise StoreRefused(folder, "others may write in this folder", f"Take that right away: chmod go-w {folder}")
    if kind := _network_file_system(status.st_dev):
        raise StoreRefused(
            folder,
            f"it lies on a network file system ({kind}), where SQLite loses what it was told",
            "Put the database on a disk of this machine, or use PostgreSQL.",
        )


def _check_file(path: str) -> None:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise StoreRefused(path, "it is a link, folder or device", "Name a file.")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise StoreRefused(path, "it belongs to another user", "Run as the user whose database it is.")
    if (mode := stat.S_IMODE(status.st_mode)) != MODE:
        raise StoreRefused(path, f"its mode is {mode:04o}, so others may get at it", f"Set it: chmod 600 {path}")


def _network_file_system(device: int) -> str:
    """The kind of a network file system, "" where it is none or the system does not say."""
    if sys.platform != "linux":
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                kind = after.split(" ", 1)[0]
                if before.split(" ")[2:3] == [number] and _NETWORK.fullmatch(kind):
                    return kind
    except OSError:  # no /proc: the check is a help, not a wall
        return ""
    return ""
