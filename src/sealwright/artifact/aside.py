"""A number worked out over a large file's bytes by a second process, while the first one hashes them.

    with Aside(source, size, lambda twin: byte_sum(twin, start, size)) as aside:
        digest = ...                                # goes on here
        total = aside.result()

Checksums in pure Python take as long as a SHA-256 of the same bytes. The child reads the very file that was opened, by a
descriptor of its own; it is forked only where the system can and no other thread runs. Whatever becomes of it, the number is right: where
the child does not say it, it is worked out here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.source import OpenArtifact

ASIDE_FROM = 8 << 20
_RESULT_BYTES = 8


class Aside:
    """The child works between `__enter__` and `__exit__`, which ends it. size: of what it reads; a small one needs no child.

    compute: gives a number below 2**64; it may raise what reading raises.
    """

    def __init__(self, source: OpenArtifact, size: int, compute: Callable[[OpenArtifact], int]) -> None:
        self.source, self.size, self.compute = source, size, compute
        self.child = self.reading = -1

    def __enter__(self) -> Aside:
        if sys.platform == "linux" and self.size >= ASIDE_FROM and threading.active_count() == 1:
            interrupts = Interrupts()  # the child keeps it held back: this process ends it
            interrupts.hold()
            with suppress(OSError):
                self._fork()
            interrupts.release()
        return self

    def __exit__(self, *_: object) -> None:
        if self.reading >= 0:
            os.close(self.reading)
        if self.child > 0:
            os.kill(self.child, 9)
            os.waitpid(self.child, 0)

    def result(self) -> int:
        """Wait for the number."""
        said = os.read(self.reading, _RESULT_BYTES) if self.reading >= 0 else b""
        return int.from_bytes(said, "little") if len(said) == _RESULT_BYTES else self.compute(self.source)

    def _fork(self) -> None:
        if sys.platform == "win32":
            return
        self.reading, writing = os.pipe()
        try:
            self.child = os.fork()
            if self.child == 0:
                try:
                    with self.source.again() as twin:
                        os.write(writing, self.compute(twin).to_bytes(_RESULT_BYTES, "little"))
                finally:
                    os._exit(0)
        finally:
            os.close(writing)
