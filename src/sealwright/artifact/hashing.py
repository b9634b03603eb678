"""Digests of many files, by all cores: forked workers on Linux, threads elsewhere.

Workers take chunks of names from a pipe and put each digest, size and mode at its place in shared memory; the parent works
too. Every file is opened relative to its folder, whose parts are opened one by one without following links. A read
buffer is made after the fork, because anonymous memory maps are shared and two workers would read into one. A worker
that dies, or a place that stays empty, is an error, never a missing digest. Where other threads run nothing is forked.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sealwright.artifact.digest import HashName
from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import BLOCK, read_into, unreadable
from sealwright.errors import ChangedWhileRead, MalformedArtifact, SealwrightError, Unreadable

MAX_CHUNK = 64
SMALL = 64 * 1024
MAX_CHUNKS = 8000  # 8-byte numbers, all of which fit in a pipe at once
_EMPTY, _DONE, _EXECUTABLE, _FAILED = range(4)
_TAIL = struct.Struct("<QB")
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Results:
    """One fixed-size place for each file, in memory that forked workers share."""

    def __init__(self, count: int, digest_size: int) -> None:
        self.digest_size = digest_size
        self.step = digest_size + _TAIL.size
        self.count = count
        self.memory = mmap.mmap(-1, max(1, count * self.step))

    def put(self, index: int, digest: bytes, size: int, mode: int) -> None:
        """Fill a place; the mark comes last."""
        at = index * self.step
        mark = _EXECUTABLE if mode & 0o100 else _DONE
        self.memory[at : at + self.step] = digest + _TAIL.pack(size, mark)

    def fail(self, index: int) -> None:
        """Mark a file that could not be hashed; the parent reads it again to say why."""
        at = index * self.step + self.digest_size
        self.memory[at : at + _TAIL.size] = _TAIL.pack(0, _FAILED)

    def missing(self) -> list[int]:
        """The places that failed or were never filled."""
        return [index for index, (_, _, mark) in enumerate(self._all()) if mark not in (_DONE, _EXECUTABLE)]

    def __iter__(self) -> Iterator[tuple[bytes, int, bool]]:
        """(digest octets, size in bytes, whether the owner may execute it) of every file, in order."""
        for digest, size, mark in self._all():
            yield digest, size, mark == _EXECUTABLE

    def _all(self) -> Iterator[tuple[bytes, int, int]]:
        layout = struct.Struct(f"<{self.digest_size}sQB")
        return layout.iter_unpack(memoryview(self.memory)[: self.count * self.step])


def hash_files(root: str, names: Sequence[bytes], algorithm: HashName, progress: Progress | None) -> Results:
    """Hash every named file of a tree; names are raw, relative to root and sorted.

    Raises Unreadable, ChangedWhileRead or MalformedArtifact (setuid, capabilities) naming the file.
    """
    results = Results(len(names), algorithm.size)
    workers = min(_cores(), len(names))
    chunk = max(1, min(MAX_CHUNK, len(names) // (workers * 16 or 1)), len(names) // MAX_CHUNKS + 1)
    job = _Job(root, names, algorithm, results, chunk)
    if sys.platform != "win32" and workers > 1 and threading.active_count() == 1:
        _forked(job, workers, progress)
    elif workers > 1:
        _threaded(job, workers, progress)
    else:
        _work(job, [(0, len(names))], progress)
    for index in results.missing():
        with _Reader(root, algorithm) as reader:
            results.put(index, *reader.hash(names[index], progress))
    return results


@dataclass(frozen=True, slots=True)
class _Job:
    root: str
    names: Sequence[bytes]
    algorithm: HashName
    results: Results
    chunk: int

    def part(self, start: int) -> tuple[int, int]:
        """The places of the chunk that begins there."""
        return start, min(start + self.chunk, len(self.names))

    @property
    def starts(self) -> range:
        """Where the chunks begin."""
        return range(0, len(self.names), self.chunk)


def _work(job: _Job, chunks: Iterable[tuple[int, int]], progress: Progress | None) -> None:
    with _Reader(job.root, job.algorithm) as reader:
        put, hashed, names = job.results.put, reader.hash, job.names
        for start, end in chunks:
            for index in range(start, end):
                try:
                    put(index, *hashed(names[index], progress))
                except SealwrightError:
                    job.results.fail(index)


def _forked(job: _Job, workers: int, progress: Progress | None) -> None:
    if sys.platform == "win32":
        return
    reading, writing = os.pipe()
    children: list[int] = []
    try:
        # all numbers fit in the pipe at once (MAX_CHUNKS), so this write does not wait for a reader
        os.write(writing, b"".join(struct.pack("<Q", start) for start in job.starts))
        os.close(writing)
        writing = -1
        for _ in range(workers - 1):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    _work(job, _stolen(job, reading), None)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        _work(job, _stolen(job, reading), progress)
        while children:
            _, status = os.waitpid(children[-1], 0)
            children.pop()
            if status != 0:
                raise Unreadable(
                    job.root,
                    "a worker process ended while it read the tree",
                    "Try again; if it happens again, look for a lack of memory.",
                )
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
        for child in children:
            with suppress(OSError):
                os.kill(child, 9)
                os.waitpid(child, 0)


def _stolen(job: _Job, reading: int) -> Iterator[tuple[int, int]]:
    """The chunks this process takes from the pipe."""
    while data := os.read(reading, 8):
        yield job.part(*struct.unpack("<Q", data))


def _threaded(job: _Job, workers: int, progress: Progress | None) -> None:
    pending = iter(job.starts)
    lock = threading.Lock()

    def taken() -> Iterator[tuple[int, int]]:
        while True:
            with lock:
                start = next(pending, None)
            if start is None:
                return
            yield job.part(start)

    threads = [threading.Thread(target=_work, args=(job, taken(), None)) for _ in range(workers - 1)]
    for thread in threads:
        thread.start()
    _work(job, taken(), progress)
    for thread in threads:
        thread.join()


class _Reader:
    """Opens and hashes files of one tree; owns the descriptors of the folders on the way to the current file."""

    def __init__(self, root: str, algorithm: HashName) -> None:
        self.root = root
        self.new = algorithm.new
        self.buffer = mmap.mmap(-1, BLOCK)
        self.view = memoryview(self.buffer)
        self.by_descriptor = os.open in os.supports_dir_fd
        self.folder: bytes = b""
        self.stack: list[tuple[bytes, int]] = []
        if self.by_descriptor:
            try:
                self.stack.append((b"", os.open(root, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0))))
            except OSError as cause:
                raise unreadable(root, cause) from cause

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for _part, descriptor in self.stack:
            os.close(descriptor)
        self.view.release()
        self.buffer.close()

    def hash(self, name: bytes, progress: Progress | None) -> tuple[bytes, int, int]:
        """Digest, size and mode from one descriptor; the same rules as `source.py`."""
        try:
            descriptor = self._open(name)
        except OSError as cause:
            raise unreadable(self._shown(name), cause) from cause
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise MalformedArtifact(
                    self._shown(name), "it is no longer a regular file", "Wait until nothing changes the tree."
                )
            state = self.new()
            done = 0
            if before.st_size <= SMALL:
                # one byte more than expected, so that a file which grew shows
                data = os.read(descriptor, before.st_size + 1)
                state.update(data)
                done = len(data)
            else:
                view = self.view
                while count := read_into(descriptor, view):
                    state.update(view[:count] if count < BLOCK else view)
                    done += count
                    if done > before.st_size:
                        break
            after = os.fstat(descriptor)
            if done != before.st_size or _key(before) != _key(after):
                raise ChangedWhileRead(
                    self._shown(name), "it changed while it was read", "Wait until nothing writes to the tree."
                )
            mode = before.st_mode
            if mode & 0o7000 or (mode & 0o111 and _has_capabilities(descriptor)):
                raise MalformedArtifact(
                    self._shown(name),
                    "it has a setuid, setgid or sticky bit or file capabilities",
                    "Remove them; a manifest cannot sign them.",
                )
        except OSError as cause:
            raise unreadable(self._shown(name), cause) from cause
        finally:
            os.close(descriptor)
        if progress is not None:
            progress.advance(done)
        return state.digest(), done, mode

    def _open(self, name: bytes) -> int:
        if not self.by_descriptor:
            return os.open(os.path.join(os.fsencode(self.root), name), _FLAGS)
        folder, _, part = name.rpartition(b"/")
        if folder != self.folder or (not folder and len(self.stack) > 1):
            self._enter(folder)
        return os.open(part, _FLAGS, dir_fd=self.stack[-1][1])

    def _enter(self, folder: bytes) -> None:
        parts = folder.split(b"/") if folder else []
        common = 0
        while common < len(parts) and common + 1 < len(self.stack) and self.stack[common + 1][0] == parts[common]:
            common += 1
        for _, descriptor in self.stack[common + 1 :]:
            os.close(descriptor)
        del self.stack[common + 1 :]
        self.folder = b"/".join(parts[:common])
        for part in parts[common:]:
            self.stack.append((part, os.open(part, _FOLDER, dir_fd=self.stack[-1][1])))
        self.folder = folder

    def _shown(self, name: bytes) -> str:
        return os.path.join(self.root, display(name))


def _has_capabilities(descriptor: int) -> bool:
    if not hasattr(os, "listxattr"):
        return False
    try:
        return "security.capability" in os.listxattr(descriptor)
    except OSError:
        return False


def _key(status: os.stat_result) -> tuple[int, int, int]:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
