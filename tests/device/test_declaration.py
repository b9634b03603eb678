"""What a script declares of its runs: hosts, accounts, times, numbers, and every line that could be read in two ways."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from sealwright.device.declaration import Declaration, read_declaration
from sealwright.device.marked import Unclear
from sealwright.device.script import Script

WHOLE = """#!/bin/sh
# Rotates the historian.
# sealwright-run: hosts = gw-01, gw-02.plant.example
# sealwright-run: accounts = ops
#   sealwright-run: not-before = 2026-11-24T01:00:00+01:00

# sealwright-run: not-after = 2026-11-24T03:00:00Z
# sealwright-run: days = Tue, Wed
# sealwright-run: hours = 22:00-03:00
# sealwright-run: runs = 2
echo hi
"""


def read(text: str, kind: str = "sh") -> Declaration:
    return read_declaration(Script(kind, text))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_every_declaration_is_read() -> None:
    found = read(WHOLE)
    assert found.hosts == ("gw-01", "gw-02.plant.example")
    assert found.accounts == ("ops",)
    assert (found.not_before, found.not_after) == (at("2026-11-24T00:00"), at("2026-11-24T03:00"))
    assert (found.days, found.hours, found.runs) == (("Tue", "Wed"), (time(22), time(3)), 2)
    assert read("# sealwright-run: kind = sh\n").kind == "sh"
    assert read("---\n# sealwright-run: kind = ansible\n", "ansible").kind == "ansible"
    assert read("echo hi\n") == Declaration()
    assert read("#!/usr/bin/env node\n// sealwright-run: runs = 1\n", "node").runs == 1
    assert read("// sealwright-run: runs = 1\nx()\n", "node").runs == 1
    assert read("-- sealwright-run: runs = 1\nselect 1;\n", "sql").runs == 1
    assert read("#!/bin/sh\r\n# sealwright-run: runs = 1\r\n").runs == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("# sealwright-run: host = a", "KEY = VALUE"),
        ("# sealwright-run: runs", "KEY = VALUE"),
        ("# sealwright-run: runs =", "KEY = VALUE"),
        ("# Sealwright-Run: runs = 1", "KEY = VALUE"),
        ("# sealwright-run runs = 1", "KEY = VALUE"),
        ("# sealwright-run: runs = 1\n# sealwright-run: runs = 2", "line 2: `runs` is there twice"),
        ("echo\n# sealwright-run: runs = 1", "line 2: it stands behind the first command"),
        ("# sealwright-run: kind = sql", "line 1: `kind` is sql, and its name or first line says sh"),
        ("# sealwright-run: kind = SH", "`kind` is SH"),
        ("echo\n# sealwright-run: kind = sh", "line 2: it stands behind the first command"),
        ("# sealwright-run: runs = 0", "number from 1"),
        ("# sealwright-run: runs = -1", "number from 1"),
        ("# sealwright-run: runs = 1.0", "number from 1"),
        ("# sealwright-run: runs = \u0661", "number from 1"),
        ("# sealwright-run: hosts = a,,b", "list of names"),
        ("# sealwright-run: hosts = *", "list of names"),
        ("# sealwright-run: not-before = 2026-11-24", "time like"),
        ("# sealwright-run: not-before = 2026-11-24T01:00:00", "time like"),
        ("# sealwright-run: not-before = 0001-01-01T00:00:00+23:59", "time like"),
        (
            "# sealwright-run: not-before = 2026-11-24T01:00Z\n# sealwright-run: not-after = 2026-11-24T01:00Z",
            "in front",
        ),
        ("# sealwright-run: days = Tuesday", "days"),
        ("# sealwright-run: hours = 1-3", "hours"),
        ("# sealwright-run: hours = 25:00-26:00", "hours"),
        ("# sealwright-run: hours = 24:00-24:30", "hours"),
        ("# sealwright-run: hours = 03:00-03:00", "hours"),
    ],
)
def test_a_declaration_with_two_readings_is_refused(line: str, why: str) -> None:
    assert read("# sealwright-run: runs = 1\n").runs == 1
    with pytest.raises(Unclear, match=why):
        read(line + "\n")


@pytest.mark.parametrize(
    ("declared", "inside", "outside"),
    [
        ("not-before = 2026-11-24T01:00:00Z", "2026-11-24T01:00:00", "2026-11-24T00:59:59"),
        ("not-after = 2026-11-24T03:00:00Z", "2026-11-24T02:59:59", "2026-11-24T03:00:00"),
        ("hours = 01:00-03:00", "2026-11-24T01:00", "2026-11-24T03:00"),
        ("hours = 22:00-24:00", "2026-11-24T23:59", "2026-11-24T00:00"),
        ("hours = 22:00-03:00", "2026-11-24T02:59", "2026-11-24T21:59"),
        ("days = Tue", "2026-11-24T12:00", "2026-11-25T00:00"),
    ],
)
def test_windows_open_and_close_at_the_second(declared: str, inside: str, outside: str) -> None:
    found = read(f"# sealwright-run: {declared}\n")
    assert found.outside(at(inside)) == ""
    assert found.outside(at(outside)) != ""


def test_a_night_belongs_to_the_day_it_began_on() -> None:
    found = read("# sealwright-run: days = Tue\n# sealwright-run: hours = 22:00-03:00\n")
    assert found.outside(at("2026-11-24T22:30")) == ""
    assert found.outside(at("2026-11-25T02:30")) == ""
    assert found.outside(at("2026-11-24T02:30")) != ""
    assert found.outside(at("2026-11-25T22:30")) != ""
