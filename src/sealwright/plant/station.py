"""The checking station's work on one medium: copied into a private place, judged there, and handed on from there (A150, A153).

    medium -> intake (copies, a process of its own) -> units -> verdicts (one trust file, one state) -> clean stick, label, record

1. What is judged is the private copy, under the names it has on the medium: the process works inside the private folder.
2. A file that belongs to another one as its signature, or as evidence of how it was received, is judged with it, and goes along with
   it only if it is what it is called (`beside.py`). A folder with a manifest or receiving record beside it is one thing.
3. What the intake did not take is refused by name. Where the medium was not read to its end, nothing of it is allowed: no verdict
   given before counts, and nothing is written to a clean stick.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from sealwright.artifact.folders import locked, remove_unless_locked
from sealwright.artifact.names import display
from sealwright.artifact.source import known_digests
from sealwright.errors import OutputRefused
from sealwright.findings import Finding, reject
from sealwright.formats.sidecar import is_beside
from sealwright.formats.statementnames import is_listed_evidence
from sealwright.plant.beside import goes_along, has_accepted_record, owner_of
from sealwright.plant.intake import EVIDENCE_SUFFIX, Group, Intake, Listing, Tree, beginning
from sealwright.plant.intakeaside import Ended, Progress, incoming
from sealwright.plant.intakecopy import Taken
from sealwright.trust.place import unsafe_because
from sealwright.trust.verdict import Outcome, Verdict

Judge = Callable[[Sequence[tuple[str, Collection[str] | None]]], Sequence[Verdict]]
PREFIX = "intake-"
_TRIES = 20


class Judged(NamedTuple):
    """A verdict on one thing of the medium. files: its own and those beside it that go along, as they were copied; the first is the one
    that its digest names."""

    verdict: Verdict
    files: tuple[Taken, ...]


@contextmanager
def private_place(folder: str) -> Iterator[str]:
    """An empty folder for one medium's copies that only this account may enter. It is removed, and so is what a crash left of earlier ones.

    OutputRefused where it cannot be made, or where others could put another folder in its place: they would choose what is judged.
    """
    try:
        for name in os.listdir(folder):
            if name.startswith(PREFIX):
                remove_unless_locked(os.path.join(folder, name))
        if why := unsafe_because(folder):
            raise OutputRefused(folder, why, "Name a folder with --state or --private in which nobody else may write.")
        place, lock = _locked_place(folder)
    except OSError as cause:
        what = cause.strerror or "the system does not say why"
        raise OutputRefused(
            folder, what, "Make it writable, or name another folder with --state or --private."
        ) from cause
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def _locked_place(folder: str) -> tuple[str, int]:
    """A new folder and its lock. Until it is locked, another station takes it for what a crash left and removes it: then another one."""
    for _ in range(_TRIES):
        place = tempfile.mkdtemp(prefix=PREFIX, dir=folder)
        lock = -1
        with suppress(FileNotFoundError):
            lock = locked(place)
            if lock >= 0 and os.path.samestat(os.fstat(lock), os.stat(place, follow_symlinks=False)):
                return place, lock
            os.rmdir(place)
        if lock >= 0:
            os.close(lock)
    raise OutputRefused(folder, "no folder in it can be locked", "Name a folder on a local disk with --private.")


@contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Work in a folder, so that names in verdicts are those below it."""
    before = os.open(".", os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    os.chdir(folder)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def judge_medium(intake: Intake, judge: Judge) -> Generator[Judged | Finding | Progress | Ended, None, None]:
    """Everything of a medium as it is judged; the last is `Ended`. judge: `Verifier.verify_all`, or what records its verdicts too.

    Raises what the intake raises: then nothing of the medium is allowed, whatever was said before.
    """
    with _inside(intake.private), closing(incoming(intake, asked_of)) as arriving:
        for arrived in arriving:
            with known_digests(dict(arrived.known)):
                yield from _judged([one for one in arrived.parts if isinstance(one, Asked)], judge)
            yield from (one for one in arrived.parts if isinstance(one, Finding | Progress | Ended))


class Asked(NamedTuple):
    """What is to be judged. every: the names beside it that begin with its own, None where they are looked for; own: what the verdict is
    about as a whole; beside: what lies there under names that belong to it; evidence: what a receiving record beside it lists."""

    path: str
    every: frozenset[str] | None
    own: tuple[Taken, ...]
    beside: tuple[Taken, ...] = ()
    evidence: tuple[Taken, ...] = ()

    def handed_on(self, along: Sequence[Taken], evidence: Sequence[Taken]) -> tuple[Taken, ...]:
        """Its files; a folder's manifest comes first, as its digest names the folder."""
        return (*along, *self.own, *evidence) if self.every is None else (*self.own, *along, *evidence)


def asked_of(found: Group | Tree) -> list[Asked]:
    """What is to be judged of it: all but the signatures of others and the evidence about them, each with what is its own."""
    if isinstance(found, Tree):
        folder = os.path.basename(os.fsdecode(found.name))
        names = {os.path.basename(os.fsdecode(one.name)): one for one in found.beside}
        _, owned = _shared(names, found.listing)
        listed, others = _evidence(found.evidence)
        return [
            Asked(os.fsdecode(found.name), None, found.files, tuple(owned.get(folder, ())), tuple(listed)),
            *others,
        ]
    names = {os.path.basename(os.fsdecode(one.name)): one for one in found.files}
    judged, owned = _shared(names, found.listing)
    listed, others = _evidence(found.evidence)
    kept: dict[bytes, list[Taken]] = {}
    for other in listed:
        kept.setdefault(os.path.dirname(other.name), []).append(other)
    near = sorted((*names, *found.folders))
    asked = []
    for name in judged:
        one = names[name]
        evidence = tuple(kept.get(one.name + EVIDENCE_SUFFIX, ()))
        every = frozenset(beginning(near, f"{name}."))
        asked.append(Asked(os.fsdecode(one.name), every, (one,), tuple(owned.get(name, ())), evidence))
    return asked + others


def _shared(names: Mapping[str, Taken], listing: Listing) -> tuple[list[str], dict[str, list[Taken]]]:
    """Which files of a folder are judged, in order, and what lies beside each of them or beside a folder."""
    beside = {name for name in names if is_beside(listing.path, name, listing.files, listing.folders)}
    judged = dict.fromkeys(name for name in names if name not in beside)
    owned: dict[str, list[Taken]] = {}
    for name in names:
        if name in beside and (owner := owner_of(name, judged.keys(), listing.folders, listing.files)):
            owned.setdefault(owner, []).append(names[name])
    return list(judged), owned


def _evidence(taken: Iterable[Taken]) -> tuple[list[Taken], list[Asked]]:
    """What a receiving record lists as evidence, and what else lies there, which is judged like everything."""
    listed: list[Taken] = []
    others: list[Asked] = []
    for one in taken:
        if is_listed_evidence(*os.path.split(os.fsdecode(one.name))):
            listed.append(one)
        else:
            others.append(Asked(os.fsdecode(one.name), None, (one,)))
    return listed, others


def _judged(asked: Sequence[Asked], judge: Judge) -> Iterator[Judged | Finding]:
    """Each verdict with the files that it is good for, and what lay beside them and is none of it."""
    verdicts = judge([(one.path, one.every) for one in asked])
    for one, verdict in zip(asked, verdicts, strict=True):
        if verdict.outcome is not Outcome.TRUSTED:
            yield Judged(verdict, one.handed_on(one.beside, one.evidence))
            continue
        along: list[Taken] = []
        left: list[bytes] = []
        for other in one.beside:
            if goes_along(os.fsdecode(other.name), verdict):
                along.append(other)
            else:
                left.append(other.name)
        evidence = one.evidence if has_accepted_record(verdict) else ()
        if one.evidence and not evidence:
            left.append(os.path.dirname(one.evidence[0].name))
        yield Judged(verdict, one.handed_on(along, evidence))
        yield from (reject("SW-STATION-BESIDE", display(name), found=display(verdict.path)) for name in left)
