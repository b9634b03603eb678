"""What one judgement stands on: the believed trust file, its CRLs, the time, and caches that live for one call.

Paths are cached by what they depend on, denials and evidence are tables: ten thousand files by one signer cost one path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, warning
from sealwright.trust.certificate import Facts, is_authority, load_certificate, spki_digest
from sealwright.trust.layouts import family
from sealwright.trust.model import CrlPolicy, Denied, KeyEvidence, Person, TrustFile
from sealwright.trust.path import Expiry, NoPath, Path, PathCache, Strictness, links
from sealwright.trust.revocation import CrlTable, Revocation, State, authority_revocation, crl_issuer, revocation
from sealwright.trust.times import Judgement
from sealwright.trust.verdict import Purpose

if TYPE_CHECKING:
    from sealwright.formats.archive import Archive
    from sealwright.trust.evidence import Evidence
    from sealwright.trust.signatures import Standing

MAX_STANDINGS = 4096


class By(NamedTuple):
    """When a token must count. when: the judgement time, or another proof's that shows that the token existed by then.

    strict: as a link of an evidence record: its authority's path must last that long, unless `last_token` vouches for it.
    """

    when: datetime
    protected: bool = False
    strict: bool = False


class KeptList(NamedTuple):
    """A revocation list out of an evidence record, DER, and when it is proved to have existed."""

    data: bytes
    at: datetime


class StampStanding(NamedTuple):
    """Whether an authority's certificate may stamp at a time: the authority's name, why it is refused, why that is not known.

    party: whose word a token is; two authorities under one anchor are one.
    """

    authority: str
    refused: str = ""
    unknown: str = ""
    party: str = ""


@dataclass(slots=True)
class Ground:
    """Owned by one call of `verify`; not shared between threads. known_lists: highest CRL number by `_list_name`;
    certificates: DER, of signers whose signatures carry none and of the authorities above them."""

    trust: TrustFile
    crls: tuple[bytes, ...]
    denied: tuple[Denied, ...]
    judgement: Judgement
    purpose: Purpose
    paths: PathCache = field(default_factory=PathCache)
    anchors: tuple[bytes, ...] = ()
    watched: tuple[Digest, ...] = ()
    lists: dict[bytes, list[bytes]] = field(default_factory=dict)
    tables: dict[x509.Certificate, list[CrlTable]] = field(default_factory=dict)
    crl_findings: list[Finding] = field(default_factory=list)
    intermediates: tuple[x509.Certificate, ...] = ()
    people: dict[Digest, Person] = field(default_factory=dict)
    evidence: dict[Digest, KeyEvidence] = field(default_factory=dict)
    denials: dict[tuple[str, str], Denied] = field(default_factory=dict)
    below: tuple[Denied, ...] = ()
    policies: dict[bytes, CrlPolicy] = field(default_factory=dict)
    known_lists: Mapping[str, int] = field(default_factory=dict)
    certificates: tuple[bytes, ...] = ()
    standings: dict[
        tuple[bytes, tuple[bytes, ...], datetime | None, tuple[bytes, ...], tuple[KeptList, ...]], Standing
    ] = field(default_factory=dict)
    stamps: dict[tuple[bytes, tuple[bytes, ...], datetime, bool, By], StampStanding] = field(default_factory=dict)
    weighed: tuple[Archive, tuple[Evidence | None, tuple[Finding, ...]]] | None = None

    def __post_init__(self) -> None:
        self.intermediates = tuple(load_certificate(der, "trust file") for der in self.trust.intermediates)
        self.intermediates += tuple(_authorities(self.certificates))
        # a delivered file must be recognised by every digest that names one here
        named = [entry.value.rpartition(" ")[2] for entry in self.denied if entry.what == "artifact"]
        self.watched = tuple(dict.fromkeys(Digest.parse(text) for text in named))
        self.anchors = tuple(anchor.certificate for anchor in self.trust.anchors)
        for person in self.trust.persons:
            self.people |= dict.fromkeys((*person.keys, *person.certificates), person)
        self.evidence = {known.key: known for known in self.trust.evidence}
        self.below = tuple(entry for entry in self.denied if entry.what == "below")
        for entry in self.denied:
            name = (entry.what, entry.value)
            if entry.what != "below" and _stricter(entry, self.denials.get(name)):
                self.denials[name] = entry
        self.policies = {policy.issuer: policy for policy in self.trust.crls}
        for number, der in enumerate(self.crls, 1):
            try:
                self.lists.setdefault(crl_issuer(der), []).append(der)
            except SealwrightError as cause:
                self.crl_findings.append(warning("SW-CRL-REFUSED", f"CRL {number}", found=cause.what))

    def path(
        self,
        leaf: x509.Certificate,
        bag: Sequence[bytes],
        anchors: Sequence[bytes],
        at: datetime,
        strictness: Strictness,
        expiry: Expiry = Expiry.COUNTS,
    ) -> Path | NoPath:
        """The path of a leaf to one of the anchors at a time; the trust file's intermediates come before the bag."""
        return self.paths.find(leaf, self.intermediates, bag, anchors, at, strictness, expiry)

    def timeless(self, form: str) -> tuple[bytes, ...]:
        """The anchors (DER) under which some rule lets signatures of a format outlive their certificates, as the device does."""
        named = {
            name
            for rule in self.trust.rules
            if rule.ignores_expiry and (form in rule.formats or family(form) in rule.formats)
            for wanted in rule.signers
            for name in wanted.anchors
        }
        return tuple(anchor.certificate for anchor in self.trust.anchors if anchor.name in named)

    def person_of(self, known: Facts, at: datetime) -> Person | None:
        """The register entry of a certificate or its key, where it counts at that time."""
        person = self._entry(known)
        return None if person is None or _absence(person, at) else person

    def absence(self, known: Facts, at: datetime) -> str:
        """Why the register entry of a certificate or its key does not count at that time, as a clause; "" where there is none."""
        person = self._entry(known)
        return "" if person is None else _absence(person, at)

    def _entry(self, known: Facts) -> Person | None:
        return self.people.get(known.certificate) or self.people.get(known.key)

    def denied_in(self, path: Path, proved: datetime | None) -> tuple[Denied | None, bool]:
        """The denial of a key or certificate of the path that says most, and whether it refuses a signature of that proved time.

        A retired one (`since`) refuses nothing that is proved to be older. What proves a time by itself, a token, asks with
        None: a key that is denied could give any time.
        """
        if not self.denials:
            return None, False
        spared: Denied | None = None
        for known in path.facts:
            for name in (("key", str(known.key)), ("certificate", str(known.certificate)), ("serial", known.serial)):
                if (entry := self.denials.get(name)) is None:
                    continue
                if entry.since is None or proved is None or proved >= entry.since:
                    return entry, True
                spared = spared or entry
        return spared, False

    def revocations(
        self, path: Path, proved: datetime | None, kept: tuple[KeptList, ...] = ()
    ) -> list[tuple[x509.Certificate, Revocation, bool]]:
        """The state of each certificate below the anchor whose issuer has a CRL policy or a CRL here, or had one before.

        Where neither the trust file wants lists of an issuer nor newer ones are known, that a list is old is no question.
        With each whether kept lists decided it, which are asked where those at hand cannot speak of a certificate that has ended.
        """
        if not self.lists and not self.policies and not self.known_lists:
            return []
        states = []
        for certificate, issuer, name in links(path):
            state = self._state(certificate, issuer, self.policies.get(name), proved)
            if state.why and name not in self.policies and not self._went_back(issuer):
                state = replace(state, why="")
            if state.state is not State.UNKNOWN or state.why:
                older = self._as_kept(certificate, issuer, name, proved, kept) if state.state is State.UNKNOWN else None
                states.append((certificate, older or state, older is not None))
        return states

    def _as_kept(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        name: bytes,
        proved: datetime | None,
        kept: tuple[KeptList, ...],
    ) -> Revocation | None:
        """What lists kept in an evidence record say of a certificate that has ended, each as fresh as it was when it was kept."""
        if not kept or self.judgement.judged <= certificate.not_valid_after_utc or self._went_back(issuer):
            return None
        policy = self.policies.get(name)
        max_age = policy.max_age.get(self.purpose.value) if policy else None
        tables: list[tuple[CrlTable, datetime]] = []
        for one in kept:
            try:
                if crl_issuer(one.data) == issuer.subject.public_bytes():
                    tables.append((CrlTable.load(one.data, [issuer]), one.at))
            except SealwrightError as cause:
                self.crl_findings.append(warning("SW-CRL-REFUSED", cause.subject, found=cause.what))
        # together: a hold that one of them knows may have been lifted in a later one
        every, judged = [table for table, _ in tables], self.judgement.judged
        said = revocation(certificate, issuer, every, proved, judged, max_age, 0)
        # a `min_number` of today's trust file is about today's lists
        alone = [(table, revocation(certificate, issuer, [table], proved, at, max_age, 0)) for table, at in tables]
        if said.state not in (State.GOOD, State.UNKNOWN):
            return said if all(state.why for _, state in alone) else replace(said, why="")
        serial = certificate.serial_number
        silent = (state for table, state in alone if serial not in table.entries)
        return next((state for state in silent if state.state is State.GOOD), None)

    def _state(
        self, certificate: x509.Certificate, issuer: x509.Certificate, policy: CrlPolicy | None, proved: datetime | None
    ) -> Revocation:
        tables, judged = self.tables_of(issuer), self.judgement.judged
        max_age = policy.max_age.get(self.purpose.value) if policy else None
        seen = {table.points: self.known_lists.get(_list_name(table), 0) for table in tables}
        return revocation(
            certificate, issuer, tables, proved, judged, max_age, policy.min_number if policy else 0, seen
        )

    def _went_back(self, issuer: x509.Certificate) -> bool:
        """Whether this verifier has seen a newer whole list of the issuer than it has here; one taken away is one put back."""
        whole = [table.number for table in self.tables_of(issuer) if not table.points]
        return self.known_lists.get(_whole_list(spki_digest(issuer)), -1) > max(whole, default=-1)

    def authority_revocation(self, path: Path, at: datetime, known_by: datetime | None = None) -> tuple[str, str]:
        """Why a token of this path no longer counts, and why it is not known whether it does; "" where it does.

        known_by: when another proof shows that the token existed.
        An authority's certificate that has ended is not asked for: lists forget it, and the trust file's `last_token` bounds it.
        """
        if not self.lists and not self.policies and not self.known_lists:
            return "", ""
        unknown = ""
        for certificate, issuer, name in links(path):
            state = authority_revocation(certificate, issuer, self.tables_of(issuer), at, known_by)
            if state.state is State.REVOKED_BEFORE:
                return f"its authority's certificate was revoked ({state.reason})", ""
            if self.judgement.judged > certificate.not_valid_after_utc:
                continue
            if name in self.policies or self._went_back(issuer):
                unknown = unknown or self._state(certificate, issuer, self.policies.get(name), at).why
        return "", unknown

    def tables_of(self, issuer: x509.Certificate) -> list[CrlTable]:
        """The lists that this issuer of an accepted path signed; one that claims its name and is not its is a finding."""
        if issuer not in self.tables:
            found = []
            for der in self.lists.get(issuer.subject.public_bytes(), []):
                try:
                    found.append(CrlTable.load(der, [issuer]))
                except SealwrightError as cause:
                    self.crl_findings.append(warning("SW-CRL-REFUSED", cause.subject, found=cause.what))
            self.tables[issuer] = found
        return self.tables[issuer]

    def newest_list(self, issuer: x509.Certificate, most_bytes: int) -> bytes | None:
        """The newest of the lists that this issuer signed, DER, of those that are not larger; None where there is none."""
        newest: tuple[datetime, int, bytes] | None = None
        if self.tables_of(issuer):  # which tells what was refused
            for der in self.lists.get(issuer.subject.public_bytes(), []):
                with suppress(SealwrightError):
                    table = CrlTable.load(der, [issuer])
                    if len(der) <= most_bytes:
                        newest = max(newest or (table.this_update, -1, b""), (table.this_update, table.number, der))
        return newest[2] if newest is not None else None

    def list_numbers(self) -> dict[str, int]:
        """The highest number of each issuer's list that was read and is not from the future, for each place of publication."""
        numbers: dict[str, int] = {}
        for table in (table for tables in self.tables.values() for table in tables):
            if table.this_update <= self.judgement.judged:
                numbers[_list_name(table)] = max(table.number, numbers.get(_list_name(table), 0))
        return numbers


def _stricter(entry: Denied, other: Denied | None) -> bool:
    """Whether a denial refuses more than another of the same thing: without a date all, else from the earlier date."""
    if other is None or other.since is None:
        return other is None
    return entry.since is None or entry.since < other.since


def _authorities(certificates: tuple[bytes, ...]) -> Iterator[x509.Certificate]:
    """Those that may stand in the middle of a path. One that cannot be read is passed over: it would add nothing."""
    for der in certificates:
        with suppress(SealwrightError):
            loaded = load_certificate(der, "trust.d")
            if loaded.subject != loaded.issuer and is_authority(loaded):
                yield loaded


def _whole_list(key: Digest) -> str:
    return f"crl {key}"


def _list_name(table: CrlTable) -> str:
    """How the memory calls a list: by its issuer's key and, where it says that it is published somewhere, that place."""
    place = "\n".join(sorted(repr(point) for point in table.points))
    return _whole_list(table.issuer_key) + (f" {Digest.of(place.encode())}" if place else "")


def _absence(person: Person, at: datetime) -> str:
    if person.since and at < person.since:
        return f"the entry of {person.id} in the trust file begins on {person.since:%Y-%m-%d}"
    if person.until and at > person.until:
        return f"the entry of {person.id} in the trust file ended on {person.until:%Y-%m-%d}"
    return ""
