"""What one judgement stands on: the believed trust file, its CRLs, the time, and caches that live for one call.

Paths are cached by what they depend on, denials and evidence are tables: ten thousand files by one signer cost one path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, warning
from sealwright.trust.certificate import Facts, load_certificate, spki_digest
from sealwright.trust.model import CrlPolicy, Denied, KeyEvidence, Person, TrustFile
from sealwright.trust.path import NoPath, Path, PathCache, Strictness, links
from sealwright.trust.revocation import CrlTable, Revocation, State, authority_revocation, crl_issuer, revocation
from sealwright.trust.times import Judgement
from sealwright.trust.verdict import Purpose

if TYPE_CHECKING:
    from sealwright.trust.signatures import Standing

MAX_STANDINGS = 4096


class StampStanding(NamedTuple):
    """Whether an authority's certificate may stamp at a time: the authority's name, or why it is refused."""

    authority: str
    refused: str = ""


@dataclass(slots=True)
class Ground:
    """Owned by one call of `verify`; not shared between threads. known_lists: highest CRL number by `_list_name`."""

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
    policies: dict[bytes, CrlPolicy] = field(default_factory=dict)
    known_lists: Mapping[str, int] = field(default_factory=dict)
    standings: dict[tuple[bytes, tuple[bytes, ...], datetime | None], Standing] = field(default_factory=dict)
    stamps: dict[tuple[bytes, tuple[bytes, ...], datetime, bool], StampStanding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.intermediates = tuple(load_certificate(der, "trust file") for der in self.trust.intermediates)
        # a delivered file must be recognised by every digest that names one here
        named = [entry.value.rpartition(" ")[2] for entry in self.denied if entry.what == "artifact"]
        self.watched = tuple(dict.fromkeys(Digest.parse(text) for text in named))
        self.anchors = tuple(anchor.certificate for anchor in self.trust.anchors)
        for person in self.trust.persons:
            self.people |= dict.fromkeys((*person.keys, *person.certificates), person)
        self.evidence = {known.key: known for known in self.trust.evidence}
        self.denials = {(entry.what, entry.value): entry for entry in self.denied if entry.what != "below"}
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
    ) -> Path | NoPath:
        """The path of a leaf to one of the anchors at a time; the trust file's intermediates come before the bag."""
        return self.paths.find(leaf, self.intermediates, bag, anchors, at, strictness)

    def person_of(self, known: Facts, at: datetime) -> Person | None:
        """The register entry of a certificate or its key, where it counts at that time."""
        person = self.people.get(known.certificate) or self.people.get(known.key)
        if person is None or (person.since and at < person.since) or (person.until and at > person.until):
            return None
        return person

    def denied_in(self, path: Path) -> str:
        """The reason of the first denial that names a key or certificate of the path, or ""."""
        if not self.denials:
            return ""
        for known in path.facts:
            for name in (("key", str(known.key)), ("certificate", str(known.certificate)), ("serial", known.serial)):
                if (entry := self.denials.get(name)) is not None:
                    return entry.reason or "no reason given"
        return ""

    def revocations(self, path: Path, proved: datetime | None) -> list[tuple[x509.Certificate, Revocation]]:
        """The state of each certificate below the anchor whose issuer has a CRL policy or a CRL here."""
        if not self.lists and not self.policies:
            return []
        states = []
        for certificate, issuer, name in links(path):
            policy = self.policies.get(name)
            tables = self.tables_of(issuer)
            if policy is None and not tables:
                continue
            max_age = self._max_age(policy)
            least = policy.min_number if policy else 0
            if not any(table.points for table in tables):
                least = max(least, self.known_lists.get(_list_name(issuer), 0))
            state = revocation(certificate, issuer, tables, proved, self.judgement.judged, max_age, least)
            if state.state is not State.UNKNOWN or policy is not None:
                states.append((certificate, state))
        return states

    def authority_revoked(self, path: Path, at: datetime) -> str | None:
        """Why a revoked authority's token no longer counts, or None."""
        if not self.lists:
            return None
        for certificate, issuer, _ in links(path):
            tables = self.tables_of(issuer)
            state = authority_revocation(certificate, issuer, tables, at)
            if state.state is State.REVOKED_BEFORE:
                return f"its authority's certificate was revoked ({state.reason})"
        return None

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

    def list_numbers(self) -> dict[str, int]:
        """The highest number of each issuer's list that was read and is not from the future.

        Lists for several places of publication may be numbered apart, so theirs are not remembered.
        """
        numbers: dict[str, int] = {}
        for issuer, tables in self.tables.items():
            made = [table for table in tables if not table.points and table.this_update <= self.judgement.judged]
            if made and len(made) == len(tables):
                numbers[_list_name(issuer)] = max(table.number for table in made)
        return numbers

    def _max_age(self, policy: CrlPolicy | None) -> timedelta | None:
        return policy.max_age.get(self.purpose.value) if policy else None


def _list_name(issuer: x509.Certificate) -> str:
    return f"crl {spki_digest(issuer)}"
