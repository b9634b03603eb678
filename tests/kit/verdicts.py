"""Hand-made verdicts for the tests of what is printed."""

from __future__ import annotations

from datetime import UTC, datetime

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.findings import Finding
from sealwright.formats.format import Coverage, Slot
from sealwright.trust.verdict import Purpose, SignerSeen, Times, TrustSeen, Verdict, outcome_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ANY = Digest.of(b"any")


def signer(subject: str = "CN=ACME Release 2026,O=ACME GmbH", *, accepted: bool = True) -> SignerSeen:
    """A maker's signature."""
    return SignerSeen(
        source="drive.bin.p7s",
        slot=Slot.MAKER,
        subject=subject,
        person="",
        organisation="",
        key=ANY,
        certificate=ANY,
        anchor="acme",
        algorithm="ecdsa-p256-sha256",
        provenance="hardware-claimed",
        accepted=accepted,
    )


def verdict(
    *findings: Finding,
    purpose: Purpose = Purpose.INSTALL,
    proved: datetime | None = NOW,
    path: str = "/media/stick/drive.bin",
    signers: tuple[SignerSeen, ...] | None = None,
    hypothetical: bool = False,
    stage: str = "ordinary",
) -> Verdict:
    """A verdict whose outcome follows from its findings."""
    return Verdict(
        path=path,
        purpose=purpose,
        outcome=outcome_of(findings),
        findings=findings,
        signers=(signer(),) if signers is None else signers,
        rule="drives",
        mode="enforce",
        contact="OT security, extension 4711",
        times=Times(claimed=NOW, proved=proved, floor=None, judged=NOW, source="clock"),
        trust=TrustSeen("plant-7", 3, ANY, stage, "its fingerprint was given", "not checked"),
        artifact=ANY,
        format="manifest",
        size=1_048_576,
        claims=Claims("line-3 drive", "2.4", 7, ("cpu-1515",), "production"),
        coverage=Coverage.whole(1_048_576),
        hypothetical=hypothetical,
    )
