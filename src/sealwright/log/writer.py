"""The writer of a log: what waits is appended in one transaction, and whoever waits is told after the commit.

    writer = LogWriter.open(store, signer, head_file="/var/lib/sealwright-head")
    (leaf,) = writer.append([entry.encoded()]).result()
    writer.proof(leaf)
    writer.close()                       # answers what was ordered before

1. One thread takes what waits, in its order: one at once when nothing was being written; under load it waits for the others, `WINDOW_S` at most.
2. The transaction locks the head row, reads the right edge from it, appends the entries, signs the checkpoint over them and writes
   head, entries and nodes: all or nothing. Of several replicas one at a time holds the lock, so that a log has one order.
3. New rows of all orders are inserted together, and `rows` of an order run before its entries are appended. Where they raise, the
   transaction is run anew with each order's in a savepoint: this order is refused and the others go on.
4. The head that is read must carry the log's own signature, fit its right edge, and never be smaller than one that was seen.
5. Nobody is told before the commit. Where the database went at COMMIT, the writer looks, under the head's lock, whether the entries
   carry the token of its transaction: they are neither lost nor appended twice.

| fault | what persisted | progress | who waited |
| --- | --- | --- | --- |
| killed before COMMIT | the old log | after a restart | is told nothing, and nothing left |
| killed after COMMIT | entries and checkpoint | after a restart | is told nothing; the entries are in the log |
| disk full, lock held too long | the old log | with the next order | StoreUnavailable, the whole group |
| connection lost at COMMIT | all or nothing; it is looked up | yes | numbers, or StoreUnavailable |
| ... and not reachable for `LOOK_S` | all or nothing | with the next order | CommitInDoubt: ask again by reading the log |
| `rows` raise | nothing of this order | yes | what they raised |
| the key does not sign | the old log | with the next order | KeyUnavailable |
| the head is not what this log signed, or smaller than before | as found | no: the writer is at its end | LogRefused, LogRewound |
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, Insert, bindparam, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import (
    CommitInDoubt,
    LimitExceeded,
    LogRefused,
    LogRewound,
    SealwrightError,
    StoreUnavailable,
)
from sealwright.log.checkpoint import Checkpoint
from sealwright.log.headfile import check_continues, read_head_file, write_head_file
from sealwright.log.merkle import EMPTY_ROOT, leaf_hash
from sealwright.log.note import NoteSigner, sign_checkpoint
from sealwright.log.reader import EVIDENCE, Head, LogReader, check_head, head_of, read_head, tree_of
from sealwright.log.tables import ENTRIES, HEAD, NODES
from sealwright.log.tiles import MAX_ENTRY
from sealwright.log.tree import WIDTH, Edge, Growing
from sealwright.store.engine import Store, typed_error

WINDOW_S = 0.002
MAX_GROUP = 4096
MAX_WAITING = 65_536
LOOK_S = 30.0
REMEMBER_S = 1.0
TOKEN_BYTES = 16
_LOCKED_HEAD = select(HEAD.c.origin, HEAD.c.size, HEAD.c.edge, HEAD.c.note).with_for_update()
_NEW_HEAD = update(HEAD).values(size=bindparam("to_size"), edge=bindparam("to_edge"), note=bindparam("to_note"))
_NEW_ENTRIES = insert(ENTRIES)
Rows = Callable[[Connection, int], None]
Numbers = tuple[int, ...]
_NOTHING = "Nothing was recorded; try again."


class NewRow(NamedTuple):
    """A row that stands with an order's entries. insert: made once, for all rows of its kind; leaf: the column that takes the number of the order's first leaf, "" for none."""

    insert: Insert
    values: Mapping[str, object]
    leaf: str = ""

    def with_leaf(self, first: int) -> dict[str, object]:
        """Its values where the order's first leaf has this number."""
        return {**self.values, self.leaf: first} if self.leaf else {**self.values}


@dataclass(slots=True)
class _Order:
    """What somebody waits for. refused: by its own rows; numbers: once they are given, which counts after the commit alone."""

    entries: tuple[bytes, ...]
    new: tuple[NewRow, ...]
    rows: Rows | None
    future: Future[Numbers] = field(default_factory=Future)
    refused: Exception | None = None
    numbers: Numbers = ()


class LogWriter:
    """The writer of one log, of one or several replicas; `append` and `proof` are for any thread."""

    def __init__(self, store: Store, signer: NoteSigner, head: Head, head_file: str | None) -> None:
        self.reader = LogReader(store)
        self._store = store
        self._signer = signer
        self._seen = head
        self._shared = False
        self._head_file = head_file
        self._remembered = time.monotonic()
        self._lock = threading.Condition()  # of the five below
        self._waiting: deque[_Order] = deque()
        self._waiting_entries = 0
        self._wanted = 1  # orders for which the thread is woken
        self._closing = False
        self._broken: SealwrightError | None = None
        self._thread = threading.Thread(target=self._run, name=f"log {head.origin}", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, store: Store, signer: NoteSigner, head_file: str | None = None) -> LogWriter:
        """Check the log and begin to write it; a database without one gets one that is empty.

        The log is called as its signer. head_file: where the newest checkpoint is remembered outside the database.
        Raises LogRefused (LogRewound, LogForked) for a log that is not what it signed, StoreUnavailable, KeyUnavailable, OutputRefused.
        """
        remembered = None if head_file is None else read_head_file(head_file, signer.key)
        with store.write() as connection:
            if not store.is_sqlite:  # no replica appends, or founds, between the checks
                connection.execute(text("LOCK TABLE log_head IN EXCLUSIVE MODE"))
            head = read_head(connection, store.name) or _founded(connection, signer, store.name)
            _check_head(head, signer, store.name)
            _check_whole(connection, head, store.name)
            if remembered is not None:
                tree = tree_of(connection, store.name)
                check_continues(remembered, head.size, lambda size: tree.root(0, size), store.name)
        if head_file is not None:
            write_head_file(head_file, head.note)  # a place that cannot be written shows at the start
        return cls(store, signer, head, head_file)

    @property
    def head(self) -> Checkpoint:
        """The newest checkpoint that this writer knows; another replica may be further."""
        return self._seen.checkpoint

    @property
    def shared(self) -> bool:
        """Whether somebody else has appended since this one was opened, as far as this one's own newest entry."""
        return self._shared

    @property
    def key(self) -> VerifierKey:
        """The log's own key, by which its checkpoints are known."""
        return self._signer.key

    def append(self, entries: Sequence[bytes], rows: Rows | None = None, new: Sequence[NewRow] = ()) -> Future[Numbers]:
        """Order entries to be appended together; the numbers of their leaves come after the commit.

        new: rows of the same transaction, there when `rows` run; rows: its other writes, which get the number of the first entry's leaf, and
        may be called again for a transaction that is run anew. Raises LimitExceeded for an
        entry too long for a log; StoreUnavailable where too many wait, LogRefused where the writer has ended.
        """
        if not entries:
            raise ValueError("no entry to append")
        for entry in entries:
            if len(entry) > MAX_ENTRY:
                raise LimitExceeded("a log entry", f"{len(entry)} bytes", f"At most {MAX_ENTRY} are recorded.")
        order = _Order(tuple(entries), tuple(new), rows)
        order.future.set_running_or_notify_cancel()  # what is ordered is done, whoever still waits
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._closing:
                raise LogRefused(self._seen.origin, "its writer is closed", _NOTHING)
            if self._waiting_entries + len(entries) > MAX_WAITING:
                raise StoreUnavailable(self._store.name, f"{self._waiting_entries} entries wait already", _NOTHING)
            self._waiting.append(order)
            self._waiting_entries += len(entries)
            if len(self._waiting) >= self._wanted:  # each waking costs both threads a turn of the interpreter's lock
                self._lock.notify_all()
        return order.future

    def proof(self, leaf: int) -> bytes:
        """A whole `.tlog-proof` of an entry, under the newest cosigned checkpoint if that covers it, else under the newest one."""
        return self.reader.proof(leaf)

    def close(self) -> None:
        """Answer what was ordered, remember the head and end. Closing twice is fine."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        """The thread: group after group, until it is closed and nothing waits."""
        together = 1
        while group := self._next(together):
            together = len(group)
            try:
                self._write(group)
            except Exception as cause:  # noqa: BLE001 - the thread's edge: whatever happened, everybody who waits is told
                self._tell(group, cause)
            self._remember(REMEMBER_S)
        self._remember(0)

    def _next(self, together: int) -> list[_Order]:
        """What waits, at most `MAX_GROUP` entries or the first order; [] at the end. together: orders of the group before."""
        with self._lock:
            while not self._waiting and not self._closing:
                together = self._wanted = 1  # nothing was being written: whoever comes first is written at once
                self._lock.wait()
            until, self._wanted = time.monotonic() + WINDOW_S, together
            while len(self._waiting) < together and not self._closing and (left := until - time.monotonic()) > 0:
                self._lock.wait(left)
            group: list[_Order] = []
            count = 0
            while self._waiting and (not group or count + len(self._waiting[0].entries) <= MAX_GROUP):
                count += len(self._waiting[0].entries)
                group.append(self._waiting.popleft())
            self._waiting_entries -= count
            return group

    def _write(self, group: list[_Order]) -> None:
        """One transaction for the group, and everybody told."""
        token = secrets.token_bytes(TOKEN_BYTES)
        new: Head | None = None
        try:
            try:
                with self._store.write() as connection:
                    new = self._appended(connection, group, token, _straight)
            except _RowsRaised:
                with self._store.write() as connection:
                    new = self._appended(connection, group, token, _in_savepoints)
        except CommitInDoubt as cause:
            if new is None or not self._committed(group, token):
                raise StoreUnavailable(cause.subject, cause.what, _NOTHING) from cause
        except LogRefused as cause:
            with self._lock:
                self._broken = cause
            raise
        if new is not None:
            self._seen = new
        for order in group:
            if order.refused is not None:
                order.future.set_exception(order.refused)
            else:
                order.future.set_result(order.numbers)

    def _appended(
        self,
        connection: Connection,
        group: list[_Order],
        token: bytes,
        write_rows: Callable[[Connection, Sequence[_Order], int, str], None],
    ) -> Head | None:
        """Everything of the transaction but its commit; None where every order was refused by its own rows. write_rows: says which were."""
        head = self._locked(connection)
        write_rows(connection, group, head.size, self._store.name)
        growing = Growing(head.edge)
        added: list[dict[str, object]] = []
        for order in group:
            if order.refused is None:
                order.numbers = tuple(range(growing.size, growing.size + len(order.entries)))
                for number, entry in zip(order.numbers, order.entries, strict=True):
                    growing.add(leaf_hash(entry))
                    added.append({"number": number, "entry": entry, "token": None if added else token})
        if not added:
            return None
        edge = growing.edge
        note = sign_checkpoint(edge.size, edge.root, self._signer)
        connection.execute(_NEW_ENTRIES, added)
        if growing.finished:
            connection.execute(insert(NODES), [node._asdict() for node in growing.finished])
        connection.execute(_NEW_HEAD, {"to_size": edge.size, "to_edge": edge.encoded, "to_note": note})
        return Head(head.origin, edge, note)

    def _locked(self, connection: Connection) -> Head:
        """The head, locked until the end of the transaction, checked where another replica wrote it."""
        row = connection.execute(_LOCKED_HEAD).one_or_none()
        if row is None:
            raise LogRewound(self._store.name, "its head is gone", EVIDENCE)
        head = head_of(row, self._store.name)
        if head != self._seen:
            if head.size <= self._seen.size:
                raise LogRewound(
                    self._store.name, f"it has {head.size} entries, and had {self._seen.size} before", EVIDENCE
                )
            _check_head(head, self._signer, self._store.name)
            self._shared = True
        return head

    def _committed(self, group: list[_Order], token: bytes) -> bool:
        """Whether the transaction of this token was committed; CommitInDoubt where the database cannot be asked.

        Asked under the head's lock: a transaction that still goes on somewhere in the server holds it.
        """
        first = next(order.numbers[0] for order in group if order.refused is None)
        until = time.monotonic() + LOOK_S
        while True:
            try:
                with self._store.write() as connection:
                    connection.execute(select(HEAD.c.id).with_for_update())
                    return (
                        connection.execute(select(ENTRIES.c.token).where(ENTRIES.c.number == first)).scalar() == token
                    )
            except StoreUnavailable as cause:
                if time.monotonic() > until:
                    raise CommitInDoubt(
                        self._store.name, cause.what, "Read the log before you ask again: it may be recorded."
                    ) from cause
                time.sleep(0.2)

    def _tell(self, group: list[_Order], cause: Exception) -> None:
        for order in group:
            if not order.future.done():
                order.future.set_exception(order.refused or cause)
        if self._broken is not None:
            with self._lock:
                rest, self._waiting, self._waiting_entries = list(self._waiting), deque(), 0
                self._closing = True
            for order in rest:
                order.future.set_exception(self._broken)

    def _remember(self, after_s: float) -> None:
        """Write the head file, not more often than that. One that cannot be written stops nothing: it stays behind."""
        if self._head_file is None or time.monotonic() - self._remembered < after_s:
            return
        self._remembered = time.monotonic()
        try:
            write_head_file(self._head_file, self._seen.note)
        except SealwrightError:
            return


class _RowsRaised(Exception):
    """An order's rows raised, and there is no savepoint to go back to: the transaction is run again."""


def _straight(connection: Connection, group: Sequence[_Order], size: int, _: str) -> None:
    """The rows of all orders, where none of them raise."""
    new: dict[Insert, list[dict[str, object]]] = {}
    first = size
    for order in group:
        for one in order.new:
            new.setdefault(one.insert, []).append(one.with_leaf(first))
        first += len(order.entries)
    try:
        for statement, values in new.items():
            connection.execute(statement, values)
        first = size
        for order in group:
            if order.rows is not None:
                order.rows(connection, first)
            first += len(order.entries)
    except Exception as cause:
        if connection.invalidated:
            raise
        raise _RowsRaised from cause


def _in_savepoints(connection: Connection, group: Sequence[_Order], size: int, name: str) -> None:
    """The rows of each order by itself; those that raise refuse theirs. name: of the store."""
    first = size
    for order in group:
        order.refused = _refusal(connection, order, first, name)
        if order.refused is None:
            first += len(order.entries)


def _refusal(connection: Connection, order: _Order, first: int, name: str) -> Exception | None:
    """What an order's own rows raised, None where they are written."""
    if not order.new and order.rows is None:
        return None
    try:
        with connection.begin_nested():
            for one in order.new:
                connection.execute(one.insert, one.with_leaf(first))
            if order.rows is not None:
                order.rows(connection, first)
    except Exception as cause:
        if connection.invalidated:
            raise
        if _is_over(connection):
            what = "it ended the transaction by itself: its disk is full, or cannot be written"
            raise StoreUnavailable(name, what, _NOTHING) from cause
        return typed_error(name, cause) if isinstance(cause, SQLAlchemyError) else cause
    return None


def _is_over(connection: Connection) -> bool:
    """Whether SQLite has rolled the whole transaction back by itself, as it does at a full disk: the next savepoint would begin another one."""
    return getattr(connection.connection.dbapi_connection, "in_transaction", True) is False


def _founded(connection: Connection, signer: NoteSigner, name: str) -> Head:
    """A new, empty log; LogRefused where there are entries without a head."""
    if connection.execute(select(ENTRIES.c.number).limit(1)).scalar() is not None:
        raise LogRefused(name, "it has entries and no head", EVIDENCE)
    note = sign_checkpoint(0, EMPTY_ROOT, signer)
    connection.execute(insert(HEAD).values(id=1, origin=signer.key.name, size=0, edge=b"", note=note))
    return Head(signer.key.name, Edge(0, ()), note)


def _check_head(head: Head, signer: NoteSigner, name: str) -> None:
    if head.origin != signer.key.name:
        raise LogRefused(name, f"it is the log {head.origin}, not {signer.key.name}", "Name the right key or database.")
    check_head(head, signer.key, name)


def _check_whole(connection: Connection, head: Head, name: str) -> None:
    """No number is missing, none is beyond the end, and the tiles at the right edge lead to it."""
    count, first, last = connection.execute(
        select(
            select(func.count()).select_from(ENTRIES).scalar_subquery(),
            select(func.min(ENTRIES.c.number)).scalar_subquery(),
            select(func.max(ENTRIES.c.number)).scalar_subquery(),
        )
    ).one()
    if count != head.size or (count and (first, last) != (0, head.size - 1)):
        what = f"it has {count} entries, numbered {first} to {last}, and its checkpoint says {head.size}"
        raise LogRefused(name, what, EVIDENCE)
    try:
        edge = tree_of(connection, name).edge(head.size)
    except ValueError as cause:
        raise LogRefused(name, f"its tiles are damaged: {cause}", EVIDENCE) from cause
    if edge != head.edge:
        raise LogRefused(name, f"its last {head.size % WIDTH or WIDTH} entries, or its tiles, were changed", EVIDENCE)
