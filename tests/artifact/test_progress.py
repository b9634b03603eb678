"""The line that people see while something long is read or counted."""

from __future__ import annotations

import io

import pytest

from sealwright.artifact import progress
from sealwright.artifact.progress import TerminalProgress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_nothing_is_shown_in_the_first_second_nor_where_nobody_watches(clock: list[float]) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with TerminalProgress("hashing", stream) as shown:
            shown.advance(1_000_000)
    assert terminal.getvalue() == ""
    clock[0] += 5
    with TerminalProgress("hashing", pipe) as shown:
        clock[0] += 5
        shown.advance(1_000_000)
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("unit", "done", "line"),
    [("MB", 6_000_000, "hashing: 6 MB, 3 MB/s"), ("files", 2400, "hashing: 2,400 files, 1,200 files/s")],
)
def test_bytes_and_files_are_counted_in_their_own_unit(clock: list[float], unit: str, done: int, line: str) -> None:
    terminal = Terminal()
    with TerminalProgress("hashing", terminal, unit) as shown:
        clock[0] += 2
        shown.advance(done)
        assert terminal.getvalue() == f"\r\x1b[K{line}"
    assert terminal.getvalue().endswith("\r\x1b[K")
