"""What a channel of a repository offers, fetched into a folder as `verify` reads it: the release's folder and what lies beside it.

    for one in fetch_offered(client, ProductPath("drives", "vx-200"), "pilot", "releases"): print(one.folder)

Files go to `INTO/LINE/NAME/VERSION` and get their names when they are complete. Each is checked by the repository's roles, the manifest by
the digest that the channel names too, and none is fetched that is larger than what it is for, or than there is room. Whether the maker
signed it is not asked here: who uses it verifies it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from tuf.api.metadata import TargetFile

from sealwright.artifact.digest import Digest
from sealwright.artifact.manifest import Manifest, Over, parse_manifest
from sealwright.artifact.source import read_file
from sealwright.errors import RepositoryRefused, RepositoryUnavailable
from sealwright.release.channels import Named
from sealwright.release.client import Client, explained
from sealwright.release.layout import ProductPath

MAX_MANIFEST_BYTES = 1 << 20
MAX_LIST_BYTES = 512 << 20
MAX_BESIDE_BYTES = 8 << 20
SPARE_BYTES = 32 << 20
LIST = ".list"
BESIDE = (".p7s", ".pq.p7s", ".tsr", ".tlog-proof", ".ers")
_AGAIN = "Fetch it again, or ask whoever publishes it."


@dataclass(frozen=True, slots=True)
class Fetched:
    """A release in a folder. new: whether it was fetched now."""

    product: ProductPath
    named: Named
    folder: str
    new: bool


def fetch_offered(client: Client, product: ProductPath, channel: str, into: str) -> Iterator[Fetched]:
    """Every release that a channel offers to anybody and that is not withdrawn. Raises what the client raises, MalformedArtifact, and
    OutputRefused where the disk is full."""
    channels = client.channels(product)
    gone = {one.release for one in channels.withdrawn}
    offered = {one.release for one in channels.offers if one.channel == channel} - gone
    for named in sorted(offered, key=lambda one: one.generation):
        folder = os.path.join(into, product.line, product.name, named.version)
        manifest = f"{folder}.manifest"
        if os.path.isdir(folder) and os.path.isfile(manifest):
            if Digest.of(read_file(manifest, MAX_MANIFEST_BYTES)) != named.manifest:
                raise RepositoryRefused(
                    folder, "another release of this version lies there", "Look at both; name another folder."
                )
            yield Fetched(product, named, folder, new=False)
            continue
        with explained(client.subject):
            _fetch(client, product, named, folder)
        yield Fetched(product, named, folder, new=True)


def _fetch(client: Client, product: ProductPath, named: Named, folder: str) -> None:
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    building = f"{folder}.sealwright-part"
    shutil.rmtree(building, ignore_errors=True)
    os.makedirs(building)
    target = product.manifest(named.version)
    _bring_small(client, target, f"{folder}.manifest", MAX_MANIFEST_BYTES)
    data = read_file(f"{folder}.manifest", MAX_MANIFEST_BYTES)
    if Digest.of(data) != named.manifest:
        raise RepositoryRefused(target, "it is not the manifest that the channel offers", _AGAIN)
    manifest = parse_manifest(data, target)
    if manifest.over is Over.LIST:
        _bring_small(client, f"{target}{LIST}", f"{folder}.manifest{LIST}", MAX_LIST_BYTES)
        manifest = parse_manifest(read_file(f"{folder}.manifest{LIST}", MAX_LIST_BYTES), target)
    for ending in BESIDE:
        if client.target(f"{target}{ending}") is not None:
            _bring_small(client, f"{target}{ending}", f"{folder}.manifest{ending}", MAX_BESIDE_BYTES)
    _fill(client, product, named, building, manifest)
    os.rename(building, folder)


def _fill(client: Client, product: ProductPath, named: Named, building: str, manifest: Manifest) -> None:
    """Every member of the manifest, whose names were checked when it was read."""
    for empty in manifest.folders:
        os.makedirs(os.path.join(building, os.fsdecode(empty)), exist_ok=True)
    executables = {*manifest.executables}
    targets = [_found(client, product.member(named.version, entry.name)) for entry in manifest.files]
    whole, free = sum(target.length for target in targets), shutil.disk_usage(building).free
    if whole + SPARE_BYTES > free:
        raise RepositoryUnavailable(client.subject, f"there is no room for {whole:,} bytes", "Make room there.")
    for entry, target in zip(manifest.files, targets, strict=True):
        path = os.path.join(building, os.fsdecode(entry.name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        client.download(target, path)
        os.chmod(path, 0o755 if entry.name in executables else 0o644)
    for link in manifest.links:
        path = os.path.join(building, os.fsdecode(link.name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.fsdecode(link.target), path)


def _bring_small(client: Client, name: str, path: str, limit_bytes: int) -> None:
    target = _found(client, name)
    if target.length > limit_bytes:
        raise RepositoryRefused(name, f"it has {target.length:,} bytes, at most {limit_bytes:,} are fetched", _AGAIN)
    client.download(target, path)


def _found(client: Client, name: str) -> TargetFile:
    target = client.target(name)
    if target is None:
        raise RepositoryRefused(name, "the repository offers a release and does not have this file of it", _AGAIN)
    return target
