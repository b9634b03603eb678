"""What a record says of one device that a release was handed to: which one, which part, by which program, and what was read back.

    # installation done                                    how far it came (`Stage`)
    # serial 4711-003
    # hardware cpu-1515                                    as it was said
    # component application sha256:5891…                   of the release; `none` in place of the digest where it is a folder
    # tool sha256:9b0c… exit 0 /opt/vendor/load            the vendor's program, where one was started
    # readback same sha256:5891…                           what the device gave back, and whether that is what was signed

The lines stand behind those of the verdict (`records.py`). `begun` is written before anything is handed over; the last one of a serial
number without another behind it is an installation that nobody saw the end of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sealwright.artifact.digest import Digest

NONE = "none"
MAX_EXIT_DIGITS = 10


class Stage(StrEnum):
    """How far an installation came.

    REFUSED: nothing was handed over; BEGUN: it is handed over now; DONE: the tool ended with 0, or the person said that it is done;
    FAILED: the tool ended otherwise, the copy was changed, or the device gave back something else; LEFT: the person did not say that it
    is done; COMPARED: nothing was handed over, only a read-back compared.
    """

    REFUSED = "refused"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    COMPARED = "compared"


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """The vendor's program. digest: of its file; exit: its code, negative for a signal, None before it ended."""

    path: str
    digest: Digest
    exit: int | None = None


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was read from the device. digest: of what was compared, None of a folder."""

    is_same: bool
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Installation:
    """One device. serial: its id, as permits name it; hardware, component: "" where not said; part: digest of the component's file."""

    stage: Stage
    serial: str
    hardware: str = ""
    component: str = ""
    part: Digest | None = None
    tool: ToolUsed | None = None
    readback: ReadBack | None = None


def installation_lines(one: Installation, hardware: str, tool: str) -> Iterator[tuple[str, str]]:
    """Name and value of each line. hardware, tool: the texts of the two as a line holds them."""
    yield "installation", one.stage.value
    yield "serial", one.serial
    if one.hardware:
        yield "hardware", hardware
    if one.component:
        yield "component", f"{one.component} {one.part or NONE}"
    if one.tool is not None:
        ended = NONE if one.tool.exit is None else str(one.tool.exit)
        yield "tool", f"{one.tool.digest} exit {ended} {tool}"
    if one.readback is not None:
        yield "readback", f"{'same' if one.readback.is_same else 'differs'} {one.readback.digest or NONE}"
