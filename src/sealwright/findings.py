"""Findings: what a judgement saw, with stable public codes.

The codes are append-only: a code is never renamed, reused or given another meaning. Their sentences are in `texts/`, one
table keyed by code; `docs/findings.md` is generated from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from sealwright.texts import TEXTS


class Severity(StrEnum):
    """What a finding does to the verdict: REJECT refuses, UNDECIDED cannot decide, WARNING and NOTE inform."""

    REJECT = "reject"
    UNDECIDED = "undecided"
    WARNING = "warning"
    NOTE = "note"


class Finding(NamedTuple):
    """One observation. code: a key of `TEXTS`; subject: the object; wanted and found: short texts, may be empty."""

    code: str
    severity: Severity
    subject: str
    wanted: str = ""
    found: str = ""

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        return _fill(TEXTS[self.code].sentence, self)

    @property
    def plain(self) -> str:
        """The same without the words of certificates and digests."""
        text = TEXTS[self.code]
        return _fill(text.plain or text.sentence, self)

    @property
    def next_step(self) -> str:
        """What the reader does next."""
        return _fill(TEXTS[self.code].next_step, self)


def reject(code: str, subject: str, wanted: str = "", found: str = "") -> Finding:
    """A finding that refuses."""
    return Finding(code, Severity.REJECT, subject, wanted, found)


def undecided(code: str, subject: str, wanted: str = "", found: str = "") -> Finding:
    """A finding that leaves the question open."""
    return Finding(code, Severity.UNDECIDED, subject, wanted, found)


def warning(code: str, subject: str, wanted: str = "", found: str = "") -> Finding:
    """A finding to read that decides nothing."""
    return Finding(code, Severity.WARNING, subject, wanted, found)


def note(code: str, subject: str, wanted: str = "", found: str = "") -> Finding:
    """A finding for the record."""
    return Finding(code, Severity.NOTE, subject, wanted, found)


def _fill(template: str, finding: Finding) -> str:
    return template.format(subject=finding.subject, wanted=finding.wanted, found=finding.found)
