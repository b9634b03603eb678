"""Timestamps for fresh signatures: from the home's own authority, from one on the network, or none.

A token of the home's own authority is a signature too: intent and result are recorded like any other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from sealwright.artifact.digest import Digest
from sealwright.envelope.tsp import check_own, read_token
from sealwright.errors import BadSignature, SealwrightError, UsageError
from sealwright.findings import Finding, warning
from sealwright.keys.backends import open_key
from sealwright.keys.pin import Pin
from sealwright.log.journal import Entry, EntryType, Journal, Record
from sealwright.pki.timestamp import Imprint, LocalAuthority
from sealwright.pki.timestamppool import MAX_TOKENS, Pool, Stamp
from sealwright.signing.home import JOURNAL, TRUST, Home, KeyPurpose
from sealwright.signing.standing import check_standing

LOCAL = "local"
NONE = "none"
CLOCK_TOLERANCE = timedelta(minutes=5)


def utc_now() -> datetime:
    """What the machine's clock says."""
    return datetime.now(UTC)


class Stamper(Protocol):
    """Where timestamps come from. wanted: how many each signature should get."""

    wanted: int

    def stamp(self, imprints: Sequence[Digest]) -> list[tuple[Stamp, ...]]:
        """The stamps for each digest of a signature value; fewer than wanted only where they may come later.

        TimestampUnavailable if one does not come and may not come later.
        """
        ...

    def close(self) -> None:
        """Give the key back."""
        ...


class Missing(Enum):
    """What happens to a signature whose timestamp does not come."""

    REFUSE = auto()
    LATER = auto()


def open_stamper(
    wanted: str | Sequence[str],
    home: Home,
    pin: Pin | None,
    journal: Record,
    *,
    number: int = 1,
    missing: Missing = Missing.REFUSE,
    clock: Callable[[], datetime] = utc_now,
) -> Stamper:
    """The stamper for "local", "none" or the URLs of authorities. number: how many distinct authorities shall stamp."""
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if names == (NONE,):
        return NoStamper()
    if not 1 <= number <= MAX_TOKENS:
        raise UsageError("--timestamps", f"{number} timestamps a signature", f"Ask for 1 to {MAX_TOKENS}.")
    if names == (LOCAL,):
        if number > 1:
            raise UsageError("--timestamps", "the home has one authority of its own", "Name several with --timestamp.")
        return _LocalStamper(home, pin, journal, clock)
    return PoolStamper(Pool(names), number, missing)


class NoStamper:
    """Nobody stamps."""

    wanted = 0

    def stamp(self, imprints: Sequence[Digest]) -> list[tuple[Stamp, ...]]:
        return [()] * len(imprints)

    def close(self) -> None:
        return


class PoolStamper:
    """Requests to authorities on the network; each answer is checked before it is used, whatever the transport."""

    def __init__(self, pool: Pool, wanted: int = 1, missing: Missing = Missing.REFUSE) -> None:
        self.pool = pool
        self.wanted = wanted
        self.missing = missing

    def stamp(self, imprints: Sequence[Digest]) -> list[tuple[Stamp, ...]]:
        """As `Stamper` says."""
        made = self.pool.stamp_all(imprints, self.wanted)
        if self.missing is Missing.REFUSE and any(len(one) < self.wanted for one in made):
            raise self.pool.unavailable(self.wanted)
        return made

    def close(self) -> None:
        """Nothing is held."""
        return


def stamped_here(home: Home, pin: Pin | None, imprint: Digest, clock: Callable[[], datetime] = utc_now) -> bytes:
    """One token of the home's own authority, for whoever needs one now and then: the journal is held only meanwhile."""
    with (
        Journal.open(home.path(JOURNAL)) as journal,
        closing(open_stamper(LOCAL, home, pin, journal, clock=clock)) as stamper,
    ):
        ((stamp,),) = stamper.stamp([imprint])
        return stamp.token


def doubts(stamps: Sequence[Stamp], strange: Mapping[bytes, Finding], now: datetime) -> tuple[Finding, ...]:
    """Warnings about tokens just made: a time far from this clock, an authority that the home's trust file does not know.

    strange: of `strangers`. The token counts all the same: it may be the clock that is wrong, and other verifiers may know the authority.
    """
    findings = [
        warning(
            "SW-TIMESTAMP-CLOCK",
            stamp.authority,
            wanted=f"{now:%Y-%m-%d %H:%M:%S} UTC",
            found=f"{stamp.gen_time:%Y-%m-%d %H:%M:%S} UTC",
        )
        for stamp in stamps
        if abs(stamp.gen_time - now) > CLOCK_TOLERANCE
    ]
    return (*findings, *(strange[stamp.signer] for stamp in stamps if stamp.signer in strange))


def strangers(stamps: Iterable[Stamp], home: Home, now: datetime) -> dict[bytes, Finding]:
    """For the certificate of each authority that stamped, the warning where the home's trust file would not accept it."""
    return {stamp.signer: found for stamp, found in _strangers({stamp.signer: stamp for stamp in stamps}, home, now)}


def _strangers(stamps: Mapping[bytes, Stamp], home: Home, now: datetime) -> Iterator[tuple[Stamp, Finding]]:
    from sealwright.trust.belief import load_trust  # only where something was stamped
    from sealwright.trust.ground import Ground
    from sealwright.trust.times import judgement
    from sealwright.trust.timestamps import known_authority
    from sealwright.trust.verdict import Purpose

    if not stamps or not os.path.exists(home.path(TRUST)):
        return
    try:
        believed = load_trust(home.path(TRUST))
        trust = believed.trust
        when = judgement(now, None, trust.issued, trust.expires, None)
        ground = Ground(
            trust, believed.crls, believed.denied, when, Purpose.INSTALL, certificates=believed.certificates
        )
        for stamp in stamps.values():
            if why := known_authority(stamp.token, stamp.authority, ground):
                yield stamp, warning("SW-TIMESTAMP-STRANGER", stamp.authority, found=why)
    except SealwrightError:
        return  # whoever verifies with this trust file is told why it cannot be used


class _LocalStamper:
    wanted = 1

    def __init__(self, home: Home, pin: Pin | None, journal: Record, clock: Callable[[], datetime]) -> None:
        enrolled = home.key(None, KeyPurpose.TIMESTAMP)
        check_standing(home, enrolled, clock())
        self.journal = journal
        self.name = str(enrolled.digest)
        self.key = open_key(home.uri(enrolled), pin, algorithm=enrolled.algorithm, expected=enrolled.public_key)
        self.authority = LocalAuthority(enrolled.certificate, enrolled.chain, self.key, clock)

    def stamp(self, imprints: Sequence[Digest]) -> list[tuple[Stamp, ...]]:
        requests = [secrets.token_hex(16) for _ in imprints]
        self.journal.append(
            [
                Entry(
                    EntryType.INTENT,
                    {"request": request, "kind": "timestamp", "key": self.name, "artifact": str(imprint)},
                )
                for request, imprint in zip(requests, imprints, strict=True)
            ]
        )
        tokens = self.authority.tokens([Imprint(imprint) for imprint in imprints])
        self.journal.append(
            [
                Entry(EntryType.RESULT, {"request": request, "token": str(Digest.of(token))})
                for request, token in zip(requests, tokens, strict=True)
            ]
        )
        if not tokens:
            return []
        first = read_token(tokens[0], LOCAL)
        check_own(first, LOCAL)
        if first.imprint != imprints[0]:
            raise BadSignature(LOCAL, "its timestamp is over something else", "Nothing was written; report this.")
        return [(Stamp(token, first.gen_time, LOCAL, first.certificate),) for token in tokens]

    def close(self) -> None:
        self.key.close()
