"""How a key fares, as a service prints it: signs, signs with fewer workers, lost and tried again, or stopped until a person comes.

    health = key.health()
    if health.alarm: page(health.key, health.state, health.why)

A key is STOPPED by what another try could only make worse: a wrong PIN (A161), another key in its place (A163), a key that could now be
given away (A162), one ECDSA nonce for two messages (A012), a signature that does not verify (A013). Everything else is LOST, and the
backend goes on trying.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, PinRefused, SealwrightError
from sealwright.keys.checked import check_request
from sealwright.keys.key import OpenKey

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


class KeyState(StrEnum):
    """SIGNS; PARTLY: it signs, with fewer workers than wanted; LOST: it is tried again; STOPPED: a person must come."""

    SIGNS = "signs"
    PARTLY = "partly"
    LOST = "lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is, for the operator. token: its label or the service's host; serial, slot: "" where there are none."""

    token: str
    serial: str = ""
    slot: str = ""


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """key: digest of the public key, as text; since: when this state began, aware; why: one clause, "" where all is well;
    workers: how many can sign now, of `wanted`; last_good: when a verified signature last left, None if none did;
    pin_refused: it is STOPPED by its PIN, so that another one may help."""

    key: str
    uri: str
    place: Place
    state: KeyState
    since: datetime
    why: str
    workers: int
    wanted: int
    last_good: datetime | None
    pin_refused: bool = False

    @property
    def alarm(self) -> bool:
        """Whether somebody must be told: nothing can be signed with it now."""
        return self.state in (KeyState.LOST, KeyState.STOPPED)

    def fields(self) -> dict[str, str | int]:
        """For a log line or a JSON answer; times in RFC 3339, "" for none."""
        return {
            "key": self.key,
            "uri": self.uri,
            "token": self.place.token,
            "serial": self.place.serial,
            "slot": self.place.slot,
            "state": self.state.value,
            "since": self.since.isoformat(timespec="seconds"),
            "why": self.why,
            "workers": self.workers,
            "wanted": self.wanted,
            "last_good": self.last_good.isoformat(timespec="seconds") if self.last_good else "",
        }


class WatchedKey(OpenKey, Protocol):
    """A key that says how it fares; `health` is safe from any thread, and never waits for a signature."""

    def health(self) -> KeyHealth:
        """As of now."""
        ...


def utc_now() -> datetime:
    """The clock of those who name none."""
    return datetime.now(UTC)


class Pulse:
    """What one key did last; written by its desk and its background, read by anybody. Owns its lock."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = KeyState.SIGNS
        self._since = clock()
        self._why = ""
        self._last_good: datetime | None = None
        self._pin_refused = False

    @property
    def stopped(self) -> bool:
        """Whether nothing but a person helps."""
        with self._lock:
            return self._state is KeyState.STOPPED

    def good(self, state: KeyState = KeyState.SIGNS, why: str = "") -> None:
        """A verified signature left."""
        with self._lock:
            self._last_good = self._clock()
        self.turn(state, why)

    def bad(self, cause: SealwrightError) -> None:
        """A try failed; what kind of error it was says whether to go on trying."""
        with self._lock:
            if self._state is not KeyState.STOPPED:
                self._pin_refused = isinstance(cause, PinRefused)
        self.turn(KeyState.STOPPED if needs_a_person(cause) else KeyState.LOST, cause.what)

    def turn(self, state: KeyState, why: str) -> None:
        """Another state, or the same for another reason. A stopped key stays stopped: it is opened anew."""
        with self._lock:
            if self._state is KeyState.STOPPED:
                return
            if state is not self._state:
                self._since = self._clock()
            self._state, self._why = state, why

    def health(self, key: str, uri: str, place: Place, workers: int, wanted: int) -> KeyHealth:
        """The value, with what the backend knows beside."""
        with self._lock:
            told = (self._state, self._since, self._why, workers, wanted, self._last_good, self._pin_refused)
            return KeyHealth(key, uri, place, *told)


class Reopened:
    """A key in a file or TPM that is opened again after it was lost, by the next order or in the background, waiting longer each time.

    `sign` is for one desk at a time (a second one waits), `health` and `close` for any thread.
    """

    def __init__(self, opening: Callable[[], OpenKey]) -> None:
        self._opening = opening
        self._desk = threading.Lock()  # of the key: held while it signs, or is opened again
        self._key: OpenKey | None = opening()
        self._closed = threading.Event()
        self._trying: threading.Thread | None = None
        self._pulse = Pulse()
        self.info = self._key.info

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        for one in batch:
            check_request(one, self.info.algorithm, self.info.uri)
        with self._desk:
            if self._closed.is_set():
                raise KeyUnavailable(self.info.uri, "it was closed", "Open it again.")
            if self._pulse.stopped:
                raise KeyRefused(
                    self.info.uri, f"it was stopped: {self.health().why}", "Open it again when that is mended."
                )
            try:
                if self._key is None:
                    self._key = self._opening()
                values = self._key.sign(batch)
            except SealwrightError as cause:
                self._pulse.bad(cause)
                self._end()
                self._try_again()
                raise
            self._pulse.good()
            return values

    def health(self) -> KeyHealth:
        """How it fares, as of the last signature or the last try to open it."""
        digest = str(key_digest(self.info.public_key))
        return self._pulse.health(digest, self.info.uri, Place(self.info.location), int(self._key is not None), 1)

    def close(self) -> None:
        """Give it back. Closing twice is fine."""
        self._closed.set()
        with self._desk:
            self._end()

    def _try_again(self) -> None:
        """Have it opened in the background: a service that says it is lost may get no order that would."""
        if self._pulse.stopped or (self._trying is not None and self._trying.is_alive()):
            return
        self._trying = threading.Thread(target=self._open_again, name="sealwright-key-again", daemon=True)
        self._trying.start()

    def _open_again(self) -> None:
        wait = FIRST_WAIT_S
        while not self._closed.wait(wait):
            with self._desk:
                if self._key is not None or self._closed.is_set() or self._pulse.stopped:
                    return
                try:
                    self._key = self._opening()
                except SealwrightError as cause:
                    self._pulse.bad(cause)
                else:
                    self._pulse.turn(KeyState.SIGNS, "")
                    return
            wait = min(wait * 2, LONGEST_WAIT_S)

    def _end(self) -> None:
        key, self._key = self._key, None
        if key is not None:
            key.close()


def needs_a_person(cause: SealwrightError) -> bool:
    """Whether trying again could only make it worse."""
    return isinstance(cause, KeyRefused | PinRefused)
