"""The desk of a timestamp authority: what is on disk when a token leaves, at each place where it can fail."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kit.pki import DAY, NOW, Pki
from sealwright.artifact.digest import Digest
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.envelope.tsp import TimestampRequest, check_token, read_token
from sealwright.errors import JournalError, KeyUnavailable, SealwrightError
from sealwright.keys.file import FileKey
from sealwright.log.journal import EntryType, Recorded, read_journal, unfinished
from sealwright.pki.clocks import ClockWatch
from sealwright.pki.timestamp import LocalAuthority
from sealwright.signing import timestamping
from sealwright.signing.timestamping import ClockStopped, Issued, Order, TimestampDesk, open_journal

PKI = Pki.make()
TSA = PKI.tsa()


class Key(FileKey):
    """A key that can be slow or away."""

    delay_s = 0.0
    away: Exception | None = None
    batches: list[int]

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        self.batches.append(len(batch))
        if self.away is not None:
            raise self.away
        time.sleep(self.delay_s * len(batch))
        return super().sign(batch)


class Clock:
    def __init__(self) -> None:
        self.at, self.up = NOW.timestamp(), 0.0


class Desk(TimestampDesk):
    """A desk with its key and clock in reach."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.key = Key(TSA.key.info, TSA.key._private)  # type: ignore[arg-type]
        self.key.batches = []
        watch = ClockWatch([], wall=lambda: self.clock.at, steady=lambda: self.clock.up)
        authority = LocalAuthority(TSA.certificate, TSA.chain, self.key, watch.now)
        super().__init__(str(folder), authority, watch, "sha256:00")

    def ask(self, *values: bytes) -> list[Issued | SealwrightError]:
        """Order for each value, wait for all."""
        answers: dict[bytes, Issued | SealwrightError] = {}
        done = threading.Semaphore(0)
        for value in values:

            def tell(outcome: Issued | SealwrightError, value: bytes = value) -> None:
                answers[value] = outcome
                done.release()

            self.order(Order(TimestampRequest(Digest.of(value), 1, None, True), tell))
        for _ in values:
            assert done.acquire(timeout=20)
        return [answers[value] for value in values]


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    one = Desk(folder)
    try:
        yield one
    finally:
        one.close()


def entries(folder: Path) -> list[Recorded]:
    return list(read_journal(str(folder)))


def types_of(folder: Path) -> list[str]:
    return [entry.type.value for entry in entries(folder)]


def test_a_tokens_digest_is_in_the_journal_before_it_leaves(tmp_path: Path) -> None:
    recorded: list[bool] = []
    with desk(tmp_path) as one:

        def tell(outcome: Issued | SealwrightError) -> None:
            assert isinstance(outcome, Issued)
            last = entries(tmp_path)[-1]
            recorded.append(str(Digest.of(outcome.token)) in last.fields["tokens"])  # type: ignore[operator]

        one.order(Order(TimestampRequest(Digest.of(b"x"), 1, None, True), tell))
    assert recorded == [True]
    assert types_of(tmp_path) == ["intent", "result"]


def test_many_who_wait_share_one_use_of_key_and_disk(tmp_path: Path) -> None:
    values = [b"%d" % number for number in range(600)]
    with desk(tmp_path) as one:
        one.key.delay_s = 0.0005
        answers = one.ask(*values)
    for value, answer in zip(values, answers, strict=True):
        assert isinstance(answer, Issued)
        check_token(read_token(answer.token, "t"), value)
    assert len({answer.serial for answer in answers if isinstance(answer, Issued)}) == 600
    assert len(one.key.batches) < 20
    assert len(entries(tmp_path)) == 2 * len(one.key.batches)


def test_a_slow_key_signs_few_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamping, "BATCH_S", 0.1)
    with desk(tmp_path) as one:
        one.key.delay_s = 0.02
        one.ask(b"first")
        one.ask(*(b"%d" % number for number in range(20)))
        assert max(one.key.batches) <= 5


def test_who_waited_too_long_gets_no_use_of_the_key(tmp_path: Path) -> None:
    with desk(tmp_path) as one:
        told: list[Issued | SealwrightError] = []
        old = time.monotonic() - timestamping.MAX_WAIT_S - 1
        one.order(Order(TimestampRequest(Digest.of(b"x"), 1, None, True), told.append, old))
        assert isinstance(one.ask(b"y")[0], Issued)
        assert isinstance(told[0], SealwrightError)
        assert one.key.batches == [1]


@pytest.mark.parametrize("away", [KeyUnavailable("key", "the token is gone", "Put it back."), ValueError("a bug")])
def test_a_key_that_fails_is_recorded_as_a_refusal_and_tried_again(tmp_path: Path, away: Exception) -> None:
    with desk(tmp_path) as one:
        one.key.away = away
        assert isinstance(one.ask(b"x")[0], KeyUnavailable)
        assert one.report().problem
        one.key.away = None
        assert isinstance(one.ask(b"x")[0], Issued)
        assert not one.report().problem
    assert types_of(tmp_path) == ["intent", "refusal", "intent", "result"]
    assert unfinished(str(tmp_path)) == []


def test_a_clock_that_was_set_makes_no_token_and_uses_no_key(tmp_path: Path) -> None:
    with desk(tmp_path) as one:
        assert isinstance(one.ask(b"x")[0], Issued)
        one.clock.at -= 3600
        assert isinstance(one.ask(b"x")[0], ClockStopped)
        one.clock.at += 3600
        assert isinstance(one.ask(b"x")[0], Issued)
        assert one.key.batches == [1, 1]


@pytest.mark.parametrize("days", [-11, 3651])
def test_outside_of_its_certificates_time_it_makes_no_token(tmp_path: Path, days: int) -> None:
    with desk(tmp_path) as one:
        assert isinstance(one.ask(b"x")[0], Issued)
        one.clock.at, one.clock.up = (NOW + days * DAY).timestamp(), days * 86_400.0
        (answer,) = one.ask(b"x")
        assert isinstance(answer, SealwrightError)
        assert "its certificate is valid from" in answer.what


Write = Callable[[int, bytes], int]


def failing(monkeypatch: pytest.MonkeyPatch, code: int, *, after: int) -> None:
    """From now on a write to a file takes `after` octets and fails."""
    real: Write = os.write

    def write(descriptor: int, data: bytes) -> int:
        if after:
            real(descriptor, bytes(data[:after]))
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("sealwright.log.journal.os.write", write)


@pytest.mark.parametrize("after", [0, 1, 100])
@pytest.mark.parametrize(("code", "goes_on"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_write_that_fails_gives_nothing_and_goes_on_only_where_room_was_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, goes_on: bool, after: int
) -> None:
    monkeypatch.setattr(timestamping, "REOPEN_S", 0.0)
    with desk(tmp_path) as one:
        assert isinstance(one.ask(b"1")[0], Issued)
        with monkeypatch.context() as full:
            failing(full, code, after=after)
            assert isinstance(one.ask(b"2")[0], JournalError)
            assert one.key.batches == [1], "the key is not used for what is not recorded"
        assert isinstance(one.ask(b"3")[0], Issued) is goes_on
        assert one.report().fatal is not goes_on
    open_journal(str(tmp_path), 0).close()  # a new start, which sets a torn line aside
    assert unfinished(str(tmp_path)) == []
    assert len(entries(tmp_path)) == (4 if goes_on else 2)


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import signing.test_timestamping as t
from sealwright.log.journal import Journal
place, folder = sys.argv[1], Path(sys.argv[2])
append, calls = Journal.append, 0

def crashing(self, entries):
    global calls
    calls += 1
    if place == f"before write {{calls}}":
        os._exit(9)
    append(self, entries)
    if place == f"after write {{calls}}":
        os._exit(9)

Journal.append = crashing
one = t.Desk(folder)
if place == "in the key":
    one.key.delay_s = 9
    import threading
    threading.Timer(0.3, os._exit, (9,)).start()
print(read := [answer.serial for answer in one.ask(b"x")], flush=True)
if place == "after the token left":
    os._exit(9)
"""


@pytest.mark.parametrize(
    ("place", "left", "given"),
    [
        ("before write 1", [], False),
        ("after write 1", ["intent"], False),
        ("in the key", ["intent"], False),
        ("before write 2", ["intent"], False),
        ("after write 2", ["intent", "result"], False),
        ("after the token left", ["intent", "result"], True),
    ],
)
def test_killed_at_each_place_what_was_given_is_recorded_and_the_next_serial_is_another(
    tmp_path: Path, place: str, left: list[str], given: bool
) -> None:
    tests = str(Path(__file__).resolve().parents[1])
    died = subprocess.run(
        [sys.executable, "-c", CRASH.format(tests=tests), place, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == 9, died.stderr
    assert bool(died.stdout) is given
    assert types_of(tmp_path) == left
    before = {serial for entry in entries(tmp_path) for serial in entry.fields.get("serials", ())}  # type: ignore[union-attr]
    with desk(tmp_path) as one:
        (answer,) = one.ask(b"x")
        assert isinstance(answer, Issued)
        assert f"{answer.serial:032x}" not in before
    assert unfinished(str(tmp_path)) == []
    closed = ["refusal"] if left == ["intent"] else []
    assert types_of(tmp_path) == [*left, *closed, "intent", "result"]


def test_two_starts_from_one_copy_never_give_one_serial(tmp_path: Path) -> None:
    serials = []
    for name in "abcdef":
        with desk(tmp_path / name) as one:
            serials += [answer.serial for answer in one.ask(b"1", b"2") if isinstance(answer, Issued)]
    assert len(set(serials)) == 12
    assert {serial.bit_length() for serial in serials} == {127}


def test_what_was_ordered_before_the_end_is_answered(tmp_path: Path) -> None:
    told: list[Issued | SealwrightError] = []
    with desk(tmp_path) as one:
        one.key.delay_s = 0.01
        for number in range(50):
            one.order(Order(TimestampRequest(Digest.of(b"%d" % number), 1, None, True), told.append))
    one.order(Order(TimestampRequest(Digest.of(b"late"), 1, None, True), told.append))
    assert [type(answer) for answer in told[:50]] == [Issued] * 50
    assert isinstance(told[50], SealwrightError)
    assert [entry.type for entry in entries(tmp_path)][-1] is EntryType.RESULT


def test_a_key_that_must_not_be_used_any_more_makes_no_token_and_its_end_is_announced(tmp_path: Path) -> None:
    with desk(tmp_path) as one:
        assert isinstance(one.ask(b"a")[0], Issued)
        assert one.report().warning == ""
        one._standing = lambda _: "its certificate was revoked"
        answer = one.ask(b"b")[0]
        assert isinstance(answer, SealwrightError)
        assert "revoked" in answer.what
        assert "revoked" in one.report().problem
        assert one.key.batches == [1]
        one._standing = lambda _: ""
        one._until = NOW + 20 * DAY
        assert "renew it" in one.report().warning
        assert isinstance(one.ask(b"c")[0], Issued)
