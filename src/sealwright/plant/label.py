"""The label of a checked stick: text for a label printer, and a QR code (ISO/IEC 18004) with the same for a telephone.

    SEALWRIGHT CHECKING STATION
    Verdict:  ALLOWED
    File:     drive.bin
    SHA-256:  9f86d081 884c7d65 9a2feaa0 c55ad015
              a3bf4f1b 2b0b822c d15d6c15 b0f00a08
    Checked:  2026-11-26 10:15 UTC
    Station:  hall-3
    Trust:    version 7, 3b4c5d6e7f80

The code holds one line, fields separated by `;`: `SEALWRIGHT-1;ALLOWED;sha256:HEX;TIME;STATION;TRUST-VERSION;TRUST-DIGEST`. A label proves
nothing by itself, as anyone can print one: whoever needs proof asks the station's record, or verifies again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.texts.words import say

WIDTH = 48
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Label:
    """verdict: in plain words; name, digest: of the one file, or what the list of all files is called, and its digest."""

    verdict: str
    name: str
    digest: Digest
    checked: datetime
    station: str
    trust_version: int
    trust_digest: Digest


def label_text(label: Label) -> str:
    """The lines, each at most WIDTH wide, with a final line feed."""
    digits = label.digest.value.hex()
    groups = [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
    rows = [" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]
    lines = [
        say("station.label-title"),
        say("station.label-verdict", verdict=label.verdict),
        say("station.label-file", name=_short(display(label.name), WIDTH - 10)),
        say("station.label-digest", digest=rows[0]),
        *(" " * 10 + row for row in rows[1:]),
        say("station.label-date", time=f"{label.checked.astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
        say("station.label-station", station=_short(display(label.station), WIDTH - 10)),
        say("station.label-trust", version=label.trust_version, digest=label.trust_digest.value.hex()[:12]),
    ]
    return "\n".join(lines) + "\n"


def label_line(label: Label) -> str:
    """What the code holds."""
    station = display(label.station).replace(";", ",")
    moment = f"{label.checked.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
    fields = (
        label.verdict,
        label.digest,
        moment,
        station[:40],
        label.trust_version,
        label.trust_digest.value.hex()[:12],
    )
    return ";".join(("SEALWRIGHT-1", *map(str, fields)))


def label_code(label: Label) -> str:
    """The code in letters that are half as high as a line, for a screen or a printer of text."""
    import segno  # only labels need it

    out = io.StringIO()
    segno.make(label_line(label), error="m", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue()


def label_picture(label: Label) -> bytes:
    """The code as a PNG."""
    import segno  # as above

    out = io.BytesIO()
    segno.make(label_line(label), error="m", micro=False).save(out, kind="png", scale=8, border=2)
    return out.getvalue()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
