"""`agent.toml`: what a device is, where its releases come from, and how they are installed. Root's file; nothing in it comes from a network.

    # sealwright agent 1
    device = "gw-17"
    serial = "4711"
    hardware = "VX-200 rev C"
    product = "VX-200 drive"                       # as the manifests of its releases claim it
    path = "drives/vx-200"                         # LINE/NAME in the repository
    group = "line-1"
    channel = "production"
    line = "line-3"                                # the plant's line, for acceptances that name one; may be left out
    repositories = ["https://updates.acme.example", "/media/updates"]      # the first that answers
    trust = "/etc/sealwright/trust.toml"
    state = "/var/lib/sealwright/agent"            # everything that the agent keeps; only root may write there
    user = "sealwright-fetch"                      # as whom it talks to networks
    consent = "ask"                                # or "auto"

    [plant]                                        # the plant's own repository beside it, where it has one (origin.py)
    repository = "nordhof"
    repositories = ["https://acceptances.plant.example"]

    [[present]]                                    # what is installed by other ways, for releases that need it
    product = "VX-200 bootloader"
    generation = 4

    [[installer]]
    component = "application"
    kind = "folder"                                # part of the folder that `current` leads to

    [[installer]]
    component = "bootloader"
    kind = "exec"
    install = ["/usr/bin/rauc", "install", "{file}"]
    undo = ["/usr/bin/rauc", "status", "mark-active", "booted"]
    timeout = "15m"

    [health]
    command = ["/usr/local/sbin/drive-works"]

Every key is in docs/agent.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import cast

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.device.origin import Origin, absolute_path, maker_origin, plant_origin
from sealwright.device.programs import Command, read_command
from sealwright.device.window import Window, read_window
from sealwright.errors import MalformedConfiguration, UsageError
from sealwright.trust.place import unsafe_because

FIRST_LINE = "# sealwright agent 1"
MAX_BYTES = 256 << 10
_COMPLAINT = Complaint(
    MalformedConfiguration, MAX_BYTES, "Correct agent.toml; `sealwright agent check --configuration` reads it."
)
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
MAX_WINDOWS = 50


class Consent(StrEnum):
    """AUTO: a release that is allowed is installed in the next window; ASK: only after somebody at the device said so."""

    AUTO = "auto"
    ASK = "ask"


class After(StrEnum):
    """What brings a new release to life: nothing, a SERVICE that is restarted, or a REBOOT, after which its health is looked at."""

    SERVICE = "service"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class Installer:
    """What takes a component. command: None for a `folder`, which needs no program; undo: what takes its work back, where there is such."""

    component: str
    command: Command | None
    undo: Command | None


@dataclass(frozen=True, slots=True)
class Restart:
    """What starts the new release, and whether health is looked at right after it or after the next boot."""

    command: Command
    after: After


@dataclass(frozen=True, slots=True)
class Health:
    """What says that a release works. tries: how often it is asked; pause_s: between two tries."""

    command: Command
    tries: int
    pause_s: int


@dataclass(frozen=True, slots=True)
class Limits:
    """release_bytes: of all files of a release; rate_bytes: a second, 0 for as fast as it goes; timeout_s: of an answer that does not come;
    fetch_s: how long one round may fetch, and the next one goes on."""

    release_bytes: int
    rate_bytes: int
    timeout_s: int
    fetch_s: int


@dataclass(frozen=True, slots=True)
class Present:
    """A product that is installed by other ways, in at least this generation."""

    product: str
    generation: int


@dataclass(frozen=True, slots=True)
class CounterConfig:
    """The TPM's counter that holds the floor. tcti: how the TPM is reached; index: of the counter."""

    tcti: str
    index: int


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """How a device reports. home: its signing home; spool: where reports wait; couriers: of `courier unpack`, "" for none."""

    home: str
    spool: str
    couriers: str


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A device's own description. path: where the file lies; maker, plant: the repositories that it follows; current: the link that leads
    to the installed release."""

    path: str
    device: str
    serial: str
    hardware: str
    product: str
    group: str
    channel: str
    line: str
    maker: Origin
    plant: Origin | None
    trust: str
    state: str
    current: str
    user: str
    consent: Consent
    interval: timedelta
    windows: tuple[Window, ...]
    present: tuple[Present, ...]
    installers: tuple[Installer, ...]
    restart: Restart | None
    health: Health | None
    limits: Limits
    counter: CounterConfig | None
    report: ReportConfig | None

    def installer(self, component: str) -> Installer | None:
        """What takes a component of this name."""
        return next((one for one in self.installers if one.component == component), None)


def load_config(path: str) -> AgentConfig:
    """Read agent.toml; MalformedConfiguration for what cannot be used, UsageError where others than root or the caller could write it."""
    config = parse_config(read_file(path, MAX_BYTES), path)
    if problem := unsafe_because(path):
        raise UsageError(
            path, f"it says what runs as root, and {problem}", "Give it to root and take write access from others."
        )
    return config


def parse_config(data: bytes, path: str) -> AgentConfig:
    """Read the text; MalformedConfiguration naming section, key and what is wanted."""
    top = read_toml(data, path, FIRST_LINE, _COMPLAINT)
    state, maker = absolute_path(top, "state"), maker_origin(top)
    config = AgentConfig(
        path=path,
        device=_matching(top, "device", _DEVICE, "1 to 64 letters, digits and `.`, `_`, `-`"),
        serial=top.text("serial", "-"),
        hardware=top.text("hardware"),
        product=top.name("product"),
        group=_matching(top, "group", _WORD, "a group as channels name it, such as line-1"),
        channel=_matching(top, "channel", _WORD, "a channel, such as production"),
        line=top.text("line") if top.has("line") else "",
        maker=maker,
        plant=plant_origin(top.table("plant"), maker) if top.has("plant") else None,
        trust=absolute_path(top, "trust"),
        state=state,
        current=absolute_path(top, "current") if top.has("current") else os.path.join(state, "current"),
        user=top.text("user") if top.has("user") else "",
        consent=Consent(top.word("consent", tuple(Consent))),
        interval=top.duration("interval") or timedelta(hours=1),
        windows=_windows(top),
        present=cast(
            "tuple[Present, ...]",
            top.each("present", lambda one: Present(one.name("product"), one.number("generation", 0))),
        ),
        installers=cast("tuple[Installer, ...]", top.each("installer", _installer)),
        restart=_restart(top.table("restart")) if top.has("restart") else None,
        health=_health(top.table("health")) if top.has("health") else None,
        limits=_limits(top.table("limits") if top.has("limits") else Section({}, "[limits]", path, _COMPLAINT)),
        counter=_counter(top.table("counter")) if top.has("counter") else None,
        report=_report(top.table("report")) if top.has("report") else None,
    )
    top.done()
    _check(config, top)
    return config


def _check(config: AgentConfig, top: Section) -> None:
    names = [one.component for one in config.installers]
    if not names or len(set(names)) != len(names):
        raise top.wrong("installer", "there at least once, and once for each component")
    products = [one.product for one in config.present]
    if len(set(products)) != len(products) or config.product in products:
        raise top.wrong("present", "one for each other product")
    if hasattr(os, "geteuid") and os.geteuid() == 0 and config.user in ("", "root"):
        raise top.wrong("user", "an account without rights: what talks to networks does not do it as root")


def _windows(top: Section) -> tuple[Window, ...]:
    found = cast("tuple[Window, ...]", top.each("window", read_window))
    if len(found) > MAX_WINDOWS:
        raise top.wrong("window", f"there at most {MAX_WINDOWS} times")
    return found


def _installer(section: Section) -> Installer:
    component = _matching(section, "component", _COMPONENT, "a component's name as release.toml has it")
    if section.word("kind", ("folder", "exec")) == "folder":
        return Installer(component, None, None)
    timeout = section.duration("timeout") or timedelta(minutes=30)
    digest = section.digest("digest") if section.has("digest") else None
    undo = read_command(section, "undo", timeout, None) if section.has("undo") else None
    return Installer(component, _of_file(section, timeout, digest), undo)


def _of_file(section: Section, timeout: timedelta, digest: Digest | None) -> Command:
    command = read_command(section, "install", timeout, digest)
    if not command.takes_part:
        raise section.wrong("install", "with `{file}` or `{folder}` as one of its words")
    return command


def _restart(section: Section) -> Restart:
    timeout = section.duration("timeout") or timedelta(minutes=2)
    restart = Restart(_without_part(section, timeout), After(section.word("after", tuple(After), After.SERVICE)))
    section.done()
    return restart


def _health(section: Section) -> Health:
    timeout = section.duration("timeout") or timedelta(minutes=1)
    health = Health(
        _without_part(section, timeout),
        min(section.number("tries", 1, 5), 1000),
        min(section.number("pause_s", 0, 5), 3600),
    )
    section.done()
    return health


def _without_part(section: Section, timeout: timedelta) -> Command:
    command = read_command(section, "command", timeout, None)
    if command.takes_part:
        raise section.wrong("command", "without `{file}` and `{folder}`")
    return command


def _limits(section: Section) -> Limits:
    limits = Limits(
        release_bytes=section.number("release_bytes", 1, 16 << 30),
        rate_bytes=section.number("rate_bytes", 0, 0),
        timeout_s=min(section.number("timeout_s", 1, 30), 600),
        fetch_s=min(section.number("fetch_s", 1, 6 * 3600), 7 * 86400),
    )
    section.done()
    return limits


def _report(section: Section) -> ReportConfig:
    couriers = absolute_path(section, "couriers") if section.has("couriers") else ""
    report = ReportConfig(absolute_path(section, "home"), absolute_path(section, "spool"), couriers)
    section.done()
    return report


def _counter(section: Section) -> CounterConfig:
    counter = CounterConfig(section.text("tcti", "device:/dev/tpmrm0"), section.number("index", 0x01000000))
    if counter.index > 0x01FFFFFF:
        raise section.wrong("index", "an NV index from 0x01000000 to 0x01ffffff")
    section.done()
    return counter


def _matching(section: Section, key: str, form: re.Pattern[str], wanted: str) -> str:
    value = section.text(key)
    if not form.fullmatch(value):
        raise section.wrong(key, wanted)
    return value
