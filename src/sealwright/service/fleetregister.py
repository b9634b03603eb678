"""The register of devices: which key signs a device's reports, and to which group and plant it belongs.

    # sealwright devices 1
    gw-17 sha256:9f86… line-1 nordhof

1. A line is `DEVICE KEY GROUP PLANT`: the key by SHA-256 of its SPKI, as `sealwright key list --json` shows it. Empty lines and further `#` lines say nothing.
2. A key is one device's for ever: neither a second device nor a new one gets that of a retired device. So a report says whose it is.
3. A list is taken as a whole or not at all. A device that is there already gets the group and plant of its line; with another key it refuses
   the list: a new key is said by name (`rekey`), for it is what somebody who wants to speak for a device would like to slip in.
4. Nothing is taken out. A retired device is refused from then on, and what it said last is no longer counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select, update

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.report import is_device
from sealwright.artifact.source import read_file
from sealwright.errors import MalformedConfiguration, UsageError
from sealwright.service.fleetrows import batched
from sealwright.service.fleettables import DEVICES, EVENTS, RUNNING, USED
from sealwright.store.engine import Store

FIRST_LINE = "# sealwright devices 1"
MAX_BYTES = 64 << 20
MAX_DEVICES = 500_000
AT_ONCE = 10_000
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NEXT = "Correct the list; nothing of it was taken."


@dataclass(frozen=True, slots=True)
class Device:
    """One line of the register. key: SHA-256 of SPKI."""

    id: str
    key: Digest
    group: str
    plant: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A device as it stands. retired: None while it counts; received: of its newest report, None before the first."""

    device: Device
    added: datetime
    retired: datetime | None
    received: datetime | None


@dataclass(frozen=True, slots=True)
class Imported:
    """added: new devices; moved: that got another group or plant; same: that were so before."""

    added: int
    moved: int
    same: int


def read_devices(path: str) -> list[Device]:
    """Read a list; MalformedConfiguration naming the line, Unreadable, LimitExceeded above 64 MiB."""
    try:
        first, *lines = read_file(path, MAX_BYTES).decode("ascii").split("\n")
    except UnicodeDecodeError as cause:
        raise MalformedConfiguration(path, f"byte {cause.start} is not ASCII", _NEXT) from cause
    if first != FIRST_LINE:
        raise MalformedConfiguration(
            path, f"the first line is not `{FIRST_LINE}`", "Check that this is the file you meant."
        )
    found = []
    for number, line in enumerate(lines, 2):
        if line and not line.startswith("#"):
            found.append(_device(line, f"{path} line {number}"))
    return found


def device_of(id_: str, key: str, group: str, plant: str) -> Device:
    """One device as somebody typed it; UsageError for what is none."""
    try:
        return _device(f"{id_} {key} {group} {plant}", f"device {display(id_[:80])}")
    except MalformedConfiguration as cause:
        raise UsageError(cause.subject, cause.what, "`sealwright key list --json` shows the key's digest.") from cause


def import_devices(store: Store, devices: Iterable[Device], now: datetime) -> Imported:
    """Enter a list, points 2 and 3; MalformedConfiguration naming the device. 100,000 take seconds."""
    listed = list(devices)
    _check_alike(listed)
    with store.write() as connection:
        there = {id_: (key, grp, plant, retired) for id_, key, grp, plant, retired in _rows(connection)}
        keys = {key: id_ for id_, (key, *_) in there.items()}
        if len(there.keys() | {one.id for one in listed}) > MAX_DEVICES:
            raise MalformedConfiguration("devices", f"there would be more than {MAX_DEVICES}", "Split the fleet.")
        new, moved = [], []
        for one in listed:
            known, of_key = there.get(one.id), keys.get(str(one.key), one.id)
            _check_key(one, known, of_key)
            if known is None:
                new.append(one)
            elif known[1:3] != (one.group, one.plant):
                moved.append({"of": one.id, "to_grp": one.group, "to_plant": one.plant})
        for batch in batched(new, AT_ONCE):
            connection.execute(insert(DEVICES), [_row(one, now) for one in batch])
        if moved:
            to: dict[str, BindParameter[str]] = {"grp": bindparam("to_grp"), "plant": bindparam("to_plant")}
            # its next report is written anew, with what its channel offers to that group
            connection.execute(update(DEVICES).where(DEVICES.c.id == bindparam("of")).values(**to, said=""), moved)
            connection.execute(update(RUNNING).where(RUNNING.c.device == bindparam("of")).values(**to), moved)
    return Imported(len(new), len(moved), len(listed) - len(new) - len(moved))


def rekey(store: Store, id_: str, key: Digest) -> None:
    """Give a device another key from now on; its numbers go on. UsageError where it is not there, or the key is or was another's."""
    if not is_device(id_):
        raise _not_there(id_)
    with store.write() as connection:
        of_key = connection.execute(select(DEVICES.c.id).where(DEVICES.c.key == str(key))).scalar()
        if of_key is not None:
            raise UsageError(f"key {key}", f"it is that of {of_key}", "Make a new key on the device.")
        found = connection.execute(
            update(DEVICES).where(DEVICES.c.id == id_, DEVICES.c.retired == 0).values(key=str(key))
        )
        if not found.rowcount:
            raise _not_there(id_)


def retire(store: Store, id_: str, now: datetime) -> None:
    """End a device, point 4; UsageError where it is not there."""
    if not is_device(id_):
        raise _not_there(id_)
    with store.write() as connection:
        ended = update(DEVICES).where(DEVICES.c.id == id_, DEVICES.c.retired == 0)
        if not connection.execute(ended.values(retired=int(now.timestamp()))).rowcount:
            raise _not_there(id_)
        for table in (RUNNING, EVENTS, USED):
            connection.execute(delete(table).where(table.c.device == id_))


def listed(store: Store) -> Iterator[Registered]:
    """Every device, by its id."""
    columns = (DEVICES.c.id, DEVICES.c.key, DEVICES.c.grp, DEVICES.c.plant, DEVICES.c.added, DEVICES.c.retired)
    with store.read() as connection:
        for id_, key, grp, plant, added, retired, received in connection.execute(
            select(*columns, DEVICES.c.received).order_by(DEVICES.c.id)
        ):
            device = Device(id_, Digest.parse(key), grp, plant)
            yield Registered(
                device, time_of(added), time_of(retired) if retired else None, time_of(received) if received else None
            )


def time_of(seconds: int) -> datetime:
    """A time of a row."""
    return datetime.fromtimestamp(seconds, UTC)


def _device(line: str, subject: str) -> Device:
    parts = line.split(" ")
    if len(parts) != 4:
        raise MalformedConfiguration(subject, "it is not `DEVICE KEY GROUP PLANT` with one space between", _NEXT)
    id_, key, group, plant = parts
    if not is_device(id_):
        raise MalformedConfiguration(subject, "the id of a device is 1 to 64 letters, digits and `_.@+-`", _NEXT)
    if not _WORD.fullmatch(group) or not _WORD.fullmatch(plant):
        raise MalformedConfiguration(
            subject, "a group or plant is 1 to 64 lower-case letters, digits and hyphens", _NEXT
        )
    try:
        digest = Digest.parse(key)
        if digest.algorithm is not HashName.SHA256:
            raise ValueError(digest.algorithm)
    except ValueError as cause:
        raise MalformedConfiguration(
            subject, "a key is `sha256:` and 64 lower-case hexadecimal digits", _NEXT
        ) from cause
    return Device(id_, digest, group, plant)


def _check_alike(listed: list[Device]) -> None:
    ids: set[str] = set()
    keys: set[Digest] = set()
    for one in listed:
        if one.id in ids or one.key in keys:
            raise MalformedConfiguration(f"device {one.id}", "it, or its key, is listed twice", _NEXT)
        ids.add(one.id)
        keys.add(one.key)


def _check_key(one: Device, known: tuple[str, str, str, int] | None, of_key: str) -> None:
    if of_key != one.id:
        raise MalformedConfiguration(f"device {one.id}", f"its key is that of {of_key}", _NEXT)
    if known is not None and known[0] != str(one.key):
        raise MalformedConfiguration(
            f"device {one.id}",
            f"it is there with the key {known[0]}",
            f"If the device has a new key, say so: sealwright fleet device rekey {one.id} KEY",
        )
    if known is not None and known[3]:
        raise MalformedConfiguration(f"device {one.id}", "it is retired", "Give the new device an id of its own.")


def _rows(connection: Connection) -> Iterable[tuple[str, str, str, str, int]]:
    columns = (DEVICES.c.id, DEVICES.c.key, DEVICES.c.grp, DEVICES.c.plant, DEVICES.c.retired)
    return (tuple(row) for row in connection.execute(select(*columns)))


def _row(one: Device, now: datetime) -> dict[str, str | int]:
    nothing = dict.fromkeys(("retired", "number", "made", "received", "trust_version"), 0)
    empty = dict.fromkeys(("channel", "trust", "said"), "")
    added = int(now.timestamp())
    return {"id": one.id, "key": str(one.key), "grp": one.group, "plant": one.plant, "added": added, **nothing, **empty}


def _not_there(id_: str) -> UsageError:
    return UsageError(
        f"device {display(id_[:80])}", "it is not in the register, or retired", "See: sealwright fleet device list"
    )
