"""Reports on their way: made, numbered and signed on the device, and kept in a folder until the fleet's service has taken them.

    write_report(report, "/var/lib/sealwright/agent/reports", home, now)      # what an agent calls after each round
    send("/var/lib/sealwright/agent/reports", Address("https://fleet.acme.example:8445", "ca.pem"))      # `reportsender.py`
    copy_reports("/var/lib/sealwright/agent/reports", "/media/stick/reports")          # or by a courier

1. The number is on the disk before the signature is made: a crash leaves a gap, never two reports of one number.
2. A report is `DEVICE-NUMBER.report`, its signature `DEVICE-NUMBER.report.p7s`; report first, signature last. What has no signature is not
   sent.
3. At most `MAX_WAITING` wait; the oldest give way. Each says all that a device runs, so the newest one says what counts.
4. The folder is of this account alone; one caller at a time writes into it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from sealwright.artifact.output import DEFAULT_MODE, Output, Replace, write_atomic, write_batch
from sealwright.artifact.report import MAX_BYTES, Report, is_device, parse_report, report_bytes
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.artifact.sums import MAX_NUMBER
from sealwright.envelope.kinds import REPORT
from sealwright.errors import OutputRefused, Unreadable, UsageError
from sealwright.keys.pin import Pin
from sealwright.signing.home import Home, KeyPurpose
from sealwright.signing.init import signed_text

SUFFIX = ".report"
SIGNATURE = ".p7s"
MAX_WAITING = 200
MAX_SIGNATURE_BYTES = 64 << 10
_NUMBER = "number"
_NAME = re.compile(r"(?P<device>.{1,64})-(?P<number>[1-9][0-9]{0,18})\.report")
_NEXT = "Give the agent's account a folder of its own."


@dataclass(frozen=True, slots=True)
class Waiting:
    """A signed report in a folder. path: of the report; its signature lies beside it."""

    path: str
    number: int

    @property
    def signature(self) -> str:
        """The path of its signature."""
        return self.path + SIGNATURE


@dataclass(frozen=True, slots=True)
class SignedReport:
    """The octets of a report and of its detached CMS, DER."""

    report: bytes
    signature: bytes


def write_report(report: Report, spool: str, home: Home, now: datetime, pin: Pin | None = None) -> Waiting:
    """Number, sign and keep a report. Its `number` and `made` are given here, whatever they were.

    home: with a key enrolled for reports; now: the device's clock. Raises UsageError (no such key), KeyRefused, KeyUnavailable,
    JournalError, MalformedArtifact for values that no reader takes, OutputRefused, Unreadable.
    """
    key = home.key(None, KeyPurpose.REPORT, REPORT)
    number = _last_number(spool) + 1
    text = report_bytes(replace(report, number=number, made=now.replace(microsecond=0)))
    raise_number(spool, number)
    name = f"{report.device}-{number}{SUFFIX}"
    signature = signed_text(text, REPORT.name, name, home, key, now, pin)
    path = os.path.join(spool, name)
    write_batch([Output(path, text, DEFAULT_MODE), Output(path + SIGNATURE, signature, DEFAULT_MODE)])
    for old in waiting(spool)[:-MAX_WAITING]:
        remove(old)
    return Waiting(path, number)


def waiting(folder: str) -> list[Waiting]:
    """The signed reports in a folder, oldest first; Unreadable where the folder is."""
    try:
        names = set(os.listdir(folder))
    except OSError as cause:
        raise Unreadable(folder, f"it cannot be listed ({cause.strerror})", _NEXT) from cause
    found = []
    for name in names:
        matched = _NAME.fullmatch(name)
        if matched is not None and is_device(matched["device"]) and name + SIGNATURE in names:
            found.append(Waiting(os.path.join(folder, name), int(matched["number"])))
    return sorted(found, key=lambda one: (one.number, one.path))


def read_signed(one: Waiting) -> SignedReport:
    """A report and its signature, bounded; the report is one by its form. Raises Unreadable, LimitExceeded, MalformedArtifact."""
    text = read_file(one.path, MAX_BYTES)
    parse_report(text, one.path)
    return SignedReport(text, read_file(one.signature, MAX_SIGNATURE_BYTES))


def waiting_at(path: str) -> Waiting:
    """A report by the path of its file, whatever that is called; UsageError where no signature lies beside it."""
    if not os.path.isfile(path + SIGNATURE):
        raise UsageError(
            path, "no signature lies beside it", f"A report comes with {os.path.basename(path)}{SIGNATURE}."
        )
    return Waiting(path, parse_report(read_file(path, MAX_BYTES), path).number)


def copy_reports(spool: str, folder: str) -> list[Waiting]:
    """Write what waits into another folder, for a courier; it goes on waiting until the service has it. Raises OutputRefused."""
    copied = []
    for one in waiting(spool):
        signed, path = read_signed(one), os.path.join(folder, os.path.basename(one.path))
        pair = [Output(path, signed.report, DEFAULT_MODE), Output(path + SIGNATURE, signed.signature, DEFAULT_MODE)]
        write_batch(pair, replace=Replace.YES)
        copied.append(Waiting(path, one.number))
    return copied


def remove(one: Waiting) -> None:
    """Take a report away; one that is gone already is fine."""
    try:
        for path in (one.signature, one.path):
            with suppress(FileNotFoundError):
                os.unlink(path)
    except OSError as cause:
        raise OutputRefused(one.path, f"it cannot be taken away ({cause.strerror})", _NEXT) from cause


def raise_number(spool: str, number: int) -> None:
    """Let the next report have a higher number than this one: it is one made here, or one that the service saw of this device before
    the folder was lost."""
    if number > _last_number(spool):
        write_atomic(os.path.join(spool, _NUMBER), b"%d\n" % number, replace=Replace.YES)


def _last_number(spool: str) -> int:
    """Of the file, or of the newest report where that is gone; 0 for a new folder."""
    try:
        os.makedirs(spool, mode=0o700, exist_ok=True)
    except OSError as cause:
        raise OutputRefused(spool, f"it cannot be made ({cause.strerror})", _NEXT) from cause
    text = read_file_or_none(os.path.join(spool, _NUMBER), 32) or b""
    digits = text.removesuffix(b"\n")
    kept = int(digits) if digits.isdigit() and int(digits) < MAX_NUMBER else 0
    return max([kept, *(one.number for one in waiting(spool))])
