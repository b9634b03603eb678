"""How often a script was started here: one file a script in the verifier's memory (`--state`), one line a start.

The line is durable before the script starts, so that a machine that stops in between has counted one too many, never one too few.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import sync_folder
from sealwright.errors import OutputRefused

FOLDER = "runs"
MAX_BYTES = 64 << 20


def started(state: str, script: Digest) -> int:
    """How many starts are counted. OutputRefused where that cannot be read: a count that is unknown allows nothing."""
    try:
        with open(_path(state, script), "rb") as file:
            return file.read(MAX_BYTES).count(b"\n")
    except FileNotFoundError:
        return 0
    except OSError as cause:
        raise _unusable(state, cause) from cause


def count(state: str, script: Digest, most: int, now: datetime) -> bool:
    """Count one more start, durable; False, and nothing counted, where there were as many already."""
    if sys.platform == "win32":
        raise OutputRefused(state, "runs are counted on POSIX systems alone", "Run it without a number of runs.")
    import fcntl

    path = _path(state, script)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if started(state, script) >= most:
                return False
            # a line cut off by a full disk is ended first, and so counts as a start
            size = os.fstat(descriptor).st_size
            whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            line = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n".encode()
            if os.write(descriptor, line if whole else b"\n" + line) < len(line):
                raise OSError(28, "No space left on device")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for folder in (os.path.dirname(path), state):
            sync_folder(folder)
    except OSError as cause:
        raise _unusable(state, cause) from cause
    return True


def _path(state: str, script: Digest) -> str:
    return os.path.join(state, FOLDER, script.value.hex())


def _unusable(state: str, cause: OSError) -> OutputRefused:
    return OutputRefused(
        state, f"starts cannot be counted there ({cause.strerror})", "Name a folder that may be written."
    )
