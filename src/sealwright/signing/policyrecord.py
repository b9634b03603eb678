"""Which policies count, as the log says it, and their text, which the database keeps by its digest.

    record = PolicyRecord(store, writer, "policies")
    standing = record.standing()                     # policy, edition; None in a new log
    old = record.kept(standing.policy)               # what a change is compared with
    standing = record.record(new, standing, Ground(How.NOT_WEAKER), now)

1. What counts is what the newest `policy` or `start` entry says, whichever is newer. It is found in the log and proved against its
   checkpoint (`log/latest.py`): no table says which one it is, so none can be written over (A130).
2. A new edition, and each `start`, goes into the log only where nothing of another edition got there since it was looked at:
   that is looked up in the transaction which holds the log's one lock.
3. A long run says its edition again now and then, so that the next start finds it in a bounded time.
4. The text of the policies is believed where it has the digest that the log names. Where it is gone or another one, nothing is compared
   and nothing changes, until the same policies were there once more: deleting it must not make a change easier.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from sealwright.artifact.digest import Digest
from sealwright.errors import JournalError, LogRefused, LogRewound, MalformedPolicy, PolicyChangeRefused, StoreConflict
from sealwright.log.canonical import Field, canonical_json
from sealwright.log.entries import PolicyChange, Start, read_any
from sealwright.log.latest import newest
from sealwright.log.reader import read_entries, read_head
from sealwright.log.writer import LogWriter, Rows
from sealwright.signing.policy import Policies, parse_policies
from sealwright.signing.policyfolder import MAX_FILES, PolicyFile, PolicyFolder, digest_of
from sealwright.signing.storedrequest import TAMPERED
from sealwright.signing.tables import POLICIES, PRIVATE
from sealwright.store.engine import Store

APPEND_S = 30.0
SALT_BYTES = 16
_LENGTH = 4
_LOOK = 4096
_NEWER = "Start the version of Sealwright that wrote it."
_NEEDLES = (b'"type":"policy"', b'"type":"start"')  # no text in canonical JSON has these octets


class How(StrEnum):
    """Why an edition counts."""

    FIRST = "first"
    NOT_WEAKER = "not-weaker"
    APPROVED = "approved"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Ground:
    """Why an edition counts. change: SHA-256 of the change, approvals: of its approvals; persons: who approved it, register: digest of then."""

    how: How
    change: Digest | None = None
    approvals: tuple[Digest, ...] = ()
    persons: tuple[str, ...] = ()
    register: Digest | None = None


class Standing(NamedTuple):
    """What counts. edition: 0 in a log of before they were counted; leaf: of the entry that says so; size: of the log that was looked at."""

    policy: Digest
    edition: int
    leaf: int
    size: int


class PolicyRecord:
    """The policies of one service in its log and database. path: of their folder, for messages."""

    def __init__(self, store: Store, writer: LogWriter, path: str) -> None:
        self._store = store
        self._writer = writer
        self._path = path
        self._looked = 0  # so far nothing new was said behind what counts

    def standing(self) -> Standing | None:
        """What counts now, proved; None where the log has never said. LogRefused where it is not what its key signed."""
        found = newest(self._writer.reader, self._writer.key, _says_policies)
        if found.leaf is None:
            return None
        policy, edition = _said(found.entry)
        return Standing(policy, edition, found.leaf, found.size)

    def since(self, known: Standing) -> Standing | None:
        """What counts now. Where nobody else writes into the log that is what was known: what it was not, `record` finds."""
        return self.standing() if self._writer.shared else known._replace(size=self._writer.head.size)

    @property
    def size(self) -> int:
        """How many entries the log has, as far as this process knows."""
        return self._writer.head.size

    def news(self, known: Standing) -> bool:
        """Whether entries that came since say what counts; `standing` proves what. No row beside the log is asked: one that was taken
        away would keep this replica at the former policies (A130). LogRewound where the log is smaller than it was."""
        with self._store.read() as connection:
            head = read_head(connection, self._store.name)
            if head is None or head.size < known.size:
                raise LogRewound(self._store.name, "it is smaller than it was", TAMPERED)
            looked = max(known.size, min(self._looked, head.size))
            found = False
            while looked < head.size and not found:
                entries = read_entries(connection, looked, min(_LOOK, head.size - looked), self._store.name)
                if not entries:
                    raise LogRefused(self._store.name, f"entry {looked} is missing", TAMPERED)
                found = any(map(_says_policies, entries))
                looked += len(entries)
        self._looked = known.size if found else looked
        return found

    def kept(self, digest: Digest) -> Policies:
        """Policies that counted; PolicyChangeRefused where their text is not there, or another one."""
        with self._store.read() as connection:
            data = connection.execute(select(POLICIES.c.files).where(POLICIES.c.digest == str(digest))).scalar()
        try:
            if data is None:
                raise ValueError("is not in the database")
            files = tuple(_unpacked(bytes(data)))
            if digest_of(files) != digest:
                raise ValueError("was changed in the database")
            return parse_policies(PolicyFolder(f"policies {digest}", files))
        except (ValueError, MalformedPolicy) as cause:
            why = "can no longer be read" if isinstance(cause, MalformedPolicy) else str(cause)
            raise PolicyChangeRefused(
                self._path,
                f"those that count, {digest}, cannot be compared with them: their text {why}",
                "Put the folder of those that count back and start once, which keeps it again; then change it.",
            ) from cause

    def keep(self, policies: Policies, standing: Standing) -> None:
        """Keep the text of the policies that count, where it is not there as it must be."""
        try:
            self.kept(policies.digest)
        except PolicyChangeRefused:
            with self._store.write() as connection:
                _write(connection, policies, standing.leaf)

    def record(self, new: Policies, before: Standing | None, ground: Ground, now: datetime) -> Standing:
        """Let policies count from here on. StoreConflict where the log said something else meanwhile; nothing is recorded then."""
        edition = _edition_after(before, ground)
        private = _private(edition, ground)
        entry = PolicyChange(
            time=now,
            policy=new.digest,
            edition=edition,
            previous=None if before is None or before.edition == 0 else before.policy,
            change=ground.change,
            approvals=ground.approvals,
            private=Digest.of(private),
        ).encoded()

        def rows(connection: Connection, first: int) -> None:
            self._check_unchanged(connection, before, first)
            _write(connection, new, first)
            values = {"digest": str(Digest.of(private)), "request": f"policy {edition}", "text": private}
            connection.execute(insert(PRIVATE).values(**values))

        leaf = self._append(entry, rows)
        return Standing(new.digest, edition, leaf, leaf + 1)

    def started(self, start: Start, standing: Standing) -> Standing:
        """Record a start under the policies that count; StoreConflict where others count by now."""
        leaf = self._append(
            start.encoded(), lambda connection, first: self._check_unchanged(connection, standing, first)
        )
        return standing._replace(leaf=leaf, size=leaf + 1)

    def _check_unchanged(self, connection: Connection, before: Standing | None, first: int) -> None:
        """StoreConflict where an entry behind those that were looked at says that another edition counts. first: of what comes now."""
        looked = 0 if before is None else before.size
        for start in range(looked, first, _LOOK):
            for entry in read_entries(connection, start, min(_LOOK, first - start), self._store.name):
                if _says_policies(entry) and (before is None or _said(entry) != (before.policy, before.edition)):
                    raise StoreConflict(self._path, "other policies were put in force meanwhile", "Look again.")

    def _append(self, entry: bytes, rows: Rows) -> int:
        try:
            return self._writer.append([entry], rows).result(APPEND_S)[0]
        except TimeoutError as cause:
            raise JournalError("log", "it did not answer in time", "See to its database.") from cause


def _says_policies(entry: bytes) -> bool:
    return any(needle in entry for needle in _NEEDLES)


def _said(entry: bytes) -> tuple[Digest, int]:
    """The policies of an entry, and their edition; LogRefused where it cannot be read."""
    try:
        read = read_any(entry)
    except ValueError as cause:
        raise LogRefused("log", f"an entry about policies cannot be read: {cause}", _NEWER) from cause
    if not isinstance(read, PolicyChange | Start):
        raise LogRefused("log", "an entry about policies is none", _NEWER)
    return read.policy, read.edition or 0


def _edition_after(before: Standing | None, ground: Ground) -> int:
    edition = 0 if before is None else before.edition
    return edition if ground.how is How.AGAIN else edition + 1


def _private(edition: int, ground: Ground) -> bytes:
    """The record behind the entry that can be erased: who approved it, by which register."""
    fields: dict[str, Field] = {
        "salt": secrets.token_hex(SALT_BYTES),
        "edition": edition,
        "how": ground.how.value,
        "approvers": ground.persons,
    }
    if ground.register is not None:
        fields["register"] = str(ground.register)
    return canonical_json(fields)


def _write(connection: Connection, policies: Policies, leaf: int) -> None:
    digest = str(policies.digest)
    connection.execute(delete(POLICIES).where(POLICIES.c.digest == digest))
    connection.execute(insert(POLICIES).values(digest=digest, files=_packed(policies.folder.files), leaf=leaf))


def _packed(files: Sequence[PolicyFile]) -> bytes:
    """Each file as the length of its name, its name, the length of its data, its data; lengths of 4 octets."""
    parts = [part for file in files for part in (file.name.encode(), file.data)]
    return b"".join(len(part).to_bytes(_LENGTH, "big") + part for part in parts)


def _unpacked(data: bytes) -> Iterator[PolicyFile]:
    """The other way; ValueError for what is cut or too much."""
    parts: list[bytes] = []
    at = 0
    while at < len(data) and len(parts) <= 2 * MAX_FILES:
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "big")
        parts.append(data[at + _LENGTH : end])
        at = end
    if at != len(data) or len(parts) % 2:
        raise ValueError("is cut")
    return (PolicyFile(name.decode(), text) for name, text in zip(parts[::2], parts[1::2], strict=True))
