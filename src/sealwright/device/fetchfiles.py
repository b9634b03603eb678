"""The files of an offered release, in the fetch process: first its manifest, then what lies beside it, then what its manifest lists.

A file is stored under the digest that the manifest lists. What an earlier try left of it (`.part`) is gone on with, and thrown away where the
whole is not what the metadata says.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from tuf.api.exceptions import DownloadError, LengthOrHashMismatchError
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Manifest, Over, parse_manifest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.device.fetch import target_path
from sealwright.device.fetcher import Source, paced
from sealwright.device.messages import Wanted
from sealwright.device.staging import LIST, MAX_BESIDE_BYTES, MAX_MANIFEST_BYTES, STAGED, beside_suffixes
from sealwright.errors import RepositoryRefused, RepositoryUnavailable
from sealwright.release.channels import Named
from sealwright.release.layout import MANIFEST

SPARE_BYTES = 32 << 20


def stage(updater: Updater, source: Source, wanted: Wanted, offered: Named) -> int:
    """Bring what is missing of a release into the staging folder; how many bytes came. RepositoryRefused, RepositoryUnavailable, and what
    python-tuf raises."""
    for old in os.listdir(STAGED) if os.path.isdir(STAGED) else []:
        if old != offered.manifest.value.hex():
            shutil.rmtree(os.path.join(STAGED, old))
    folder = os.path.join(STAGED, offered.manifest.value.hex())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    release = wanted.config.place.release(offered.version)
    name = f"{offered.version}{MANIFEST}"
    target = _target(updater, source, f"{release}{MANIFEST}")
    if target.length > MAX_MANIFEST_BYTES:
        raise RepositoryRefused(source.name, f"{name} of {target.length} bytes", "Ask its operator.")
    done = _bring(source, target, os.path.join(folder, name), wanted)
    data = read_file(os.path.join(folder, name), MAX_MANIFEST_BYTES)
    if Digest.of(data) != offered.manifest:
        raise RepositoryRefused(
            source.name,
            f"{name} is not the manifest that its channel offers",
            "Ask its operator; a release never changes.",
        )
    for suffix in beside_suffixes():
        beside = updater.get_targetinfo(f"{release}{suffix}")
        if beside is not None:
            if beside.length > MAX_BESIDE_BYTES:
                raise RepositoryRefused(
                    source.name, f"{offered.version}{suffix} of {beside.length} bytes", "Ask its operator."
                )
            done += _bring(source, beside, os.path.join(folder, f"{offered.version}{suffix}"), wanted)
    manifest = parse_manifest(data, name)
    if manifest.over is Over.LIST:
        large = _target(updater, source, f"{release}{MANIFEST}{LIST}")
        if large.length > MAX_MANIFEST_BYTES:
            raise RepositoryRefused(source.name, f"{name}{LIST} of {large.length} bytes", "Ask its operator.")
        done += _bring(source, large, os.path.join(folder, f"{name}{LIST}"), wanted)
        manifest = parse_manifest(read_file(os.path.join(folder, f"{name}{LIST}"), MAX_MANIFEST_BYTES), name)
    return done + _files(updater, source, wanted, release, folder, manifest)


def _files(updater: Updater, source: Source, wanted: Wanted, release: str, folder: str, manifest: Manifest) -> int:
    targets: dict[bytes, TargetFile] = {}
    for entry in manifest.files:
        if entry.digest in wanted.have or entry.digest in targets:
            continue
        target = _target(updater, source, f"{release}/{os.fsdecode(entry.name)}")
        if (
            manifest.algorithm is HashName.SHA256
            and target.hashes.get("sha256", entry.digest.hex()) != entry.digest.hex()
        ):
            raise RepositoryRefused(
                source.name, f"{display(entry.name)} is not the file that its manifest lists", "Ask its operator."
            )
        targets[entry.digest] = target
    whole = sum(target.length for target in targets.values())
    if whole > wanted.config.limits.release_bytes:
        raise RepositoryRefused(
            source.name, f"a release of {whole:,} bytes", "Raise release_bytes in agent.toml if that is right."
        )
    missing = whole - sum(_size(os.path.join(folder, digest.hex())) for digest in targets)
    free = os.statvfs(folder)
    if missing > 0 and missing + SPARE_BYTES > free.f_bavail * free.f_frsize:
        raise RepositoryUnavailable(source.name, f"there is no room for {missing:,} bytes", "Make room for the agent.")
    return sum(_bring(source, target, os.path.join(folder, digest.hex()), wanted) for digest, target in targets.items())


def _target(updater: Updater, source: Source, path: str) -> TargetFile:
    target = updater.get_targetinfo(path)
    if target is None:
        raise RepositoryRefused(source.name, f"it offers a release without {display(path)}", "Ask its operator.")
    return target


def _bring(source: Source, target: TargetFile, path: str, wanted: Wanted) -> int:
    """A target's bytes under a name, from what is there of it; how many came. The digest is looked at once, at the end."""
    if _size(path) == target.length and _is_file(target, path):
        return 0
    part = f"{path}.part"
    came = _download(source, target, part, wanted)
    if not _is_file(target, part):
        os.unlink(part)
        # what was there of it may have been of an older try, or damaged
        came += _download(source, target, part, wanted)
        if not _is_file(target, part):
            os.unlink(part)
            raise RepositoryRefused(
                source.name, f"{display(target.path)} is not what its metadata says", "Ask its operator."
            )
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
        for block in paced(source.blocks(target_path(target), start), wanted.config.limits.rate_bytes):
            if not block:
                at = file.seek(0)
                file.truncate(0)
                continue
            at += len(block)
            if at > target.length:
                raise RepositoryRefused(
                    source.name,
                    f"{display(target.path)} has more than the {target.length:,} bytes of its metadata",
                    "Ask its operator.",
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
