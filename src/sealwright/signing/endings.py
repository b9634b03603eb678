"""What ends when: everything of a home that has a date, in one list, so that one alarm serves for all of it.

Certificates of its authorities that are good and that nothing newer replaces, certificates of its own keys that others
issued, its revocation lists, its trust file and the authorities named there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealwright.artifact.source import read_file_or_none
from sealwright.envelope.algorithms import key_digest
from sealwright.signing.home import REGISTER, TRUST, Home, KeyPurpose
from sealwright.signing.issued import Inventory, Issued, read_register
from sealwright.trust.certificate import display_name, load_certificate, spki_digest
from sealwright.trust.trustfile import MAX_BYTES, parse_trust


@dataclass(frozen=True, slots=True)
class Ending:
    """what: `certificate`, `key` (its end of signing), `list`, `trust file`, `anchor`, `timestamp authority`; step: a command."""

    what: str
    name: str
    ends: datetime
    step: str


def endings(home: Home, now: datetime) -> list[Ending]:
    """Everything with a date, the earliest first; what has ended is still there until something newer stands in its place."""
    inventory = read_register(home.path(REGISTER))
    every = [*_certificates(home, inventory, now), *_lists(home, inventory), *_trust(home)]
    return sorted(every, key=lambda one: one.ends)


def due(home: Home, now: datetime, within: timedelta) -> list[Ending]:
    """What ends before now + within."""
    return [one for one in endings(home, now) if one.ends <= now + within]


def is_current(one: Issued, inventory: Inventory) -> bool:
    """Whether a certificate is good and neither renewed nor replaced."""
    return one.end is None and one.signs_until is None and not inventory.successors(one)


def _certificates(home: Home, inventory: Inventory, now: datetime) -> Iterator[Ending]:
    for one in inventory.issued.values():
        if is_current(one, inventory):
            step = f"sealwright cert renew {one.serial:x} --home {home.folder}"
            yield Ending("certificate", one.name, one.x509.not_valid_after_utc, step)
        elif one.end is None and one.signs_until is not None and one.signs_until > now:
            yield Ending("key", one.name, one.signs_until, "sign with the key that replaced it")
    known = {one.key for one in inventory.issued.values()}
    for key in home.keys:
        if key.purpose in (KeyPurpose.TRUST, KeyPurpose.RECOVERY) or key_digest(key.public_key) in known:
            continue
        ends = load_certificate(key.certificate, key.name).not_valid_after_utc
        yield Ending("certificate", key.name, ends, f"sealwright key csr '{home.uri(key)}' --subject 'CN={key.name}'")


def _lists(home: Home, inventory: Inventory) -> Iterator[Ending]:
    names = {key_digest(key.public_key): key.name for key in home.keys if key.purpose is KeyPurpose.CERTIFICATES}
    for issuer, listed in inventory.lists.items():
        if issuer in names:
            step = f"sealwright ca crl --home {home.folder} --authority {names[issuer]}"
            yield Ending("list", f"revocation list {listed.number} of {names[issuer]}", listed.next_update, step)


def _trust(home: Home) -> Iterator[Ending]:
    path = home.path(TRUST)
    data = read_file_or_none(path, MAX_BYTES)
    if data is None:
        return
    trust = parse_trust(data, path)
    name = os.path.basename(path)
    yield Ending("trust file", f"{name} version {trust.version}", trust.expires, f"sealwright trust new --next {path}")
    own = {key_digest(key.public_key) for key in home.keys}
    named = [("anchor", one.name, one.certificate) for one in trust.anchors]
    named += [("timestamp authority", one.name, one.anchor) for one in trust.authorities]
    seen = set()
    for what, called, der in named:
        certificate = load_certificate(der, called)
        if der in seen or spki_digest(certificate) in own:
            continue
        seen.add(der)
        shown = f"{called} ({display_name(certificate.subject)})"
        yield Ending(what, shown, certificate.not_valid_after_utc, "ask its owner for the one that follows it")
