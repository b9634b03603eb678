"""Folders: their names made durable, and a new one that is there whole or not at all.

with new_folder("line3") as building:
    ...                                  # files are written below `building`; with an error nothing is left
"""

from __future__ import annotations

import errno
import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sealwright.errors import OutputRefused, UsageError

# some network file systems cannot sync a folder, and say so in this way; anything else is a failing disk
_CANNOT = (errno.EINVAL, errno.ENOTSUP)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable; OSError where the disk fails."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(descriptor)
    except OSError as cause:
        if cause.errno not in _CANNOT:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: str) -> Iterator[None]:
    """Of several who change what lies in a folder, one after the other reads and writes; a file system without locks has none."""
    descriptor = -1
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):  # a folder that cannot be opened is told by whoever reads or writes in it
            descriptor = os.open(folder or ".", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def refuse_occupied(folder: str) -> None:
    """UsageError where something is there already, or where one stands in it: whoever stands in a folder that is replaced stands
    in one that has no name any more."""
    if os.path.isdir(folder) and os.path.samefile(folder, os.curdir):
        raise UsageError(
            folder, "it is the folder in which you are", "Leave it first (cd ..), or name a new folder in it."
        )
    if os.path.lexists(folder) and (os.path.islink(folder) or not os.path.isdir(folder) or os.listdir(folder)):
        raise UsageError(folder, "something is there already", "Name a new folder.")


@contextmanager
def new_folder(folder: str) -> Iterator[str]:
    """Where the folder is built, beside its place; it gets its name at the end. What was made so far is removed with any error, and
    after a crash by the next one who makes the same folder: there may be keys in it.

    Raises what `refuse_occupied` raises, OutputRefused where it cannot be written.
    """
    refuse_occupied(folder)
    import secrets  # only makers of homes need them
    import shutil

    full = os.path.abspath(folder)
    beside = os.path.join(os.path.dirname(full), f".{os.path.basename(full)}.")
    building = f"{beside}{secrets.token_hex(4)}.tmp"
    lock = -1
    try:
        for left in glob.glob(f"{glob.escape(beside)}{'[0-9a-f]' * 8}.tmp"):
            remove_unless_locked(left)
        os.mkdir(building)
        lock = locked(building)
        yield building
        if os.path.isdir(full):
            os.rmdir(full)
        os.rename(building, full)
        sync_folder(os.path.dirname(full))
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", "Check the folder above it.") from cause
    finally:
        if lock >= 0:
            os.close(lock)
        if os.path.isdir(building):
            shutil.rmtree(building, ignore_errors=True)


def locked(folder: str) -> int:
    """A descriptor that shows, until it is closed, that somebody is at work in a folder; -1 where it is not free or the system has no
    such lock."""
    if sys.platform == "win32":
        return -1
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def remove_unless_locked(folder: str) -> None:
    """A folder that a process left which is not at work any more, with all that is in it."""
    import shutil

    try:
        lock = locked(folder)
    except OSError:  # no folder, or somebody else's
        return
    if lock >= 0:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
