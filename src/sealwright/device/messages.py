"""What the fetch process says to the agent, one packet each: RFC 8785 JSON, at most 64 KiB, read strictly.

The fetch process is not believed: what it says can only lead to an offer that is then verified, to a refusal, or to nothing.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest
from sealwright.device.origin import PLANT, Pinned
from sealwright.errors import OutputRefused, RepositoryRefused, RepositoryStale, RepositoryUnavailable, SealwrightError
from sealwright.log.canonical import MAX_LINE_BYTES, Field, canonical_json, read_canonical
from sealwright.release.channels import Named, Withdrawn
from sealwright.release.layout import checked_part

if TYPE_CHECKING:
    from sealwright.device.agentconfig import AgentConfig

MAX_TEXT = 500
FETCH = b"fetch"
_ERRORS: tuple[type[SealwrightError], ...] = (RepositoryStale, RepositoryRefused, RepositoryUnavailable, OutputRefused)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a repository says of the product. offered: to this device, None for nothing; expires: of the metadata that ends first, Unix time."""

    source: str
    offered: Named | None
    withdrawn: tuple[Withdrawn, ...]
    serial: int


@dataclass(frozen=True, slots=True)
class Staged:
    """Everything of the offered release lies ready. size_bytes: what was fetched for it."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It went no further. code, subject, what, next_step: those of the error."""

    code: str
    subject: str
    what: str
    next_step: str

    def error(self) -> SealwrightError:
        """The same as an error; one of a code that no fetch process has is a refusal."""
        kind = next((one for one in _ERRORS if one.code == self.code), RepositoryRefused)
        return kind(self.subject, self.what, self.next_step)


class Reach(Enum):
    """How far a fetch process goes: it LOOKs what is offered, or may FETCH it too."""

    LOOK = auto()
    FETCH = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the fetch process is told, by its fork. root: the digest of the initial root of the maker's repository; now: the judgement
    time; have: digests of installed files; permitted: releases that permits are for, wanted before all others; reach: how far it may
    be asked to go; plant_root: of the plant's repository, where agent.toml names one."""

    config: AgentConfig
    root: Digest
    now: datetime
    have: frozenset[bytes]
    permitted: frozenset[Digest] = frozenset()
    reach: Reach = Reach.FETCH
    plant_root: Digest | None = None

    @property
    def maker(self) -> Pinned:
        """The maker's repository."""
        return Pinned(self.config.maker, self.root, "")

    @property
    def plant(self) -> Pinned | None:
        """The plant's own beside it."""
        if self.config.plant is None or self.plant_root is None:
            return None
        return Pinned(self.config.plant, self.plant_root, PLANT)


Message = Seen | Staged | Failed


def send(channel: socket.socket, message: Message) -> None:
    """One packet."""
    channel.sendall(message_bytes(message))


def receive(channel: socket.socket) -> Message:
    """The next packet; RepositoryUnavailable where the process ended without one or says nothing for the channel's time,
    RepositoryRefused for what is no message."""
    try:
        data = channel.recv(MAX_LINE_BYTES + 1)
    except TimeoutError as cause:
        raise RepositoryUnavailable(
            "the fetch process",
            f"it was not done within {channel.gettimeout():,.0f} s",
            "The next round goes on where it was; raise fetch_s in agent.toml for a slow network.",
        ) from cause
    if not data:
        raise RepositoryUnavailable(
            "the fetch process", "it ended early", "Try again; if it happens again look at the system's log."
        )
    return parse_message(data)


def message_bytes(message: Message) -> bytes:
    """The one encoding of a message."""
    if isinstance(message, Seen):
        fields: dict[str, Field] = {
            "kind": "seen",
            "source": message.source[:MAX_TEXT],
            "offered": _named_texts(message.offered),
            "withdrawn": tuple(" ".join((*_named_texts(one.release), one.advisory)) for one in message.withdrawn),
            "serial": message.serial,
        }
    elif isinstance(message, Staged):
        fields = {"kind": "staged", "size": message.size_bytes}
    else:
        texts = (message.code, message.subject, message.what, message.next_step)
        fields = {"kind": "failed", "texts": tuple(text[:MAX_TEXT] for text in texts)}
    return canonical_json(fields)


def parse_message(data: bytes) -> Message:
    """Read a packet; RepositoryRefused for anything but a message."""
    try:
        fields = read_canonical(data)
        kind = fields.pop("kind")
        if kind == "seen" and set(fields) == {"source", "offered", "withdrawn", "serial"}:
            return _seen(fields)
        if kind == "staged" and set(fields) == {"size"} and isinstance(fields["size"], int):
            return Staged(fields["size"])
        if kind == "failed" and set(fields) == {"texts"}:
            code, subject, what, next_step = _texts(fields["texts"], 4)
            return Failed(code, subject, what, next_step)
        raise ValueError("of no known kind")
    except (ValueError, KeyError, SealwrightError) as cause:
        raise RepositoryRefused(
            "the fetch process", f"what it says cannot be read: {cause}"[:300], "Start the agent again."
        ) from cause


def _named_texts(release: Named | None) -> tuple[str, ...]:
    return () if release is None else (release.version, str(release.generation), str(release.manifest))


def _seen(fields: dict[str, Field]) -> Seen:
    source, serial = fields["source"], fields["serial"]
    if not isinstance(source, str) or len(source) > MAX_TEXT or not isinstance(serial, int) or serial < 1:
        raise ValueError("a field of another type")
    offered = _texts(fields["offered"], 3)
    withdrawn = []
    for text in _texts(fields["withdrawn"], 400):
        version, generation, manifest, advisory = text.split(" ")
        withdrawn.append(Withdrawn(_named((version, generation, manifest)), advisory))
    return Seen(source, _named(offered) if offered else None, tuple(withdrawn), serial)


def _named(texts: tuple[str, ...]) -> Named:
    version, generation, manifest = texts
    if not generation.isascii() or not generation.isdecimal() or len(generation) > 16:
        raise ValueError("no generation")
    return Named(checked_part(version, "version"), int(generation), Digest.parse(manifest))


def _texts(value: Field, most: int) -> tuple[str, ...]:
    if not isinstance(value, tuple) or len(value) > most or any(len(one) > MAX_TEXT for one in value):
        raise ValueError("a list of another length")
    return value
