"""Where what a home signed went: a customer portal, a memory stick, an update server. Whoever ships it says so, once for each place.

An entry `published` of the journal has the artifact's digest as its signature's entry has it, the whole file's digest where the path
is a file, the time of the release, the channel, and the salted digest of the place, whose text is erasable (`privatepart.py`):

    {"artifact":"sha256:…","at":"2026-05-04T10:00:00Z","channel":"production","file":"sha256:…","place":"sha256:…","time":"…","type":"published",…}

An artifact is found by a signature of it that this home made, whatever format that is in; `signed` is "elsewhere" where another
place made it and somebody said so. When a key is lost, these entries say who has to be told (`compromise.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact
from sealwright.errors import JournalError, SealwrightError, UsageError
from sealwright.formats.layouttext import Layout
from sealwright.log.canonical import Field, read_time, time_text
from sealwright.log.journal import Entry, EntryType, Journal, Recorded, read_history, refuse_locked
from sealwright.signing.home import JOURNAL, Home
from sealwright.signing.keyuse import fold
from sealwright.signing.late import signatures_of
from sealwright.signing.privatepart import keep_text, kept_text

_CHANNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ELSEWHERE = "elsewhere"


class Origin(Enum):
    """Where what is released must have been signed: HERE, or ANYWHERE, because somebody said so plainly."""

    HERE = auto()
    ANYWHERE = auto()


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is released. artifact: the digest that the journal knows it by; file: of the whole file, where it is one; here: whether
    this home signed it."""

    path: str
    artifact: Digest
    file: Digest | None
    here: bool


@dataclass(frozen=True, slots=True)
class Where:
    """One release. place: as it was said; channel: "" for none; at: when."""

    place: str
    channel: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """One release as the journal has it. place: the digest of its text; elsewhere: it was said that this home did not sign it."""

    artifact: str
    at: datetime
    channel: str
    place: Digest
    elsewhere: bool


@dataclass(slots=True)
class Releases:
    """Those of a journal, by artifact digest, gathered while its entries pass."""

    by_artifact: dict[str, list[Release]] = field(default_factory=dict)

    def noting(self, entries: Iterable[Recorded]) -> Iterator[Recorded]:
        """The entries, unchanged."""
        for entry in entries:
            if entry.type is EntryType.PUBLISHED:
                one = _release(entry)
                self.by_artifact.setdefault(one.artifact, []).append(one)
            yield entry


def releases_of(home: Home) -> list[Release]:
    """Every release that is recorded, in the order of the entries. JournalError where the journal is damaged."""
    return [_release(entry) for entry in read_history(home.path(JOURNAL)) if entry.type is EntryType.PUBLISHED]


def place_of(home: Home, release: Release) -> str:
    """Where it went, "" where the text was erased."""
    return kept_text(home, release.place)


def identify(
    home: Home, paths: Sequence[str], origin: Origin = Origin.HERE, layouts: Sequence[Layout] = ()
) -> list[Artifact]:
    """Each path, or digest, as the journal knows it. UsageError for what this home never signed, unless it may be from ANYWHERE."""
    uses = fold(read_history(home.path(JOURNAL))).values()
    signed = {one.signature: one.artifact for use in uses for one in use.signed if one.format != "timestamp"}
    known = set(signed.values())
    return [_identified(home, path, signed, known, origin, layouts) for path in paths]


def record(home: Home, artifacts: Sequence[Artifact], where: Where, now: datetime) -> None:
    """Record the release of artifacts, all with one sync. UsageError for a place, channel or time that cannot be one, JournalError."""
    refuse_locked(home.folder)
    if where.channel and not _CHANNEL.fullmatch(where.channel):
        raise UsageError(
            f"--channel {where.channel}", "it is not made of a-z, 0-9, dot and dash alone", "Name it like production."
        )
    if where.at > now:
        raise UsageError("--at", f"{time_text(where.at)} is in the future", "Record a release when it has happened.")
    place = keep_text(home, where.place, "--to")
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append([Entry(EntryType.PUBLISHED, _fields(one, where, place, now)) for one in artifacts])


def _fields(one: Artifact, where: Where, place: Digest, now: datetime) -> dict[str, Field]:
    fields: dict[str, Field] = {
        "artifact": str(one.artifact),
        "at": time_text(where.at),
        "place": str(place),
        "time": time_text(now),
    }
    if one.file is not None:
        fields["file"] = str(one.file)
    if where.channel:
        fields["channel"] = where.channel
    if not one.here:
        fields["signed"] = ELSEWHERE
    return fields


def _identified(
    home: Home, path: str, signed: dict[str, str], known: set[str], origin: Origin, layouts: Sequence[Layout]
) -> Artifact:
    named = _digest(path)
    if named is not None:
        if str(named) not in known and origin is Origin.HERE:
            raise _never(path)
        return Artifact(path, named, None, str(named) in known)
    file = _file_digest(path)
    if file is not None and str(file) in known:
        return Artifact(path, file, file, True)
    certificates = [key.certificate for key in home.keys]
    try:
        found = [str(one.digest) for one in signatures_of(path, None, certificates, layouts)]
    except UsageError:  # there is none
        found = []
    except SealwrightError:
        if origin is Origin.HERE:
            raise
        found = []
    ours = next((signed[one] for one in found if one in signed), "")
    if ours:
        return Artifact(path, Digest.parse(ours), file, True)
    if origin is Origin.HERE:
        raise _never(path)
    if file is None:
        raise UsageError(path, "a folder has no digest of its own", "Name its manifest, or a digest.")
    return Artifact(path, file, file, False)


def _file_digest(path: str) -> Digest | None:
    """SHA-256 of a regular file; None for a folder. Raises what opening it raises."""
    if os.path.isdir(path):
        return None
    with open_artifact(path) as source:
        return source.digests({HashName.SHA256}, None)[HashName.SHA256]


def _digest(text: str) -> Digest | None:
    if os.path.lexists(text):
        return None
    try:
        return Digest.parse(text)
    except ValueError:
        return None


def _release(entry: Recorded) -> Release:
    fields = entry.fields
    try:
        return Release(
            artifact=str(fields["artifact"]),
            at=read_time(fields["at"]),
            channel=str(fields.get("channel", "")),
            place=Digest.parse(str(fields["place"])),
            elsewhere=fields.get("signed") == ELSEWHERE,
        )
    except (KeyError, ValueError) as cause:
        raise JournalError(
            JOURNAL, f"entry {entry.number + 1} is no release ({cause})"[:160], "Restore the journal from a backup."
        ) from cause


def _never(path: str) -> UsageError:
    return UsageError(
        path,
        "the journal of this home has no signature of it",
        "Record it with the home that signed it; or, where no home of yours did, say so with --signed-elsewhere.",
    )
