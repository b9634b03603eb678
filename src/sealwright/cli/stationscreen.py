"""The checking station's screen: one large word, why, and what to do; nothing on it can be clicked, and nothing of a stick is run.

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
_WORDS = {"trusted": "green", "rejected": "red", "undecided": "dark_orange"}


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


class Station(App[None]):
    """Waits, checks, tells. shown: the medium on the screen; check: the process that is at work on it."""

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
        self._seen: set[tuple[str, str]] = set()
        self._shown: Medium | None = None
        self._label = ""
        self._rows: list[tuple[int, Text]] = []
        self._more = 0
        self._busy = False
        self._watch = watch

    def compose(self) -> ComposeResult:
        """Word, sentence, list, foot."""
        yield Static(id="word")
        yield Static(id="about")
        with VerticalScroll(id="list"):
            yield Static(id="rows")
        yield Static(id="foot")

    def on_mount(self) -> None:
        """Wait for the first stick; those that are in already are checked too."""
        self._wait()
        self.set_interval(LOOK_EVERY_S, self._look)

    def action_label(self) -> None:
        """Show the label, and send it to the printer where there is one."""
        if not self._label:
            return
        self._print_label(self._label)
        self.push_screen(Label(read_file(self._label, 1 << 20).decode(errors="replace")))

    def action_again(self) -> None:
        """The same stick once more."""
        if self._shown is not None and not self._busy:
            self.run_worker(self._check(self._shown), exclusive=True)

    def _media(self) -> list[Medium]:
        clean = os.path.abspath(self._args.write) if self._args.write else ""
        return [one for one in media_below(self._args.watch) if one.path != clean]

    def _look(self) -> None:
        """What came and what went. After any change the shown stick may be another one in the same place, so it is checked again."""
        try:
            changed = self._watch.changed(0)
            there = self._media()
        except SealwrightError:
            return
        now = {_identity(one) for one in there}
        if changed and self._shown is not None:
            self._seen.discard(_identity(self._shown))
        if self._shown is not None and _identity(self._shown) not in now and not self._busy:
            self._shown = None
            self._wait()
        new = next((one for one in there if _identity(one) not in self._seen), None)
        if self._busy or new is None:
            self._seen &= now
            return
        self._seen = (self._seen & now) | {_identity(new)}
        self.run_worker(self._check(new), exclusive=True)

    def _wait(self) -> None:
        self._rows, self._more = [], 0
        self._big(say("station.insert"), "#303030")
        self._set("about", "")
        self._set("rows", "")
        self._set("foot", say("station.keys"))

    async def _check(self, medium: Medium) -> None:
        self._busy, self._shown, self._label = True, medium, ""
        self._rows, self._more = [], 0
        self._big(say("station.reading"), "#204080")
        self._set("about", f"{display(medium.path)}   {say('station.leave-in')}")
        self._set("rows", "")
        last: dict[str, Any] = {}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(medium),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                limit=MAX_LINE_BYTES,
            )
            assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
            async for line in process.stdout:
                last = json.loads(line)
                self._tell(last)
            await process.wait()
        except (OSError, ValueError) as cause:
            last = {"error": {"sentence": str(cause)}}
        finally:
            self._busy = False
        if last.get("event") == "ended":
            self._ended(last)
        else:
            self._failed(last.get("error") or {})

    def _command(self, medium: Medium) -> list[str]:
        args = self._args
        command = [sys.executable, "-m", "sealwright", "station", "--once", medium.path, "--json"]
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
        if args.write is not None and self._clean_is_in():
            command.append(f"--write={args.write}")
        return command

    def _label_folder(self) -> str:
        folder = self._args.label or os.path.join(self._args.state, "labels")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return str(folder)

    def _clean_is_in(self) -> bool:
        try:
            refuse_used(self._args.write)
        except SealwrightError as cause:
            self._row(1, say("station.no-clean", why=display(str(cause))), "yellow")
            return False
        return True

    def _tell(self, event: dict[str, Any]) -> None:
        if event.get("event") == "reading":
            size = f"{event['size_bytes'] / 1e6:,.0f} MB"
            self._set("foot", say("station.progress", files=f"{event['files']:,}", size=size))
        elif event.get("event") == "judged":
            outcome = event["outcome"]
            why = "" if outcome == "trusted" else f": {display(event['headline'])}"
            order = {"rejected": 0, "undecided": 1}.get(outcome, 2)
            words = {"trusted": say("station.word.trusted"), "undecided": say("station.word.undecided")}
            word = words.get(outcome, say("station.word.rejected"))
            self._row(order, f"{word:13}{display(event['name'])}{why}", _WORDS.get(outcome, "red"))
        elif event.get("event") == "remark":
            refused = event["severity"] == "reject"
            word = say("station.word.rejected") if refused else ""
            self._row(0 if refused else 1, f"{word:13}{display(event['sentence'])}", "red" if refused else "yellow")

    def _ended(self, event: dict[str, Any]) -> None:
        outcome, allowed = event["outcome"], event["trusted"]
        word = {"trusted": say("station.word.trusted"), "undecided": say("station.word.undecided")}
        self._big(
            word.get(outcome, say("station.word.rejected")),
            {"trusted": "#006000", "undecided": "#805000"}.get(outcome, "#900000"),
        )
        sentence = say("station.some-refused") if allowed else say("station.none-allowed")
        lines = [say("station.all-allowed") if outcome == "trusted" else sentence]
        number = {one: f"{event[one]:,}" for one in ("trusted", "undecided")}
        lines.append(say("station.counts", rejected=f"{event['rejected'] + event['not_taken']:,}", **number))
        if event["written"]:
            lines.append(say("station.clean-done", path=display(event["written"])))
        lines.append(say("station.take-out"))
        self._set("about", "\n".join(lines))
        self._set("foot", say("station.keys"))
        self._label = next(iter(event["labels"]), "")

    def _failed(self, error: dict[str, Any]) -> None:
        gone = error.get("code") == "SW-STATION-MEDIUM-GONE"
        self._big(say("station.gone") if gone else say("station.error"), "#900000")
        why = display(str(error.get("sentence") or say("station.no-answer")))
        self._set("about", f"{why}\n{say('station.nothing-counts')}")
        self._set("foot", say("station.keys"))

    def _print_label(self, path: str) -> None:
        """The label goes to the printer's command on its standard input; no shell."""
        if self._args.print_command is None:
            return
        try:
            data = read_file(path, 1 << 20)
            subprocess.run(shlex.split(self._args.print_command), input=data, check=True, timeout=_PRINT_TIMEOUT_S,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        except (OSError, ValueError, subprocess.SubprocessError) as cause:
            self.notify(display(str(cause))[:200], title=say("station.not-printed"), severity="error", markup=False)

    def _row(self, order: int, text: str, colour: str) -> None:
        """One line of the list; what must not be used comes first, and what is not shown is counted."""
        if len(self._rows) >= MAX_ROWS:
            self._more += 1
        else:
            self._rows.append((order, Text(text, style=colour)))
        rows = [text for _, text in sorted(self._rows, key=lambda row: row[0])]
        if self._more:
            rows.append(Text(say("station.more", number=f"{self._more:,}")))
        self._set("rows", Text("\n").join(rows))

    def _big(self, word: str, background: str) -> None:
        place = self.query_one("#word", Static)
        place.update(Text(_large(word, self.size.width), justify="left", style="bold"))
        place.styles.background = background

    def _set(self, name: str, text: str | Text) -> None:
        self.query_one(f"#{name}", Static).update(text if isinstance(text, Text) else Text(text))


def _identity(medium: Medium) -> tuple[str, str]:
    return medium.path, medium.device


def _large(word: str, width: int) -> str:
    """A word in large letters where they fit."""
    for font, least in _FONTS:
        drawn = Figlet(font=font, width=400).renderText(word).rstrip("\n").splitlines()
        if width >= max(least, *map(len, drawn)):
            return "\n".join(drawn)
    return f"\n{word}\n"
