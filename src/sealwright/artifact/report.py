"""The report: what a device says of itself, signed by the device's own key as detached CMS of the kind `report`.

    # sealwright report 1
    #! device gw-17
    #! number 41                                            grows by one with every report of this device
    #! made 2026-11-26T12:00:00Z                            by the device's own clock, which proves nothing
    #! group line-1
    #! channel production
    #! trust nordhof-line-3 7                               id and version of the trust file it decides by
    #! running 2026-11-20T02:10:00Z 7 sha256:9f86… 1.4.2 VX-200%20drive          since when, generation, manifest, version, product
    #! refused 2026-11-26T02:10:00Z 8 sha256:2cf2… 1.5.0 VX-200%20drive SW-TRUST-STALE
    #! returned 2026-11-25T02:10:00Z 8 sha256:2cf2… 1.5.0 VX-200%20drive SW-INSTALL-FAILED
    #! permit sha256:6b86…                                  a permit that was used
    #! courier sha256:e3b0…                                 a courier that was taken over, by the digest of its manifest
    #! nonce 5feceb66                                       the answer to somebody who asked for a fresh report

There is one canonical form; it holds no name of a person and no free text. A report with a lower number than one seen is old (A153).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.statement import at_most, check_size, field
from sealwright.artifact.sums import MAX_TEXT, Lines, encoded_name, time_text
from sealwright.errors import MalformedArtifact

FIRST_LINE = b"# sealwright report 1"
MAX_BYTES = 64 << 10
MAX_PRODUCTS = 50
MAX_EVENTS = 50
MAX_DIGESTS = 50
MAX_NONCES = 10
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
_WORD = re.compile(rb"[a-z0-9][a-z0-9-]{0,63}")
_CODE = re.compile(rb"SW-[A-Z0-9-]{1,60}")
_NONCE = re.compile(rb"(?:[0-9a-f]{2}){4,32}")
_NEXT = "Have the device report again."


class Outcome(StrEnum):
    """What became of a release that a device does not run: it refused it, or it went back to the one before."""

    REFUSED = "refused"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class OnDevice:
    """One release on a device. at: since when it runs, or when it failed, aware, whole seconds; manifest: its SHA-256."""

    product: str
    version: str
    generation: int
    manifest: Digest
    at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """A release that is not running, and the code of the finding that says why."""

    outcome: Outcome
    release: OnDevice
    code: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a device says. running: by product, each once; events: the newest first; permits, couriers: digests of what was used."""

    device: str
    number: int
    made: datetime
    group: str
    channel: str
    trust: str
    trust_version: int
    running: tuple[OnDevice, ...] = ()
    events: tuple[Event, ...] = ()
    permits: tuple[Digest, ...] = ()
    couriers: tuple[Digest, ...] = ()
    nonces: tuple[str, ...] = ()


def is_device(text: str) -> bool:
    """Whether it can be the id of a device: 1 to 64 letters, digits and `_.@+-`."""
    return _DEVICE.fullmatch(text) is not None


def report_bytes(report: Report) -> bytes:
    """The canonical text, read again before it leaves; MalformedArtifact for what no reader would take."""
    text = _text(report)
    parse_report(text, f"report of {report.device}")
    return text


def parse_report(data: bytes, subject: str) -> Report:
    """Read a report; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 64 KiB."""
    check_size(data, MAX_BYTES, subject)
    lines = Lines(data, subject, _NEXT)
    if lines.line != FIRST_LINE:
        raise lines.wrong(f"it is not `{FIRST_LINE.decode()}`")
    lines.next()
    device = lines.one(b"#! device ", lines.text)
    if not is_device(device):
        raise lines.wrong("the id of a device is 1 to 64 letters, digits and `_.@+-`")
    number = lines.one(b"#! number ", lines.as_number)
    made = lines.one(b"#! made ", lines.time)
    group = lines.one(b"#! group ", lambda text: _word(lines, text))
    channel = lines.one(b"#! channel ", lambda text: _word(lines, text))
    trust, trust_version = lines.one(b"#! trust ", lambda text: _trust(lines, text))
    report = Report(
        device,
        number,
        made,
        group,
        channel,
        trust,
        trust_version,
        running=at_most(lines.group(b"#! running ", lambda text: _release(lines, text)), MAX_PRODUCTS, lines),
        events=_events(lines),
        permits=_digests(lines, b"#! permit "),
        couriers=_digests(lines, b"#! courier "),
        nonces=at_most(lines.group(b"#! nonce ", lambda text: _nonce(lines, text)), MAX_NONCES, lines),
    )
    products = [one.product for one in report.running]
    if products != sorted(set(products)):
        raise lines.wrong("what is running is not sorted by product, or a product is there twice")
    if _text(report) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return report


def _text(report: Report) -> bytes:
    out = [FIRST_LINE, b"\n"]
    out += field("device", encoded_name(report.device.encode()))
    out += field("number", str(report.number).encode())
    out += field("made", time_text(report.made))
    out += field("group", report.group.encode())
    out += field("channel", report.channel.encode())
    out += field("trust", f"{encoded_name(report.trust.encode()).decode()} {report.trust_version}".encode())
    for one in report.running:
        out += field("running", _release_text(one))
    for outcome in Outcome:
        for event in report.events:
            if event.outcome is outcome:
                out += field(outcome.value, _release_text(event.release) + b" " + event.code.encode())
    out += _each("permit", map(str, report.permits))
    out += _each("courier", map(str, report.couriers))
    out += _each("nonce", report.nonces)
    return b"".join(out)


def _each(name: str, values: Iterable[str]) -> list[bytes]:
    return [part for value in values for part in field(name, value.encode())]


def _release_text(one: OnDevice) -> bytes:
    return b" ".join(
        (
            time_text(one.at),
            str(one.generation).encode(),
            str(one.manifest).encode(),
            encoded_name(one.version.encode()),
            encoded_name(one.product.encode()),
        )
    )


def _events(lines: Lines) -> tuple[Event, ...]:
    """The refused ones, then those that were taken back."""
    refused = at_most(lines.group(b"#! refused ", lambda text: _event(lines, text, Outcome.REFUSED)), MAX_EVENTS, lines)
    return refused + at_most(
        lines.group(b"#! returned ", lambda text: _event(lines, text, Outcome.RETURNED)), MAX_EVENTS, lines
    )


def _event(lines: Lines, text: bytes, outcome: Outcome) -> Event:
    release, _, code = text.rpartition(b" ")
    if not _CODE.fullmatch(code):
        raise lines.wrong("it does not end in the code of a finding")
    return Event(outcome, _release(lines, release), code.decode())


def _release(lines: Lines, text: bytes) -> OnDevice:
    parts = text.split(b" ")
    if len(parts) != 5:
        raise lines.wrong("a release wants its time, generation, manifest, version and product")
    return OnDevice(
        at=lines.time(parts[0]),
        generation=lines.as_number(parts[1]),
        manifest=_digest(lines, parts[2]),
        version=lines.text(parts[3], MAX_TEXT),
        product=lines.text(parts[4], MAX_TEXT),
    )


def _digests(lines: Lines, prefix: bytes) -> tuple[Digest, ...]:
    found = at_most(lines.group(prefix, lambda text: _digest(lines, text)), MAX_DIGESTS, lines)
    if list(map(str, found)) != sorted({str(one) for one in found}):
        raise lines.wrong("digests are not sorted, or one is there twice")
    return found


def _digest(lines: Lines, text: bytes) -> Digest:
    try:
        digest = Digest.parse(text.decode("ascii"))
        if digest.algorithm is not HashName.SHA256:
            raise ValueError(digest.algorithm)
    except (ValueError, UnicodeDecodeError) as cause:
        raise lines.wrong("a digest is `sha256:` and 64 lower-case hexadecimal digits") from cause
    return digest


def _trust(lines: Lines, text: bytes) -> tuple[str, int]:
    name, _, version = text.rpartition(b" ")
    return lines.text(name), lines.as_number(version)


def _word(lines: Lines, text: bytes) -> str:
    if not _WORD.fullmatch(text):
        raise lines.wrong("a group or channel is 1 to 64 lower-case letters, digits and hyphens")
    return text.decode()


def _nonce(lines: Lines, text: bytes) -> str:
    if not _NONCE.fullmatch(text):
        raise lines.wrong("a nonce is 4 to 32 octets in lower-case hexadecimal")
    return text.decode()
