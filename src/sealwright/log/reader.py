"""A log as its database holds it: head, entries, tiles, and proofs made from them.

    log = LogReader(store)
    log.head().size
    log.proof(73894)                   a `.tlog-proof` with the entry in it, checked before it is handed out

Everything below the size of a checkpoint never changes again, so that what is read after it belongs to it, whoever appends meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Row, select

from sealwright.artifact.digest import Digest
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogRefused, SealwrightError, UsageError
from sealwright.log.checkpoint import Checkpoint, check_checkpoint, read_checkpoint
from sealwright.log.entry import find_signature
from sealwright.log.merkle import leaf_hash, root_of
from sealwright.log.proof import proof_text
from sealwright.log.tables import COSIGNED, ENTRIES, HEAD, NODES
from sealwright.log.tree import WIDTH, Edge, Tile, TiledTree, consistency_path, inclusion_path
from sealwright.store.engine import Store

_Made = TypeVar("_Made")
_SCAN = 4096
_KEPT = 1024  # tiles of 256 hashes
EVIDENCE = "Stop the service and keep the database as evidence; compare it with the newest export and its backup."


class Head(NamedTuple):
    """The newest state of a log. note: its signed checkpoint."""

    origin: str
    edge: Edge
    note: str

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.edge.size

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, read."""
        return read_checkpoint(self.note, f"the checkpoint of {self.origin}")


class LogReader:
    """Reads a log; used by any thread. The full tiles that it read last are kept: they never change."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._full: dict[tuple[int, int], Sequence[bytes]] = {}

    def head(self) -> Head:
        """The newest state; LogRefused where there is no log yet."""
        with self.store.read() as connection:
            return _needed(read_head(connection, self.store.name), self.store.name)

    def cosigned(self) -> str | None:
        """The newest checkpoint that witnesses have cosigned, with their lines; None where none has."""
        with self.store.read() as connection:
            return connection.execute(select(COSIGNED.c.note)).scalar()

    def entries(self, start: int, count: int) -> list[bytes]:
        """So many entries from this number on, as far as they are there."""
        with self.store.read() as connection:
            return read_entries(connection, start, count, self.store.name)

    def leaf_of(self, signature: Digest) -> int:
        """The number of the entry of a signature value; UsageError where the log has none."""
        size = self.head().size
        for start in range(0, size, _SCAN):
            for at in find_signature(self.entries(start, _SCAN), signature):
                return start + at
        raise UsageError(str(signature), "no entry of this log is of that signature", "Ask for the log of its signer.")

    def proof(self, leaf: int) -> bytes:
        """A `.tlog-proof` of an entry: under the newest cosigned checkpoint if it covers it, else under the newest one."""
        with self._tree() as (connection, tree):
            head = _needed(read_head(connection, self.store.name), self.store.name)
            note, checkpoint = head.note, head.checkpoint
            cosigned = connection.execute(select(COSIGNED.c.note)).scalar()
            if cosigned is not None and (seen := read_checkpoint(cosigned, "the cosigned checkpoint")).size > leaf:
                note, checkpoint = cosigned, seen
            if not 0 <= leaf < checkpoint.size:
                raise UsageError(f"entry {leaf}", f"the log has {checkpoint.size}", "Numbers begin with 0.")
            (entry,) = read_entries(connection, leaf, 1, self.store.name)
            path = _made(self.store.name, lambda: inclusion_path(tree, leaf, checkpoint.size))
        if root_of(leaf_hash(entry), leaf, checkpoint.size, path) != checkpoint.root:
            raise LogRefused(f"entry {leaf}", "it does not lead to the log's checkpoint: it was changed", EVIDENCE)
        return proof_text(entry, leaf, path, note).encode()

    def consistency(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """The proof that the tree of `size` continues that of `old_size`."""
        with self._tree() as (_, tree):
            return _made(self.store.name, lambda: consistency_path(tree, old_size, size))

    def root(self, size: int) -> bytes:
        """The root when the log had this size."""
        with self._tree() as (_, tree):
            return _made(self.store.name, lambda: tree.root(0, size))

    def edge(self, size: int) -> Edge:
        """The right edge when the log had this size."""
        with self._tree() as (_, tree):
            return _made(self.store.name, lambda: tree.edge(size))

    def nodes(self, level: int, start: int, count: int) -> list[bytes]:
        """Hashes of a tile's level, from 1 on; LogRefused where one is missing."""
        with self.store.read() as connection:
            found = _nodes(connection, level, start, count, self.store.name)
        if len(found) != count:
            raise LogRefused(self.store.name, f"hashes of level {level} are missing", EVIDENCE)
        return found

    def tile(self, level: int, number: int) -> Sequence[bytes]:
        """The hashes of a tile, as many as there are."""
        kept = self._full.get((level, number))
        if kept is not None:
            return kept
        with self.store.read() as connection:
            return self._kept(_tiles(connection, self.store.name), level, number)

    @contextmanager
    def _tree(self) -> Iterator[tuple[Connection, TiledTree]]:
        """A reading transaction, with the tree over it."""
        with self.store.read() as connection:
            tile = _tiles(connection, self.store.name)
            yield connection, TiledTree(lambda level, number: self._kept(tile, level, number))

    def _kept(self, tile: Tile, level: int, number: int) -> Sequence[bytes]:
        found = self._full.get((level, number))
        if found is None:
            found = tile(level, number)
            if len(found) == WIDTH:
                if len(self._full) >= _KEPT:
                    self._full = {}
                self._full[level, number] = found
        return found


def _needed(head: Head | None, name: str) -> Head:
    if head is None:
        raise LogRefused(name, "there is no log in it", "Start the service that writes it.")
    return head


def read_head(connection: Connection, name: str) -> Head | None:
    """The head row; None where there is none. LogRefused where its right edge is none."""
    row = connection.execute(select(HEAD.c.origin, HEAD.c.size, HEAD.c.edge, HEAD.c.note)).one_or_none()
    return None if row is None else head_of(row, name)


def check_head(head: Head, key: VerifierKey, name: str) -> None:
    """LogRefused unless the log's key has signed the checkpoint, and it is of the right edge that stands beside it."""
    checkpoint = head.checkpoint
    try:
        check_checkpoint(checkpoint, [key], [], name)
    except SealwrightError as cause:
        raise LogRefused(name, f"its checkpoint is not this log's: {cause.what}", EVIDENCE) from cause
    if (checkpoint.size, checkpoint.root) != (head.size, head.edge.root):
        raise LogRefused(name, "its right edge is not that of its checkpoint", EVIDENCE)


def head_of(row: Row[str, int, bytes, str], name: str) -> Head:
    """A head row as a value; LogRefused where its right edge is none."""
    try:
        return Head(row.origin, Edge.parse(row.size, row.edge), row.note)
    except ValueError as cause:
        raise LogRefused(name, f"its head is damaged: {cause}", EVIDENCE) from cause


def read_entries(connection: Connection, start: int, count: int, name: str) -> list[bytes]:
    """Entries in order; LogRefused where a number is missing between them or at their beginning."""
    rows = connection.execute(
        select(ENTRIES.c.number, ENTRIES.c.entry)
        .where(ENTRIES.c.number.between(start, start + count - 1))
        .order_by(ENTRIES.c.number)
    ).all()
    for at, row in enumerate(rows, start):
        if row.number != at:
            raise LogRefused(name, f"entry {at} is missing", EVIDENCE)
    return [bytes(row.entry) for row in rows]


def tree_of(connection: Connection, name: str) -> TiledTree:
    """The tree over the database as it is now, within a transaction."""
    return TiledTree(_tiles(connection, name))


def _tiles(connection: Connection, name: str) -> Tile:

    def tile(level: int, number: int) -> Sequence[bytes]:
        if level == 0:
            return [leaf_hash(entry) for entry in read_entries(connection, number * WIDTH, WIDTH, name)]
        return _nodes(connection, level, number * WIDTH, WIDTH, name)

    return tile


def _nodes(connection: Connection, level: int, start: int, count: int, name: str) -> list[bytes]:
    rows = connection.execute(
        select(NODES.c.number, NODES.c.hash)
        .where(NODES.c.level == level, NODES.c.number.between(start, start + count - 1))
        .order_by(NODES.c.number)
    ).all()
    if any(row.number != at for at, row in enumerate(rows, start)):
        raise LogRefused(name, f"hashes of level {level} have gaps", EVIDENCE)
    return [bytes(row.hash) for row in rows]


def _made(name: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except ValueError as cause:
        raise LogRefused(name, f"no proof can be made: {cause}", EVIDENCE) from cause
