"""Two slots for releases and the link that leads to the one in use. Turning the link is one rename(2): old or new, never between.

    slots/a/1.4.1/…        slots/b/1.4.2/…        current -> /var/lib/sealwright/agent/slots/b/1.4.2

A slot holds a release whole, with manifest and signatures, so what is installed can be verified at any time by anybody.
System calls relied on: symlink(2) of a new name beside the link, rename(2) over it, fsync(2) of the folder.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from sealwright.artifact.folders import sync_folder
from sealwright.device.agentstate import SLOTS
from sealwright.errors import OutputRefused

FOLDER = "slots"
WORK = "work"
FOR_ALL = 0o755


def slot_folder(state: str, slot: str) -> str:
    """Where a slot lies."""
    return os.path.join(state, FOLDER, slot)


def make_slots(state: str) -> None:
    """The folder of the slots, which everybody may read."""
    folder = os.path.join(state, FOLDER)
    if not os.path.isdir(folder):
        os.mkdir(folder)
        os.chmod(folder, FOR_ALL)  # whatever the caller's umask is
        sync_folder(state)


def fill(state: str, slot: str) -> str:
    """What was copied and verified becomes the content of a slot; the path of the slot. OutputRefused where it cannot be."""
    if slot not in SLOTS:
        raise ValueError(slot)
    folder = slot_folder(state, slot)
    try:
        if os.path.lexists(folder):
            shutil.rmtree(folder)
        os.rename(os.path.join(state, WORK), folder)
        sync_folder(os.path.dirname(folder))
        sync_folder(state)
    except OSError as cause:
        raise OutputRefused(
            folder, cause.strerror or "it cannot be written", "Look at the state folder of the agent."
        ) from cause
    return folder


def turn(link: str, target: str) -> None:
    """Let the link lead to a release, durably. OutputRefused where something else than a link is in its place, or it cannot be written."""
    if os.path.lexists(link) and not os.path.islink(link):
        raise OutputRefused(link, "it is no link", "Move it away: the agent leads to releases by a link of this name.")
    beside = f"{link}.new"
    try:
        if os.path.islink(link) and os.readlink(link) == target:
            sync_folder(os.path.dirname(link))
            return
        with suppress(FileNotFoundError):
            os.unlink(beside)
        os.symlink(target, beside)
        os.rename(beside, link)
        sync_folder(os.path.dirname(link))
    except OSError as cause:
        raise OutputRefused(
            link, cause.strerror or "it cannot be written", "Check the folder of `current` in agent.toml."
        ) from cause


def take_away(link: str) -> None:
    """No release is in use, durably."""
    try:
        if os.path.islink(link):
            os.unlink(link)
        sync_folder(os.path.dirname(link))
    except OSError as cause:
        raise OutputRefused(
            link, cause.strerror or "it cannot be written", "Check the folder of `current` in agent.toml."
        ) from cause
