"""Restoring a signing home, and unlocking it: it signs nothing until it is known how far its journals went.

A backup is always older than the disaster. So a restored home begins locked (the file `locked`; `Journal.open` refuses, and with
it every signature, certificate, list and timestamp), and is unlocked in one of three ways:
(a) the newest checkpoint known outside is the end of the journals as restored;
(b) it is newer: the missing entries come from a later copy of the journals, must chain to the restored ones and end in the checkpoint;
(c) the officers sign a loss record (`loss.py`). The journal is closed and a new one begins with the record's digest and the old
    one's end; register and timestamps go on, with the gap recorded. Serials are random, so none comes twice; the numbers of
    lists jump by `JUMP`, because verifiers refuse a lower one than they have seen.
Every way ends with an entry of its own. So a restored home and one that went on elsewhere differ from then on, and each one's
checkpoints are refused by the other: two homes with one id cannot be prevented without a third party, but are seen.

| killed | what is there | the next run |
|---|---|---|
| while restoring | a folder `.NAME.*.tmp`, no home | begins anew |
| while unlocking | a locked home, perhaps with some of the entries | goes on: what is there is not written twice |
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import new_folder, sync_folder
from sealwright.artifact.output import FileRange, Output, Replace, write_atomic, write_batch
from sealwright.artifact.source import read_file
from sealwright.errors import BackupRefused, HomeLocked, JournalError, LimitExceeded, OutputRefused, UsageError
from sealwright.log.canonical import MAX_LINE_BYTES, Field, canonical_json, read_canonical, read_time, time_text
from sealwright.log.ends import MAIN, End, Ends, ends_of, hash_at, parse_ends
from sealwright.log.journal import FILE as ENTRIES
from sealwright.log.journal import (
    LOCKED,
    START,
    Entry,
    EntryType,
    Journal,
    closed_journals,
    read_history,
    read_journal,
)
from sealwright.signing.backup import Backup, check_origin, home_in, read_backup
from sealwright.signing.backupfiles import LOSSES
from sealwright.signing.home import PRIVATE, REGISTER, Home, open_home
from sealwright.signing.issued import read_register
from sealwright.signing.loss import Loss, check_loss
from sealwright.trust.history import SignedText

JUMP = 1000
MAX_MISSING_BYTES = 256 << 20
MAX_MARKER_BYTES = 64 * 1024
_FOLDERS = ("certificates", "keys", "journal", "trust.d")
_PRIVATE = ("keys", "journal", "register", "timestamps", "pending", PRIVATE, LOSSES)


class How(StrEnum):
    """How a home was unlocked."""

    COMPLETE = "complete"
    ENTRIES = "entries"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Marker:
    """What the file `locked` says. ends: of the journals as restored; backup: digest of its statement."""

    backup: str
    restored: datetime
    ends: Ends


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An unlocked home. added: entries out of later copies; ends: of its journals now; missing: keys that the added entries
    enrolled and that home.toml does not name."""

    how: How
    added: int
    ends: Ends
    missing: tuple[str, ...] = ()


def restore(path: str, folder: str, anchors: Sequence[bytes], now: datetime) -> tuple[Home, Backup]:
    """Check a backup and unpack it into a new folder, locked. UsageError where something is there, BackupRefused, OutputRefused."""
    with new_folder(folder) as building:
        backup = read_backup(path)
        _unpack(backup, building)
        check_origin(backup, anchors, home_in(building))
        _check_journals(backup, building)
        marker: dict[str, Field] = {
            "backup": str(backup.statement),
            "restored": time_text(now),
            "ends": backup.ends.line,
        }
        write_atomic(os.path.join(building, LOCKED), canonical_json(marker), replace=Replace.YES, mode=0o600)
    return open_home(folder), backup


def check_backup(path: str, anchors: Sequence[bytes]) -> Backup:
    """Everything that restoring checks, without leaving anything."""
    import tempfile  # only here

    backup = read_backup(path)
    with tempfile.TemporaryDirectory(prefix="sealwright-backup-") as folder:
        building = os.path.join(folder, "home")
        _unpack(backup, building)
        check_origin(backup, anchors, home_in(building))
        _check_journals(backup, building)
    return backup


def read_marker(folder: str) -> Marker:
    """What a locked home waits for; UsageError where it is not locked, HomeLocked where the file is damaged."""
    path = os.path.join(folder, LOCKED)
    if not os.path.lexists(path):
        raise UsageError(folder, "it is not locked", "Nothing to do.")
    try:
        fields = read_canonical(read_file(path, MAX_MARKER_BYTES))
        time = read_time(fields["restored"])
        return Marker(str(fields["backup"]), time, parse_ends(str(fields["ends"])))
    except (ValueError, KeyError, UsageError) as cause:
        raise HomeLocked(
            folder,
            f"its file `{LOCKED}` is not of a restored home ({cause})"[:160],
            "Restore it: sealwright home restore",
        ) from cause


def unlock(folder: str, known: Sequence[Ends], entries: Sequence[str], now: datetime) -> Unlocked:
    """Ways (a) and (b). known: the newest checkpoints known outside; entries: paths of later copies of journals.

    HomeLocked where they leave open what happened, JournalError where they contradict the restored journals.
    """
    marker = read_marker(folder)
    if not known:
        raise UsageError("--checkpoint", "none is given", "Ask those who keep the home's checkpoints for the newest.")
    for one in known:
        if one.id != marker.ends.id:
            raise UsageError(
                "--checkpoint", f"it is of another home or journal ({one.id}), not of {marker.ends.id}", "Compare them."
            )
    newest = _newest(known, folder)
    with _held(folder, newest):
        marker = read_marker(folder)  # another process may have unlocked it meanwhile
        home = open_home(folder)
        have = {name: _restored_end(folder, name, marker.backup) for name in {*ends_of(folder).journals, *newest}}
        for name, end in sorted(have.items()):
            wanted = newest.get(name)
            if wanted is None:
                if end.count:
                    raise UsageError(
                        "--checkpoint", f"it says nothing of {name}, which has entries", "Take another one."
                    )
                continue
            if wanted.count <= end.count and hash_at(folder, name, wanted.count) != wanted.last:
                raise _fork(folder, name, wanted)
            if wanted.count < end.count:
                raise HomeLocked(
                    folder,
                    f"the checkpoint is older than the backup ({name}: {wanted.count} entries, restored are {end.count})",
                    "It does not say what came later: give a newer one, or have the officers sign a loss record.",
                )
        added = 0
        late: list[tuple[str, list[bytes]]] = []
        for name, wanted in sorted(newest.items()):
            if wanted.count > have[name].count:
                late.append((name, _missing(folder, name, have[name], wanted, entries)))
        for name, lines in late:
            path = os.path.join(folder, name, ENTRIES)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            old = (FileRange(path, 0, os.path.getsize(path)),) if os.path.exists(path) else ()
            data = b"".join(line + b"\n" for line in lines)
            write_batch([Output(path, (*old, data), 0o600)], replace=Replace.YES)
            added += len(lines)
        missing = _not_enrolled(home, have)
        _record_restored(folder, marker, now)
        _remove_marker(folder)
    return Unlocked(How.ENTRIES if added else How.COMPLETE, added, ends_of(folder), missing)


def unlock_with_loss(folder: str, signed: SignedText, now: datetime) -> Unlocked:
    """Way (c). signed: the loss record with the officers' signatures. TrustRefused where too few signed or it is of another home."""
    marker = read_marker(folder)
    loss = check_loss(signed, folder, marker.backup, marker.ends)
    digest = str(Digest.of(signed.text))
    _keep_record(folder, signed, digest)
    old = marker.ends.journals[MAIN]
    with _held(folder, {**marker.ends.journals, REGISTER: End(0, START)}) as journals:
        read_marker(folder)
        for name, journal in journals.items():
            if name == MAIN or _has_loss(folder, name, digest):
                continue
            fields = _gap(loss, digest, marker.ends.journals.get(name, End(0, START)), now)
            journal.append([Entry(EntryType.LOST, fields | ({"jump": JUMP} if name == REGISTER else {}))])
        _begin_journal(folder, _gap(loss, digest, old, now), digest)
        _remove_marker(folder)
    return Unlocked(How.LOSS, 0, ends_of(folder))


def losses_of(home: Home) -> Iterator[tuple[int, str, int]]:
    """The loss records of a home: number, its time, and after which entry of the old journal nothing is known."""
    closed = closed_journals(home.path(MAIN))
    if not closed:
        return
    number = 0
    for entry in read_history(home.path(MAIN)):
        if entry.type is EntryType.LOST and entry.number == 0:
            number += 1
            yield number, str(entry.fields["time"]), int(str(entry.fields["entries"]))


def _gap(loss: Loss, digest: str, old: End, now: datetime) -> dict[str, Field]:
    return {
        "loss": digest,
        "entries": old.count,
        "last": old.last,
        "time": time_text(now),
        "persons": tuple(sorted(loss.persons)),
    }


def _unpack(backup: Backup, building: str) -> None:
    folders = {os.path.dirname(one.name) for one in backup.members} | set(_FOLDERS)
    os.makedirs(building, mode=0o755, exist_ok=True)
    for name in sorted(folders - {""}):
        private = name.split("/")[0] in _PRIVATE
        os.makedirs(os.path.join(building, name), mode=0o700 if private else 0o755, exist_ok=True)
    outputs = []
    for one in backup.members:
        target = os.path.join(building, *one.name.split("/"))
        private = one.name.split("/")[0] in _PRIVATE
        more = backup.tail if one.name == f"{MAIN}/{ENTRIES}" else b""
        parts = (FileRange(backup.path, one.offset, one.size), more)
        check = _Same(one.digest, one.size, backup.path, one.name)
        outputs.append(Output(target, parts, 0o600 if private else 0o644, check=check))
    write_batch(outputs)


@dataclass(frozen=True, slots=True)
class _Same:
    """A check of what was unpacked: the backup could have become another file since it was read."""

    digest: str
    size: int
    backup: str
    name: str

    def __call__(self, path: str) -> None:
        state, left = sha256(), self.size
        with open(path, "rb") as file:
            while left and (block := file.read(min(1 << 20, left))):
                state.update(block)
                left -= len(block)
        if left or state.hexdigest() != self.digest:
            raise BackupRefused(self.backup, f"{self.name} changed while it was restored", "Restore it again.")


def _check_journals(backup: Backup, building: str) -> None:
    """Every line of every journal chains, and they end where the backup says."""
    found = ends_of(building)
    if found != backup.ends:
        raise BackupRefused(backup.path, "its journals do not end where it says", "Use the backup before.")
    for name in found.journals:
        for _ in read_history(os.path.join(building, name)):
            pass
    read_register(os.path.join(building, REGISTER))


def _newest(known: Sequence[Ends], folder: str) -> dict[str, End]:
    newest: dict[str, End] = {}
    for one in known:
        for name, end in one.journals.items():
            before = newest.get(name)
            if before is not None and before.count == end.count and before.last != end.last:
                raise _fork(folder, name, end)
            if before is None or before.count < end.count:
                newest[name] = end
    return newest


def _restored_end(folder: str, name: str, backup: str) -> End:
    """The end of a journal but for the entry that an interrupted unlocking wrote."""
    last = None
    for entry in read_journal(os.path.join(folder, name)):
        last = entry
    end = ends_of(folder).journals.get(name, End(0, START))
    if name == MAIN and last is not None and last.type is EntryType.RESTORED and last.fields.get("backup") == backup:
        return End(end.count - 1, hash_at(folder, name, end.count - 1) or START)
    return end


def _missing(folder: str, name: str, have: End, wanted: End, entries: Sequence[str]) -> list[bytes]:
    """The lines from one end to the other, out of a later copy of the journal."""
    first = _first_line(os.path.join(folder, name, ENTRIES))
    for path in entries:
        lines: list[bytes] = []
        last, size = have.last, 0
        with suppress(FileNotFoundError), open(path, "rb") as file:
            for line in iter(lambda file=file: file.readline(MAX_LINE_BYTES + 2), b""):  # type: ignore[misc]
                if not line.endswith(b"\n") or len(lines) == wanted.count - have.count:
                    break
                line = line[:-1]
                try:
                    fields = read_canonical(line)
                except ValueError:
                    break
                if fields.get("seq") != have.count + len(lines):
                    if lines:
                        break
                    continue
                if fields.get("previous") != last:
                    if first and not lines and _first_line(path) == first:
                        raise _fork(folder, name, wanted)
                    break
                last = sha256(line).hexdigest()
                lines.append(line)
                if (size := size + len(line)) > MAX_MISSING_BYTES:
                    raise LimitExceeded(
                        path, f"more than {MAX_MISSING_BYTES >> 20} MiB are missing", "Restore a newer backup."
                    )
        if len(lines) == wanted.count - have.count and last == wanted.last:
            return lines
        if len(lines) == wanted.count - have.count:
            raise _fork(folder, name, wanted)
    what = f"the checkpoint is newer than the backup: {wanted.count - have.count} entries of {name} are missing"
    if not entries:
        raise HomeLocked(
            folder, what, "Give a later copy of it with --entries FILE; is there none, the officers sign a loss record."
        )
    raise HomeLocked(folder, f"{what}, and none of the files given has them all", "Look for another copy of it.")


def _first_line(path: str) -> bytes:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return file.readline(MAX_LINE_BYTES + 2)
    return b""


def _not_enrolled(home: Home, have: dict[str, End]) -> tuple[str, ...]:
    """Keys that were enrolled after the backup: their entries came back, home.toml did not."""
    names = {key.name for key in home.keys}
    found = []
    for entry in read_journal(home.path(MAIN)):
        later = entry.number >= have[MAIN].count
        if later and entry.type is EntryType.KEY and "name" in entry.fields and entry.fields["name"] not in names:
            found.append(str(entry.fields["name"]))
    return tuple(dict.fromkeys(found))


@contextmanager
def _held(folder: str, names: dict[str, End] | Sequence[str]) -> Iterator[dict[str, Journal]]:
    """The journals, locked for this process alone."""
    wanted = sorted({*names, MAIN}, key=lambda name: (name == MAIN, name))
    with ExitStack() as locks:
        yield {name: locks.enter_context(Journal.open_locked(os.path.join(folder, name), 1.0)) for name in wanted}


def _record_restored(folder: str, marker: Marker, now: datetime) -> None:
    """One entry, once. A new handle: what was added before replaced the file."""
    if _restored_end(folder, MAIN, marker.backup) != ends_of(folder).journals[MAIN]:
        return
    path = os.path.join(folder, MAIN, ENTRIES)
    end = ends_of(folder).journals[MAIN]
    fields: dict[str, Field] = {
        "type": EntryType.RESTORED.value,
        "seq": end.count,
        "previous": end.last,
        "backup": marker.backup,
        "time": time_text(now),
    }
    line = canonical_json(fields) + b"\n"
    write_batch([Output(path, (FileRange(path, 0, os.path.getsize(path)), line), 0o600)], replace=Replace.YES)


def _has_loss(folder: str, name: str, digest: str) -> bool:
    return any(
        entry.type is EntryType.LOST and entry.fields.get("loss") == digest
        for entry in read_journal(os.path.join(folder, name))
    )


def _begin_journal(folder: str, fields: dict[str, Field], digest: str) -> None:
    """Close the journal and begin a new one; a run that was interrupted between is gone on with."""
    place = os.path.join(folder, MAIN)
    path = os.path.join(place, ENTRIES)
    if _has_loss(folder, MAIN, digest):
        return
    closed = closed_journals(place)
    if not (closed and os.path.samefile(closed[-1], path)):
        target = os.path.join(place, f"journal.{len(closed) + 1}.jsonl")
        try:
            os.link(path, target, follow_symlinks=False)
        except OSError:
            write_batch([Output(target, (FileRange(path, 0, os.path.getsize(path)),), 0o600)])
        sync_folder(place)
    line = canonical_json({**fields, "type": EntryType.LOST.value, "seq": 0, "previous": START}) + b"\n"
    write_atomic(path, line, replace=Replace.YES, mode=0o600)


def _keep_record(folder: str, signed: SignedText, digest: str) -> None:
    """The record and its signatures in HOME/loss, under the next number."""
    place = os.path.join(folder, LOSSES)
    os.makedirs(place, mode=0o700, exist_ok=True)
    number = 1
    while os.path.exists(path := os.path.join(place, f"{number}.toml")):
        if str(Digest.of(read_file(path, MAX_MARKER_BYTES))) == digest:
            break
        number += 1
    base = os.path.basename(signed.path)
    outputs = [Output(path + name.removeprefix(base), data, 0o600) for name, data in signed.signatures.items()]
    write_batch([*outputs, Output(path, signed.text, 0o600)], replace=Replace.YES)


def _remove_marker(folder: str) -> None:
    try:
        os.unlink(os.path.join(folder, LOCKED))
        sync_folder(folder)
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be unlocked ({cause.strerror})", "Unlock it again.") from cause


def _fork(folder: str, name: str, wanted: End) -> JournalError:
    return JournalError(
        os.path.join(folder, name),
        f"the checkpoint's entry {wanted.count} is another one than here: the home went on in two places, or one is forged",
        "Sign nothing with either; find out which of them signed what.",
    )
