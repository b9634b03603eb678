"""From a staged release to an installed one: the own copy, its verdict, window and consent, the installation; and back.

Where a file of the installed release was taken instead of being fetched, and it is not what it was, everything is fetched once more.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from sealwright.device.admission import Admitted, Asker, Retry, admit, refused, still_runs
from sealwright.device.agentconfig import Consent
from sealwright.device.agentstate import Installed
from sealwright.device.copying import Copy, copy_staged, listed
from sealwright.device.install import Result, install_copy, install_kept
from sealwright.device.round import Asked, Doing, Outcome, Round
from sealwright.device.slots import WORK, slot_folder
from sealwright.device.staging import STAGED
from sealwright.device.unprivileged import FOLDER as FETCH_FOLDER
from sealwright.device.unprivileged import fetching
from sealwright.device.window import open_at
from sealwright.errors import InstallRefused, SealwrightError
from sealwright.release.channels import Named
from sealwright.trust.belief import Believed, load_trust
from sealwright.trust.verdict import Outcome as Judged
from sealwright.trust.verdict import Purpose, Verdict

if TYPE_CHECKING:
    from sealwright.device.agent import Agent

_ENDED = {Result.PROVED: Outcome.INSTALLED, Result.RETURNED: Outcome.RETURNED, Result.REBOOT: Outcome.WAITS_FOR_REBOOT}


def take(agent: Agent, offered: Named, believed: Believed, doing: Doing, consent: Asked) -> Round:
    """Judge what is staged and, as far as the round goes, install it. Raises what copying and the device's disk raise."""
    try:
        admitted = judge_staged(agent, offered, believed, Retry.ASKED if doing is Doing.AGAIN else Retry.NEVER)
        if not admitted.taken or admitted.description is None:
            return agent.ended(Outcome.REFUSED, offered, admitted.verdict)
        if doing is Doing.DRY_RUN:
            return agent.ended(Outcome.WOULD_INSTALL, offered, admitted.verdict)
        if doing is Doing.INSTALL and not open_at(agent.config.windows, admitted.verdict.times.judged):
            return agent.ended(Outcome.WAITS_FOR_WINDOW, offered, admitted.verdict)
        if agent.config.consent is Consent.ASK and not consent(offered, admitted.verdict):
            return agent.ended(Outcome.WAITS_FOR_CONSENT, offered, admitted.verdict)
        verdict = _used(agent, admitted.verdict)
        if verdict.outcome is not Judged.TRUSTED:
            return agent.ended(Outcome.REFUSED, offered, verdict)
        ended = _ENDED[install_copy(agent.device, offered, admitted.description)]
        if ended is Outcome.INSTALLED:
            shutil.rmtree(os.path.join(_fetched(agent), STAGED), ignore_errors=True)
        return agent.ended(ended, offered, verdict)
    finally:
        shutil.rmtree(os.path.join(agent.config.state, WORK), ignore_errors=True)


def judge_staged(agent: Agent, offered: Named, believed: Believed, retry: Retry) -> Admitted:
    """Copy what is staged, and judge the copy."""
    asker, have = asker_of(agent, believed), files_of_installed(agent)
    admitted = admit(_copied(agent, offered, have), offered, asker, retry=retry)
    changed = any(one.code == "SW-TREE-FILE-CHANGED" for one in refused(admitted.verdict))
    if not have or not changed:
        return admitted
    with fetching(agent.wanted(believed, frozenset())) as process:
        if process.seen().offered == offered:
            process.staged()
    return admit(_copied(agent, offered, {}), offered, asker, retry=retry)


def go_back(agent: Agent) -> Round:
    """The release in the other slot, verified again for `restore`; InstallRefused where there is none, or a boot is awaited."""
    if agent.state.pending is not None:
        raise InstallRefused(
            agent.state.pending.release.version, "it waits for the next boot", "Let the device start again first."
        )
    previous = agent.state.previous
    if previous is None:
        raise InstallRefused("the former release", "none is kept", "Ask for a release with a higher generation.")
    asker = asker_of(agent, load_trust(agent.config.trust))
    admitted = admit(_kept_copy(agent, previous), previous.release, asker, Purpose.RESTORE, Retry.ASKED)
    if not admitted.taken or admitted.description is None:
        return agent.ended(Outcome.REFUSED, previous.release, admitted.verdict)
    verdict = _used(agent, admitted.verdict)
    if verdict.outcome is not Judged.TRUSTED:
        return agent.ended(Outcome.REFUSED, previous.release, verdict)
    return agent.ended(_ENDED[install_kept(agent.device, admitted.description)], previous.release, verdict)


def judge_running(agent: Agent) -> Verdict | None:
    """The verdict of today's trust file on what is installed, for `run`; None where nothing is."""
    if agent.state.installed is None:
        return None
    return still_runs(_kept_copy(agent, agent.state.installed), asker_of(agent, load_trust(agent.config.trust)))


def files_of_installed(agent: Agent) -> dict[bytes, str]:
    """The files of the installed release by their digests; none where its manifest cannot be read."""
    if agent.state.installed is None:
        return {}
    try:
        copy = _kept_copy(agent, agent.state.installed)
    except SealwrightError:
        return {}
    return {one.digest: os.path.join(copy.folder, os.fsdecode(one.name)) for one in copy.manifest.files}


def asker_of(agent: Agent, believed: Believed) -> Asker:
    """Who asks the verifier: this device, with the higher of its own floor and its TPM's."""
    device, state = agent.device, agent.state
    counted = device.counter.floor() if device.counter is not None else 0
    floor = max(state.floor, counted)
    return Asker(agent.config, state, device.memory, believed, device.clock(), floor, agent.seams.permits)


def _used(agent: Agent, verdict: Verdict) -> Verdict:
    """The verdict once the permit that it rests on, where it rests on one, is used up: before anything is installed by it."""
    return verdict if agent.seams.permits is None else agent.seams.permits.use(verdict, agent.device.memory)


def _copied(agent: Agent, offered: Named, have: dict[bytes, str]) -> Copy:
    work = os.path.join(agent.config.state, WORK)
    return copy_staged(_fetched(agent), work, offered, have, agent.config.limits.release_bytes)


def _kept_copy(agent: Agent, installed: Installed) -> Copy:
    root = slot_folder(agent.config.state, installed.slot)
    version = installed.release.version
    return Copy(root, os.path.join(root, version), listed(root, version), installed.release.manifest, 0)


def _fetched(agent: Agent) -> str:
    return os.path.join(agent.config.state, FETCH_FOLDER)
