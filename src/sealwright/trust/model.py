"""The trust file as values: what `trust.toml` says once parsed. docs/trust-file.md explains every section to officers.

Certificates and keys are kept as DER; a pin or denial names a key by SHA-256 of its SPKI and a certificate by SHA-256 of
its TBSCertificate (signatures are malleable) or by issuer and serial. Durations are timedelta, times aware UTC.
Most of these values are named tuples: making a dozen frozen dataclasses would cost a cold `verify` 20 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.formats.format import Slot

if TYPE_CHECKING:
    from sealwright.envelope.verifierkey import VerifierKey
    from sealwright.trust.interpreters import Interpreter
    from sealwright.trust.layouts import NamedLayout
    from sealwright.trust.permitrules import PermitRule


class Environment(StrEnum):
    """What an anchor or rule is for. Production needs positive evidence about the key (RULES 2)."""

    PRODUCTION = "production"
    TEST = "test"
    DEVELOPMENT = "development"


class Mode(StrEnum):
    """How guard, agent and run gate use a rule; it never changes a verdict."""

    AUDIT = "audit"
    WARN = "warn"
    ENFORCE = "enforce"


class Person(NamedTuple):
    """A register id; `certificates` (TBS digests) and `keys` (SPKI digests) are what this person signs with."""

    id: str
    organisation: str
    roles: tuple[str, ...]
    keys: tuple[Digest, ...]
    certificates: tuple[Digest, ...]
    since: datetime | None
    until: datetime | None


class OfficerKey(NamedTuple):
    """A public key (SPKI, DER) that speaks for a person: no path, no expiry."""

    person: str
    spki: bytes


class Quorum(NamedTuple):
    """threshold distinct persons out of `keys`. sealed: the `[recovery]` keys, which may only replace officers."""

    threshold: int
    keys: tuple[OfficerKey, ...]


class Anchor(NamedTuple):
    """A certificate where paths end. public: a public CA, which counts only in a rule that names the signer."""

    name: str
    certificate: bytes
    environment: Environment
    public: bool = False


class TimestampAuthority(NamedTuple):
    """A timestamp authority: its path ends at `anchor` (DER), or `certificate` pins it. last_token: genTime after which its
    tokens no longer count once its certificate has ended."""

    name: str
    anchor: bytes
    key: Digest | None
    last_token: datetime | None


class LogKey(NamedTuple):
    """A log's or witness's key. name: what the trust file calls it; the key has a name of its own, that of its signatures."""

    name: str
    key: VerifierKey


class CrlPolicy(NamedTuple):
    """CRLs of one issuer (an anchor or intermediate by subject, DER name): oldest acceptable number, maximum age a purpose.

    certificate: of the issuer, as the trust file has it; its key may be another one than that of the issuer on a path.
    A purpose missing from `max_age` uses the CRL's own nextUpdate.
    """

    issuer: bytes
    min_number: int
    max_age: Mapping[str, timedelta]
    certificate: bytes = b""


class KeyEvidence(NamedTuple):
    """Positive evidence about a key named in the trust file. reason and review: required for `hardware-imported` and `service-held`."""

    key: Digest
    provenance: str
    reason: str
    review: datetime | None


class Denied(NamedTuple):
    """One thing that is refused whatever signs it. what: `key`, `certificate`, `serial`, `artifact` or `below`.

    key and certificate: text of the Digest; serial: hex issuer name DER + ":" + hex serial; artifact: format + " " +
    digest (or "* " + digest); below: product, with `generation`. since: of a key or certificate, signatures that are proved
    to be older still count.
    """

    what: str
    value: str
    generation: int
    reason: str
    since: datetime | None = None


class Withdrawal(NamedTuple):
    """An algorithm that counts only for what is proved to have existed by a time. name: one of `algorithms.NAMES`."""

    name: str
    until: datetime


class Freshness(NamedTuple):
    """fresh_for: how old trust may be to install; grace: how much longer with a warning; floor_ok: a machine without a
    clock may install by its floor."""

    fresh_for: timedelta | None
    grace: timedelta
    floor_ok: bool


@dataclass(frozen=True, slots=True)
class SignerRule:
    """Who may fill one slot. anchors: names; subjects: exact RFC 4514 subjects; keys, certificates: pins; purposes: EKU OIDs,
    any one of which the leaf must have (none: any signing purpose); count: distinct signers wanted, 0 for those of
    the slot `plant` who sign receiving records and nothing more is wanted of; pins_until: end of a leaf pin."""

    slot: Slot
    anchors: tuple[str, ...]
    subjects: tuple[str, ...]
    keys: tuple[Digest, ...]
    certificates: tuple[Digest, ...]
    purposes: tuple[str, ...]
    persons: tuple[str, ...]
    count: int
    pins_until: datetime | None


class Rule(NamedTuple):
    """product x format x environment -> signers, timestamp, log, freshness. Empty products or formats mean any.

    timestamp: "required" or "optional"; log: "required" or "none"; hardware: what the asker's device is must be listed in
    the claims when this is not empty; grades: receiving-record grades accepted in place of a maker's signature.
    ignores_expiry: certificates on the path may have ended, as for the device that will judge it.
    """

    name: str
    products: tuple[str, ...]
    formats: tuple[str, ...]
    environment: Environment
    hardware: tuple[str, ...]
    signers: tuple[SignerRule, ...]
    timestamp: str
    log: str
    freshness: Freshness
    mode: Mode
    owner: str
    reason: str
    review: datetime | None
    contact: str
    grades: tuple[str, ...]
    minimum_generation: int | None
    ignores_expiry: bool = False


@dataclass(frozen=True, slots=True)
class Repository:
    """A release repository that devices may follow beside the one of `tuf_root`. root: SHA-256 of its first root."""

    name: str
    root: Digest


class TrustFile(NamedTuple):
    """One version of a trust file. text: the exact bytes; digest: SHA-256 of them; certificates: of signers whose signatures carry none.

    witness_threshold: how many witnesses must have seen a log before it proves a time; floor_lowered_in: the version in which the
    officers took back the floor of verifiers whose time had gone ahead, 0 for none.
    """

    text: bytes
    digest: Digest
    id: str
    version: int
    issued: datetime
    expires: datetime
    stage: str
    persons: tuple[Person, ...]
    officers: Quorum
    recovery: Quorum
    anchors: tuple[Anchor, ...]
    intermediates: tuple[bytes, ...]
    certificates: tuple[bytes, ...]
    authorities: tuple[TimestampAuthority, ...]
    logs: tuple[LogKey, ...]
    witnesses: tuple[LogKey, ...]
    crls: tuple[CrlPolicy, ...]
    denied: tuple[Denied, ...]
    minimums: Mapping[str, int]
    evidence: tuple[KeyEvidence, ...]
    rules: tuple[Rule, ...]
    interpreters: tuple[Interpreter, ...]
    layouts: tuple[NamedLayout, ...]
    tuf_root: Digest | None
    witness_threshold: int = 1
    floor_lowered_in: int = 0
    algorithms: tuple[Withdrawal, ...] = ()
    permits: tuple[PermitRule, ...] = ()
    repositories: tuple[Repository, ...] = ()

    def repository_root(self, name: str) -> Digest | None:
        """The first root of a repository by its name, "" for the one of `tuf_root`; None where the file names none."""
        return next((one.root for one in self.repositories if one.name == name), None) if name else self.tuf_root
