"""The agent's own copy of a staged release, in a folder that only it can write: what is verified and installed is this copy (A150).

The fetch process owns the staging folder and may change it at any time; so nothing of it is believed or used twice. Its manifest is read
once into memory and written from there; by what it lists files are made: each is read once, from one descriptor that is opened without
following a link, and no further than the manifest's own count of bytes. Files that the installed release has under the same digest are
taken from there. Whether the copy is what was signed is the verdict's to say.

    work/1.4.2/…   work/1.4.2.manifest   work/1.4.2.manifest.p7s
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.manifest import Manifest, Over, parse_manifest
from sealwright.artifact.names import display
from sealwright.artifact.output import sync_file_system
from sealwright.artifact.source import opened_as, read_file
from sealwright.device.staging import LIST, MAX_BESIDE_BYTES, MAX_MANIFEST_BYTES, STAGED, beside_suffixes
from sealwright.errors import InstallRefused, MalformedArtifact, OutputRefused
from sealwright.release.channels import Named
from sealwright.release.layout import MANIFEST

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEXT = "The agent fetches it again at its next round."


@dataclass(frozen=True, slots=True)
class Copy:
    """A release's own copy. root: the folder that holds all; folder: of the release's files; manifest: as it lists them."""

    root: str
    folder: str
    manifest: Manifest
    digest: Digest
    size_bytes: int


def copy_staged(fetch: str, root: str, offered: Named, have: Mapping[bytes, str], limit_bytes: int) -> Copy:
    """Copy the offered release out of the fetch process's folder. have: paths of installed files by their digests.

    InstallRefused where something is missing or not what was offered, OutputRefused where it cannot be written.
    """
    staged = _staged(fetch, offered)
    try:
        shutil.rmtree(root, ignore_errors=True)
        os.mkdir(root, 0o755)
        return _copied(staged, root, offered, have, limit_bytes)
    except OSError as cause:
        if cause.errno == errno.ELOOP:
            raise InstallRefused(offered.version, "a link is staged in place of a file", _NEXT) from cause
        what = (
            "the disk is full"
            if cause.errno in (errno.ENOSPC, errno.EDQUOT)
            else f"it cannot be copied ({cause.strerror})"
        )
        raise OutputRefused(root, what, "Make room for the agent; nothing was installed.") from cause
    finally:
        os.close(staged)


def listed(folder: str, version: str) -> Manifest:
    """The files of a release in a folder of its own, as its manifest lists them; MalformedArtifact for what is none."""
    manifest = parse_manifest(read_file(os.path.join(folder, version + MANIFEST), MAX_MANIFEST_BYTES), version)
    if manifest.over is Over.LIST:
        return parse_manifest(read_file(os.path.join(folder, version + MANIFEST + LIST), MAX_MANIFEST_BYTES), version)
    return manifest


def _staged(fetch: str, offered: Named) -> int:
    """The staging folder, opened part by part without following a link."""
    descriptor = os.open(fetch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in (STAGED, offered.manifest.value.hex()):
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except OSError as cause:
        os.close(descriptor)
        raise InstallRefused(offered.version, "it is not staged", _NEXT) from cause
    return descriptor


def _copied(staged: int, root: str, offered: Named, have: Mapping[bytes, str], limit_bytes: int) -> Copy:
    name = offered.version + MANIFEST
    data = _small(staged, name, MAX_MANIFEST_BYTES)
    if data is None or Digest.of(data) != offered.manifest:
        raise InstallRefused(offered.version, "what is staged is not the manifest that was offered", _NEXT)
    _write_new(os.path.join(root, name), data)
    manifest = parse_manifest(data, name)
    if manifest.over is Over.LIST:
        large = _small(staged, name + LIST, MAX_MANIFEST_BYTES)
        if large is None:
            raise InstallRefused(offered.version, "the list of its files is missing", _NEXT)
        _write_new(os.path.join(root, name + LIST), large)
        manifest = parse_manifest(large, name + LIST)
    if manifest.over is not Over.TREE or manifest.total_bytes > limit_bytes:
        raise InstallRefused(
            offered.version,
            f"its manifest lists no folder of at most {limit_bytes:,} bytes",
            "Raise release_bytes in agent.toml if that is right.",
        )
    for suffix in beside_suffixes():
        if (beside := _small(staged, offered.version + suffix, MAX_BESIDE_BYTES)) is not None:
            _write_new(os.path.join(root, offered.version + suffix), beside)
    folder = os.path.join(root, offered.version)
    os.mkdir(folder, 0o755)
    size = _copy_files(staged, folder, manifest, have)
    _durable(root)
    return Copy(root, folder, manifest, offered.manifest, size)


def _copy_files(staged: int, folder: str, manifest: Manifest, have: Mapping[bytes, str]) -> int:
    left = manifest.total_bytes
    executables = set(manifest.executables)
    made: set[bytes] = set()
    base = os.fsencode(folder)
    for name in manifest.folders:
        os.makedirs(os.path.join(base, name), mode=0o755, exist_ok=True)
    for entry in manifest.files:
        parent = os.path.dirname(entry.name)
        if parent and parent not in made:
            os.makedirs(os.path.join(base, parent), mode=0o755, exist_ok=True)
            made.add(parent)
        mode = 0o755 if entry.name in executables else 0o644
        left -= _copy_file(staged, entry.digest, os.path.join(base, entry.name), have, left, mode)
    for link in manifest.links:
        os.makedirs(os.path.dirname(os.path.join(base, link.name)), mode=0o755, exist_ok=True)
        os.symlink(link.target, os.path.join(base, link.name))
    return manifest.total_bytes - left


def _copy_file(staged: int, digest: bytes, target: bytes, have: Mapping[bytes, str], most: int, mode: int) -> int:
    shown = display(os.path.basename(target))
    try:
        descriptor = os.open(digest.hex(), _READ, dir_fd=staged)
    except FileNotFoundError as cause:
        if digest not in have:
            raise InstallRefused(shown, "it is not staged", _NEXT) from cause
        descriptor = os.open(have[digest], _READ)
    else:
        _check_own(descriptor, staged, shown)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        os.close(descriptor)
        raise InstallRefused(shown, "what is staged is no file, or larger than its manifest says", _NEXT)
    with opened_as(os.fsdecode(target), descriptor) as source:
        out = os.open(target, _WRITE, mode)
        try:
            os.fchmod(out, mode)
            return source.copy_to(out, 0, source.size)
        finally:
            os.close(out)


def _small(staged: int, name: str, limit: int) -> bytes | None:
    """A staged file that is read into memory; None where there is none."""
    try:
        descriptor = os.open(name, _READ, dir_fd=staged)
    except FileNotFoundError:
        return None
    _check_own(descriptor, staged, name)
    with opened_as(name, descriptor) as source:
        if not stat.S_ISREG(source.status().st_mode):
            raise MalformedArtifact(name, "what is staged is no file", _NEXT)
        return source.read(limit)


def _check_own(descriptor: int, staged: int, shown: str) -> None:
    """A file is of the account that fetches, whose the folder is: by a hard link it could have one copied that it cannot read.

    InstallRefused for another one, which is closed.
    """
    if os.fstat(descriptor).st_uid != os.fstat(staged).st_uid:
        os.close(descriptor)
        raise InstallRefused(shown, "what is staged is a file of another account", _NEXT)


def _write_new(path: str, data: bytes) -> None:
    descriptor = os.open(path, _WRITE, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _durable(root: str) -> None:
    """Everything of the copy on its disk, in one go; file by file where the system cannot."""
    if sync_file_system(root):
        return
    for folder, _, names in os.walk(root):
        for name in (*names, ""):
            with suppress(IsADirectoryError):
                descriptor = os.open(os.path.join(folder, name), _READ)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
