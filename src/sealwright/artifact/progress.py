"""Progress of long reads: a protocol for the core, and a line on a terminal for people.

Nothing is shown before one second has passed, nothing at all where the output is not a terminal.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

SHOW_AFTER_S = 1.0
REDRAW_S = 0.2


class Progress(Protocol):
    """Told of bytes as they are read."""

    def advance(self, bytes_done: int) -> None:
        """So many more bytes are done; called often, must be cheap."""
        ...


class TerminalProgress:
    """One line on a terminal: what is done and the rate. Used as a context manager; the line is erased at the end.

    unit: "MB" where bytes are counted, or the name of what is counted one by one ("files").
    """

    def __init__(self, what: str, stream: TextIO | None = None, unit: str = "MB") -> None:
        self.what = what
        self.unit = unit
        self.one = 1e6 if unit == "MB" else 1.0
        self.stream = stream if stream is not None else sys.stderr
        self.shown = self.stream.isatty()
        self.done = 0
        self.started = time.monotonic()
        self.drawn = self.started + SHOW_AFTER_S - REDRAW_S
        self.visible = False

    def advance(self, bytes_done: int) -> None:
        """Count, and redraw at most five times a second."""
        self.done += bytes_done
        if not self.shown:
            return
        now = time.monotonic()
        if now - self.drawn < REDRAW_S:
            return
        self.drawn = now
        self.visible = True
        done, rate = self.done / self.one, self.done / max(now - self.started, 0.001) / self.one
        self.stream.write(f"\r\x1b[K{self.what}: {done:,.0f} {self.unit}, {rate:,.0f} {self.unit}/s")
        self.stream.flush()

    def close(self) -> None:
        """Erase the line."""
        if self.visible:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self.visible = False

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
