"""Reports that came back as files, counted like those that a fleet's service took in: same register, same judgement, same questions.

    counted = count_reports(reports_in("/srv/transfer/couriers"), "devices.txt", {"VX-200 drive": channels}, now)
    counted.roll_outs["VX-200 drive"], counted.not_counted

The database is a temporary one: nothing is remembered between two calls, so an older report counts where no newer one lies beside it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sealwright.device.reporting import SUFFIX, SignedReport, Waiting, read_signed, waiting_at
from sealwright.errors import SealwrightError, Unreadable
from sealwright.release.channels import Channels
from sealwright.service.fleetintake import AT_ONCE, Intake
from sealwright.service.fleetoffers import KnownOffers, Offered
from sealwright.service.fleetregister import import_devices, read_devices
from sealwright.service.fleetrollout import roll_out
from sealwright.service.fleetrows import batched
from sealwright.service.fleetwire import RollOut
from sealwright.store.engine import open_store


@dataclass(frozen=True, slots=True)
class NotCounted:
    """A report that says nothing: not signed, not by the key of the register, or one of two with the same number."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Counted:
    """roll_outs: by product; not_counted: what could not be verified, or is not the register's."""

    roll_outs: Mapping[str, RollOut]
    not_counted: tuple[NotCounted, ...]


def reports_in(folder: str) -> list[str]:
    """Every file of a report in a folder, and in the `reports` of each courier that was unpacked there; Unreadable."""
    try:
        names = sorted(os.listdir(folder))
        inside = [os.path.join(folder, name, name, "reports") for name in names]
        found = [os.path.join(folder, name) for name in names if name.endswith(SUFFIX)]
        for one in inside:
            if os.path.isdir(one):
                found += [os.path.join(one, name) for name in sorted(os.listdir(one)) if name.endswith(SUFFIX)]
    except OSError as cause:
        raise Unreadable(
            folder, f"it cannot be listed ({cause.strerror})", "Name a folder of reports, or of unpacked couriers."
        ) from cause
    return found


def count_reports(paths: Sequence[str], register: str, channels: Mapping[str, Channels], now: datetime) -> Counted:
    """Count the newest report of each device of a register (`# sealwright devices 1`). channels: by product, each counted.

    Raises what the register raises: MalformedConfiguration, Unreadable, LimitExceeded.
    """
    offered = Offered(channels)
    not_counted: list[NotCounted] = []
    signed = _read(paths, not_counted)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/reports.db")
        try:
            import_devices(store, read_devices(register), now)
            intake = Intake(store, KnownOffers(offered), lambda: now)
            for batch in batched(signed, AT_ONCE):
                told = intake.store([report for _, report in batch])
                not_counted += [
                    NotCounted(one.path, answer.why) for (one, _), answer in zip(batch, told, strict=True) if answer.why
                ]
            roll_outs = {product: roll_out(store, offered, product) for product in channels}
        finally:
            store.close()
    return Counted(roll_outs, tuple(not_counted))


def _read(paths: Sequence[str], not_counted: list[NotCounted]) -> list[tuple[Waiting, SignedReport]]:
    """Those that are reports by their form, by their numbers."""
    found = []
    for path in paths:
        try:
            one = waiting_at(path)
            found.append((one, read_signed(one)))
        except SealwrightError as cause:
            not_counted.append(NotCounted(path, f"{cause.code}: {cause.what}"))
    return sorted(found, key=lambda pair: (pair[0].number, pair[0].path))
