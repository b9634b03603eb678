"""What an agent reports after a round: what is installed, what was refused or taken back lately, which permits were used.

    seams = Seams(permits, reporter(config, said))

The report is made of the round and of the report before it, whose events and permits go on being told, the newest first. A report that cannot
be made (no key, a full disk) is told on the terminal and stops no installation: it is made again after the next round.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.report import MAX_BYTES, MAX_DIGESTS, MAX_EVENTS, Event, OnDevice, Report, parse_report
from sealwright.artifact.report import Outcome as Became
from sealwright.artifact.source import read_file_or_none
from sealwright.device.agentconfig import AgentConfig, Reporting
from sealwright.device.reporting import write_report
from sealwright.device.round import Outcome, Round
from sealwright.errors import InstallRefused, MalformedArtifact, SealwrightError
from sealwright.findings import Severity
from sealwright.release.channels import Named
from sealwright.signing.home import open_home
from sealwright.trust.belief import load_trust
from sealwright.trust.verdict import Verdict

LAST = "last"
NO_CODE = InstallRefused.code  # of a release that was trusted and did not work


def report_of(
    config: AgentConfig, trust: str, trust_version: int, done: Round, before: Report | None, now: datetime
) -> Report:
    """The report after a round. trust: id of the trust file in force; before: the report before it, None for the first; now: aware."""
    running = () if done.installed is None else (_on_device(config, done.installed.release, done.installed.at),)
    events = _events(config, done, before, now)
    permits = {*(() if before is None else before.permits), *_permit(done.verdict)}
    return Report(
        device=config.device,
        number=0,
        made=now,
        group=config.group,
        channel=config.channel,
        trust=trust,
        trust_version=trust_version,
        running=running,
        events=tuple(sorted(events, key=lambda one: one.outcome is not Became.REFUSED)),
        permits=tuple(sorted(permits, key=str)[-MAX_DIGESTS:]),
    )


def reporter(config: AgentConfig, said: Callable[[SealwrightError], None]) -> Callable[[Round], None] | None:
    """What the agent calls at its seam; None where agent.toml has no `[report]`. said: gets what kept a report from being made."""
    reporting = config.reporting
    if reporting is None:
        return None

    def report(done: Round) -> None:
        try:
            _report(config, reporting, done)
        except SealwrightError as cause:
            said(cause)

    return report


def _report(config: AgentConfig, reporting: Reporting, done: Round) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    trust = load_trust(config.trust).trust
    made = report_of(config, trust.id, trust.version, done, last_report(reporting.spool), now)
    written = write_report(made, reporting.spool, open_home(reporting.home), now)
    data = read_file_or_none(written.path, MAX_BYTES) or b""
    write_atomic(os.path.join(reporting.spool, LAST), data, replace=Replace.YES)


def last_report(spool: str) -> Report | None:
    """The report before; None where there is none, or it cannot be read: its events are then told no longer."""
    data = read_file_or_none(os.path.join(spool, LAST), MAX_BYTES)
    try:
        return None if data is None else parse_report(data, LAST)
    except MalformedArtifact:
        return None


def _events(config: AgentConfig, done: Round, before: Report | None, now: datetime) -> list[Event]:
    """The event of this round, then those before it of other releases; at most so many of each outcome."""
    former = () if before is None else before.events
    event = _event(config, done, now)
    if event is not None:
        former = tuple(
            one for one in former if (one.outcome, one.release.manifest) != (event.outcome, event.release.manifest)
        )
    every = [*(() if event is None else (event,)), *former]
    running = None if done.installed is None else done.installed.release.manifest
    kept = [one for one in every if one.release.manifest != running]
    return [one for became in Became for one in [each for each in kept if each.outcome is became][:MAX_EVENTS]]


def _event(config: AgentConfig, done: Round, now: datetime) -> Event | None:
    if done.release is None or done.outcome not in (Outcome.REFUSED, Outcome.RETURNED):
        return None
    release = _on_device(config, done.release, now)
    if done.outcome is Outcome.RETURNED:
        return Event(Became.RETURNED, release, NO_CODE)
    return Event(Became.REFUSED, release, _code(done.verdict))


def _code(verdict: Verdict | None) -> str:
    findings = () if verdict is None else verdict.findings
    grave = [one for one in findings if one.severity in (Severity.REJECT, Severity.UNDECIDED)]
    return next((one.code for one in grave), NO_CODE)


def _permit(verdict: Verdict | None) -> tuple[Digest, ...]:
    return () if verdict is None or verdict.permitted is None else (verdict.permitted.digest,)


def _on_device(config: AgentConfig, release: Named, at: datetime) -> OnDevice:
    return OnDevice(config.product, release.version, release.generation, release.manifest, at.replace(microsecond=0))
