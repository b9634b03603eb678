"""Publishing: what is staged and signed becomes what clients get, whole or not at all.

1. What is staged can be published (`readiness.py`).
2. The new snapshot names each role's version, length and digest; the new timestamp names the snapshot. Online keys sign both.
3. Files are added first, then roles, the root as the last of them; the timestamp is exchanged at the end. What was published is kept
   here before that, so that after a crash the next publication sees how far it came.
4. Where each release goes is recorded in the home's journal before clients can see it (`sending.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import cast

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Timestamp
from tuf.api.serialization import DeserializationError

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.folders import alone_in
from sealwright.errors import MalformedRepository, ReleaseRefused
from sealwright.release import roles
from sealwright.release.readiness import Planned, plan
from sealwright.release.rolekeys import Payload, PublishingKeys
from sealwright.release.sending import record_sent, sent_by
from sealwright.release.staging import POINTER as KEPT_POINTER
from sealwright.release.staging import RoleFile, Staging, check_root
from sealwright.release.storage import MAX_METADATA_BYTES, METADATA, POINTER, TARGETS, Added, Storage, other_pointer

_ROOT = ".root.json"
_HALF = 2  # of its term a snapshot may be old before a refresh makes a new one


class Foreign(Enum):
    """What happens to a timestamp that was not published from here: REFUSE, or REPLACE, after a theft or a loss there."""

    REFUSE = auto()
    REPLACE = auto()


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published. snapshot, timestamp: their versions; expires: when the timestamp ends."""

    place: str
    roles: tuple[str, ...]
    targets: tuple[TargetFile, ...]
    total_bytes: int
    snapshot: int
    timestamp: int
    expires: datetime


def publish(staging: Staging, signers: PublishingKeys, now: datetime, foreign: Foreign = Foreign.REFUSE) -> Publication:
    """Points 1 to 4. Raises ReleaseRefused, RepositoryUnavailable, and what signing raises; nothing has changed then for clients,
    or all of it. foreign: what happens where the place has another timestamp than was published from here last."""
    with alone_in(staging.folder):
        storage = staging.storage
        before = _pointer(staging, storage, foreign)
        return _published(staging, storage, before, plan(staging, now), signers, now, foreign)


def refresh(staging: Staging, signers: PublishingKeys, now: datetime) -> Publication:
    """A new timestamp for what is published, and a new snapshot where that one is old; what is staged stays so. Raises as `publish`."""
    with alone_in(staging.folder):
        storage = staging.storage
        before = _pointer(staging, storage, Foreign.REFUSE)
        if staging.published is None:
            raise ReleaseRefused(
                staging.folder, "nothing was published yet", "Publish it: `sealwright release publish`."
            )
        return _published(staging, storage, before, Planned({}, ()), signers, now, Foreign.REFUSE)


def _pointer(staging: Staging, storage: Storage, foreign: Foreign) -> bytes | None:
    before = storage.read(POINTER, MAX_METADATA_BYTES)
    if before != staging.kept(KEPT_POINTER) and foreign is Foreign.REFUSE:
        _finish(staging, storage, before)
    staging.drop_published()
    return before


def _published(
    staging: Staging,
    storage: Storage,
    before: bytes | None,
    planned: Planned,
    signers: PublishingKeys,
    now: datetime,
    foreign: Foreign,
) -> Publication:
    """Points 2 to 4."""
    published = staging.published
    root = (
        planned.staged[roles.ROOT].signed
        if roles.ROOT in planned.staged or published is None
        else published.root.signed
    )
    files = {
        f"{one.signed.version}.{name}.json": _kept_or_new(staging, name, one) for name, one in planned.staged.items()
    }
    snapshot, data = _snapshot(staging, planned, files, root, signers, now)
    name = f"{snapshot.version}.{roles.SNAPSHOT}.json"
    if data is not None:
        files[name] = data
    timestamp = Timestamp(
        version=published.timestamp.signed.version + 1 if published else 1,
        expires=staging.settings.terms.expiry(roles.TIMESTAMP, now),
        snapshot_meta=_meta(snapshot.version, data or cast("bytes", staging.kept(name))),
    )
    pointer = _signed_online(root, timestamp, signers)
    sent = sent_by(staging, planned.targets)
    if foreign is Foreign.REPLACE:
        storage.add(_all_kept(staging))
    storage.add([_target(staging, one) for one in planned.targets])
    staging.keep(files)
    storage.add([_role(staging, name, data) for name, data in files.items() if not name.endswith(_ROOT)])
    # last of all, and again where it is there: a publication that was killed may have kept it and not added it
    storage.add([_role(staging, name, staging.kept(name) or b"") for name in (f"{root.version}{_ROOT}",)])
    signers.close()  # whose journal has one writer
    record_sent(signers.home, storage.place, sent, now)
    storage.exchange(before, pointer)
    staging.settle(pointer)
    return Publication(
        storage.place,
        tuple(planned.staged),
        planned.targets,
        planned.total_bytes,
        snapshot.version,
        timestamp.version,
        timestamp.expires,
    )


def _snapshot(
    staging: Staging,
    planned: Planned,
    files: Mapping[str, bytes],
    root: Root,
    signers: PublishingKeys,
    now: datetime,
) -> tuple[Snapshot, bytes | None]:
    """The snapshot to point to, and its bytes where it is a new one."""
    published, terms = staging.published, staging.settings.terms
    meta = dict(published.snapshot.signed.meta) if published else {}
    for name, one in planned.staged.items():
        if name != roles.ROOT:
            meta[f"{name}.json"] = _meta(one.signed.version, files[f"{one.signed.version}.{name}.json"])
    if published and meta == published.snapshot.signed.meta:
        current = published.snapshot
        verified = root.get_verification_result(roles.SNAPSHOT, current.signed_bytes, current.signatures)
        if verified and current.signed.expires - now > terms.snapshot / _HALF:
            return current.signed, None
    version = published.snapshot.signed.version + 1 if published else 1
    while staging.kept(f"{version}.{roles.SNAPSHOT}.json") is not None:
        version += 1
    snapshot = Snapshot(version=version, expires=terms.expiry(roles.SNAPSHOT, now), meta=meta)
    return snapshot, _signed_online(root, snapshot, signers)


def _signed_online(root: Root, signed: Snapshot | Timestamp, signers: PublishingKeys) -> bytes:
    """Point 2; ReleaseRefused where the home has not the keys."""
    role = root.get_delegated_role(signed.type)
    mine = [key for key in role.keyids if key in signers.ids][: role.threshold]
    if len(mine) < role.threshold:
        raise ReleaseRefused(
            f"role {signed.type}",
            f"{role.threshold} of its keys must sign it, and this home has {len(mine)}",
            "Publish with the home that has the online keys.",
        )
    made: RoleFile = Metadata(signed)
    for key in mine:
        (made.signatures[key],) = signers.sign(key, [Payload(signed.type, signed.version, made.signed_bytes)])
    root.verify_delegate(signed.type, made.signed_bytes, made.signatures)
    return made.to_bytes()


def _finish(staging: Staging, storage: Storage, pointer: bytes | None) -> None:
    """A publication from here that came to its end, and was killed before it was noted; anything else is somebody else's."""
    if pointer is None:
        raise other_pointer(storage.place)
    before = staging.published.timestamp.signed.version if staging.published else 0
    try:
        found = Metadata[Timestamp].from_bytes(pointer)
        staging.root.signed.verify_delegate(roles.TIMESTAMP, found.signed_bytes, found.signatures)
        meta = found.signed.snapshot_meta
    except (DeserializationError, RepositoryError, AttributeError) as cause:
        raise other_pointer(storage.place) from cause
    snapshot = staging.kept(f"{meta.version}.{roles.SNAPSHOT}.json")
    if found.signed.version != before + 1 or snapshot is None or meta != _meta(meta.version, snapshot):
        raise other_pointer(storage.place)
    staging.settle(pointer)


def _all_kept(staging: Staging) -> list[Added]:
    """Every role's file that clients may ask for, for a place where some may be gone."""
    published = staging.published
    if published is None:
        return []
    names = [f"{version}.root.json" for version in range(1, published.root.signed.version + 1)]
    names += [f"{one.version}.{name}" for name, one in published.snapshot.signed.meta.items()]
    names.append(f"{published.snapshot.signed.version}.{roles.SNAPSHOT}.json")
    return [_role(staging, name, staging.kept(name) or b"") for name in names]


def _kept_or_new(staging: Staging, name: str, role: RoleFile) -> bytes:
    """A role's file; the one that a publication before this one began with, where it is of the same version: it may be out already."""
    kept = staging.kept(f"{role.signed.version}.{name}.json")
    if kept is not None and Metadata.from_bytes(kept).signed_bytes == role.signed_bytes:
        return kept
    if kept is not None and name == roles.ROOT:
        raise MalformedRepository(
            f"{role.signed.version}.root.json",
            "another root of this version went out already",
            "Publish that one first.",
        )
    if name == roles.ROOT:
        before = staging.published.root.signed if staging.published else None
        check_root(role, before)
    return role.to_bytes()


def _target(staging: Staging, target: TargetFile) -> Added:
    name = roles.published_name(target)
    digest = Digest(HashName.SHA256, bytes.fromhex(target.hashes["sha256"]))
    return Added(f"{TARGETS}/{name}", staging.target_path(name), target.length, digest)


def _role(staging: Staging, name: str, data: bytes) -> Added:
    return Added(f"{METADATA}/{name}", staging.kept_path(name), len(data), Digest.of(data))


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
