"""A backup of a signing service while it serves, and its way back (docs/operating.md).

    make_backup(configuration, "backup-2026-11-26", now)
    restored = restore(configuration, "backup-2026-11-26")

1. The database is copied as it is at one moment (`copies.py`), and every entry in it is hashed again before the backup gets its
   name: what cannot be restored is no backup. A crash leaves a temporary folder, and never a backup.
2. The log's own key signs what was copied (`backupfolder.py`), so that nobody else makes a backup of this service, or changes one.
3. Nothing is restored that is not whole: every file, every entry up to the checkpoint, every row of requests, approvals and signatures.
4. Nothing is restored that is older than what `head` remembers outside (A135), or has another beginning. Without a head, who restores
   hears that nobody here knows how far the log went.
5. Keys are not in it: they are in their token, and the home has its own backup. Nor is from when the uses of CI tokens are known: after
   a restore it is from then on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import new_folder
from sealwright.artifact.output import write_atomic
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import read_file
from sealwright.envelope.kinds import CHECKPOINT as CHECKPOINT_KIND
from sealwright.envelope.verifierkey import NoteType, VerifierKey
from sealwright.errors import BackupRefused, LogRefused
from sealwright.keys.backends import open_key
from sealwright.keys.pin import placed_pin
from sealwright.log.headfile import check_continues, read_head_file, write_head_file
from sealwright.log.note import KeySigner, sign_backup, verifier_key
from sealwright.log.reader import Head, LogReader, read_head, tree_of
from sealwright.log.whole import check_whole
from sealwright.service.backupchanges import missing_changes
from sealwright.service.backupfolder import (
    CHANGES,
    CHECKPOINT,
    CONFIGURATION,
    DATABASE,
    MANIFEST,
    PEOPLE,
    POLICIES,
    POSTGRESQL,
    SQLITE,
    Manifest,
    ReadBackup,
    digest_of,
    read_backup,
)
from sealwright.service.config import Configuration
from sealwright.service.copies import copy_database, load_copy
from sealwright.service.tables import TOKEN_FLOOR
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.rowcheck import odd_rows
from sealwright.store.engine import Store, open_current

MAX_FILE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class BackedUp:
    """size: of the log in it; files: how many there are; missing: editions of policies that changes let count which are not in it."""

    size: int
    files: int
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, or would. remembered: how far the log went by the head outside, None where there is none.

    others: files of the configuration that are not there, or others than in the backup.
    """

    backup: ReadBackup
    remembered: int | None
    others: tuple[str, ...]


def make_backup(configuration: Configuration, folder: str, now: datetime, progress: Progress | None = None) -> BackedUp:
    """Write a new folder; what `new_folder` and `copy_database` raise, LogRefused for a log that is not in order, KeyUnavailable."""
    store = open_current(configuration.database)
    try:
        with _log_signer(configuration) as signer, new_folder(folder) as making:
            head = _copied(store, os.path.join(making, DATABASE), signer.key)
            if check_whole(LogReader(store), signer.key, progress).size < head.size:
                raise LogRefused(store.name, "it became shorter meanwhile", "Keep it as evidence.")
            for odd in odd_rows(store):
                raise LogRefused(store.name, odd, "Keep the database as evidence: somebody has written into it.")
            for name, data in _configured(configuration).items():
                os.makedirs(os.path.dirname(os.path.join(making, name)), exist_ok=True)
                write_atomic(os.path.join(making, name), data, mode=0o600)
            missing = missing_changes(LogReader(store), head.size, os.path.join(making, CHANGES))
            files = {
                os.path.relpath(os.path.join(at, name), making): digest_of(os.path.join(at, name))
                for at, _, names in os.walk(making)
                for name in names
            }
            manifest = Manifest(SQLITE if store.is_sqlite else POSTGRESQL, configuration.id, now, files).encoded()
            note = sign_backup(head.size, head.edge.root, Digest.of(manifest), signer)
            write_atomic(os.path.join(making, MANIFEST), manifest, mode=0o600)
            write_atomic(os.path.join(making, CHECKPOINT), note.encode(), mode=0o600)
            read_backup(making, signer.key)
    finally:
        store.close()
    return BackedUp(head.size, len(files), missing)


def check_backup(configuration: Configuration, folder: str) -> Restored:
    """Everything that can be known without a database to restore it to; BackupRefused, LogRewound."""
    key = _log_key(configuration)
    backup = read_backup(folder, key)
    if backup.manifest.service != configuration.id:
        raise BackupRefused(
            folder, f"it is of the service {backup.manifest.service}", "Name the configuration of that one."
        )
    remembered = read_head_file(configuration.head, key) if configuration.head else None
    if remembered is not None and backup.checkpoint.size <= remembered.size:
        check_continues(remembered, backup.checkpoint.size, lambda _: backup.checkpoint.root, folder)
    return Restored(backup, None if remembered is None else remembered.size, _others(configuration, folder))


def restore(configuration: Configuration, folder: str, progress: Progress | None = None) -> Restored:
    """Make the configuration's database of a backup, whole or not at all; also StoreRefused where there is one already."""
    restored = check_backup(configuration, folder)
    backup, key = restored.backup, _log_key(configuration)
    kind = SQLITE if configuration.database.startswith("sqlite:") else POSTGRESQL
    if backup.manifest.kind != kind:
        raise BackupRefused(
            folder, f"its database is of {backup.manifest.kind}", f"Name one of that kind in {configuration.path}."
        )
    remembered = read_head_file(configuration.head, key) if configuration.head else None

    def check(store: Store) -> None:
        head = check_whole(LogReader(store), key, progress)
        if (head.size, head.edge.root) != (backup.checkpoint.size, backup.checkpoint.root):
            raise BackupRefused(folder, "the log in it is not that of its checkpoint", "Use another backup.")
        for odd in odd_rows(store):
            raise BackupRefused(
                folder, odd, "Keep it as evidence: somebody wrote into the database before it was backed up."
            )
        if remembered is not None:
            with store.read() as connection:
                tree = tree_of(connection, store.name)
                check_continues(remembered, head.size, lambda size: tree.root(0, size), folder)

    load_copy(os.path.join(folder, DATABASE), backup.manifest.files[DATABASE], configuration.database, check)
    if configuration.head and remembered is None:
        write_head_file(configuration.head, backup.note)
    return restored


def _copied(store: Store, path: str, key: VerifierKey) -> Head:
    """The head of the copy that was written."""

    def look(connection: Connection) -> Head:
        head = read_head(connection, store.name)
        if head is None or head.origin != key.name:
            raise LogRefused(store.name, f"it has no log {key.name}", "Name the database of this service.")
        return head

    return copy_database(store, path, look, emptied=(TOKEN_FLOOR,))


def _configured(configuration: Configuration) -> Mapping[str, bytes]:
    """The files that people wrote, by their names in a backup; those that are not there are left out."""
    found = {CONFIGURATION: configuration.path, PEOPLE: configuration.people}
    for folder, place in ((POLICIES, configuration.policies), (CHANGES, configuration.policy_changes)):
        if os.path.isdir(place):
            found |= {f"{folder}/{name}": os.path.join(place, name) for name in os.listdir(place)}
    return {name: read_file(path, MAX_FILE_BYTES) for name, path in found.items() if os.path.isfile(path)}


def _others(configuration: Configuration, folder: str) -> tuple[str, ...]:
    now = _configured(configuration)
    then = {
        os.path.relpath(os.path.join(at, name), folder): read_file(os.path.join(at, name), MAX_FILE_BYTES)
        for at, _, names in os.walk(folder)
        for name in names
        if name not in (DATABASE, MANIFEST, CHECKPOINT)
    }
    return tuple(sorted(name for name in {*now, *then} if now.get(name) != then.get(name)))


def _log_key(configuration: Configuration) -> VerifierKey:
    """The log's public key, of the home."""
    enrolled = open_home(configuration.home).key(configuration.log_key or None, KeyPurpose.LOG, CHECKPOINT_KIND)
    return verifier_key(configuration.origin, NoteType.LOG, enrolled.public_key)


@contextmanager
def _log_signer(configuration: Configuration) -> Iterator[KeySigner]:
    home = open_home(configuration.home)
    enrolled = home.key(configuration.log_key or None, KeyPurpose.LOG, CHECKPOINT_KIND)
    pin = placed_pin(configuration.log_pin_file) if configuration.log_pin_file else None
    opened = open_key(home.uri(enrolled), pin, algorithm=enrolled.algorithm, expected=enrolled.public_key)
    try:
        yield KeySigner(configuration.origin, NoteType.LOG, opened)
    finally:
        opened.close()
