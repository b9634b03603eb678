"""Walking a tree without following links: every folder is opened relative to its parent and must be a real folder (A069).

Only names and kinds are read here; sizes and modes come from the descriptor that is hashed (`hashing.py`). Device nodes,
FIFOs and sockets are refused by their kind and never opened (A071). At the root of a volume the leftovers of operating
systems are left alone and named; nowhere else is anything skipped.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sealwright.artifact.manifest import Link, check_target
from sealwright.artifact.names import MAX_DEPTH, check_members, display
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


def walk_tree(root: str, found: Callable[[list[bytes]], None] | None = None) -> Walked:
    """Every member of the tree, names checked and distinct. found: told of the files, in order, while the walk goes on.

    Raises Unreadable, MalformedArtifact (a special file, a bad name or link) or LimitExceeded, naming the member.
    """
    walked = Walked(root)
    try:
        if BY_DESCRIPTOR:
            with _opened(root, None) as descriptor:
                _walk(walked, descriptor, os.fsencode(root), b"", 0, found)
        else:
            _walk(walked, None, os.fsencode(root), b"", 0, found)
    except OSError as cause:
        raise unreadable(root, cause) from cause
    walked.folders.sort()
    walked.links.sort(key=lambda link: link.name)
    return walked


@contextmanager
def _opened(name: str | bytes, parent: int | None) -> Iterator[int]:
    descriptor = os.open(name, _OPEN_FOLDER | (_NOFOLLOW if parent is not None else 0), dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _walk(
    walked: Walked,
    descriptor: int | None,
    path: bytes,
    prefix: bytes,
    depth: int,
    found: Callable[[list[bytes]], None] | None,
) -> None:
    """One folder and what is below. Its members come in the order of the raw names of all files: a folder's counts with its `/`."""
    if depth > MAX_DEPTH:
        raise LimitExceeded(walked.root, f"folders more than {MAX_DEPTH} deep", "Sign a smaller tree.")
    files, others = _listed(walked, descriptor, path, leftovers=depth == 0 and _is_volume_root(path))
    check_members(prefix, [*files, *(part for part, _ in others)], walked.root)
    if prefix and not files and not others:
        walked.folders.append(prefix[:-1])
    files.sort()
    at = 0
    for part, entry in sorted(others, key=lambda other: other[0] + b"/"):
        name = prefix + part
        if entry.is_symlink():
            link = Link(name, _target(part, os.path.join(path, part), descriptor))
            check_target(link, walked.root)
            walked.links.append(link)
            continue
        if not entry.is_dir(follow_symlinks=False):
            raise MalformedArtifact(
                walked.root,
                f"{display(name)} is a device, socket or FIFO",
                "Remove it; only files, folders and links are signed.",
            )
        before = bisect(files, part + b"/", at)
        _take(walked, prefix, files[at:before], found)
        at, below = before, os.path.join(path, part)
        try:
            if descriptor is None:
                _walk(walked, None, below, name + b"/", depth + 1, found)
                continue
            with _opened(part, descriptor) as child:
                _walk(walked, child, below, name + b"/", depth + 1, found)
        except OSError as cause:
            raise unreadable(os.fsdecode(below), cause) from cause
    _take(walked, prefix, files[at:], found)


def _listed(
    walked: Walked, descriptor: int | None, path: bytes, *, leftovers: bool
) -> tuple[list[bytes], list[tuple[bytes, os.DirEntry[str] | os.DirEntry[bytes]]]]:
    """The names of a folder's regular files, and everything else; leftovers: whether those of operating systems are left alone."""
    names: list[str] | list[bytes] = []
    others = []
    with os.scandir(descriptor if descriptor is not None else path) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                names.append(entry.name)  # type: ignore[arg-type]
            else:
                others.append((os.fsencode(entry.name), entry))
    files = [os.fsencode(name) for name in names]
    if len(files) + len(walked.files) + len(walked.links) + len(others) > MAX_MEMBERS:
        raise LimitExceeded(walked.root, f"more than {MAX_MEMBERS} members", "Sign smaller trees.")
    if leftovers:
        walked.leftovers += [part for part in [*files, *(part for part, _ in others)] if part in LEFTOVERS]
        files = [part for part in files if part not in LEFTOVERS]
        others = [other for other in others if other[0] not in LEFTOVERS]
    return files, others


def _take(walked: Walked, prefix: bytes, parts: list[bytes], found: Callable[[list[bytes]], None] | None) -> None:
    names = [prefix + part for part in parts] if prefix else parts
    walked.files += names
    if found is not None and names:
        found(names)


def _target(part: bytes, path: bytes, descriptor: int | None) -> bytes:
    return os.readlink(path) if descriptor is None else os.readlink(part, dir_fd=descriptor)


def _is_volume_root(path: bytes) -> bool:
    here = os.stat(path)
    above = os.stat(os.path.join(path, b".."))
    return stat.S_ISDIR(here.st_mode) and (here.st_dev != above.st_dev or here.st_ino == above.st_ino)
