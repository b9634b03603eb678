"""Whether a key of a home may still be used, by the home's register: revoked, on hold, or replaced and past its last day."""

from __future__ import annotations

import os
from datetime import datetime
from typing import NamedTuple

from cryptography import x509

from sealwright.envelope.algorithms import key_digest
from sealwright.errors import JournalError, KeyRefused
from sealwright.log.journal import FILE
from sealwright.signing.home import REGISTER, EnrolledKey, Home
from sealwright.signing.issued import End, Inventory, read_register
from sealwright.trust.certificate import load_certificate


class Standing(NamedTuple):
    """end: of its certificate, by an authority of the home; until: when a replaced key's signing ended, None while nobody set a day.

    home.toml is a file for editing; the register is the journal of what was decided, so of two days the earlier counts (A113).
    """

    end: End | None
    until: datetime | None

    def problem(self, now: datetime) -> str:
        """Why the key must not be used; "" where it may."""
        if self.end is not None:
            return f"its certificate was revoked on {self.end.at:%Y-%m-%d} ({self.end.reason.value})"
        if self.until is not None and now > self.until:
            return f"it was replaced, and its signing ended on {self.until:%Y-%m-%d}"
        return ""


def standing_of(home: Home, key: EnrolledKey) -> Standing:
    """What the register says of a key, read once; JournalError where it cannot be read."""
    issued = read_register(home.path(REGISTER)).issued.values()
    serial, own = load_certificate(key.certificate, key.name).serial_number, key_digest(key.public_key)
    end = next((one.end for one in issued if one.serial == serial and one.end), None)
    decided = [one.signs_until for one in issued if one.signs_until is not None and one.key == own][-1:]
    return Standing(end, min((time for time in (key.signs_until, *decided) if time is not None), default=None))


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
    if why := standing_of(home, key).problem(now):
        raise KeyRefused(f"key {key.name}", why, "Use another key: sealwright key enrol makes one.")


class StandingWatch:
    """The same for a service that runs on: asked before each use, it reads the register where that has changed."""

    def __init__(self, home: Home, key: EnrolledKey) -> None:
        self._home = home
        self._key = key
        self._path = home.path(REGISTER, FILE)
        self._seen: tuple[int, int, int] | None = None
        self._standing = Standing(None, None)

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
                self._standing, self._seen = self._now(), seen
            except JournalError as cause:
                return f"the register cannot be read ({cause.what})"
        return self._standing.problem(now)

    def _now(self) -> Standing:
        found, before = standing_of(self._home, self._key), self._standing.end
        if found.end is None and before is not None and before.reason is not x509.ReasonFlags.certificate_hold:
            raise JournalError(self._home.path(REGISTER), "it has forgotten a revocation", "Restore the register.")
        return found
