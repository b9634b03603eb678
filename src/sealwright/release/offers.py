"""Promoting and withdrawing: each makes the next `channels.json` of a product out of the one before.

A release is offered to a channel's devices by percentage and groups. What never happens: a version that the repository has not, one
that was withdrawn, one older than a withdrawn one, or one below the generation that an offered release of the channel enforces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sealwright.artifact.digest import Digest
from sealwright.errors import ReleaseRefused, UsageError
from sealwright.release.channels import Channels, Named, Offer, Withdrawn


@dataclass(frozen=True, slots=True)
class Wanted:
    """An offer to be made. enforces: by manifest, the generation that each release enforces once it is installed."""

    offer: Offer
    enforces: Mapping[Digest, int]


def promoted(channels: Channels, wanted: Wanted) -> Channels:
    """The channels with an offer in place of the same release's earlier one in that channel; ReleaseRefused where it goes back.

    Offers of older releases to the same channel end where the new one reaches everybody.
    """
    offer = wanted.offer
    release = offer.release
    _check_not_back(channels, wanted)
    kept = [one for one in channels.offers if (one.channel, one.release) != (offer.channel, release)]
    if offer.percent == 100 and not offer.groups:
        kept = [one for one in kept if one.channel != offer.channel or one.release.generation > release.generation]
    if any(one == offer for one in channels.offers) and len(kept) + 1 == len(channels.offers):
        raise UsageError(release.version, f"{offer.channel} offers it so already", "Nothing is to do.")
    return replace(channels, serial=channels.serial + 1, offers=(*kept, offer))


def withdrawn(channels: Channels, release: Named, advisory: str) -> Channels:
    """The channels without any offer of a release, which is marked with the notice that says why. UsageError where it is already."""
    if channels.withdrawal(release.manifest) is not None:
        raise UsageError(release.version, "it is withdrawn already", "Nothing is to do.")
    return replace(
        channels,
        serial=channels.serial + 1,
        offers=tuple(one for one in channels.offers if one.release.manifest != release.manifest),
        withdrawn=(*channels.withdrawn, Withdrawn(release, advisory)),
    )


def _check_not_back(channels: Channels, wanted: Wanted) -> None:
    release, channel = wanted.offer.release, wanted.offer.channel
    gone = channels.withdrawal(release.manifest)
    if gone is not None:
        raise ReleaseRefused(
            release.version, f"it is withdrawn ({gone.advisory})", "Promote a release that closes that hole."
        )
    newer = max((one.release for one in channels.withdrawn), key=lambda one: one.generation, default=None)
    if newer is not None and release.generation < newer.generation:
        raise ReleaseRefused(
            release.version,
            f"its generation {release.generation} is below that of {newer.version}, {newer.generation}, which is withdrawn",
            "Promote a newer release.",
        )
    enforcing = [one.release for one in channels.offers if one.channel == channel]
    floor = max((wanted.enforces.get(one.manifest, 0) for one in enforcing), default=0)
    if release.generation < floor:
        raise ReleaseRefused(
            release.version,
            f"its generation {release.generation} is below {floor}, which {channel} enforces already",
            "Promote a release of at least that generation.",
        )
