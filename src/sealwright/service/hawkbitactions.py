"""What a device is to do next, and what it told of it.

1. One action at a time: the release that its channel offers it (`release/channels.py`), if it is newer than what the device runs as far as anybody said.
2. An action whose release is not offered to the device any more is to be cancelled. A device that has gone too far rejects that, and the action is kept
   until it tells how it ended; it is not asked again.
3. What failed on a device is not offered to it again before an operator says so (`again`). What was cancelled is, where it is offered again.
4. A closed action takes no further word. Nothing that is told is proof of anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from sqlalchemy import Connection, Row, func, insert, select, update

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.report import is_device
from sealwright.errors import UsageError
from sealwright.release.channels import Named
from sealwright.service.fleetregister import time_of
from sealwright.service.hawkbitoffers import ForDevice
from sealwright.service.hawkbitregister import Registered, not_there
from sealwright.service.hawkbittables import ACTIONS, State
from sealwright.store.engine import Store

MAX_DETAILS = 20
MAX_DETAIL = 200
OPEN = (State.OFFERED, State.PROCEEDING)
_TAKES_WORDS = (*OPEN, State.KEPT)


@dataclass(frozen=True, slots=True)
class Action:
    """A release that a device was offered. details: its last words, made printable; told: None before the first."""

    device: str
    number: int
    path: str
    release: Named
    state: State
    offered: datetime
    told: datetime | None
    details: tuple[str, ...]


class Doing(Enum):
    """What the device is to do with an action."""

    INSTALL = auto()
    CANCEL = auto()


@dataclass(frozen=True, slots=True)
class Order:
    """An action and what is to be done with it."""

    doing: Doing
    action: Action


class Words(Enum):
    """What became of a device's words: taken; the action is closed; or there is none such."""

    TAKEN = auto()
    CLOSED = auto()
    UNKNOWN = auto()


def decide(device: Registered, before: Sequence[Action], offered: ForDevice | None, now: datetime) -> Order | None:
    """Points 1 to 3; None where there is nothing to do. before: its actions, the newest first; where it is to begin one, that is not among them."""
    release = offered.release if offered is not None else None
    ready = offered is not None and bool(offered.bundles)
    going_on = next((one for one in before if one.state in OPEN), None)
    if going_on is not None and going_on.release != release:
        return Order(Doing.CANCEL, going_on)
    if going_on is not None:
        return Order(Doing.INSTALL, going_on) if ready else None
    if release is None or not ready or release.generation <= generation_of(device, before):
        return None
    last = next((one for one in before if one.release == release), None)
    if last is not None and last.state is State.FAILURE:
        return None
    if last is not None and last.state is State.KEPT:
        return Order(Doing.INSTALL, last)
    number = 1 + max((one.number for one in before), default=0)
    return Order(
        Doing.INSTALL,
        Action(device.entry.id, number, str(device.entry.path), release, State.OFFERED, now, None, ()),
    )


def order_for(store: Store, device: Registered, offered: ForDevice | None, now: datetime) -> Order | None:
    """The same of what is kept; an action that begins is kept before it is told."""
    with store.read() as connection:
        before = list(actions_of(connection, device.entry.id))
    order = decide(device, before, offered, now)
    if order is None or order.action in before:
        return order
    with store.write() as connection:
        before = list(actions_of(connection, device.entry.id))
        order = decide(device, before, offered, now)
        if order is not None and order.action not in before:
            connection.execute(insert(ACTIONS), _row(order.action))
    return order


def generation_of(device: Registered, actions: Sequence[Action]) -> int:
    """The highest that it runs, by an operator's word or its own."""
    path = str(device.entry.path)
    told = (one.release.generation for one in actions if one.state is State.SUCCESS and one.path == path)
    return max(device.entry.generation, *told, 0)


def tell(store: Store, device: str, number: int, state: State, details: Sequence[str], now: datetime) -> Words:
    """Write what a device told of an action. state: that its words come to."""
    with store.write() as connection:
        found = _locked(connection, device, number)
        if found is None:
            return Words.UNKNOWN
        if found.state not in _TAKES_WORDS:
            return Words.CLOSED
        after = State.KEPT if found.state is State.KEPT and state is State.PROCEEDING else state
        _write(connection, replace(found, state=after, told=now, details=_printable(details) or found.details))
        return Words.TAKEN


def again(store: Store, device: str) -> int:
    """Let what failed on a device be offered again; how many. UsageError where nothing did, or it is no device."""
    if not is_device(device):
        raise not_there(device)
    with store.write() as connection:
        failed = [one for one in actions_of(connection, device) if one.state is State.FAILURE]
        for one in failed:
            _write(connection, replace(one, state=State.CANCELED))
    if not failed:
        raise UsageError(f"device {display(device[:80])}", "nothing failed there", "See: sealwright fleet updater list")
    return len(failed)


def actions_of(connection: Connection, device: str) -> Iterator[Action]:
    """All of a device, the newest first."""
    asked = select(ACTIONS).where(ACTIONS.c.device == device).order_by(ACTIONS.c.number.desc())
    return (_action(row) for row in connection.execute(asked))


def latest(connection: Connection) -> dict[str, Action]:
    """The newest of each device."""
    newest = select(ACTIONS.c.device, func.max(ACTIONS.c.number).label("number")).group_by(ACTIONS.c.device).subquery()
    asked = select(ACTIONS).join(newest, (newest.c.device == ACTIONS.c.device) & (newest.c.number == ACTIONS.c.number))
    return {row.device: _action(row) for row in connection.execute(asked)}


def _locked(connection: Connection, device: str, number: int) -> Action | None:
    """One by its number, which nobody else writes before this transaction ends."""
    asked = select(ACTIONS).where(ACTIONS.c.device == device, ACTIONS.c.number == number).with_for_update()
    row = connection.execute(asked).one_or_none()
    return None if row is None else _action(row)


def _write(connection: Connection, one: Action) -> None:
    here = (ACTIONS.c.device == one.device) & (ACTIONS.c.number == one.number)
    connection.execute(update(ACTIONS).where(here).values(**_row(one)))


def _row(one: Action) -> dict[str, str | int]:
    return {
        "device": one.device,
        "number": one.number,
        "path": one.path,
        "version": one.release.version,
        "generation": one.release.generation,
        "manifest": str(one.release.manifest),
        "state": one.state.value,
        "offered": int(one.offered.timestamp()),
        "told": int(one.told.timestamp()) if one.told else 0,
        "details": json.dumps(one.details),
    }


def _action(row: Row[tuple[object, ...]]) -> Action:
    release = Named(row.version, row.generation, Digest.parse(row.manifest))
    told = time_of(row.told) if row.told else None
    details = tuple(json.loads(row.details))
    return Action(row.device, row.number, row.path, release, State(row.state), time_of(row.offered), told, details)


def _printable(details: Sequence[str]) -> tuple[str, ...]:
    return tuple(display(one[:MAX_DETAIL])[: 2 * MAX_DETAIL] for one in details[-MAX_DETAILS:] if one.strip())
