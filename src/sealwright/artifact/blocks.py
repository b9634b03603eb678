"""The SHA-256 of each 4 KiB block of a file, in order, by all cores: what hash trees are made of.

A large file is read in runs of blocks; of N cores, this process hashes every N-th run and forked workers the others, each of
which sends its digests through a pipe of its own. A pipe holds few runs, so that memory does not grow with the file and no
worker gets far ahead. A worker that ends early is an error, never a missing digest. Where other threads run nothing is forked.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact
from sealwright.errors import Unreadable

BLOCK_BYTES = 4096
DIGEST_BYTES = 32
RUN_BYTES = 512 * 1024
FORK_FROM = 16 << 20


def block_digests(
    source: OpenArtifact, size: int, salt: bytes = b"", progress: Progress | None = None
) -> Iterator[bytes]:
    """The digests of salt and block for the first `size` bytes, some at a time; a last short block is filled with zero bytes.

    Raises ChangedWhileRead where the file is shorter, Unreadable for a read error or a worker that ended.
    """
    source.stop_reading_ahead()
    runs = range(0, size, RUN_BYTES)
    workers = _cores() - 1 if size >= FORK_FROM and _can_fork() else 0
    with _Workers(source, size, salt, workers) as crew:
        hasher = _Hasher(source, size, salt)
        for number, offset in enumerate(runs):
            mine = number % (workers + 1) == 0
            yield hasher.digests(offset) if mine else crew.received(number % (workers + 1) - 1, offset)
            if progress is not None:
                progress.advance(min(RUN_BYTES, size - offset))


class _Hasher:
    """Hashes runs of blocks. The salt stands before each block in the buffer that is read into, so that nothing is copied."""

    def __init__(self, source: OpenArtifact, size: int, salt: bytes) -> None:
        self.source = source
        self.size = size
        salted = len(salt) + BLOCK_BYTES
        view = memoryview(bytearray((salt + bytes(BLOCK_BYTES)) * (RUN_BYTES // BLOCK_BYTES)))
        self.salted = [view[at : at + salted] for at in range(0, len(view), salted)]
        self.blocks = [one[len(salt) :] for one in self.salted]

    def digests(self, offset: int) -> bytes:
        """Of the run that begins there."""
        count, rest = divmod(min(RUN_BYTES, self.size - offset), BLOCK_BYTES)
        read = self.blocks[:count]
        if rest:
            self.blocks[count][rest:] = bytes(BLOCK_BYTES - rest)
            read = [*read, self.blocks[count][:rest]]
        self.source.fill(offset, read)
        sha256 = hashlib.sha256
        return b"".join([sha256(block).digest() for block in self.salted[: len(read)]])


class _Workers:
    """The forked processes and the ends of their pipes; none where `count` is 0. Used as a context manager, which ends them."""

    def __init__(self, source: OpenArtifact, size: int, salt: bytes, count: int) -> None:
        self.source = source
        self.size = size
        self.salt = salt
        self.count = count
        self.children: list[int] = []
        self.pipes: list[int] = []

    def received(self, worker: int, offset: int) -> bytes:
        """The digests of the run that begins there, which is the next that this worker sends."""
        wanted = -(-min(RUN_BYTES, self.size - offset) // BLOCK_BYTES) * DIGEST_BYTES
        parts = []
        while wanted:
            part = os.read(self.pipes[worker], wanted)
            if not part:
                # for what reason it could not read this run, this process finds out by reading it too
                return _Hasher(self.source, self.size, self.salt).digests(offset)
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def __enter__(self) -> _Workers:
        if sys.platform == "win32" or not self.count:
            return self
        interrupts = Interrupts()  # workers keep it held back: whoever made them ends them
        interrupts.hold()
        try:
            for number in range(self.count):
                reading, writing = os.pipe()
                child = os.fork()
                if child == 0:
                    os.close(reading)  # who kept it would wait for ever for room in a pipe that nobody empties any more
                    self._serve(number + 1, writing)
                os.close(writing)
                self.pipes.append(reading)
                self.children.append(child)
        except OSError as cause:
            self.__exit__()
            raise Unreadable(self.source.path, f"no process could be made to read it: {cause}", "Try again.") from cause
        finally:
            interrupts.release()
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes:
            os.close(pipe)
        for child in self.children:
            with suppress(OSError):
                os.kill(child, 9)
                os.waitpid(child, 0)

    def _serve(self, number: int, writing: int) -> None:
        """A worker's life: never returns."""
        code = 1
        try:
            for pipe in self.pipes:
                os.close(pipe)
            hasher = _Hasher(self.source, self.size, self.salt)
            for offset in range(number * RUN_BYTES, self.size, (self.count + 1) * RUN_BYTES):
                view = memoryview(hasher.digests(offset))
                while view:
                    view = view[os.write(writing, view) :]
            code = 0
        finally:
            os._exit(code)


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
