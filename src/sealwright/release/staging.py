"""The staging folder of a repository: what was published from it, and what is waiting to be.

    repository.toml                        where it is published, which root it began with, how long each role is good
    metadata/                              the roles as they were published, each version; timestamp.json last
    staged/metadata/drives.json            a role's next version, with the signatures that it has so far
    staged/targets/drives/vx-200/1.4.2/…   new target files under the names that they will have
    public/                                the repository itself, unless it lies elsewhere

One staging folder publishes to one place. It believes nothing that it reads there: each new version is made of its own copy of the
last one, which must verify from the root that repository.toml names. Somebody who may sign offline gets `staged/metadata` on a stick,
signs there (`release sign`) and brings it back.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Output, Replace, write_atomic, write_batch
from sealwright.artifact.section import Complaint, read_toml
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import MalformedRepository, UsageError
from sealwright.release import roles
from sealwright.release.storage import MAX_METADATA_BYTES, METADATA, Storage, open_storage
from sealwright.trust.toml import Toml, toml_text

FILE = "repository.toml"
FIRST_LINE = "# sealwright repository 1"
STAGED = os.path.join("staged", "metadata")
STAGED_TARGETS = os.path.join("staged", "targets")
POINTER = "timestamp.json"
# of any of the roles: what one reads of it says which
RoleFile: TypeAlias = "Metadata[Any]"
_COMPLAINT = Complaint(MalformedRepository, 64 << 10, "Correct it.")
_RESTORE = "Restore the staging folder from a backup."


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a role is good after it was signed. offline: root, targets and lines; snapshot, timestamp: the online ones."""

    offline: timedelta = timedelta(days=400)
    snapshot: timedelta = timedelta(days=14)
    timestamp: timedelta = timedelta(days=7)

    def expiry(self, role: str, now: datetime) -> datetime:
        """When a version of a role ends that is made now, to the second."""
        term = {roles.SNAPSHOT: self.snapshot, roles.TIMESTAMP: self.timestamp}.get(role, self.offline)
        return now.replace(microsecond=0) + term


@dataclass(frozen=True, slots=True)
class Settings:
    """repository.toml. storage: a folder, from the staging folder, or `s3://…`; root: digest of version 1 of the root, as a trust
    file's `tuf_root` names it, None before it was published first."""

    storage: str
    terms: Terms
    root: Digest | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What clients get: each role as it was published last, checked from the root on."""

    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]

    def version(self, role: str) -> int:
        """The version of targets, a line or a bin; 0 where the repository has no such role."""
        found = self.snapshot.signed.meta.get(f"{role}.json")
        return found.version if found else 0


class Staging:
    """An open staging folder, used by one process at a time (`alone_in`)."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.settings = _read_settings(os.path.join(folder, FILE))
        self.published = self._published()
        self._loaded: dict[str, Metadata[Targets]] = {}

    @property
    def storage(self) -> Storage:
        """Where it is published."""
        return open_storage(self.settings.storage, self.folder)

    @property
    def root(self) -> Metadata[Root]:
        """The next root where one is staged, else the published one."""
        staged = self.staged(roles.ROOT)
        if staged is not None:
            return cast("Metadata[Root]", staged)
        if self.published is None:
            raise UsageError(self.folder, "it has no root", "Begin it again with `sealwright release init`.")
        return self.published.root

    def role(self, name: str) -> Metadata[Targets] | None:
        """Targets, a line or a bin: the next version where one is staged, else the published one; None where there is none."""
        if name in self._loaded:
            return self._loaded[name]
        found = self.staged(name) or self.published_role(name)
        if found is not None:
            self._loaded[name] = cast("Metadata[Targets]", found)
        return cast("Metadata[Targets] | None", found)

    def line(self, name: str) -> Metadata[Targets]:
        """A line's role; UsageError where the repository has none of that name."""
        found = self.role(name)
        if found is None or name not in roles.lines_of(self.targets.signed):
            known = ", ".join(roles.lines_of(self.targets.signed)) or "none"
            raise UsageError(
                name, f"the repository has no such line; it has {known}", "Add it: `sealwright release line`."
            )
        return found

    @property
    def targets(self) -> Metadata[Targets]:
        """The role above the lines."""
        found = self.role(roles.TARGETS)
        if found is None:
            raise UsageError(self.folder, "it has no targets role", "Begin it again with `sealwright release init`.")
        return found

    def delegator(self, name: str) -> Root | Targets:
        """The role that says whose keys sign another one."""
        if name in roles.TOP:
            return self.root.signed
        line = roles.line_of(name)
        return self.targets.signed if line == name else self.line(line).signed

    def staged(self, name: str) -> RoleFile | None:
        """A staged role, None where none is, or only one that was published; MalformedRepository where it cannot be read."""
        found = self._waiting(name)
        return None if found is None or self._is_published(name, found.signed.version) else found

    @property
    def staged_names(self) -> tuple[str, ...]:
        """The staged roles, in the order in which they vouch for one another."""
        return tuple(name for name in self._waiting_names() if self.staged(name) is not None)

    def next_version(self, name: str) -> Metadata[Targets] | None:
        """A role to be changed: what is staged and unpublished as it is, else the published one with the next number; None where it is new.

        Signatures are gone: they were over other bytes.
        """
        staged = self.staged(name)
        if staged is not None:
            return Metadata(cast("Targets", staged.signed))
        published = self.published_role(name)
        if published is None:
            return None
        return Metadata(roles.next_of(published.signed))

    def next_root(self) -> Root:
        """The root to be changed, in the same way."""
        root = self.root.signed
        return root if self.staged(roles.ROOT) is not None else roles.next_of(root)

    def stage(self, changed: Mapping[str, Signed], now: datetime) -> None:
        """Put roles here that nobody has signed; durable. They end as long from now as the terms say.

        A version that a publication kept and did not finish is not used again for other content: clients may have seen it.
        """
        for name, signed in changed.items():
            signed.expires = self.settings.terms.expiry(name, now)
            while name != roles.ROOT and self.kept(f"{signed.version}.{name}.json") is not None:
                signed.version += 1
        self.write_staged({name: Metadata(signed) for name, signed in changed.items()})

    def write_staged(self, changed: Mapping[str, RoleFile]) -> None:
        """Put roles here as they are, with their signatures; durable."""
        os.makedirs(os.path.join(self.folder, STAGED), exist_ok=True)
        write_batch(
            [Output(self._staged_path(name), one.to_bytes()) for name, one in changed.items()], replace=Replace.YES
        )
        for name in changed:
            self._loaded.pop(name, None)

    def published_role(self, name: str) -> Metadata[Targets] | None:
        """Targets, a line or a bin as it was published, None where it was not."""
        found = self.published.snapshot.signed.meta.get(f"{name}.json") if self.published else None
        return None if found is None else cast("Metadata[Targets]", self._checked(name, found))

    def kept(self, file: str) -> bytes | None:
        """A role's file as it was published, or was to be by a publication that did not end; None where there is none."""
        return read_file_or_none(self.kept_path(file), MAX_METADATA_BYTES)

    def kept_path(self, file: str) -> str:
        """Where it lies."""
        return os.path.join(self.folder, METADATA, file)

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Keep what is being published, under its published names; durable."""
        os.makedirs(os.path.join(self.folder, METADATA), exist_ok=True)
        write_batch([Output(self.kept_path(name), data) for name, data in files.items()], replace=Replace.YES)

    def settle(self, pointer: bytes) -> None:
        """A publication is done: from now on its pointer says what is published, and that is staged no more."""
        self.keep({POINTER: pointer})
        if self.settings.root is None:
            self.settings = replace(self.settings, root=Digest.of(self._needed("1.root.json")))
            write_settings(self.folder, self.settings, Replace.YES)
        self.published = self._published()
        self.drop_published()

    def drop_published(self) -> None:
        """Take away what is staged and was published: a publication that was killed at its end left it."""
        for name in self._waiting_names():
            staged = cast("RoleFile", self._waiting(name))
            version = staged.signed.version
            data = self.kept(f"{version}.{name}.json") if self._is_published(name, version) else None
            if data is not None and _metadata(data, name).signed_bytes == staged.signed_bytes:
                os.unlink(self._staged_path(name))
        if not self._waiting_names():
            shutil.rmtree(os.path.join(self.folder, STAGED_TARGETS), ignore_errors=True)
        self._loaded.clear()

    def _waiting(self, name: str) -> RoleFile | None:
        data = read_file_or_none(self._staged_path(name), MAX_METADATA_BYTES)
        return None if data is None else _metadata(data, self._staged_path(name))

    def _waiting_names(self) -> tuple[str, ...]:
        try:
            names = os.listdir(os.path.join(self.folder, STAGED))
        except FileNotFoundError:
            return ()
        return tuple(roles.order_of(name.removesuffix(".json") for name in names if name.endswith(".json")))

    def _is_published(self, name: str, version: int) -> bool:
        if self.published is None:
            return False
        current = self.published.root.signed.version if name == roles.ROOT else self.published.version(name)
        return version <= current

    def target_path(self, published_name: str) -> str:
        """Where a new target lies until it is published."""
        return os.path.join(self.folder, STAGED_TARGETS, *published_name.split("/"))

    def _published(self) -> Published | None:
        pointer = self.kept(POINTER)
        if pointer is None:
            return None
        root, before = self._published_roots()
        timestamp = cast("Metadata[Timestamp]", self._online(root, before, roles.TIMESTAMP, pointer, POINTER))
        found = timestamp.signed.snapshot_meta
        name = f"{found.version}.{roles.SNAPSHOT}.json"
        data = self._named(name, found)
        snapshot = cast("Metadata[Snapshot]", self._online(root, before, roles.SNAPSHOT, data, name))
        return Published(root, timestamp, snapshot)

    def _online(self, root: Metadata[Root], before: Metadata[Root], name: str, data: bytes, file: str) -> RoleFile:
        """An online role; signed by the keys of the root before where a publication of a new root did not come to its end."""
        try:
            return _verified(root.signed, name, data, file)
        except MalformedRepository:
            return _verified(before.signed, name, data, file)

    def _published_roots(self) -> tuple[Metadata[Root], Metadata[Root]]:
        """The newest root, walked from the one that the settings name, and the one before it.

        One that was kept counts, though its publication may not have come to its end: clients may have it.
        """
        first = self._needed("1.root.json")
        if self.settings.root is not None and Digest.of(first) != self.settings.root:
            raise MalformedRepository("1.root.json", "it is not the root that repository.toml names", _RESTORE)
        root = before = cast("Metadata[Root]", _metadata(first, "1.root.json"))
        check_root(root, None)
        while (data := self.kept(name := f"{root.signed.version + 1}.root.json")) is not None:
            following = cast("Metadata[Root]", _metadata(data, name))
            check_root(following, root.signed)
            root, before = following, root
        return root, before

    def _checked(self, name: str, found: MetaFile) -> RoleFile:
        file = f"{found.version}.{name}.json"
        data = self._named(file, found)
        if name == roles.TARGETS:
            above: Root | Targets = self.published.root.signed  # type: ignore[union-attr]
        else:
            line = roles.line_of(name)
            over = self.published_role(roles.TARGETS if line == name else line)
            if over is None:
                raise MalformedRepository(file, "no role vouches for it", _RESTORE)
            above = over.signed
        return _verified(above, name, data, file)

    def _named(self, file: str, found: MetaFile) -> bytes:
        data = self._needed(file)
        if found.hashes is None or hashlib.sha256(data).hexdigest() != found.hashes.get("sha256"):
            raise MalformedRepository(file, "it is not the file that the role above it names", _RESTORE)
        return data

    def _needed(self, file: str) -> bytes:
        data = self.kept(file)
        if data is None:
            raise MalformedRepository(self.kept_path(file), "it is gone", _RESTORE)
        return data

    def _staged_path(self, name: str) -> str:
        return os.path.join(self.folder, STAGED, f"{name}.json")


def write_settings(folder: str, settings: Settings, replacing: Replace = Replace.NO) -> None:
    """Write repository.toml."""
    terms = settings.terms
    top: dict[str, Toml] = {"storage": settings.storage}
    if settings.root is not None:
        top["root"] = str(settings.root)
    top["days"] = {"offline": terms.offline.days, "snapshot": terms.snapshot.days, "timestamp": terms.timestamp.days}
    write_atomic(os.path.join(folder, FILE), toml_text(FIRST_LINE, top).encode(), replace=replacing)


def check_root(root: Metadata[Root], before: Root | None) -> None:
    """MalformedRepository unless a root is signed by enough of its own keys and of those of the version before it."""
    try:
        result = root.signed.get_root_verification_result(before, root.signed_bytes, root.signatures)
    except ValueError as cause:
        raise MalformedRepository(f"{root.signed.version}.root.json", str(cause), _RESTORE) from cause
    if not result:
        raise MalformedRepository(f"{root.signed.version}.root.json", "it is not signed by enough keys", _RESTORE)


def _read_settings(path: str) -> Settings:
    data = read_file_or_none(path, _COMPLAINT.limit_bytes)
    if data is None:
        raise UsageError(
            os.path.dirname(path) or ".", "it is no staging folder", "Begin one with `sealwright release init`."
        )
    top = read_toml(data, path, FIRST_LINE, _COMPLAINT)
    days = top.table("days")
    settings = Settings(
        storage=top.text("storage"),
        terms=Terms(
            timedelta(days=days.number("offline", 1)),
            timedelta(days=days.number("snapshot", 1)),
            timedelta(days=days.number("timestamp", 1)),
        ),
        root=top.digest("root") if top.has("root") else None,
    )
    days.done()
    top.done()
    return settings


def _metadata(data: bytes, subject: str) -> RoleFile:
    try:
        return Metadata.from_bytes(data)
    except DeserializationError as cause:
        raise MalformedRepository(
            subject, f"it is no role of a repository ({cause.__cause__ or cause})"[:300], _RESTORE
        ) from cause


def _verified(above: Root | Targets, name: str, data: bytes, subject: str) -> RoleFile:
    found = _metadata(data, subject)
    try:
        above.verify_delegate(name, found.signed_bytes, found.signatures)
    except (RepositoryError, ValueError) as cause:
        raise MalformedRepository(subject, f"it is not what its keys signed ({cause})", _RESTORE) from cause
    return found
