"""A key of a service that need not be there when the service starts, and that tries a corrected PIN by itself.

    key = Standby.begin(promised, opening, pin)      # absent: health says LOST, `sign` says KeyUnavailable, and it is tried again
    key.sign(batch)

1. What is absent at the start (a token that is not plugged in, a TPM or service that does not answer) is opened in the background, waiting longer
   each time; so is what a backend gave up.
2. A PIN that the token refused stops the key. It is opened again when its file says another PIN, once for each (A161; across restarts
   `pinmark.py` sees to that).
3. Whatever else stops a key (another key in its place, a false signature, a reused nonce) stops it until a new start: no file mends that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyUnavailable, PinRefused, SealwrightError
from sealwright.keys.health import FIRST_WAIT_S, LONGEST_WAIT_S, KeyHealth, KeyState, Place, Pulse, WatchedKey
from sealwright.keys.key import KeyInfo
from sealwright.keys.pin import Pin

LOOK_S = 1.0
_ASK = "Ask whoever keeps the service: its /health names the key."


@dataclass(frozen=True, slots=True)
class Promised:
    """What is known of a key before it was seen. subject: what askers are told, "key release"; workers: how many it shall have."""

    subject: str
    info: KeyInfo
    place: Place
    workers: int


class Standby:
    """An open key, or one that is awaited. `sign` and `close` are for one desk, `health` for any thread.

    opening: opens it with a PIN; pin: the PIN as its file says now, None where it wants none.
    """

    def __init__(
        self,
        promised: Promised,
        opening: Callable[[Pin | None], WatchedKey],
        pin: Callable[[], Pin | None],
    ) -> None:
        self._promised = promised
        self._opening = opening
        self._pin = pin
        self._desk = threading.Lock()  # of the two below: held while it signs, or is opened
        self._key: WatchedKey | None = None
        self._tried: Pin | None = None
        self._pulse = Pulse()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"awaits {promised.subject}", daemon=True)

    @classmethod
    def begin(
        cls, promised: Promised, opening: Callable[[Pin | None], WatchedKey], pin: Callable[[], Pin | None]
    ) -> Standby:
        """Open it, or begin to wait for it. KeyRefused for a key that is there and may not be used, UsageError for a PIN file that cannot be."""
        made = cls(promised, opening, pin)
        try:
            made._open(pin())
        except KeyUnavailable as cause:
            made._pulse.bad(cause)
        made._thread.start()
        return made

    @classmethod
    def present(
        cls, promised: Promised, opening: Callable[[Pin | None], WatchedKey], pin: Callable[[], Pin | None]
    ) -> Standby:
        """Open it; raises what `opening` raises: for a key without which nothing can begin."""
        made = cls(promised, opening, pin)
        made._open(pin())
        made._thread.start()
        return made

    @property
    def info(self) -> KeyInfo:
        """As it was found, or as it was promised."""
        key = self._key
        return self._promised.info if key is None else key.info

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyUnavailable naming the key while it is awaited or stopped."""
        with self._desk:
            key = self._key
            health = self.health()
            if key is None or health.state is KeyState.STOPPED:
                raise KeyUnavailable(self._promised.subject, f"it does not sign now: {health.why}", _ASK)
            try:
                return key.sign(batch)
            except PinRefused as cause:
                raise KeyUnavailable(self._promised.subject, f"it does not sign now: {cause.what}", _ASK) from cause
            except KeyUnavailable as cause:
                raise KeyUnavailable(self._promised.subject, cause.what, cause.next_step) from cause

    def health(self) -> KeyHealth:
        """How it fares; never waits for a signature."""
        key = self._key
        if key is not None:
            return key.health()
        info, place = self._promised.info, self._promised.place
        return self._pulse.health(str(key_digest(info.public_key)), info.uri, place, 0, self._promised.workers)

    def close(self) -> None:
        """Give it back. Closing twice is fine."""
        self._closed.set()
        with self._desk:
            self._end()

    def _watch(self) -> None:
        wait = FIRST_WAIT_S
        while not self._closed.wait(wait):
            with self._desk:
                if self._closed.is_set():
                    return
                wait = self._look(wait)

    def _look(self, wait: float) -> float:
        """Open what is awaited, or what another PIN may help; how long to wait then."""
        health = self.health()
        if health.state is KeyState.STOPPED:
            pin = self._corrected() if health.pin_refused else None
            if pin is None:
                return LOOK_S
            self._end()
            self._pulse = Pulse()
            return self._try(pin, FIRST_WAIT_S)
        if self._key is not None:
            return LOOK_S
        try:
            pin = self._pin()
        except SealwrightError as cause:
            self._pulse.turn(KeyState.LOST, cause.what)
            return LONGEST_WAIT_S
        return self._try(pin, max(wait, FIRST_WAIT_S))

    def _try(self, pin: Pin | None, wait: float) -> float:
        try:
            self._open(pin)
        except SealwrightError as cause:
            self._pulse.bad(cause)
            return min(wait * 2, LONGEST_WAIT_S)
        return LOOK_S

    def _open(self, pin: Pin | None) -> None:
        self._tried = pin
        self._key = self._opening(pin)

    def _corrected(self) -> Pin | None:
        """The PIN of the file, where it is another one than that which was tried last."""
        try:
            pin = self._pin()
        except SealwrightError:  # it is being written: the next look reads it
            return None
        tried = self._tried
        return pin if pin is not None and tried is not None and pin.reveal() != tried.reveal() else None

    def _end(self) -> None:
        key, self._key = self._key, None
        if key is not None:
            key.close()
