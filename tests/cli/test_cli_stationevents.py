"""What a checking station tells: the same values in its JSON and on its screen, and nothing else is taken for an event."""

from __future__ import annotations

import pytest

from sealwright.cli.stationevents import Event, Failed, Finished, Reading, Remark, Told, event_line, read_event
from sealwright.cli.stationshown import MAX_ROWS, Shown
from sealwright.errors import MalformedArtifact
from sealwright.findings import reject, warning
from sealwright.trust.verdict import Outcome

GOOD = Told("drive.bin", Outcome.TRUSTED, "", "Install it.", "sha256:00", 5, "acme")
BAD = Told("tool.exe", Outcome.REJECTED, "the file is not signed", "Ask.", "", 0, "", (reject("SW-STATION-LINK", "x"),))
END = Finished(Outcome.REJECTED, 1, 1, 0, 2, 4, 900, 1, "/media/clean", ("/labels/one.txt", "/labels/one.png"))


@pytest.mark.parametrize(
    "event", [Reading(3, 9000), GOOD, BAD, Remark(warning("SW-STATION-UNFINISHED", "a.part")), END]
)
def test_an_event_is_read_as_it_was_told(event: Reading | Told | Remark | Finished) -> None:
    assert read_event(event_line(event).encode()) == event


def test_an_error_is_a_failure_with_its_code_and_sentence() -> None:
    event = read_event(b'{"error": {"code": "SW-STATION-MEDIUM-GONE", "sentence": "a.bin: gone"}}')
    assert event == Failed("SW-STATION-MEDIUM-GONE", "a.bin: gone")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"ended",
        b"\xff",
        b"{}",
        b'{"event": "ended"}',
        b'{"event": "other"}',
        b'{"event": "reading", "files": true, "size_bytes": 1}',
        b'{"event": "reading", "files": -1, "size_bytes": 1}',
        b'{"event": "reading", "files": "3", "size_bytes": 1}',
        b'{"event": "remark", "code": "SW-NOBODY", "severity": "reject", "subject": "x"}',
        b'{"error": "no object"}',
        event_line(END).replace('"rejected", "exit_code"', '"perfect", "exit_code"').encode(),
        event_line(END).replace('["/labels/one.txt", "/labels/one.png"]', "[1]").encode(),
        b"[" * 100_000,
    ],
)
def test_anything_else_is_no_event(line: bytes) -> None:
    with pytest.raises(MalformedArtifact):
        read_event(line)


@pytest.mark.parametrize("last", [Failed("SW-STATION-MEDIUM-GONE", "gone"), Failed(), Reading(1, 1), GOOD])
def test_a_medium_that_did_not_end_shows_nothing_as_allowed(last: Event) -> None:
    ended, cut_off = Shown("/media/stick"), Shown("/media/stick")
    for shown in (ended, cut_off):
        for event in (GOOD, BAD):
            shown.add(event)
    ended.end(END)
    assert (ended.outcome, len(ended.rows), ended.label) == (Outcome.REJECTED, 2, "/labels/one.txt")
    cut_off.end(last)
    assert (cut_off.outcome, cut_off.gravity, cut_off.label) == (None, 0, "")
    assert ["tool.exe" in row.text for row in cut_off.rows] == [True]


def test_what_must_not_be_used_is_never_left_out_for_what_may_be() -> None:
    shown = Shown("/media/stick")
    for _ in range(MAX_ROWS):
        shown.add(GOOD)
    shown.add(BAD)
    assert len(shown.rows) == MAX_ROWS
    assert shown.more == 1
    assert sum("tool.exe" in row.text for row in shown.rows) == 1


def test_a150_escape_sequences_never_reach_the_screen() -> None:
    shown = Shown("/media/stick")
    shown.add(Told("a\x1b]0;ALLOWED\x07\u202e.bin", Outcome.REJECTED, "b\x1b[2J", "", "", 0, ""))
    shown.add(Remark(reject("SW-STATION-LINK", "c\x9b31m")))
    shown.end(Failed("SW-LIMIT", "the medium d\x1b[H"))
    text = "".join([row.text for row in shown.rows] + shown.lines)
    assert not [one for one in text if not one.isprintable()]
