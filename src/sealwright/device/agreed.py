"""What a device is offered: by its maker's channels alone, or by the plant's beside them.

1. Where agent.toml names a plant's repository, the plant's channels say which devices get which release; the maker's offer nothing by
   themselves.
2. What either of the two withdrew is offered to nobody.
3. The maker's repository must have the release that the plant offers, with the manifest of that digest (`check_carried`): the plant
   chooses among the maker's releases and makes none. Which channel of the maker's has it is not asked: a plant that tests for a month
   goes on with what it accepted when the maker is two releases further.
4. Two repositories are two: a role's key that both have would let one speak for the other (`check_apart`).
A release that a permit is for is taken from whichever of the two offers it, and the maker's must have it all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.device.messages import Seen, Wanted
from sealwright.errors import RepositoryRefused
from sealwright.release.channels import Channels, Named, Withdrawn

if TYPE_CHECKING:
    from sealwright.device.origin import Origin
    from sealwright.release.client import Client

MAX_TOLD = 100


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of the product. deciding: the plant's channels, or the maker's where it is alone; maker: the maker's beside them.
    None where a repository has nothing of the product."""

    deciding: Channels | None
    maker: Channels | None = None

    @property
    def known(self) -> tuple[Channels, ...]:
        """Those that there are."""
        return tuple(one for one in (self.deciding, self.maker) if one is not None)


def offered_to(said: Said, wanted: Wanted) -> Named | None:
    """What this device is offered; before that a release that a permit is for, whichever channel has it."""
    gone = tuple(chain.from_iterable(one.withdrawn for one in said.known))
    manifests = {one.release.manifest for one in gone}
    for offer in chain.from_iterable(one.offers for one in said.known):
        if offer.release.manifest in wanted.permitted - manifests:
            return offer.release
    if said.deciding is None:
        return None
    config = wanted.config
    return replace(said.deciding, withdrawn=gone).offered(config.channel, config.device, config.group)


def seen_of(source: str, said: Said, offered: Named | None) -> Seen:
    """What is said to the agent. source: the name of where it comes from."""
    serial = said.deciding.serial if said.deciding is not None else 1
    return Seen(source, offered, tuple(_told(said)), serial)


def check_product(channels: Channels | None, origin: Origin, product: str, subject: str) -> None:
    """RepositoryRefused where the place in a repository is of another product than the device."""
    if channels is not None and channels.product != product:
        raise RepositoryRefused(
            subject,
            f"{origin.place} is {display(channels.product)} there, and {product} here",
            "Correct `path` or `product` in agent.toml.",
        )


def check_carried(maker: Client, origin: Origin, offered: Named, subject: str) -> None:
    """RepositoryRefused unless the maker's repository has what the plant offers; also what the client raises."""
    name = origin.place.manifest(offered.version)
    target = maker.target(name)
    found = None if target is None else target.hashes.get("sha256")
    if found != offered.manifest.value.hex():
        raise RepositoryRefused(
            subject,
            f"the plant offers {offered.version} ({offered.manifest}), and the maker's repository has "
            + (f"no {name}" if found is None else f"another {name}"),
            "Ask whoever publishes for the plant; a release never changes.",
        )


def check_apart(maker: Client, plant: Client, subject: str) -> None:
    """RepositoryRefused where the two repositories share a key."""
    if maker.keys & plant.keys:
        raise RepositoryRefused(
            subject,
            "the plant's repository and the maker's have a key in common",
            "Give the plant's repository keys of its own.",
        )


def _told(said: Said) -> Iterator[Withdrawn]:
    """The newest withdrawals of each, so that neither's list pushes out the other's; each release once."""
    told: set[Digest] = set()
    for channels in said.known:
        newest = sorted(channels.withdrawn, key=lambda one: one.release.generation)[-(MAX_TOLD // len(said.known)) :]
        for one in newest:
            if one.release.manifest not in told:
                told.add(one.release.manifest)
                yield one
