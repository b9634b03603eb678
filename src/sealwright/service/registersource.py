"""Statuses out of a home's register: OCSP for an authority of our own.

The register is read again when its file is another one: one `stat` for each request, so that a revocation is said from the
next request on. Where it holds the authority's own certificate it began with the authority and knows all that was issued: any
other serial was never issued. Of an authority that came from elsewhere it knows only the later part, and says `unknown`.
"""

from __future__ import annotations

import os
from datetime import datetime

from cryptography import x509

from sealwright.envelope.algorithms import key_digest
from sealwright.errors import JournalError
from sealwright.log.journal import FILE
from sealwright.pki.ocsp import GOOD, NEVER_ISSUED, UNKNOWN, Knowledge, State, Status
from sealwright.signing.issued import Inventory, Issued, read_register

_AGAIN = "Restore the register, then start the responder again."


class SharedRegister:
    """One register for all the authorities in it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, FILE)
        self._seen: tuple[int, int, int] | None = None
        self._inventory = Inventory()

    def inventory(self) -> Inventory:
        """What it adds up to now; JournalError where it is damaged, or an older copy took its place."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            seen = (0, 0, 0)  # nothing was issued yet
        except OSError as cause:
            raise JournalError(self.folder, f"it cannot be read ({cause.strerror})", _AGAIN) from cause
        else:
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen != self._seen:
            read = read_register(self.folder)
            if lost := _forgotten(self._inventory, read):
                raise JournalError(self.folder, f"it has forgotten serial {lost:x}, which it knew before", _AGAIN)
            self._inventory, self._seen = read, seen
        return self._inventory


class RegisterSource:
    """One authority of the register. issuer: its certificate, DER."""

    def __init__(self, register: SharedRegister, issuer: bytes) -> None:
        self._register = register
        self._issuer = issuer
        certificate = x509.load_der_x509_certificate(issuer)
        self._key = key_digest(certificate.public_key())  # type: ignore[arg-type]
        self._since = certificate.not_valid_before_utc
        self._inventory = Inventory()
        self._others = UNKNOWN

    def refresh(self, now: datetime) -> Knowledge:
        """Always up to date."""
        inventory = self._register.inventory()
        if inventory is not self._inventory:
            self._inventory = inventory
            began_with_it = any(one.certificate == self._issuer for one in inventory.of_key(self._key))
            # after a loss there may be certificates that the register does not know
            self._others = NEVER_ISSUED if began_with_it and not inventory.gaps else UNKNOWN
        return Knowledge(now, None, self._since)

    def status(self, serial: int) -> Status:
        """What became of the certificate with that serial."""
        one = self._inventory.issued.get((self._key, serial))
        return self._others if one is None else _status(one)


def _forgotten(before: Inventory, after: Inventory) -> int:
    """A serial that is gone, or whose revocation is; 0 where there is none."""
    for name, one in before.issued.items():
        now = after.issued.get(name)
        if now is None or (one.end is not None and not one.on_hold and now.end is None):
            return one.serial
    return 0


def _status(one: Issued) -> Status:
    if one.end is None:
        return GOOD
    return Status(State.REVOKED, one.end.at, one.end.reason, one.end.invalid)
