"""How the offers of a product stand on the devices: which group runs each, waits for it, refused it or went back from it.

Counted from the newest report of each device that is not retired, by the channels as this service has them. A device waits for the one release
that its channel offers it and that it does not run (`channels.py`); one that told only of a refusal, because it runs nothing yet, counts too.
What a device says is what it says: see `docs/fleet.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, and_, distinct, func, select

from sealwright.release.channels import Channels, Offer
from sealwright.service.fleetoffers import Offered
from sealwright.service.fleetqueries import count_devices, used_ones, withdrawn_runs
from sealwright.service.fleettables import DEVICES, EVENTS, RUNNING, Used
from sealwright.service.fleetwire import GroupStands, GroupTrouble, OfferStands, RollOut
from sealwright.store.engine import Store


class Place(NamedTuple):
    """Where a device belongs: the channel that it follows, and its group in the register."""

    channel: str
    group: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of devices. devices: with the product; runs: by manifest; waits: by generation; troubles: by manifest."""

    devices: Counter[Place]
    runs: Counter[tuple[Place, str]]
    waits: Counter[tuple[Place, int]]
    troubles: Mapping[tuple[str, str], list[GroupTrouble]]


def roll_out(store: Store, offered: Offered, product: str) -> RollOut:
    """The offers of one product, channel by channel, the newest first; none where the channels of the product are not known here."""
    channels = offered.channels.get(product)
    alive = DEVICES.c.retired == 0
    with store.read() as connection:
        counts = _counted(connection, channels, product)
        return RollOut(
            product=product,
            serial=0 if channels is None else channels.serial,
            devices=count_devices(connection, alive),
            never=count_devices(connection, and_(alive, DEVICES.c.received == 0)),
            offers=[] if channels is None else [_stands(one, counts) for one in _in_order(channels)],
            withdrawn=[one for one in withdrawn_runs(connection, offered) if one.product == product],
            couriers=[one for one in used_ones(connection) if one.kind == Used.COURIER],
        )


def _in_order(channels: Channels) -> list[Offer]:
    return sorted(channels.offers, key=lambda one: (one.channel, -one.release.generation))


def _stands(offer: Offer, counts: Counts) -> OfferStands:
    release, manifest = offer.release, str(offer.release.manifest)
    troubles = counts.troubles.get((offer.channel, manifest), [])
    troubled = {one.group for one in troubles}
    groups = []
    for where, devices in sorted(counts.devices.items()):
        runs, waits = counts.runs[where, manifest], counts.waits[where, release.generation]
        meant = not offer.groups or where.group in offer.groups
        if where.channel == offer.channel and (meant or runs or where.group in troubled):
            groups.append(GroupStands(where.group, devices, runs, waits if meant else 0))
    return OfferStands(offer.channel, release.version, release.generation, manifest, groups, troubles)


def _counted(connection: Connection, channels: Channels | None, product: str) -> Counts:
    of_product = RUNNING.c.product == product
    devices: Counter[Place] = Counter()
    runs: Counter[tuple[Place, str]] = Counter()
    place = (RUNNING.c.channel, RUNNING.c.grp)
    # in the order of the index, else the database sorts every row
    of_index = (RUNNING.c.generation, RUNNING.c.manifest, RUNNING.c.version, RUNNING.c.grp, RUNNING.c.channel)
    for _, manifest, _, group, channel, number in connection.execute(
        select(*of_index, func.count()).where(of_product).group_by(*of_index)
    ):
        runs[Place(channel, group), manifest] += number
        devices[Place(channel, group)] += number
    waits: Counter[tuple[Place, int]] = Counter()
    for channel, group, wanted, number in connection.execute(
        select(*place, RUNNING.c.wanted, func.count())
        .where(of_product, RUNNING.c.wanted > 0)
        .group_by(*place, RUNNING.c.wanted)
    ):
        waits[Place(channel, group), wanted] += number
    for device, where in _without(connection, product):
        devices[where] += 1
        release = None if channels is None else channels.offered(where.channel, device, where.group)
        if release is not None:
            waits[where, release.generation] += 1
    return Counts(devices, runs, waits, _troubles(connection, product))


def _without(connection: Connection, product: str) -> Iterator[tuple[str, Place]]:
    """The devices that told something about a product and run none of it."""
    asked = (
        select(EVENTS.c.device, DEVICES.c.channel, DEVICES.c.grp)
        .distinct()
        .join_from(EVENTS, DEVICES, DEVICES.c.id == EVENTS.c.device)
        .join(RUNNING, and_(RUNNING.c.device == EVENTS.c.device, RUNNING.c.product == product), isouter=True)
        .where(EVENTS.c.product == product, RUNNING.c.device.is_(None))
    )
    for device, channel, group in connection.execute(asked):
        yield device, Place(channel, group)


def _troubles(connection: Connection, product: str) -> dict[tuple[str, str], list[GroupTrouble]]:
    """By channel and manifest."""
    columns = (DEVICES.c.channel, EVENTS.c.manifest, DEVICES.c.grp, EVENTS.c.outcome, EVENTS.c.code)
    asked = (
        select(*columns, func.count(distinct(EVENTS.c.device)))
        .join_from(EVENTS, DEVICES, DEVICES.c.id == EVENTS.c.device)
        .where(EVENTS.c.product == product)
        .group_by(*columns)
        .order_by(*columns)
    )
    found: dict[tuple[str, str], list[GroupTrouble]] = {}
    for channel, manifest, group, outcome, code, number in connection.execute(asked):
        found.setdefault((channel, manifest), []).append(GroupTrouble(group, outcome, code, number))
    return found
