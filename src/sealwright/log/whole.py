"""A log in a database, recomputed from its first entry to its last: what its start looks at the end of only (`writer.py`).

    head = check_whole(reader, key)

1. The head is signed by the log's key, and its right edge is the one that all entries lead to.
2. Every root of a full tile that the database keeps is that of its entries, and none is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealwright.artifact.progress import Progress
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogRefused
from sealwright.log.checkpoint import check_checkpoint
from sealwright.log.merkle import leaf_hash
from sealwright.log.reader import Head, LogReader
from sealwright.log.tree import WIDTH, Edge, Growing, Node

PAGE = 64 * WIDTH
_EVIDENCE = "Keep this database as evidence; use another copy of it."


def check_whole(reader: LogReader, key: VerifierKey, progress: Progress | None = None) -> Head:
    """The head of a log that is in order; LogRefused naming what is not, BadSignature for another log's."""
    head, name = reader.head(), reader.store.name
    check_checkpoint(head.checkpoint, [key], [], name)
    if (head.origin, head.checkpoint.size, head.checkpoint.root) != (key.name, head.size, head.edge.root):
        raise LogRefused(name, "its head is not what its checkpoint says", _EVIDENCE)
    growing = Growing(Edge(0, ()))
    while growing.size < head.size:
        entries = reader.entries(growing.size, min(PAGE, head.size - growing.size))
        if not entries:
            raise LogRefused(name, f"entry {growing.size} is missing", _EVIDENCE)
        hashes = [leaf_hash(entry) for entry in entries]
        for start in range(0, len(hashes), WIDTH):
            tile = hashes[start : start + WIDTH]
            if len(tile) == WIDTH:
                growing.add_tile(tile)
            else:
                for leaf in tile:
                    growing.add(leaf)
        _check_nodes(reader, growing.finished)
        growing.finished.clear()
        if progress is not None:
            progress.advance(len(entries))
    if growing.edge != head.edge:
        raise LogRefused(name, "its entries do not lead to its checkpoint: one was changed, or more", _EVIDENCE)
    return head


def _check_nodes(reader: LogReader, finished: Sequence[Node]) -> None:
    for level in sorted({node.level for node in finished}):
        own = [node for node in finished if node.level == level]
        if reader.nodes(level, own[0].number, len(own)) != [node.hash for node in own]:
            raise LogRefused(reader.store.name, f"its tiles of level {level} are not those of its entries", _EVIDENCE)
