"""After a round the agent says what this device runs: one signed report, kept until `sealwright report send` or a courier takes it.

    [report]                                        # in agent.toml; none: nothing is reported
    home = "/var/lib/sealwright/device"             # a signing home with a key enrolled for reports
    spool = "/var/lib/sealwright/reports"           # where reports wait
    couriers = "/srv/transfer/couriers"             # what `courier unpack` took over here, acknowledged by its digests

What was refused, taken back or permitted is in every report until the device runs that release or a newer one, so that none of it is lost with one report.
A check and a dry run are not reported. What cannot be reported is told and changes nothing about what was installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.report import (
    MAX_BYTES,
    MAX_DIGESTS,
    MAX_EVENTS,
    Event,
    OnDevice,
    Report,
    parse_report,
    report_bytes,
)
from sealwright.artifact.report import Outcome as Told
from sealwright.artifact.source import read_file_or_none
from sealwright.device.agentconfig import AgentConfig, ReportConfig
from sealwright.device.agentstate import Installed
from sealwright.device.reporting import write_report
from sealwright.device.round import Outcome, Round
from sealwright.errors import SealwrightError
from sealwright.findings import Severity
from sealwright.release.channels import Named
from sealwright.release.courier import couriers_in
from sealwright.signing.home import open_home
from sealwright.signing.stamps import utc_now
from sealwright.trust.belief import load_trust

LAST = "last"
RETURNED = "SW-INSTALL-FAILED"
_NOT_REPORTED = (Outcome.NEW, Outcome.WOULD_INSTALL)


@dataclass(frozen=True, slots=True)
class Reporter:
    """What signs and keeps reports at the agent's seam. failed: gets the error where one could not be made."""

    config: AgentConfig
    report: ReportConfig
    failed: Callable[[SealwrightError], object]

    def __call__(self, done: Round) -> None:
        """Report a round."""
        if done.outcome in _NOT_REPORTED:
            return
        try:
            said = self._said(done)
            last = os.path.join(self.report.spool, LAST)
            if (data := read_file_or_none(last, MAX_BYTES)) is not None:
                said = carrying(said, parse_report(data, last))
            write_report(said, self.report.spool, open_home(self.report.home), utc_now())
            write_atomic(last, report_bytes(said), replace=Replace.YES)
        except SealwrightError as cause:
            self.failed(cause)

    def _said(self, done: Round) -> Report:
        config, trust = self.config, load_trust(self.config.trust).trust
        permitted = done.verdict.permitted if done.verdict is not None else None
        return Report(
            device=config.device,
            number=0,  # given by `write_report`, with the time
            made=utc_now(),
            group=config.group,
            channel=config.channel,
            trust=trust.id,
            trust_version=trust.version,
            running=() if done.installed is None else (_running(config, done.installed),),
            events=tuple(_events(config, done)),
            permits=() if permitted is None else (permitted.digest,),
            couriers=taken_over(self.report.couriers),
        )


def carrying(said: Report, last: Report) -> Report:
    """A report with what the one before it told and this device still does not run; the newest of each kind, as many as a report may hold."""
    running = {one.product: one.generation for one in said.running}
    open_ = [one for one in last.events if one.release.generation > running.get(one.release.product, -1)]
    told = {(one.outcome, one.release.manifest, one.code): one for one in (*open_, *said.events)}
    events = [
        one
        for outcome in Told
        for one in sorted((e for e in told.values() if e.outcome is outcome), key=lambda e: e.release.at, reverse=True)[
            :MAX_EVENTS
        ]
    ]
    permits = sorted({*said.permits, *last.permits[: MAX_DIGESTS - len(said.permits)]}, key=str)
    return replace(said, events=tuple(events), permits=tuple(permits))


def taken_over(folder: str) -> tuple[Digest, ...]:
    """The digests of the newest couriers' manifests in a folder of `courier unpack`, sorted; () where there is none."""
    if not folder or not os.path.isdir(folder):
        return ()
    newest = (digest for _, digest in islice(couriers_in(folder), MAX_DIGESTS))
    return tuple(sorted(newest, key=str))


def _running(config: AgentConfig, installed: Installed) -> OnDevice:
    release = installed.release
    return OnDevice(config.product, release.version, release.generation, release.manifest, installed.at)


def _events(config: AgentConfig, done: Round) -> list[Event]:
    if done.release is None or done.outcome not in (Outcome.REFUSED, Outcome.RETURNED):
        return []
    if done.outcome is Outcome.RETURNED:
        return [Event(Told.RETURNED, _of(config, done.release), RETURNED)]
    grave = (Severity.REJECT, Severity.UNDECIDED)
    codes = [one.code for one in done.verdict.findings if one.severity in grave] if done.verdict is not None else []
    return [Event(Told.REFUSED, _of(config, done.release), codes[0])] if codes else []


def _of(config: AgentConfig, release: Named) -> OnDevice:
    now = utc_now().replace(microsecond=0)
    return OnDevice(config.product, release.version, release.generation, release.manifest, now)
