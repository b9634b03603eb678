"""Installing a verified copy, step by step, and going on after a power cut at any point (A152).

Each step is durable before what it names begins (`agentstate.Step`), so `resume` knows at the next start what may have happened:

    PREPARING   the copy becomes the content of the free slot; each component goes to its installer, in the release's order
    SWITCHING   one rename turns the link `current` to the new release
    PROVING     the new release is started and asked for its health
    PROVED      generation, floor and TPM counter advance; the new release is the installed one
    RETURNING   the link turns back, begun installers are undone in reverse, the former release is started

A cut in PREPARING goes back, one in SWITCHING or PROVING goes on, so there is the old release or the new one, and always one that starts.
Installers (`exec`) must bear being run again with the same part. Nothing advances before the new release has shown that it works.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.device.agentconfig import After, AgentConfig
from sealwright.device.agentstate import AgentState, Installed, Kept, Pending, Step
from sealwright.device.counter import Counter
from sealwright.device.programs import Command, Ended, run
from sealwright.device.slots import fill, slot_folder, take_away, turn
from sealwright.errors import InstallFailed, SealwrightError
from sealwright.release.channels import Named
from sealwright.release.description import MAX_BYTES, NAME, Component, Description, parse_description
from sealwright.trust.state import update_state

MAX_STARTS = 3
_BOOT = "/proc/sys/kernel/random/boot_id"


class Result(StrEnum):
    """How an installation ended: PROVED, back with the former release (RETURNED), or waiting for the device to start again (REBOOT)."""

    PROVED = "proved"
    RETURNED = "returned"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class Device:
    """What an installation works with. memory: the verifier's state folder; counter: the TPM's, None without one; boot: names this boot."""

    config: AgentConfig
    kept: Kept
    memory: str
    counter: Counter | None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    boot: Callable[[], str] = lambda: _boot_id()
    pause: Callable[[float], None] = time.sleep


def install_copy(device: Device, release: Named, description: Description) -> Result:
    """Put the verified copy in its place and let it prove itself. OutputRefused where a step cannot be made durable."""
    slot = device.kept.state.free_slot()
    # the slot's former content goes with the next step, so nothing may lead back to it any more
    _begin(device, release, slot, description)
    device.kept.change(lambda state: replace(state, previous=None))
    fill(device.config.state, slot)
    return _prepare(device, description)


def install_kept(device: Device, description: Description) -> Result:
    """Go back to the release in the other slot, which was verified again; it has to prove itself like a new one."""
    previous = device.kept.state.previous
    if previous is None:
        raise ValueError("nothing to go back to")
    _begin(device, previous.release, previous.slot, description)
    return _prepare(device, description)


def resume(device: Device) -> Result | None:
    """Finish what a power cut interrupted; None where nothing was. Called first, whatever the agent is asked to do."""
    pending = device.kept.state.pending
    if pending is None:
        return None
    if pending.step is Step.PREPARING:
        device.kept.change(lambda state: _at(state, Step.RETURNING))
    return _go_on(device)


def _begin(device: Device, release: Named, slot: str, description: Description) -> None:
    pending = Pending(release, slot, Step.PREPARING, 0, 0, "", description.enforces)
    device.kept.change(lambda state: replace(state, pending=pending, trouble=""))


def _prepare(device: Device, description: Description) -> Result:
    for number, component in enumerate(description.components, 1):
        installer = device.config.installer(component.name)
        if installer is None or installer.command is None:
            continue
        device.kept.change(partial(_begun, number=number))
        ended = _run_on(device, installer.command, component)
        if ended.why:
            _fail(device, f"{component.name}: {ended.why}")
            return _go_on(device)
    device.kept.change(lambda state: _at(state, Step.SWITCHING))
    return _go_on(device)


def _go_on(device: Device) -> Result:
    """From a durable step to the end."""
    while (pending := device.kept.state.pending) is not None:
        match pending.step:
            case Step.SWITCHING:
                turn(device.config.current, _release_folder(device, pending.slot, pending.release))
                device.kept.change(lambda state: _at(state, Step.PROVING))
            case Step.PROVING:
                if not _must_boot(device, pending):
                    _prove(device, pending)
                elif _ask_for_boot(device, pending):
                    return Result.REBOOT
            case Step.PROVED:
                _advance(device, pending)
                return Result.PROVED
            case Step.RETURNING:
                _return(device, pending)
                return Result.RETURNED
            case Step.PREPARING:
                raise AssertionError("it is prepared before, or taken back")
    raise AssertionError("nothing is pending")


def _must_boot(device: Device, pending: Pending) -> bool:
    """Whether the release starts with the device, and that has yet to happen."""
    restart = device.config.restart
    return restart is not None and restart.after is After.REBOOT and pending.boot in ("", device.boot())


def _ask_for_boot(device: Device, pending: Pending) -> bool:
    """Have the device start again, once; False where it cannot be had, and the release goes back."""
    restart = device.config.restart
    if restart is None or pending.boot:
        return True
    device.kept.change(lambda state: replace(state, pending=replace(pending, boot=device.boot())))
    if (ended := _run(restart.command)).why:
        _fail(device, f"restart: {ended.why}")
    return not ended.why


def _prove(device: Device, pending: Pending) -> None:
    if pending.tries >= MAX_STARTS:
        _fail(device, f"the device stopped {pending.tries} times while it was being looked at")
        return
    device.kept.change(lambda state: replace(state, pending=replace(pending, tries=pending.tries + 1)))
    restart = device.config.restart
    ended = _run(restart.command) if restart is not None and restart.after is After.SERVICE else Ended("")
    why = ended.why or _ill(device)
    if why:
        _fail(device, why)
    else:
        device.kept.change(lambda state: _at(state, Step.PROVED))


def _ill(device: Device) -> str:
    """Why a release does not work, after as many looks as agent.toml wants; "" where it does."""
    health = device.config.health
    if health is None:
        return ""
    why = ""
    for number in range(health.tries):
        if number:
            device.pause(health.pause_s)
        if not (why := _run(health.command).why):
            return ""
    return f"health: {why}"


def _advance(device: Device, pending: Pending) -> None:
    """Memory first, then counter, then the agent's own file: repeated after a cut, each is the same again."""
    generation = pending.release.generation
    update_state(device.memory, lambda state: state.having_proved(device.config.product, generation))
    floor = max(device.kept.state.floor, pending.enforces)
    if device.counter is not None:
        device.counter.raise_to(floor)
    at = device.clock().astimezone(UTC).replace(microsecond=0)

    def proved(state: AgentState) -> AgentState:
        now = Installed(pending.release, pending.slot, at)
        failed = tuple(one for one in state.failed if one != pending.release.manifest)
        after = replace(state, installed=now, previous=state.installed, pending=None, floor=floor, failed=failed)
        # what was left on purpose is not installed again by itself
        left = state.installed
        return (
            after.having_failed(left.release.manifest)
            if left is not None and left.release.generation > generation
            else after
        )

    device.kept.change(proved)


def _return(device: Device, pending: Pending) -> None:
    former = device.kept.state.installed
    if former is not None:
        turn(device.config.current, _release_folder(device, former.slot, former.release))
    else:
        take_away(device.config.current)
    trouble = [device.kept.state.trouble] if device.kept.state.trouble else []
    trouble += _undone(device, pending)
    restart = device.config.restart if former is not None and pending.tries else None
    if restart is not None and restart.after is After.REBOOT:
        _returned(device, trouble)  # first: a device that is off at once would go back, and start again, at every boot
    if restart is not None:
        if (ended := _run(restart.command)).why:
            trouble.append(f"restart of the former release: {ended.why}")
        elif restart.after is After.SERVICE and (why := _ill(device)):
            trouble.append(f"the former release does not work either: {why}")
    _returned(device, trouble)


def _returned(device: Device, trouble: list[str]) -> None:
    device.kept.change(lambda state: replace(state, pending=None, trouble="; ".join(trouble)[:1000]))


def _undone(device: Device, pending: Pending) -> list[str]:
    """Take back what begun installers did, the last first; what could not be taken back."""
    if not pending.begun:
        return []
    try:
        description = _description(device, pending)
    except SealwrightError as cause:
        return [f"what was installed of {pending.release.version} is not known: {cause.what}"]
    left = []
    for component in reversed(description.components[: pending.begun]):
        installer = device.config.installer(component.name)
        if installer is None or installer.command is None:
            continue
        if installer.undo is None:
            left.append(f"{component.name} has no `undo` and may be that of {pending.release.version}")
        elif (ended := _run_on(device, installer.undo, component)).why:
            left.append(f"{component.name} could not be taken back: {ended.why}")
    return left


def _fail(device: Device, why: str) -> None:
    """The release does not work here: back, and not again by itself."""

    def failed(state: AgentState) -> AgentState:
        if state.pending is None:
            raise AssertionError("nothing is pending")
        after = _at(state, Step.RETURNING).having_failed(state.pending.release.manifest)
        return replace(after, trouble=f"{state.pending.release.version}: {why}"[:1000])

    device.kept.change(failed)


def _at(state: AgentState, step: Step) -> AgentState:
    if state.pending is None:
        raise AssertionError("nothing is pending")
    return replace(state, pending=replace(state.pending, step=step))


def _begun(state: AgentState, number: int) -> AgentState:
    if state.pending is None:
        raise AssertionError("nothing is pending")
    return replace(state, pending=replace(state.pending, begun=number))


def _run_on(device: Device, command: Command, component: Component) -> Ended:
    """A program on a component of the pending release, as it lies in its slot."""
    pending = device.kept.state.pending
    if pending is None:
        raise AssertionError("nothing is pending")
    path = os.path.join(_release_folder(device, pending.slot, pending.release), os.fsdecode(component.path))
    if "{file}" in command.words and not os.path.isfile(path):
        return Ended(f"{display(component.path)} is no file, and its installer takes one")
    if "{folder}" in command.words and not os.path.isdir(path):
        return Ended(f"{display(component.path)} is no folder, and its installer takes one")
    return _run(command, path)


def _run(command: Command, part: str = "") -> Ended:
    """A program that may not run at all has ended badly: what it was to do is taken back like any other failure."""
    try:
        return run(command, part)
    except SealwrightError as cause:
        return Ended(f"{cause.subject}: {cause.what}")


def _release_folder(device: Device, slot: str, release: Named) -> str:
    return os.path.join(slot_folder(device.config.state, slot), release.version)


def _description(device: Device, pending: Pending) -> Description:
    path = os.path.join(_release_folder(device, pending.slot, pending.release), NAME)
    return parse_description(read_file(path, MAX_BYTES), NAME)


def _boot_id() -> str:
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError as cause:
        raise InstallFailed(
            _BOOT, "this system does not say which boot it is in", 'Use `after = "service"` in [restart].'
        ) from cause
