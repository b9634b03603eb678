"""What of a repository a courier takes: all of its metadata that is current, and the targets of some products.

The metadata is read as it lies there and not verified: who packs it may be anybody with a copy of the repository, and whoever unpacks it
verifies it from the trust file's root on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from sealwright.artifact.names import check_name, display
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.errors import RepositoryRefused, RepositoryUnavailable, SealwrightError
from sealwright.release.channels import parse_channels
from sealwright.release.client import MAX_CHANNELS_BYTES
from sealwright.release.layout import MANIFEST, ProductPath

METADATA = "metadata"
TARGETS = "targets"
MAX_METADATA_BYTES = 64 << 20
MAX_ROOTS = 1000
_AGAIN = "Name the folder of the repository, which has metadata/ and targets/."


@dataclass(frozen=True, slots=True)
class Slice:
    """Names below the repository's folder, sorted; versions: of each product, those whose files are among them."""

    names: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


def slice_of(folder: str, products: Sequence[ProductPath], channels: Iterable[str]) -> Slice:
    """The files of a repository that carry these products' channels and what those channels offer.

    channels: which of them; none for every one. Raises RepositoryUnavailable for a file that is missing, RepositoryRefused for what is no
    repository, or offers nothing of a product.
    """
    wanted = {*channels}
    names, targets = _current(folder)
    versions: list[tuple[str, str]] = []
    for product in products:
        path = targets.get(product.channels)
        if path is None:
            raise RepositoryRefused(folder, f"it offers nothing of {product}", "Check the product's path, LINE/NAME.")
        stored = _stored(path)
        offered = parse_channels(read_file(os.path.join(folder, stored), MAX_CHANNELS_BYTES), product.channels)
        gone = {one.release for one in offered.withdrawn}
        releases = {
            one.release.version
            for one in offered.offers
            if one.release not in gone and (not wanted or one.channel in wanted)
        }
        names.append(stored)
        for version in sorted(releases):
            names += [_stored(one) for name, one in targets.items() if _is_of(name, product.release(version))]
            versions.append((str(product), version))
    for name in names:
        if not os.path.isfile(os.path.join(folder, name)):
            raise RepositoryUnavailable(os.path.join(folder, name), "it is missing", "Copy the repository whole.")
    return Slice(tuple(sorted({*names})), tuple(versions))


def _is_of(target: str, release: str) -> bool:
    """Whether a target is a file of a release, its manifest, or lies beside that."""
    return (
        target.startswith((release + "/", release + MANIFEST + ".", release + ".plant."))
        or target == release + MANIFEST
    )


def _stored(target: TargetFile) -> str:
    """Where a target lies, below the repository's folder: its consistent name."""
    folder, slash, last = target.path.rpartition("/")
    digest = next(iter(target.hashes.values()))
    check_name(os.fsencode(f"{folder}{slash}{digest}.{last}"), display(target.path))
    return f"{TARGETS}/{folder}{slash}{digest}.{last}"


def _current(folder: str) -> tuple[list[str], dict[str, TargetFile]]:
    """The names of the current metadata, and every target by its path."""
    timestamp = _read(folder, "timestamp.json")
    if not isinstance(timestamp, Timestamp):
        raise RepositoryRefused(folder, "its timestamp.json is something else", _AGAIN)
    snapshot_name = f"{timestamp.snapshot_meta.version}.snapshot.json"
    snapshot = _read(folder, snapshot_name)
    if not isinstance(snapshot, Snapshot):
        raise RepositoryRefused(folder, f"its {snapshot_name} is something else", _AGAIN)
    names = ["timestamp.json", snapshot_name, *_roots(folder)]
    targets: dict[str, TargetFile] = {}
    for role, meta in snapshot.meta.items():
        name = f"{meta.version}.{role}"
        listed = _read(folder, name)
        if not isinstance(listed, Targets):
            raise RepositoryRefused(folder, f"its {display(name)} is something else", _AGAIN)
        names.append(name)
        targets.update(listed.targets)
    return [f"{METADATA}/{name}" for name in names], targets


def _roots(folder: str) -> Iterator[str]:
    for version in range(1, MAX_ROOTS):
        name = f"{version}.root.json"
        if not os.path.isfile(os.path.join(folder, METADATA, name)):
            return
        yield name


def _read(folder: str, name: str) -> object:
    path = os.path.join(folder, METADATA, name)
    if "/" in name or name.startswith("."):
        raise RepositoryRefused(folder, f"{display(name)} is no name of metadata", _AGAIN)
    try:
        data = read_file_or_none(path, MAX_METADATA_BYTES)
    except SealwrightError as cause:
        raise RepositoryUnavailable(path, cause.what, _AGAIN) from cause
    if data is None:
        raise RepositoryUnavailable(path, "it is missing", _AGAIN)
    try:
        return Metadata.from_bytes(data).signed
    except (DeserializationError, RepositoryError, ValueError) as cause:
        raise RepositoryRefused(path, "it is no TUF metadata", _AGAIN) from cause
