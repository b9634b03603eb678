"""The devices that ask by hawkBit's device interface, as an operator entered them: what is offered to each, and by what it is known.

1. A device has a token of its own, kept as a digest, or a TLS certificate, known by its key. What is common to many (hawkBit's gateway token) is not taken.
2. A device that the fleet's register has too is of the group and plant that stand there, and is nobody once it is retired there.
3. `generation` is what the operator knows it to run; nothing at or below it is offered. What the device tells raises it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.report import is_device
from sealwright.errors import UsageError
from sealwright.log.canonical import MAX_INTEGER
from sealwright.release.layout import ProductPath, product_path
from sealwright.service import fleettables
from sealwright.service.fleetregister import time_of
from sealwright.service.hawkbittables import ACTIONS, DEVICES, Proof, State, Updater
from sealwright.store.engine import Store

_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TOKEN = re.compile(rb"[A-Za-z0-9_.~+/=-]{16,256}")
_SEE = "See: sealwright fleet updater list"


@dataclass(frozen=True, slots=True)
class Known:
    """By what a device is known. digest: of its token, or SHA-256 of its certificate's SPKI."""

    proof: Proof
    digest: Digest


@dataclass(frozen=True, slots=True)
class Entry:
    """A device as an operator enters it. group, plant: "" where the fleet's register has them."""

    id: str
    updater: Updater
    path: ProductPath
    channel: str
    group: str
    plant: str
    known: Known
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Registered:
    """A device as it stands. retired: in the fleet's register; polled: None before it first asked; attributes: JSON, what it says of itself."""

    entry: Entry
    retired: bool
    added: datetime
    polled: datetime | None
    described: datetime | None
    attributes: str


def token_known(token: bytes) -> Known:
    """A token as it is kept; UsageError for what can be none."""
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            "token", "it is not 16 to 256 letters, digits and `_.~+/=-`", "Let one be made: --new-token FILE"
        )
    return Known(Proof.TOKEN, Digest.of(b"sealwright target token 1\n" + token))


def is_known(registered: Registered, shown: Known) -> bool:
    """Whether what was shown is the device's own; retired devices are nobody."""
    known = registered.entry.known
    same = hmac.compare_digest(known.digest.value, shown.digest.value)
    return same and known.proof is shown.proof and not registered.retired


def entry_of(
    id_: str, updater: str, path: str, channel: str, place: tuple[str, str], known: Known, generation: int
) -> Entry:
    """One device as somebody typed it; UsageError for what is none. place: group and plant, "" for both where the fleet's register has them."""
    if not is_device(id_):
        raise UsageError(
            f"device {display(id_[:80])}", "an id is 1 to 64 letters, digits and `_.@+-`", "Choose another."
        )
    for word in (channel, *place):
        if not _WORD.fullmatch(word) and (word or word is channel):
            raise UsageError(
                display(word[:80]),
                "a channel, group or plant is 1 to 64 lower-case letters, digits and hyphens",
                "Correct it.",
            )
    if not 0 <= generation <= MAX_INTEGER:
        raise UsageError(str(generation), "it is no generation", "Name what the device runs, or leave it out.")
    return Entry(id_, Updater(updater), product_path(path), channel, *place, known, generation)


def add(store: Store, entry: Entry, now: datetime) -> None:
    """Enter a device; UsageError where it is there, or belongs nowhere."""
    with store.write() as connection:
        if find(connection, entry.id) is not None:
            raise UsageError(
                f"device {entry.id}", "it is there already", "Remove it first: sealwright fleet updater remove"
            )
        fleet = select(fleettables.DEVICES.c.grp).where(fleettables.DEVICES.c.id == entry.id)
        listed = connection.execute(fleet).scalar()
        if listed is None and not (entry.group and entry.plant):
            raise UsageError(
                f"device {entry.id}", "the fleet's register has no such device", "Name --group and --plant."
            )
        if listed is not None and (entry.group or entry.plant):
            raise UsageError(f"device {entry.id}", "the fleet's register has it", "Leave --group and --plant out.")
        values = {
            "id": entry.id, "grp": entry.group, "plant": entry.plant, "updater": entry.updater.value, "path": str(entry.path),
            "channel": entry.channel, "proof": entry.known.proof.value, "digest": str(entry.known.digest), "attributes": "{}",
            "generation": entry.generation, "added": int(now.timestamp()), "polled": 0, "described": 0,
        }  # fmt: skip
        connection.execute(insert(DEVICES), values)


def remove(store: Store, id_: str) -> None:
    """Take a device out, with all that it told; UsageError where it is not there.

    Its last action stays, closed: entered again, a device that still speaks of an old one must not be taken to mean a new one of that number.
    """
    if not is_device(id_):
        raise not_there(id_)
    with store.write() as connection:
        its = ACTIONS.c.device == id_
        last = connection.execute(select(func.max(ACTIONS.c.number)).where(its)).scalar()
        connection.execute(delete(ACTIONS).where(its, ACTIONS.c.number != last))
        connection.execute(update(ACTIONS).where(its).values(state=State.CANCELED.value, details="[]"))
        if not connection.execute(delete(DEVICES).where(DEVICES.c.id == id_)).rowcount:
            raise not_there(id_)


def find(connection: Connection, id_: str) -> Registered | None:
    """A device by its id; None where it is not there."""
    row = connection.execute(_asked().where(DEVICES.c.id == id_)).one_or_none()
    return None if row is None else _registered(row)


def listed(connection: Connection) -> Iterator[Registered]:
    """Every device, by its id."""
    return (_registered(row) for row in connection.execute(_asked().order_by(DEVICES.c.id)))


def paths(connection: Connection) -> frozenset[ProductPath]:
    """The products that devices are of."""
    return frozenset(product_path(path) for path in connection.execute(select(DEVICES.c.path).distinct()).scalars())


def not_there(id_: str) -> UsageError:
    """For people who keep the register."""
    return UsageError(f"device {display(id_[:80])}", "it is not entered", _SEE)


def _asked() -> Select[tuple[object, ...]]:
    fleet = fleettables.DEVICES
    return select(
        DEVICES,
        func.coalesce(fleet.c.grp, DEVICES.c.grp).label("of_group"),
        func.coalesce(fleet.c.plant, DEVICES.c.plant).label("of_plant"),
        func.coalesce(fleet.c.retired, 0).label("retired"),
    ).join_from(DEVICES, fleet, fleet.c.id == DEVICES.c.id, isouter=True)


def _registered(row: Row[tuple[object, ...]]) -> Registered:
    known = Known(Proof(row.proof), Digest.parse(row.digest))
    entry = Entry(
        row.id,
        Updater(row.updater),
        product_path(row.path),
        row.channel,
        row.of_group,
        row.of_plant,
        known,
        row.generation,
    )
    polled, described = (time_of(seconds) if seconds else None for seconds in (row.polled, row.described))
    return Registered(entry, bool(row.retired), time_of(row.added), polled, described, row.attributes)
