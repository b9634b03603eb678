"""A log written to a folder in the layout of tlog-tiles, which anybody can check without us, and as rows for spreadsheets.

    export_log(LogReader(store), "export")         checkpoint, tile/…, tile/entries/…

The entries are hashed again while they are written, and the checkpoint gets its name last, when they lead to its root: a folder with a
checkpoint is whole. A folder that has an earlier export gets what is new. The rows have the hash of each leaf, by which a row is
found in the tiles; in the cells nothing is a formula (A142).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from sealwright.artifact.cells import cell, row_of
from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.artifact.progress import Progress
from sealwright.errors import LogForked, LogRefused, LogRewound, OutputRefused
from sealwright.log.canonical import Field, read_canonical
from sealwright.log.checkpoint import read_checkpoint
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.merkle import leaf_hash
from sealwright.log.reader import LogReader
from sealwright.log.source import FolderSource
from sealwright.log.tiles import CHECKPOINT, ENTRIES, TileName, encode_bundle, tiles_of, width_in
from sealwright.log.tree import WIDTH, Edge, Growing

BATCH = 512  # files of one sync
_EVIDENCE = "Keep both as evidence, and tell who is responsible for security."
COLUMNS = (
    "number",
    "leaf",
    "type",
    "time",
    "request",
    "format",
    "kind",
    "artifact",
    "file",
    "signature",
    "key",
    "certificate",
    "construction",
    "policy",
    "product",
    "version",
    "generation",
    "hardware",
    "environment",
    "asked",
    "prepared",
    "count",
    "expires",
    "claimed",
    "build",
    "scheme",
    "approval",
    "approvals",
    "prepares",
    "item",
    "result",
    "stage",
    "code",
    "rules",
    "attempt",
    "signed",
    "until",
    "outcome",
    "of",
    "per",
    "above",
    "since",
    "event",
    "algorithm",
    "purpose",
    "provenance",
    "reason",
    "previous",
    "edition",
    "change",
    "replica",
    "size",
    "unfinished",
    "private",
)


@dataclass(frozen=True, slots=True)
class Exported:
    """since: how many entries the folder had before; size: how many it has."""

    since: int
    size: int


def export_log(log: LogReader, folder: str, progress: Progress | None = None) -> Exported:
    """Write a log, or what is new of it, to a folder.

    Raises LogRefused for a log that does not lead to its checkpoint, LogRewound or LogForked where the folder has a later or another
    history, OutputRefused where it cannot be written.
    """
    cosigned, head = log.cosigned(), log.head()
    note = head.note
    if cosigned is not None and read_checkpoint(cosigned, log.store.name).size == head.size:
        note = cosigned
    growing = Growing(_continued(log, folder, head.size))
    since, pending = growing.size, list[Output]()
    _make_folders(folder)
    for number in range(since // WIDTH, -(-head.size // WIDTH)):
        width = width_in(head.size, 0, number)
        entries = log.entries(number * WIDTH, width)
        if len(entries) != width:
            raise LogRefused(log.store.name, f"entries behind {number * WIDTH + len(entries)} are missing", _EVIDENCE)
        hashes = [leaf_hash(entry) for entry in entries]
        for leaf in hashes[growing.size - number * WIDTH :]:
            growing.add(leaf)
        pending.append(_output(folder, TileName(None, number, width), encode_bundle(entries)))
        pending.append(_output(folder, TileName(0, number, width), b"".join(hashes)))
        _flush(pending, BATCH)
        if progress is not None:
            progress.advance(width)
    if growing.edge.root != head.edge.root:
        raise LogRefused(log.store.name, "its entries do not lead to its checkpoint", _EVIDENCE)
    for name in tiles_of(head.size, since):
        if name.level:
            hashes = log.nodes(name.level, name.number * WIDTH, name.width)
            pending.append(_output(folder, name, b"".join(hashes)))
            _flush(pending, BATCH)
    _flush(pending, 1)
    write_batch([Output(os.path.join(folder, CHECKPOINT), note.encode())], replace=Replace.YES)
    return Exported(since, head.size)


def heading() -> bytes:
    """The first line of the rows."""
    return row_of(COLUMNS)


def rows(start: int, entries: list[bytes]) -> Iterator[bytes]:
    """A line for each entry; of one that cannot be read, number and hash alone."""
    for number, entry in enumerate(entries, start):
        try:
            fields = read_canonical(entry)
        except ValueError:
            fields = {}
        shown = [_shown(fields.get(name)) for name in COLUMNS[2:]]
        yield row_of([str(number), leaf_hash(entry).hex(), *map(cell, shown)])


def _shown(value: Field | None) -> str:
    return "" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)


def _continued(log: LogReader, folder: str, size: int) -> Edge:
    """The right edge of what the folder has already, as the log has it."""
    data = FolderSource(folder).read(CHECKPOINT, MAX_NOTE_BYTES)
    if data is None:
        return Edge(0, ())
    old = read_checkpoint(data.decode("utf-8", "replace"), folder)
    if old.size > size:
        raise LogRewound(log.store.name, f"it has {size} entries, and the export {old.size}", _EVIDENCE)
    edge = log.edge(old.size)
    if edge.root != old.root:
        raise LogForked(log.store.name, f"its first {old.size} entries are not those of the export", _EVIDENCE)
    return edge


def _output(folder: str, name: TileName, data: bytes) -> Output:
    path = os.path.join(folder, *name.path.split("/"))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as cause:
        raise OutputRefused(path, f"its folder cannot be made ({cause.strerror})", "Name another folder.") from cause
    return Output(path, data)


def _make_folders(folder: str) -> None:
    try:
        os.makedirs(os.path.join(folder, "tile", ENTRIES), exist_ok=True)
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", "Name another folder.") from cause


def _flush(pending: list[Output], at_least: int) -> None:
    if len(pending) >= at_least:
        write_batch(pending, replace=Replace.YES)
        pending.clear()
