"""What a lost key signed, and where that went: the incident responder's first questions, answered from the journal at once.

An entry at or after the given moment counts, one that says no time too, and an intent without result: the signature may have been
made. Where an artifact was released, this home knows only if somebody recorded it (`released.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.log.journal import read_history
from sealwright.signing.home import JOURNAL, Home
from sealwright.signing.keyuse import KeyUse, Signed, fold
from sealwright.signing.released import Release, Releases


@dataclass(frozen=True, slots=True)
class Affected:
    """One signature of a lost key, and the releases of what it signed that are recorded."""

    signed: Signed
    releases: tuple[Release, ...]


def signatures_since(home: Home, key: Digest, since: datetime) -> list[Affected]:
    """Everything that a key signed at or after a moment, oldest first. JournalError where the journal is damaged."""
    releases = Releases()
    use = fold(releases.noting(read_history(home.path(JOURNAL)))).get(str(key), KeyUse())
    every = sorted((*use.signed, *use.begun), key=lambda one: (one.time, one.number))
    return [
        Affected(one, tuple(releases.by_artifact.get(one.artifact, ())))
        for one in every
        if one.at is None or one.at >= since
    ]
