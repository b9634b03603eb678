"""`service.toml`: the whole configuration of a signing service, read and checked at its start.

    # sealwright service 1
    id = "acme-signing"                      # what approvals are bound to: two services never have the same
    listen = "127.0.0.1:8443"
    home = "home"                            # with the keys; paths are relative to this file
    people = "people.toml"
    policies = "policies"
    database = "sqlite:///service.db"        # or postgresql://USER@HOST/NAME
    origin = "log.acme.example/signing"      # what the log is called
    head = "/var/lib/sealwright/head"        # where the log's newest checkpoint is remembered outside the database

    [tls]
    certificate = "tls/server.pem"
    key = "tls/server.key"
    client_authorities = "tls/clients.pem"
    revocation_lists = ["tls/root.crl", "tls/clients.crl"]

    [[key]]
    name = "release"                         # of the home
    tenant = "acme"
    pin_file = "release.pin"                 # where its token wants one

    [[issuer]]
    kind = "github"                          # or "gitlab", with `address`
    audience = "https://sign.acme.example"

    public_log = true                        # and the rest of what is published: `publishing.py`

A key that nobody asked for is refused: a misspelt line is no setting that silently is not there (A132).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast

from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.errors import MalformedConfiguration
from sealwright.service.oidc import TokenIssuer, github, gitlab
from sealwright.service.publishing import Publishing, read_publishing
from sealwright.service.server import Listen, parse_listen
from sealwright.service.tls import TlsFiles

FIRST_LINE = "# sealwright service 1"
CONFIGURATION = Complaint(
    MalformedConfiguration, 1 << 20, "Correct it; `sealwright serve signing FILE --check` reads it."
)
SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key in service. pin_file: "" where it wants none."""

    name: str
    tenant: str
    pin_file: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file says, paths made absolute. head: "" for none; log_key: of the home, "" for its only one."""

    path: str
    id: str
    listen: Listen
    home: str
    people: str
    policies: str
    database: str
    origin: str
    head: str
    log_key: str
    log_pin_file: str
    tls: TlsFiles
    keys: tuple[KeyEntry, ...]
    issuers: tuple[TokenIssuer, ...]
    publishing: Publishing = Publishing()


def read_configuration(path: str) -> Configuration:
    """Read a file; MalformedConfiguration naming section, key and what is wanted, Unreadable, UsageError for an address."""
    top = read_toml(read_file(path, CONFIGURATION.limit_bytes), path, FIRST_LINE, CONFIGURATION)
    folder = os.path.dirname(os.path.abspath(path))

    def place(section: Section, key: str, default: str | None = None) -> str:
        text = section.text(key, default)
        return os.path.join(folder, text) if text else ""

    def key_entry(section: Section) -> KeyEntry:
        return KeyEntry(section.name("name"), section.name("tenant"), place(section, "pin_file", ""))

    database = top.text("database")
    if database.startswith(SQLITE) and not database.startswith(SQLITE + "/"):
        database = SQLITE + os.path.join(folder, database.removeprefix(SQLITE))
    tls = top.table("tls")
    configuration = Configuration(
        path=path,
        id=top.name("id"),
        listen=parse_listen(top.text("listen")),
        home=place(top, "home"),
        people=place(top, "people"),
        policies=place(top, "policies"),
        database=database,
        origin=top.name("origin"),
        head=place(top, "head", ""),
        log_key=top.text("log_key", ""),
        log_pin_file=place(top, "log_pin_file", ""),
        tls=TlsFiles(
            place(tls, "certificate"),
            place(tls, "key"),
            place(tls, "client_authorities", ""),
            tuple(os.path.join(folder, one) for one in tls.texts("revocation_lists")),
        ),
        keys=cast("tuple[KeyEntry, ...]", top.each("key", key_entry)),
        issuers=cast("tuple[TokenIssuer, ...]", top.each("issuer", _issuer)),
        publishing=read_publishing(top, folder),
    )
    tls.done()
    top.done()
    if not configuration.keys:
        raise top.wrong("key", "a list with at least one key in service")
    if len({one.name for one in configuration.keys}) != len(configuration.keys):
        raise top.wrong("key", "a list in which each key is once")
    return configuration


def _issuer(section: Section) -> TokenIssuer:
    audience = section.text("audience")
    if section.word("kind", ("github", "gitlab")) == "github":
        return github(audience)
    return gitlab(audience, section.text("address", "https://gitlab.com"))
