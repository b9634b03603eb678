"""The checking station's screen: one large word, why, and what to do; nothing on it can be clicked, and nothing of a stick is run.

Of several media, such as the partitions of one stick, the word is the worst one's, whichever was checked last. A stick that went away stays on
the screen until the next one comes if it was not read to its end.

The check itself is another process, `sealwright station --once --json`, whose lines this one shows. If that process ends in any other
way than by saying `ended`, the word is NOT CHECKED. When the stick is taken out, the screen waits for the next one.

    F2  the label of the last stick, on the screen and to --print-command      F5  check it again      F10  end
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pyfiglet import Figlet
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.errors import SealwrightError
from sealwright.plant.cleanstick import refuse_used
from sealwright.plant.media import Medium, Watch, media_below, watching
from sealwright.texts.words import say

LOOK_EVERY_S = 1.0
MAX_ROWS = 500
MAX_LINE_BYTES = 4 << 20
_PRINT_TIMEOUT_S = 30
_FONTS = (("ansi_regular", 79), ("small", 47))
_COLOURS = {"trusted": "green", "rejected": "red", "undecided": "dark_orange"}
_BACKGROUNDS = {"trusted": "#006000", "undecided": "#805000", "rejected": "#900000"}
_ALLOWED = 2  # the order of rows of what may be used
Identity = tuple[str, str]


def run_screen(args: argparse.Namespace) -> int:
    """Fill the screen until F10."""
    with watching() as watch:
        Station(args, watch).run()
    return 0


class Label(ModalScreen[None]):
    """The label of the last stick."""

    BINDINGS: ClassVar[list[BindingType]] = [("f2,escape,enter", "dismiss", "")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The text and its code."""
        with VerticalScroll():
            yield Static(Text(self._text), id="label")


@dataclass(slots=True)
class Shown:
    """What became of one medium. outcome: trusted, undecided, rejected, or "" where it was not read to its end; lines: below the word;
    rows: of the list, each with its order; more: rows that are not shown; label: a file."""

    path: str
    outcome: str = ""
    word: str = ""
    lines: list[str] = field(default_factory=list)
    rows: list[tuple[int, Text]] = field(default_factory=list)
    more: int = 0
    label: str = ""

    def row(self, order: int, text: str, colour: str) -> None:
        """One line of the list. What must not be used comes first and is never left out for something that may be."""
        if len(self.rows) >= MAX_ROWS:
            self.more += 1
            worst = max(self.rows, key=lambda row: row[0])
            if worst[0] <= order:
                return
            self.rows.remove(worst)
        self.rows.append((order, Text(text, style=colour)))

    @property
    def gravity(self) -> int:
        """0 for the worst."""
        return ("", "rejected", "undecided", "trusted").index(self.outcome)


class Station(App[None]):
    """Waits, checks, tells. results: of the media that are in, and of one that was pulled out too early; busy: a check is at work."""

    CSS = """
    #word { height: auto; min-height: 7; width: 100%; content-align: center middle; color: white; background: #303030; }
    #about { height: auto; padding: 1 2; }
    #list { height: 1fr; padding: 0 2; }
    #foot { height: auto; padding: 0 2; background: #202020; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("f2", "label", ""),
        ("f5", "again", ""),
        ("f10", "quit", ""),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, args: argparse.Namespace, watch: Watch) -> None:
        super().__init__()
        self._args = args
        self._watch = watch
        self._seen: set[Identity] = set()
        self._results: dict[Identity, Shown] = {}
        self._busy = False

    def compose(self) -> ComposeResult:
        """Word, sentence, list, foot."""
        yield Static(id="word")
        yield Static(id="about")
        with VerticalScroll(id="list"):
            yield Static(id="rows")
        yield Static(id="foot")

    def on_mount(self) -> None:
        """Wait for the first stick; those that are in already are checked too."""
        self._show()
        self.set_interval(LOOK_EVERY_S, self._look)

    def action_label(self) -> None:
        """Show the label of the worst, and send it to the printer where there is one."""
        label = self._worst.label if self._results else ""
        if not label:
            return
        try:
            data = read_file(label, 1 << 20)
        except SealwrightError as cause:
            self._not_printed(cause)
            return
        self._print_label(data)
        self.push_screen(Label(data.decode(errors="replace")))

    def action_again(self) -> None:
        """Everything that is in once more."""
        if not self._busy:
            self._seen.clear()

    @property
    def _worst(self) -> Shown:
        return min(self._results.values(), key=lambda one: one.gravity)

    def _media(self) -> list[Medium]:
        clean = os.path.realpath(self._args.write) if self._args.write else ""
        return [one for one in media_below(self._args.watch) if one.path != clean]

    def _look(self) -> None:
        """What came and what went. After any change a stick may be another one in the same place, so all are checked again."""
        try:
            changed = self._watch.changed(0)
            there = {_identity(one): one for one in self._media()}
        except SealwrightError:
            return
        if changed:
            self._seen -= self._results.keys()
        self._seen &= there.keys()
        if self._busy:
            return
        went = [one for one, shown in self._results.items() if one not in there and (shown.outcome or there)]
        for one in went:
            del self._results[one]
        new = next((one for one in there if one not in self._seen), None)
        if new is not None:
            self._seen.add(new)
            self._busy = True
            self.run_worker(self._check(there[new]), exclusive=True)
        elif went:
            self._show()

    def _show(self) -> None:
        """The worst of the media that are in; where there is none, what to do."""
        self._set("foot", say("station.keys"))
        if not self._results:
            self._big(say("station.insert"), "#303030")
            self._set("about", "")
            self._set("rows", "")
            return
        worst, every = self._worst, list(self._results.values())
        self._big(worst.word, _BACKGROUNDS.get(worst.outcome, _BACKGROUNDS["rejected"]))
        lines = (
            worst.lines if len(every) == 1 else [f"{display(one.path)}: {one.word}. {one.lines[0]}" for one in every]
        )
        self._set("about", "\n".join(lines))
        self._list(every)

    def _list(self, every: Sequence[Shown]) -> None:
        rows = [text for _, text in sorted((row for one in every for row in one.rows), key=lambda row: row[0])]
        if more := sum(one.more for one in every):
            rows.append(Text(say("station.more", number=f"{more:,}")))
        self._set("rows", Text("\n").join(rows))

    async def _check(self, medium: Medium) -> None:
        shown = self._results[_identity(medium)] = Shown(medium.path)
        self._big(say("station.reading"), "#204080")
        self._set("about", f"{display(medium.path)}   {say('station.leave-in')}")
        self._set("rows", "")
        last: dict[str, Any] = {}
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(medium, shown),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                limit=MAX_LINE_BYTES,
            )
            assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
            async for line in process.stdout:
                last = json.loads(line)
                self._tell(last, shown)
            await process.wait()
        except (OSError, ValueError, SealwrightError) as cause:
            last = {"error": {"sentence": str(cause)}}
        finally:
            if process is not None and process.returncode is None:
                process.kill()
            self._busy = False
        if last.get("event") == "ended":
            _end(shown, last)
        else:
            _fail(shown, last.get("error") or {})
        self._show()

    def _command(self, medium: Medium, shown: Shown) -> list[str]:
        args = self._args
        command = [sys.executable, "-P", "-m", "sealwright", "station", "--once", medium.path, "--json"]
        options = (
            "trust", "trust_fingerprint", "state", "private", "name", "max_files", "max_bytes", "line", "hardware",
            "record", "station_home", "station_key", "person", "change", "pin_file",
        )  # fmt: skip
        given = {option: getattr(args, option) for option in options}
        command += [
            f"--{option.replace('_', '-')}={value}" for option, value in given.items() if value not in (None, "")
        ]
        if args.read_twice:
            command.append("--read-twice")
        command.append(f"--label={self._label_folder()}")
        if args.write is not None and self._clean_is_in(shown):
            command += [f"--write={args.write}", "--only-mounted"]
        return command

    def _label_folder(self) -> str:
        folder = self._args.label or os.path.join(self._args.state, "labels")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return str(folder)

    def _clean_is_in(self, shown: Shown) -> bool:
        try:
            refuse_used(self._args.write, mounted=True)
        except SealwrightError as cause:
            shown.row(1, say("station.no-clean", why=display(str(cause))), "yellow")
            return False
        return True

    def _tell(self, event: dict[str, Any], shown: Shown) -> None:
        if event.get("event") == "reading":
            size = f"{event['size_bytes'] / 1e6:,.0f} MB"
            self._set("foot", say("station.progress", files=f"{event['files']:,}", size=size))
        elif event.get("event") == "judged":
            outcome = event["outcome"]
            why = "" if outcome == "trusted" else f": {display(event['headline'])}"
            order = {"rejected": 0, "undecided": 1}.get(outcome, 2)
            shown.row(order, f"{_word(outcome):13}{display(event['name'])}{why}", _COLOURS.get(outcome, "red"))
        elif event.get("event") == "remark":
            refused = event["severity"] == "reject"
            word = _word("rejected") if refused else ""
            shown.row(0 if refused else 1, f"{word:13}{display(event['sentence'])}", "red" if refused else "yellow")
        if event.get("event") != "reading":
            self._list([shown])

    def _print_label(self, data: bytes) -> None:
        """The label goes to the printer's command on its standard input; no shell."""
        if self._args.print_command is None:
            return
        try:
            subprocess.run(shlex.split(self._args.print_command), input=data, check=True, timeout=_PRINT_TIMEOUT_S,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        except (OSError, ValueError, subprocess.SubprocessError) as cause:
            self._not_printed(cause)

    def _not_printed(self, cause: Exception) -> None:
        self.notify(display(str(cause))[:200], title=say("station.not-printed"), severity="error", markup=False)

    def _big(self, word: str, background: str) -> None:
        place = self.query_one("#word", Static)
        place.update(Text(_large(word, self.size.width), justify="left", style="bold"))
        place.styles.background = background

    def _set(self, name: str, text: str | Text) -> None:
        self.query_one(f"#{name}", Static).update(text if isinstance(text, Text) else Text(text))


def _identity(medium: Medium) -> Identity:
    return medium.path, medium.device


def _word(outcome: str) -> str:
    words = {"trusted": say("station.word.trusted"), "undecided": say("station.word.undecided")}
    return words.get(outcome, say("station.word.rejected"))


def _end(shown: Shown, event: dict[str, Any]) -> None:
    """A medium that was read to its end."""
    shown.outcome, shown.word = event["outcome"], _word(event["outcome"])
    sentence = say("station.some-refused") if event["trusted"] else say("station.none-allowed")
    shown.lines = [say("station.all-allowed") if shown.outcome == "trusted" else sentence]
    number = {one: f"{event[one]:,}" for one in ("trusted", "undecided")}
    shown.lines.append(say("station.counts", rejected=f"{event['rejected'] + event['not_taken']:,}", **number))
    if event["written"]:
        shown.lines.append(say("station.clean-done", path=display(event["written"])))
    shown.lines.append(say("station.take-out"))
    shown.label = next(iter(event["labels"]), "")


def _fail(shown: Shown, error: dict[str, Any]) -> None:
    """One that was not: nothing of it counts, whatever was said of its files."""
    gone = error.get("code") == "SW-STATION-MEDIUM-GONE"
    shown.word = say("station.gone") if gone else say("station.error")
    why = display(str(error.get("sentence") or say("station.no-answer")))
    shown.lines = [why, say("station.nothing-counts")]
    shown.rows = [row for row in shown.rows if row[0] < _ALLOWED]


def _large(word: str, width: int) -> str:
    """A word in large letters where they fit."""
    for font, least in _FONTS:
        drawn = Figlet(font=font, width=400).renderText(word).rstrip("\n").splitlines()
        if width >= max(least, *map(len, drawn)):
            return "\n".join(drawn)
    return f"\n{word}\n"
