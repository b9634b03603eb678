"""The journal of an audited TPM, written (its lines: `auditlines`; what they prove: `log.commandaudit`).

    with AuditJournal("tpm.audit").turn() as turn:
        turn.add(UseLine(name, digest)); …; turn.add(MadeLine(now, signature)); turn.sync()

One process and thread at a time has the turn, from before a command until after its answer: else the order is not the TPM's.
System calls relied on: flock of the journal; write at its end (O_APPEND); fsync before a signature leaves and around an attestation.
A line that a crash cut off is cut away: what it said, the TPM's next attestation has, or has not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sealwright.artifact.output import write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import KeyUnavailable
from sealwright.keys.auditlines import FIRST_LINE, MAX_LINE_BYTES, Line, read_line

MAX_PATH_BYTES = 4096
_RESTORE = "Restore it, or begin a new journal (`sealwright key begin-audit`) and tell who audits."


class Turn:
    """The journal, while nobody else writes into it. descriptor: open to read and append."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def add(self, line: Line) -> None:
        """Write a line at the end; KeyUnavailable where it cannot be written, and then nothing may be signed."""
        data = str(line).encode()
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError("it took a part only")
        except OSError as cause:
            raise _unwritable(self._path, cause) from cause

    def sync(self) -> None:
        """What was added is durable."""
        try:
            os.fsync(self._descriptor)
        except OSError as cause:
            raise _unwritable(self._path, cause) from cause

    def last(self) -> Line | None:
        """The last line, None of a journal without any. A torn one is cut away first."""
        try:
            if self._read(0, len(FIRST_LINE)) != FIRST_LINE.encode():
                raise ValueError("it does not begin as one")
            size = os.fstat(self._descriptor).st_size
            start = max(0, size - 2 * MAX_LINE_BYTES)
            tail = self._read(start, size - start)
            whole = tail.rfind(b"\n") + 1
            if whole < len(tail):
                os.ftruncate(self._descriptor, start + whole)
            text = tail[:whole].splitlines(keepends=True)[-1].decode("ascii")
            return None if text == FIRST_LINE else read_line(text)
        except OSError as cause:
            raise _unwritable(self._path, cause) from cause
        except ValueError as cause:
            raise KeyUnavailable(self._path, f"the TPM's journal is damaged: {cause}"[:160], _RESTORE) from cause

    def _read(self, at: int, size: int) -> bytes:
        os.lseek(self._descriptor, at, os.SEEK_SET)  # what is written goes to the end all the same
        return os.read(self._descriptor, size)


@dataclass(frozen=True, slots=True)
class AuditJournal:
    """The journal of one TPM, by its path."""

    path: str

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for the turn; KeyUnavailable where there is no such file."""
        if sys.platform == "win32":
            raise KeyUnavailable(self.path, "an audited TPM is not used on Windows yet", "Sign on Linux.")
        import fcntl  # not everywhere

        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as cause:
            raise _unwritable(self.path, cause) from cause
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Turn(self.path, descriptor)
        finally:
            os.close(descriptor)


def journal_of(key_path: str) -> AuditJournal | None:
    """The journal that PATH.audit names beside a key, None where its uses are not written down."""
    named = read_file_or_none(key_path + ".audit", MAX_PATH_BYTES)
    if named is None:
        return None
    path = os.fsdecode(named).removesuffix("\n")
    if not path or "\n" in path or "\0" in path:
        raise KeyUnavailable(f"{key_path}.audit", "it names no journal", _RESTORE)
    return AuditJournal(os.path.join(os.path.dirname(key_path), path))


def new_journal(path: str) -> AuditJournal:
    """A journal that has nothing in it yet; OutputRefused where something is there."""
    write_atomic(path, FIRST_LINE.encode(), mode=0o600)
    return AuditJournal(path)


def name_journal(key_path: str, journal: AuditJournal) -> None:
    """Write PATH.audit: relative where the journal lies beside the key, so that both can be moved."""
    folder, path = os.path.abspath(os.path.dirname(key_path)), os.path.abspath(journal.path)
    named = os.path.basename(path) if os.path.dirname(path) == folder else path
    write_atomic(key_path + ".audit", os.fsencode(named) + b"\n")


def _unwritable(path: str, cause: OSError) -> KeyUnavailable:
    return KeyUnavailable(
        path, f"the TPM's journal cannot be written ({cause.strerror or cause}), so nothing is signed", _RESTORE
    )
