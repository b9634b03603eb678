"""Whether a backup has every approved change of policies that the log speaks of: without it nobody can show who let weaker rules count.

missing_changes(reader, size, "backup/policies.changes")        the editions whose change is not there
"""

from __future__ import annotations

import os

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file
from sealwright.errors import LogRefused
from sealwright.log.entries import PolicyChange, read_any
from sealwright.log.reader import LogReader
from sealwright.signing.policychange import CHANGE, MAX_CHANGE_BYTES

_PAGE = 4096
_NEEDLE = b'"type":"policy"'  # no text in canonical JSON has these octets


def missing_changes(reader: LogReader, size: int, folder: str) -> tuple[int, ...]:
    """In order. size: of the log that is looked at; LogRefused for an entry that cannot be read."""
    kept = {Digest.of(read_file(path, MAX_CHANGE_BYTES)) for path in _changes(folder)}
    found: list[int] = []
    for start in range(0, size, _PAGE):
        for at, entry in enumerate(reader.entries(start, min(_PAGE, size - start)), start):
            if _NEEDLE in entry:
                change = _read(entry, at)
                if change.change is not None and change.change not in kept:
                    found.append(change.edition)
    return tuple(sorted(set(found)))


def _changes(folder: str) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name.endswith(CHANGE)]


def _read(entry: bytes, number: int) -> PolicyChange:
    try:
        found = read_any(entry)
    except ValueError as cause:
        raise LogRefused(f"entry {number}", f"it cannot be read: {cause}", "Use the version that wrote it.") from cause
    if not isinstance(found, PolicyChange):
        raise LogRefused(f"entry {number}", "it is about no policies", "Keep the database as evidence.")
    return found
