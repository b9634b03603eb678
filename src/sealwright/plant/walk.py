"""Walking what a survey looks at: nothing is refused, everything that is not read is named.

`artifact/walk.py` walks a tree that is to be signed and refuses what cannot be; here the walk goes on.
1. Every folder is opened relative to the one it is in and must be a real folder: a link leads nowhere (A069).
2. A folder on another file system is named and left alone: it may be a dead share, or a medium that nobody asked about.
3. A folder that is its own ancestor, or deeper than MAX_DEPTH, is named and left alone.
4. Devices, FIFOs and sockets are named by their kind and never opened (A071).
Names are raw bytes. The names of one folder are in memory at a time, and one descriptor for each folder on the way to it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import NamedTuple

from sealwright.artifact.source import unreadable

MAX_DEPTH = 200
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Left(StrEnum):
    """Why something was not read. With UNREADABLE and DEEP files are missing that were asked for; the others are no part of it.

    ELSEWHERE: it looks like a signature of another kind (GPG, minisign) for the file whose name it begins with, and that is not checked.
    """

    UNREADABLE = "unreadable"
    LINK = "link"
    SPECIAL = "special"
    MOUNT = "mount"
    LOOP = "loop"
    DEEP = "deep"
    ELSEWHERE = "elsewhere"


class NotRead(NamedTuple):
    """A member that was left alone. path: raw; what: why, for people."""

    path: bytes
    why: Left
    what: str = ""


class Listed(NamedTuple):
    """A folder's regular files. path: of the folder as it was given and below, raw; inside: relative to what was given;
    folders: names of its folders."""

    path: bytes
    inside: bytes
    files: list[bytes]
    folders: list[bytes]


class _Frame(NamedTuple):
    descriptor: int
    path: bytes
    inside: bytes
    place: tuple[int, int]
    folders: list[bytes]  # still to be entered, the next one last


def walk(root: bytes) -> Iterator[Listed | NotRead]:
    """Every folder below `root` with its files, and everything that is not read. `root` itself may be a link."""
    frames: list[_Frame] = []
    try:
        entered = _entered(root, b"", None, root, frames)
        yield from entered
        while frames:
            frame = frames[-1]
            if not frame.folders:
                os.close(frames.pop().descriptor)
                continue
            name = frame.folders.pop()
            inside = frame.inside + b"/" + name if frame.inside else name
            yield from _entered(name, inside, frame, os.path.join(frame.path, name), frames)
    finally:
        for frame in frames:
            with suppress(OSError):
                os.close(frame.descriptor)


def _entered(
    name: bytes, inside: bytes, above: _Frame | None, path: bytes, frames: list[_Frame]
) -> Iterator[Listed | NotRead]:
    """Open a folder and list it; it becomes the last frame. What stands against that is told."""
    if len(frames) >= MAX_DEPTH:
        yield NotRead(path, Left.DEEP)
        return
    descriptor = -1
    try:
        if above is not None:
            # looked at before it is opened, because opening would mount what is mounted on demand
            status = os.stat(name, dir_fd=above.descriptor, follow_symlinks=False)
            if status.st_dev != frames[0].place[0]:
                yield NotRead(path, Left.MOUNT)
                return
            descriptor = os.open(name, _FOLDER | _NOFOLLOW, dir_fd=above.descriptor)
        else:
            descriptor = os.open(name, _FOLDER)
        opened = os.fstat(descriptor)
        place = (opened.st_dev, opened.st_ino)
        if any(place == frame.place for frame in frames):
            yield NotRead(path, Left.LOOP)
            return
        files, folders, others = _members(descriptor, path)
    except OSError as cause:
        yield NotRead(path, Left.UNREADABLE, unreadable("", cause).what)
        return
    else:
        frames.append(_Frame(descriptor, path, inside, place, sorted(folders, reverse=True)))
        descriptor = -1
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    yield from others
    yield Listed(path, inside, sorted(files), folders)


def _members(descriptor: int, path: bytes) -> tuple[list[bytes], list[bytes], list[NotRead]]:
    files: list[bytes] = []
    folders: list[bytes] = []
    others: list[NotRead] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = entry.name.encode(_ENCODING, _ERRORS)  # as `os.fsencode`, in a third of its time
            if entry.is_file(follow_symlinks=False):
                files.append(name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif entry.is_symlink():
                others.append(NotRead(os.path.join(path, name), Left.LINK))
            else:
                others.append(NotRead(os.path.join(path, name), Left.SPECIAL))
    return files, folders, others


def opened_below(root: int, inside: bytes) -> int:
    """A descriptor of a folder below another one, each part opened without following a link; OSError where one is none."""
    current = os.dup(root)
    try:
        for part in inside.split(b"/") if inside else ():
            below = os.open(part, _FOLDER | _NOFOLLOW, dir_fd=current)
            os.close(current)
            current = below
    except OSError:
        os.close(current)
        raise
    return current


def is_folder(path: bytes) -> bool:
    """Whether what was named is a folder, or a link to one."""
    with suppress(OSError):
        return stat.S_ISDIR(os.stat(path).st_mode)
    return False
