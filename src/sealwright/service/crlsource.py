"""Statuses out of a revocation list in a file: OCSP for an authority whose register is not ours.

A list names what was revoked, not what was issued: every serial that is not on it is `good`, which RFC 6960 section 2.2
defines as just that. The file may be replaced while the responder runs (write beside, rename); a list that is damaged, of
another issuer or older than the one in use is not taken, and the one in use serves on until it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from cryptography import x509

from sealwright.artifact.source import read_file
from sealwright.errors import MalformedTrust, SealwrightError, Unreadable
from sealwright.pki.ocsp import GOOD, Knowledge, State, Status
from sealwright.trust.revocation import MAX_CRL_BYTES, CrlTable

_NEXT = "Fetch the list again from its issuer."


class CrlSource:
    """One authority's list. note: told once of each new file that is not taken."""

    def __init__(self, path: str, issuer: bytes, note: Callable[[str], None]) -> None:
        self.path = path
        self._issuer = x509.load_der_x509_certificate(issuer)
        self._note = note
        self._seen = _identity(path)
        self._table = self._read()

    def refresh(self, now: datetime) -> Knowledge:
        """Read the file again where it is another one."""
        try:
            seen = _identity(self.path)
        except SealwrightError:
            seen = self._seen  # just being replaced, or removed: what was read serves on until it ends
        if seen != self._seen:
            self._seen = seen
            try:
                self._table = self._newer(self._read())
            except SealwrightError as cause:
                self._note(f"{cause} The list of {self._table.this_update:%Y-%m-%d %H:%M} serves on.")
        table = self._table
        if table.this_update > now or table.next_update is None:
            raise MalformedTrust(self.path, "it is from the future, or does not say until when it counts", _NEXT)
        return Knowledge(table.this_update, table.next_update, table.keeps_expired_since)

    def status(self, serial: int) -> Status:
        """What the list says of a serial."""
        entry = self._table.entries.get(serial)
        return GOOD if entry is None else Status(State.REVOKED, entry.revoked, entry.reason, entry.invalid)

    def _read(self) -> CrlTable:
        data = read_file(self.path, MAX_CRL_BYTES)
        return CrlTable.load(crl_der(data, self.path), [self._issuer])

    def _newer(self, found: CrlTable) -> CrlTable:
        if (found.number, found.this_update) < (self._table.number, self._table.this_update):
            raise MalformedTrust(
                self.path, f"its number {found.number} is older than {self._table.number}, which was seen", _NEXT
            )
        return found


def crl_der(data: bytes, path: str) -> bytes:
    """A CRL in DER, of DER or PEM."""
    if not data.startswith(b"-----BEGIN X509 CRL-----"):
        return data
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_crl(data).public_bytes(Encoding.DER)
    except ValueError as cause:
        raise MalformedTrust(path, "it is not a CRL in PEM", _NEXT) from cause


def _identity(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError as cause:
        raise Unreadable(path, f"it cannot be read ({cause.strerror})", "Check the path.") from cause
    return found.st_ino, found.st_size, found.st_mtime_ns
