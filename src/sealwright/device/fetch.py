"""The fetch process: what is offered, and its files brought into the staging folder. It has no rights and is not believed.

1. python-tuf's client brings root, timestamp, snapshot and targets up to date, beginning with the root whose digest the trust file
   names. Its clock is the verifier's judgement time, so that a device at 1970 is not kept on old metadata (A109, A147).
2. `channels.json` of the product says what this device is offered.
3. Of the release its manifest comes first; it must have the digest that the channel names. Then what lies beside it, then its files.
   Each is stored under the digest that the manifest lists, so a hostile name means nothing here, and an interrupted file goes on
   where it stopped. Files that are installed already are not fetched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Manifest, Over, parse_manifest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.device.agentconfig import AgentConfig
from sealwright.device.fetcher import METADATA, TARGETS, Source, Transport, paced
from sealwright.device.messages import Seen, Wanted
from sealwright.device.staging import LIST, MAX_BESIDE_BYTES, MAX_MANIFEST_BYTES, STAGED, beside_suffixes
from sealwright.errors import RepositoryRefused, RepositoryStale, RepositoryUnavailable, SealwrightError
from sealwright.release.channels import MAX_OFFERS, Channels, Named, parse_channels
from sealwright.release.layout import MANIFEST

MAX_CHANNELS_BYTES = 64 << 10
MAX_TOLD = 100
SPARE_BYTES = 32 << 20


class Ask(Protocol):
    """Whether what was seen is to be fetched."""

    def __call__(self, seen: Seen) -> bool:
        """True to go on."""
        ...


def fetch(source: Source, wanted: Wanted, go_on: Ask) -> int:
    """Bring the staging folder, in the current folder, up to date; how many bytes came, -1 where `go_on` said no.

    RepositoryRefused or RepositoryUnavailable with the reason.
    """
    try:
        updater = _updater(source, wanted)
        updater.refresh()
        channels = _channels(updater, source, wanted.config)
        offered = _offered(channels, wanted) if channels is not None else None
        if not go_on(_seen(source, channels, offered)) or offered is None:
            return -1
        return _stage(updater, source, wanted, offered)
    except DownloadError as cause:
        raise RepositoryUnavailable(
            source.name, f"{cause}"[:300] or "no answer", "The agent tries again at its next round."
        ) from cause
    except ExpiredMetadataError as cause:
        raise RepositoryStale(
            source.name, f"its metadata has ended: {cause}"[:300], "Ask its operator for a newer copy."
        ) from cause
    except RepositoryError as cause:
        raise RepositoryRefused(
            source.name, f"its metadata is refused: {cause}"[:300], "Ask its operator for a newer copy."
        ) from cause
    except (LengthOrHashMismatchError, SealwrightError) as cause:
        if isinstance(cause, RepositoryRefused | RepositoryUnavailable):
            raise
        raise RepositoryRefused(source.name, f"{cause}"[:300], "Ask its operator for a newer copy.") from cause
    except OSError as cause:
        what = cause.strerror or "it cannot be written"
        raise RepositoryUnavailable(
            source.name,
            f"its files cannot be kept here ({what})",
            "Make room, or remove the folder `fetch` of the agent: it is made anew.",
        ) from cause


def _offered(channels: Channels, wanted: Wanted) -> Named | None:
    """What this device is offered; before that a release that a permit is for, whichever channel has it."""
    for offer in channels.offers:
        if offer.release.manifest in wanted.permitted and channels.withdrawal(offer.release.manifest) is None:
            return offer.release
    config = wanted.config
    return channels.offered(config.channel, config.device, config.group)


class _Client(Updater):
    """python-tuf's client with another clock than the machine's, which may stand at 1970, and files named from the current folder alone:
    the account that fetches may have no way through the folders above."""

    def __init__(self, source: Source, wanted: Wanted) -> None:
        transport = Transport(source, wanted.config.limits.rate_bytes)
        super().__init__(METADATA, METADATA, fetcher=transport, bootstrap=_root(source, wanted))
        self._trusted_set.reference_time = wanted.now

    def _persist_file(self, filename: str, data: bytes) -> None:
        with open(f"{filename}.new", "wb") as file:
            file.write(data)
        os.replace(f"{filename}.new", filename)


def _updater(source: Source, wanted: Wanted) -> Updater:
    os.makedirs(METADATA, mode=0o700, exist_ok=True)
    return _Client(source, wanted)


def _root(source: Source, wanted: Wanted) -> bytes:
    """The initial root, from agent.toml's file, from what was fetched before, or from the repository; its digest is the trust file's."""
    limit = 512_000
    kept = os.path.join(METADATA, "initial.json")
    for path in (wanted.config.root, kept):
        with suppress(SealwrightError):
            if path and Digest.of(data := read_file(path, limit)) == wanted.root:
                return data
    data = b""
    for block in source.blocks(f"{METADATA}/1.root.json", 0):
        data += block
        if len(data) > limit:
            break
    if Digest.of(data) != wanted.root:
        raise RepositoryRefused(
            source.name,
            f"its first root is not {wanted.root}, which the trust file names",
            "Ask its operator; it may be another repository.",
        )
    with open(kept, "wb") as file:
        file.write(data)
    return data


def _channels(updater: Updater, source: Source, config: AgentConfig) -> Channels | None:
    """None where the repository has nothing of the product."""
    target = updater.get_targetinfo(config.place.channels)
    if target is None:
        return None
    if target.length > MAX_CHANNELS_BYTES:
        raise RepositoryRefused(source.name, f"channels of {target.length} bytes", "Ask its operator.")
    kept = "channels.json"
    data = b""
    with suppress(SealwrightError):
        data = read_file(kept, MAX_CHANNELS_BYTES)
    if not _is(target, data):
        data = b"".join(_bounded(source.blocks(_url(target), 0), target.length))
        target.verify_length_and_hashes(data)
        with open(kept, "wb") as file:
            file.write(data)
    channels = parse_channels(data, config.place.channels)
    if channels.product != config.product:
        raise RepositoryRefused(
            source.name,
            f"{config.place} is {display(channels.product)} there, and {config.product} here",
            "Correct `path` or `product` in agent.toml.",
        )
    return channels


def _seen(source: Source, channels: Channels | None, offered: Named | None) -> Seen:
    if channels is None:
        return Seen(source.name, None, (), 1)
    newest = sorted(channels.withdrawn, key=lambda one: one.release.generation)[-min(MAX_TOLD, MAX_OFFERS) :]
    return Seen(source.name, offered, tuple(newest), channels.serial)


def _stage(updater: Updater, source: Source, wanted: Wanted, offered: Named) -> int:
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
        for block in paced(source.blocks(_url(target), start), wanted.config.limits.rate_bytes):
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


def _url(target: TargetFile) -> str:
    """Where a consistent snapshot has it."""
    folder, slash, name = target.path.rpartition("/")
    return f"{TARGETS}/{folder}{slash}{next(iter(target.hashes.values()))}.{name}"


def _bounded(blocks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    done = 0
    for block in blocks:
        done += len(block)
        if done > limit:
            raise DownloadHTTPError("more bytes than its metadata says", 200)
        yield block


def _is(target: TargetFile, data: bytes) -> bool:
    with suppress(LengthOrHashMismatchError):
        target.verify_length_and_hashes(data)
        return True
    return False


def _is_file(target: TargetFile, path: str) -> bool:
    with suppress(LengthOrHashMismatchError), open(path, "rb") as file:
        target.verify_length_and_hashes(file)
        return True
    return False


def _size(path: str) -> int:
    with suppress(OSError):
        return os.lstat(path).st_size
    return 0
