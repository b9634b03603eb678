"""The clock of a timestamp authority: what its sources say, over real sockets, and when it may not be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from kit.ntp import Answers, packet, server
from sealwright.errors import UsageError
from sealwright.pki.clocks import (
    AuthoritySource,
    ClockReport,
    ClockWatch,
    KernelSource,
    Reading,
    SntpSource,
    SourceSilent,
    parse_source,
)

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()


class Clock:
    """A machine's clock, and the one that nobody can set."""

    def __init__(self, wall: float = NOON) -> None:
        self.at, self.up = wall, 1000.0

    def passes(self, seconds: float) -> None:
        self.at += seconds
        self.up += seconds

    def is_set(self, seconds: float) -> None:
        self.at += seconds


@dataclass
class Says:
    """A source with one answer, or none."""

    name: str
    offset: float | None
    uncertainty: float = 0.01

    def ask(self, wall: Callable[[], float]) -> Reading:
        if self.offset is None:
            raise SourceSilent("no answer")
        return Reading(self.name, self.offset, self.uncertainty)


def watch(
    clock: Clock, *sources: Says | KernelSource, changed: Callable[[ClockReport], None] | None = None
) -> ClockWatch:
    return ClockWatch(
        sources, max_drift_s=1.0, max_silence_s=600, wall=lambda: clock.at, steady=lambda: clock.up,
        changed=changed or (lambda _: None),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("offsets", "problem"),
    [
        ((0.0,), ""),
        ((0.99,), ""),
        ((-0.99,), ""),
        ((1.01,), "differs from a by +1.010 s"),
        ((-5.0,), "differs from a by -5.000 s"),
        ((None,), "no source of time has answered"),
        ((None, 0.1), ""),
        ((5.0, 0.1), "differs from a by +5.000 s"),
        ((5.0, 0.1, -0.1), ""),
        ((5.0, 0.1, None), "differs from a by +5.000 s"),
        ((5.0, -7.0, 0.1), "differs from b by -7.000 s"),
        ((float("nan"),), "differs from a"),
    ],
)
def test_more_than_half_of_the_sources_that_answer_must_agree(offsets: tuple[float | None, ...], problem: str) -> None:
    one = watch(Clock(), *(Says(name, offset) for name, offset in zip("abc", offsets, strict=False)))
    assert "none was asked" in one.problem()
    one.check()
    assert problem in one.problem()
    assert bool(problem) is bool(one.problem())


def test_an_answer_less_certain_than_the_limit_is_none() -> None:
    one = watch(Clock(), Says("far", 0.0, uncertainty=1.5))
    one.check()
    assert "its answer may be 1.500 s off" in one.problem()
    other = watch(Clock(), Says("odd", 0.0, uncertainty=float("nan")))
    other.check()
    assert other.problem()


def test_silence_stops_the_clock_only_after_its_limit_and_an_answer_starts_it_again() -> None:
    clock, source = Clock(), Says("a", 0.0)
    told: list[str] = []
    one = watch(clock, source, changed=lambda report: told.append(report.problem))
    one.check()
    source.offset = None
    clock.passes(600)
    one.check()
    assert one.problem() == ""
    clock.passes(1)
    assert "no source of time has answered for 600 s" in one.problem()
    one.check()
    source.offset = 0.0
    one.check()
    assert one.problem() == ""
    assert [bool(problem) for problem in told] == [False, True, False]


@pytest.mark.parametrize("step", [3600.0, -3600.0, 1.1, -1.1])
def test_a_clock_that_was_set_is_believed_only_when_its_sources_agree_anew(step: float) -> None:
    clock, source = Clock(), Says("a", 0.0)
    one = watch(clock, source)
    one.check()
    clock.passes(60)
    assert one.problem() == ""
    clock.is_set(step)
    assert f"the clock was set by {step:+.3f} s" in one.problem()
    source.offset = None  # what it said before the step counts no more
    one.check()
    assert "no source" in one.problem()
    source.offset = -step
    one.check()
    assert "differs" in one.problem()
    clock.is_set(-step)
    source.offset = 0.0
    one.check()
    assert one.problem() == ""


def test_without_sources_a_clock_that_was_set_is_believed_by_a_new_start_only() -> None:
    clock = Clock()
    one = watch(clock)
    one.check()
    clock.passes(86_400 * 30)
    assert one.problem() == ""
    for _ in range(3):  # small steps add up
        clock.is_set(0.4)
    assert "the clock was set by +1.200 s" in one.problem()
    one.check()
    assert one.problem()
    assert watch(clock).problem() == ""


@pytest.mark.parametrize(
    ("state", "status", "largest_error_us", "problem"),
    [
        (0, 0x2001, 20_000, ""),
        (5, 0x40, 16_000_000, "not synchronised"),
        (0, 0x40, 20_000, "not synchronised"),
        (0, 0x2001, 1_500_000, "may be 1.500 s off"),
    ],
)
def test_the_kernel_vouches_while_its_clock_is_disciplined(
    state: int, status: int, largest_error_us: int, problem: str
) -> None:
    one = watch(Clock(), KernelSource(read=lambda: (state, status, largest_error_us)))
    one.check()
    assert problem in one.problem()
    assert bool(problem) is bool(one.problem())


def test_this_kernel_answers() -> None:
    one = ClockWatch([KernelSource()])
    one.check()
    report = one.report()
    assert [reading.source for reading in report.readings] or "synchronised" in dict(report.silent)["kernel"]


@pytest.mark.parametrize("ahead", [0.0, 0.25, -3.5, 86_400.0, -86_400.0 * 365])
def test_the_offset_of_an_ntp_server_is_measured(ahead: float) -> None:
    with server(lambda query: [packet(query, NOON + ahead)]) as (source, seen):
        reading = source.ask(lambda: NOON)
    assert reading.offset_s == pytest.approx(ahead, abs=0.2)
    assert 0.014 < reading.uncertainty_s < 0.5
    assert len(seen[0]) == 48
    assert seen[0][0] == 0x23
    assert seen[0][1:40] == bytes(39), "our own time is nobody's business"


def test_the_era_of_ntp_ends_in_2036_and_nothing_happens() -> None:
    after = datetime(2036, 2, 8, tzinfo=UTC).timestamp()
    with server(lambda query: [packet(query, after)]) as (source, _):
        assert source.ask(lambda: after - 200_000).offset_s == pytest.approx(200_000, abs=0.2)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (lambda query: [packet(query, NOON, head=0xE4)], "not synchronised"),
        (lambda query: [packet(query, NOON, stratum=16)], "not synchronised"),
        (lambda query: [packet(query, NOON)[:40] + bytes(8)], "not synchronised"),
        (lambda query: [packet(query, NOON, stratum=0, reference=b"RATE")], "wants no queries ('RATE')"),
        (lambda query: [packet(query, NOON, head=0x23)], "no NTP server's"),
        (lambda query: [query], "no answer"),
        (lambda query: [packet(query, NOON, head=0x0C)], "no NTP server's"),
        (lambda query: [packet(query, NOON, held=-5)], "contradicts"),
        (lambda query: [packet(query, NOON, held=5)], "contradicts"),
        (lambda query: [packet(query, NOON)[:47]], "no answer"),
        (lambda query: [packet(bytes(48), NOON)], "no answer"),
    ],
)
def test_an_answer_that_proves_nothing_is_silence(answers: Answers, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.pki.clocks.TIMEOUT_S", 0.3)
    with server(lambda query: [packet(query, NOON)]) as (source, _):
        source.ask(lambda: NOON)
    with server(answers) as (source, _), pytest.raises(SourceSilent) as refused:
        source.ask(lambda: NOON)
    assert why in str(refused.value)


def test_a_forged_answer_does_not_hide_the_one_that_follows() -> None:
    forged = bytes(24) + b"somebody" + bytes(16)
    with server(lambda query: [forged, packet(bytes(48), NOON + 99), packet(query, NOON)]) as (source, _):
        assert source.ask(lambda: NOON).offset_s == pytest.approx(0, abs=0.2)


def test_nobody_there_is_silence() -> None:
    for host in ("127.0.0.1", "no.such.host.invalid", "\udc80", "x" * 300):
        with pytest.raises(SourceSilent):
            SntpSource("x", host, 9).ask(lambda: NOON)
    with pytest.raises(SourceSilent):
        AuthoritySource("x", "http://127.0.0.1:9/").ask(lambda: NOON)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("sntp:a.plant", "a.plant", 123),
        ("sntp:10.0.0.1:1123", "10.0.0.1", 1123),
        ("sntp:[::1]:99", "::1", 99),
        ("sntp:[::1]", "::1", 123),
    ],
)
def test_a_server_is_named_as_people_write_it(text: str, host: str, port: int) -> None:
    source = parse_source(text)
    assert isinstance(source, SntpSource)
    assert (source.host, source.port, source.name) == (host, port, text)


@pytest.mark.parametrize(
    "text",
    ["", "ntp", "sntp:", "sntp::123", "sntp:h:x", "sntp:h:0", "sntp:h:99999", "tsa:ftp://x/", "kernel:x", "none"],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)
