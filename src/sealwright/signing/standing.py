"""Whether a key of a home may still be used, by the home's register: revoked, on hold, or replaced and past its last day."""

from __future__ import annotations

import os
from datetime import datetime

from cryptography import x509

from sealwright.envelope.algorithms import key_digest
from sealwright.errors import JournalError, KeyRefused
from sealwright.log.journal import FILE
from sealwright.signing.home import REGISTER, EnrolledKey, Home
from sealwright.signing.register import End, Inventory, read_register
from sealwright.trust.certificate import load_certificate


def end_of(home: Home, certificate: x509.Certificate) -> End | None:
    """Whether an authority of this home revoked or suspended a certificate."""
    issued = read_register(home.path(REGISTER)).issued.values()
    return next((one.end for one in issued if one.serial == certificate.serial_number and one.end), None)


def last_second(home: Home, key: EnrolledKey) -> datetime | None:
    """When a replaced key's signing ended, None while nobody set a day (A113).

    home.toml is a file for editing; the register is the journal of what was decided, so the earlier of the two counts.
    """
    own = key_digest(key.public_key)
    retired = [one for one in read_register(home.path(REGISTER)).issued.values() if one.signs_until is not None]
    decided = [one.signs_until for one in retired if one.key == own][-1:]
    return min((time for time in (key.signs_until, *decided) if time is not None), default=None)


def another_serves(home: Home, key: EnrolledKey, inventory: Inventory) -> bool:
    """Whether the home has a good key for the same: nothing is missing then where this one is revoked or replaced."""
    ended = {one.serial for one in inventory.issued.values() if one.end is not None}
    return any(
        other.name != key.name
        and (other.purpose, other.construction, other.signs_until) == (key.purpose, key.construction, None)
        and load_certificate(other.certificate, other.name).serial_number not in ended
        for other in home.keys
    )


def check_standing(home: Home, key: EnrolledKey, now: datetime) -> None:
    """KeyRefused where a key must not be used any more; JournalError where the register cannot be read."""
    if why := _problem(key.signs_until, end_of(home, load_certificate(key.certificate, key.name)), now):
        raise KeyRefused(f"key {key.name}", why, "Use another key: sealwright key enrol makes one.")


class StandingWatch:
    """The same for a service that runs on: asked before each use, it reads the register where that has changed."""

    def __init__(self, home: Home, key: EnrolledKey) -> None:
        self._home = home
        self._until = last_second(home, key)
        self._certificate = load_certificate(key.certificate, key.name)
        self._path = home.path(REGISTER, FILE)
        self._seen: tuple[int, int, int] | None = None
        self._end: End | None = None

    def problem(self, now: datetime) -> str:
        """Why the key must not be used; "" where it may."""
        try:
            found = os.stat(self._path)
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            seen = (0, 0, 0)
        except OSError as cause:
            return f"the register cannot be read ({cause.strerror})"
        if seen != self._seen:
            try:
                self._end, self._seen = self._end_now(), seen
            except JournalError as cause:
                return f"the register cannot be read ({cause.what})"
        return _problem(self._until, self._end, now)

    def _end_now(self) -> End | None:
        found = end_of(self._home, self._certificate)
        if found is None and self._end is not None and self._end.reason is not x509.ReasonFlags.certificate_hold:
            raise JournalError(self._home.path(REGISTER), "it has forgotten a revocation", "Restore the register.")
        return found


def _problem(until: datetime | None, end: End | None, now: datetime) -> str:
    if end is not None:
        return f"its certificate was revoked on {end.at:%Y-%m-%d} ({end.reason.value})"
    if until is not None and now > until:
        return f"it was replaced, and its signing ended on {until:%Y-%m-%d}"
    return ""
