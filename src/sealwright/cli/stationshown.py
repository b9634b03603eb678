"""What a screen shows of one medium: a word, sentences and rows, made of the events that the station tells.

Rows of what must not be used come first, and are never left out for something that may be. A medium that was not read to its end has no
outcome, and none of its files is shown as allowed any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from sealwright.artifact.names import display
from sealwright.cli.stationevents import Event, Failed, Finished, Reading, Remark, Told
from sealwright.cli.stationlines import counts, what_follows
from sealwright.findings import Severity
from sealwright.texts.words import say
from sealwright.trust.verdict import Outcome

MAX_ROWS = 500
_WIDE = 13


class Order(IntEnum):
    """Which rows come first."""

    REFUSED = 0
    UNDECIDED = 1
    SAID = 2
    ALLOWED = 3


_ORDERS = {Outcome.TRUSTED: Order.ALLOWED, Outcome.UNDECIDED: Order.UNDECIDED, Outcome.REJECTED: Order.REFUSED}
_GRAVITY = (None, Outcome.REJECTED, Outcome.UNDECIDED, Outcome.TRUSTED)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list, with nothing in it that a terminal would obey."""

    order: Order
    text: str


@dataclass(slots=True)
class Shown:
    """What became of one medium. outcome: None where it was not read to its end; lines: below the word; more: rows that are not shown;
    label: a file."""

    path: str
    outcome: Outcome | None = None
    word: str = ""
    lines: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    more: int = 0
    label: str = ""

    @property
    def gravity(self) -> int:
        """0 for the worst."""
        return _GRAVITY.index(self.outcome)

    def add(self, event: Event) -> None:
        """A row for what has one; after it comes `end`."""
        match event:
            case Told():
                why = "" if event.outcome is Outcome.TRUSTED else f": {display(event.headline)}"
                self._row(_ORDERS[event.outcome], f"{_word(event.outcome):{_WIDE}}{display(event.name)}{why}")
            case Remark():
                refused = event.finding.severity is Severity.REJECT
                word = _word(Outcome.REJECTED) if refused else ""
                order = Order.REFUSED if refused else Order.SAID
                self._row(order, f"{word:{_WIDE}}{display(event.finding.sentence)}")
            case Reading() | Finished() | Failed():
                pass

    def add_no_clean(self, why: str) -> None:
        """Nothing will be written, and why."""
        self._row(Order.SAID, say("station.no-clean", why=display(why)))

    def end(self, last: Event) -> None:
        """The last event. Anything but `Finished` means that nothing of it counts, whatever was said of its files."""
        if isinstance(last, Finished):
            self.outcome, self.word = last.outcome, _word(last.outcome)
            self.lines = [what_follows(last), counts(last)]
            if last.written:
                self.lines.append(say("station.clean-done", path=display(last.written)))
            self.lines.append(say("station.take-out"))
            self.label = next(iter(last.labels), "")
            return
        failed = last if isinstance(last, Failed) else Failed()
        self.word = say("station.gone") if failed.is_pulled_out else say("station.error")
        self.lines = [display(failed.sentence or say("station.no-answer")), say("station.nothing-counts")]
        self.rows = [row for row in self.rows if row.order is not Order.ALLOWED]

    def _row(self, order: Order, text: str) -> None:
        if len(self.rows) >= MAX_ROWS:
            self.more += 1
            worst = max(self.rows, key=lambda row: row.order)
            if worst.order <= order:
                return
            self.rows.remove(worst)
        self.rows.append(Row(order, text))


def _word(outcome: Outcome) -> str:
    words = {
        Outcome.TRUSTED: say("station.word.trusted"),
        Outcome.UNDECIDED: say("station.word.undecided"),
        Outcome.REJECTED: say("station.word.rejected"),
    }
    return words[outcome]
