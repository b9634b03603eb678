"""Signatures that a log has and has not published yet: not an alarm for `GRACE`, if the log's own signed checkpoint says so.

    awaited = Awaited("monitor.state.awaited", now)
    awaited.promise(wanted, logs, published)      the size of the log that has it; None where nothing says so
    awaited.overdue(wanted)                       whether it was promised too long ago
    awaited.keep()

Where witnesses are asked, what a log publishes is what they have seen, and a file that was signed a second ago carries a proof under a newer checkpoint,
which the log alone has signed. Such a proof counts here if

1. it is of an entry of this very signature,
2. that stands at or beyond the end of what is published, where nobody can look yet, and
3. a key of this log has signed the checkpoint that it leads to.
When it was first seen is remembered: whoever holds the log's key as well can promise anything, and cannot have it published. When the log is
published so far, it is looked for as any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogRefused, SealwrightError
from sealwright.log.canonical import read_time, time_text
from sealwright.log.entries import outline
from sealwright.log.proof import MAX_PROOF_BYTES, check_proof, read_proof

GRACE = timedelta(minutes=15)
FIRST_LINE = "# sealwright log awaited 1"
MAX_BYTES = 16 * 1024 * 1024
_DAMAGED = "Remove it: what is not published then is awaited anew."


class Awaited:
    """What one monitor awaits. path: the file in which it is remembered; now: aware."""

    def __init__(self, path: str, now: datetime) -> None:
        self._path = path
        self._now = now
        self._since = _read(path)
        self._seen: dict[str, datetime] = {}

    def promise(self, signature: str, proofs: Iterable[str], logs: Iterable[VerifierKey], published: int) -> int | None:
        """How large the log was that has this signature beyond what is published. proofs: the files that may say so."""
        keys = tuple(logs)
        sizes = (_promised(path, signature, keys, published) for path in proofs)
        return next((size for size in sizes if size is not None), None)

    def overdue(self, signature: str) -> bool:
        """Whether it has been awaited for too long; else it is remembered since when it is."""
        since = self._since.get(signature, self._now)
        self._seen[signature] = min(since, self._now)  # a clock that was ahead lengthens nothing
        return self._now - since >= GRACE

    def keep(self) -> None:
        """Remember what is awaited now, durable, and forget the rest; OutputRefused."""
        if not self._seen and not self._since:
            return
        lines = "".join(f"{time_text(since)} {signature}\n" for signature, since in sorted(self._seen.items()))
        write_atomic(self._path, f"{FIRST_LINE}\n{lines}".encode(), replace=Replace.YES)


def _promised(path: str, signature: str, logs: tuple[VerifierKey, ...], published: int) -> int | None:
    """Steps 1 to 3. A file that is no such proof says nothing."""
    try:
        data = read_file_or_none(path, MAX_PROOF_BYTES)
        if data is None:
            return None
        proof = read_proof(data, path)
        if proof.leaf < published or outline(proof.entry).signature != signature:
            return None
        check_proof(proof, proof.entry, logs, (), path)
    except (SealwrightError, ValueError):
        return None
    return proof.checkpoint.size


def _read(path: str) -> dict[str, datetime]:
    data = read_file_or_none(path, MAX_BYTES)
    if data is None:
        return {}
    found: dict[str, datetime] = {}
    try:
        first, *lines = data.decode().splitlines()
        if first != FIRST_LINE:
            raise ValueError("it is another file")
        for line in lines:
            since, signature = line.split(" ")
            found[signature] = read_time(since)
    except ValueError as cause:
        raise LogRefused(path, f"it cannot be used: {cause}"[:160], _DAMAGED) from cause
    return found
