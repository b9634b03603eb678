"""Writing what was allowed onto a clean stick, from the private copies that were judged, and reading it back (A150, A171).

1. The target is an empty folder; what operating systems leave at a volume's root may be there. It is opened once, and everything is done
   below that descriptor: another stick that comes to the same place is neither written to nor cleaned up.
2. Each file is written new, below `sealwright-unfinished`, never through a link, and must still have the digest with which it was judged.
3. Everything is made durable, then read again past the system's memory, and only then given its name. The list of the digests, for
   `sha256sum -c`, comes last: a stick without it, or with `sealwright-unfinished`, was cut off.
4. Whatever goes wrong, what was written so far is removed: a stick has everything that was allowed, or nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.output import sync_descriptor
from sealwright.artifact.walk import LEFTOVERS
from sealwright.errors import OutputRefused
from sealwright.plant.disks import is_own_mount
from sealwright.plant.intakecopy import Taken

LIST_NAME = b"sealwright-checked.txt"
UNFINISHED = b"sealwright-unfinished"
_BLOCK = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_ROOT = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = _ROOT | getattr(os, "O_NOFOLLOW", 0)
_NEXT = "Use another stick; nothing was left on this one."


def refuse_used(target: str, *, mounted: bool = False) -> None:
    """OutputRefused unless the target is an empty folder. mounted: it must be where a stick is mounted, no folder of this machine."""
    with _empty(target, mounted=mounted):
        pass


def write_clean(
    target: str,
    private: str,
    allowed: Iterable[Taken],
    heading: Sequence[str],
    told: Callable[[int], None] = lambda _: None,
    *,
    mounted: bool = False,
) -> Digest:
    """Write the files, and the list of them with a heading of `#` lines; the list's SHA-256.

    private: the folder of the copies. told: called with the bytes of each block. Raises OutputRefused; then nothing is left.
    """
    every = sorted({one.name: one for one in allowed}.items())
    tops = dict.fromkeys(name.partition(b"/")[0] for name, _ in every)
    text = _list_text(heading, (one for _, one in every))
    with _empty(target, mounted=mounted) as root:
        writing = _Writing(target, root, os.fsencode(os.path.abspath(private)), _free_name(UNFINISHED, tops), told)
        try:
            writing.begin()
            for _, one in every:
                writing.copy(one)
            listed = _free_name(LIST_NAME, tops)
            writing.write(listed, text)
            writing.make_durable()
            for _, one in every:
                writing.check(one)
            writing.finish((*tops, listed))
        except OSError as cause:
            writing.undo()
            raise OutputRefused(target, cause.strerror or "it could not be written", _NEXT) from cause
        except BaseException:
            writing.undo()
            raise
        finally:
            writing.close()
    return Digest.of(text)


@contextmanager
def _empty(target: str, *, mounted: bool) -> Iterator[int]:
    """The target's descriptor, if it is empty."""
    try:
        root = os.open(target, _ROOT)
    except FileNotFoundError as cause:
        raise OutputRefused(
            target, "there is no such folder", "Mount an empty stick there, or make the folder."
        ) from cause
    except OSError as cause:
        raise OutputRefused(target, cause.strerror or "it cannot be read", "Put in an empty stick.") from cause
    try:
        _refuse_used(target, root, mounted=mounted)
        yield root
    finally:
        os.close(root)


def _refuse_used(target: str, root: int, *, mounted: bool) -> None:
    try:
        if mounted and not is_own_mount(root):
            raise OutputRefused(target, "no stick is mounted there", "Put in an empty stick.")
        there = sorted({*map(os.fsencode, os.listdir(root))} - LEFTOVERS)
    except OSError as cause:
        raise OutputRefused(target, cause.strerror or "it cannot be read", "Put in an empty stick.") from cause
    for name in there:
        if name.startswith(UNFINISHED):
            what = f"an earlier writing was cut off ({display(name)} is on it)"
            raise OutputRefused(target, what, "Use nothing that is on this stick; empty it, or put in another one.")
    if there:
        raise OutputRefused(target, f"it is not empty ({display(there[0])})", "Put in an empty stick.")


@dataclass(slots=True)
class _Writing:
    """A target being filled. root, below: descriptors of it, and of its folder `unfinished`; folders: made in that one; named: what has
    its name at the root already."""

    target: str
    root: int
    private: bytes
    unfinished: bytes
    told: Callable[[int], None]
    below: int = -1
    folders: set[bytes] = field(default_factory=set)
    named: list[bytes] = field(default_factory=list)

    def begin(self) -> None:
        """The folder in which everything is written."""
        os.mkdir(self.unfinished, dir_fd=self.root)
        try:
            self.below = os.open(self.unfinished, _FOLDER, dir_fd=self.root)
        except OSError:
            os.rmdir(self.unfinished, dir_fd=self.root)
            raise

    def copy(self, one: Taken) -> None:
        """One file, as it was judged."""
        source = os.open(os.path.join(self.private, one.name), _READ)
        try:
            state = hashlib.sha256()
            copy = self._create(one.name, 0o755 if os.fstat(source).st_mode & stat.S_IXUSR else 0o644)
            try:
                for block in _blocks(source):
                    state.update(block)
                    _write(copy, block)
                    self.told(len(block))
            finally:
                os.close(copy)
        finally:
            os.close(source)
        if state.digest() != one.digest.value:
            what = "its private copy is not what was judged any more"
            raise OutputRefused(display(one.name), what, "Check the stick again; tell who looks after this station.")

    def write(self, name: bytes, data: bytes) -> None:
        """A file of ours."""
        copy = self._create(name, 0o644)
        try:
            _write(copy, data)
        finally:
            os.close(copy)

    def make_durable(self) -> None:
        """All of it on the stick."""
        if sync_descriptor(self.root):
            return
        for _, _, names, folder in os.fwalk(b".", dir_fd=self.below):
            for name in names:
                descriptor = os.open(name, _READ, dir_fd=folder)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            os.fsync(folder)
        os.fsync(self.root)

    def check(self, one: Taken) -> None:
        """OutputRefused if the target gives back something else."""
        with self._parent(one.name) as (folder, name):
            written = os.open(name, _READ, dir_fd=folder)
        try:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(written, 0, 0, os.POSIX_FADV_DONTNEED)
            state = hashlib.sha256()
            for block in _blocks(written):
                state.update(block)
        finally:
            os.close(written)
        if state.digest() != one.digest.value:
            raise OutputRefused(display(one.name), "the stick did not keep what was written to it", _NEXT)

    def finish(self, names: Sequence[bytes]) -> None:
        """Everything under its name, the last one once the others are durable."""
        for name in names[:-1]:
            self._give_name(name)
        self.make_durable()
        if not os.path.samestat(os.stat(self.target), os.fstat(self.root)):
            raise OutputRefused(self.target, "another stick came to its place", "Leave the clean stick in.")
        self._give_name(names[-1])
        os.rmdir(self.unfinished, dir_fd=self.root)
        self.make_durable()

    def undo(self) -> None:
        """Without anything that was made here, as far as the target still lets us."""
        for name in (*reversed(self.named), *([self.unfinished] if self.below >= 0 else [])):
            with suppress(OSError):
                os.unlink(name, dir_fd=self.root)
                continue
            shutil.rmtree(name, ignore_errors=True, dir_fd=self.root)

    def close(self) -> None:
        """The descriptor of its own."""
        if self.below >= 0:
            os.close(self.below)

    def _give_name(self, name: bytes) -> None:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self.root, follow_symlinks=False)
            raise OutputRefused(self.target, f"something else writes to it ({display(name)})", "Use another stick.")
        os.rename(name, name, src_dir_fd=self.below, dst_dir_fd=self.root)
        self.named.append(name)

    @contextmanager
    def _parent(self, name: bytes) -> Iterator[tuple[int, bytes]]:
        """The descriptor of the folder of a name, step by step through no link, and the name in it; missing folders are made once."""
        *parts, last = name.split(b"/")
        folder, path = os.dup(self.below), b""
        try:
            for part in parts:
                path += part + b"/"
                if path not in self.folders:
                    os.mkdir(part, dir_fd=folder)
                    self.folders.add(path)
                above, folder = folder, os.open(part, _FOLDER, dir_fd=folder)
                os.close(above)
            yield folder, last
        finally:
            os.close(folder)

    def _create(self, name: bytes, mode: int) -> int:
        with self._parent(name) as (folder, last):
            return os.open(last, _NEW, mode, dir_fd=folder)


def _blocks(descriptor: int) -> Iterator[bytes]:
    while block := os.read(descriptor, _BLOCK):
        yield block


def _write(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _free_name(ours: bytes, taken: Iterable[bytes]) -> bytes:
    """Ours, or the next one that nothing delivered has."""
    root, extension = os.path.splitext(ours)
    folded = {name.lower() for name in taken}
    numbered = (root + b"-%d" % number + extension for number in range(2, len(folded) + 3))
    return next(name for name in (ours, *numbered) if name not in folded)


def _list_text(heading: Sequence[str], files: Iterable[Taken]) -> bytes:
    lines = [f"# {display(line)}".encode() for line in heading]
    for one in files:
        escaped = one.name.replace(b"\\", b"\\\\")
        mark = b"\\" if escaped != one.name else b""
        lines.append(mark + one.digest.value.hex().encode() + b"  " + escaped)
    return b"\n".join(lines) + b"\n"
