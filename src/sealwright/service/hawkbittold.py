"""What a device tells of itself, kept as told: when it asked, and its attributes (hawkBit's `configData`). Nothing of it is signed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sqlalchemy import select, update

from sealwright.errors import LimitExceeded
from sealwright.service.hawkbitregister import Registered
from sealwright.service.hawkbittables import DEVICES
from sealwright.service.hawkbitwire import MAX_ATTRIBUTES, ConfigData
from sealwright.store.engine import Store

NOTED = timedelta(minutes=10)  # so that a poll need not wait for a commit


def note_poll(store: Store, device: Registered, now: datetime) -> None:
    """Write that a device asked, at most once in `NOTED`; at once where the clock was set back."""
    if device.polled is None or abs(now - device.polled) >= NOTED:
        with store.write() as connection:
            here = DEVICES.c.id == device.entry.id
            connection.execute(update(DEVICES).where(here).values(polled=int(now.timestamp())))


def describe_device(store: Store, id_: str, told: ConfigData, now: datetime) -> None:
    """Take a device's attributes by their mode; LimitExceeded where they would be too many."""
    with store.write() as connection:
        before = connection.execute(select(DEVICES.c.attributes).where(DEVICES.c.id == id_)).scalar() or "{}"
        after = _after(json.loads(before), told)
        if len(after) > MAX_ATTRIBUTES:
            raise LimitExceeded(f"device {id_}", f"it would have more than {MAX_ATTRIBUTES} attributes", "Remove some.")
        values = {"attributes": json.dumps(after, sort_keys=True), "described": int(now.timestamp())}
        connection.execute(update(DEVICES).where(DEVICES.c.id == id_).values(**values))


def _after(before: dict[str, str], told: ConfigData) -> dict[str, str]:
    match told.mode:
        case "replace":
            return told.data
        case "remove":
            return {name: value for name, value in before.items() if name not in told.data}
    return before | told.data
