"""Where signatures are made: a home with its own keys and journal, or a service that is asked over the network (`service/client.py`).

`sign.py` prepares artifacts and writes results; between them it asks a place. What comes back is the same from both: a recorded
signature value over what `sign.py` prepared, under attributes that can be built again from certificate, digest and time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sealwright.envelope.algorithms import SignatureAlgorithm
from sealwright.envelope.kinds import ContentKind
from sealwright.findings import Finding
from sealwright.formats.format import Prepared, Sealed
from sealwright.keys.pin import Pin
from sealwright.pki.timestamppool import Stamp
from sealwright.signing.home import Home, KeyPurpose
from sealwright.signing.pending import Pending, take_away
from sealwright.signing.pipeline import Made, Pipeline
from sealwright.signing.stamps import Missing, Stamper, open_stamper, strangers


class SigningKey(Protocol):
    """A key that is ready to sign. subject: the signer's name; provenance: where the key lives; end: of its certificate."""

    @property
    def name(self) -> str: ...

    @property
    def subject(self) -> str: ...

    @property
    def provenance(self) -> str: ...

    @property
    def algorithm(self) -> SignatureAlgorithm: ...

    @property
    def end(self) -> datetime: ...

    def sign(self, batch: Sequence[Prepared], now: datetime) -> list[Made]:
        """Recorded signatures in order; all of the batch or none."""
        ...

    def sealed(self, made: Made, tokens: Sequence[bytes] = ()) -> Sealed:
        """A signature as its verifiers read it, with its timestamp tokens."""
        ...


class OpenPlace(Protocol):
    """A place whose key is open, to be closed. proofs: whether what it signs comes with the proof that a log has it."""

    @property
    def key(self) -> SigningKey: ...

    @property
    def proofs(self) -> bool: ...

    def stamper(
        self, wanted: Sequence[str], *, number: int, missing: Missing, clock: Callable[[], datetime]
    ) -> Stamper:
        """Who stamps what is signed here. wanted: "local", "none" or URLs."""
        ...

    def strangers(self, stamps: Iterable[Stamp], now: datetime) -> Mapping[bytes, Finding]:
        """The warning about each authority, by its certificate, that the place's trust file does not know."""
        ...

    def defer(self, items: Sequence[Pending]) -> None:
        """Keep, durable, which signatures still wait for timestamps."""
        ...

    def forget(self, item: Pending) -> None:
        """One of them was not written after all."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class SigningPlace(Protocol):
    """timestamp: who stamps unless one is told otherwise; stamps_later: whether a signature may be made while nobody does."""

    @property
    def timestamp(self) -> tuple[str, ...]: ...

    @property
    def stamps_later(self) -> bool: ...

    def open(self, wanted: str | None, kind: ContentKind, form: str, pin: Pin | None) -> OpenPlace:
        """Open the key of that name, else the first that signs the kind. form: the format's name, for the error."""
        ...


class HomePlace:
    """A home as the place."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.timestamp = home.timestamp
        self.stamps_later = home.stamps_later

    def open(self, wanted: str | None, kind: ContentKind, form: str, pin: Pin | None) -> OpenHome:
        """As `SigningPlace` says."""
        return OpenHome(
            self.home, Pipeline(self.home, self.home.key(wanted, KeyPurpose.ARTIFACT, kind, form), pin), pin
        )


class OpenHome:
    """A home with one of its keys open."""

    proofs = False

    def __init__(self, home: Home, key: Pipeline, pin: Pin | None) -> None:
        self.home = home
        self.key = key
        self.pin = pin

    def stamper(
        self, wanted: Sequence[str], *, number: int, missing: Missing, clock: Callable[[], datetime]
    ) -> Stamper:
        """As `OpenPlace` says; the home's own authority records in the same journal."""
        return open_stamper(wanted, self.home, self.pin, self.key.journal, number=number, missing=missing, clock=clock)

    def strangers(self, stamps: Iterable[Stamp], now: datetime) -> Mapping[bytes, Finding]:
        """By the home's trust file."""
        return strangers(stamps, self.home, now)

    def defer(self, items: Sequence[Pending]) -> None:
        """In the journal, and in the home's folder of what is pending."""
        self.key.defer(items)

    def forget(self, item: Pending) -> None:
        """The next `stamp` finds nothing of it."""
        take_away(self.home.folder, [item])

    def close(self) -> None:
        """Give key and journal back."""
        self.key.close()
