"""A small TUF repository of releases in a folder, as release/layout.py names things: five roles with keys in memory, consistent snapshots.

repository = Repository(folder); repository.add("drives/vx-200/channels.json", data); repository.publish()
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (  # type: ignore[attr-defined]
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from sealwright.artifact.digest import Digest

ROLES = ("root", "targets", "snapshot", "timestamp")


def signers() -> dict[str, CryptoSigner]:
    """A key each role."""
    return {role: CryptoSigner.generate_ed25519() for role in (*ROLES, "line")}


@dataclass
class Repository:
    """The folder, and what will be in it. line: of the products; lasts: of every metadata."""

    folder: Path
    line: str = "drives"
    keys: dict[str, CryptoSigner] = field(default_factory=signers)
    lasts: timedelta = timedelta(days=3650)
    version: int = 0
    targets: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "metadata").mkdir(parents=True, exist_ok=True)
        root = Root(version=1, expires=self._expires, consistent_snapshot=True)
        for role in ROLES:
            root.add_key(self.keys[role].public_key, role)
        self.root = self._signed(root, "root")
        self._write("1.root.json", self.root)

    @property
    def root_digest(self) -> str:
        """As a trust file names it."""
        return str(Digest.of(self.root))

    def add(self, path: str, data: bytes) -> None:
        """A target, from the next publication on."""
        self.targets[path] = data

    def publish(self, expires: datetime | None = None) -> None:
        """Everything that was added, as one consistent snapshot."""
        self.version += 1
        delegated = DelegatedRole(self.line, [self.keys["line"].public_key.keyid], 1, True, paths=self._patterns())
        top = Targets(version=self.version, expires=self._expires)
        keys = {self.keys["line"].public_key.keyid: self.keys["line"].public_key}
        top.delegations = Delegations(keys, {self.line: delegated})
        below = Targets(version=self.version, expires=self._expires)
        for path, data in self.targets.items():
            below.targets[path] = TargetFile.from_data(path, data, ["sha256"])
            digest = hashlib.sha256(data).hexdigest()
            place = self.folder / "targets" / Path(path).parent / f"{digest}.{Path(path).name}"
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
        snapshot = Snapshot(version=self.version, expires=self._expires)
        snapshot.meta = {"targets.json": MetaFile(self.version), f"{self.line}.json": MetaFile(self.version)}
        timestamp = Timestamp(version=self.version, expires=expires or self._expires)
        timestamp.snapshot_meta = MetaFile(self.version)
        self._write(f"{self.version}.targets.json", self._signed(top, "targets"))
        self._write(f"{self.version}.{self.line}.json", self._signed(below, "line"))
        self._write(f"{self.version}.snapshot.json", self._signed(snapshot, "snapshot"))
        self._write("timestamp.json", self._signed(timestamp, "timestamp"))

    def _patterns(self) -> list[str]:
        return [f"{self.line}/*" + "/*" * depth for depth in range(1, 12)]

    @property
    def _expires(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0) + self.lasts

    def _signed(self, body: Root | Targets | Snapshot | Timestamp, role: str) -> bytes:
        metadata = Metadata(body)
        metadata.sign(self.keys[role])
        return bytes(metadata.to_bytes())

    def _write(self, name: str, data: bytes) -> None:
        (self.folder / "metadata" / name).write_bytes(data)
