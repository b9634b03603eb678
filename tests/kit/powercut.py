"""Power cuts at every call that changes a disk: a child is killed at the n-th one, and, on a device that drops what was not synced, the
folder is put back to what fsync and syncfs promised.

The calls are counted where Python makes them (`CALLS`), before and after each; programs that are started run by themselves.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealwright.artifact import output

CALLS = (
    "write",
    "fsync",
    "rename",
    "replace",
    "mkdir",
    "symlink",
    "unlink",
    "rmdir",
    "copy_file_range",
    "fchmod",
    "link",
    "open",
)
_CHANGING = os.O_CREAT | os.O_TRUNC
Entry = tuple[str, int | str]


@dataclass
class Durable:
    """What a disk that keeps only what was synced has: content by file, names by folder, both by inode. root: the folder that is watched."""

    root: Path
    files: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    folders: dict[int, dict[str, Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sync_all()

    def sync_all(self) -> None:
        """syncfs(2)."""
        for path in (self.root, *self.root.rglob("*")):
            if path.is_symlink():
                continue
            if path.is_dir():
                self.sync_folder(path)
            elif path.is_file():
                self.sync_file(path)

    def sync_file(self, path: Path) -> None:
        """fsync(2) of a file."""
        about = path.stat()
        self.files[about.st_ino] = (path.read_bytes(), stat.S_IMODE(about.st_mode))

    def sync_folder(self, path: Path) -> None:
        """fsync(2) of a folder: its names, not what they lead to."""
        names: dict[str, Entry] = {}
        for one in os.scandir(path):
            if one.is_symlink():
                names[one.name] = ("link", os.readlink(one.path))
            else:
                names[one.name] = ("folder" if one.is_dir() else "file", one.inode())
        self.folders[path.stat().st_ino] = names

    def put_back(self) -> None:
        """The folder as the disk has it."""
        inode = self.root.stat().st_ino
        for one in self.root.iterdir():
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
        self._make(self.root, inode)

    def _make(self, place: Path, inode: int) -> None:
        for name, (kind, what) in self.folders.get(inode, {}).items():
            path = place / name
            if kind == "link":
                path.symlink_to(str(what))
            elif kind == "folder":
                path.mkdir()
                self._make(path, int(what))
            else:
                data, mode = self.files.get(int(what), (b"", 0o644))
                path.write_bytes(data)
                path.chmod(mode)


@dataclass
class Meter:
    """Counts calls, and does something at one of them. watched: folder."""

    watched: Path
    at: int
    then: Callable[[], None]
    durable: Durable | None = None
    count: int = 0

    def point(self) -> None:
        """Before or after a call."""
        self.count += 1
        if self.count == self.at:
            self.then()

    def install(self) -> None:
        """From now on, in this process."""
        for name in CALLS:
            setattr(os, name, self._around(name, getattr(os, name)))
        true = output._syncfs()
        assert true is not None

        def syncfs(descriptor: int) -> int:
            self.point()
            done = true(descriptor)
            if self.durable is not None:
                self.durable.sync_all()
            self.point()
            return done

        output._syncfs = lambda: syncfs  # type: ignore[assignment]

    def _around(self, name: str, true: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            if name == "open" and not (len(args) > 1 and args[1] & _CHANGING):
                return true(*args, **named)
            if name == "write" and args[0] < 3:
                return true(*args, **named)
            self.point()
            done = true(*args, **named)
            if name == "fsync" and self.durable is not None:
                path = Path(os.readlink(f"/proc/self/fd/{args[0]}"))
                if path.is_relative_to(self.durable.root):
                    self.durable.sync_folder(path) if path.is_dir() else self.durable.sync_file(path)
            self.point()
            return done

        return called


def killed_at(point: int, watched: Path, work: Callable[[], None]) -> int:
    """A child that is killed at a point of its work; how it ended: -9, or 0 where it has fewer points."""
    return _child(point, work, lambda: Meter(watched, point, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def dropped_at(point: int, watched: Path, work: Callable[[], None]) -> int:
    """The same on a disk that has only what was synced."""

    def made() -> Meter:
        durable = Durable(watched)

        def cut() -> None:
            for name, true in plain.items():
                setattr(os, name, true)
            durable.put_back()
            os.kill(os.getpid(), signal.SIGKILL)

        return Meter(watched, point, cut, durable)

    plain = {name: getattr(os, name) for name in CALLS}
    return _child(point, work, made)


def points(watched: Path, work: Callable[[], None]) -> int:
    """How many points a work has."""
    reading, writing = os.pipe()

    def counted() -> None:
        meter = Meter(watched, -1, lambda: None)
        true = os.write
        meter.install()
        work()
        true(writing, str(meter.count).encode())

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            counted()
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with os.fdopen(reading) as said:
        return int(said.read())


def _child(point: int, work: Callable[[], None], made: Callable[[], Meter]) -> int:
    sys.stdout.flush()
    ctypes.CDLL(None)  # loaded once, not at a point
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            made().install()
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
