"""Whether a file lies where only the caller, root or administrators can write (DESIGN: believing the first trust file).

Everything passed on the way that was named is checked, from the root to the file: each folder, each symbolic link and what
it leads to. Its owner is root or the caller, and nobody else may write, unless the folder is sticky and what lies in it on
the way is the caller's or root's. A link counts as well as its target: whoever could turn it could show one file to be
read and another to be checked. A group of which the caller is the only member counts as the caller; a folder or file with
an access list of its own does not. On media that keep no owners, and where there are none to ask, nothing is safe.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterator

from sealwright.artifact.names import display

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


MAX_LINKS = 40
UNKNOWN = "this system does not say who may write there"


def unsafe_because(path: str) -> str:
    """Why others could have written the file, in one clause; "" where they could not."""
    if not hasattr(os, "geteuid"):
        return UNKNOWN
    return _writable_because(path, {0, os.geteuid()})


def changeable_because(path: str) -> str:
    """Why somebody else than root could have written the file, the caller too; "" where nobody could."""
    return _writable_because(path, {0}) if hasattr(os, "geteuid") else UNKNOWN


def _writable_because(path: str, trusted: Collection[int]) -> str:
    """The same for these owners, by number."""
    try:
        medium = _medium(os.path.realpath(path))
        if medium in NO_OWNERS:
            return f"it lies on a medium that keeps no owners ({medium})"
        for here, status in _passed(path):
            what = _called(here, status)
            if status.st_uid not in trusted:
                return f"{what} belongs to another user (uid {status.st_uid})"
            if _others_write(here, status, trusted):
                return f"others may write in {what}" if stat.S_ISDIR(status.st_mode) else "others may write it"
    except OSError as cause:
        return f"who may write there cannot be read ({cause.strerror})"
    return ""


def _passed(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every folder and link on the way of a path, and the file, as the system resolves it."""
    here, left, links = os.sep, os.path.join(os.getcwd(), path).split(os.sep)[::-1], 0
    yield here, os.lstat(here)
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, name)
        status = os.lstat(there)
        yield there, status
        if not stat.S_ISLNK(status.st_mode):
            here = there
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(there)
        left += target.split(os.sep)[::-1]
        here = os.sep if target.startswith(os.sep) else here


def _called(path: str, status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return f"the folder {display(path)}"
    return f"the link {display(path)}" if stat.S_ISLNK(status.st_mode) else "it"


def _others_write(path: str, status: os.stat_result, trusted: Collection[int]) -> bool:
    """A sticky folder is safe for what lies in it, whose own owner is checked; a link has no permissions of its own."""
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    # With an access list the group's bits are what anybody named in it has at most (acl(5)).
    group = status.st_gid == 0 or (set(trusted) != {0} and _own_group(status.st_gid))
    return bool(status.st_mode & stat.S_IWGRP) and (_has_access_list(path) or not group)


def _has_access_list(path: str) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False)
    except OSError as cause:
        return cause.errno not in (errno.ENOTSUP, errno.ENOSYS)


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
    if gid != user.pw_gid or group.gr_name != user.pw_name or set(group.gr_mem) - {user.pw_name}:
        return False
    return not any(other.pw_gid == gid and other.pw_uid != user.pw_uid for other in pwd.getpwall())


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
