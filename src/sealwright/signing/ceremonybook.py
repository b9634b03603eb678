"""The book of a plan's ceremonies, beside the plan: which nonces were given and used, and what a run that was killed left behind.

A journal (`log/journal.py`) in PLAN.book, locked while a run lasts. A nonce is good once: `begun` gives it, `started` is on disk
before the first thing is made and strikes it out for ever, `ended` says how it went. The times only grow: a clock that was put
back is noticed.

A run builds in `.NAME.<hex>.ceremony` beside the new home, with a journal in its folder `run` that names each key before it is made,
and whose lock says that the run lives. Whoever comes next removes the folders of runs that do not, with the private keys in them, and
tells of the keys that are in a token. A ceremony that was broken off is not taken up: nobody has seen what happened between. The next
one begins anew, with a new nonce and an empty token.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.folders import sync_folder
from sealwright.artifact.interrupts import Interrupts
from sealwright.errors import CeremonyRefused, JournalError, OutputRefused
from sealwright.keys.uri import parse_pkcs11
from sealwright.log.canonical import Field, read_time, time_text
from sealwright.log.journal import FILE, Entry, EntryType, Journal, read_journal
from sealwright.signing.attendance import AHEAD, HOLDS, check_nonce
from sealwright.signing.ceremonyplan import Plan

SUFFIX = ".book"
RUN = "run"
DONE, BROKEN, KILLED = "done", "broken off", "killed"
NEW = ".new"  # until its lock says that the run lives
_BUILDING = re.compile(r"\..+\.[0-9a-f]{16}\.ceremony(\.new)?")
_AGAIN = "Begin again: sealwright ca ceremony begin, and have everybody attend with the new nonce."


class Leftover(NamedTuple):
    """What a run that was killed left. folder: "" where nothing of it is there any more; files: how many private keys are in it;
    keys: key strings of what it made, or was making, in a token; nonce: of that run."""

    nonce: str
    folder: str
    files: int
    keys: tuple[str, ...]


class Book:
    """An open book, locked for this process; used by one thread."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan = plan
        self._journal = journal

    def begin(self, nonce: str, now: datetime) -> None:
        """A nonce is given for the plan."""
        self._check_clock(now)
        self._append(EntryType.BEGUN, nonce, now, plan=str(self.plan.digest))

    def check(self, nonce: str, now: datetime) -> None:
        """CeremonyRefused where the nonce was not given for this plan, not on this day, or was used."""
        self._check_clock(now)
        begun: datetime | None = None
        for entry in self._entries():
            if entry.nonce != nonce:
                continue
            if entry.kind is EntryType.STARTED:
                raise CeremonyRefused(
                    self.plan.path, f"a run of {entry.at:%Y-%m-%d %H:%M} UTC has used this nonce up", _AGAIN
                )
            if entry.kind is EntryType.BEGUN and entry.plan == str(self.plan.digest):
                begun = entry.at
        if begun is None:
            raise CeremonyRefused(
                self.plan.path,
                "the book beside it gave no such nonce for this plan",
                "Run it with the plan and on the machine where `sealwright ca ceremony begin` was, or begin again.",
            )
        if now - begun > HOLDS:
            raise CeremonyRefused(self.plan.path, f"its nonce was given on {begun:%Y-%m-%d %H:%M} UTC", _AGAIN)

    def start(self, nonce: str, building: str, now: datetime) -> None:
        """The nonce is used up, durably, before anything is made."""
        self._append(EntryType.STARTED, nonce, now, plan=str(self.plan.digest), building=building)

    def end(self, nonce: str, outcome: str, keys: tuple[str, ...], now: datetime) -> None:
        """How a run went. keys: those that it made in a token; they serve nothing unless it is done."""
        self._append(EntryType.ENDED, nonce, now, outcome=outcome, keys=keys)

    def sweep(self, now: datetime, beside: str = "") -> tuple[Leftover, ...]:
        """Remove what runs that were killed left, those of this book and those in a folder; what it was, for people.

        beside: the folder of the new home.
        """
        started = [one for one in self._entries() if one.kind is EntryType.STARTED]
        ended = {one.nonce for one in self._entries() if one.kind is EntryType.ENDED}
        folders = {f"{one.building}{ending}": one.nonce for one in started for ending in ("", NEW)}
        for path in _buildings(beside) if beside else ():
            folders.setdefault(path, "")
        found = []
        for path, nonce in folders.items():
            with _looked_at(path, nonce) as left:
                if left is None:
                    continue  # its run lives
                if left.nonce and left.nonce not in ended:
                    self.end(left.nonce, KILLED, left.keys, now)
                if left.folder:
                    _remove(left)
                    found.append(left)
        return tuple(found)

    def leftovers(self) -> dict[str, datetime]:
        """Keys in tokens that runs left which did not end well, by key string, and when the run ended or was found.

        One whose name a later run that went well could use was deleted before that.
        """
        found: dict[str, datetime] = {}
        for one in self._entries():
            if one.outcome == DONE:
                names = {(uri.token, uri.label) for uri in map(parse_pkcs11, one.keys)}
                uris = {key: parse_pkcs11(key) for key in found}
                found = {key: at for key, at in found.items() if (uris[key].token, uris[key].label) not in names}
            found |= {key: one.at for key in one.keys if one.outcome in (BROKEN, KILLED)}
        return found

    def _entries(self) -> Iterator[_Line]:
        for entry in read_journal(self._journal.folder):
            fields = entry.fields
            keys = fields.get("keys")
            yield _Line(
                entry.type,
                str(fields.get("nonce", "")),
                read_time(fields["time"]),
                str(fields.get("plan", "")),
                str(fields.get("building", "")),
                str(fields.get("outcome", "")),
                tuple(str(key) for key in keys) if isinstance(keys, tuple | list) else (),
            )

    def _check_clock(self, now: datetime) -> None:
        last = max((one.at for one in self._entries()), default=None)
        if last is not None and now < last - AHEAD:
            raise CeremonyRefused(
                self.plan.path,
                f"it is {now:%Y-%m-%d %H:%M} UTC here, and the book beside it was written on {last:%Y-%m-%d %H:%M} UTC",
                "Set the clock right, then begin again.",
            )

    def _append(self, kind: EntryType, nonce: str, now: datetime, **more: Field) -> None:
        self._journal.append([Entry(kind, {"nonce": nonce, "time": time_text(now), **more})])


class _Line(NamedTuple):
    kind: EntryType
    nonce: str
    at: datetime
    plan: str
    building: str
    outcome: str
    keys: tuple[str, ...]


@contextmanager
def open_book(plan: Plan) -> Iterator[Book]:
    """The book beside a plan; CeremonyRefused where another run of the plan is at work, or nothing can be written there."""
    folder = os.path.abspath(plan.path) + SUFFIX
    try:
        journal = Journal.open(folder, wait_s=0)
    except JournalError as cause:
        if "another process" in cause.what:
            raise CeremonyRefused(plan.path, "another run of this plan is at work", "Let it end first.") from cause
        raise CeremonyRefused(
            folder, cause.what, "Copy the plan to a folder of this machine that can be written, and begin there."
        ) from cause
    with journal:
        yield Book(plan, journal)


class Building:
    """The folder in which a run makes the home, with the run's own journal, locked; used by one thread.

    finished: whether the home is in its place, whatever happens then: its keys are nobody's leftovers any more.
    """

    def __init__(self, folder: str, journal: Journal) -> None:
        self.folder = folder
        self.finished = False
        self._journal = journal

    @classmethod
    def make(cls, folder: str, nonce: str, now: datetime) -> Building:
        """A new one; it has its name from the moment on when its lock says that the run lives."""
        new = folder + NEW
        os.mkdir(new)
        journal = Journal.open(os.path.join(new, RUN), wait_s=0)
        try:
            journal.append([Entry(EntryType.STARTED, {"nonce": nonce, "time": time_text(now)})])
            os.rename(new, folder)
            sync_folder(os.path.dirname(folder))
        except BaseException:
            journal.close()
            raise
        return cls(folder, journal)

    def making(self, key: str) -> None:
        """A key is going to be made; durable before it is."""
        self._journal.append([Entry(EntryType.MAKING, {"key": key})])

    def made(self, key: str) -> None:
        """It was made; its key string with the id that the token gave it, by which it is told from others of its name."""
        self._journal.append([Entry(EntryType.MAKING, {"key": key})])

    def finish(self, place: str) -> None:
        """The home, whole, in its place, whose folder may be there and empty. Ctrl-C waits."""
        interrupts = Interrupts()
        interrupts.hold()
        try:
            if os.path.isdir(place):
                os.rmdir(place)
            os.rename(self.folder, place)
            self.finished = True
            sync_folder(os.path.dirname(place))
            # only now: until then it is what names the keys in a token that nobody knows of
            shutil.rmtree(os.path.join(place, RUN), ignore_errors=True)
        finally:
            interrupts.release()

    def close(self) -> None:
        """Give the lock back, and remove what is left. Closing twice is fine."""
        self._journal.close()
        for path in (self.folder, self.folder + NEW):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)


def building_of(home: str) -> str:
    """Where a run builds: beside the home, so that it can be renamed."""
    full = os.path.abspath(home)
    return os.path.join(os.path.dirname(full), f".{os.path.basename(full)[:100]}.{secrets.token_hex(8)}.ceremony")


def _buildings(folder: str) -> list[str]:
    """The folders in a folder that runs build in, as far as they are folders and no links."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                os.path.join(folder, entry.name)
                for entry in entries
                if _BUILDING.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except FileNotFoundError:
        return []
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be read ({cause.strerror})", "Check the folder.") from cause


@contextmanager
def _looked_at(path: str, nonce: str) -> Iterator[Leftover | None]:
    """What is in a run's folder, held meanwhile; None where its run lives. What has not the name of one is left alone, whatever a
    book says of it."""
    if not _BUILDING.fullmatch(os.path.basename(path)) or os.path.islink(path) or not os.path.isdir(path):
        yield Leftover(nonce, "", 0, ())
        return
    if path.endswith(NEW) and not os.path.exists(os.path.join(path, RUN, FILE)):
        yield None  # its run may be about to lock it; there is nothing in it yet
        return
    try:
        journal = Journal.open(os.path.join(path, RUN), wait_s=0)
    except JournalError as cause:
        if "another process" not in cause.what:
            raise
        yield None
        return
    with journal:
        keys: list[str] = []
        inside = nonce
        for entry in read_journal(journal.folder):
            if entry.type is EntryType.STARTED:
                inside = check_nonce(str(entry.fields.get("nonce", "")))
            elif entry.type is EntryType.MAKING and str(entry.fields.get("key", "")).startswith("pkcs11:"):
                key = str(entry.fields.get("key", ""))
                if keys and parse_pkcs11(key).label == parse_pkcs11(keys[-1]).label:
                    keys.pop()  # it was going to be made, and was
                keys.append(key)
        place = os.path.join(path, "keys")
        files = [name for name in os.listdir(place) if name.endswith((".pem", ".tss"))] if os.path.isdir(place) else []
        yield Leftover(inside, path, len(files), tuple(keys))


def _remove(left: Leftover) -> None:
    try:
        if os.path.isdir(keys := os.path.join(left.folder, "keys")):
            shutil.rmtree(keys)
        shutil.rmtree(left.folder)
        sync_folder(os.path.dirname(left.folder))
    except OSError as cause:
        raise OutputRefused(
            left.folder,
            f"a ceremony that was broken off left it, private keys in it, and it cannot be removed ({cause.strerror})",
            "Remove it by hand first.",
        ) from cause
