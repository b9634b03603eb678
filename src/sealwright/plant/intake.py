"""Taking in a stick: every file is copied once into a private folder, and what is judged and handed on is the copy (A150, A153).

1. Folders are opened by descriptor and never through a link (A069); links, devices, FIFOs and sockets are not opened and not taken (A071).
2. A name that is not the same file on every system, or no text, is not taken; neither is one of two that differ in case only.
3. At most `Limits` are read. Above them nothing of the medium counts: a stick with a million files is nobody's delivery (A073).
4. What is mounted on the medium is not the medium's: told by the mount, as the folders of one file system may have several device numbers (btrfs).
5. A file that changes, or answers differently a second time, is not taken (`intakecopy.py`).
6. The leftovers of operating systems at the medium's root are left alone and named.
A medium that is pulled out ends everything with `MediumGone`.

The copy needs no sync: it is thrown away when the medium is done with.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import AnyStr, NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display, usable_members
from sealwright.artifact.source import Stamp
from sealwright.artifact.walk import LEFTOVERS
from sealwright.errors import LimitExceeded
from sealwright.findings import Finding, note, reject, warning
from sealwright.formats.statementnames import received_by
from sealwright.plant.intakecopy import GONE, Again, Ahead, Copier, Folder, Limits, Taken, gone, why
from sealwright.plant.media import mount_of

TREE_SUFFIX = b".manifest"
EVIDENCE_SUFFIX = b".received"  # beside what was received, with a record of this name and TREE_SUFFIX
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_UNFINISHED = (b".part", b".partial", b".crdownload", b".download", b".filepart", b".tmp", b".!ut")


class Listing(NamedTuple):
    """The names in one folder of the medium, as the system's strings. path: of the folder, with `/`, "" for the root."""

    path: str
    files: frozenset[str]
    folders: frozenset[str]


class Group(NamedTuple):
    """Files of one folder whose names begin alike, as those of a file and its signatures do; listing: of that folder.

    folders: those beside them whose names begin so too; evidence: what is in the ones where the evidence of a receiving record is kept.
    """

    files: tuple[Taken, ...]
    listing: Listing
    folders: tuple[str, ...] = ()
    evidence: tuple[Taken, ...] = ()


class Tree(NamedTuple):
    """A folder with a manifest or receiving record beside it. files: all that are in it; beside: those beside it whose names begin with
    its own and a dot, whatever they are; listing: of the folder that it lies in."""

    name: bytes
    files: tuple[Taken, ...]
    beside: tuple[Taken, ...]
    listing: Listing
    evidence: tuple[Taken, ...] = ()


@dataclass(slots=True)
class Intake:
    """One medium on its way in. private: an empty folder that only this process may enter; told: called with the bytes of each block;
    know: with what tells each copy from any other file, and its digest."""

    root: str
    private: str
    limits: Limits = field(default_factory=Limits)
    again: Again = Again.PART
    told: Callable[[int], None] = lambda _: None
    know: Callable[[Stamp, Digest], None] = lambda _stamp, _digest: None
    members: int = 0
    _copier: Copier = field(init=False)
    _mount: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        self.root, self.private = os.path.abspath(self.root), os.path.abspath(self.private)
        self._copier = Copier(self.private, self.limits, self.again, self.told, self.know)

    @property
    def files(self) -> int:
        """How many were copied so far."""
        return self._copier.files

    @property
    def size_bytes(self) -> int:
        """How much was copied so far."""
        return self._copier.size_bytes

    def take(self) -> Iterator[Group | Tree | Finding]:
        """Everything on the medium, folder by folder: a unit as soon as all is here that its verdict needs.

        Raises MediumGone, LimitExceeded or OutputRefused (the private place is full); then nothing of the medium counts.
        """
        try:
            descriptor = os.open(self.root, _FOLDER)
        except OSError as cause:
            raise gone(cause, self.root) from cause
        target = os.open(self.private, _FOLDER)
        try:
            self._mount = mount_of(descriptor)
            yield from self._folder(Folder(descriptor, target, b""), 0)
        finally:
            os.close(descriptor)
            os.close(target)
            self._copier.close()

    def _folder(self, folder: Folder, depth: int) -> Iterator[Group | Tree | Finding]:
        prefix = folder.prefix
        if depth > self.limits.depth:
            what = f"folders more than {self.limits.depth} deep"
            raise LimitExceeded(display(prefix), what, "Take a stick with the delivery alone.")
        names, folders, refused = self._listed(folder.source, prefix)
        yield from refused
        present = frozenset((*names, *folders))
        listing = _listing(prefix, names, folders)
        evidence = {name: stem for name in folders if (stem := received_by(name, present))}
        trees: dict[bytes, list[Taken]] = {
            name: []
            for name in folders
            if name not in evidence and {name + TREE_SUFFIX, name + EVIDENCE_SUFFIX + TREE_SUFFIX} & present
        }
        groups = _grouped(names, present)
        with Ahead(folder.source, [name for members in groups.values() for name in members]) as ahead:
            for stem, members in groups.items():
                answers = [self._copier.copy(folder, name, ahead) for name in members]
                yield from (one for one in answers if isinstance(one, Finding))
                yield from (
                    warning("SW-STATION-UNFINISHED", display(prefix + name))
                    for name in members
                    if name.lower().endswith(_UNFINISHED)
                )
                taken = tuple(one for one in answers if isinstance(one, Taken))
                for one in taken if trees else ():
                    longest = [stem for stem in _stems(os.path.basename(one.name)) if stem in trees][-1:]
                    for tree in longest:
                        trees[tree].append(one)
                near = beginning(folders, stem + b".")
                kept: list[Taken] = []
                for name in near:
                    if evidence.get(name) in members:
                        ahead.let_go()
                        kept += yield from self._evidence(folder, name, depth)
                if taken or kept:
                    yield Group(taken, listing, tuple(map(os.fsdecode, near)), tuple(kept))
        for name in folders:
            if name in evidence:
                continue  # it is taken with what it is about
            inside: list[Taken] = []
            for found in self._inside(folder, name, depth):
                if name in trees and not isinstance(found, Finding):
                    inside += (*found.files, *found.evidence)
                else:
                    yield found
            if name in trees:
                kept = []
                if name + EVIDENCE_SUFFIX in evidence:
                    kept += yield from self._evidence(folder, name + EVIDENCE_SUFFIX, depth)
                yield Tree(prefix + name, tuple(inside), tuple(trees[name]), listing, tuple(kept))

    def _evidence(self, folder: Folder, name: bytes, depth: int) -> Generator[Finding, None, Iterable[Taken]]:
        """Everything in a folder of evidence, which is judged with what it is about; the findings are yielded."""
        taken: dict[bytes, Taken] = {}
        for found in self._inside(folder, name, depth):
            if isinstance(found, Finding):
                yield found
            else:
                taken |= {one.name: one for one in (*found.files, *found.evidence)}
        return taken.values()

    def _inside(self, folder: Folder, name: bytes, depth: int) -> Iterator[Group | Tree | Finding]:
        shown = display(folder.prefix + name)
        try:
            below = os.open(name, _FOLDER, dir_fd=folder.source)
        except OSError as cause:
            if cause.errno in GONE:
                raise gone(cause, shown) from cause
            yield reject("SW-STATION-UNREAD", shown, found=why(cause))
            return
        try:
            if mount_of(below) != self._mount:
                yield reject("SW-STATION-OTHER-MEDIUM", shown)
                return
            try:
                os.mkdir(name, 0o700, dir_fd=folder.target)
            except OSError as cause:
                raise self._copier.full(cause) from cause
            inside = os.open(name, _FOLDER, dir_fd=folder.target)
            try:
                yield from self._folder(Folder(below, inside, folder.prefix + name + b"/"), depth + 1)
            finally:
                os.close(inside)
        finally:
            os.close(below)

    def _listed(self, source: int, prefix: bytes) -> tuple[list[bytes], list[bytes], list[Finding]]:
        """Regular files, folders, and what is not taken; both sorted."""
        names: list[bytes] = []
        folders: list[bytes] = []
        refused: list[Finding] = []
        try:
            with os.scandir(source) as entries:
                for entry in entries:
                    self.members += 1
                    if self.members > self.limits.files:
                        what = f"more than {self.limits.files:,} files and folders"
                        raise LimitExceeded("the medium", what, "Take a stick with the delivery alone.")
                    name = os.fsencode(entry.name)
                    if not prefix and name in LEFTOVERS:
                        refused.append(note("SW-TREE-LEFTOVER", display(name)))
                    elif entry.is_symlink():
                        refused.append(reject("SW-STATION-LINK", display(prefix + name)))
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        names.append(name)
                    else:
                        refused.append(reject("SW-STATION-SPECIAL", display(prefix + name)))
        except OSError as cause:
            raise gone(cause, display(prefix) or "the medium") from cause
        good, problems = usable_members(prefix, [*names, *folders], "the medium")
        refused += [reject("SW-STATION-NAME", problem.subject, found=problem.what) for problem in problems]
        usable = {*good}
        return sorted(usable.intersection(names)), sorted(usable.intersection(folders)), refused


def _listing(prefix: bytes, names: Sequence[bytes], folders: Sequence[bytes]) -> Listing:
    return Listing(os.fsdecode(prefix), frozenset(map(os.fsdecode, names)), frozenset(map(os.fsdecode, folders)))


def _grouped(names: Sequence[bytes], present: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """The names of a folder's files by what they may belong to: the shortest beginning up to a dot that is there too, or itself; in order."""
    groups: dict[bytes, list[bytes]] = {}
    for name in names:
        groups.setdefault(next((stem for stem in _stems(name) if stem in present), name), []).append(name)
    return dict(sorted(groups.items()))


def _stems(name: bytes) -> Iterator[bytes]:
    """The beginnings of a name up to each of its dots, the shortest first."""
    at = 0
    while (at := name.find(b".", at + 1)) > 0:
        yield name[:at]


def beginning(names: Sequence[AnyStr], start: AnyStr) -> list[AnyStr]:
    """Of sorted names those that begin so."""
    found = []
    for at in range(bisect_left(names, start), len(names)):
        if not names[at].startswith(start):
            break
        found.append(names[at])
    return found
