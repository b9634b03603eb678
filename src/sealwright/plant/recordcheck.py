"""Checking a folder of records: every one parses, follows the one before, and is signed by a station that counts.

1. Numbers run from 1 without a gap; each record says its own number and its folder's id, and names the text before it by digest.
2. A record that says which key signed it has that key's signature of the kind `record` over exactly its bytes.
3. Whose key counts is said from outside: keys named one by one, or a trust file: a path to one of its anchors, the purpose of record
   keys in the certificate, not denied, not revoked. As for what is installed already, a certificate that has ended since is no
   fault, and a record's own time must lie within its dates.
4. Nothing else lies in the folder.
What stands within the folder cannot show that its newest records are missing, or that all of it is an older copy: `End` is the line
that is kept outside for that. Without a station's key whoever can write there can write everything anew (docs/records.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple, Protocol

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.progress import Progress
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import Envelope, Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import RECORD
from sealwright.errors import BadSignature, SealwrightError, UsageError
from sealwright.findings import Finding, Severity, note, reject, warning
from sealwright.formats.format import Candidate, Slot
from sealwright.log.canonical import time_text
from sealwright.pki.oids import RECORD_SIGNING
from sealwright.plant.recordfolder import Stored, stored, strays
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import Record
from sealwright.trust.belief import Believed
from sealwright.trust.ground import Ground
from sealwright.trust.signatures import judge_candidate
from sealwright.trust.times import USUAL_DRIFT, judgement
from sealwright.trust.verdict import Purpose

WORD = "sealwright-records"
MAX_CHARACTERS = 400
_LINE = re.compile(
    rf"{WORD} 1 folder=([0-9a-f]{{32}}) count=([1-9][0-9]{{0,8}}) last=([0-9a-f]{{64}}) sum=([0-9a-f]{{8}})"
)


@dataclass(frozen=True, slots=True)
class End:
    """How far a folder went, on one line to be kept outside. last: SHA-256 of the text of the last record, which stands for all before.

    sum: for those who type the line: a slip of the pen is told from a folder that was put back.
    """

    folder: str
    count: int
    last: Digest

    @property
    def line(self) -> str:
        """The line."""
        text = f"{WORD} 1 folder={self.folder} count={self.count} last={self.last.value.hex()}"
        return f"{text} sum={_sum(text)}"


def parse_end(line: str) -> End:
    """Read the line; UsageError where it is none or was not copied rightly."""
    text = " ".join(line[:MAX_CHARACTERS].split())
    found = _LINE.fullmatch(text)
    if found is None:
        raise UsageError("--contains", "it is no line of `sealwright record check`", f"It begins with {WORD} 1 folder=")
    if _sum(text.rpartition(" sum=")[0]) != found[4]:
        raise UsageError("--contains", "it was not copied rightly: its sum is another", "Compare it letter by letter.")
    return End(found[1], int(found[2]), Digest(HashName.SHA256, bytes.fromhex(found[3])))


def _sum(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]


class Signed(NamedTuple):
    """A record with its intact signature. name: its number."""

    name: str
    text: bytes
    record: Record
    envelope: Envelope
    signer: Signer


class Stations(Protocol):
    """Whose signatures count."""

    def problem(self, signed: Signed) -> Finding | None:
        """Why an intact signature counts for nothing or deserves a remark; None where all is well."""
        ...


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The keys that were named, by digest."""

    keys: frozenset[Digest]

    def problem(self, signed: Signed) -> Finding | None:
        """As `Stations`."""
        found = key_digest(signed.signer.key)
        return None if found in self.keys else reject("SW-RECORD-SIGNER", signed.name, found=f"{found} was not named")


class TrustedStations:
    """The stations whose certificates a trust file leads to. Owned by one check: it keeps the paths it found."""

    def __init__(self, believed: Believed, now: datetime) -> None:
        trust = believed.trust
        when = judgement(now, None, trust.issued, trust.expires, None)
        self.ground = Ground(
            trust, believed.crls, believed.denied, when, Purpose.RUN, certificates=believed.certificates
        )

    def problem(self, signed: Signed) -> Finding | None:
        """As `Stations`."""
        subject, clock = signed.name, signed.record.clock
        digests = {name: Digest.of(signed.text, name) for name in (HashName.SHA256, signed.signer.digest.algorithm)}
        candidate = Candidate(
            source=subject,
            slot=Slot.PLANT,
            format=RECORD.name,
            kind=RECORD.name,
            envelope=signed.envelope,
            digests=digests,
            artifact=digests[HashName.SHA256],
            name=subject,
        )
        (judged,) = judge_candidate(candidate, self.ground)
        if judged.refusals:
            return reject("SW-RECORD-SIGNER", subject, found=judged.refusals[0].sentence)
        if RECORD_SIGNING not in judged.purposes:
            return reject(
                "SW-RECORD-SIGNER", subject, found=f"the certificate of {judged.seen.subject} is for no records"
            )
        leaf = judged.certificate
        if leaf is not None and not leaf.not_valid_before_utc <= clock <= leaf.not_valid_after_utc:
            dates = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
            return warning("SW-RECORD-UNTRUE", subject, found=f"{clock:%Y-%m-%d}, {dates}")
        return None


@dataclass(slots=True)
class Check:
    """One run over a folder; its numbers are final when `findings` has ended.

    signed: the highest number that stations' journals have signed, by folder id (`stationkey.highest_signed`);
    wrote: how many records each key signed for each host that they name, the key as text, "" for none.
    """

    path: str
    stations: Stations | None = None
    contains: End | None = None
    signed: Mapping[str, int] = field(default_factory=dict)
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    end: End | None = None
    wrote: dict[tuple[str, str], int] = field(default_factory=dict)
    _id: str = ""
    _clocks: dict[str, datetime] = field(default_factory=dict)

    def findings(self, progress: Progress) -> Iterator[Finding]:
        """What is wrong (REJECT) or remarkable, in the folder's order, as it is found. OutputRefused for what is no folder of records."""
        number, previous = 0, None
        for one in stored(self.path):
            if one.number > number + 1:
                lost = f"{number + 1}-{one.number - 1}" if one.number > number + 2 else f"{number + 1}"
                yield reject("SW-RECORD-MISSING", lost)
                previous = None
            follows = number == 0 or previous is not None
            yield from self._about(one, previous, follows and one.number == number + 1)
            number, previous = one.number, one.digest if not one.problem else None
            self.count += 1
            progress.advance(1)
            if self.contains is not None and one.number == self.contains.count:
                yield from self._about_end(one)
        if self.contains is not None and number < self.contains.count:
            yield reject(
                "SW-RECORD-END", self.path, found=f"it ends at {number}, written down was {self.contains.count}"
            )
        if (highest := self.signed.get(self._id, 0)) > number:
            yield reject(
                "SW-RECORD-END", self.path, found=f"it ends at {number}, the station's journal has signed {highest}"
            )
        if self._id and previous is not None:
            self.end = End(self._id, number, previous)
        for path, ours in strays(self.path):
            shown = os.path.relpath(path, self.path)
            yield note("SW-RECORD-LEFTOVER", shown) if ours else reject("SW-RECORD-STRAY", shown)

    def _about(self, one: Stored, previous: Digest | None, follows: bool) -> Iterator[Finding]:
        """previous: of the record before; follows: whether it is known what must come before."""
        name = str(one.number)
        if one.problem:
            yield reject("SW-RECORD-DAMAGED", name, found=one.problem)
            return
        try:
            record = parse_record(one.text, one.path)
        except SealwrightError as cause:
            yield reject("SW-RECORD-DAMAGED", name, found=cause.what)
            return
        link = record.link
        self._id = self._id or link.folder
        if link.folder != self._id:
            yield reject("SW-RECORD-OTHER-FOLDER", name, self._id, link.folder)
        elif link.number != one.number:
            yield reject("SW-RECORD-CHAIN", name, found=f"it says that it is number {link.number}")
        elif follows and link.previous != previous:
            yield reject("SW-RECORD-CHAIN", name, str(previous), f"it follows {link.previous or 'nothing'}")
        yield from self._about_time(record, name)
        yield from self._about_signature(one, record, name)

    def _about_time(self, record: Record, name: str) -> Iterator[Finding]:
        """The clock of one host does not go back; hosts among each other may differ."""
        host, clock = record.station.host, record.clock
        before = self._clocks.get(host)
        if before is not None and clock < before - USUAL_DRIFT:
            yield warning("SW-RECORD-CLOCK", f"{host} (record {name})", time_text(before), time_text(clock))
        self._clocks[host] = clock
        self.first = self.first or record.facts.judged.time
        self.last = record.facts.judged.time

    def _about_signature(self, one: Stored, record: Record, name: str) -> Iterator[Finding]:
        key = record.station.key
        writer = str(key or ""), record.station.host
        self.wrote[writer] = self.wrote.get(writer, 0) + 1
        yield from about_signature(one, record, name, self.stations)

    def _about_end(self, one: Stored) -> Iterator[Finding]:
        if self.contains is None:
            return
        if self._id != self.contains.folder:
            yield reject(
                "SW-RECORD-END", self.path, found=f"it is folder {self._id}, written down was {self.contains.folder}"
            )
        elif one.digest != self.contains.last:
            yield reject("SW-RECORD-END", self.path, found=f"record {one.number} is another one")


def about_signature(one: Stored, record: Record, name: str, stations: Stations | None) -> Iterator[Finding]:
    """What is wrong or remarkable about the signature of one record. stations: None where nobody's counts more than another's."""
    key = record.station.key
    if key is None:
        if one.signature is not None:
            yield reject("SW-RECORD-SIGNATURE", name, found="the record says that it is not signed, and here is one")
        elif stations is not None:
            yield reject("SW-RECORD-UNSIGNED", name)
        return
    if one.signature is None:
        yield reject("SW-RECORD-SIGNATURE", name, found="there is none, and the record says that it is signed")
        return
    try:
        envelope, signer = intact(one.text, one.signature, name)
    except SealwrightError as cause:
        yield reject("SW-RECORD-SIGNATURE", name, found=cause.what)
        return
    if key_digest(signer.key) != key:
        yield reject("SW-RECORD-SIGNATURE", name, found="it is of another key than the record says")
        return
    if stations is not None:
        found = stations.problem(Signed(name, one.text, record, envelope, signer))
        if found is not None:
            yield found


def intact(text: bytes, signature: bytes, name: str) -> tuple[Envelope, Signer]:
    """The one signer whose signature of the kind `record` holds over a text. Raises what reading and checking raise."""
    envelope = read_envelope(signature, Profile.OURS, name)
    signers = [one for one in envelope.signers if isinstance(one, Signer)]
    if len(signers) != 1 or len(envelope.signers) != 1:
        raise BadSignature(name, "it does not have exactly one signature", "Use the record as it was written.")
    check_signer(signers[0], {one: Digest.of(text, one) for one in HashName}, RECORD.name, name)
    return envelope, signers[0]


def is_wrong(finding: Finding) -> bool:
    """Whether it is more than a remark."""
    return finding.severity is Severity.REJECT
