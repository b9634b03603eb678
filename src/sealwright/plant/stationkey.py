"""The station's key: it signs records and nothing else, through the one pipeline, with its home's journal.

The home is opened and locked for each batch alone: two verifications at once wait for each other's signatures, not for each other's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.kinds import RECORD
from sealwright.errors import KeyRefused, KeyUnavailable, SealwrightError, UsageError
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.pin import Pin
from sealwright.log.journal import EntryType, read_history
from sealwright.plant.recordfolder import MAX_NUMBER
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import FILE
from sealwright.signing.home import JOURNAL, EnrolledKey, Home, KeyPurpose
from sealwright.signing.pipeline import Pipeline


@dataclass(slots=True)
class StationKey:
    """An enrolled key for records. failed: why it could not be used, after which it is not tried again: a wrong PIN, given to a token
    once for each file, would lock it."""

    home: Home
    enrolled: EnrolledKey
    pin: Pin | None
    failed: SealwrightError | None = None

    @property
    def digest(self) -> Digest:
        """By which records name it."""
        return self.enrolled.digest

    def sign(self, texts: Sequence[bytes]) -> list[bytes]:
        """Detached CMS of the kind `record` over each text, which must be a record (RULES 2). Raises what the pipeline raises."""
        if not texts:
            return []
        if self.failed is not None:
            raise self.failed
        batch = [self._prepared(text) for text in texts]
        try:
            with Pipeline(self.home, self.enrolled, self.pin) as pipeline:
                return [pipeline.sealed(made).envelope for made in pipeline.sign(batch, datetime.now(UTC))]
        except (KeyUnavailable, KeyRefused) as cause:
            self.failed = cause
            raise

    def _prepared(self, text: bytes) -> Prepared:
        """Its place in its chain is what the journal has as its claims, so that the journal shows what the folder lacks."""
        link = parse_record(text, FILE).link
        return Prepared(
            format=RECORD.name,
            kind=RECORD.name,
            path=FILE,
            digests={name: Digest.of(text, name) for name in (HashName.SHA256, self.enrolled.algorithm.digest)},
            content=None,
            size=len(text),
            coverage=Coverage.whole(len(text)),
            claims=Claims(product=link.folder, generation=link.number),
        )


def highest_signed(home: Home) -> dict[str, int]:
    """The highest number that a station's journal has signed for each folder of records, by the folder's id. Raises JournalError."""
    asked: dict[str, tuple[str, int]] = {}
    highest: dict[str, int] = {}
    for entry in read_history(home.path(JOURNAL)):
        request = str(entry.fields.get("request", ""))
        if entry.type is EntryType.INTENT and entry.fields.get("kind") == RECORD.name:
            folder, number = str(entry.fields.get("product", "")), str(entry.fields.get("generation", ""))
            if number.isdecimal() and len(number) <= len(str(MAX_NUMBER)):
                asked[request] = folder, int(number)
        elif request in asked:
            place, count = asked.pop(request)
            if entry.type is EntryType.RESULT:
                highest[place] = max(count, highest.get(place, 0))
    return highest


def enrolled_for_records(home: Home, wanted: str | None) -> EnrolledKey:
    """The key of a home that signs records; UsageError that tells how to make one."""
    if wanted is None and not any(key.purpose is KeyPurpose.RECORD for key in home.keys):
        raise UsageError(
            home.folder,
            "no key is enrolled for records",
            f"Make one, once: sealwright key enrol record --home {home.folder} --name station",
        )
    return home.key(wanted, KeyPurpose.RECORD, RECORD, RECORD.name)
