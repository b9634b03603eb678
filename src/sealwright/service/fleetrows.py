"""Reports as rows: what is known of devices before, and what the newest report makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Report
from sealwright.service.fleetoffers import Offered
from sealwright.service.fleettables import DEVICES, EVENTS, REPORTS, RUNNING, USED, Used
from sealwright.store.engine import Store

T = TypeVar("T")
AT_ONCE = 500
RECOUNTED = 5000
_PASSING = re.compile(rb"^#! (?:number|made|nonce) .*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Known:
    """A device of the register. key: SHA-256 of SPKI; number: of its newest report, 0 for none; report: that one's octets; said: `fleettables.py`."""

    id: str
    key: Digest
    group: str
    plant: str
    retired: bool
    number: int
    said: str
    report: bytes


@dataclass(frozen=True, slots=True)
class NewReport:
    """A report that is to be written. octets: the report as it came."""

    device: Known
    report: Report
    octets: bytes
    signature: bytes


Row = dict[str, str | int | bytes]


def batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Parts of at most so many, for statements whose length is bounded."""
    return (values[at : at + size] for at in range(0, len(values), size))


def known_devices(connection: Connection, ids: Iterable[str]) -> Mapping[str, Known]:
    """Those of the register among these ids, locked until the transaction ends."""
    found: dict[str, Known] = {}
    columns = (DEVICES.c.id, DEVICES.c.key, DEVICES.c.grp, DEVICES.c.plant, DEVICES.c.retired, DEVICES.c.number)
    for batch in batched(sorted(ids), AT_ONCE):
        asked = (
            select(*columns, DEVICES.c.said, REPORTS.c.report)
            .join_from(DEVICES, REPORTS, REPORTS.c.device == DEVICES.c.id, isouter=True)
            .where(DEVICES.c.id.in_(batch))
            .order_by(DEVICES.c.id)
            .with_for_update(of=DEVICES)
        )
        for id_, key, grp, plant, retired, number, said, report in connection.execute(asked):
            found[id_] = Known(id_, Digest.parse(key), grp, plant, bool(retired), number, said, report or b"")
    return found


def write_reports(connection: Connection, reports: Sequence[NewReport], offered: Offered, now: datetime) -> None:
    """Write the newest report of each of some devices. now: when they came."""
    if not reports:
        return
    changed = update(DEVICES).where(DEVICES.c.id == bindparam("of"))
    names = ("number", "made", "received", "channel", "trust", "trust_version", "said")
    connection.execute(
        changed.values({name: bindparam(f"to_{name}") for name in names}), [_standing(one, now) for one in reports]
    )
    again = [one for one in reports if one.device.number]
    if again:
        octets = update(REPORTS).where(REPORTS.c.device == bindparam("of"))
        octets = octets.values(report=bindparam("to_report"), signature=bindparam("to_signature"))
        connection.execute(
            octets, [{"of": one.device.id, "to_report": one.octets, "to_signature": one.signature} for one in again]
        )
    if first := [one for one in reports if not one.device.number]:
        connection.execute(
            insert(REPORTS),
            [{"device": one.device.id, "report": one.octets, "signature": one.signature} for one in first],
        )
    other = [one for one in reports if _said(one) != one.device.said]
    ids = [one.device.id for one in other if one.device.number]
    _replace(connection, RUNNING, ids, [row for one in other for row in _running(one, offered)])
    _replace(connection, EVENTS, ids, [row for one in other for row in _events(one)])
    _replace(connection, USED, ids, [row for one in other for row in _used(one)])


def count_again(store: Store, offered: Offered) -> int:
    """Write anew who is behind, because the channels say something else; how many devices' rows are changed by it."""
    changes: list[Row] = []
    with store.read() as connection:
        for device, product, generation, channel, grp, wanted in connection.execute(
            select(
                RUNNING.c.device,
                RUNNING.c.product,
                RUNNING.c.generation,
                RUNNING.c.channel,
                RUNNING.c.grp,
                RUNNING.c.wanted,
            )
        ):
            now = offered.wanted(product, generation, channel, device, grp)
            if now != wanted:
                changes.append({"of": device, "for": product, "had": generation, "to_wanted": now})
    changed = update(RUNNING).where(
        RUNNING.c.device == bindparam("of"),
        RUNNING.c.product == bindparam("for"),
        RUNNING.c.generation == bindparam("had"),
    )
    for batch in batched(changes, RECOUNTED):  # one transaction of all would keep reports waiting
        with store.write() as connection:
            connection.execute(changed.values(wanted=bindparam("to_wanted")), list(batch))
    return len(changes)


def _replace(connection: Connection, table: Table, gone: Sequence[str], rows: Sequence[Row]) -> None:
    """gone: devices whose rows are there."""
    for batch in batched(gone, AT_ONCE):
        connection.execute(delete(table).where(table.c.device.in_(batch)))
    if rows:
        connection.execute(insert(table), rows)


def _said(one: NewReport) -> str:
    """The digest of what is the same in two reports of a device on which nothing happened."""
    return Digest.of(_PASSING.sub(b"", one.octets)).value.hex()


def _standing(one: NewReport, now: datetime) -> Row:
    report = one.report
    return {
        "of": one.device.id,
        "to_number": report.number,
        "to_made": int(report.made.timestamp()),
        "to_received": int(now.timestamp()),
        "to_channel": report.channel,
        "to_trust": report.trust,
        "to_trust_version": report.trust_version,
        "to_said": _said(one),
    }


def _running(one: NewReport, offered: Offered) -> list[Row]:
    device, channel = one.device, one.report.channel
    return [
        {
            "device": device.id,
            "product": release.product,
            "version": release.version,
            "generation": release.generation,
            "manifest": str(release.manifest),
            "since": int(release.at.timestamp()),
            "grp": device.group,
            "plant": device.plant,
            "channel": channel,
            "wanted": offered.wanted(release.product, release.generation, channel, device.id, device.group),
        }
        for release in one.report.running
    ]


def _events(one: NewReport) -> list[Row]:
    return [
        {
            "device": one.device.id,
            "number": number,
            "outcome": event.outcome.value,
            "code": event.code,
            "product": event.release.product,
            "version": event.release.version,
            "generation": event.release.generation,
            "manifest": str(event.release.manifest),
            "at": int(event.release.at.timestamp()),
        }
        for number, event in enumerate(one.report.events)
    ]


def _used(one: NewReport) -> list[Row]:
    pairs = [(Used.PERMIT, digest) for digest in one.report.permits]
    pairs += [(Used.COURIER, digest) for digest in one.report.couriers]
    return [{"device": one.device.id, "kind": kind.value, "digest": str(digest)} for kind, digest in pairs]
