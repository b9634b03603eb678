"""What a checking station says of one medium: values, and how they are written as JSON and read again.

The station tells each event once; lines for people, the JSON of `--json` and the screen are all made of the same values. An object a line with an
`event`: `reading` (at most five a second), `judged`, `remark`, and last `ended`; or, where nothing counts, an object with the `error`
alone, which is a `Failed` here.

    >>> read_event(b'{"event": "reading", "files": 3, "size_bytes": 9000}')
    Reading(files=3, size_bytes=9000)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sealwright.cli.jsonout import finding_object, line
from sealwright.errors import MalformedArtifact
from sealwright.findings import Finding, Severity
from sealwright.texts import TEXTS
from sealwright.trust.verdict import Outcome

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
GONE = "SW-STATION-MEDIUM-GONE"


@dataclass(frozen=True, slots=True)
class Reading:
    """So much is copied."""

    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict. headline: why, "" where it is trusted; digest: of its first file as `sha256:` and hexadecimal, "" where it has none; size_bytes: of all of its
    files; rule: that decided, may be ""."""

    name: str
    outcome: Outcome
    headline: str
    next_step: str
    digest: str
    size_bytes: int
    rule: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Remark:
    """Something else about the medium."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything was read, judged and written. trusted, rejected, undecided: verdicts; not_taken: members that were refused by name; handed_on: files on the clean
    stick; written: where that is, "" for none; labels: files."""

    outcome: Outcome
    trusted: int
    rejected: int
    undecided: int
    not_taken: int
    files: int
    size_bytes: int
    handed_on: int
    written: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing of the medium counts. code, sentence: of the error; "" where its own line says it."""

    code: str = ""
    sentence: str = ""

    @property
    def is_pulled_out(self) -> bool:
        """Whether the medium stopped answering."""
        return self.code == GONE


Event = Reading | Told | Remark | Finished | Failed


def event_line(event: Reading | Told | Remark | Finished) -> str:
    """One event as JSON, without the end of the line."""
    match event:
        case Reading():
            return line({"event": "reading", "files": event.files, "size_bytes": event.size_bytes})
        case Told():
            return line(
                {
                    "event": "judged",
                    "name": event.name,
                    "outcome": event.outcome.value,
                    "headline": event.headline,
                    "next_step": event.next_step,
                    "digest": event.digest or None,
                    "size_bytes": event.size_bytes,
                    "rule": event.rule or None,
                    "findings": [finding_object(finding) for finding in event.findings],
                }
            )
        case Remark():
            return line({"event": "remark", **finding_object(event.finding)})
        case Finished():
            return line(
                {
                    "event": "ended",
                    "outcome": event.outcome.value,
                    "exit_code": event.outcome.exit_code,
                    "trusted": event.trusted,
                    "rejected": event.rejected,
                    "undecided": event.undecided,
                    "not_taken": event.not_taken,
                    "files": event.files,
                    "size_bytes": event.size_bytes,
                    "handed_on": event.handed_on,
                    "written": event.written or None,
                    "labels": list(event.labels),
                }
            )


def read_event(data: bytes) -> Event:
    """One line of a station, as the value it was written from. MalformedArtifact where it is none."""
    try:
        return _event(_Fields(json.loads(data)))
    except (ValueError, RecursionError) as cause:
        raise MalformedArtifact(
            "the checking station", f"it said something else than an event: {cause}", "Check the stick again."
        ) from cause


class _Fields:
    """An object of JSON; ValueError where it is none, or a field is not of the type asked for."""

    def __init__(self, value: Value) -> None:
        if not isinstance(value, dict):
            raise ValueError("no object")
        self._fields: Mapping[str, Value] = value

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def below(self, name: str) -> _Fields:
        return _Fields(self._fields.get(name))

    def text(self, name: str) -> str:
        """A string; "" for null."""
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is no text")
        return value or ""

    def number(self, name: str) -> int:
        value = self._fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} is no number")
        return value

    def list(self, name: str) -> list[Value]:
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise ValueError(f"{name} is no list")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        found = self.list(name)
        if not all(isinstance(one, str) for one in found):
            raise ValueError(f"{name} has something else than text in it")
        return tuple(str(one) for one in found)


def _event(fields: _Fields) -> Event:
    if "error" in fields:
        error = fields.below("error")
        return Failed(error.text("code"), error.text("sentence"))
    match fields.text("event"):
        case "reading":
            return Reading(fields.number("files"), fields.number("size_bytes"))
        case "judged":
            return Told(
                fields.text("name"),
                Outcome(fields.text("outcome")),
                fields.text("headline"),
                fields.text("next_step"),
                fields.text("digest"),
                fields.number("size_bytes"),
                fields.text("rule"),
                tuple(_finding(_Fields(one)) for one in fields.list("findings")),
            )
        case "remark":
            return Remark(_finding(fields))
        case "ended":
            return Finished(
                Outcome(fields.text("outcome")),
                fields.number("trusted"),
                fields.number("rejected"),
                fields.number("undecided"),
                fields.number("not_taken"),
                fields.number("files"),
                fields.number("size_bytes"),
                fields.number("handed_on"),
                fields.text("written"),
                fields.texts("labels"),
            )
        case other:
            raise ValueError(f"an event {other[:40]!r}")


def _finding(fields: _Fields) -> Finding:
    code = fields.text("code")
    if code not in TEXTS:
        raise ValueError(f"a finding {code[:40]!r}")
    return Finding(
        code, Severity(fields.text("severity")), fields.text("subject"), fields.text("wanted"), fields.text("found")
    )
