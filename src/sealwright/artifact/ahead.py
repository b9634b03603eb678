"""A large file's SHA-256 begun early, in a thread, while the command still loads what it needs to judge it.

The thread reads the descriptor that was opened once, by offset, so that nobody else's place in the file moves. Its blocks are
large, because after each the interpreter's lock has to be won from a thread that is busy importing.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
import threading

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.progress import Progress

BLOCK = 2 * 1024 * 1024
SWITCH_S = 0.0005


class Ahead:
    """One file being digested. Owned by its `OpenArtifact`, which joins it before it is closed."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.progress: Progress | None = None
        self.cancelled = False
        self.done = 0
        self.told = 0
        self.digest: Digest | None = None
        self.error: OSError | None = None
        self.interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self.thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self.thread.start()

    def result(self, progress: Progress | None) -> Digest | None:
        """Wait; the digest, or None where the file did not have its size. OSError for a read error."""
        sys.setswitchinterval(self.interval)
        self.progress = progress
        self.thread.join()
        if self.error is not None:
            raise self.error
        self._tell()
        return self.digest

    def cancel(self) -> None:
        """Nobody wants it: stop soon, and wait until then."""
        sys.setswitchinterval(self.interval)
        self.cancelled = True
        self.thread.join()

    def _run(self) -> None:
        state = hashlib.sha256()
        try:
            with mmap.mmap(-1, BLOCK) as buffer, memoryview(buffer) as view:
                while not self.cancelled and self.done <= self.size and (count := self._read(view, self.done)):
                    state.update(view[:count])
                    self.done += count
                    self._tell()
        except OSError as cause:
            self.error = cause
        if self.done == self.size:
            self.digest = Digest(HashName.SHA256, state.digest())

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress.advance(self.done - self.told)
            self.told = self.done

    def _read(self, view: memoryview, offset: int) -> int:
        if sys.platform == "win32":
            return 0
        return os.preadv(self.descriptor, [view], offset)
