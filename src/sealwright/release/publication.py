"""Publishing: what is staged and signed becomes what clients get, whole or not at all.

1. Every staged role is signed by enough keys, is the next version of what was published, and has not ended.
2. A target that was published keeps its bytes and stays, whoever signed otherwise (A160).
3. A role whose keys changed is signed anew by the new ones; else clients could read nothing below it.
4. The new snapshot names each role's version, length and digest; the new timestamp names the snapshot. Online keys sign both.
5. Files are added first, then roles, the root as the last of them; the timestamp is exchanged at the end. What was published is kept
   here before that, so that after a crash the next publication sees how far it came.
6. Where each release went is recorded in the home's journal (`signing/released.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import cast

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from sealwright.artifact.folders import alone_in
from sealwright.errors import MalformedRepository, RepositoryRefused
from sealwright.release import roles
from sealwright.release.catalogue import may_change
from sealwright.release.rolekeys import Payload, RoleSigners
from sealwright.release.staging import POINTER as KEPT_POINTER
from sealwright.release.staging import RoleFile, Staging, check_root
from sealwright.release.storage import MAX_METADATA_BYTES, METADATA, POINTER, TARGETS, Added, Storage, other_pointer
from sealwright.release.thresholds import standing_of

_HALF = 2  # of its term a snapshot may be old before a refresh makes a new one


class Foreign(Enum):
    """What happens to a timestamp that was not published from here: REFUSE, or REPLACE, after a theft or a loss there."""

    REFUSE = auto()
    REPLACE = auto()


@dataclass(frozen=True, slots=True)
class Planned:
    """What a publication will do. staged: roles, as their keys signed them; targets: new ones, or with new bytes (channels, proofs)."""

    staged: Mapping[str, RoleFile]
    targets: tuple[TargetFile, ...]

    @property
    def total_bytes(self) -> int:
        """Of the new targets together."""
        return sum(one.length for one in self.targets)


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


def plan(staging: Staging, now: datetime) -> Planned:
    """Points 1 to 3; RepositoryRefused naming the role that is not ready."""
    staged = {name: cast("RoleFile", staging.staged(name)) for name in staging.staged_names}
    if staging.published is None and roles.ROOT not in staged:
        raise RepositoryRefused(staging.folder, "it has no root", "Begin it with `sealwright release init`.")
    for name, role in staged.items():
        _check_ready(staging, name, role, now)
    _check_below(staging, staged)
    return Planned(staged, tuple(_new_targets(staging, staged)))


def publish(staging: Staging, signers: RoleSigners, now: datetime, foreign: Foreign = Foreign.REFUSE) -> Publication:
    """Points 1 to 5. Raises RepositoryRefused, RepositoryUnavailable, and what signing raises; nothing has changed then for clients,
    or all of it. foreign: what happens where the place has another timestamp than was published from here last."""
    with alone_in(staging.folder):
        storage = staging.storage
        before = storage.read(POINTER, MAX_METADATA_BYTES)
        if before != staging.kept(KEPT_POINTER) and foreign is Foreign.REFUSE:
            _finish(staging, storage, before)
        planned = plan(staging, now)
        files = {
            f"{one.signed.version}.{name}.json": _kept_or_new(staging, name, one)
            for name, one in planned.staged.items()
        }
        snapshot, snapshot_data = _snapshot(staging, planned, files, signers, now)
        if snapshot_data is not None:
            files[f"{snapshot.version}.{roles.SNAPSHOT}.json"] = snapshot_data
        named = snapshot_data or cast("bytes", staging.kept(f"{snapshot.version}.{roles.SNAPSHOT}.json"))
        timestamp = Timestamp(
            version=staging.published.timestamp.signed.version + 1 if staging.published else 1,
            expires=staging.settings.terms.expiry(roles.TIMESTAMP, now),
            snapshot_meta=_meta(snapshot.version, named),
        )
        pointer = _signed_online(staging, timestamp, signers)
        if foreign is Foreign.REPLACE:
            storage.add(_all_kept(staging))
        storage.add([_target(staging, one) for one in planned.targets])
        staging.keep(files)
        storage.add([_role(staging, name, data) for name, data in sorted(files.items(), key=_root_last)])
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


def _check_ready(staging: Staging, name: str, role: RoleFile, now: datetime) -> None:
    published = staging.published
    if name == roles.ROOT:
        version = published.root.signed.version if published else 0
        right = role.signed.version == version + 1
    else:
        version = published.version(name) if published else 0
        right = role.signed.version > version
    if not right:
        raise RepositoryRefused(
            f"role {name}",
            f"version {role.signed.version} is staged, and version {version} is published",
            "Remove it from `staged/metadata` and stage it again.",
        )
    if role.signed.expires <= now:
        raise RepositoryRefused(
            f"role {name}", f"it ended on {role.signed.expires:%Y-%m-%d}", "Stage it again: `sealwright release renew`."
        )
    standing = standing_of(staging, name)
    if standing.missing:
        raise RepositoryRefused(
            f"role {name}",
            f"{standing.missing} more of its keys must sign it",
            "Have it signed: `sealwright release sign` with the home of whoever holds one.",
        )


def _check_below(staging: Staging, staged: Mapping[str, RoleFile]) -> None:
    """Point 3: what is not staged itself must verify under the new word of the role above it."""
    published = staging.published
    if published is None:
        return
    lines = roles.lines_of(staging.targets.signed)
    below: list[str] = [roles.TARGETS] if roles.ROOT in staged else []
    below += lines if roles.TARGETS in staged else ()
    for line in lines:
        old, new = staging.published_role(line), staging.role(line)
        if old is None or new is None or old.signed.delegations != new.signed.delegations:
            below += roles.bins_of(new.signed) if new is not None else ()
    for name in below:
        found = staging.role(name)
        if found is None:
            raise RepositoryRefused(f"role {name}", "it has no version yet", "Stage it: `sealwright release renew`.")
        if name not in staged and not staging.delegator(name).get_verification_result(
            name, found.signed_bytes, found.signatures
        ):
            raise RepositoryRefused(
                f"role {name}",
                "its keys change, and what is published of it was signed by the ones before",
                "Stage it too and have it signed by the new ones: `sealwright release renew`.",
            )


def _new_targets(staging: Staging, staged: Mapping[str, RoleFile]) -> Iterable[TargetFile]:
    """Point 2, for each line of which a role is staged."""
    names = [name for name, one in staged.items() if isinstance(one.signed, Targets) and name != roles.TARGETS]
    for line in sorted({roles.line_of(name) for name in names}):
        mine = [name for name in names if roles.line_of(name) == line]
        published = [staging.published_role(name) for name in {line, *mine}]
        old = roles.targets_of(one.signed for one in published if one is not None)
        new = roles.targets_of(cast("Metadata[Targets]", staging.role(name)).signed for name in {line, *mine})
        for path, target in old.items():
            following = new.get(path)
            if following is None or (following.hashes != target.hashes and not may_change(path)):
                what = "is missing" if following is None else "has other bytes"
                raise RepositoryRefused(
                    path,
                    f"it was released, and {what} in what is staged",
                    "Stage the line again; find out who changed it.",
                )
        yield from (target for path, target in new.items() if path not in old or old[path].hashes != target.hashes)


def _snapshot(
    staging: Staging, planned: Planned, files: Mapping[str, bytes], signers: RoleSigners, now: datetime
) -> tuple[Snapshot, bytes | None]:
    """The snapshot to point to, and its bytes where it is a new one."""
    published, terms = staging.published, staging.settings.terms
    meta = dict(published.snapshot.signed.meta) if published else {}
    for name, one in planned.staged.items():
        if name != roles.ROOT:
            meta[f"{name}.json"] = _meta(one.signed.version, files[f"{one.signed.version}.{name}.json"])
    if published and meta == published.snapshot.signed.meta and not _keys_changed(staging):
        current = published.snapshot.signed
        if current.expires - now > terms.snapshot / _HALF:
            return current, None
    version = published.snapshot.signed.version + 1 if published else 1
    while staging.kept(f"{version}.{roles.SNAPSHOT}.json") is not None:
        version += 1
    snapshot = Snapshot(version=version, expires=terms.expiry(roles.SNAPSHOT, now), meta=meta)
    return snapshot, _signed_online(staging, snapshot, signers)


def _keys_changed(staging: Staging) -> bool:
    """Whether the published snapshot would not verify any more."""
    published = staging.published
    if published is None:
        return True
    snapshot = published.snapshot
    return not staging.root.signed.get_verification_result(roles.SNAPSHOT, snapshot.signed_bytes, snapshot.signatures)


def _signed_online(staging: Staging, signed: Snapshot | Timestamp, signers: RoleSigners) -> bytes:
    """Point 4; RepositoryRefused where the home has not the keys."""
    role = staging.root.signed.get_delegated_role(signed.type)
    mine = [key for key in role.keyids if key in signers.ids][: role.threshold]
    if len(mine) < role.threshold:
        raise RepositoryRefused(
            f"role {signed.type}",
            f"{role.threshold} of its keys must sign it, and this home has {len(mine)}",
            "Publish with the home that has the online keys.",
        )
    made: RoleFile = Metadata(signed)
    for key in mine:
        (made.signatures[key],) = signers.sign(key, [Payload(signed.type, signed.version, made.signed_bytes)])
    staging.root.signed.verify_delegate(signed.type, made.signed_bytes, made.signatures)
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
    path = staging.target_path(name)
    if not os.path.isfile(path):
        raise RepositoryRefused(target.path, "its bytes are not staged any more", "Add the release again.")
    return Added(f"{TARGETS}/{name}", path, target.length)


def _role(staging: Staging, name: str, data: bytes) -> Added:
    return Added(f"{METADATA}/{name}", staging.kept_path(name), len(data))


def _root_last(item: tuple[str, bytes]) -> tuple[bool, str]:
    """A client that has the new root and the old timestamp may have to wait: no longer than one file takes."""
    return item[0].endswith(".root.json"), item[0]


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
