"""What is offered, as the agent itself verifies it: nothing that the fetch process says of it is believed.

1. The metadata and `channels.json` that the fetch process kept of each repository are read again by python-tuf's client, from the trust
   file's root on, at the judgement time, into a folder of the agent's own (`metadata`, and `metadata-plant` for the plant's), which the
   fetch process cannot write.
2. No role is older than one that the verifier's memory has seen, wherever python-tuf's copies went (A144, A147).
3. Where the plant has a repository of its own, it shares no key with the maker's, and the maker's has what it offers (`agreed.py`).
4. What the fetch process said must be what follows from them for this device: a fetch process that was taken over can withhold, and
   then the metadata ends; it can neither bring up an offer nor make the device forget what was withdrawn, or withdraw something.
5. A new root that the fetch process found counts at once, though the rest was refused (`learn_roots`): it may end a stolen key.

What was verified is noted (`metadata/seen`) with the timestamps that it followed from, so that a check with nothing new reads one small
file a repository.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.device.agreed import Said, check_apart, check_carried, check_product, offered_to, seen_of
from sealwright.device.messages import Seen, Wanted, message_bytes
from sealwright.errors import RepositoryRefused, RepositoryUnavailable
from sealwright.log.canonical import read_time, time_text
from sealwright.release.channels import Channels, parse_channels
from sealwright.release.client import (
    MAX_CHANNELS_BYTES,
    Client,
    check_versions,
    fetch_file,
    fetch_first_root,
    open_client,
    take_roots,
)
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher
from sealwright.trust.state import read_state, update_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwright.device.origin import Pinned
    from sealwright.trust.model import TrustFile

FOLDER = "metadata"
NOTE = "seen"
MAX_NOTE_BYTES = 1024
MAX_TIMESTAMP_BYTES = 16 << 10
_NEXT = "The fetch process of this device cannot be relied on: look at the account `user` of agent.toml, and remove the folder `fetch`."


def check_seen(seen: Seen, wanted: Wanted, trust: TrustFile, fetched: str, memory: str) -> None:
    """RepositoryRefused where the fetch process says what does not follow from what it fetched, or that is older than what was seen;
    RepositoryStale, RepositoryUnavailable as the repository's.

    fetched: the folder of the fetch process; memory: the verifier's.
    """
    own = os.path.join(wanted.config.state, FOLDER)
    note = _note(seen, wanted, fetched)
    if _is_noted(own, note, wanted.now) and not any(_has_newer_root(one, wanted, fetched) for one in _followed(wanted)):
        return
    maker = _read(wanted.maker, wanted, fetched, memory)
    plant = _read(wanted.plant, wanted, fetched, memory) if wanted.plant is not None else None
    said = Said(maker.channels) if plant is None else Said(plant.channels, maker.channels)
    offered = offered_to(said, wanted)
    if plant is not None:
        check_apart(maker.client, plant.client, seen.source)
        if offered is not None:
            check_carried(maker.client, wanted.config.maker, offered, seen.source)
    if seen_of(seen.source, said, offered) != seen:
        raise RepositoryRefused(seen.source, "what is offered does not follow from its metadata", _NEXT)
    read = [one for one in (maker, plant) if one is not None]
    versions = {name: version for one in read for name, version in one.client.versions().items()}
    update_state(memory, lambda kept: kept.having_seen(trust.id, trust.version, versions))
    until = time_text(min(one.client.ends for one in read))
    write_atomic(os.path.join(own, NOTE), f"{until} {note}\n".encode(), replace=Replace.YES, mode=0o600)


def learn_roots(wanted: Wanted, trust: TrustFile, fetched: str, memory: str) -> None:
    """Remember the newest root of each repository that lies in the fetch process's folder; what cannot be read or is refused is passed over."""
    for pinned in _followed(wanted):
        with suppress(RepositoryRefused, RepositoryUnavailable):
            _learn(pinned, wanted, trust, fetched, memory)


def _learn(pinned: Pinned, wanted: Wanted, trust: TrustFile, fetched: str, memory: str) -> None:
    own, fetcher = _own(pinned, wanted), _Fetched(os.path.join(fetched, pinned.folder))
    os.makedirs(own, mode=0o700, exist_ok=True)
    versions = take_roots(fetch_first_root(fetcher, METADATA), pinned.root, own, fetcher, METADATA)
    update_state(memory, lambda kept: kept.having_seen(trust.id, trust.version, versions))


def _followed(wanted: Wanted) -> tuple[Pinned, ...]:
    return tuple(one for one in (wanted.maker, wanted.plant) if one is not None)


def _own(pinned: Pinned, wanted: Wanted) -> str:
    return os.path.join(wanted.config.state, f"{FOLDER}-{pinned.folder}" if pinned.folder else FOLDER)


def _has_newer_root(pinned: Pinned, wanted: Wanted, fetched: str) -> bool:
    """Whether the fetch process has a root beyond the one that the agent stands at."""
    history = os.path.join(_own(pinned, wanted), "root_history")
    if not os.path.isdir(history):
        return True
    newest = max((int(one.partition(".")[0]) for one in os.listdir(history) if one.endswith(".root.json")), default=0)
    return os.path.lexists(os.path.join(fetched, pinned.folder, "metadata", "root_history", f"{newest + 1}.root.json"))


@dataclass(frozen=True, slots=True)
class _Read:
    """A repository as the fetch process kept it, verified. channels: of the product, None where it has none of it."""

    client: Client
    channels: Channels | None


def _read(pinned: Pinned, wanted: Wanted, fetched: str, memory: str) -> _Read:
    own = _own(pinned, wanted)
    os.makedirs(own, mode=0o700, exist_ok=True)
    fetcher, name = _Fetched(os.path.join(fetched, pinned.folder)), ", ".join(pinned.origin.repositories)
    client = open_client(
        fetch_first_root(fetcher, METADATA), pinned.root, own, fetcher, (METADATA, TARGETS), wanted.now
    )
    check_versions(client.versions(), read_state(memory).lists, name)
    place = pinned.origin.place.channels
    data = client.read(place, MAX_CHANNELS_BYTES)
    channels = parse_channels(data, place) if data is not None else None
    check_product(channels, pinned.origin, wanted.config.product, name)
    return _Read(client, channels)


def _note(seen: Seen, wanted: Wanted, fetched: str) -> str:
    """What was said, by which timestamps, to which device; as digests."""
    config = wanted.config
    follows = _followed(wanted)
    stamps = [
        fetch_file(_Fetched(os.path.join(fetched, one.folder)), f"{METADATA}timestamp.json", MAX_TIMESTAMP_BYTES)
        for one in follows
    ]
    asked = (config.device, config.product, config.group, config.channel)
    where = [str(part) for one in follows for part in (one.root, one.origin.place)]
    texts = (*asked, *where, *sorted(map(str, wanted.permitted)))
    return " ".join(str(Digest.of(data)) for data in (b"".join(stamps), message_bytes(seen), "\n".join(texts).encode()))


def _is_noted(own: str, note: str, now: datetime) -> bool:
    data = read_file_or_none(os.path.join(own, NOTE), MAX_NOTE_BYTES) or b""
    until, _, noted = data.decode("ascii", "replace").removesuffix("\n").partition(" ")
    return noted == note and now < read_time(until)


class _Fetched(FolderFetcher):
    """The fetch process's folder under the names by which python-tuf asks for what lies there."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        if not url.startswith(METADATA):
            return super()._fetch("folder:channels.json")
        name = url.removeprefix(METADATA)
        version, _, rest = name.partition(".")
        if rest == "root.json":
            return super()._fetch(f"{METADATA}root_history/{name}")
        return super()._fetch(f"{METADATA}{rest if version.isdecimal() else name}")
