"""The fetch process: what is offered, and its files brought into the staging folder. It has no rights and is not believed.

1. Each repository that agent.toml names is followed by itself (`follow`): python-tuf's client brings root, timestamp, snapshot and
   targets up to date, beginning with the root whose digest the trust file names. Its clock is the verifier's judgement time, so that a
   device at 1970 is not kept on old metadata (A109, A147).
2. `channels.json` of the product says what this device is offered; where the plant has a repository of its own, both say it (`agreed.py`).
3. Of the release its manifest comes first; it must have the digest that the channel names. Then what lies beside it, then its files.
   Each is stored under the digest that the manifest lists, so a hostile name means nothing here, and an interrupted file goes on
   where it stopped. Files that are installed already are not fetched.

    metadata/…  channels.json  staged/…            in the fetch folder, where this process stands
    plant/metadata/…  plant/channels.json          the same of the plant's repository
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file
from sealwright.device.agreed import Said, check_carried, check_product, offered_to, seen_of
from sealwright.device.fetcher import METADATA, Source, Transport
from sealwright.device.messages import Seen, Wanted
from sealwright.device.origin import Pinned
from sealwright.errors import RepositoryRefused, RepositoryUnavailable, SealwrightError
from sealwright.release.channels import Channels, parse_channels
from sealwright.release.client import (
    FIRST_ROOT,
    MAX_CHANNELS_BYTES,
    MAX_ROOT_BYTES,
    Client,
    explained,
    fetch_first_root,
    open_client,
)

CHANNELS = "channels.json"


class Ask(Protocol):
    """Whether what was seen is to be fetched."""

    def __call__(self, seen: Seen) -> bool:
        """True to go on."""
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """A repository as one of its copies has it now. channels: of the product, None where it has none of it."""

    pinned: Pinned
    source: Source
    client: Client
    channels: Channels | None


def fetch(source: Source, wanted: Wanted, go_on: Ask, plant: Followed | None = None) -> int:
    """Bring the staging folder, in the current folder, up to date; how many bytes came, -1 where `go_on` said no.

    source: of the maker's repository; plant: its own, where agent.toml names one. RepositoryRefused, RepositoryStale or
    RepositoryUnavailable with the reason.
    """
    with _told(source.name):
        maker = follow(source, wanted.maker, wanted)
        said = Said(maker.channels) if plant is None else Said(plant.channels, maker.channels)
        name = source.name if plant is None else f"{plant.source.name} with {source.name}"
        offered = offered_to(said, wanted)
        if plant is not None and offered is not None:
            check_carried(maker.client, maker.pinned.origin, offered, name)
        if not go_on(seen_of(name, said, offered)) or offered is None:
            return -1
        from sealwright.device.fetchfiles import (
            stage,
        )  # loaded before the rights were given up, where files are fetched at all

        return stage(maker, plant, wanted, offered)


def follow(source: Source, pinned: Pinned, wanted: Wanted) -> Followed:
    """Bring what is kept of a repository up to date. Raises as `fetch`."""
    with _told(source.name):
        transport = Transport(source, wanted.config.limits.rate_bytes)
        metadata = os.path.join(pinned.folder, METADATA)
        os.makedirs(metadata, mode=0o700, exist_ok=True)
        first = _first_root(pinned, metadata, transport)
        client = open_client(first, pinned.root, metadata, transport, transport.urls, wanted.now)
        name = pinned.origin.place.channels
        data = client.read_kept(name, MAX_CHANNELS_BYTES, os.path.join(pinned.folder, CHANNELS))
        channels = parse_channels(data, name) if data is not None else None
        check_product(channels, pinned.origin, wanted.config.product, source.name)
        return Followed(pinned, source, client, channels)


def _first_root(pinned: Pinned, metadata: str, transport: Transport) -> bytes:
    """The initial root, from agent.toml's file, from what was fetched before, or from the repository."""
    for path in (pinned.origin.root, os.path.join(metadata, "root_history", FIRST_ROOT)):
        with suppress(SealwrightError):
            if path and Digest.of(data := read_file(path, MAX_ROOT_BYTES)) == pinned.root:
                return data
    return fetch_first_root(transport, transport.urls[0])


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Every error as one that the agent is told. name: of where the files come from."""
    try:
        with explained(name):
            yield
    except (RepositoryRefused, RepositoryUnavailable):
        raise
    except SealwrightError as cause:
        raise RepositoryRefused(name, f"{cause}"[:300], "Ask its operator for a newer copy.") from cause
