"""Files are opened once, and the bytes that are judged are the bytes that were read.

1. A path is opened without blocking and looked at through its descriptor: only regular files are read; a device, FIFO,
   socket or folder is refused at once.
2. Size, times and identity are compared before and after reading, and as many bytes must come as the size said;
   otherwise ChangedWhileRead (A150).
3. One pass makes every digest asked for, through one buffer, so memory does not grow with the file.
4. A command may have a large file's SHA-256 begun while it still loads (`reading_ahead`); the file is opened once all the same.

    with open_artifact("drive.bin") as source:
        digests = source.digests({HashName.SHA256})
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.progress import Progress
from sealwright.errors import ChangedWhileRead, LimitExceeded, Unreadable

if TYPE_CHECKING:
    from sealwright.artifact.ahead import Ahead

BLOCK = 256 * 1024
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_WHY = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EACCES: "this user may not read it",
    errno.EPERM: "this user may not read it",
    errno.ELOOP: "its symbolic links lead nowhere",
    errno.EISDIR: "it is a folder",
    errno.ENXIO: "it is a socket or FIFO",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the medium has a read error",
}
AHEAD_FROM = 32 << 20
_NO_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
Stamp = tuple[int, int, int, int, int]


_AHEAD: dict[str, OpenArtifact] = {}
_KNOWN: dict[Stamp, Digest] = {}


class OpenArtifact:
    """A regular file, open. Owned by one thread; closed by `with`. size: bytes, as the file system said when it was opened."""

    __slots__ = ("_ahead", "_descriptor", "_digests", "_place", "_stamp", "path", "size")

    def __init__(self, path: str, descriptor: int, stamp: Stamp) -> None:
        self.path = path
        self.size = stamp[0]
        self._descriptor = descriptor
        self._stamp = stamp
        self._place = 0  # of the descriptor
        self._digests: dict[HashName, Digest] = {}
        self._ahead: Ahead | None = None

    def digests(self, names: Collection[HashName], progress: Progress | None = None) -> dict[HashName, Digest]:
        """The digests asked for, in one pass for all that are not known yet.

        Raises ChangedWhileRead if the file changed meanwhile, Unreadable for a read error.
        """
        if self._ahead is not None:
            self._take_ahead(HashName.SHA256 in names, progress)
        missing = [name for name in names if name not in self._digests]
        if missing:
            states = [name.new() for name in missing]
            try:
                if self.size <= BLOCK:
                    self._digest_small(states)
                else:
                    self._digest_blocks(states, progress)
            except OSError as cause:
                raise unreadable(self.path, cause) from cause
            self.check_unchanged()
            for name, state in zip(missing, states, strict=True):
                self._digests[name] = Digest(name, state.digest())
        return {name: self._digests[name] for name in names}

    def take_digest(self, digest: Digest) -> None:
        """What the whole file's digest is known to be."""
        self._digests[digest.algorithm] = digest

    def digest_ranges(
        self,
        names: Collection[HashName],
        ranges: Sequence[tuple[int, int] | bytes],
        behind: bytes,
        progress: Progress | None,
        front: bytes = b"",
    ) -> dict[HashName, Digest]:
        """The digests of the bytes start <= i < end of each range, or of other bytes, in order, and of what is put in front and behind.

        Raises ChangedWhileRead if the file changed meanwhile or is shorter, Unreadable for a read error.
        """
        self._take_ahead(False, progress)
        states = [name.new() for name in names]
        for state in states:
            state.update(front)
        for data in self.blocks(ranges, progress):
            for state in states:
                state.update(data)
        for state in states:
            state.update(behind)
        self.check_unchanged()
        return {name: Digest(name, state.digest()) for name, state in zip(names, states, strict=True)}

    def digest_prefixes(
        self, names: Collection[HashName], ends: Sequence[int], behind: bytes, progress: Progress | None
    ) -> list[dict[HashName, Digest]]:
        """The digests of the first bytes up to each of some offsets, which grow, in one pass; `behind` is put after the last.

        Raises ChangedWhileRead if the file changed meanwhile or is shorter, Unreadable for a read error.
        """
        self._take_ahead(False, progress)
        states, found, start = [name.new() for name in names], [], 0
        for end in ends:
            for data in self.blocks([(start, end)], progress):
                for state in states:
                    state.update(data)
            start = end
            if end == ends[-1]:
                for state in states:
                    state.update(behind)
            found.append({name: Digest(name, state.digest()) for name, state in zip(names, states, strict=True)})
        self.check_unchanged()
        return found

    def blocks(
        self, ranges: Sequence[tuple[int, int] | bytes], progress: Progress | None = None
    ) -> Iterator[memoryview]:
        """The bytes of ranges (start, end) in blocks of at most BLOCK bytes, each valid until the next is asked for.

        Bytes given in place of a range come as they are.
        """
        with mmap.mmap(-1, BLOCK) as buffer, memoryview(buffer) as view:
            for one in ranges:
                if isinstance(one, bytes):
                    yield memoryview(one)
                    continue
                at, end = one
                while at < end:
                    try:
                        self._seek(at)
                        with view[
                            : min(BLOCK, end - at)
                        ] as room:  # given back with an error too: the buffer is closed by it
                            count = read_into(self._descriptor, room)
                    except OSError as cause:
                        raise unreadable(self.path, cause) from cause
                    if not count:
                        raise self._changed()
                    at += count
                    self._place = at
                    with view[:count] as block:
                        yield block
                    if progress is not None:
                        progress.advance(count)

    def copy_to(self, descriptor: int, start: int, size: int) -> int:
        """Append the bytes start <= i < start + size to another file; how many there were. OSError where it cannot be written."""
        done = self._copied_by_kernel(descriptor, start, size)
        if done < size:
            os.lseek(descriptor, 0, os.SEEK_END)
            for block in self.blocks([(start + done, min(start + size, self.size))]):
                at = 0
                while at < len(block):
                    with block[at:] as rest:  # given back at once: the buffer is closed with the last block
                        at += os.write(descriptor, rest)
                done += at
        self.check_unchanged()
        return done

    def _copied_by_kernel(self, descriptor: int, start: int, size: int) -> int:
        """How much of it copy_file_range(2) did: nothing where the two file systems cannot."""
        done = 0
        if sys.platform == "linux":
            while done < size:
                try:
                    count = os.copy_file_range(self._descriptor, descriptor, min(size - done, 1 << 30), start + done)
                except OSError as cause:
                    if done or cause.errno not in _NO_COPY:
                        raise
                    break
                if not count:
                    break
                done += count
        return done

    def read(self, limit_bytes: int) -> bytes:
        """The whole content; LimitExceeded above the limit."""
        if self.size > limit_bytes:
            raise LimitExceeded(
                self.path,
                f"{self.size} bytes, at most {limit_bytes} are read",
                "Check that this is the file you meant.",
            )
        try:
            data = self._read_exactly(0, self.size + 1)
        except OSError as cause:
            raise unreadable(self.path, cause) from cause
        if len(data) != self.size:
            raise self._changed()
        self.check_unchanged()
        return data

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`, fewer at the end of the file."""
        try:
            return self._read_exactly(offset, size)
        except OSError as cause:
            raise unreadable(self.path, cause) from cause

    def fill(self, offset: int, views: Sequence[memoryview]) -> None:
        """Fill buffers, one after the other, with the bytes from `offset`; ChangedWhileRead where the file ends before."""
        wanted = sum(map(len, views))
        try:
            if sys.platform == "linux":
                # by offset, so that forked processes may share the descriptor
                if os.preadv(self._descriptor, views, offset) == wanted:
                    return
            data = self._read_exactly(offset, wanted)
        except OSError as cause:
            raise unreadable(self.path, cause) from cause
        if len(data) != wanted:
            raise self._changed()
        at = 0
        for view in views:
            view[:] = data[at : at + len(view)]
            at += len(view)

    def status(self) -> os.stat_result:
        """Mode, owner and size of the very file that is read, whatever has its name by now."""
        return os.fstat(self._descriptor)

    def check_unchanged(self) -> None:
        """ChangedWhileRead if size, times or identity are not what they were."""
        if stamp_of(os.fstat(self._descriptor)) != self._stamp:
            raise self._changed()

    def close(self) -> None:
        """Give the descriptor back. Closing twice is fine."""
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> OpenArtifact:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Begin the SHA-256 in a thread of its own."""
        from sealwright.artifact.ahead import Ahead  # threads and all, only for large files

        self._ahead = Ahead(self._descriptor, self.size)

    def again(self) -> OpenArtifact:
        """The same open file with a place of its own, for another process (Linux). Unreadable where the system gives none."""
        try:
            descriptor = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as cause:
            raise unreadable(self.path, cause) from cause
        return opened_as(self.path, descriptor)

    def stop_reading_ahead(self) -> None:
        """Nobody wants the digest that was begun."""
        self._take_ahead(False, None)

    def _take_ahead(self, wanted: bool, progress: Progress | None) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        if not wanted:
            ahead.cancel()
            return
        try:
            digest = ahead.result(progress)
        except OSError as cause:
            raise unreadable(self.path, cause) from cause
        if digest is None:
            raise self._changed()
        self.check_unchanged()
        self._digests[HashName.SHA256] = digest

    def _digest_small(self, states: list[hashlib._Hash]) -> None:
        data = self._read_exactly(0, self.size + 1)
        if len(data) != self.size:
            raise self._changed()
        for state in states:
            state.update(data)

    def _digest_blocks(self, states: list[hashlib._Hash], progress: Progress | None) -> None:
        # anonymous memory is page-aligned, which the kernel copies into faster; made here, never before a fork
        with mmap.mmap(-1, BLOCK) as buffer, memoryview(buffer) as view:
            done = 0
            self._seek(0)
            while count := read_into(self._descriptor, view):
                done += count
                self._place = done
                if done > self.size:
                    raise self._changed()
                for state in states:
                    if count == BLOCK:
                        state.update(buffer)
                    else:
                        state.update(buffer[:count])
                if progress is not None:
                    progress.advance(count)
        if done != self.size:
            raise self._changed()

    def _read_exactly(self, offset: int, size: int) -> bytes:
        self._seek(offset)
        data = os.read(self._descriptor, size)
        self._place += len(data)
        if len(data) in (size, 0) or self._place == self.size:
            return data
        parts = [data]
        while size > self._place - offset and (data := os.read(self._descriptor, size - (self._place - offset))):
            self._place += len(data)
            parts.append(data)
        return b"".join(parts)

    def _seek(self, offset: int) -> None:
        if self._place != offset:
            self._place = os.lseek(self._descriptor, offset, os.SEEK_SET)

    def _changed(self) -> ChangedWhileRead:
        return ChangedWhileRead(
            self.path, "it changed while it was read", "Wait until nothing writes to it and try again."
        )


class HeldArtifact(OpenArtifact):
    """A small file whose bytes are in memory already; the descriptor says whether it has changed since it was looked at.

    A survey reads each small file once and asks its formats afterwards, without a system call for each question.
    """

    __slots__ = ("_data",)

    def __init__(self, path: str, descriptor: int, status: os.stat_result, data: bytes) -> None:
        super().__init__(path, descriptor, stamp_of(status))
        self._data = data
        if len(data) != self.size:
            raise self._changed()

    def blocks(
        self, ranges: Sequence[tuple[int, int] | bytes], progress: Progress | None = None
    ) -> Iterator[memoryview]:
        """As of any artifact."""
        whole = memoryview(self._data)
        for one in ranges:
            if isinstance(one, bytes):
                yield memoryview(one)
                continue
            at, end = one
            if end > self.size:
                raise self._changed()
            for start in range(at, end, BLOCK):
                block = whole[start : min(start + BLOCK, end)]
                yield block
                if progress is not None:
                    progress.advance(len(block))

    def fill(self, offset: int, views: Sequence[memoryview]) -> None:
        """As of any artifact."""
        for view in views:
            if offset + len(view) > self.size:
                raise self._changed()
            view[:] = self._data[offset : offset + len(view)]
            offset += len(view)

    def read_at(self, offset: int, size: int) -> bytes:
        """As of any artifact."""
        return self._data[offset : offset + size]

    _read_exactly = read_at


def open_artifact(path: str | os.PathLike[str]) -> OpenArtifact:
    """Open a regular file for reading, or take over what `reading_ahead` opened; Unreadable for everything else."""
    name = os.fspath(path)
    if (begun := _AHEAD.pop(name, None)) is not None:
        return begun
    try:
        descriptor = os.open(name, _FLAGS)
    except (OSError, ValueError) as cause:
        raise unreadable(name, cause) from cause
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, socket or FIFO"
        raise Unreadable(name, f"it is {kind}, not a regular file", "Name a regular file.")
    opened = OpenArtifact(name, descriptor, stamp_of(status))
    if _KNOWN and (digest := _KNOWN.get(stamp_of(status))) is not None:
        opened.take_digest(digest)
    return opened


@contextmanager
def known_digests(known: Mapping[Stamp, Digest]) -> Iterator[None]:
    """Files that we wrote ourselves, where nobody else can write, are not digested again. known: the SHA-256 of each by its `stamp_of`.

    One that was touched since has another stamp, and is read like any other.
    """
    _KNOWN.update(known)
    try:
        yield
    finally:
        _KNOWN.clear()


def opened_as(path: str, descriptor: int) -> OpenArtifact:
    """A descriptor that is read in place of a path, and closed with what is returned."""
    return OpenArtifact(path, descriptor, stamp_of(os.fstat(descriptor)))


@contextmanager
def reading_ahead(paths: Sequence[str], useless: Callable[[OpenArtifact], bool] = lambda _: False) -> Iterator[None]:
    """Begin the SHA-256 of the one path, where it is a large file that will be opened within; others are left for then.

    useless: whether of a file something else than all its bytes will be hashed.
    """
    if len(paths) == 1 and hasattr(os, "preadv"):
        with suppress(Unreadable):
            source = open_artifact(paths[0])
            if source.size >= AHEAD_FROM and not useless(source):
                source.begin()
                _AHEAD[source.path] = source
            else:
                source.close()
    try:
        yield
    finally:
        for left in _AHEAD.values():
            left.close()
        _AHEAD.clear()


def read_file(path: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """A small file's content, read under the same rules; LimitExceeded above the limit."""
    with open_artifact(path) as source:
        return source.read(limit_bytes)


def read_file_or_none(path: str | os.PathLike[str], limit_bytes: int) -> bytes | None:
    """The same, and None only if there is no such file; a dangling link is Unreadable, not absent."""
    name = os.fspath(path)
    try:
        descriptor = os.open(name, _FLAGS)
    except (OSError, ValueError) as cause:
        if not os.path.lexists(name):
            return None
        raise unreadable(name, cause) from cause
    status = os.fstat(descriptor)
    with OpenArtifact(name, descriptor, stamp_of(status)) as source:
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(name, "it is not a regular file", "Name a regular file.")
        return source.read(limit_bytes)


def read_into(descriptor: int, view: memoryview) -> int:
    """Read what fits into a buffer; the octets read, 0 at the end."""
    if sys.platform != "win32":
        return os.readv(descriptor, [view])
    data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)


def unreadable(path: str, cause: OSError | ValueError) -> Unreadable:
    """The typed error for a failed system call on a path."""
    code = cause.errno if isinstance(cause, OSError) else None
    why = _WHY.get(code or 0) or (cause.strerror if isinstance(cause, OSError) else None) or "the path is not usable"
    return Unreadable(path, why, "Check the path and its permissions.")


def stamp_of(status: os.stat_result) -> Stamp:
    """What tells a file, as it is, from any other and from itself after a change: size, times and identity."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
