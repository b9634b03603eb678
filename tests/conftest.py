"""What all tests share: one command run in this process; the table of real verifiers, printed at the end and written where it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.postgres import Postgres, postgres
from kit.table import Cell, page, screen
from kit.writtenlogs import sqlite_url
from sealwright.cli.main import main

Run = Callable[..., tuple[int, str, str]]
_CELLS: list[Cell] = []

# Thousands of processes start here: what one of them compiled, the next one loads.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """For `make verifiers`."""
    parser.addoption("--write-verifiers", metavar="FILE", help="write the table of real verifiers there")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Also those of other processes arrive here."""
    if report.when == "call":
        _CELLS.extend(Cell.parse(str(value)) for name, value in report.user_properties if name == "verifier")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """In front of pytest's closing line."""
    if not _CELLS:
        return
    terminalreporter.section("what real verifiers said of what was signed, altered, and signed by another")
    for line in screen(_CELLS):
        terminalreporter.write_line(line)
    if target := config.getoption("--write-verifiers"):
        Path(target).write_text(page(_CELLS))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process: exit code, stdout, stderr. A module that wants another form of it defines its own."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture(scope="session")
def database_server() -> Iterator[Postgres]:
    """A PostgreSQL server of this process."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database of each kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    running: Postgres = request.getfixturevalue("database_server")
    return running.database()
