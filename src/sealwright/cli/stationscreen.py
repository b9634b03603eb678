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
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import ClassVar

from pyfiglet import Figlet
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.cli.stationevents import Event, Failed, Reading, read_event
from sealwright.cli.stationlines import progress
from sealwright.cli.stationshown import Order, Shown
from sealwright.errors import SealwrightError
from sealwright.plant.cleanstick import refuse_used
from sealwright.plant.disks import refuse_same_disk
from sealwright.plant.media import Medium, Watch, media_below, watching
from sealwright.texts.words import say
from sealwright.trust.verdict import Outcome

LOOK_EVERY_S = 1.0
MAX_LINE_BYTES = 4 << 20
_PRINT_TIMEOUT_S = 30
_FONTS = (("ansi_regular", 79), ("small", 47))
_COLOURS = {Order.REFUSED: "red", Order.UNDECIDED: "dark_orange", Order.SAID: "yellow", Order.ALLOWED: "green"}
_BACKGROUNDS = {Outcome.TRUSTED: "#006000", Outcome.UNDECIDED: "#805000", Outcome.REJECTED: "#900000"}
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
        self._large = ("", "")  # the word, and the colour behind it; nothing before the first

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

    def on_resize(self, event: Resize) -> None:
        """The large word as it fits now."""
        if self._large[0]:
            self._draw(event.size.width)

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
        self._big(worst.word, _BACKGROUNDS[worst.outcome or Outcome.REJECTED])
        lines = (
            worst.lines if len(every) == 1 else [f"{display(one.path)}: {one.word}. {one.lines[0]}" for one in every]
        )
        self._set("about", "\n".join(lines))
        self._list(every)

    def _list(self, every: Sequence[Shown]) -> None:
        rows = sorted((row for one in every for row in one.rows), key=lambda row: row.order)
        shown = [Text(row.text, style=_COLOURS[row.order]) for row in rows]
        if more := sum(one.more for one in every):
            shown.append(Text(say("station.more", number=f"{more:,}")))
        self._set("rows", Text("\n").join(shown))

    async def _check(self, medium: Medium) -> None:
        shown = self._results[_identity(medium)] = Shown(medium.path)
        self._big(say("station.reading"), "#204080")
        self._set("about", f"{display(medium.path)}   {say('station.leave-in')}")
        self._set("rows", "")
        last: Event = Failed()
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
                last = read_event(line)
                self._tell(last, shown)
            await process.wait()
        except (OSError, ValueError, SealwrightError) as cause:
            last = Failed(sentence=str(cause))
        finally:
            if process is not None and process.returncode is None:
                process.kill()
            self._busy = False
        shown.end(last)
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
            refuse_same_disk(shown.path, self._args.write)
        except SealwrightError as cause:
            shown.add_no_clean(str(cause))
            return False
        return True

    def _tell(self, event: Event, shown: Shown) -> None:
        if isinstance(event, Reading):
            self._set("foot", progress(event))
            return
        shown.add(event)
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
        self._large = (word, background)
        self._draw(self.size.width)

    def _draw(self, width: int) -> None:
        word, background = self._large
        place = self.query_one("#word", Static)
        place.update(Text(_large(word, width), justify="left", style="bold"))
        place.styles.background = background

    def _set(self, name: str, text: str | Text) -> None:
        self.query_one(f"#{name}", Static).update(text if isinstance(text, Text) else Text(text))


def _identity(medium: Medium) -> Identity:
    return medium.path, medium.device


def _large(word: str, width: int) -> str:
    """A word in large letters where they fit."""
    for font, least in _FONTS:
        drawn = Figlet(font=font, width=400).renderText(word).rstrip("\n").splitlines()
        if width >= max(least, *map(len, drawn)):
            return "\n".join(drawn)
    return f"\n{word}\n"
