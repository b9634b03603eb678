"""The agent of a device: look what is offered, have it fetched, take it in (`taking.py`), tell.

1. What a power cut interrupted is finished first (`install.resume`).
2. The trust file is believed where only root can write it; the TUF root that it names is where the repository begins.
3. The fetch process (`unprivileged.py`) says what is offered, and the agent reads that from its files itself (`offered.py`). What is
   not newer than what is installed ends here.
4. It fetches; the agent copies, judges its own copy (`copying.py`, `admission.py`), waits for window and consent, installs (`install.py`).

    with agent_at(config) as agent:
        print(agent.round(Doing.INSTALL, consent).outcome)

What judges is imported where something is judged: a check every hour asks the repository and ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file_or_none
from sealwright.device.agentconfig import AgentConfig
from sealwright.device.agentfolder import MEMORY, check_folder, check_link, counter_of, memory_of, taken
from sealwright.device.agentstate import AgentState, Kept
from sealwright.device.install import Device, Result, resume
from sealwright.device.messages import Reach, Wanted
from sealwright.device.round import Asked, Doing, Outcome, Round, Seams
from sealwright.device.slots import make_slots
from sealwright.device.unprivileged import fetch_folder, fetching
from sealwright.errors import (
    InstallRefused,
    RepositoryRefused,
    RepositoryStale,
    RepositoryUnavailable,
    SealwrightError,
)
from sealwright.log.canonical import time_text
from sealwright.release.channels import Named
from sealwright.trust.belief import Believed, load_trust
from sealwright.trust.state import read_state
from sealwright.trust.times import judgement

if TYPE_CHECKING:
    from sealwright.device.origin import Origin
    from sealwright.trust.model import TrustFile
    from sealwright.trust.verdict import Verdict

CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Agent:
    """A device's agent, alone at work in its folder."""

    config: AgentConfig
    device: Device
    recovered: Result | None
    seams: Seams = field(default_factory=Seams)

    @property
    def state(self) -> AgentState:
        """What is durable now."""
        return self.device.kept.state

    def round(self, doing: Doing, consent: Asked) -> Round:
        """One round. consent: asked once, with the verdict, before anything is installed where agent.toml wants that.

        RepositoryUnavailable and RepositoryRefused of the repository; what `load_trust` raises; errors of this device's disk.
        """
        try:
            done = self._round(doing, consent)
        except SealwrightError as cause:
            self._note(cause.code)
            # who keeps the repository from a device does not keep the device from telling what it runs
            if isinstance(cause, RepositoryRefused | RepositoryUnavailable) and doing not in (
                Doing.CHECK,
                Doing.DRY_RUN,
            ):
                self._report(self.ended(Outcome.NOT_REACHED, None))
            raise
        if doing is not Doing.CHECK:
            done = replace(done, running=self._told())
        self._note(done.outcome)
        self._report(done)
        return done

    def roll_back(self) -> Round:
        """Back to the release in the other slot, as far as the floor and today's trust file allow; InstallRefused where there is none."""
        from sealwright.device.taking import go_back

        done = go_back(self)
        self._note(done.outcome)
        self._report(done)
        return done

    def running(self) -> Verdict | None:
        """What today's trust file says of what is installed, for the purpose `run`; None where nothing is (A155)."""
        from sealwright.device.taking import judge_running

        return judge_running(self)

    def wanted(self, believed: Believed, have: frozenset[bytes], reach: Reach = Reach.FETCH) -> Wanted:
        """What the fetch process is told. have: digests of files that need not be fetched; InstallRefused without a root to begin at."""
        trust, plant = believed.trust, self.config.plant
        roots = [self._root(trust, one) for one in (self.config.maker, plant) if one is not None]
        floor = read_state(self.device.memory).floor
        now = judgement(self.device.clock(), None, trust.issued, trust.expires, floor).judged
        return Wanted(self.config, roots[0], now, have, self._permitted(), reach, None if plant is None else roots[1])

    def _root(self, trust: TrustFile, origin: Origin) -> Digest:
        root = trust.repository_root(origin.repository)
        if root is None:
            found = f"no [[repository]] `{origin.repository}`" if origin.repository else "no `tuf_root`"
            raise InstallRefused(
                self.config.trust,
                f"it names {found}",
                "Have your officers add the root of the release repository.",
            )
        return root

    def ended(self, outcome: Outcome, release: Named | None, verdict: Verdict | None = None) -> Round:
        """How a round ended, with what is installed now."""
        return Round(outcome, release, verdict, self.state.installed, self.state.trouble, self.recovered)

    def _told(self) -> Verdict | None:
        """The verdict on what is installed where its ground has changed since it was last given: nothing is stopped by it (A155)."""
        if self.state.installed is None:
            return None
        believed, installed = load_trust(self.config.trust), self.state.installed.release.manifest
        ground = (believed.trust.digest, believed.deny_version, installed, self.state.advisory(installed))
        judged = Digest.of("\n".join((*map(str, ground), *(str(Digest.of(crl)) for crl in believed.crls))).encode())
        if str(judged) == self.state.judged:
            return None
        running = self.running()
        self.device.kept.change(lambda state: replace(state, judged=str(judged)))
        return running

    def _round(self, doing: Doing, consent: Asked) -> Round:
        if self.state.pending is not None:
            return self.ended(Outcome.WAITS_FOR_REBOOT, self.state.pending.release)
        believed = load_trust(self.config.trust)
        reach = Reach.LOOK if doing is Doing.CHECK else Reach.FETCH
        wanted = self.wanted(believed, self._installed_files(doing), reach)
        with fetching(wanted) as process:
            from sealwright.device.offered import check_seen, learn_roots  # after the fork: the child has begun

            try:
                seen = process.seen()
            except (RepositoryRefused, RepositoryStale):
                learn_roots(wanted, believed.trust, fetch_folder(self.config), self.device.memory)
                raise
            check_seen(seen, wanted, believed.trust, fetch_folder(self.config), self.device.memory)
            self.device.kept.change(lambda state: state.knowing(seen.withdrawn))
            if seen.offered is None:
                return self.ended(Outcome.NOTHING_OFFERED, None)
            if not self._newer(seen.offered):
                return self.ended(Outcome.NOTHING_NEW, seen.offered)
            if doing is Doing.CHECK:
                return self.ended(Outcome.NEW, seen.offered)
            fetched = process.staged().size_bytes
        from sealwright.device.taking import take

        return replace(take(self, seen.offered, believed, doing, consent), fetched_bytes=fetched)

    def _installed_files(self, doing: Doing) -> frozenset[bytes]:
        """Digests of what need not be fetched: of a release that failed here before all is."""
        if doing in (Doing.CHECK, Doing.AGAIN):
            return frozenset()
        from sealwright.device.taking import files_of_installed

        return frozenset(files_of_installed(self))

    def _newer(self, offered: Named) -> bool:
        installed = self.state.installed
        if installed is None or offered.manifest in self._permitted():
            return installed is None or offered.manifest != installed.release.manifest
        return offered.manifest != installed.release.manifest and offered.generation >= installed.release.generation

    def _permitted(self) -> frozenset[Digest]:
        return self.seams.permits.manifests if self.seams.permits is not None else frozenset()

    def _report(self, done: Round) -> None:
        if self.seams.report is not None:
            self.seams.report(done)

    def _note(self, outcome: str) -> None:
        self.device.kept.change(lambda state: replace(state, checked=f"{time_text(self.device.clock())} {outcome}"))


@contextmanager
def agent_at(
    config: AgentConfig, seams: Seams | None = None, clock: Callable[[], datetime] | None = None
) -> Iterator[Agent]:
    """The agent of a device, alone at work in its state folder; what was interrupted is finished first.

    InstallRefused where another one is at work or others may write there; AgentDamaged for a state that cannot be relied on.
    """
    with taken(config.state):
        check_link(config.current)
        os.umask(0o022)  # what is installed is read by others
        kept = Kept(config.state, config.device, config.product)
        memory = memory_of(config, kept)
        made = Device(config, kept, memory, counter_of(config, kept))
        device = made if clock is None else replace(made, clock=clock)
        make_slots(config.state)
        yield Agent(config, device, resume(device), seams or Seams())


def looking_at(config: AgentConfig) -> Agent:
    """The agent without its lock, for questions that change nothing; one that is at work is not waited for.

    AgentDamaged for a state that cannot be relied on, InstallRefused where there is none yet.
    """
    check_folder(config.state)
    memory = os.path.join(config.state, MEMORY)
    kept = Kept(config.state, config.device, config.product)
    return Agent(config, Device(config, kept, memory, None), None)


def consented(config: AgentConfig) -> Asked:
    """Consent by the operator's file `consent` in the state folder: the digest of the one manifest that may be installed."""

    def asked(offered: Named, _: Verdict) -> bool:
        data = read_file_or_none(os.path.join(config.state, CONSENT), 4096) or b""
        return data.decode(errors="replace").strip() == str(offered.manifest)

    return asked
