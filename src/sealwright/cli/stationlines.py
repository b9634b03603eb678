"""What a checking station tells of one medium, in lines for people or as JSON for a screen or a program.

    CHECKING /media/stick   Leave the stick in.
    ALLOWED      drive.bin                  9f86d081884c
    DO NOT USE   tool.exe                   the file is not signed
    DO NOT USE   2 allowed, 1 not, 0 not decided: some files must not be used.

JSON, where that is asked for, is written of the same events (`stationevents.py`).
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from typing import Protocol

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.cli.render import deciding_clause, next_step
from sealwright.cli.stationevents import Event, Failed, Finished, Reading, Remark, Told, event_line
from sealwright.findings import Severity
from sealwright.plant.intakeaside import Ended
from sealwright.plant.intakecopy import Taken
from sealwright.plant.station import Judged
from sealwright.texts.words import say
from sealwright.trust.verdict import Outcome

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

    def finished(self, ended: Ended, written: str, labels: tuple[str, ...]) -> Finished:
        """The sum. written: the clean stick, "" for none; labels: files."""
        return Finished(
            outcome=self.outcome,
            trusted=self.outcomes.get(Outcome.TRUSTED, 0),
            rejected=self.outcomes.get(Outcome.REJECTED, 0),
            undecided=self.outcomes.get(Outcome.UNDECIDED, 0),
            not_taken=self.remarks,
            files=ended.files,
            size_bytes=ended.size_bytes,
            handed_on=len({one.name for one in self.allowed}) if written else 0,
            written=written,
            labels=labels,
        )


class Teller(Protocol):
    """Tells what happens to a medium."""

    def tell(self, event: Event) -> None:
        """The next thing that happened; the last is `Finished` or `Failed`."""
        ...


class LineTeller:
    """Lines on standard output, and on a terminal one of progress that comes and goes."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def tell(self, event: Event) -> None:
        """A line or two; of how far it is only on a terminal."""
        match event:
            case Reading():
                if self._shown:
                    sys.stderr.write(f"\r\x1b[K{say('station.reading')} {progress(event)}")
                    sys.stderr.flush()
            case Told():
                allowed = event.outcome is Outcome.TRUSTED
                behind = event.digest.rpartition(":")[2][:12] if allowed else display(event.headline)
                self._line(f"{say(f'station.word.{event.outcome}'):{_WIDE}}{display(event.name)}: {behind}")
            case Remark():
                word = say("station.word.rejected") if event.finding.severity is Severity.REJECT else ""
                self._line(f"{word:{_WIDE}}{display(event.finding.sentence)}")
            case Finished():
                self._line(progress(event))
                self._line(f"{say(f'station.word.{event.outcome}'):{_WIDE}}{counts(event)}. {what_follows(event)}")
                if event.written:
                    self._line(say("station.clean-written", path=display(event.written), files=f"{event.handed_on:,}"))
                for label in event.labels:
                    self._line(f"-> {display(label)}")
            case Failed():
                self._line(f"{say('station.error'):{_WIDE}}{say('station.nothing-counts')}")

    def _line(self, text: str) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class JsonTeller:
    """Objects on standard output."""

    def tell(self, event: Event) -> None:
        """Its line; a failure's is the error's own."""
        if not isinstance(event, Failed):
            sys.stdout.write(event_line(event) + "\n")
            sys.stdout.flush()


def told(judged: Judged) -> Told:
    """What a screen or a program needs of a verdict."""
    verdict = judged.verdict
    return Told(
        name=verdict.path,
        outcome=verdict.outcome,
        headline=deciding_clause(verdict),
        next_step=next_step(verdict),
        digest=str(judged.files[0].digest) if judged.files else "",
        size_bytes=sum(one.size for one in judged.files),
        rule=verdict.rule,
        findings=tuple(verdict.findings),
    )


def progress(event: Reading | Finished) -> str:
    """How much was copied."""
    return say("station.progress", files=f"{event.files:,}", size=f"{event.size_bytes / 1e6:,.1f} MB")


def counts(event: Finished) -> str:
    """How many of each outcome; what was not taken is not allowed."""
    number = {"trusted": f"{event.trusted:,}", "undecided": f"{event.undecided:,}"}
    return say("station.counts", rejected=f"{event.rejected + event.not_taken:,}", **number)


def what_follows(event: Finished) -> str:
    """The sentence for all of it."""
    if not event.trusted:
        return say("station.none-allowed")
    return say("station.all-allowed") if event.outcome is Outcome.TRUSTED else say("station.some-refused")
