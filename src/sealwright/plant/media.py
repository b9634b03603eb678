"""What is mounted where: sticks, cards and discs as Linux tells of them in `/proc/self/mountinfo` (proc(5)).

A line has the device's numbers, what of the file system is mounted, where, options, `-`, the kind of file system, its source. Spaces, tabs,
line feeds and backslashes in names are written as octal escapes. Nothing is mounted or asked of a device here.
"""

from __future__ import annotations

import os
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sealwright.artifact.source import unreadable
from sealwright.errors import Unreadable

MOUNTS = "/proc/self/mountinfo"
MAX_BYTES = 4 << 20
# what sticks, cards and discs come with; `fuseblk` is how NTFS and exFAT appear where a program serves them
USUAL = frozenset(
    ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "ext2", "ext3", "ext4", "iso9660", "udf", "squashfs")
)
_MOUNT_ID = re.compile(rb"^mnt_id:\s*([0-9]+)$", re.MULTILINE)
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Medium(NamedTuple):
    """One mounted file system. path: where; kind: of file system; device: `major:minor`; read_only: nothing can be written to it; root: what
    of the file system is there; number: the kernel's, of this mount."""

    path: str
    kind: str
    source: str
    device: str
    read_only: bool
    root: str = "/"
    number: int = -1

    @property
    def usual(self) -> bool:
        """Whether sticks have such a file system."""
        return self.kind in USUAL


def parse_mounts(text: str) -> list[Medium]:
    """Every file system of mountinfo; a line of another shape is none."""
    found = []
    for line in text.split("\n"):  # a label may have any other end of line in it
        before, separator, behind = line.partition(" - ")
        left, right = before.split(" "), behind.split(" ")
        if not separator or len(left) < 6 or len(right) < 3:
            continue
        options = {*left[5].split(","), *right[2].split(",")}
        number = int(left[0]) if left[0].isascii() and left[0].isdigit() else -1
        found.append(
            Medium(_plain(left[4]), right[0], _plain(right[1]), left[2], "ro" in options, _plain(left[3]), number)
        )
    return found


def mounted() -> list[Medium]:
    """What is mounted now. Unreadable where the system does not say."""
    try:
        with open(MOUNTS, "rb") as source:
            return parse_mounts(os.fsdecode(source.read(MAX_BYTES)))
    except OSError as cause:
        raise unreadable(MOUNTS, cause) from cause


def media_below(folder: str) -> list[Medium]:
    """What is mounted below a folder, the topmost of each place."""
    inside = os.path.join(os.path.realpath(folder), "")
    places = {one.path: one for one in mounted() if one.path.startswith(inside)}
    return [one for path, one in sorted(places.items())]


def medium_of(path: str) -> Medium | None:
    """The file system that a path lies on, None where none is found."""
    here = os.path.realpath(path)
    holding = [one for one in mounted() if os.path.commonpath([here, one.path]) == one.path]
    longest = max((len(one.path) for one in holding), default=0)
    return next((one for one in reversed(holding) if len(one.path) == longest), None)


def mount_of(descriptor: int) -> int:
    """The kernel's number of the mount that an open file lies on (proc(5), fdinfo). Unreadable where the system does not say."""
    path = f"/proc/self/fdinfo/{descriptor}"
    try:
        with open(path, "rb") as source:
            found = _MOUNT_ID.search(source.read(MAX_BYTES))
    except OSError as cause:
        raise unreadable(path, cause) from cause
    if found is None:
        raise Unreadable(path, "it names no mount", "Use a kernel of 3.15 or later.")
    return int(found[1])


def lies_within(place: str, folder: str) -> bool:
    """Whether a place, which may not be there yet, is a folder or is inside it, by whatever path and mount."""
    whole, part = _whereabouts(folder), _whereabouts(place)
    return any(
        one[0] == other[0] and os.path.commonpath([one[1], other[1]]) == one[1]
        for one, other in zip(whole, part, strict=False)
    )


def _whereabouts(path: str) -> list[tuple[str, str]]:
    """A real path as the file system, and the path inside it: by the device's numbers, and by the device's file, because one that a program
    serves (FUSE) has other numbers at every mount."""
    here = os.path.realpath(path)
    medium = medium_of(here)
    if medium is None:
        return [("", here)]
    inside = os.path.normpath(os.path.join(medium.root, os.path.relpath(here, medium.path)))
    by_file = [(medium.source, inside)] if medium.source.startswith("/dev/") else []
    return [(medium.device, inside), *by_file]


@contextmanager
def watching() -> Iterator[Watch]:
    """Tells when something is mounted or pulled out."""
    try:
        descriptor = os.open(MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as cause:
        raise unreadable(MOUNTS, cause) from cause
    try:
        yield Watch(descriptor)
    finally:
        os.close(descriptor)


class Watch:
    """An open mountinfo. The kernel marks it as exceptional at every change (proc(5))."""

    def __init__(self, descriptor: int) -> None:
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLPRI)

    def changed(self, timeout_s: float) -> bool:
        """Wait for a change at most so long."""
        return bool(self._poll.poll(int(timeout_s * 1000)))


def _plain(field: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), field)
