"""Promoting: a release that a repository has is offered to a channel, in the next version of its product's channels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealwright.errors import UsageError
from sealwright.release.catalogue import Listed, channels_of, release_of, versions_of
from sealwright.release.channels import Channels, Offer
from sealwright.release.intake import put_channels
from sealwright.release.layout import ProductPath
from sealwright.release.offers import Wanted, promoted
from sealwright.release.staging import Staging


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom an offer is for. percent: of the channel's devices, 1 to 100; groups: () for all."""

    channel: str
    percent: int = 100
    groups: tuple[str, ...] = ()


def known_channels(staging: Staging, product: ProductPath) -> Channels:
    """What is offered of a product; UsageError where the repository has no release of it."""
    channels = channels_of(staging, product)
    if channels is None:
        raise UsageError(str(product), "the repository has no release of it", "Add one: `sealwright release add`.")
    return channels


def promote(staging: Staging, product: ProductPath, version: str, reach: Reach, now: datetime) -> Offer:
    """Stage the offer; UsageError where it is made already, ReleaseRefused where it goes back."""
    listed = release_of(staging, product, version)
    offer = Offer(reach.channel, listed.named, reach.percent, tuple(sorted(set(reach.groups))))
    channels = known_channels(staging, product)
    enforces = {
        one.release.manifest: release_of(staging, product, one.release.version).description.enforces
        for one in channels.offers
        if one.channel == reach.channel
    }
    put_channels(staging, product, promoted(channels, Wanted(offer, enforces)), now)
    return offer


def promote_newest(staging: Staging, product: ProductPath, channel: str, now: datetime) -> Offer | None:
    """Offer the newest release of a product that was not withdrawn to all of a channel; None where that is so already, or there is none."""
    channels = channels_of(staging, product)
    if channels is None:
        return None
    every = [release_of(staging, product, version) for version in versions_of(staging, product)]
    good = [one for one in every if channels.withdrawal(one.named.manifest) is None]
    newest: Listed | None = max(good, key=lambda one: one.named.generation, default=None)
    if newest is None or Offer(channel, newest.named, 100, ()) in channels.offers:
        return None
    return promote(staging, product, newest.named.version, Reach(channel), now)
