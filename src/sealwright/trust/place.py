"""Whether a file lies where only the caller, root or administrators can write (DESIGN: believing the first trust file).

Every folder from the root to the file is checked, with links resolved: its owner is root or the caller, and nobody else may
write, unless the folder is sticky and what lies in it on the way is the caller's or root's. A group of which the caller
is the only member counts as the caller. On media that keep no owners, and where there are none to ask, nothing is safe.
"""

from __future__ import annotations

import os
import stat
import sys

NO_OWNERS = frozenset(
    (
        "vfat",
        "msdos",
        "exfat",
        "ntfs",
        "ntfs3",
        "fuseblk",
        "iso9660",
        "udf",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "vboxsf",
        "hfsplus",
    )
)


def unsafe_because(path: str) -> str:
    """Why others could have written the file, in one clause; "" where they could not."""
    if not hasattr(os, "geteuid"):
        return "this system does not say who may write there"
    real = os.path.realpath(path)
    try:
        medium = _medium(real)
        if medium in NO_OWNERS:
            return f"it lies on a medium that keeps no owners ({medium})"
        trusted = {0, os.geteuid()}
        here = real
        status = os.lstat(here)
        if status.st_uid not in trusted:
            return f"it belongs to another user (uid {status.st_uid})"
        if _others_write(status):
            return "others may write it"
        while (parent := os.path.dirname(here)) != here:
            above = os.lstat(parent)
            if above.st_uid not in trusted:
                return f"the folder {parent} belongs to another user (uid {above.st_uid})"
            if _others_write(above) and not above.st_mode & stat.S_ISVTX:
                return f"others may write in the folder {parent}"
            here = parent
    except OSError as cause:
        return f"who may write there cannot be read ({cause.strerror})"
    return ""


def _others_write(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and status.st_gid != 0 and not _own_group(status.st_gid)


def _own_group(gid: int) -> bool:
    """A group that holds nobody but the caller, as many systems give each user."""
    if sys.platform == "win32":
        return False
    import grp  # POSIX only, and only for a group-writable folder
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _medium(path: str) -> str:
    """The file system type of the mount that holds a path; "" where the system does not tell."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            entries = [line.split(" ") for line in mounts]
    except OSError:
        return ""
    best, found = "", ""
    for entry in entries:
        mount = entry[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = mount == "/" or path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, found = mount, entry[2]
    return found
