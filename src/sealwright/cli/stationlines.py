"""What a checking station tells of one medium, in lines for people or as JSON for a screen or a program.

    CHECKING /media/stick   Leave the stick in.
    ALLOWED      drive.bin                  9f86d081884c
    DO NOT USE   tool.exe                   the file is not signed
    DO NOT USE   2 allowed, 1 not, 0 not decided: some files must not be used.

JSON: one object a line with an `event`: `reading` (files, size_bytes; at most five a second), `judged` (name, outcome, headline, next_step,
digest, size_bytes, rule), `remark` (a finding), and last `ended` (outcome, counts, written, labels) or, where
nothing counts, an object with the `error`.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.cli.jsonout import finding_object, line
from sealwright.cli.render import deciding_clause, next_step
from sealwright.findings import Finding, Severity
from sealwright.plant.intakeaside import Ended
from sealwright.plant.intakecopy import Taken
from sealwright.plant.station import Judged
from sealwright.texts.words import say
from sealwright.trust.verdict import Outcome

REDRAW_S = 0.2
_WIDE = 13


@dataclass(slots=True)
class Result:
    """What became of a medium. outcomes: how many of each; remarks: members that were not taken; allowed: the files of what is trusted.

    files, content: how many were judged, and the digest of their list; the last one judged.
    """

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    remarks: int = 0
    allowed: list[Taken] = field(default_factory=list)
    last: Judged | None = None
    files: int = 0
    _content: hashlib._Hash = field(default_factory=hashlib.sha256)

    def count(self, judged: Judged) -> None:
        """One verdict more."""
        outcome = judged.verdict.outcome
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.last = judged
        self.files += len(judged.files)
        for one in judged.files:
            self._content.update(one.digest.value.hex().encode() + b"  " + one.name + b"\n")
        if outcome is Outcome.TRUSTED:
            self.allowed += judged.files

    @property
    def content(self) -> Digest:
        """SHA-256 of the list of everything that was judged, in the order in which it was."""
        return Digest(HashName.SHA256, self._content.digest())

    @property
    def outcome(self) -> Outcome:
        """The worst of them; nothing at all is nothing allowed."""
        for one in (Outcome.REJECTED, Outcome.UNDECIDED):
            if self.outcomes.get(one):
                return one
        return Outcome.TRUSTED if self.outcomes and not self.remarks else Outcome.REJECTED


class Teller(Protocol):
    """Tells what happens to a medium."""

    def read(self, files: int, size_bytes: int) -> None:
        """So much is copied; called often."""
        ...

    def judged(self, judged: Judged) -> None:
        """One verdict."""
        ...

    def remark(self, finding: Finding) -> None:
        """Something else about the medium."""
        ...

    def ended(self, result: Result, ended: Ended, written: str, labels: tuple[str, ...]) -> None:
        """Everything was read, judged and written. written: the clean stick, "" for none; labels: files."""
        ...

    def failed(self) -> None:
        """Nothing of the medium counts; why is said after this."""
        ...


class LineTeller:
    """Lines on standard output, and on a terminal one of progress that comes and goes."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._drawn = time.monotonic()

    def read(self, files: int, size_bytes: int) -> None:
        """Redraw at most five times a second."""
        now = time.monotonic()
        if self._shown and now - self._drawn >= REDRAW_S:
            self._drawn = now
            done = say("station.progress", files=f"{files:,}", size=f"{size_bytes / 1e6:,.0f} MB")
            with _SAYING:
                sys.stderr.write(f"\r\x1b[K{say('station.reading')} {done}")
                sys.stderr.flush()

    def judged(self, judged: Judged) -> None:
        """The word, the name, and the digest or the reason."""
        verdict = judged.verdict
        allowed = verdict.outcome is Outcome.TRUSTED
        behind = judged.files[0].digest.value.hex()[:12] if allowed else display(deciding_clause(verdict))
        self._line(f"{say(f'station.word.{verdict.outcome}'):{_WIDE}}{display(verdict.path)}: {behind}")

    def remark(self, finding: Finding) -> None:
        """The sentence."""
        word = say("station.word.rejected") if finding.severity is Severity.REJECT else ""
        self._line(f"{word:{_WIDE}}{display(finding.sentence)}")

    def ended(self, result: Result, ended: Ended, written: str, labels: tuple[str, ...]) -> None:
        """The word for all of it, and what follows."""
        self._line(f"{say('station.progress', files=f'{ended.files:,}', size=f'{ended.size_bytes / 1e6:,.1f} MB')}")
        self._line(f"{say(f'station.word.{result.outcome}'):{_WIDE}}{counts(result)}. {what_follows(result)}")
        if written:
            self._line(say("station.clean-written", path=display(written), files=len(result.allowed)))
        for label in labels:
            self._line(f"-> {display(label)}")

    def failed(self) -> None:
        """Whatever was said before."""
        self._line(f"{say('station.error'):{_WIDE}}{say('station.nothing-counts')}")

    def _line(self, text: str) -> None:
        with _SAYING:
            if self._shown:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


class JsonTeller:
    """Objects on standard output."""

    def __init__(self) -> None:
        self._told = 0.0

    def read(self, files: int, size_bytes: int) -> None:
        """At most five a second."""
        now = time.monotonic()
        if now - self._told >= REDRAW_S:
            self._told = now
            _say({"event": "reading", "files": files, "size_bytes": size_bytes})

    def judged(self, judged: Judged) -> None:
        """What a screen or a program needs of a verdict."""
        verdict, first = judged.verdict, judged.files[0] if judged.files else None
        _say(
            {
                "event": "judged",
                "name": verdict.path,
                "outcome": verdict.outcome.value,
                "headline": deciding_clause(verdict),
                "next_step": next_step(verdict),
                "digest": str(first.digest) if first is not None else None,
                "size_bytes": sum(one.size for one in judged.files),
                "rule": verdict.rule or None,
                "findings": [finding_object(finding) for finding in verdict.findings],
            }
        )

    def remark(self, finding: Finding) -> None:
        """The finding."""
        _say({"event": "remark", **finding_object(finding)})

    def ended(self, result: Result, ended: Ended, written: str, labels: tuple[str, ...]) -> None:
        """The sum."""
        _say(
            {
                "event": "ended",
                "outcome": result.outcome.value,
                "exit_code": result.outcome.exit_code,
                **{one.value: result.outcomes.get(one, 0) for one in Outcome},
                "not_taken": result.remarks,
                "files": ended.files,
                "size_bytes": ended.size_bytes,
                "written": written or None,
                "labels": list(labels),
            }
        )

    def failed(self) -> None:
        """The error's own line says it."""


def counts(result: Result) -> str:
    """How many of each outcome."""
    number = {one.value: f"{result.outcomes.get(one, 0):,}" for one in Outcome}
    number["rejected"] = f"{result.outcomes.get(Outcome.REJECTED, 0) + result.remarks:,}"
    return say("station.counts", **number)


def what_follows(result: Result) -> str:
    """The sentence for all of it."""
    if not result.outcomes.get(Outcome.TRUSTED):
        return say("station.none-allowed")
    return say("station.all-allowed") if result.outcome is Outcome.TRUSTED else say("station.some-refused")


_SAYING = threading.Lock()  # progress is told by the thread that copies


def _say(event: dict[str, object]) -> None:
    with _SAYING:
        sys.stdout.write(line(event) + "\n")
        sys.stdout.flush()
