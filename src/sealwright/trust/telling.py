"""Which of a verdict's findings is told first: refusals before warnings, and among them the one that says most."""

from __future__ import annotations

from sealwright.findings import Finding, Severity

_MOST_TELLING = (
    "SW-TREE-FILE-CHANGED",
    "SW-FILE-CHANGED",
    "SW-TREE-FILE-MISSING",
    "SW-TREE-FILE-EXTRA",
    "SW-SIGNATURE-INVALID",
    "SW-DENIED-ARTIFACT",
    "SW-DENIED-SIGNER",
    "SW-DENIED-GENERATION",
    "SW-KEY-DEVELOPMENT",
    "SW-KEY-UNPROVED",
    "SW-CERT-REVOKED",
    "SW-ACCEPTANCE-OTHER-FILE",
    "SW-ACCEPTANCE-OTHER-SIGNATURE",
    "SW-RECEIVING-OTHER-FILE",
    "SW-GRADE-NOT-ALLOWED",
)
_FIRST = {code: rank for rank, code in enumerate(_MOST_TELLING)}
_SEVERITIES = {severity: rank for rank, severity in enumerate(Severity)}


def weight(finding: Finding) -> tuple[int, int]:
    """To sort findings by: its severity, then its place among the most telling codes. Lower is told earlier."""
    return _SEVERITIES[finding.severity], _FIRST.get(finding.code, len(_FIRST))
