"""A device's report: one canonical form, bounded, nothing else is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Event, OnDevice, Outcome, Report, parse_report, report_bytes
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
RUNNING = OnDevice("VX-200 drive", "1.4.2", 7, Digest.of(b"seven"), NOW)
NEXT = OnDevice("VX-200 drive", "1.5.0", 8, Digest.of(b"eight"), NOW)
GOOD = Report(
    device="gw-17",
    number=41,
    made=NOW,
    group="line-1",
    channel="production",
    trust="nordhof line 3",
    trust_version=7,
    running=(RUNNING,),
    events=(Event(Outcome.REFUSED, NEXT, "SW-TRUST-STALE"), Event(Outcome.RETURNED, NEXT, "SW-X")),
    permits=(Digest.of(b"permit"),),
    couriers=tuple(sorted((Digest.of(b"one"), Digest.of(b"two")), key=str)),
    nonces=("5feceb66",),
)


def test_a_report_is_written_and_read_alike() -> None:
    assert parse_report(report_bytes(GOOD), "r") == GOOD
    bare = replace(GOOD, running=(), events=(), permits=(), couriers=(), nonces=())
    assert parse_report(report_bytes(bare), "r") == bare


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"report 1", b"report 2"),
        (b"gw-17", b"gw 17"),
        (b"gw-17", b"../gw"),
        (b"number 41", b"number 041"),
        (b"number 41", b"number -1"),
        (b"#! made", b"#! when"),
        (b"line-1\n", b"Line-1\n"),
        (b"line-1\n", b"line-1\n#! group line-2\n"),
        (b"nordhof%20line%203 7", b"nordhof%20line%203"),
        (b"nordhof%20line", b"nordhof line"),
        (b"#! running", b"#! installed"),
        (b"SW-TRUST-STALE", b"stale"),
        (b"#! nonce 5feceb66", b"#! nonce 5FECEB66"),
        (b"#! nonce 5feceb66", b"#! nonce 5f"),
        (b"#! nonce 5feceb66\n", b"#! nonce 5feceb66\n#! name Eva\n"),
        (b"sha256:", b"sha512:"),
        (b"\n#! made", b"\r\n#! made"),
    ],
)
def test_any_other_form_is_refused(old: bytes, new: bytes) -> None:
    data = report_bytes(GOOD)
    assert old in data
    with pytest.raises(MalformedArtifact):
        parse_report(data.replace(old, new, 1), "r")


def test_a_product_runs_once() -> None:
    with pytest.raises(MalformedArtifact, match="twice"):
        report_bytes(replace(GOOD, running=(RUNNING, RUNNING)))


def test_more_than_is_bounded_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        parse_report(report_bytes(GOOD) + b"#" * (64 << 10), "r")
    many = tuple(replace(RUNNING, product=f"p{number:03}") for number in range(51))
    report_bytes(replace(GOOD, running=many[:50]))
    with pytest.raises(MalformedArtifact, match="more than"):
        report_bytes(replace(GOOD, running=many))


@given(st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 4))
def test_any_mutation_is_refused_or_read_as_what_it_says(at: int, new: bytes, cut: int) -> None:
    data = report_bytes(GOOD)
    place = at % len(data)
    changed = data[:place] + new + data[place + cut :]
    try:
        report = parse_report(changed, "r")
    except SealwrightError:
        return
    assert report_bytes(report) == changed
