"""The agent's rounds: look what is offered, bring it, judge the own copy, install it, tell.

1. What a power cut interrupted is finished first (`install.resume`).
2. The trust file is believed where only root can write it; the TUF root that it names is where the repository begins.
3. The fetch process (`unprivileged.py`) says what is offered. What is not newer than what is installed ends here.
4. It fetches; the agent copies, and judges its own copy (`copying.py`, `admission.py`).
5. Window and consent; then the copy is installed (`install.py`).

    with agent_at(config) as agent:
        print(agent.round(Doing.INSTALL, consent).outcome)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum, auto

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file_or_none
from sealwright.device.admission import Admitted, Asker, Permits, Retry, admit, refused, still_runs
from sealwright.device.agentconfig import AgentConfig, Consent
from sealwright.device.agentfolder import MEMORY, check_folder, counter_of, memory_of, taken
from sealwright.device.agentstate import AgentState, Installed, Kept
from sealwright.device.copying import Copy, copy_staged, listed
from sealwright.device.install import Device, Result, install_copy, install_kept, resume
from sealwright.device.messages import Wanted
from sealwright.device.slots import WORK, make_slots, slot_folder
from sealwright.device.unprivileged import FOLDER as FETCH_FOLDER
from sealwright.device.unprivileged import fetching
from sealwright.device.window import open_at
from sealwright.errors import InstallRefused, SealwrightError
from sealwright.log.canonical import time_text
from sealwright.release.channels import Named
from sealwright.trust.belief import Believed, load_trust
from sealwright.trust.state import read_state
from sealwright.trust.times import judgement
from sealwright.trust.verdict import Outcome as Judged
from sealwright.trust.verdict import Purpose, Verdict

CONSENT = "consent"


class Doing(Enum):
    """What a round is for: CHECK only asks the repository; DRY_RUN also fetches and judges; INSTALL installs, in its window;
    NOW installs at once, as somebody at the device asked for; AGAIN the same of a release that failed here before."""

    CHECK = auto()
    DRY_RUN = auto()
    INSTALL = auto()
    NOW = auto()
    AGAIN = auto()


class Outcome(StrEnum):
    """How a round ended. The value is what machines read."""

    NOTHING_OFFERED = "nothing-offered"
    NOTHING_NEW = "nothing-new"
    NEW = "new"
    WOULD_INSTALL = "would-install"
    WAITS_FOR_WINDOW = "waits-for-window"
    WAITS_FOR_CONSENT = "waits-for-consent"
    REFUSED = "refused"
    INSTALLED = "installed"
    RETURNED = "returned"
    WAITS_FOR_REBOOT = "waits-for-reboot"


_ENDED = {Result.PROVED: Outcome.INSTALLED, Result.RETURNED: Outcome.RETURNED, Result.REBOOT: Outcome.WAITS_FOR_REBOOT}
Asked = Callable[[Named, Verdict], bool]
Report = Callable[["Round"], None]


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did. release: the one it was about; verdict: on the copy, where one was judged; installed: afterwards;
    recovered: how an interrupted installation ended before; running: the verdict on what is installed, where the trust file or what was
    withdrawn is other than at the last round; fetched_bytes: that came from the repository."""

    outcome: Outcome
    release: Named | None
    verdict: Verdict | None
    installed: Installed | None
    trouble: str
    recovered: Result | None
    running: Verdict | None = None
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Seams:
    """What others do at the agent's two seams; None where nobody does. permits: those at hand; report: the signed report of what happened."""

    permits: Permits | None = None
    report: Report | None = None


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
            raise
        if doing is not Doing.CHECK:
            done = replace(done, running=self._told())
        self._note(done.outcome)
        if self.seams.report is not None:
            self.seams.report(done)
        return done

    def roll_back(self) -> Round:
        """Back to the release in the other slot, as far as the floor and today's trust file allow; InstallRefused where there is none."""
        if self.state.pending is not None:
            raise InstallRefused(
                self.state.pending.release.version, "it waits for the next boot", "Let the device start again first."
            )
        previous = self.state.previous
        if previous is None:
            raise InstallRefused("the former release", "none is kept", "Ask for a release with a higher generation.")
        copy = self._kept_copy(previous)
        admitted = admit(
            copy, previous.release, self._asker(load_trust(self.config.trust)), Purpose.RESTORE, Retry.ASKED
        )
        if not admitted.taken or admitted.description is None:
            return self._ended(Outcome.REFUSED, previous.release, admitted.verdict)
        verdict = self._used(admitted.verdict)
        if verdict.outcome is not Judged.TRUSTED:
            return self._ended(Outcome.REFUSED, previous.release, verdict)
        done = self._ended(_ENDED[install_kept(self.device, admitted.description)], previous.release, admitted.verdict)
        self._note(done.outcome)
        if self.seams.report is not None:
            self.seams.report(done)
        return done

    def running(self) -> Verdict | None:
        """What today's trust file says of what is installed, for the purpose `run`; None where nothing is (A155)."""
        if self.state.installed is None:
            return None
        return still_runs(self._kept_copy(self.state.installed), self._asker(load_trust(self.config.trust)))

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
            return self._ended(Outcome.WAITS_FOR_REBOOT, self.state.pending.release, None)
        believed = load_trust(self.config.trust)
        with fetching(self._wanted(believed, doing)) as process:
            seen = process.seen()
            self.device.kept.change(lambda state: state.knowing(seen.withdrawn))
            if seen.offered is None:
                return self._ended(Outcome.NOTHING_OFFERED, None, None)
            if not self._newer(seen.offered):
                return self._ended(Outcome.NOTHING_NEW, seen.offered, None)
            if doing is Doing.CHECK:
                return self._ended(Outcome.NEW, seen.offered, None)
            fetched = process.staged().size_bytes
        return replace(self._judged(seen.offered, believed, doing, consent), fetched_bytes=fetched)

    def _judged(self, offered: Named, believed: Believed, doing: Doing, consent: Asked) -> Round:
        try:
            retry = Retry.ASKED if doing is Doing.AGAIN else Retry.NEVER
            admitted = self._admitted(offered, self._asker(believed), retry)
            if not admitted.taken or admitted.description is None:
                return self._ended(Outcome.REFUSED, offered, admitted.verdict)
            if doing is Doing.DRY_RUN:
                return self._ended(Outcome.WOULD_INSTALL, offered, admitted.verdict)
            if doing is Doing.INSTALL and not open_at(self.config.windows, admitted.verdict.times.judged):
                return self._ended(Outcome.WAITS_FOR_WINDOW, offered, admitted.verdict)
            if self.config.consent is Consent.ASK and not consent(offered, admitted.verdict):
                return self._ended(Outcome.WAITS_FOR_CONSENT, offered, admitted.verdict)
            verdict = self._used(admitted.verdict)
            if verdict.outcome is not Judged.TRUSTED:
                return self._ended(Outcome.REFUSED, offered, verdict)
            ended = _ENDED[install_copy(self.device, offered, admitted.description)]
            if ended is Outcome.INSTALLED:
                shutil.rmtree(self._fetch_folder("staged"), ignore_errors=True)
            return self._ended(ended, offered, admitted.verdict)
        finally:
            shutil.rmtree(os.path.join(self.config.state, WORK), ignore_errors=True)

    def _used(self, verdict: Verdict) -> Verdict:
        """The verdict once the permit that it rests on, where it rests on one, is used up: before anything is installed by it."""
        return verdict if self.seams.permits is None else self.seams.permits.use(verdict, self.device.memory)

    def _admitted(self, offered: Named, asker: Asker, retry: Retry) -> Admitted:
        """The copy and its verdict. Where files of the installed release were taken and one of them is not what it was, all is fetched."""
        have = self._have()
        copy = self._copied(offered, have)
        admitted = admit(copy, offered, asker, retry=retry)
        changed = any(one.code == "SW-TREE-FILE-CHANGED" for one in refused(admitted.verdict))
        if not have or not changed:
            return admitted
        with fetching(self._wanted(asker.believed, Doing.AGAIN)) as process:
            if process.seen().offered == offered:
                process.staged()
        copy = self._copied(offered, {})
        return admit(copy, offered, asker, retry=retry)

    def _copied(self, offered: Named, have: dict[bytes, str]) -> Copy:
        fetched, work = self._fetch_folder(), os.path.join(self.config.state, WORK)
        return copy_staged(fetched, work, offered, have, self.config.limits.release_bytes)

    def _wanted(self, believed: Believed, doing: Doing) -> Wanted:
        trust = believed.trust
        if trust.tuf_root is None:
            raise InstallRefused(
                self.config.trust,
                "it names no `tuf_root`",
                "Have your officers add the root of the release repository.",
            )
        now = judgement(
            self.device.clock(), None, trust.issued, trust.expires, read_state(self.device.memory).floor
        ).judged
        have = frozenset(self._have()) if doing not in (Doing.CHECK, Doing.AGAIN) else frozenset()
        return Wanted(self.config, trust.tuf_root, now, have, self._permitted())

    def _have(self) -> dict[bytes, str]:
        """The files of the installed release by their digests."""
        if self.state.installed is None:
            return {}
        try:
            copy = self._kept_copy(self.state.installed)
        except SealwrightError:
            return {}
        return {one.digest: os.path.join(copy.folder, os.fsdecode(one.name)) for one in copy.manifest.files}

    def _kept_copy(self, installed: Installed) -> Copy:
        root = slot_folder(self.config.state, installed.slot)
        version = installed.release.version
        return Copy(root, os.path.join(root, version), listed(root, version), installed.release.manifest, 0)

    def _newer(self, offered: Named) -> bool:
        installed = self.state.installed
        if installed is None or offered.manifest in self._permitted():
            return installed is None or offered.manifest != installed.release.manifest
        return offered.manifest != installed.release.manifest and offered.generation >= installed.release.generation

    def _asker(self, believed: Believed) -> Asker:
        counted = self.device.counter.floor() if self.device.counter is not None else 0
        floor = max(self.state.floor, counted)
        return Asker(
            self.config, self.state, self.device.memory, believed, self.device.clock(), floor, self.seams.permits
        )

    def _permitted(self) -> frozenset[Digest]:
        return self.seams.permits.manifests if self.seams.permits is not None else frozenset()

    def _fetch_folder(self, below: str = "") -> str:
        return (
            os.path.join(self.config.state, FETCH_FOLDER, below)
            if below
            else os.path.join(self.config.state, FETCH_FOLDER)
        )

    def _ended(self, outcome: Outcome, release: Named | None, verdict: Verdict | None) -> Round:
        return Round(outcome, release, verdict, self.state.installed, self.state.trouble, self.recovered)

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
