"""What a register's entries add up to: certificates, what became of them, the lists that were published (`register.py` writes it)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from sealwright.artifact.digest import Digest
from sealwright.errors import JournalError, SealwrightError, UsageError
from sealwright.log.canonical import Field, read_time
from sealwright.log.journal import EntryType, Recorded, read_journal
from sealwright.pki.authority import Subject
from sealwright.trust.certificate import display_name, load_certificate, spki_digest

REASONS = {
    flag.value: flag
    for flag in (
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.ca_compromise,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.privilege_withdrawn,
    )
}


@dataclass(frozen=True, slots=True)
class End:
    """A revocation or hold. reason: of RFC 5280 section 5.3.1; invalid: since when the key must be taken for lost."""

    at: datetime
    reason: x509.ReasonFlags
    invalid: datetime | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate of the register. issuer, key: SPKI digests; end: None while it is good; signs_until: the key's end of
    signing, if one was set; provenance: as recorded before it was signed, "" of one that was taken in."""

    serial: int
    issuer: Digest
    certificate: bytes
    profile: str
    at: datetime
    renews: int | None = None
    end: End | None = None
    signs_until: datetime | None = None
    provenance: str = ""

    @property
    def x509(self) -> x509.Certificate:
        """The certificate, parsed."""
        return load_certificate(self.certificate, f"serial {self.serial:x}")

    @property
    def name(self) -> str:
        """Its subject, safe to show."""
        return display_name(self.x509.subject)

    @property
    def key(self) -> Digest:
        """The digest of its key."""
        return spki_digest(self.x509)

    @property
    def on_hold(self) -> bool:
        """Whether it may come back."""
        return self.end is not None and self.end.reason is x509.ReasonFlags.certificate_hold


@dataclass(frozen=True, slots=True)
class Listed:
    """One published list. crl: SHA-256 of its DER."""

    issuer: Digest
    number: int
    crl: Digest
    at: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class Lost:
    """A gap that a loss record names: what was issued, revoked and listed after `entries` and before `at` is not known.

    jump: by how much the numbers of lists went up, so that no list made in the gap has the number of a later one.
    """

    record: str
    entries: int
    at: datetime
    jump: int


@dataclass(frozen=True, slots=True)
class Ceremony:
    """The key ceremony that a register was opened by. plan: digest of the plan; version: of the program; form: the first line of
    the record that it writes; record: digest of that record, None while the ceremony lasts."""

    plan: Digest
    nonce: str
    version: str
    form: str
    at: datetime
    record: Digest | None = None


@dataclass(slots=True)
class Inventory:
    """What a register's entries add up to; it grows as entries are taken in. issued: by (issuer, serial), oldest first; lists:
    the newest of each issuer; numbers: the highest number an issuer ever used; unfinished: what was going to be issued and
    never was, by request: a crash burnt these serials; gaps: what loss records name; least: no list has a number up to it;
    ceremony: what opened it, None for a home that was made without one; crls: every list that was published.
    """

    issued: dict[tuple[Digest, int], Issued] = field(default_factory=dict)
    lists: dict[Digest, Listed] = field(default_factory=dict)
    numbers: dict[Digest, int] = field(default_factory=dict)
    unfinished: dict[str, Mapping[str, Field]] = field(default_factory=dict)
    gaps: list[Lost] = field(default_factory=list)
    least: int = 0
    ceremony: Ceremony | None = None
    crls: dict[Digest, Listed] = field(default_factory=dict)

    def take(self, entry: Recorded, folder: str) -> None:
        """One more entry; JournalError where it does not fit what stands before it."""
        try:
            if entry.type is EntryType.CEREMONY and entry.number != 0:
                raise ValueError("a ceremony opens a register or none")
            self._take(entry.type, entry.fields)
        except (KeyError, ValueError, SealwrightError) as cause:
            raise JournalError(
                folder,
                f"entry {entry.number + 1} does not fit what stands before it ({type(cause).__name__}: {cause})"[:200],
                "Stop issuing and restore the register from a backup.",
            ) from cause

    def _take(self, kind: EntryType, fields: Mapping[str, Field]) -> None:
        match kind:
            case EntryType.ISSUING:
                self.unfinished[str(fields["request"])] = fields
            case EntryType.REFUSAL:
                del self.unfinished[str(fields["request"])]
            case EntryType.ISSUED:
                about = self.unfinished.pop(str(fields["request"]))
                one = _issued(about, base64.b64decode(str(fields["certificate"]), validate=True))
                if (one.issuer, one.serial) in self.issued:
                    raise ValueError(f"the serial {one.serial:x} was issued before")
                self.issued[one.issuer, one.serial] = one
            case EntryType.REVOKED:
                invalid = read_time(fields["invalid"]) if "invalid" in fields else None
                at, before = read_time(fields["time"]), self._which(fields).end
                if before is not None and before.reason is not x509.ReasonFlags.certificate_hold:
                    at = min(at, before.at)
                self._change(fields, end=End(at, REASONS[str(fields["reason"])], invalid))
            case EntryType.HELD:
                self._change(fields, end=End(read_time(fields["time"]), x509.ReasonFlags.certificate_hold))
            case EntryType.RELEASED:
                self._change(fields, end=None)
            case EntryType.RETIRED:
                self._change(fields, signs_until=read_time(fields["until"]))
            case EntryType.LISTING:
                self.numbers[_digest(fields)] = _number(fields)
            case EntryType.LISTED:
                times = read_time(fields["time"]), read_time(fields["next"])
                by = _digest(fields)
                listed = Listed(by, _number(fields), Digest.parse(str(fields["crl"])), *times)
                self.lists[by] = self.crls[listed.crl] = listed
            case EntryType.LOST:
                gap = Lost(
                    str(fields["loss"]), _whole(fields, "entries"), read_time(fields["time"]), _whole(fields, "jump")
                )
                self.gaps.append(gap)
                self.least += gap.jump
                self.numbers = {by: number + gap.jump for by, number in self.numbers.items()}
            case EntryType.CEREMONY:
                nonce, version, form = (str(fields[name]) for name in ("nonce", "version", "form"))
                plan = Digest.parse(str(fields["plan"]))
                self.ceremony = Ceremony(plan, nonce, version, form, read_time(fields["time"]))
            case EntryType.TRANSCRIPT:
                if self.ceremony is None or self.ceremony.record is not None:
                    raise ValueError("no ceremony is open")
                self.ceremony = replace(self.ceremony, record=Digest.parse(str(fields["record"])))
            case _:
                raise ValueError(f"type {kind}")

    def _which(self, fields: Mapping[str, Field]) -> Issued:
        return self.issued[_digest(fields), int(str(fields["serial"]), 16)]

    def _change(self, fields: Mapping[str, Field], **changes: Any) -> None:
        one = self._which(fields)
        self.issued[one.issuer, one.serial] = replace(one, **changes)

    def find(self, wanted: str) -> Issued:
        """By serial in hexadecimal (colons allowed), else by common name, the newest; UsageError where none or several fit."""
        text = wanted.lower().removeprefix("0x").replace(":", "").lstrip("0")
        by_serial = [one for one in self.issued.values() if f"{one.serial:x}" == text]
        by_name = [one for one in self.issued.values() if wanted in (one.name, common_name(one.x509))]
        if len(by_serial) == 1:
            return by_serial[0]
        if len({one.key for one in by_name}) == 1:
            return by_name[-1]
        if by_name:
            serials = ", ".join(f"{one.serial:x}" for one in by_name)
            raise UsageError(
                wanted, "several certificates of different keys have this name", f"Name a serial: {serials}."
            )
        raise UsageError(wanted, "no certificate of the register", "See `sealwright cert list`.")

    def of_key(self, key: Digest) -> list[Issued]:
        """Every certificate of a key, oldest first."""
        return [one for one in self.issued.values() if one.key == key]

    def of_issuer(self, issuer: Digest) -> list[Issued]:
        """Every certificate of an issuer's key, oldest first."""
        return [one for (by, _), one in self.issued.items() if by == issuer]

    def successors(self, one: Issued) -> list[Issued]:
        """Certificates that renew it, directly."""
        return [other for other in self.issued.values() if other.renews == one.serial and other.issuer == one.issuer]


def read_register(folder: str) -> Inventory:
    """The inventory as it is on disk, without a lock; empty where there is none yet. JournalError where it is damaged.

    Half a line at the end is left out: the next `cert` or `ca` command sets it aside, and whoever only reads cannot.
    """
    inventory = Inventory()
    for entry in read_journal(folder, torn=True):
        inventory.take(entry, folder)
    return inventory


def _issued(about: Mapping[str, Field], der: bytes) -> Issued:
    """A certificate with what was recorded before it was signed; ValueError where the two do not agree."""
    serial = int(str(about["serial"]), 16)
    certificate = load_certificate(der, f"serial {serial:x}")
    if certificate.serial_number != serial or str(spki_digest(certificate)) != about["key"]:
        raise ValueError("another certificate than was going to be issued")
    return Issued(
        serial=serial,
        issuer=_digest(about),
        certificate=der,
        profile=str(about["profile"]),
        at=read_time(about["time"]),
        renews=int(str(about["renews"]), 16) if "renews" in about else None,
        provenance=str(about.get("provenance", "")),
    )


def _digest(fields: Mapping[str, Field]) -> Digest:
    return Digest.parse(str(fields["issuer"]))


def _number(fields: Mapping[str, Field]) -> int:
    return _whole(fields, "number")


def _whole(fields: Mapping[str, Field], name: str) -> int:
    return int(str(fields[name]))


def common_name(certificate: x509.Certificate) -> str:
    """Of its subject, "" where it has none."""
    return common_name_of(certificate.subject)


def common_name_of(subject: Subject | x509.Name) -> str:
    if isinstance(subject, Subject):
        return subject.common_name
    return next((str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
