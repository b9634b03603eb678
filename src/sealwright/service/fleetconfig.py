"""`fleet.toml`: the whole configuration of a fleet's service, read and checked at its start.

    # sealwright fleet 1
    listen = "0.0.0.0:8445"
    people = "people.toml"                   # who may look: operators, auditors, administrators
    tenant = "acme"                          # of the register
    database = "sqlite:///fleet.db"          # of its own; or postgresql://USER@HOST/NAME
    channels = "channels"                    # a folder with the channels.json of each product; may be left out
    silent_hours = 48                        # after how long without a report a device counts as silent

    [tls]
    certificate = "tls/server.pem"
    key = "tls/server.key"
    client_authorities = "tls/clients.pem"   # of those who look; devices show no certificate
    revocation_lists = ["tls/root.crl", "tls/clients.crl"]

Paths are relative to the file. It holds no key and knows none: devices reach this process and never the one that signs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sealwright.artifact.section import Complaint, read_toml
from sealwright.artifact.source import read_file
from sealwright.errors import MalformedConfiguration
from sealwright.service.config import database_of, place_of, tls_of
from sealwright.service.server import Listen, parse_listen
from sealwright.service.tls import TlsFiles

FIRST_LINE = "# sealwright fleet 1"
FLEET = Complaint(MalformedConfiguration, 1 << 20, "Correct it; `sealwright serve fleet FILE --check` reads it.")
SILENT_HOURS = 48
MAX_HOURS = 24 * 365 * 10


@dataclass(frozen=True, slots=True)
class FleetConfiguration:
    """What the file says, paths made absolute. channels: "" for none."""

    path: str
    listen: Listen
    people: str
    tenant: str
    database: str
    channels: str
    silent_hours: int
    tls: TlsFiles


def read_fleet(path: str) -> FleetConfiguration:
    """Read a file; MalformedConfiguration naming section, key and what is wanted, Unreadable, UsageError for an address."""
    top = read_toml(read_file(path, FLEET.limit_bytes), path, FIRST_LINE, FLEET)
    folder = os.path.dirname(os.path.abspath(path))
    configuration = FleetConfiguration(
        path=path,
        listen=parse_listen(top.text("listen")),
        people=place_of(top, "people", folder),
        tenant=top.name("tenant"),
        database=database_of(top, folder),
        channels=place_of(top, "channels", folder, ""),
        silent_hours=top.number("silent_hours", 1, SILENT_HOURS),
        tls=tls_of(top, folder),
    )
    top.done()
    if configuration.silent_hours > MAX_HOURS:
        raise top.wrong("silent_hours", f"at most {MAX_HOURS}")
    return configuration
