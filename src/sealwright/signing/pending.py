"""Signatures that still want a timestamp: one small file each in HOME/pending/, named by the digest of the signature value.

A pending signature is written here, and is durable, before the signature itself gets its name; it is taken away after its
`.tsr` is durable. So a crash at any instruction leaves either both or an entry too many, which the next `stamp` settles:
| killed | what is there | what `stamp` does |
|---|---|---|
| before the entry is durable | no entry, no signature | nothing |
| after the entry, before the signature | an entry without a signature | says that the signature is not there; `--forget` |
| after the token, before the `.tsr` | entry and signature | asks again |
| after the `.tsr`, before the entry is taken away | all three | sees the token, takes the entry away, asks nobody |
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import sync_folder
from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.artifact.source import read_file
from sealwright.errors import JournalError, OutputRefused
from sealwright.log.canonical import Field, canonical_json, read_canonical, time_text

FOLDER = "pending"
LOCK = ".lock"
MAX_BYTES = 64 * 1024
_NAME = re.compile(r"[0-9a-f]{64}\.json\Z")
_FIELDS = {"target", "file", "artifact", "signature", "end", "since", "missing"}


@dataclass(frozen=True, slots=True)
class Pending:
    """One signature without the timestamps it should have.

    target: absolute path that `.tsr` is put behind; file: absolute path of the file the signature is in; artifact: digest as
    the journal names it; signature: SHA-256 of the signature value; end: of the signer's certificate; missing: how many tokens.
    """

    target: str
    file: str
    artifact: Digest
    signature: Digest
    end: datetime
    since: datetime
    missing: int = 1

    @property
    def name(self) -> str:
        """The file's name in HOME/pending/."""
        return f"{self.signature.value.hex()}.json"


def entry_of(one: Pending) -> dict[str, Field]:
    """What the journal says of it."""
    return {"signature": str(one.signature), "artifact": str(one.artifact), "missing": one.missing}


def add_pending(home: str, items: Sequence[Pending]) -> None:
    """Make them durable, with one sync; OutputRefused if they may not be."""
    if not items:
        return
    folder = os.path.join(home, FOLDER)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        sync_folder(home)
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", "Check the home's folder.") from cause
    write_batch([Output(os.path.join(folder, one.name), _text(one)) for one in items], replace=Replace.YES)


def read_pending(home: str) -> Iterator[Pending]:
    """Every pending signature, the one whose certificate ends first leading; JournalError naming what is damaged."""
    folder = os.path.join(home, FOLDER)
    try:
        names = sorted(name for name in os.listdir(folder) if _NAME.match(name))
    except FileNotFoundError:
        return
    except OSError as cause:
        raise JournalError(folder, f"it cannot be read ({cause.strerror})", "Check who may read it.") from cause
    found = []
    for name in names:
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            continue  # stamped meanwhile
        found.append(_read(read_file(path, MAX_BYTES), path))
    yield from sorted(found, key=lambda one: (one.end, one.since, one.target))


def take_away(home: str, items: Sequence[Pending]) -> None:
    """They are pending no longer. Taking one away twice is fine."""
    if not items:
        return
    folder = os.path.join(home, FOLDER)
    try:
        for one in items:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, one.name))
        sync_folder(folder)
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be changed ({cause.strerror})", "Check who may write there.") from cause


def overdue(one: Pending, now: datetime, within: timedelta) -> bool:
    """Whether it waits longer than it may, or its certificate ends before it would have waited so long again."""
    return now - one.since > within or one.end - now < within


@contextmanager
def one_at_a_time(home: str) -> Iterator[None]:
    """No two `stamp` of one home ask for the same signatures; the second is told so, and waits for nothing."""
    folder = os.path.join(home, FOLDER)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be opened ({cause.strerror})", "Check the home's folder.") from cause
    try:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as cause:
                raise JournalError(folder, "another `stamp` is at work with this home", "Wait for it.") from cause
        yield
    finally:
        os.close(lock)


def _text(one: Pending) -> bytes:
    return canonical_json(
        {
            "target": _written(one.target),
            "file": _written(one.file),
            "artifact": str(one.artifact),
            "signature": str(one.signature),
            "end": time_text(one.end),
            "since": time_text(one.since),
            "missing": one.missing,
        }
    )


def _read(data: bytes, path: str) -> Pending:
    try:
        fields = read_canonical(data)
        if set(fields) != _FIELDS or not isinstance(fields["missing"], int):
            raise ValueError("its fields are others")
        return Pending(
            target=_path(fields["target"]),
            file=_path(fields["file"]),
            artifact=Digest.parse(str(fields["artifact"])),
            signature=Digest.parse(str(fields["signature"])),
            end=datetime.fromisoformat(str(fields["end"])),
            since=datetime.fromisoformat(str(fields["since"])),
            missing=fields["missing"],
        )
    except ValueError as cause:
        raise JournalError(
            path, f"it is damaged ({cause})"[:160], "Keep it as evidence, move it away, and stamp the file by its name."
        ) from cause


def _written(path: str) -> str:
    """A path as JSON can hold it, whatever its bytes are: those that are not plain are %XX."""
    return quote(os.fsencode(path), safe="/ ")


def _path(field: Field) -> str:
    path = os.fsdecode(unquote_to_bytes(str(field)))
    if not os.path.isabs(path) or "\0" in path:
        raise ValueError("its path is not absolute")
    return path
