"""The journal of a signing place: what was going to be signed, and what was, durable before anything leaves (RULES 2).

An append-only file of RFC 8785 JSON lines. Each carries its number and the SHA-256 of the line before it, so that an edit,
a cut or a swap shows. The Merkle log takes these entries over when it comes (docs/decisions/0003).

System calls relied on: flock (one writer), write, fdatasync once for each batch. What a crash leaves is a prefix, and
perhaps one torn line at the end that nobody was told about: it is moved to `journal.torn` when the journal is opened next.
A journal that a loss record closed lies beside the open one as `journal.1.jsonl`, and the open one begins with a `lost` entry
that holds its end (`read_history`). Nothing is written while the folder above has the file `locked`: a home just restored.
Opening checks the end only, so that it costs the same with a million entries; `read_journal` checks every line. It waits
for nobody: a line that it finds unfinished is read again, and while a writer holds the lock it is that writer's, and no entry yet.
| fault | what persisted | progress | fatal |
|---|---|---|---|
| killed before fdatasync | a prefix of the batch | yes, after reopening | no: the batch was never acknowledged |
| disk full, write error | a prefix, perhaps torn | after room was made | yes, for this object |
| fdatasync error | unknown | no | yes: nothing may be signed on it |
| the last line damaged, or cut from the one before | shows | no | yes: opening refuses |
| an earlier line edited, removed, swapped | shows at its number | yes | no: `read_journal` refuses, `doctor` tells |
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

from sealwright.artifact.folders import sync_folder
from sealwright.errors import HomeLocked, JournalError
from sealwright.log.canonical import MAX_LINE_BYTES, Field, canonical_json, read_canonical

FILE = "journal.jsonl"
TORN = "journal.torn"
LOCK = "journal.lock"
LOCKED = "locked"
WAIT_S = 10.0
START = "0" * 64
_TAIL = 64 * 1024
_BINARY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # else Windows ends lines in two octets
_SHORTER = "Nothing was signed; sign with fewer or shorter claims."


class EntryType(StrEnum):
    """What an entry tells."""

    INTENT = "intent"
    RESULT = "result"
    REFUSAL = "refusal"
    CERTIFICATE = "certificate"
    KEY = "key"
    # of the register of an authority's certificates (signing/register.py)
    ISSUING = "issuing"
    ISSUED = "issued"
    REVOKED = "revoked"
    HELD = "held"
    RELEASED = "released"
    RETIRED = "retired"
    LISTING = "listing"
    LISTED = "listed"
    # of signatures whose timestamp comes later (signing/pending.py): pending, stamped, forgotten with the reason
    PENDING = "pending"
    STAMPED = "stamped"
    FORGOTTEN = "forgotten"
    # of where signed artifacts were released (signing/released.py); `released` is the register's word for the end of a hold
    PUBLISHED = "published"
    # of makers that were taken into a trust file from a file that they shipped (signing/adopted.py)
    ADOPTED = "adopted"
    # of a home that came out of a backup (signing/restore.py): with nothing missing, or with what a loss record names
    RESTORED = "restored"
    LOST = "lost"
    # of key ceremonies: a register that one opened, and its record; an officer's own; the book beside a plan (ceremonybook.py)
    CEREMONY = "ceremony"
    TRANSCRIPT = "transcript"
    ATTENDED = "attended"
    BEGUN = "begun"
    STARTED = "started"
    MAKING = "making"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to record. fields: texts, whole numbers, lists of texts; `seq`, `previous` and `type` are the journal's own."""

    type: EntryType
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One entry as it stands in the journal."""

    number: int
    type: EntryType
    fields: Mapping[str, Field]


class Record(Protocol):
    """Where the intents and results of a key are durable before they count: a journal, or a service's log."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Record the entries, all or none; JournalError if they may not be durable."""
        ...

    def finish(self, values: Mapping[str, bytes]) -> None:
        """Record signature values by the requests of their intents, all or none; JournalError as above."""
        ...

    def close(self) -> None:
        """Give back what it holds. Closing twice is fine."""
        ...


class Journal:
    """An open journal, locked for this process; used by one thread."""

    def __init__(self, folder: str, descriptor: int, lock: int, count: int, previous: str) -> None:
        self.folder = folder
        self.count = count
        self._descriptor = descriptor
        self._lock = lock
        self._previous = previous
        self._broken = False

    @classmethod
    def open(cls, folder: str, wait_s: float = WAIT_S) -> Journal:
        """Lock, check the last lines and open for appending; JournalError if another holds it or it is damaged.

        HomeLocked where the home was restored and nobody has said yet how far its journal went.
        """
        refuse_locked(os.path.dirname(os.path.abspath(folder)))
        return cls.open_locked(folder, wait_s)

    @classmethod
    def open_locked(cls, folder: str, wait_s: float = WAIT_S) -> Journal:
        """The same for whoever unlocks a restored home, and for nobody else."""
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as cause:
            raise _error(folder, f"it cannot be opened ({cause.strerror})") from cause
        try:
            _acquire(lock, folder, wait_s)
            path = os.path.join(folder, FILE)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
            try:
                _set_torn_line_aside(descriptor, folder)
                count, previous = _end(descriptor, path)
                sync_folder(folder)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as cause:
            os.close(lock)
            raise _error(folder, f"it cannot be opened ({cause.strerror})") from cause
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, descriptor, lock, count, previous)

    @property
    def end(self) -> tuple[int, str]:
        """How many entries it has, and the hash of the last line."""
        return self.count, self._previous

    def append(self, entries: Sequence[Entry]) -> None:
        """Record the entries with one write and one sync; JournalError if they may not be durable, and then for good.

        An entry that could not be read back (above 64 KiB, a lone surrogate) is refused before anything is written.
        """
        if self._broken:
            raise _error(self.folder, "an earlier write failed")
        data = bytearray()
        previous, count = self._previous, self.count
        for entry in entries:
            line = _line({**entry.fields, "type": entry.type.value, "seq": count, "previous": previous}, self.folder)
            data += line + b"\n"
            previous, count = sha256(line).hexdigest(), count + 1
        self._broken = True
        try:
            os.lseek(self._descriptor, 0, os.SEEK_END)
            view = memoryview(bytes(data))
            while view:
                view = view[os.write(self._descriptor, view) :]
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
        except OSError as cause:
            raise _error(self.folder, f"writing it failed ({cause.strerror})") from cause
        self._broken = False
        self._previous, self.count = previous, count

    def finish(self, values: Mapping[str, bytes]) -> None:
        """Record the digests of signature values by the requests of their intents."""
        self.append(
            [
                Entry(EntryType.RESULT, {"request": request, "signature": f"sha256:{sha256(value).hexdigest()}"})
                for request, value in values.items()
            ]
        )

    def close(self) -> None:
        """Give the lock back. Closing twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            os.close(self._lock)
            self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_locked(home: str) -> None:
    """HomeLocked where a home was restored and is not unlocked yet."""
    if os.path.lexists(os.path.join(home, LOCKED)):
        raise HomeLocked(
            home,
            "it was restored from a backup, and what was signed after that backup is not known yet",
            f"Unlock it with the newest checkpoint known outside: sealwright home unlock --home {home} --checkpoint LINE",
        )


def closed_journals(folder: str) -> list[str]:
    """The files of journals that loss records closed, oldest first."""
    found: list[str] = []
    while os.path.lexists(path := os.path.join(folder, f"journal.{len(found) + 1}.jsonl")):
        found.append(path)
    return found


def read_history(folder: str) -> Iterator[Recorded]:
    """Every entry of the closed journals, oldest first, then of the open one; each begins where the one before it ended."""
    end: tuple[int, str] | None = None
    for path in (*closed_journals(folder), os.path.join(folder, FILE)):
        for recorded in _read(path, folder):
            begins = recorded.fields.get("entries"), recorded.fields.get("last")
            if recorded.number == 0 and end is not None and begins != end:
                raise _damaged(path, 0, "it does not begin where the journal before it ended")
            yield recorded
        end = end_of(path)


def end_of(path: str) -> tuple[int, str]:
    """Number and hash after the last line of a journal's file, without a lock; (0, START) where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _BINARY)
    except FileNotFoundError:
        return 0, START
    except OSError as cause:
        raise _error(path, f"it cannot be read ({cause.strerror})") from cause
    try:
        return _end(descriptor, path)
    finally:
        os.close(descriptor)


def whole_end(path: str) -> tuple[int, int, str]:
    """Size in bytes up to the last whole line, its number and hash, made durable: for who copies a journal beside its writer.

    The lines before are never changed, so they are a journal by themselves.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | _BINARY)
    except OSError as cause:
        raise _error(path, f"it cannot be read ({cause.strerror})") from cause
    try:
        size = os.fstat(descriptor).st_size
        os.fsync(descriptor)
        start = max(0, size - 2 * _TAIL)
        os.lseek(descriptor, start, os.SEEK_SET)
        data = os.read(descriptor, size - start)
    except OSError as cause:
        raise _error(path, f"it cannot be read ({cause.strerror})") from cause
    finally:
        os.close(descriptor)
    cut = data.rfind(b"\n") + 1
    if not cut:
        if start == 0:
            return 0, 0, START
        raise _damaged(path, -1, "it is too long")
    last = data[data.rfind(b"\n", 0, cut - 1) + 1 : cut - 1]
    number = _fields(last, path, -1)["seq"]
    if not isinstance(number, int):
        raise _damaged(path, -1, "it has no number")
    return start + cut, number + 1, sha256(last).hexdigest()


def read_journal(folder: str, *, torn: bool = False) -> Iterator[Recorded]:
    """Every entry with the chain recomputed; JournalError naming the first line that is not what it was.

    Beside a writer that is just appending it ends with the last whole line; with `torn` also where a crash left half a line,
    of which nobody was told.
    """
    return _read(os.path.join(folder, FILE), folder, torn=torn)


def _read(path: str, folder: str, *, torn: bool = False) -> Iterator[Recorded]:
    previous, number = START, 0
    try:
        with open(path, "rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES + 2):
                try:
                    recorded = _linked(line, path, number, previous)
                except JournalError:
                    with _writer(folder) as at_work:
                        lines.seek(-len(line), os.SEEK_CUR)  # also gives up what was buffered
                        line = lines.readline(MAX_LINE_BYTES + 2)
                    unfinished_line = len(line) <= MAX_LINE_BYTES and not line.endswith(b"\n")
                    if unfinished_line and (at_work or torn or not line):
                        return
                    recorded = _linked(line, path, number, previous)
                previous = sha256(line[:-1]).hexdigest()
                yield recorded
                number += 1
    except FileNotFoundError:
        return
    except OSError as cause:
        raise _error(folder, f"it cannot be read ({cause.strerror})") from cause


def unfinished(folder: str) -> list[Recorded]:
    """The intents without a result or refusal: what a crash, or a key that failed, left."""
    pending: dict[str, Recorded] = {}
    for entry in read_journal(folder):
        request = str(entry.fields.get("request", ""))
        if entry.type is EntryType.INTENT:
            pending[request] = entry
        elif entry.type in (EntryType.RESULT, EntryType.REFUSAL):
            pending.pop(request, None)
    return list(pending.values())


def _linked(line: bytes, path: str, number: int, previous: str) -> Recorded:
    """One line, after the line whose hash is given."""
    if len(line) > MAX_LINE_BYTES + 1:
        raise _damaged(path, number, f"longer than {MAX_LINE_BYTES} bytes")
    if not line.endswith(b"\n"):
        raise JournalError(
            path, f"line {number + 1} is torn", "Sign again; opening it for signing sets the torn line aside."
        )
    fields = _fields(line[:-1], path, number)
    if fields["seq"] != number or fields["previous"] != previous:
        raise _damaged(path, number, "it does not follow the line before it")
    return _recorded(fields, path, number)


@contextmanager
def _writer(folder: str) -> Iterator[bool]:
    """Whether a writer is at work; where none is, none begins meanwhile."""
    try:
        lock = os.open(os.path.join(folder, LOCK), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        yield False  # nobody has ever written here
        return
    try:
        try:
            _lock_now(lock)
        except OSError:
            yield True
        else:
            yield False
    finally:
        os.close(lock)


def _line(fields: Mapping[str, Field], folder: str) -> bytes:
    try:
        line = canonical_json(fields)
    except ValueError as cause:
        raise JournalError(folder, f"an entry has no canonical form ({cause})"[:160], _SHORTER) from cause
    if len(line) > MAX_LINE_BYTES:
        raise JournalError(folder, f"an entry of {len(line)} bytes, at most {MAX_LINE_BYTES} are recorded", _SHORTER)
    return line


def _acquire(lock: int, folder: str, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            _lock_now(lock)
            return
        except OSError as cause:
            if cause.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise _error(folder, f"it cannot be locked ({cause.strerror})") from cause
            if time.monotonic() > until:
                raise _error(folder, "another process is signing with this home") from cause
        time.sleep(0.02)


def _lock_now(lock: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _set_torn_line_aside(descriptor: int, folder: str) -> None:
    """A last line without its line feed was never acknowledged: keep it beside the journal and cut it off."""
    size = os.fstat(descriptor).st_size
    at = size
    torn = b""
    while at > 0:
        start = max(0, at - _TAIL)
        os.lseek(descriptor, start, os.SEEK_SET)
        torn = os.read(descriptor, at - start) + torn
        at = start
        if b"\n" in torn:
            torn = torn[torn.rindex(b"\n") + 1 :]
            break
    if not torn:
        return
    try:
        with open(os.path.join(folder, TORN), "ab") as aside:
            aside.write(torn + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        os.ftruncate(descriptor, size - len(torn))
        os.fsync(descriptor)
    except OSError as cause:
        raise _error(folder, f"its torn last line cannot be set aside ({cause.strerror})") from cause


def _end(descriptor: int, path: str) -> tuple[int, str]:
    """Number and hash after the last line, which is checked against the one before it."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0, START
    start = max(0, size - 2 * _TAIL)
    os.lseek(descriptor, start, os.SEEK_SET)
    lines = os.read(descriptor, size - start).split(b"\n")[:-1]
    whole = lines if start == 0 else lines[1:]
    if not whole:
        raise _damaged(path, 0, "the last line is too long")
    fields = _fields(whole[-1], path, -1)
    before = sha256(whole[-2]).hexdigest() if len(whole) > 1 else START if start == 0 else None
    number = fields["seq"]
    if not isinstance(number, int) or (before is not None and fields["previous"] != before):
        raise _damaged(path, -1, "it does not follow the line before it")
    return number + 1, sha256(whole[-1]).hexdigest()


def _fields(line: bytes, path: str, number: int) -> dict[str, Field]:
    try:
        fields = read_canonical(line)
    except ValueError as cause:
        raise _damaged(path, number, str(cause)[:120]) from cause
    if not {"seq", "previous", "type"} <= fields.keys():
        raise _damaged(path, number, "its number, type or link is missing")
    return fields


def _recorded(fields: dict[str, Field], path: str, number: int) -> Recorded:
    try:
        type_ = EntryType(str(fields["type"]))
    except ValueError as cause:
        raise _damaged(path, number, "an unknown type") from cause
    own = {name: value for name, value in fields.items() if name not in ("seq", "previous", "type")}
    return Recorded(number, type_, own)


def _damaged(path: str, number: int, what: str) -> JournalError:
    where = f"line {number + 1}" if number >= 0 else "the last line"
    return JournalError(
        path, f"{where} is damaged: {what}", "Stop signing and keep the file as evidence; restore it from a backup."
    )


def _error(folder: str, what: str) -> JournalError:
    return JournalError(folder, what, "Nothing is signed until the journal can be written; run `sealwright doctor`.")
