"""What a lost key signed: the incident responder's first question, answered from the journal at once.

The journal's times are those of the clock of the signing place; they prove nothing to others and are what there is. An entry at
or after the given moment counts, and an intent without result counts too: the signature may have been made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.log.canonical import read_time
from sealwright.log.journal import EntryType, read_history
from sealwright.signing.home import JOURNAL, Home


@dataclass(frozen=True, slots=True)
class Signature:
    """One recorded signature. artifact: content digest; signature: digest of its value, "" where no result was recorded."""

    at: datetime
    format: str
    artifact: str
    signature: str
    product: str
    version: str
    generation: str
    number: int


def signatures_since(home: Home, key: Digest, since: datetime) -> list[Signature]:
    """Everything that a key signed at or after a moment, oldest first. JournalError where the journal is damaged."""
    return list(_signatures(home.path(JOURNAL), key, since))


def _signatures(folder: str, key: Digest, since: datetime) -> Iterator[Signature]:
    results: dict[str, str] = {}
    intents = []
    for entry in read_history(folder):
        request = str(entry.fields.get("request", ""))
        if entry.type is EntryType.INTENT and entry.fields.get("key") == str(key):
            intents.append(entry)
            results.setdefault(request, "")
        elif entry.type is EntryType.RESULT and request in results:
            results[request] = str(entry.fields.get("signature", entry.fields.get("token", "")))
        elif entry.type is EntryType.REFUSAL and request in results:
            results[request] = "refused"
    for entry in intents:
        fields = {name: str(value) for name, value in entry.fields.items()}
        signature = results[fields["request"]]
        at = _time(fields.get("time", ""))
        if signature == "refused" or (at is not None and at < since):
            continue
        yield Signature(
            at=at or since,
            format=fields.get("format", fields.get("kind", "")),
            artifact=fields.get("artifact", ""),
            signature=signature,
            product=fields.get("product", ""),
            version=fields.get("version", ""),
            generation=fields.get("generation", ""),
            number=entry.number,
        )


def _time(text: str) -> datetime | None:
    try:
        return read_time(text)
    except ValueError:
        return None  # entries that say no time count: what is not known to be before is not
