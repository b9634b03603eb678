"""What the fleet's service says and hears: JSON bodies. Octets are base64, times RFC 3339 in UTC, digests `sha256:` and hexadecimal."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from sealwright.artifact.report import MAX_BYTES
from sealwright.device.reporting import MAX_SIGNATURE_BYTES
from sealwright.device.reportsender import AT_ONCE


class GivenReport(Struct, forbid_unknown_fields=True):
    """One report and its detached CMS, DER."""

    report: Annotated[bytes, Meta(min_length=1, max_length=MAX_BYTES)]
    signature: Annotated[bytes, Meta(min_length=1, max_length=MAX_SIGNATURE_BYTES)]


class GivenReports(Struct, forbid_unknown_fields=True):
    """Reports of any devices."""

    reports: Annotated[list[GivenReport], Meta(min_length=1, max_length=AT_ONCE)]


class WireAnswer(Struct, omit_defaults=True):
    """What became of one: `taken`, `known`, `old` (number: of the newest that is there), `refused`."""

    answer: str
    number: int = 0


class WireAnswers(Struct):
    """In the order of the reports."""

    answers: list[WireAnswer]


class Runs(Struct):
    """How many devices of a group run a release of a product, on which channel."""

    product: str
    version: str
    generation: int
    manifest: str
    group: str
    channel: str
    devices: int


class Behind(Struct):
    """How many devices of a group run an older release than the one that they are offered. wanted: its generation."""

    product: str
    group: str
    generation: int
    wanted: int
    devices: int


class WithdrawnRuns(Struct):
    """How many devices still run a release that was withdrawn."""

    product: str
    version: str
    generation: int
    manifest: str
    advisory: str
    devices: int


class Trouble(Struct):
    """On how many devices a release was `refused`, or `returned` from, and the code that says why."""

    outcome: str
    code: str
    product: str
    version: str
    generation: int
    devices: int


class UsedOnes(Struct):
    """How many devices say that they used a permit, or took a courier over. kind: `permit` or `courier`."""

    kind: str
    digest: str
    devices: int


class Status(Struct):
    """The fleet in numbers. devices: not retired; never: of them, those that have not reported; answers: to reports, since the start."""

    devices: int
    retired: int
    never: int
    silent: int
    silent_hours: int
    runs: list[Runs]
    behind: list[Behind]
    withdrawn: list[WithdrawnRuns]
    troubles: list[Trouble]
    used: list[UsedOnes]
    answers: dict[str, int]


class GroupStands(Struct):
    """How a group of devices on a channel stands to one offered release. devices: of the group, with the product in their newest report;
    runs: that run it; waits: to which it is offered and that do not run it yet."""

    group: str
    devices: int
    runs: int
    waits: int


class GroupTrouble(Struct):
    """How many devices of a group `refused` a release, or `returned` from it, and the code that says why."""

    group: str
    outcome: str
    code: str
    devices: int


class OfferStands(Struct):
    """An offered release on the devices of its channel. groups, troubles: by their name."""

    channel: str
    version: str
    generation: int
    manifest: str
    groups: list[GroupStands]
    troubles: list[GroupTrouble]


class RollOut(Struct):
    """How the offers of a product stand on the devices, by the newest report of each. serial: of the channels that were counted by, 0 for
    none; devices, never: of the whole register, and of them without a report; couriers: taken over, by the digest of the manifest."""

    product: str
    serial: int
    devices: int
    never: int
    offers: list[OfferStands]
    withdrawn: list[WithdrawnRuns]
    couriers: list[UsedOnes]


class DeviceLine(Struct, omit_defaults=True):
    """A device in a list. received: of its newest report, "" before the first; product and what follows: of the release that is asked about."""

    device: str
    group: str
    plant: str
    received: str
    product: str = ""
    version: str = ""
    generation: int = 0
    wanted: int = 0


class DevicePage(Struct):
    """Devices by their id. total: how many there are on all pages; next: what to give as `after` for the next page, null at the end."""

    total: int
    devices: list[DeviceLine]
    next: str | None = None


class DeviceReport(Struct):
    """A device with its newest report as it came, for whoever verifies it again; both empty before the first."""

    device: str
    key: str
    group: str
    plant: str
    retired: bool
    number: int
    received: str
    report: bytes
    signature: bytes
