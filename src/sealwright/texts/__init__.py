"""Every sentence Sealwright says about a finding or error, in one table keyed by code; a translation is a second table."""

from __future__ import annotations

from sealwright.texts import (
    agent,
    artifact,
    certificates,
    envelope,
    errors,
    handover,
    keys,
    log,
    permits,
    records,
    repository,
    running,
    statements,
    station,
    trust,
    verdicts,
)
from sealwright.texts.text import Text

TEXTS: dict[str, Text] = {
    **verdicts.TEXTS,
    **records.TEXTS,
    **permits.TEXTS,
    **statements.TEXTS,
    **running.TEXTS,
    **station.TEXTS,
    **handover.TEXTS,
    **agent.TEXTS,
    **artifact.TEXTS,
    **envelope.TEXTS,
    **certificates.TEXTS,
    **trust.TEXTS,
    **keys.TEXTS,
    **log.TEXTS,
    **repository.TEXTS,
    **errors.TEXTS,
}
