"""Writing what was allowed onto a clean stick, from the private copies that were judged, and reading it back (A150, A171).

1. The target is an empty folder; what operating systems leave at a volume's root may be there.
2. Each file is written new, never through a link, and must still have the digest with which it was judged.
3. Everything is made durable, then read again past the system's memory. A list beside the files has their digests, for `sha256sum -c`.
4. Whatever goes wrong, what was written so far is removed: a stick has everything that was allowed, or nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.output import sync_file_system
from sealwright.artifact.walk import LEFTOVERS
from sealwright.errors import OutputRefused
from sealwright.plant.intake import Taken

LIST_NAME = b"sealwright-checked.txt"
_BLOCK = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEXT = "Use another stick; nothing was left on this one."


def refuse_used(target: str) -> None:
    """OutputRefused unless the target is an empty folder."""
    try:
        there = sorted(name for name in os.listdir(os.fsencode(target)) if name not in LEFTOVERS)
    except FileNotFoundError as cause:
        raise OutputRefused(
            target, "there is no such folder", "Mount an empty stick there, or make the folder."
        ) from cause
    except OSError as cause:
        raise OutputRefused(target, cause.strerror or "it cannot be read", "Put in an empty stick.") from cause
    if there:
        raise OutputRefused(target, f"it is not empty ({display(there[0])})", "Put in an empty stick.")


def write_clean(
    target: str,
    private: str,
    allowed: Iterable[Taken],
    heading: Sequence[str],
    told: Callable[[int], None] = lambda _: None,
) -> Digest:
    """Write the files, and the list of them with a heading of `#` lines; the list's SHA-256.

    private: the folder of the copies. told: called with the bytes of each block. Raises OutputRefused; then nothing is left.
    """
    refuse_used(target)
    writing = _Writing(os.fsencode(os.path.abspath(target)), os.fsencode(os.path.abspath(private)), told)
    try:
        every = sorted({one.name: one for one in allowed}.items())
        for _, one in every:
            writing.copy(one)
        text = _list_text(heading, (one for _, one in every))
        writing.write(_free_name({name.partition(b"/")[0] for name, _ in every}), text)
        writing.make_durable()
        for _, one in every:
            writing.check(one)
    except OSError as cause:
        writing.undo()
        raise OutputRefused(target, cause.strerror or "it could not be written", _NEXT) from cause
    except BaseException:
        writing.undo()
        raise
    return Digest.of(text)


@dataclass(slots=True)
class _Writing:
    """A target being filled. files, folders: what was made, in that order."""

    target: bytes
    private: bytes
    told: Callable[[int], None]
    files: list[bytes] = field(default_factory=list)
    folders: dict[bytes, None] = field(default_factory=dict)

    def copy(self, one: Taken) -> None:
        """One file, as it was judged."""
        self._make_folders(one.name)
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
        if sync_file_system(os.fsdecode(self.target)):
            return
        for path in (*self.files, *self.folders):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def check(self, one: Taken) -> None:
        """OutputRefused if the target gives back something else."""
        written = os.open(os.path.join(self.target, one.name), _READ)
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

    def undo(self) -> None:
        """Without anything that was made here, as far as the target still lets us."""
        for name in reversed(self.files):
            with suppress(OSError):
                os.unlink(name)
        for name in reversed(self.folders):
            with suppress(OSError):
                os.rmdir(name)

    def _make_folders(self, name: bytes) -> None:
        parts = name.split(b"/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = os.path.join(self.target, *parts[:depth])
            if folder not in self.folders:
                os.mkdir(folder)
                self.folders[folder] = None

    def _create(self, name: bytes, mode: int) -> int:
        path = os.path.join(self.target, name)
        descriptor = os.open(path, _NEW, mode)
        self.files.append(path)
        return descriptor


def _blocks(descriptor: int) -> Iterator[bytes]:
    while block := os.read(descriptor, _BLOCK):
        yield block


def _write(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _free_name(taken: set[bytes]) -> bytes:
    """Ours, or the next one that nothing delivered has."""
    root, extension = os.path.splitext(LIST_NAME)
    numbered = (root + b"-%d" % number + extension for number in range(2, len(taken) + 3))
    folded = {name.lower() for name in taken}
    return next(name for name in (LIST_NAME, *numbered) if name not in folded)


def _list_text(heading: Sequence[str], files: Iterable[Taken]) -> bytes:
    lines = [f"# {display(line)}".encode() for line in heading]
    for one in files:
        escaped = one.name.replace(b"\\", b"\\\\")
        mark = b"\\" if escaped != one.name else b""
        lines.append(mark + one.digest.value.hex().encode() + b"  " + escaped)
    return b"\n".join(lines) + b"\n"
