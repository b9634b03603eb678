"""What a repository offers, as the agent itself verifies it: nothing that the fetch process says of it is believed.

1. The metadata and `channels.json` that the fetch process kept are read again by python-tuf's client, from the trust file's root on, at the
   judgement time, into a folder of the agent's own (`metadata`), which the fetch process cannot write.
2. No role is older than one that the verifier's memory has seen, wherever python-tuf's copies went (A144, A147).
3. What the fetch process said must be what follows from them for this device: a fetch process that was taken over can withhold, and
   then the metadata ends; it can neither bring up an offer nor make the device forget what was withdrawn, or withdraw something.

4. A new root that the fetch process found counts at once, though the rest was refused (`learn_roots`): it may end a stolen key.

What was verified is noted (`metadata/seen`) with the timestamp that it followed from, so that a check with nothing new reads one small file.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.device.fetch import MAX_CHANNELS_BYTES, offered_to, seen_of
from sealwright.device.messages import Seen, Wanted, message_bytes
from sealwright.errors import RepositoryRefused
from sealwright.log.canonical import read_time, time_text
from sealwright.release.channels import parse_channels
from sealwright.release.client import check_versions, fetch_file, fetch_first_root, open_client, take_roots
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher
from sealwright.trust.state import read_state, update_state

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    fetcher = _Fetched(fetched)
    note = _note(fetch_file(fetcher, f"{METADATA}timestamp.json", MAX_TIMESTAMP_BYTES), seen, wanted)
    if _is_noted(own, note, wanted.now) and not _has_newer_root(own, fetched):
        return
    os.makedirs(own, mode=0o700, exist_ok=True)
    first = fetch_first_root(fetcher, METADATA)
    client = open_client(first, wanted.root, own, fetcher, (METADATA, TARGETS), wanted.now)
    versions = client.versions()
    check_versions(versions, read_state(memory).lists, seen.source)
    place = wanted.config.place.channels
    data = client.read(place, MAX_CHANNELS_BYTES)
    channels = parse_channels(data, place) if data is not None else None
    offered = offered_to(channels, wanted) if channels is not None else None
    other = channels is not None and channels.product != wanted.config.product
    if other or seen_of(seen.source, channels, offered) != seen:
        raise RepositoryRefused(seen.source, "what is offered does not follow from its metadata", _NEXT)
    update_state(memory, lambda kept: kept.having_seen(trust.id, trust.version, versions))
    until = time_text(client.ends)
    write_atomic(os.path.join(own, NOTE), f"{until} {note}\n".encode(), replace=Replace.YES, mode=0o600)


def learn_roots(wanted: Wanted, trust: TrustFile, fetched: str, memory: str) -> None:
    """Remember the newest root that lies in the fetch process's folder. RepositoryRefused, RepositoryUnavailable where none can be read."""
    own = os.path.join(wanted.config.state, FOLDER)
    os.makedirs(own, mode=0o700, exist_ok=True)
    fetcher = _Fetched(fetched)
    versions = take_roots(fetch_first_root(fetcher, METADATA), wanted.root, own, fetcher, METADATA)
    update_state(memory, lambda kept: kept.having_seen(trust.id, trust.version, versions))


def _has_newer_root(own: str, fetched: str) -> bool:
    """Whether the fetch process has a root beyond the one that the agent stands at."""
    history = os.path.join("metadata", "root_history")
    newest = max((int(one.partition(".")[0]) for one in os.listdir(os.path.join(own, "root_history"))), default=0)
    return os.path.lexists(os.path.join(fetched, history, f"{newest + 1}.root.json"))


def _note(timestamp: bytes, seen: Seen, wanted: Wanted) -> str:
    """What was said, by which timestamp, to which device; as digests."""
    config = wanted.config
    asked = (wanted.root, config.device, config.product, config.place, config.group, config.channel)
    return f"{Digest.of(timestamp)} {Digest.of(message_bytes(seen))} " + str(
        Digest.of("\n".join((*map(str, asked), *sorted(map(str, wanted.permitted)))).encode())
    )


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
