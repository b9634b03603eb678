"""The files of an offered release, in the fetch process: first its manifest, then what lies beside it, then what its manifest lists.

A file is stored under the digest that the manifest lists. Where the plant has a repository of its own, its server may have the maker's files too,
under the same names: whoever has them, the maker's metadata says what they are. What an earlier try left of it (`.part`) is gone on with, and thrown away where the
whole is not what the metadata says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tuf.api.exceptions import DownloadError, LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Manifest, Over, parse_manifest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.device.fetch import Followed
from sealwright.device.fetcher import TARGETS, Source, paced
from sealwright.device.messages import Wanted
from sealwright.device.staging import (
    LIST,
    MAX_BESIDE_BYTES,
    MAX_MANIFEST_BYTES,
    STAGED,
    beside_suffixes,
    maker_suffixes,
    plant_suffixes,
)
from sealwright.errors import RepositoryRefused, RepositoryUnavailable
from sealwright.release.channels import Named
from sealwright.release.client import stored_name
from sealwright.release.layout import MANIFEST

SPARE_BYTES = 32 << 20
_ASK = "Ask its operator."


@dataclass(frozen=True, slots=True)
class _Part:
    """What one repository has of a release. sources: that may have its files, the repository's own first; release: its folder there."""

    followed: Followed
    sources: tuple[Source, ...]
    release: str

    def target(self, suffix: str) -> TargetFile | None:
        """What the repository says of a target whose name begins with the release's; None where it has none."""
        return self.followed.client.target(f"{self.release}{suffix}")

    def needed(self, suffix: str) -> TargetFile:
        """The same; RepositoryRefused where it has none."""
        if (target := self.target(suffix)) is None:
            name = display(f"{self.release}{suffix}")
            raise RepositoryRefused(self.name, f"it offers a release without {name}", _ASK)
        return target

    @property
    def name(self) -> str:
        """Of the repository, for people."""
        return self.sources[0].name


def stage(maker: Followed, plant: Followed | None, wanted: Wanted, offered: Named) -> int:
    """Bring what is missing of a release into the staging folder; how many bytes came. RepositoryRefused, RepositoryUnavailable, and what
    python-tuf raises.

    plant: the plant's own repository, where there is one. Its signatures come from it and the maker's from the maker's, neither has a say
    in the other's; the maker's files may lie at either.
    """
    for old in os.listdir(STAGED) if os.path.isdir(STAGED) else []:
        if old != offered.manifest.value.hex():
            shutil.rmtree(os.path.join(STAGED, old))
    folder = os.path.join(STAGED, offered.manifest.value.hex())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    every = (maker.source,) if plant is None else (maker.source, plant.source)
    part = _part(maker, every, offered)
    done, manifest = _manifest(part, folder, wanted, offered)
    if plant is None:
        done += _beside(part, beside_suffixes(), folder, wanted, offered)
    else:
        done += _beside(part, maker_suffixes(), folder, wanted, offered)
        done += _beside(_part(plant, (plant.source,), offered), plant_suffixes(), folder, wanted, offered)
    return done + _files(part, wanted, folder, manifest)


def _part(followed: Followed, sources: tuple[Source, ...], offered: Named) -> _Part:
    return _Part(followed, sources, followed.pinned.origin.place.release(offered.version))


def _manifest(part: _Part, folder: str, wanted: Wanted, offered: Named) -> tuple[int, Manifest]:
    """The release's manifest, and how many bytes came for it."""
    name = f"{offered.version}{MANIFEST}"
    done = _bring_small(part, part.needed(MANIFEST), os.path.join(folder, name), wanted, MAX_MANIFEST_BYTES)
    data = read_file(os.path.join(folder, name), MAX_MANIFEST_BYTES)
    if Digest.of(data) != offered.manifest:
        raise RepositoryRefused(
            part.name,
            f"{name} is not the manifest that its channel offers",
            "Ask its operator; a release never changes.",
        )
    manifest = parse_manifest(data, name)
    if manifest.over is not Over.LIST:
        return done, manifest
    large = os.path.join(folder, f"{name}{LIST}")
    done += _bring_small(part, part.needed(f"{MANIFEST}{LIST}"), large, wanted, MAX_MANIFEST_BYTES)
    return done, parse_manifest(read_file(large, MAX_MANIFEST_BYTES), name)


def _beside(part: _Part, suffixes: Iterator[str], folder: str, wanted: Wanted, offered: Named) -> int:
    done = 0
    for suffix in suffixes:
        if (target := part.target(suffix)) is not None:
            done += _bring_small(
                part, target, os.path.join(folder, f"{offered.version}{suffix}"), wanted, MAX_BESIDE_BYTES
            )
    return done


def _files(part: _Part, wanted: Wanted, folder: str, manifest: Manifest) -> int:
    targets: dict[bytes, TargetFile] = {}
    for entry in manifest.files:
        if entry.digest in wanted.have or entry.digest in targets:
            continue
        target = part.needed(f"/{os.fsdecode(entry.name)}")
        if (
            manifest.algorithm is HashName.SHA256
            and target.hashes.get("sha256", entry.digest.hex()) != entry.digest.hex()
        ):
            raise RepositoryRefused(part.name, f"{display(entry.name)} is not the file that its manifest lists", _ASK)
        targets[entry.digest] = target
    whole = sum(target.length for target in targets.values())
    if whole > wanted.config.limits.release_bytes:
        raise RepositoryRefused(
            part.name, f"a release of {whole:,} bytes", "Raise release_bytes in agent.toml if that is right."
        )
    missing = whole - sum(_size(os.path.join(folder, digest.hex())) for digest in targets)
    free = os.statvfs(folder)
    if missing > 0 and missing + SPARE_BYTES > free.f_bavail * free.f_frsize:
        raise RepositoryUnavailable(part.name, f"there is no room for {missing:,} bytes", "Make room for the agent.")
    return sum(_bring(part, target, os.path.join(folder, digest.hex()), wanted) for digest, target in targets.items())


def _bring_small(part: _Part, target: TargetFile, path: str, wanted: Wanted, limit_bytes: int) -> int:
    if target.length > limit_bytes:
        raise RepositoryRefused(part.name, f"{display(target.path)} of {target.length} bytes", _ASK)
    return _bring(part, target, path, wanted)


def _bring(part: _Part, target: TargetFile, path: str, wanted: Wanted) -> int:
    """A target's bytes under a name, from what is there of it and the first source that has them; how many came."""
    if _size(path) == target.length and _is_file(target, path):
        return 0
    first: DownloadError | RepositoryRefused | None = None
    for source in part.sources:
        try:
            return _bring_from(source, target, path, wanted)
        except (DownloadError, RepositoryRefused) as cause:
            first = first or cause
    raise first or DownloadError("there is no source")


def _bring_from(source: Source, target: TargetFile, path: str, wanted: Wanted) -> int:
    """The digest is looked at once, at the end."""
    part = f"{path}.part"
    came = _download(source, target, part, wanted)
    if not _is_file(target, part):
        os.unlink(part)
        # what was there of it may have been of an older try, or damaged
        came += _download(source, target, part, wanted)
        if not _is_file(target, part):
            os.unlink(part)
            raise RepositoryRefused(source.name, f"{display(target.path)} is not what its metadata says", _ASK)
    os.replace(part, path)
    return came


def _download(source: Source, target: TargetFile, part: str, wanted: Wanted) -> int:
    start = min(_size(part), target.length)
    came = 0
    with open(part, "r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        if start == target.length:
            return 0
        at = start
        for block in paced(source.blocks(f"{TARGETS}/{stored_name(target)}", start), wanted.config.limits.rate_bytes):
            if not block:
                at = file.seek(0)
                file.truncate(0)
                continue
            at += len(block)
            if at > target.length:
                raise RepositoryRefused(
                    source.name,
                    f"{display(target.path)} has more than the {target.length:,} bytes of its metadata",
                    _ASK,
                )
            file.write(block)
            came += len(block)
    if at < target.length:
        raise DownloadError(f"{display(target.path)} ended after {at:,} of {target.length:,} bytes")
    return came


def _is_file(target: TargetFile, path: str) -> bool:
    with suppress(LengthOrHashMismatchError), open(path, "rb") as file:
        target.verify_length_and_hashes(file)
        return True
    return False


def _size(path: str) -> int:
    with suppress(OSError):
        return os.lstat(path).st_size
    return 0
