"""A small release repository, made with python-tuf's own metadata and keys: five roles, one product line, file keys.

repo = TufRepository(tmp_path / "repo", now)
repo.put("drives/vx-200/channels.json", data)
repo.publish()                                      # folder repo/metadata, repo/targets with consistent names
repo.first_root, repo.root_digest
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
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

LINE = "drives"


class TufRepository:
    """roles sign by one key each, in `signers`; a test may exchange a key, a version or the time of an end."""

    def __init__(self, folder: Path, now: datetime, line: str = LINE) -> None:
        self.folder = folder
        self.line = line
        end = now.replace(microsecond=0) + timedelta(days=30)
        self.signers = {
            role: CryptoSigner.generate_ecdsa() for role in ("root", "timestamp", "snapshot", "targets", line)
        }
        self.root = Root(expires=end + timedelta(days=335), consistent_snapshot=True)
        for role in ("root", "timestamp", "snapshot", "targets"):
            self.root.add_key(self.signers[role].public_key, role)
        key = self.signers[line].public_key
        delegated = DelegatedRole(
            line, [key.keyid], 1, True, paths=[f"{line}/*/*", *(f"{line}/{'*/' * n}*" for n in range(2, 8))]
        )
        self.targets = Targets(expires=end, delegations=Delegations({key.keyid: key}, {line: delegated}))
        self.lines = Targets(expires=end)
        self.snapshot = Snapshot(expires=end)
        self.timestamp = Timestamp(expires=end)
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        self.first_root = self.write_root()

    @property
    def root_digest(self) -> Digest:
        """What a trust file names."""
        return Digest.of(self.first_root)

    def write_root(self, *signers: CryptoSigner) -> bytes:
        """The root as it is now, signed by its key and by others."""
        data = self._signed(self.root, "root", *signers)
        (self.folder / "metadata" / f"{self.root.version}.root.json").write_bytes(data)
        return data

    def put(self, name: str, data: bytes) -> None:
        """A target of the line, under its consistent name."""
        target = TargetFile.from_data(name, data, ["sha256"])
        folder, _, last = name.rpartition("/")
        path = self.folder / "targets" / folder / f"{target.hashes['sha256']}.{last}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.lines.targets[name] = target

    def publish(self) -> None:
        """Every role but the root, one version further."""
        metadata = self.folder / "metadata"
        for one in (self.targets, self.lines, self.snapshot, self.timestamp):
            one.version = 1 if not (metadata / "timestamp.json").exists() else one.version + 1
        self.write_current()

    def write_current(self) -> None:
        """Every role but the root, as it is."""
        metadata = self.folder / "metadata"
        (metadata / f"{self.targets.version}.targets.json").write_bytes(self._signed(self.targets, "targets"))
        (metadata / f"{self.lines.version}.{self.line}.json").write_bytes(self._signed(self.lines, self.line))
        self.snapshot.meta = {
            "targets.json": MetaFile(self.targets.version),
            f"{self.line}.json": MetaFile(self.lines.version),
        }
        data = self._signed(self.snapshot, "snapshot")
        (metadata / f"{self.snapshot.version}.snapshot.json").write_bytes(data)
        self.timestamp.snapshot_meta = MetaFile.from_data(self.snapshot.version, data, ["sha256"])
        (metadata / "timestamp.json").write_bytes(self._signed(self.timestamp, "timestamp"))

    def _signed(self, role: Root | Timestamp | Snapshot | Targets, name: str, *more: CryptoSigner) -> bytes:
        metadata = Metadata(deepcopy(role))
        for signer in (self.signers[name], *more):
            metadata.sign(signer, append=True)
        return metadata.to_bytes()
