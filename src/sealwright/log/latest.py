"""The newest entry of a kind, proved to be the newest: what an index in the database could only claim (A130).

    found = newest(writer.reader, writer.key, is_policy)
    found.leaf, found.entry, found.size

1. The head is one that the log's key has signed, and its right edge is that of its checkpoint.
2. Entries are read from the end backwards, until one is of the kind.
3. From the right edge of before that entry the tree is grown again over every entry behind it. Where that leads to the root of the
   checkpoint, these are the log's entries, and none behind the one that was found is another than it was when it was signed: an
   entry that was edited so that it is no longer of the kind leads elsewhere.

What it costs grows with the entries behind the one that is found: whoever looks writes such an entry now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogRefused
from sealwright.log.merkle import leaf_hash
from sealwright.log.reader import EVIDENCE, LogReader, check_head
from sealwright.log.tree import Edge, Growing

_LOOK = 4096


class Newest(NamedTuple):
    """What was found. leaf, entry: None and b"" where the log has none of the kind; size: of the log that was looked at."""

    leaf: int | None
    entry: bytes
    size: int


def newest(reader: LogReader, key: VerifierKey, wanted: Callable[[bytes], bool]) -> Newest:
    """The newest entry that is wanted. LogRefused where head, entries or tiles are not what the log's key has signed."""
    head, name = reader.head(), reader.store.name
    check_head(head, key, name)
    leaf, entry = None, b""
    behind: list[bytes] = []  # hashes of leaves, the last one first
    end = head.size
    while end and leaf is None:
        start = max(0, end - _LOOK)
        entries = reader.entries(start, end - start)
        if len(entries) != end - start:
            raise LogRefused(name, f"entry {start + len(entries)} is missing", EVIDENCE)
        for at in range(len(entries) - 1, -1, -1):
            behind.append(leaf_hash(entries[at]))
            if wanted(entries[at]):
                leaf, entry = start + at, entries[at]
                break
        end = start
    growing = Growing(reader.edge(leaf) if leaf else Edge(0, ()))
    for one in reversed(behind):
        growing.add(one)
    if growing.edge != head.edge:
        raise LogRefused(name, f"its entries from {leaf or 0} on are not those that its checkpoint signs", EVIDENCE)
    return Newest(leaf, entry, head.size)
