"""The tables of the fleet's view; the scripts in `store/migrations/` make them. Times are seconds since 1970, 0 for never.

`fleet_devices` is the register, with what the newest report of each device says of it as a whole; `number`, `made` and what follows are 0
or empty before the first. `said` is the digest of all that the report says beside its number and times: where it is the same again, only the
number moves. `fleet_running`, `fleet_events` and `fleet_used` have what is listed in that newest report, with the device's group and plant
as the register has them. `wanted` is the generation that the device's channel offers it, 0 where it has that or a newer one.
`fleet_reports` keeps the octets, so that anybody can verify again what a device said.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

from sealwright.store.octets import Octets

METADATA = MetaData()


class Used(StrEnum):
    """What a device says that it used."""

    PERMIT = "permit"
    COURIER = "courier"


DEVICES = Table(
    "fleet_devices",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("grp", Text, nullable=False),
    Column("plant", Text, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("retired", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("trust", Text, nullable=False),
    Column("trust_version", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
)
Index("fleet_devices_received", DEVICES.c.retired, DEVICES.c.received, DEVICES.c.id)

RUNNING = Table(
    "fleet_running",
    METADATA,
    Column("device", Text, primary_key=True),
    Column("product", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("grp", Text, nullable=False),
    Column("plant", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("wanted", BigInteger, nullable=False),
)
Index(
    "fleet_running_runs",
    RUNNING.c.product,
    RUNNING.c.generation,
    RUNNING.c.manifest,
    RUNNING.c.version,
    RUNNING.c.grp,
    RUNNING.c.channel,
    RUNNING.c.device,
)
Index("fleet_running_manifest", RUNNING.c.manifest, RUNNING.c.device)
Index("fleet_running_wanted", RUNNING.c.wanted, RUNNING.c.product, RUNNING.c.grp, RUNNING.c.device)

EVENTS = Table(
    "fleet_events",
    METADATA,
    Column("device", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("outcome", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("product", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
Index("fleet_events_code", EVENTS.c.outcome, EVENTS.c.code, EVENTS.c.product, EVENTS.c.generation)

USED = Table(
    "fleet_used",
    METADATA,
    Column("device", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
)
Index("fleet_used_digest", USED.c.kind, USED.c.digest, USED.c.device)

REPORTS = Table(
    "fleet_reports",
    METADATA,
    Column("device", Text, primary_key=True),
    Column("report", Octets, nullable=False),
    Column("signature", Octets, nullable=False),
)
