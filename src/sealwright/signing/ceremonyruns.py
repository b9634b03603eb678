"""What became of the ceremonies that were run for one place: each attendance is good for one run, and a crash leaves no key unnamed.

`NAME.ceremonies` beside the new home NAME has a line of canonical JSON for each thing, durable before the next is done:

    {"nonce":"93f5…","time":"2026-11-26T09:12:00Z","what":"begun"}       from here on this nonce is used up
    {"key":"pkcs11:token=ca;id=%01…","nonce":"93f5…","what":"made"}
    {"nonce":"93f5…","what":"done"}                                        or "ended"

1. A nonce that has begun is refused for ever, whatever became of the run.
2. While a run is at work it holds a lock on the file, so folders that are half made and runs without an end are left from a crash. The
   folders are removed, with the development keys in them; keys in tokens are named, for only people may destroy those.
It is this machine's memory and guards against mistakes; who signs the transcript guards against the rest (`transcript.py`).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.names import display
from sealwright.errors import CeremonyRefused, OutputRefused
from sealwright.log.canonical import Field, canonical_json, read_canonical, time_text

SUFFIX = ".ceremonies"
BUILDING = ".tmp"
MAX_BYTES = 4 << 20
_BEGUN, _MADE, _ENDS = "begun", "made", ("done", "ended")


class Left(NamedTuple):
    """What a run left that never came to its end. folders: half made, now removed; keys: in tokens, still there."""

    nonce: str
    folders: tuple[str, ...]
    keys: tuple[str, ...]


class Runs:
    """The file, locked. Owned by one run."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._entries = self._read()

    def refuse_used(self, nonce: str) -> None:
        """CeremonyRefused if a run began with this nonce before."""
        for entry in self._entries:
            if entry.get("nonce") == nonce and entry.get("what") == _BEGUN:
                raise CeremonyRefused(
                    f"nonce {nonce[:8]}…",
                    f"a ceremony was run with it already, on {entry.get('time')}",
                    "An attendance is good for one run: begin again with a new nonce.",
                )

    def unfinished(self) -> dict[str, tuple[str, ...]]:
        """The keys in tokens of each run that has no end, by nonce."""
        ended = {entry["nonce"] for entry in self._entries if entry.get("what") in _ENDS}
        found: dict[str, tuple[str, ...]] = {}
        for entry in self._entries:
            nonce = str(entry.get("nonce", ""))
            if nonce in ended:
                continue
            if entry.get("what") == _BEGUN:
                found[nonce] = ()
            elif entry.get("what") == _MADE:
                found[nonce] = (*found.get(nonce, ()), str(entry.get("key", "")))
        return found

    def begun(self, nonce: str, now: datetime) -> None:
        """The nonce is used up."""
        self._write({"what": _BEGUN, "nonce": nonce, "time": time_text(now)})

    def made(self, nonce: str, key: str) -> None:
        """A key in a token."""
        self._write({"what": _MADE, "nonce": nonce, "key": key})

    def ended(self, nonce: str, what: str) -> None:
        """done: its home is there. ended: there is none, and whoever ran it was told what it left."""
        self._write({"what": what, "nonce": nonce})

    def _write(self, fields: dict[str, Field]) -> None:
        try:
            os.write(self._descriptor, canonical_json(fields) + b"\n")
            os.fsync(self._descriptor)
        except OSError as cause:
            raise OutputRefused(self._path, cause.strerror or "it cannot be written", "Nothing was made.") from cause
        self._entries.append(fields)

    def _read(self) -> list[dict[str, Field]]:
        """Every line but one that a crash cut short, which is cut off."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        data = os.read(self._descriptor, MAX_BYTES + 1)
        whole, _, torn = data.rpartition(b"\n")
        if torn:
            os.ftruncate(self._descriptor, len(data) - len(torn))
        try:
            if len(data) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
            return [read_canonical(line) for line in whole.splitlines() if line]
        except ValueError as cause:
            what = f"it is not what ceremonies write ({cause})"
            raise CeremonyRefused(
                self._path, what, "Keep it for the record, and make the home in another place."
            ) from cause


@contextmanager
def runs_beside(folder: str, tells: Callable[[Left], None]) -> Iterator[Runs]:
    """The memory of the runs for one home, for one run alone; `tells` of each that a crash ended, once.

    folder: the new home. CeremonyRefused while another run is at work, OutputRefused where nothing can be written.
    """
    full = os.path.abspath(folder)
    path = full + SUFFIX
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as cause:
        raise OutputRefused(
            path, cause.strerror or "it cannot be written", "Check the folder above the home."
        ) from cause
    try:
        _lock(descriptor, path)
        runs = Runs(path, descriptor)
        _tell_of_crashes(runs, full, tells)
        yield runs
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> None:
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            raise CeremonyRefused(path, "another ceremony is at work for this home", "Wait for its end.") from cause


def _tell_of_crashes(runs: Runs, full: str, tells: Callable[[Left], None]) -> None:
    """Nobody else is at work, so whatever is half made is nobody's."""
    parent, prefix = os.path.dirname(full), f".{os.path.basename(full)}."
    names = sorted(name for name in os.listdir(parent) if name.startswith(prefix) and name.endswith(BUILDING))
    folders = tuple(os.path.join(parent, name) for name in names)
    for one in folders:
        shutil.rmtree(one, ignore_errors=True)
        if os.path.lexists(one):
            raise OutputRefused(one, "an earlier ceremony left it, and it cannot be removed", "Remove it by hand.")
    unfinished = runs.unfinished()
    if folders and not unfinished:
        unfinished = {"": ()}
    for number, (nonce, keys) in enumerate(unfinished.items(), 1):
        last = number == len(unfinished)
        tells(Left(nonce, folders if last else (), tuple(display(key) for key in keys)))
        if nonce:
            runs.ended(nonce, "ended")
