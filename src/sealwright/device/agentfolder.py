"""The agent's state folder: one agent at work in it, only root writes there, and nothing that vanished is made anew.

What lies in it: agent.json (`agentstate.py`), memory/ (the verifier's), slots/ (`slots.py`), fetch/ (the fetch process's), work/ (a copy that is
being verified), agent.lock.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sealwright.artifact.folders import sync_folder
from sealwright.device.agentconfig import AgentConfig
from sealwright.device.agentstate import Kept
from sealwright.device.counter import Counter, TpmCounter, make_counter
from sealwright.errors import AgentDamaged, InstallRefused, OutputRefused
from sealwright.trust.place import unsafe_because
from sealwright.trust.state import FILE as MEMORY_FILE

MEMORY = "memory"
LOCK = "agent.lock"
LOCK_WAIT_S = 5.0  # what hashed for an agent that was killed ends a moment after it


def check_folder(state: str) -> None:
    """InstallRefused where the folder is missing or others could write in it."""
    if not os.path.isdir(state):
        raise InstallRefused(
            state,
            "there is no such folder, and a new one would remember nothing",
            "Make it once, as root (`install -d -m 755`).",
        )
    if problem := unsafe_because(state):
        raise InstallRefused(state, f"it is not safe: {problem}", "Give it to root and take write access from others.")


def check_link(current: str) -> None:
    """InstallRefused where others could turn the link to the installed release, or lead to another place on the way to it."""
    folder = os.path.dirname(current)
    if problem := unsafe_because(folder):
        raise InstallRefused(
            current, f"it is not safe: {problem}", f"Have only root write in {folder}, or name another `current`."
        )


@contextmanager
def taken(state: str) -> Iterator[None]:
    """The folder, for one agent at a time; InstallRefused where another one is at work, OutputRefused where it cannot be locked."""
    check_folder(state)
    lock = _locked(state)
    try:
        yield
    finally:
        os.close(lock)


def _locked(state: str) -> int:
    if sys.platform == "win32":
        raise InstallRefused("the agent", "it works on Linux alone", "Use `sealwright station` on Windows.")
    path = os.path.join(state, LOCK)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as cause:
        raise OutputRefused(path, cause.strerror or "it cannot be opened", "Run it as root.") from cause
    until = time.monotonic() + LOCK_WAIT_S
    while not _is_ours(descriptor):
        if time.monotonic() > until:
            os.close(descriptor)
            raise InstallRefused("the agent", "another one is at work here", "Wait until it has ended its round.")
        time.sleep(0.05)
    return descriptor


def _is_ours(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def memory_of(config: AgentConfig, kept: Kept) -> str:
    """The verifier's memory. It is made once, with the agent's first state: one that vanished later is never made anew."""
    folder = os.path.join(config.state, MEMORY)
    forgot = kept.state.installed is not None and not os.path.exists(os.path.join(folder, MEMORY_FILE))
    if forgot or not os.path.isdir(folder):
        if os.path.exists(kept.path):
            raise AgentDamaged(
                folder,
                "the verifier's memory is gone",
                "Restore the state folder as a whole from this device's own backup.",
            )
        os.mkdir(folder, 0o700)
        sync_folder(config.state)
    return folder


def counter_of(config: AgentConfig, kept: Kept) -> Counter | None:
    """The TPM's counter, made with the agent's first state; None where agent.toml has none. AgentDamaged where one came or went later."""
    if config.counter is None:
        if kept.state.counter is not None:
            raise AgentDamaged(
                config.path, "a TPM's counter was used here, and [counter] is gone", "Put [counter] back."
            )
        return None
    base = kept.state.counter
    if base is None:
        if kept.state.installed is not None:
            raise AgentDamaged(config.path, "[counter] came after the first installation", "Set the device up anew.")
        base = make_counter(config.counter)
        kept.change(lambda state: replace(state, counter=base))
    return TpmCounter(config.counter, base)
