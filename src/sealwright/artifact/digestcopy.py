"""Bytes of one descriptor written into another one, and the digest of what arrived there.

Large files go by sendfile(2) on Linux, while a thread digests what is in the copy already: the copy is what is checked and used, not what was read.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import read_into

BLOCK = 256 * 1024
_SENT = 1 << 20
_INLINE = 4 << 20
_QUEUED = 16


@dataclass(slots=True)
class DigestingCopier:
    """Copies one file after the other. told: called with the bytes of each block. Owned by one thread; closed after the last file."""

    told: Callable[[int], None]
    _buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(BLOCK)))
    _digested: memoryview = field(default_factory=lambda: memoryview(bytearray(BLOCK)))
    _digester: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def close(self) -> None:
        """After the last file."""
        self._digester.shutdown()

    def copy(self, source: int, start: int, size: int, target: int) -> tuple[int, Digest]:
        """How much there was of `size` bytes from `start`, and its SHA-256; it is written where the target stands.

        target: open for reading too, as the digest is of what lies there. Raises OSError,
        NotWritten where it is surely the target's.
        """
        at = os.lseek(target, 0, os.SEEK_CUR)
        state = hashlib.sha256()
        if size > _INLINE and sys.platform == "linux":
            done = self._by_kernel(source, start, size, (target, at), state)
        else:
            done = self._by_hand(source, start, size, target, state)
        return done, Digest(HashName.SHA256, state.digest())

    def _by_hand(self, source: int, start: int, size: int, target: int, state: hashlib._Hash) -> int:
        os.lseek(source, start, os.SEEK_SET)
        done = 0
        while done < size and (count := read_into(source, self._buffer[: min(BLOCK, size - done)])):
            block = self._buffer[:count]
            state.update(block)
            write_all(target, block)
            done += count
            self.told(count)
        return done

    def _by_kernel(self, source: int, start: int, size: int, copy: tuple[int, int], state: hashlib._Hash) -> int:
        if sys.platform != "linux":
            raise AssertionError("only Linux copies between files so")
        target, at = copy
        done = 0
        digesting: deque[Future[None]] = deque()
        while done < size and (count := os.sendfile(target, source, start + done, min(_SENT, size - done))):
            digesting.append(self._digester.submit(self._digest, target, at + done, at + done + count, state))
            done += count
            self.told(count)
            if len(digesting) > _QUEUED:
                digesting.popleft().result()
        while digesting:
            digesting.popleft().result()
        return done

    def _digest(self, target: int, at: int, end: int, state: hashlib._Hash) -> None:
        if sys.platform != "linux":
            raise AssertionError("only what Linux copied is digested behind it")
        while at < end and (count := os.preadv(target, [self._digested[: min(BLOCK, end - at)]], at)):
            state.update(self._digested[:count])
            at += count


class NotWritten(OSError):
    """The target took no more; what was read is not to blame."""


def write_all(target: int, block: memoryview) -> None:
    """A block whole; NotWritten."""
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError as cause:
        raise NotWritten(cause.errno, cause.strerror) from cause
