"""Questions about the fleet, answered from the newest report of each device that is not retired.

Each is one or a few statements that an index answers. Lists of devices come in pages by id, at most `PAGE` a page; tables of counts hold at
most `ROWS`, the largest first. `touched` is the dry run before a revocation or a deny entry (A155): which devices run what it would end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, distinct, func, select, true

from sealwright.log.canonical import time_text
from sealwright.service.fleetoffers import Offered
from sealwright.service.fleetregister import time_of
from sealwright.service.fleettables import DEVICES, EVENTS, REPORTS, RUNNING, USED, Used
from sealwright.service.fleetwire import (
    Behind,
    DeviceLine,
    DevicePage,
    DeviceReport,
    Runs,
    Status,
    Trouble,
    UsedOnes,
    WithdrawnRuns,
)
from sealwright.store.engine import Store

PAGE = 1000
ROWS = 2000
MAX_MANIFESTS = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked about: releases by manifest, or those of a product below a generation; "" and 0 where it is not said."""

    manifests: tuple[str, ...] = ()
    product: str = ""
    below: int = 0


def status(store: Store, offered: Offered, answers: Mapping[str, int], now: datetime, silent_hours: int) -> Status:
    """The fleet in numbers. silent_hours: without a report for so long counts as silent."""
    with store.read() as connection:
        alive, since = DEVICES.c.retired == 0, _before(now, silent_hours)
        devices, never, silent = (
            count_devices(connection, and_(alive, more))
            for more in (true(), DEVICES.c.received == 0, DEVICES.c.received < since)
        )
        return Status(
            devices=devices,
            retired=count_devices(connection, DEVICES.c.retired > 0),
            never=never,
            silent=silent,
            silent_hours=silent_hours,
            runs=_runs(connection),
            behind=_behind(connection),
            withdrawn=withdrawn_runs(connection, offered),
            troubles=_troubles(connection),
            used=used_ones(connection),
            answers=dict(answers),
        )


def running(store: Store, scope: Scope, after: str) -> DevicePage:
    """The devices that run what is asked about: whom a revocation of it touches."""
    wanted = and_(true(), *_conditions(scope))
    return _releases(store, wanted, after)


def behind(store: Store, product: str, group: str, after: str) -> DevicePage:
    """The devices that are behind. product, group: "" for all."""
    conditions = [RUNNING.c.wanted > 0]
    conditions += [RUNNING.c.product == product] if product else []
    conditions += [RUNNING.c.grp == group] if group else []
    return _releases(store, and_(*conditions), after)


def silent(store: Store, now: datetime, hours: int, after: str) -> DevicePage:
    """The devices without a report for so many hours, or for ever."""
    wanted = and_(DEVICES.c.retired == 0, DEVICES.c.received < _before(now, hours))
    columns = (DEVICES.c.id, DEVICES.c.grp, DEVICES.c.plant, DEVICES.c.received)
    with store.read() as connection:
        total = count_devices(connection, wanted)
        found = connection.execute(
            select(*columns).where(wanted, DEVICES.c.id > after).order_by(DEVICES.c.id).limit(PAGE)
        ).all()
    return _page(total, [DeviceLine(id_, grp, plant, _told(received)) for id_, grp, plant, received in found])


def using(store: Store, kind: Used, digest: str, after: str) -> DevicePage:
    """The devices that say that they used a permit, or took a courier over."""
    wanted = and_(USED.c.kind == kind.value, USED.c.digest == digest)
    columns = (DEVICES.c.id, DEVICES.c.grp, DEVICES.c.plant, DEVICES.c.received)
    with store.read() as connection:
        total = connection.execute(select(func.count()).select_from(USED).where(wanted)).scalar_one()
        found = connection.execute(
            select(*columns)
            .join_from(USED, DEVICES, DEVICES.c.id == USED.c.device)
            .where(wanted, USED.c.device > after)
            .order_by(USED.c.device)
            .limit(PAGE)
        ).all()
    return _page(total, [DeviceLine(id_, grp, plant, _told(received)) for id_, grp, plant, received in found])


def device(store: Store, id_: str) -> DeviceReport | None:
    """A device with its newest report; None where it is not in the register."""
    asked = (
        select(DEVICES, REPORTS.c.report, REPORTS.c.signature)
        .join_from(DEVICES, REPORTS, REPORTS.c.device == DEVICES.c.id, isouter=True)
        .where(DEVICES.c.id == id_)
    )
    with store.read() as connection:
        found = connection.execute(asked).one_or_none()
    if found is None:
        return None
    return DeviceReport(
        device=found.id,
        key=found.key,
        group=found.grp,
        plant=found.plant,
        retired=found.retired > 0,
        number=found.number,
        received=_told(found.received),
        report=found.report or b"",
        signature=found.signature or b"",
    )


def _conditions(scope: Scope) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if scope.manifests:
        conditions.append(RUNNING.c.manifest.in_(scope.manifests))
    if scope.product:
        conditions.append(RUNNING.c.product == scope.product)
    if scope.below:
        conditions.append(RUNNING.c.generation < scope.below)
    return conditions


def _releases(store: Store, wanted: ColumnElement[bool], after: str) -> DevicePage:
    """A page of devices by what they run; a device is on one page with all its releases that are asked about.

    All ids are fetched, for the total is wanted too: an index has them, and a database that was to sort them would read the rows.
    """
    names = (RUNNING.c.product, RUNNING.c.version, RUNNING.c.generation, RUNNING.c.wanted)
    with store.read() as connection:
        ids = sorted(set(connection.execute(select(RUNNING.c.device).where(wanted)).scalars()))
        first = bisect_right(ids, after)
        listed = ids[first : first + PAGE]
        found = connection.execute(
            select(RUNNING.c.device, RUNNING.c.grp, RUNNING.c.plant, DEVICES.c.received, *names)
            .join_from(RUNNING, DEVICES, DEVICES.c.id == RUNNING.c.device)
            .where(wanted, RUNNING.c.device.in_(listed))
        ).all()
    lines = [DeviceLine(id_, grp, plant, _told(received), *rest) for id_, grp, plant, received, *rest in sorted(found)]
    return DevicePage(len(ids), lines, listed[-1] if first + PAGE < len(ids) else None)


def _page(total: int, lines: list[DeviceLine]) -> DevicePage:
    return DevicePage(total, lines, lines[-1].device if len(lines) == PAGE else None)


def count_devices(connection: Connection, wanted: ColumnElement[bool]) -> int:
    """How many devices of the register are so."""
    return connection.execute(select(func.count()).select_from(DEVICES).where(wanted)).scalar_one()


def _runs(connection: Connection) -> list[Runs]:
    columns = (
        RUNNING.c.product,
        RUNNING.c.version,
        RUNNING.c.generation,
        RUNNING.c.manifest,
        RUNNING.c.grp,
        RUNNING.c.channel,
    )
    return [Runs(*row) for row in _grouped(connection, columns)]


def _behind(connection: Connection) -> list[Behind]:
    columns = (RUNNING.c.product, RUNNING.c.grp, RUNNING.c.generation, RUNNING.c.wanted)
    return [Behind(*row) for row in _grouped(connection, columns, RUNNING.c.wanted > 0)]


def _troubles(connection: Connection) -> list[Trouble]:
    columns = (EVENTS.c.outcome, EVENTS.c.code, EVENTS.c.product, EVENTS.c.version, EVENTS.c.generation)
    number = func.count(distinct(EVENTS.c.device))
    found = connection.execute(
        select(*columns, number).group_by(*columns).order_by(number.desc(), *columns).limit(ROWS)
    )
    return [Trouble(*row) for row in found]


def used_ones(connection: Connection) -> list[UsedOnes]:
    """Permits and couriers, by the number of devices that told of them."""
    return [UsedOnes(*row) for row in _grouped(connection, (USED.c.kind, USED.c.digest))]


def _grouped(
    connection: Connection, columns: Sequence[ColumnElement[object]], wanted: ColumnElement[bool] | None = None
) -> list[tuple[Any, ...]]:
    number = func.count()
    asked = select(*columns, number).group_by(*columns).order_by(number.desc(), *columns).limit(ROWS)
    return [tuple(row) for row in connection.execute(asked if wanted is None else asked.where(wanted))]


def withdrawn_runs(connection: Connection, offered: Offered) -> list[WithdrawnRuns]:
    """What was withdrawn and still runs."""
    gone = offered.withdrawn
    if not gone:
        return []
    counted = (
        select(RUNNING.c.manifest, func.count()).where(RUNNING.c.manifest.in_(list(gone))).group_by(RUNNING.c.manifest)
    )
    found = []
    for manifest, number in connection.execute(counted.order_by(func.count().desc(), RUNNING.c.manifest)):
        product, one = gone[manifest]
        release = one.release
        found.append(WithdrawnRuns(product, release.version, release.generation, manifest, one.advisory, number))
    return found


def _before(now: datetime, hours: int) -> int:
    return int((now - timedelta(hours=hours)).timestamp())


def _told(seconds: int) -> str:
    return time_text(time_of(seconds)) if seconds else ""
