"""A copy of a file in memory that nobody can change any more, not even its owner (Linux memfd with all its seals).

    with sealed_copy("rotate.sh", limit_bytes=1 << 20) as copy:
        os.execve(shell, [shell, copy.name], {})      # runs these bytes, whatever becomes of rotate.sh

Source: memfd_create(2), fcntl(2) "File Sealing".
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from sealwright.artifact.source import OpenArtifact, open_artifact, opened_as
from sealwright.errors import UsageError


class SealedCopy:
    """The copy. data: its bytes; artifact: the same to be read in place of the path; closed by `with`."""

    def __init__(self, path: str, data: bytes) -> None:
        self.data = data
        writing = _sealed(path, data)
        try:  # two descriptors that cannot write, each with a place of its own
            self._descriptor = os.open(f"/proc/self/fd/{writing}", os.O_RDONLY)
            self.artifact: OpenArtifact = opened_as(path, os.open(self.name, os.O_RDONLY))
        finally:
            os.close(writing)

    @property
    def descriptor(self) -> int:
        """A descriptor of the copy, which a program started by us does not inherit unless told."""
        return self._descriptor

    @property
    def name(self) -> str:
        """A path of the copy for this process and what replaces it."""
        return f"/proc/self/fd/{self._descriptor}"

    def __enter__(self) -> SealedCopy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.artifact.close()
        os.close(self._descriptor)


def sealed_copy(path: str, limit_bytes: int) -> SealedCopy:
    """Copy a regular file. Raises what `open_artifact` raises, LimitExceeded, ChangedWhileRead, UsageError on other systems."""
    with open_artifact(path) as source:
        data = source.read(limit_bytes)
    return SealedCopy(path, data)


def _sealed(path: str, data: bytes) -> int:
    if sys.platform != "linux":
        raise UsageError(path, "sealed copies in memory exist on Linux alone", "Verify it, and run it yourself.")
    import fcntl

    descriptor = os.memfd_create("verified", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
