"""What a report told stays told until the device runs that release."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Event, OnDevice, Outcome, Report, report_bytes
from sealwright.device.reported import carrying

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
OLD = OnDevice("drive", "1.4.1", 6, Digest.of(b"old"), NOW)
NEW = OnDevice("drive", "1.4.2", 7, Digest.of(b"new"), NOW)
REFUSED = Event(Outcome.REFUSED, NEW, "SW-TRUST-STALE")
RETURNED = Event(Outcome.RETURNED, NEW, "SW-INSTALL-FAILED")
PLAIN = Report("gw-17", 1, NOW, "line-1", "pilot", "plant", 7, running=(OLD,))


def test_events_and_permits_are_carried_on() -> None:
    last = replace(PLAIN, events=(REFUSED, RETURNED), permits=(Digest.of(b"permit"),))
    assert carrying(PLAIN, last) == last
    again = replace(PLAIN, events=(replace(REFUSED, release=replace(NEW, at=NOW + timedelta(hours=1))),))
    assert carrying(again, last).events == (*again.events, RETURNED)


def test_a_release_that_runs_is_told_no_more_as_one_that_failed() -> None:
    last = replace(PLAIN, events=(REFUSED, RETURNED))
    assert carrying(replace(PLAIN, running=(NEW,)), last).events == ()


def test_the_newest_are_kept_as_many_as_a_report_may_hold() -> None:
    many = tuple(
        Event(Outcome.REFUSED, replace(NEW, manifest=Digest.of(b"%d" % n), at=NOW + timedelta(minutes=n)), "SW-X")
        for n in range(50)
    )
    newer = Event(Outcome.REFUSED, replace(NEW, at=NOW + timedelta(days=1)), "SW-X")
    permits = tuple(sorted((Digest.of(b"%d" % n) for n in range(50)), key=str))
    last = replace(PLAIN, events=tuple(reversed(many)), permits=permits)
    said = carrying(replace(PLAIN, events=(newer,), permits=(Digest.of(b"newest"),)), last)
    assert (said.events[0], len(said.events), len(said.permits)) == (newer, 50, 50)
    assert many[0] not in said.events
    assert Digest.of(b"newest") in said.permits
    report_bytes(said)
