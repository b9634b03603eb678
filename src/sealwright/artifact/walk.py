"""Walking a tree without following links: every folder is opened relative to its parent and must be a real folder (A069).

Only names and kinds are read here; sizes and modes come from the descriptor that is hashed (`hashing.py`). Device nodes,
FIFOs and sockets are refused by their kind and never opened (A071). At the root of a volume the leftovers of operating
systems are left alone and named; nowhere else is anything skipped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sealwright.artifact.manifest import Link, check_target
from sealwright.artifact.names import MAX_DEPTH, check_distinct, check_name, display
from sealwright.artifact.source import unreadable
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_MEMBERS = 4_000_000
LEFTOVERS = frozenset(
    [b"System Volume Information", b"$RECYCLE.BIN", b"RECYCLER", b"lost+found", b".Trashes", b".fseventsd", b".Spotlight-V100",
     b".TemporaryItems", b".DocumentRevisions-V100"]
)  # fmt: skip
BY_DESCRIPTOR = os.scandir in os.supports_fd and os.open in os.supports_dir_fd
_OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


@dataclass(slots=True)
class Walked:
    """The members of a tree. files, folders (empty ones): sorted raw names; leftovers: names left alone at a volume's root."""

    root: str
    files: list[bytes] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    leftovers: list[bytes] = field(default_factory=list)


def walk_tree(root: str) -> Walked:
    """Every member of the tree, names checked and distinct.

    Raises Unreadable, MalformedArtifact (a special file, a bad name or link) or LimitExceeded, naming the member.
    """
    walked = Walked(root)
    try:
        if BY_DESCRIPTOR:
            with _opened(root, None) as descriptor:
                _walk(walked, descriptor, os.fsencode(root), b"", 0)
        else:
            _walk(walked, None, os.fsencode(root), b"", 0)
    except OSError as cause:
        raise unreadable(root, cause) from cause
    walked.files.sort()
    walked.folders.sort()
    walked.links.sort(key=lambda link: link.name)
    check_distinct(sorted([*walked.files, *(link.name for link in walked.links), *walked.folders]), root)
    return walked


@contextmanager
def _opened(name: str | bytes, parent: int | None) -> Iterator[int]:
    descriptor = os.open(name, _OPEN_FOLDER | (_NOFOLLOW if parent is not None else 0), dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(walked: Walked, descriptor: int | None, path: bytes, prefix: bytes, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LimitExceeded(walked.root, f"folders more than {MAX_DEPTH} deep", "Sign a smaller tree.")
    subfolders: list[bytes] = []
    empty = True
    volume = depth == 0 and _is_volume_root(path)
    with os.scandir(descriptor if descriptor is not None else path) as entries:
        for entry in entries:
            part = os.fsencode(entry.name)
            if volume and part in LEFTOVERS:
                walked.leftovers.append(part)
                continue
            empty = False
            name = prefix + part
            check_name(name, walked.root)
            if entry.is_file(follow_symlinks=False):
                walked.files.append(name)
            elif entry.is_symlink():
                link = Link(name, _target(part, os.fsencode(entry.path), descriptor))
                check_target(link, walked.root)
                walked.links.append(link)
            elif entry.is_dir(follow_symlinks=False):
                subfolders.append(part)
            else:
                raise MalformedArtifact(
                    walked.root,
                    f"{display(name)} is a device, socket or FIFO",
                    "Remove it; only files, folders and links are signed.",
                )
    if empty and prefix:
        walked.folders.append(prefix[:-1])
    if len(walked.files) + len(walked.links) > MAX_MEMBERS:
        raise LimitExceeded(walked.root, f"more than {MAX_MEMBERS} members", "Sign smaller trees.")
    for part in subfolders:
        below, name = os.path.join(path, part), prefix + part + b"/"
        if descriptor is None:
            _walk(walked, None, below, name, depth + 1)
            continue
        with _opened(part, descriptor) as child:
            _walk(walked, child, below, name, depth + 1)


def _target(part: bytes, path: bytes, descriptor: int | None) -> bytes:
    return os.readlink(path) if descriptor is None else os.readlink(part, dir_fd=descriptor)


def _is_volume_root(path: bytes) -> bool:
    here = os.stat(path)
    above = os.stat(os.path.join(path, b".."))
    return stat.S_ISDIR(here.st_mode) and (here.st_dev != above.st_dev or here.st_ino == above.st_ino)
