"""The folder of a service's backup: which files it has, as text that `sha256sum -c` checks, bound to the log's checkpoint.

    backup.txt         # sealwright service backup 1
                       #! kind sqlite                      or postgresql: what `database` is
                       #! service acme-signing
                       #! time 2026-11-26T09:00:00Z
                       5891b5b522d5df08…  database        and every other file below, in order
    checkpoint         the log's, of exactly the entries in `database`, with a line `sealwright-backup sha256:…` of backup.txt
    database, service.toml, people.toml, policies/…, policies.changes/…

Who has the log's public key can tell that the service itself made the folder, of which entries, and that no file in it is another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact, read_file
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import BackupRefused, SealwrightError
from sealwright.log.canonical import read_time, time_text
from sealwright.log.checkpoint import Checkpoint, check_checkpoint, read_checkpoint
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.note import BACKUP

FIRST_LINE = "# sealwright service backup 1"
MANIFEST, CHECKPOINT, DATABASE = "backup.txt", "checkpoint", "database"
CONFIGURATION, PEOPLE, POLICIES, CHANGES = "service.toml", "people.toml", "policies", "policies.changes"
MAX_MANIFEST_BYTES = 1 << 20
SQLITE, POSTGRESQL = "sqlite", "postgresql"
_KINDS = (SQLITE, POSTGRESQL)
_NAME = re.compile(rf"{DATABASE}|{CONFIGURATION}|{PEOPLE}|(?:{POLICIES}|{CHANGES})/[^\x00-\x1f\x7f/\\]{{1,200}}")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_ANOTHER = "Use another backup, and keep this one as evidence."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup. kind: of the database; files: by their names below the folder."""

    kind: str
    service: str
    time: datetime
    files: Mapping[str, Digest]

    def encoded(self) -> bytes:
        """The text of `backup.txt`."""
        lines = [FIRST_LINE, f"#! kind {self.kind}", f"#! service {self.service}", f"#! time {time_text(self.time)}"]
        lines += [f"{digest.value.hex()}  {name}" for name, digest in sorted(self.files.items())]
        return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True, slots=True)
class ReadBackup:
    """A folder whose files are all those of its manifest, which its checkpoint names. note: the checkpoint as it stands."""

    folder: str
    manifest: Manifest
    checkpoint: Checkpoint
    note: str


def digest_of(path: str) -> Digest:
    """SHA-256 of a whole file; Unreadable."""
    with open_artifact(path) as source:
        return source.digests([HashName.SHA256])[HashName.SHA256]


def read_backup(folder: str, key: VerifierKey) -> ReadBackup:
    """Read and check everything but what is in the database; BackupRefused naming the file that is not as it was made."""
    data = read_file(os.path.join(folder, MANIFEST), MAX_MANIFEST_BYTES)
    note = read_file(os.path.join(folder, CHECKPOINT), MAX_NOTE_BYTES).decode("utf-8", "replace")
    try:
        checkpoint = read_checkpoint(note, CHECKPOINT)
        check_checkpoint(checkpoint, [key], [], CHECKPOINT)
    except SealwrightError as cause:
        raise BackupRefused(
            folder, f"its checkpoint is not one of the log {key.name}: {cause.what}", _ANOTHER
        ) from cause
    if checkpoint.text.decode().split("\n")[3:-1] != [f"{BACKUP} {Digest.of(data)}"]:
        raise BackupRefused(folder, f"its checkpoint is not of this {MANIFEST}", _ANOTHER)
    manifest = _parse(data, folder)
    found = {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}
    if odd := found ^ {*manifest.files, MANIFEST, CHECKPOINT}:
        raise BackupRefused(folder, f"{min(odd)} is missing, or was added", _ANOTHER)
    for name, digest in sorted(manifest.files.items()):
        if digest_of(os.path.join(folder, name)) != digest:
            raise BackupRefused(folder, f"{name} was changed", _ANOTHER)
    return ReadBackup(folder, manifest, checkpoint, note)


def _parse(data: bytes, folder: str) -> Manifest:
    """The other way of `encoded`, and of nothing else."""
    try:
        lines = data.decode().split("\n")
        said = dict(zip(("kind", "service", "time"), (line.split(" ", 2)[2] for line in lines[1:4]), strict=True))
        pairs = [_LINE.fullmatch(line) for line in lines[4:-1]]
        files = {
            one[2]: Digest.parse(f"sha256:{one[1]}") for one in pairs if one is not None and _NAME.fullmatch(one[2])
        }
        made = Manifest(said["kind"], said["service"], read_time(said["time"]), files)
    except (ValueError, IndexError) as cause:
        raise BackupRefused(folder, f"{MANIFEST} is none that this version reads", _ANOTHER) from cause
    if made.encoded() != data or made.kind not in _KINDS or DATABASE not in files:
        raise BackupRefused(folder, f"{MANIFEST} is none that this version reads", _ANOTHER)
    return made
