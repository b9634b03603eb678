"""Which makers were taken into a trust file from a file that they shipped, and that a second channel confirmed it.

An entry `adopted` of the journal has the sample's digest, the signer's certificate and the authority above it, the trust file's id and
the digest of the new text, and the salted digest of who or what confirmed it, whose text is erasable (`privatepart.py`):

    {"anchor":"sha256:…","certificate":"sha256:…","confirmed":"sha256:…","sample":"sha256:…","text":"sha256:…","time":"…","trust":"plant-7","type":"adopted",…}

It is durable before the trust file is written: a text that nobody finds under `text` was never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.log.canonical import Field, time_text
from sealwright.log.journal import Entry, EntryType, Journal, refuse_locked
from sealwright.signing.home import JOURNAL, Home
from sealwright.signing.privatepart import keep_text


@dataclass(frozen=True, slots=True)
class Adopted:
    """One sample. certificate: of its signer, anchor: of the authority above, by their TBSCertificate; sample: None for a folder."""

    sample: Digest | None
    certificate: Digest
    anchor: Digest


def record_adoption(
    home: Home, adopted: Sequence[Adopted], trust: str, text: Digest, confirmed: str, now: datetime
) -> None:
    """Record it, one entry for each sample, all with one sync. UsageError for a text that is none, JournalError, OutputRefused."""
    refuse_locked(home.folder)
    told = keep_text(home, confirmed, "--confirmed")
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append([Entry(EntryType.ADOPTED, _fields(one, trust, text, told, now)) for one in adopted])


def _fields(one: Adopted, trust: str, text: Digest, confirmed: Digest, now: datetime) -> dict[str, Field]:
    fields: dict[str, Field] = {
        "anchor": str(one.anchor),
        "certificate": str(one.certificate),
        "confirmed": str(confirmed),
        "text": str(text),
        "time": time_text(now),
        "trust": trust,
    }
    return fields | ({"sample": str(one.sample)} if one.sample is not None else {})
