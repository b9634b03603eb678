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

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.device.agentconfig import AgentConfig
from sealwright.device.fetcher import METADATA, TARGETS, Source, Transport
from sealwright.device.messages import Seen, Wanted
from sealwright.errors import RepositoryRefused, RepositoryStale, RepositoryUnavailable, SealwrightError
from sealwright.release.channels import MAX_OFFERS, Channels, Named, parse_channels

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
        offered = offered_to(channels, wanted) if channels is not None else None
        if not go_on(seen_of(source.name, channels, offered)) or offered is None:
            return -1
        from sealwright.device.fetchfiles import (
            stage,
        )  # loaded before the rights were given up, where files are fetched at all

        return stage(updater, source, wanted, offered)
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


def offered_to(channels: Channels, wanted: Wanted) -> Named | None:
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
        data = b"".join(_bounded(source.blocks(target_path(target), 0), target.length))
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


def seen_of(source: str, channels: Channels | None, offered: Named | None) -> Seen:
    """What is said to the agent. source: its name."""
    if channels is None:
        return Seen(source, None, (), 1)
    newest = sorted(channels.withdrawn, key=lambda one: one.release.generation)[-min(MAX_TOLD, MAX_OFFERS) :]
    return Seen(source, offered, tuple(newest), channels.serial)


def target_path(target: TargetFile) -> str:
    """Where a consistent snapshot has a target, below the repository."""
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
