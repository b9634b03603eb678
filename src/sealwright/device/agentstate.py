"""What an agent keeps of its device: which release is installed, which one is on its way, and how far (A152).

One file, `agent.json`, replaced atomically (written beside it, synced, renamed, the folder synced): RFC 8785 JSON, read strictly. It
names the device, so that one that was copied from another device, or restored there, is refused (A158).

    {"device":"gw-17","failed":[],"floor":6,"installed":["1.4.2","7","sha256:9f86…","b","2026-11-26T12:00:00Z"],…}
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import AgentDamaged, SealwrightError
from sealwright.log.canonical import MAX_INTEGER, Field, canonical_json, read_canonical, read_time, time_text
from sealwright.release.channels import Named, Withdrawn
from sealwright.release.layout import checked_part

KIND = "sealwright agent state 1"
FILE = "agent.json"
MAX_BYTES = 64 << 10
MAX_FAILED = 50
MAX_WITHDRAWN = 100
SLOTS = ("a", "b")
_FIELDS = frozenset(
    (
        "kind",
        "device",
        "product",
        "floor",
        "installed",
        "previous",
        "pending",
        "failed",
        "withdrawn",
        "trouble",
        "checked",
        "judged",
        "counter",
    )
)
_NEXT = "Restore it from this device's own backup; do not delete it."


class Step(StrEnum):
    """How far an installation is. Each is durable before what it names begins.

    PREPARING: components are handed to their installers; a crash takes that back. SWITCHING: everything is in its place, the link is
    turned; a crash goes on from here. PROVING: the new release is started and looked at. PROVED: it works and is being written down.
    RETURNING: the former release is being put back.
    """

    PREPARING = "preparing"
    SWITCHING = "switching"
    PROVING = "proving"
    PROVED = "proved"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class Installed:
    """A release in a slot. at: when it had shown that it works; aware, whole seconds."""

    release: Named
    slot: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """A release on its way. begun: installers that were started, in the order of the release's components; tries: starts of it;
    boot: the boot in which it was put in its place, "" where it waits for none; enforces: the floor once it works."""

    release: Named
    slot: str
    step: Step
    begun: int
    tries: int
    boot: str
    enforces: int


@dataclass(frozen=True, slots=True)
class AgentState:
    """floor: the generation below which nothing is installed or returned to; failed: manifests that did not work here;
    trouble: what somebody has to look at, "" where there is nothing; checked: time and outcome of the last round;
    judged: the ground of the last verdict on what is installed; counter: the value of the TPM's counter when the floor was 0, None without one."""

    device: str
    product: str
    floor: int = 0
    installed: Installed | None = None
    previous: Installed | None = None
    pending: Pending | None = None
    failed: tuple[Digest, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()
    trouble: str = ""
    checked: str = ""
    judged: str = ""
    counter: int | None = None

    def advisory(self, manifest: Digest) -> str:
        """The id of the notice by which a release was withdrawn; "" where it was not."""
        return next((one.advisory for one in self.withdrawn if one.release.manifest == manifest), "")

    def free_slot(self) -> str:
        """The slot that a new release goes into."""
        return SLOTS[1] if self.installed is not None and self.installed.slot == SLOTS[0] else SLOTS[0]

    def knowing(self, withdrawn: tuple[Withdrawn, ...]) -> AgentState:
        """The state that also knows what was withdrawn; it never forgets one, except the oldest beyond 100."""
        kept = {one.release.manifest: one for one in (*self.withdrawn, *withdrawn)}
        newest = sorted(kept.values(), key=lambda one: one.release.generation)[-MAX_WITHDRAWN:]
        return replace(self, withdrawn=tuple(sorted(newest, key=lambda one: str(one.release.manifest))))

    def having_failed(self, manifest: Digest) -> AgentState:
        """The state that does not try a release again by itself."""
        kept = tuple(one for one in self.failed if one != manifest)
        return replace(self, failed=(*kept, manifest)[-MAX_FAILED:])


class Kept:
    """The agent's file. Owned by whoever holds the agent's lock; `state` is what is durable."""

    def __init__(self, folder: str, device: str, product: str) -> None:
        """AgentDamaged for a file that is no such state, or another device's."""
        self.path = os.path.join(folder, FILE)
        data = read_file_or_none(self.path, MAX_BYTES)
        self.state = AgentState(device, product) if data is None else parse_state(data, self.path)
        if (self.state.device, self.state.product) != (device, product):
            raise AgentDamaged(
                self.path,
                f"it is that of {display(self.state.device)} with {display(self.state.product)}, this is {device} with {product}",
                "Take the file of another device away; what is installed here is then unknown to the agent.",
            )

    def change(self, changed: Callable[[AgentState], AgentState]) -> AgentState:
        """Make a change durable; OutputRefused where it cannot be, and then nothing has changed."""
        after = changed(self.state)
        if after != self.state:
            write_atomic(self.path, state_bytes(after), replace=Replace.YES, mode=0o600)
            self.state = after
        return after


def state_bytes(state: AgentState) -> bytes:
    """The one encoding."""
    return canonical_json(
        {
            "kind": KIND,
            "device": state.device,
            "product": state.product,
            "floor": state.floor,
            "installed": _installed_texts(state.installed),
            "previous": _installed_texts(state.previous),
            "pending": _pending_texts(state.pending),
            "failed": tuple(map(str, state.failed)),
            "withdrawn": tuple(f"{_named_text(one.release)} {one.advisory}" for one in state.withdrawn),
            "trouble": state.trouble,
            "checked": state.checked,
            "judged": state.judged,
            "counter": "" if state.counter is None else str(state.counter),
        }
    )


def parse_state(data: bytes, path: str) -> AgentState:
    """Read a state; AgentDamaged for anything but what `state_bytes` writes."""
    try:
        fields = read_canonical(data)
        if set(fields) != _FIELDS or fields["kind"] != KIND:
            raise ValueError(f"it is no `{KIND}`")
        return AgentState(
            device=_text(fields["device"]),
            product=_text(fields["product"]),
            floor=_number(fields["floor"]),
            installed=_installed(_texts(fields["installed"])),
            previous=_installed(_texts(fields["previous"])),
            pending=_pending(_texts(fields["pending"])),
            failed=tuple(Digest.parse(one) for one in _texts(fields["failed"])),
            withdrawn=tuple(_withdrawn(one) for one in _texts(fields["withdrawn"])),
            trouble=_text(fields["trouble"]),
            checked=_text(fields["checked"]),
            judged=_text(fields["judged"]),
            counter=int(text) if (text := _text(fields["counter"])) else None,
        )
    except (ValueError, SealwrightError) as cause:
        raise AgentDamaged(path, f"it cannot be read: {cause}"[:300], _NEXT) from cause


def _named_text(release: Named) -> str:
    return f"{release.version} {release.generation} {release.manifest}"


def _named(text: str) -> Named:
    version, generation, manifest = text.split(" ")
    return Named(checked_part(version, "version"), _whole(generation), Digest.parse(manifest))


def _withdrawn(text: str) -> Withdrawn:
    named, _, advisory = text.rpartition(" ")
    return Withdrawn(_named(named), advisory)


def _installed_texts(installed: Installed | None) -> tuple[str, ...]:
    return () if installed is None else (_named_text(installed.release), installed.slot, time_text(installed.at))


def _installed(texts: tuple[str, ...]) -> Installed | None:
    if not texts:
        return None
    named, slot, at = texts
    return Installed(_named(named), _slot(slot), read_time(at))


def _pending_texts(pending: Pending | None) -> tuple[str, ...]:
    if pending is None:
        return ()
    numbers = (str(pending.begun), str(pending.tries), str(pending.enforces))
    return (_named_text(pending.release), pending.slot, pending.step.value, *numbers, pending.boot)


def _pending(texts: tuple[str, ...]) -> Pending | None:
    if not texts:
        return None
    named, slot, step, begun, tries, enforces, boot = texts
    release = _named(named)
    return Pending(release, _slot(slot), Step(step), _whole(begun), _whole(tries), boot, _whole(enforces))


def _slot(text: str) -> str:
    if text not in SLOTS:
        raise ValueError(f"{display(text[:20])} is no slot")
    return text


def _whole(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > MAX_INTEGER:
        raise ValueError(f"{display(text[:20])} is no whole number")
    return int(text)


def _text(value: Field) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is missing")
    return value


def _number(value: Field) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a number is missing")
    return value


def _texts(value: Field) -> tuple[str, ...]:
    if not isinstance(value, tuple):
        raise ValueError("a list is missing")
    return value
