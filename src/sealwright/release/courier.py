"""The courier: one folder or file that carries releases, trust and reports over an air gap (A153).

    courier-acme-20261126120000.manifest          over the folder, signed by whoever packed it: product `courier from acme`,
    courier-acme-20261126120000.manifest.p7s      generation 20261126120000, hardware `nordhof` (for whom it is)
    courier-acme-20261126120000/
        courier.toml                              what follows from no claim: until when, which questions it answers
        repository/metadata/, repository/targets/ a slice of the release repository
        trust/                                    a trust file with its signatures, its history and trust.d
        log/                                      a log's checkpoint and proofs
        files/                                    signed files with what lies beside them
        reports/                                  the way back: what devices said

A courier is a signed folder like any other, so `verify` judges it by an ordinary rule of the receiver's trust file. Its number is a
generation: a lower one than the last is refused by whoever keeps a state. What it carries is judged again by its own signatures.
As one file (`.courier`) the same is a POSIX tar archive of regular files, without compression.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.section import Complaint, read_toml
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import MalformedArtifact, Unreadable, UsageError
from sealwright.trust.toml import Toml, toml_text

DESCRIPTION = "courier.toml"
FIRST_LINE = "# sealwright courier 1"
SUFFIX = ".courier"
MANIFEST = ".manifest"
PREFIX = "courier-"
PARTS = ("repository", "trust", "log", "files", "reports")
MAX_BYTES = 64 << 10
MAX_MANIFEST_BYTES = 1 << 20
MAX_TO = 200
MAX_ANSWERS = 100
LONGEST = timedelta(days=400)
_COMPLAINT = Complaint(MalformedArtifact, MAX_BYTES, "Have the courier packed again.")
_PLACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_NAME = re.compile(r"courier-([a-z0-9-]{1,40})-([1-9][0-9]{0,17})")
_NONCE = re.compile(r"(?:[0-9a-f]{2}){8,32}")


@dataclass(frozen=True, slots=True)
class Courier:
    """What a courier says of itself. number: its generation; made, until: aware, whole seconds; to: plants or devices, sorted.

    answers: nonces of those who asked for it, lower-case hexadecimal.
    """

    sender: str
    number: int
    made: datetime
    until: datetime
    to: tuple[str, ...]
    answers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{PREFIX}{self.sender}-{self.number}"

    @property
    def claims(self) -> Claims:
        """What its manifest claims."""
        return Claims(product=product_of(self.sender), generation=self.number, hardware=self.to)


def product_of(sender: str) -> str:
    """The product that a sender's couriers are, in a rule of the receiver's trust file."""
    return f"courier from {sender}"


def number_at(made: datetime) -> int:
    """A courier's number by its time, which people can read: 20261126120000."""
    return int(made.astimezone(UTC).strftime("%Y%m%d%H%M%S"))


def couriers_in(folder: str) -> Iterator[tuple[str, Digest]]:
    """Name and digest of the manifest of each courier in a folder, the last by name first; Unreadable.

    As packed (`NAME.manifest` beside NAME), and as unpacked (both in a folder NAME).
    """
    try:
        names = os.listdir(folder)
    except OSError as cause:
        raise Unreadable(folder, f"it cannot be listed ({cause.strerror})", "Name a folder of couriers.") from cause
    for name in sorted((one for one in names if not one.endswith(MANIFEST)), reverse=True):
        for path in (f"{name}{MANIFEST}", os.path.join(name, f"{name}{MANIFEST}")):
            data = read_file_or_none(os.path.join(folder, path), MAX_MANIFEST_BYTES)
            if data is not None:
                yield name, Digest.of(data)
                break


def sender_of(name: str) -> str | None:
    """The sender in the name of a courier's folder; None for another name."""
    match = _NAME.fullmatch(name)
    return None if match is None else match[1]


def checked_place(text: str, what: str) -> str:
    """The id of a sender, plant or device; UsageError."""
    if not _PLACE.fullmatch(text):
        raise UsageError(
            f"{what} {display(text[:80])}",
            "it is no id of a place",
            "Use 1 to 40 lower-case letters, digits and hyphens between them.",
        )
    return text


def checked_nonce(text: str) -> str:
    """A nonce as one was asked for; UsageError."""
    if not _NONCE.fullmatch(text):
        raise UsageError(
            f"nonce {display(text[:80])}", "it is none that `courier ask` made", "Copy it whole, as it was printed."
        )
    return text


def courier_text(courier: Courier) -> bytes:
    """`courier.toml`, read again before it leaves; MalformedArtifact for what no reader would take."""
    top: dict[str, Toml] = {
        "sender": courier.sender,
        "number": courier.number,
        "made": courier.made,
        "until": courier.until,
        "to": list(courier.to),
        **({"answers": list(courier.answers)} if courier.answers else {}),
    }
    text = toml_text(FIRST_LINE, top).encode()
    parse_courier(text, courier.name)
    return text


def parse_courier(data: bytes, subject: str) -> Courier:
    """Read a description; MalformedArtifact naming the key, LimitExceeded above 64 KiB."""
    top = read_toml(data, subject, FIRST_LINE, _COMPLAINT)
    courier = Courier(
        sender=top.text("sender"),
        number=top.number("number", 1),
        made=top.time("made"),
        until=top.time("until"),
        to=top.texts("to"),
        answers=top.texts("answers"),
    )
    top.done()
    try:
        for place in (courier.sender, *courier.to):
            checked_place(place, "courier")
        for nonce in courier.answers:
            checked_nonce(nonce)
    except UsageError as cause:
        raise MalformedArtifact(subject, f"{cause.subject}: {cause.what}", _COMPLAINT.next_step) from cause
    if not courier.to or list(courier.to) != sorted(courier.to) or len(courier.to) > MAX_TO:
        raise top.wrong("to", f"a sorted list of 1 to {MAX_TO} ids")
    if len(courier.answers) > MAX_ANSWERS:
        raise top.wrong("answers", f"a list of at most {MAX_ANSWERS} nonces")
    if not courier.made < courier.until <= courier.made + LONGEST:
        raise top.wrong("until", f"after `made`, by {LONGEST.days} days at most")
    return courier
