"""What a publication sends out, recorded in the journal of the home that publishes, before clients can see it (`signing/released.py`).

A release is recorded once when its manifest is published, and once more for each channel that offers it. Should the publication not come
to its end, the record says too much, never too little: who has to be told of a lost key is looked up here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import TargetFile

from sealwright.artifact.digest import Digest
from sealwright.release.catalogue import MAX_READ_BYTES, read_target
from sealwright.release.channels import Channels, parse_channels
from sealwright.release.layout import CHANNELS, MANIFEST
from sealwright.release.staging import Staging
from sealwright.signing.home import Home
from sealwright.signing.released import Origin, Where, identify, record


@dataclass(frozen=True, slots=True)
class Sent:
    """A release that goes out. manifest: its digest; channel: that offers it from now on, "" where it is published."""

    manifest: Digest
    channel: str


def sent_by(staging: Staging, targets: tuple[TargetFile, ...]) -> tuple[Sent, ...]:
    """What new targets send out. targets: that are staged and not yet published."""
    found = []
    for target in targets:
        name = target.path.rpartition("/")[2]
        if name.endswith(MANIFEST) and target.path.count("/") == 2 and target.length <= MAX_READ_BYTES:
            found.append(Sent(Digest.parse(f"sha256:{target.hashes['sha256']}"), ""))
        elif name == CHANNELS:
            before = _published_channels(staging, target.path)
            known = {(one.channel, one.release.manifest) for one in before.offers} if before else set()
            now = parse_channels(read_target(staging, target), target.path)
            offered = {(one.channel, one.release.manifest) for one in now.offers} - known
            found += [Sent(manifest, channel) for channel, manifest in sorted(offered, key=str)]
    return tuple(found)


def record_sent(home: Home, place: str, sent: tuple[Sent, ...], now: datetime) -> None:
    """Durable when it returns; JournalError where it may not be."""
    for channel in sorted({one.channel for one in sent}):
        digests = [str(one.manifest) for one in sent if one.channel == channel]
        record(home, identify(home, digests, Origin.ANYWHERE), Where(place, channel, now), now)


def _published_channels(staging: Staging, path: str) -> Channels | None:
    line = staging.published_role(path.partition("/")[0])
    target = None if line is None else line.signed.targets.get(path)
    return None if target is None else parse_channels(read_target(staging, target), path)
