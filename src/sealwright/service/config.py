"""`service.toml`: the whole configuration of a signing service, read and checked at its start.

    # sealwright service 1
    id = "acme-signing"                      # what approvals are bound to: two services never have the same
    listen = "127.0.0.1:8443"
    home = "home"                            # with the keys; paths are relative to this file
    people = "people.toml"
    policies = "policies"
    policy_changes = "policies.changes"      # approved changes of them; this name where the line is not there
    database = "sqlite:///service.db"        # or postgresql://USER@HOST/NAME
    origin = "log.acme.example/signing"      # what the log is called
    head = "/var/lib/sealwright/head"        # where the log's newest checkpoint is remembered outside the database
    metrics_listen = "127.0.0.1:9464"        # for Prometheus; of this machine alone (`metricspage.py`)
    pins = "/var/lib/sealwright/pins"        # where PINs that tokens refused are remembered, so that none is tried twice;
                                             # else `pins` beside the database's file, or this one

    [tls]
    certificate = "tls/server.pem"
    key = "tls/server.key"
    client_authorities = "tls/clients.pem"
    revocation_lists = ["tls/root.crl", "tls/clients.crl"]

    [[key]]
    name = "release"                         # of the home
    tenant = "acme"
    pin_file = "release.pin"                 # where its token wants one; or "credential:NAME" of systemd, as for `tls.key`
    workers = 2                              # processes that sign with it, where it is in a PKCS#11 token

    [[issuer]]
    kind = "github"                          # or "gitlab", "other" (`issuers.py`)
    audience = "https://sign.acme.example"

    [webhook]                                # who hears of emergencies at once (`webhook.py`)
    url = "https://alarms.acme.example/sealwright"

    [upload]                                 # files that the service prepares itself (`spool.py`)
    spool = "spool"
    largest_mib = 4096
    together_mib = 8192
    [[rate_alarm]]                           # more than so many signatures in an hour is told (`ratealarms.py`)
    of = "key"                               # or "principal", "product"
    per = "hour"                             # or "day"
    above = 40

    [timestamps]                             # `POST /v1/timestamps` (`stamping.py`)
    key = "timestamp"

    public_log = true                        # and the rest of what is published: `publishing.py`

A key that nobody asked for is refused: a misspelt line is no setting that silently is not there (A132).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.errors import MalformedConfiguration
from sealwright.keys.pin import CREDENTIAL
from sealwright.service.issuers import issuer_of
from sealwright.service.metricspage import check_own_address
from sealwright.service.oidc import TokenIssuer
from sealwright.service.publishing import Publishing, read_publishing
from sealwright.service.ratealarms import read_limits
from sealwright.service.server import Listen, parse_listen
from sealwright.service.spool import Uploading, read_uploading
from sealwright.service.stamping import TimestampsEntry, read_timestamps
from sealwright.service.tls import TlsFiles
from sealwright.service.webhook import Webhook
from sealwright.signing.rates import RateLimit

FIRST_LINE = "# sealwright service 1"
CONFIGURATION = Complaint(
    MalformedConfiguration, 1 << 20, "Correct it; `sealwright serve signing FILE --check` reads it."
)
SQLITE = "sqlite:///"
CHANGES = ".changes"
PINS = "pins"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key in service. pin_file: "" where it wants none; workers: processes that sign, of a key in a PKCS#11 token."""

    name: str
    tenant: str
    pin_file: str
    workers: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file says, paths made absolute. head: "" for none; log_key: of the home, "" for its only one; pins: a folder; metrics: None for nowhere; uploading: None for no files."""

    path: str
    id: str
    listen: Listen
    home: str
    people: str
    policies: str
    policy_changes: str
    database: str
    origin: str
    head: str
    log_key: str
    log_pin_file: str
    pins: str
    tls: TlsFiles
    keys: tuple[KeyEntry, ...]
    issuers: tuple[TokenIssuer, ...]
    webhook: Webhook | None
    metrics: Listen | None = None
    publishing: Publishing = Publishing()
    uploading: Uploading | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    timestamps: TimestampsEntry | None = None


def read_configuration(path: str) -> Configuration:
    """Read a file; MalformedConfiguration naming section, key and what is wanted, Unreadable, UsageError for an address."""
    top = read_toml(read_file(path, CONFIGURATION.limit_bytes), path, FIRST_LINE, CONFIGURATION)
    folder = os.path.dirname(os.path.abspath(path))

    def place(section: Section, key: str, default: str | None = None) -> str:
        return place_of(section, key, folder, default)

    def key_entry(section: Section) -> KeyEntry:
        return KeyEntry(
            section.name("name"),
            section.name("tenant"),
            place(section, "pin_file", ""),
            section.number("workers", 1, 1),
        )

    database = database_of(top, folder)
    policies = place(top, "policies")
    configuration = Configuration(
        path=path,
        id=top.name("id"),
        listen=parse_listen(top.text("listen")),
        home=place(top, "home"),
        people=place(top, "people"),
        policies=policies,
        policy_changes=place(top, "policy_changes", policies.rstrip("/") + CHANGES),
        database=database,
        origin=top.name("origin"),
        head=place(top, "head", ""),
        log_key=top.text("log_key", ""),
        log_pin_file=place(top, "log_pin_file", ""),
        pins=place(top, "pins", _beside(database)),
        tls=tls_of(top, folder),
        keys=cast("tuple[KeyEntry, ...]", top.each("key", key_entry)),
        issuers=cast("tuple[TokenIssuer, ...]", top.each("issuer", lambda section: issuer_of(section, folder))),
        metrics=_metrics(top, path),
        webhook=_webhook(top, place),
        publishing=read_publishing(top, folder),
        uploading=read_uploading(top, folder),
        rate_limits=read_limits(top),
        timestamps=read_timestamps(top, place),
    )
    top.done()
    if not configuration.keys:
        raise top.wrong("key", "a list with at least one key in service")
    if len({one.name for one in configuration.keys}) != len(configuration.keys):
        raise top.wrong("key", "a list in which each key is once")
    return configuration


def place_of(section: Section, key: str, folder: str, default: str | None = None) -> str:
    """A path relative to the configuration's folder; a credential of systemd, and "" where that is the default, as they are."""
    text = section.text(key, default)
    return os.path.join(folder, text) if text and not text.startswith(CREDENTIAL) else text


def database_of(top: Section, folder: str) -> str:
    """The URL of `database`, with a file of SQLite made absolute."""
    database = top.text("database")
    if database.startswith(SQLITE) and not database.startswith(SQLITE + "/"):
        return SQLITE + os.path.join(folder, database.removeprefix(SQLITE))
    return database


def tls_of(top: Section, folder: str) -> TlsFiles:
    """The table `[tls]`."""
    tls = top.table("tls")
    files = TlsFiles(
        place_of(tls, "certificate", folder),
        place_of(tls, "key", folder),
        place_of(tls, "client_authorities", folder, ""),
        tuple(os.path.join(folder, one) for one in tls.texts("revocation_lists")),
    )
    tls.done()
    return files


def _beside(database: str) -> str:
    """Where marks of PINs are kept unless it is said: beside the file of the database, else beside the configuration."""
    return os.path.join(os.path.dirname(database.removeprefix(SQLITE)), PINS) if database.startswith(SQLITE) else PINS


def _metrics(top: Section, path: str) -> Listen | None:
    if not (text := top.text("metrics_listen", "")):
        return None
    listen = parse_listen(text)
    check_own_address(listen, path)
    return listen


def _webhook(top: Section, place: Callable[[Section, str, str], str]) -> Webhook | None:
    if not top.has("webhook"):
        return None
    section = top.table("webhook")
    made = Webhook(section.text("url"), place(section, "ca", ""), place(section, "secret_file", ""))
    section.done()
    if not made.url.startswith("https://"):
        raise section.wrong("url", "an https address")
    return made
