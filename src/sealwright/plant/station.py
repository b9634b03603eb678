"""The checking station's work on one medium: copied into a private place, judged there, and handed on from there (A150, A153).

    medium -> intake (copies, a thread of its own) -> units -> verdicts (one trust file, one state) -> clean stick, label, record

1. What is judged is the private copy, under the names it has on the medium: the process works inside the private folder.
2. A file that belongs to another one as its signature, or as evidence of how it was received, is judged with it, and goes along with
   it only if it is what it is called (`beside.py`). A folder with a manifest or receiving record beside it is one thing.
3. What the intake did not take is refused by name. Where the medium was not read to its end, nothing of it is allowed: no verdict
   given before counts, and nothing is written to a clean stick.
"""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sealwright.artifact.folders import locked, remove_unless_locked
from sealwright.artifact.names import display
from sealwright.artifact.source import known_digests
from sealwright.errors import OutputRefused
from sealwright.findings import Finding, reject
from sealwright.formats.sidecar import is_beside
from sealwright.formats.statementnames import is_listed_evidence
from sealwright.plant.beside import goes_along, has_accepted_record, owner_of
from sealwright.plant.intake import EVIDENCE_SUFFIX, Group, Intake, Listing, Taken, Tree
from sealwright.trust.place import unsafe_because
from sealwright.trust.verdict import Outcome, Verdict

Judge = Callable[[Sequence[tuple[str, Collection[str] | None]]], Sequence[Verdict]]
AT_ONCE = 64
_AHEAD = 512
PREFIX = "intake-"
_TRIES = 20


class Judged(NamedTuple):
    """A verdict on one thing of the medium. files: its own and those beside it that go along, as they were copied; the first is the one
    that its digest names."""

    verdict: Verdict
    files: tuple[Taken, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The medium was read to its end. files, size_bytes: of everything that was copied."""

    files: int
    size_bytes: int


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


def judge_medium(intake: Intake, judge: Judge) -> Iterator[Judged | Finding | Ended]:
    """Everything of a medium as it is judged; the last is `Ended`. judge: `Verifier.verify_all`, or what records its verdicts too.

    Raises what the intake raises: then nothing of the medium is allowed, whatever was said before.
    """
    with _inside(intake.private), known_digests() as intake.know:
        waiting: list[_Asked] = []
        with _Reader(intake) as reader:
            while (found := reader.next(wait=not waiting)) is not _END:
                if isinstance(found, Finding):
                    yield found
                    continue
                if found is not None:
                    waiting += _asked(found)
                if waiting and (found is None or len(waiting) >= AT_ONCE):
                    yield from _judged(waiting, judge)
                    waiting = []
        yield from _judged(waiting, judge)
    yield Ended(intake.files, intake.size_bytes)


class _Asked(NamedTuple):
    """What is to be judged. own: what the verdict is about as a whole; beside: what lies there under names that belong to it;
    evidence: what a receiving record beside it lists."""

    path: str
    every: Collection[str] | None
    own: tuple[Taken, ...]
    beside: tuple[Taken, ...] = ()
    evidence: tuple[Taken, ...] = ()

    def handed_on(self, along: Sequence[Taken], evidence: Sequence[Taken]) -> tuple[Taken, ...]:
        """Its files; a folder's manifest comes first, as its digest names the folder."""
        return (*along, *self.own, *evidence) if self.every is None else (*self.own, *along, *evidence)


def _asked(found: Group | Tree) -> Iterator[_Asked]:
    """What is to be judged of it: all but the signatures of others and the evidence about them, each with what is its own."""
    if isinstance(found, Tree):
        folder = os.path.basename(os.fsdecode(found.name))
        names = {os.path.basename(os.fsdecode(one.name)): one for one in found.beside}
        _, owned = _shared(names, found.listing)
        listed, others = _evidence(found.evidence)
        yield _Asked(os.fsdecode(found.name), None, found.files, tuple(owned.get(folder, ())), tuple(listed))
        yield from others
        return
    names = {os.path.basename(os.fsdecode(one.name)): one for one in found.files}
    judged, owned = _shared(names, found.listing)
    listed, others = _evidence(found.evidence)
    kept: dict[bytes, list[Taken]] = {}
    for other in listed:
        kept.setdefault(os.path.dirname(other.name), []).append(other)
    for name in judged:
        one = names[name]
        evidence = tuple(kept.get(one.name + EVIDENCE_SUFFIX, ()))
        yield _Asked(os.fsdecode(one.name), found.listing.every, (one,), tuple(owned.get(name, ())), evidence)
    yield from others


def _shared(names: Mapping[str, Taken], listing: Listing) -> tuple[list[str], dict[str, list[Taken]]]:
    """Which files of a folder are judged, in order, and what lies beside each of them or beside a folder."""
    beside = {name for name in names if is_beside(listing.path, name, listing.files, listing.folders)}
    judged = dict.fromkeys(name for name in names if name not in beside)
    owned: dict[str, list[Taken]] = {}
    for name in names:
        if name in beside and (owner := owner_of(name, judged.keys(), listing.folders, listing.files)):
            owned.setdefault(owner, []).append(names[name])
    return list(judged), owned


def _evidence(taken: Iterable[Taken]) -> tuple[list[Taken], list[_Asked]]:
    """What a receiving record lists as evidence, and what else lies there, which is judged like everything."""
    listed: list[Taken] = []
    others: list[_Asked] = []
    for one in taken:
        if is_listed_evidence(*os.path.split(os.fsdecode(one.name))):
            listed.append(one)
        else:
            others.append(_Asked(os.fsdecode(one.name), None, (one,)))
    return listed, others


def _judged(asked: Sequence[_Asked], judge: Judge) -> Iterator[Judged | Finding]:
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


_END: Final = object()


class _Reader:
    """The intake in a thread of its own, so that one thing is judged while the next is copied."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._found: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._found.get(timeout=0.05)
        self._thread.join()

    def next(self, *, wait: bool) -> Any:
        """What came next, `_END` after the last; None where nothing is there yet and it is not waited for."""
        try:
            found = self._found.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def _read(self) -> None:
        try:
            for found in self._intake.take():
                if self._stopped:
                    return
                self._found.put(found)
            self._found.put(_END)
        except Exception as cause:  # noqa: BLE001 (raised again where it is waited for)
            self._found.put(cause)
