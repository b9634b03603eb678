"""How far a log went, kept outside its database and its backups (A135): a file with the newest checkpoint.

A database that was restored from a backup is shorter than that, or continues in another way: the log is not opened. The file may
be behind the log by some seconds, never before it: it is written after the commit. The same bytes as the log's `checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable

from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import LogForked, LogRefused, LogRewound
from sealwright.log.checkpoint import Checkpoint, check_checkpoint, read_checkpoint

MAX_NOTE_BYTES = 64 * 1024
_RESTORE = "Restore the newest database. If it is lost, a new log must begin under another name."


def read_head_file(path: str, key: VerifierKey) -> Checkpoint | None:
    """The checkpoint that is remembered; None where the file is not there. Raises what `check_checkpoint` raises."""
    data = read_file_or_none(path, MAX_NOTE_BYTES)
    if data is None:
        return None
    try:
        remembered = read_checkpoint(data.decode(), path)
    except UnicodeDecodeError as cause:
        raise LogRefused(path, "it holds no checkpoint", "Name the file that remembers this log.") from cause
    check_checkpoint(remembered, [key], [], path)
    return remembered


def check_continues(remembered: Checkpoint, size: int, root_at: Callable[[int], bytes], subject: str) -> None:
    """LogRewound or LogForked where a log of this size is not the remembered one, or one that continues it."""
    if size < remembered.size:
        raise LogRewound(subject, f"it has {size} entries, and had {remembered.size} before", _RESTORE)
    if root_at(remembered.size) != remembered.root:
        raise LogForked(subject, f"its first {remembered.size} entries are not those that it had before", _RESTORE)


def write_head_file(path: str, note: str) -> None:
    """Remember a checkpoint, durable; OutputRefused where it cannot be written."""
    write_atomic(path, note.encode(), replace=Replace.YES)
