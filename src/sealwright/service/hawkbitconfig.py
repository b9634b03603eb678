"""`hawkbit.toml`: the whole configuration of hawkBit's device interface, read and checked at its start.

    # sealwright hawkbit 1
    listen = "0.0.0.0:8446"
    address = "https://updates.acme.example:8446"   # how devices reach it; links begin so
    tenant = "acme"                                 # as the devices' configuration has it
    repository = "repository"                       # the folder that `release publish` fills, or a copy
    tuf_root = "sha256:9f86…"                       # of its first root, as in the devices' trust file
    database = "sqlite:///fleet.db"                 # the fleet's own, or one for this alone; or postgresql://USER@HOST/NAME
    state = "hawkbit"                               # a folder of its own, for verified metadata
    poll_seconds = 300                              # how often a device is to ask
    plain_listen = "10.1.2.3:8080"                  # the same without TLS, for devices that have none; may be left out
    plain_address = "http://updates.acme.example:8080"

    [tls]
    certificate = "tls/server.pem"
    key = "tls/server.key"
    client_authorities = "tls/devices.pem"          # of devices that are known by a certificate
    revocation_lists = ["tls/root.crl", "tls/devices.crl"]

Paths are relative to the file. It holds no key and knows none.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.errors import MalformedConfiguration
from sealwright.service.config import database_of, place_of, tls_of
from sealwright.service.server import Listen, parse_listen
from sealwright.service.tls import TlsFiles

FIRST_LINE = "# sealwright hawkbit 1"
HAWKBIT = Complaint(MalformedConfiguration, 1 << 20, "Correct it; `sealwright serve hawkbit FILE --check` reads it.")
POLL_SECONDS = 300
MAX_POLL_SECONDS = 86399  # 23:59:59, the last that clients read as a time
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ADDRESS = re.compile(r"(https?)://[A-Za-z0-9.-]+(:[0-9]{1,5})?|(https?)://\[[0-9a-f:]+\](:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Door:
    """One listener. address: how devices reach it, without a slash at its end."""

    listen: Listen
    address: str


@dataclass(frozen=True, slots=True)
class HawkbitConfiguration:
    """What the file says, paths made absolute. plain: without TLS, None for none."""

    path: str
    door: Door
    plain: Door | None
    tenant: str
    repository: str
    tuf_root: Digest
    database: str
    state: str
    poll_seconds: int
    tls: TlsFiles


def read_hawkbit(path: str) -> HawkbitConfiguration:
    """Read a file; MalformedConfiguration naming section, key and what is wanted, Unreadable, UsageError for an address to listen on."""
    top = read_toml(read_file(path, HAWKBIT.limit_bytes), path, FIRST_LINE, HAWKBIT)
    folder = os.path.dirname(os.path.abspath(path))
    configuration = HawkbitConfiguration(
        path=path,
        door=Door(parse_listen(top.text("listen")), _address(top, "address", "https")),
        plain=_plain(top),
        tenant=_tenant(top),
        repository=place_of(top, "repository", folder),
        tuf_root=top.digest("tuf_root"),
        database=database_of(top, folder),
        state=place_of(top, "state", folder),
        poll_seconds=top.number("poll_seconds", 1, POLL_SECONDS),
        tls=tls_of(top, folder),
    )
    top.done()
    if configuration.poll_seconds > MAX_POLL_SECONDS:
        raise top.wrong("poll_seconds", f"at most {MAX_POLL_SECONDS}")
    return configuration


def _plain(top: Section) -> Door | None:
    if not top.has("plain_listen"):
        return None
    return Door(parse_listen(top.text("plain_listen")), _address(top, "plain_address", "http"))


def _address(top: Section, key: str, scheme: str) -> str:
    text = top.text(key)
    found = _ADDRESS.fullmatch(text)
    if found is None or scheme not in (found[1], found[3]):
        raise top.wrong(key, f"{scheme}://HOST or {scheme}://HOST:PORT")
    return text


def _tenant(top: Section) -> str:
    tenant = top.text("tenant")
    if not TENANT.fullmatch(tenant):
        raise top.wrong("tenant", "1 to 64 letters, digits, `_` and `-`, as it stands in a path")
    return tenant
