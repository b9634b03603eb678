"""The tables of hawkBit's device interface; the scripts in `store/migrations/` make them. Times are seconds since 1970, 0 for never.

`hawkbit_devices` is who may ask, with what an operator said of them; `attributes` is what the device itself tells (configData), as a JSON object.
`hawkbit_actions` has each release that a device was offered, by a number of its own, and what it told of it. `hawkbit_seen` has the highest version of each
role of the repository. Nothing here is signed, and no table of the fleet's reports is written.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

METADATA = MetaData()


class Updater(StrEnum):
    """What installs on a device."""

    SWUPDATE = "swupdate"
    RAUC = "rauc"

    @property
    def suffix(self) -> str:
        """Of the files that it takes."""
        return {Updater.SWUPDATE: ".swu", Updater.RAUC: ".raucb"}[self]


class Proof(StrEnum):
    """By what a device is known: a secret of its own, or the key of its TLS certificate."""

    TOKEN = "token"  # noqa: S105 - the word for it
    CERTIFICATE = "certificate"


class State(StrEnum):
    """How far an action is, as the device told it. KEPT: it was to be cancelled, and the device went on."""

    OFFERED = "offered"
    PROCEEDING = "proceeding"
    KEPT = "kept"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELED = "canceled"


DEVICES = Table(
    "hawkbit_devices",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("grp", Text, nullable=False),
    Column("plant", Text, nullable=False),
    Column("updater", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("polled", BigInteger, nullable=False),
    Column("described", BigInteger, nullable=False),
)

ACTIONS = Table(
    "hawkbit_actions",
    METADATA,
    Column("device", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("path", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("offered", BigInteger, nullable=False),
    Column("told", BigInteger, nullable=False),
)

SEEN = Table(
    "hawkbit_seen",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
