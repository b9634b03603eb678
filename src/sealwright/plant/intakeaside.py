"""The intake in a process of its own, so that one thing is judged while the next is copied, on another core.

    judging process                                  copying process (forked)
    `incoming(intake, sorted_out)`  <- one pipe <-   `intake.take()`, and `sorted_out` of what it found

What comes through the pipe are lists of parts: what was found, how far the copy is (at most five times a second), and the end or the error. A
process that ends without either is an error too: the medium was not read to its end. The pipe holds a megabyte, so that the copy is
some thousand small files ahead and no more. Where other threads run, nothing may be forked, and the same is done in this process.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sealwright.artifact.digest import Digest
from sealwright.artifact.interrupts import Interrupts
from sealwright.artifact.source import Stamp
from sealwright.errors import SealwrightError, Unreadable
from sealwright.findings import Finding
from sealwright.plant.framing import received, send
from sealwright.plant.intake import Group, Intake, Tree

AT_ONCE = 64
TELL_EVERY_S = 0.2
_SEND_EVERY_S = 0.02
_PIPE_BYTES = 1 << 20
_LARGE = 4 << 20
_MAX_KNOWN = 4096
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which `fcntl` has no name for everywhere
Part = TypeVar("Part")
Sorter = Callable[[Group | Tree], Sequence[Part]]


@dataclass(frozen=True, slots=True)
class Progress:
    """So much is copied."""

    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The medium was read to its end. files, size_bytes: of everything that was copied."""

    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Arrived(Generic[Part]):
    """What came at once, in order. known: the digests of what was copied for it, by what tells each copy from any other file."""

    parts: Sequence[Part | Finding | Progress | Ended | SealwrightError]
    known: Sequence[tuple[Stamp, Digest]]


def incoming(intake: Intake, sorted_out: Sorter[Part]) -> Generator[Arrived[Part], None, None]:
    """Everything of a medium as it comes; the last part of the last is `Ended`.

    Raises what the intake raises, and Unreadable if its process ended early; then nothing of the medium counts.
    """
    if sys.platform == "win32" or threading.active_count() > 1:
        yield from _here(intake, sorted_out)
        return
    with _copying(intake, sorted_out) as pipe:
        while (data := received(pipe)) is not None:
            arrived: Arrived[Part] = pickle.loads(data)  # noqa: S301 (the process that we forked wrote it)
            last = arrived.parts[-1]
            if isinstance(last, SealwrightError):
                raise last
            yield arrived
            if isinstance(last, Ended):
                return
    raise Unreadable(intake.root, "the process that copied it ended early", "Check it again.")


@contextmanager
def _copying(intake: Intake, sorted_out: Sorter[Part]) -> Iterator[int]:
    """The pipe from a process that copies; afterwards there is no such process any more."""
    process, reading = -1, -1
    interrupts = Interrupts()
    interrupts.hold()
    try:
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that judges ends this one
            os.close(reading)
            _serve(intake, sorted_out, writing)
        os.close(writing)
        interrupts.release()
        yield reading
    finally:
        interrupts.release()
        if process > 0:
            os.close(reading)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _serve(intake: Intake, sorted_out: Sorter[Part], pipe: int) -> None:
    """The copying process's life: never returns."""
    code = 1
    try:
        _enlarge(pipe)
        parcel: _Parcel[Part] = _Parcel(intake, sorted_out)

        def told(_: int) -> None:
            parcel.tell_progress()
            if parcel.is_due:
                send(pipe, pickle.dumps(parcel.taken()))

        for _ in parcel.fill(told):
            if parcel.is_due:
                send(pipe, pickle.dumps(parcel.taken()))
        send(pipe, pickle.dumps(parcel.taken()))
        code = 0
    except SealwrightError as cause:
        send(pipe, pickle.dumps(Arrived([cause], [])))
    finally:
        os._exit(code)


def _here(intake: Intake, sorted_out: Sorter[Part]) -> Iterator[Arrived[Part]]:
    parcel: _Parcel[Part] = _Parcel(intake, sorted_out)
    for _ in parcel.fill(lambda _: parcel.tell_progress()):
        if parcel.is_due:
            yield parcel.taken()
    yield parcel.taken()


class _Parcel(Generic[Part]):
    """What was found and not handed on yet."""

    def __init__(self, intake: Intake, sorted_out: Sorter[Part]) -> None:
        self._intake = intake
        self._sorted_out = sorted_out
        self._parts: list[Part | Finding | Progress | Ended | SealwrightError] = []
        self._known: list[tuple[Stamp, Digest]] = []
        self._coming: list[tuple[Stamp, Digest]] = []  # of files that are not part of anything yet
        self._sent = self._told = time.monotonic()

    def fill(self, told: Callable[[int], None]) -> Iterator[None]:
        """Everything, a step for each thing that is found. told: called with the bytes of each block."""
        self._intake = replace(self._intake, told=told, know=self._know)
        for found in self._intake.take():
            if isinstance(found, Finding):
                self._parts.append(found)
            else:
                self._parts += self._sorted_out(found)
                self._known += self._coming
                self._coming = []
            yield
        self._parts.append(Ended(self._intake.files, self._intake.size_bytes))

    def tell_progress(self) -> None:
        """At most five times a second."""
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            self._parts.append(Progress(self._intake.files, self._intake.size_bytes))

    @property
    def is_due(self) -> bool:
        """Whether it should be handed on."""
        return bool(self._parts) and (len(self._parts) >= AT_ONCE or time.monotonic() - self._sent >= _SEND_EVERY_S)

    def taken(self) -> Arrived[Part]:
        """What there is, and nothing of it any more."""
        arrived = Arrived(self._parts, self._known)
        self._parts, self._known, self._sent = [], [], time.monotonic()
        return arrived

    def _know(self, stamp: Stamp, digest: Digest) -> None:
        """A large file's digest is always worth the memory; of small ones some are kept, the others are read again."""
        if stamp[0] > _LARGE or len(self._coming) < _MAX_KNOWN:
            self._coming.append((stamp, digest))


def _enlarge(pipe: int) -> None:
    import fcntl  # not on Windows, where this is imported too

    with suppress(OSError):  # an account may hold only so much in pipes
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)
