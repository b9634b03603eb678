"""Manifest and signature beside a file or folder, by any signer."""

from __future__ import annotations

from pathlib import Path

from kit.pki import Signer, p7s
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.formats.manifest import ManifestFormat


def manifest_pair(path: Path, signer: Signer, claims: Claims, slot: str = "", **how: object) -> Path:
    """`NAME.manifest` and its signature in a slot ("" or ".plant"); the manifest's path."""
    prepared = ManifestFormat().prepare(str(path), (HashName.SHA256,), claims)
    manifest = path.with_name(f"{path.name}.manifest")
    for part in prepared.companions:
        path.with_name(path.name + part.suffix).write_bytes(part.data)
    content = manifest.read_bytes()
    manifest.with_name(f"{manifest.name}{slot}.p7s").write_bytes(p7s(signer, content, kind="manifest", **how))  # type: ignore[arg-type]
    return manifest


def claimed(folder: Path, signer: Signer, claims: Claims, name: str = "drive.bin", data: bytes = b"firmware") -> Path:
    """A file with a signed manifest that carries claims."""
    path = folder / name
    path.write_bytes(data)
    manifest_pair(path, signer, claims)
    return path
