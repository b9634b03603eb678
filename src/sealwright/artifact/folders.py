"""Folders: their names made durable, and a new one that is there whole or not at all.

with new_folder("line3") as building:
    ...                                  # files are written below `building`; with an error nothing is left
"""

from __future__ import annotations

import errno
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
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise UsageError(folder, "something is there already", "Name a new folder.")
    if os.path.isdir(folder) and os.path.samefile(folder, os.curdir):
        raise UsageError(
            folder, "it is the folder in which you are", "Leave it first (cd ..), or name a new folder in it."
        )


@contextmanager
def new_folder(folder: str) -> Iterator[str]:
    """Where the folder is built, beside its place; it gets its name at the end. What was made so far is removed with any error.

    Raises what `refuse_occupied` raises, OutputRefused where it cannot be written.
    """
    refuse_occupied(folder)
    import secrets  # only makers of homes need them
    import shutil

    full = os.path.abspath(folder)
    building = os.path.join(os.path.dirname(full), f".{os.path.basename(full)}.{secrets.token_hex(4)}.tmp")
    try:
        yield building
        if os.path.isdir(full):
            os.rmdir(full)
        os.rename(building, full)
        sync_folder(os.path.dirname(full))
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", "Check the folder above it.") from cause
    finally:
        if os.path.isdir(building):
            shutil.rmtree(building, ignore_errors=True)
