"""Digests of a whole tree, by all cores, while it is walked: forked workers on Linux, threads elsewhere.

The parent walks, hands the names out in order through a pipe that keeps packets apart (pipe2(2), O_DIRECT), and hashes what
the pipe has no room for; each digest, size and mode goes to its place in shared memory. Every file is opened relative to its
folder, whose parts are opened one by one without following links. A read buffer is made after the fork, because anonymous
memory maps are shared and two workers would read into one. A worker that dies, or a place that stays empty, is an error,
never a missing digest. Where other threads run nothing is forked.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import sys
import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from os import close, fstat, read
from typing import Any, NamedTuple

from sealwright.artifact.digest import HashName
from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import BLOCK, read_into, unreadable
from sealwright.artifact.walk import MAX_MEMBERS, Walked, walk_tree
from sealwright.errors import ChangedWhileRead, MalformedArtifact, SealwrightError, Unreadable

MAX_CHUNK = 64
CHUNKS_AT_LEAST = 128  # so many chunks of what was seen so far, until they reach MAX_CHUNK files each
PACKET = 4096  # PIPE_BUF of Linux: larger packets are divided
SMALL = 64 * 1024
_EMPTY, _DONE, _EXECUTABLE, _FAILED = range(4)
_KIND = 0o170000
ANY_MODE = 0
_SUSPECT = 0o7111  # setuid, setgid and sticky bits are refused, and capabilities of what may be executed
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Results:
    """One fixed-size place for each file, in memory that forked workers share and that is real only where it was written.

    room: places there may be; count: places that are used.
    """

    def __init__(self, room: int, digest_size: int) -> None:
        self.place = struct.Struct(f"<{digest_size}sQB")
        self.count = 0
        self.memory = mmap.mmap(-1, max(1, room * self.place.size))

    def put(self, index: int, digest: bytes, size: int, mode: int) -> None:
        """Fill a place."""
        mark = _EXECUTABLE if mode & 0o100 else _DONE
        self.place.pack_into(self.memory, index * self.place.size, digest, size, mark)

    def fail(self, index: int) -> None:
        """Mark a file that could not be hashed; the parent reads it again to say why."""
        self.place.pack_into(self.memory, index * self.place.size, b"", 0, _FAILED)

    def missing(self) -> list[int]:
        """The places that failed or were never filled."""
        marks = self._marks()
        if marks.count(_DONE) + marks.count(_EXECUTABLE) == self.count:
            return []
        return [index for index, mark in enumerate(marks) if mark not in (_DONE, _EXECUTABLE)]

    @property
    def total_bytes(self) -> int:
        """The sizes of all files together."""
        return sum(size for _, size, _ in self._each())

    def sizes(self) -> list[int]:
        """The size of every file, in order."""
        return [size for _, size, _ in self._each()]

    def digests(self) -> Iterator[bytes]:
        """The digest octets of every file, in order."""
        return (digest for digest, _, _ in self._each())

    def executables(self, names: Sequence[bytes]) -> list[bytes]:
        """Of the names, one for each file, those that their owner may execute."""
        marks = self._marks()
        return (
            [name for name, mark in zip(names, marks, strict=True) if mark == _EXECUTABLE]
            if _EXECUTABLE in marks
            else []
        )

    def _marks(self) -> bytes:
        return self.memory[self.place.size - 1 : self.count * self.place.size : self.place.size]

    def _each(self) -> Iterator[tuple[Any, ...]]:
        return self.place.iter_unpack(memoryview(self.memory)[: self.count * self.place.size])


class Hashed(NamedTuple):
    """A walked tree; names: of the files that were hashed, sorted; results: one for each of them."""

    walked: Walked
    names: Sequence[bytes]
    results: Results


def hash_tree(
    root: str, algorithm: HashName, progress: Progress | None, wanted: Container[bytes] | None = None
) -> Hashed:
    """Walk a tree and hash its files on the way, only the wanted ones where they are given.

    Raises what `walk_tree` raises, and Unreadable, ChangedWhileRead or MalformedArtifact (setuid, capabilities) naming the file.
    """
    if not _can_fork():
        walked = walk_tree(root)
        names = [name for name in walked.files if wanted is None or name in wanted]
        return Hashed(walked, names, hash_files(root, names, algorithm, progress))
    crew = _Crew(root, algorithm, progress, MAX_MEMBERS)
    with crew:
        walked = walk_tree(
            root, crew.add if wanted is None else lambda names: crew.add([n for n in names if n in wanted])
        )
        crew.finish()
    return Hashed(walked, crew.names, crew.whole())


def hash_files(
    root: str, names: Sequence[bytes], algorithm: HashName, progress: Progress | None, suspect: int = _SUSPECT
) -> Results:
    """Hash the named files of a tree; names are raw and relative to root. Raises as `hash_tree` does.

    suspect: mode bits for which a file may be refused; ANY_MODE where the signature says nothing of modes.
    """
    crew = _Crew(root, algorithm, progress, len(names), suspect)
    with crew:
        if _can_fork():
            crew.add(names)
            crew.finish()
        else:
            crew.by_threads(names)
    return crew.whole()


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1


class _Crew:
    """The processes that hash one tree: this one, and as many workers as there are other cores, once there is work for two.

    Used as a context manager, whose end leaves no worker behind.
    """

    def __init__(
        self, root: str, algorithm: HashName, progress: Progress | None, room: int, suspect: int = _SUSPECT
    ) -> None:
        self.root = root
        self.suspect = suspect
        self.algorithm = algorithm
        self.progress = progress
        self.names: list[bytes] = []
        self.results = Results(room, algorithm.size)
        self.given = 0
        self.tried = False
        self.reading = self.writing = -1
        self.children: list[int] = []
        self.reader: _Reader | None = None

    @property
    def chunk(self) -> int:
        """Files a packet: few while few were seen, because they may be large."""
        return min(MAX_CHUNK, len(self.names) // CHUNKS_AT_LEAST + 1)

    def add(self, names: Sequence[bytes]) -> None:
        """More files to hash; they are handed out as soon as they fill a chunk."""
        self.names += names
        self.results.count = len(self.names)
        chunk = self.chunk
        while len(self.names) - self.given > chunk:
            self._give(chunk)

    def finish(self) -> None:
        """All files are known: help until everything is hashed. Unreadable if a worker died."""
        while self.given < len(self.names):
            self._give(self.chunk)
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1
            for start, names in _packets(self.reading):
                self._hash(start, names)
        while self.children:
            _, status = os.waitpid(self.children[-1], 0)
            self.children.pop()
            if status != 0:
                raise Unreadable(
                    self.root,
                    "a worker process ended while it read the tree",
                    "Try again; if it happens again, look for a lack of memory.",
                )

    def by_threads(self, names: Sequence[bytes]) -> None:
        """The same with threads, where nothing may be forked."""
        self.names += names
        self.results.count = len(self.names)
        step = self.chunk
        starts = iter(range(0, len(names), step))
        lock = threading.Lock()

        def work(progress: Progress | None) -> None:
            with self._opened() as reader:
                while True:
                    with lock:
                        start = next(starts, None)
                    if start is None:
                        return
                    reader.hash_all(start, names[start : start + step], self.results, progress)

        threads = [threading.Thread(target=work, args=(None,)) for _ in range(min(_cores(), len(names)) - 1)]
        for thread in threads:
            thread.start()
        work(self.progress)
        for thread in threads:
            thread.join()

    def whole(self) -> Results:
        """The results, every place filled; a file that could not be hashed is read again, to say why."""
        for index in self.results.missing():
            with self._opened() as reader:
                self.results.put(index, *reader.hash(self.names[index], self.progress))
        return self.results

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self.reading, self.writing):
            if descriptor >= 0:
                os.close(descriptor)
        for child in self.children:
            with suppress(OSError):
                os.kill(child, 9)
                os.waitpid(child, 0)
        if self.reader is not None:
            self.reader.close()

    def _give(self, count: int) -> None:
        """The next files to whoever is free, or hashed here where the pipe is full."""
        start = self.given
        names = self.names[start : start + count]
        self.given += len(names)
        if not self.tried and len(self.names) > count:
            self._fork()
        packet = struct.pack("<Q", start) + b"\0".join(names)
        if self.writing >= 0 and len(packet) <= PACKET:
            with suppress(BlockingIOError):
                os.write(self.writing, packet)
                return
        self._hash(start, names)

    def _hash(self, start: int, names: Sequence[bytes]) -> None:
        if self.reader is None:
            self.reader = self._opened()
        self.reader.hash_all(start, names, self.results, self.progress)

    def _opened(self) -> _Reader:
        return _Reader(self.root, self.algorithm, self.suspect)

    def _fork(self) -> None:
        """One worker for each other core; where the system gives no pipe or no process, those there are do the work."""
        self.tried = True
        if sys.platform != "linux" or _cores() < 2:
            return
        interrupts = Interrupts()  # workers keep it held back: whoever made them ends them
        interrupts.hold()
        try:
            self.reading, self.writing = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
            os.set_blocking(self.writing, False)
            while len(self.children) < _cores() - 1:
                self.children.append(self._worker())
        except OSError:
            return
        finally:
            interrupts.release()

    def _worker(self) -> int:
        if sys.platform == "win32":
            return 0
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(self.writing)
                with self._opened() as reader:
                    for start, names in _packets(self.reading):
                        reader.hash_all(start, names, self.results, None)
                code = 0
            finally:
                os._exit(code)
        return child


def _packets(reading: int) -> Iterator[tuple[int, list[bytes]]]:
    """The chunks this process takes from the pipe: the first one's place, and the names."""
    while packet := os.read(reading, PACKET):
        yield struct.unpack_from("<Q", packet)[0], packet[8:].split(b"\0")


class _Reader:
    """Opens and hashes files of one tree; owns the descriptors of the folders on the way to the current file."""

    def __init__(self, root: str, algorithm: HashName, suspect: int) -> None:
        self.root = root
        self.suspect = suspect
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
        self.close()

    def close(self) -> None:
        """Give the descriptors and the buffer back."""
        for _part, descriptor in self.stack:
            os.close(descriptor)
        self.stack.clear()
        self.view.release()
        self.buffer.close()

    def hash_all(self, start: int, names: Sequence[bytes], results: Results, progress: Progress | None) -> None:
        """Fill the places of some files; one that cannot be hashed is marked."""
        for index, name in enumerate(names, start):
            try:
                results.put(index, *self.hash(name, progress))
            except SealwrightError:
                results.fail(index)

    def hash(self, name: bytes, progress: Progress | None) -> tuple[bytes, int, int]:
        """Digest, size and mode from one descriptor; the same rules as `source.py`. One call, because it is made for every file."""
        descriptor = -1
        try:
            descriptor = self._open(name)
            before = fstat(descriptor)
            mode, size = before.st_mode, before.st_size
            if mode & self.suspect or mode & _KIND != stat.S_IFREG:
                self._check_mode(name, mode, descriptor)
            if size <= SMALL:
                # one byte more than expected, so that a file which grew shows
                data = read(descriptor, size + 1)
                digest, done = self.new(data).digest(), len(data)
            else:
                digest, done = self._hash_large(descriptor, size)
            after = fstat(descriptor)
            if (
                done != size
                or after.st_size != size
                or after.st_mtime_ns != before.st_mtime_ns
                or after.st_ctime_ns != before.st_ctime_ns
            ):
                raise ChangedWhileRead(
                    self._shown(name), "it changed while it was read", "Wait until nothing writes to the tree."
                )
        except OSError as cause:
            raise unreadable(self._shown(name), cause) from cause
        finally:
            if descriptor >= 0:
                close(descriptor)
        if progress is not None:
            progress.advance(done)
        return digest, done, mode

    def _hash_large(self, descriptor: int, size: int) -> tuple[bytes, int]:
        state, done, view = self.new(), 0, self.view
        while done <= size and (count := read_into(descriptor, view)):
            state.update(view[:count] if count < BLOCK else view)
            done += count
        return state.digest(), done

    def _check_mode(self, name: bytes, mode: int, descriptor: int) -> None:
        if not stat.S_ISREG(mode):
            raise MalformedArtifact(
                self._shown(name), "it is no longer a regular file", "Wait until nothing changes the tree."
            )
        if mode & 0o7000 or _has_capabilities(descriptor):
            raise MalformedArtifact(
                self._shown(name),
                "it has a setuid, setgid or sticky bit or file capabilities",
                "Remove them; a manifest cannot sign them.",
            )

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
