"""The verdict: what was asked, what was found, which rule decided, at which time, under which trust file."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.findings import Finding, Severity
from sealwright.formats.format import Coverage, Slot

if TYPE_CHECKING:
    from sealwright.artifact.acceptance import Acceptance  # start-up time: few files have one
    from sealwright.artifact.permit import Permit
    from sealwright.artifact.receiving import Receiving


class Purpose(StrEnum):
    """What the asker wants to do. INSTALL is the strictest; RUN keeps a plant running; RESTORE is in between."""

    INSTALL = "install"
    RUN = "run"
    RESTORE = "restore"


class Asked(NamedTuple):
    """What the asker said of the place: purpose, and the product, hardware and production line it is meant for ("" where not said)."""

    purpose: Purpose
    product: str = ""
    hardware: str = ""
    line: str = ""


class Outcome(StrEnum):
    """TRUSTED (exit code 0), REJECTED (1), UNDECIDED (3)."""

    TRUSTED = "trusted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        """The process exit code."""
        return {"trusted": 0, "rejected": 1, "undecided": 3}[self.value]


class SignerSeen(NamedTuple):
    """One signature that was judged. key, certificate: SHA-256 of SPKI and TBSCertificate, None if unreadable.

    logged: the log that it is proved to be in, the entry and how many witnesses saw it there; "" where it is not proved.
    statement: what of the plant's is signed, "acceptance" or "receiving"; "" for a signature of the artifact.
    """

    source: str
    slot: Slot
    subject: str
    person: str
    organisation: str
    key: Digest | None
    certificate: Digest | None
    anchor: str
    algorithm: str
    provenance: str
    accepted: bool
    logged: str = ""
    statement: str = ""


class Times(NamedTuple):
    """The three times (DESIGN): claimed is shown and never used. All aware, UTC; None where there is none.

    judged: the judgement time, max(clock, floor) or `--at`. source: "clock", "floor" or "--at (hypothetical)". by: who proved it.
    """

    claimed: datetime | None
    proved: datetime | None
    floor: datetime | None
    judged: datetime
    source: str
    by: str = ""


class TrustSeen(NamedTuple):
    """The trust file that decided. believed: why it was believed; rollback: whether an older version would show."""

    id: str
    version: int
    digest: Digest
    stage: str
    believed: str
    rollback: str


class Permitted(NamedTuple):
    """The permit without which the verdict would be another. name: of its file; digest: of its text; use: by what it is remembered."""

    name: str
    digest: Digest
    permit: Permit
    use: str


class Verdict(NamedTuple):
    """The same object prints as text, JSON and a service's answer. rule, mode and contact: "" where no rule decided; rules: all that did.

    accepted: the plant's acceptance that counted; received: the receiving record that stood in for a maker's signature;
    permitted: the permit that was needed, after which nobody may say that all is in order.
    """

    path: str
    purpose: Purpose
    outcome: Outcome
    findings: tuple[Finding, ...]
    signers: tuple[SignerSeen, ...]
    rule: str
    mode: str
    contact: str
    times: Times
    trust: TrustSeen
    artifact: Digest | None
    format: str
    size: int
    claims: Claims
    coverage: Coverage
    hypothetical: bool = False
    accepted: Acceptance | None = None
    received: Receiving | None = None
    permitted: Permitted | None = None
    rules: tuple[str, ...] = ()

    def with_findings(self, extra: tuple[Finding, ...]) -> Verdict:
        """The same verdict with more findings; the outcome can only get worse."""
        findings = self.findings + extra
        worse = max((self.outcome, outcome_of(findings)), key=_RANK.index)
        return self._replace(findings=findings, outcome=worse)


_RANK = [Outcome.TRUSTED, Outcome.UNDECIDED, Outcome.REJECTED]


def outcome_of(findings: tuple[Finding, ...]) -> Outcome:
    """REJECTED beats UNDECIDED beats TRUSTED."""
    severities = {finding.severity for finding in findings}
    if Severity.REJECT in severities:
        return Outcome.REJECTED
    return Outcome.UNDECIDED if Severity.UNDECIDED in severities else Outcome.TRUSTED
