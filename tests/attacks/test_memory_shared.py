"""One memory and several verifiers, damage of every kind, clocks that differ: what was learned once stays known."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kit.manifests import claimed
from kit.pki import DAY, NOW, Pki, p7s
from kit.trust import RULE, believed, codes, judge, new_state, signed_file
from sealwright.artifact.claims import Claims
from sealwright.errors import LimitExceeded, MalformedTrust, OutputRefused
from sealwright.trust import state as module
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.state import NOTHING, State, read_state, update_state
from sealwright.trust.times import Seen
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, Verifier

TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED
SECOND = timedelta(seconds=1)
ENDS = NOW + 5000 * DAY


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture
def state(tmp_path: Path) -> str:
    return new_state(tmp_path)


def pump(generation: int) -> Claims:
    return Claims("pump", str(generation), generation, ("rev-b",), "production")


def verifier(trust: Believed, state: str, **how: object) -> Verifier:
    return Verifier(trust, Request(clock=NOW, state=state, **how))  # type: ignore[arg-type]


def test_a144_two_verifiers_at_once_forget_nothing_and_the_slower_one_installs_nothing_older(
    tmp_path: Path, pki: Pki, state: str
) -> None:
    release = pki.leaf("release")
    old = str(claimed(tmp_path, release, pump(5), name="old.bin"))
    new = str(claimed(tmp_path, release, pump(7), name="new.bin"))
    (tmp_path / "other").mkdir()
    assert verifier(believed(pki), new_state(tmp_path / "other")).verify(old).outcome is TRUSTED
    slow = verifier(believed(pki), state)  # has read an empty memory, and now hashes for a minute
    assert verifier(believed(pki), state).verify(new).outcome is TRUSTED
    assert codes(slow.verify(old)) == ["SW-GENERATION-OLD"]
    assert read_state(state).generations == {"pump": 7}
    running = verifier(believed(pki), state, purpose=Purpose.RUN)
    assert running.verify(old).outcome is TRUSTED


@pytest.mark.parametrize("what", ["trust file", "deny list"])
def test_a104_a_newer_trust_file_or_deny_list_that_another_verifier_saw_meanwhile_stops_this_one(
    tmp_path: Path, pki: Pki, state: str, what: str
) -> None:
    path = str(signed_file(tmp_path, pki.leaf("release")))
    with_token = str(signed_file(tmp_path, pki.leaf("release"), tsa=pki.tsa(), name="stamped.bin"))
    slow = verifier(believed(pki), state)
    assert slow.verify(path).outcome is TRUSTED
    denied = dataclasses.replace(believed(pki, denied=[Denied("key", "x", 0, "stolen")]), deny_version=3)
    newer = believed(pki, version=2) if what == "trust file" else denied
    assert verifier(newer, state).verify(path).outcome is TRUSTED
    with pytest.raises(MalformedTrust, match=what):
        slow.verify(with_token)


def test_what_many_processes_learn_at_once_is_all_kept(tmp_path: Path, pki: Pki, state: str) -> None:
    release = pki.leaf("release")
    count, each = 4, 5
    paths = [
        [str(claimed(tmp_path, release, Claims(f"p{n}-{i}", "1", 1), name=f"{n}-{i}.bin")) for i in range(each)]
        for n in range(count)
    ]
    children = []
    for mine in paths:
        child = os.fork()
        if child == 0:
            try:
                done = all(verifier(believed(pki), state).verify(path).outcome is TRUSTED for path in mine)
                os._exit(0 if done else 1)
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(2)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count
    assert len(read_state(state).generations) == count * each


def test_a_memory_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, state: str) -> None:
    """Another verifier puts its newer one in place all the time; every read gives a whole one, and none is an error."""
    update_state(state, lambda known: known.having_seen("plant-7", 1, {}))
    whole = Path(state, "state.json").read_bytes()
    child = os.fork()
    if child == 0:
        try:
            while True:
                (tmp_path / "new").write_bytes(whole)
                os.replace(tmp_path / "new", Path(state, "state.json"))
        finally:
            os._exit(0)
    try:
        assert all(read_state(state).trust == {"plant-7": 1} for _ in range(3000))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a104_what_was_seen_is_remembered_whatever_the_verdict_was(tmp_path: Path, pki: Pki, state: str) -> None:
    """Else the file that the new list revokes could not teach that the list exists, and the old one is put back."""
    path = signed_file(tmp_path, pki.leaf("release"))
    rule = {"name": "none", "environment": "production", "signer": [{"anchors": ["root"], "subjects": ["CN=nobody"]}]}
    assert judge(path, believed(pki), state=state).outcome is TRUSTED
    newer = dataclasses.replace(believed(pki, version=2, rule=[rule]), deny_version=5)
    assert judge(path, newer, state=state).outcome is REJECTED
    with pytest.raises(MalformedTrust, match="older than version 2"):
        judge(path, believed(pki), state=state)
    older = dataclasses.replace(newer, deny_version=4)
    with pytest.raises(MalformedTrust, match="version 5 was seen"):
        judge(path, older, state=state)
    assert read_state(state).generations == {}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("floor", "2026-11-01T12:00:00"),
        ("floor", "0001-01-01T00:00:00+23:00"),
        ("floor", "9999-12-31T23:59:59-23:00"),
        ("floor", 0),
        ("floor", None),
        ("generations", {"pump": 1.5}),
        ("generations", {"pump": float("inf")}),
        ("generations", {"pump": True}),
        ("generations", {"pump": "7"}),
        ("generations", {"pump": None}),
        ("generations", []),
        ("trust", {"plant-7": -1}),
        ("lists", [["crl", 1]]),
        ("generation", {"pump": 9}),
    ],
)
def test_a105_a_memory_that_says_anything_we_do_not_write_is_damaged(state: str, part: str, value: object) -> None:
    update_state(state, lambda known: known.after([], NOW, ENDS, "pump", 7).having_seen("plant-7", 3, {"crl": 2}))
    kept = read_state(state)
    assert (kept.floor, kept.generations, kept.trust, kept.lists) == (NOW, {"pump": 7}, {"plant-7": 3}, {"crl": 2})
    path = Path(state, "state.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {part: value}))
    with pytest.raises(MalformedTrust, match="damaged"):
        read_state(state)


@contextmanager
def held(folder: str) -> Iterator[None]:
    import fcntl

    with Path(folder, module.LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a105_a_memory_that_cannot_be_kept_is_an_error_and_the_old_one_stays(
    tmp_path: Path, pki: Pki, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.1)
    assert judge(path, believed(pki), state=state).outcome is TRUSTED
    before = Path(state, "state.json").read_bytes()
    with held(state), pytest.raises(OutputRefused, match="another program"):
        judge(path, believed(pki, version=2), state=state)
    lock = Path(state, module.LOCK)
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputRefused):
        judge(path, believed(pki, version=2), state=state)
    assert not (tmp_path / "elsewhere").exists()
    assert Path(state, "state.json").read_bytes() == before
    lock.unlink()
    monkeypatch.setattr(module, "MAX_STATE_BYTES", len(before) + 20)
    with pytest.raises(LimitExceeded):
        update_state(state, lambda known: known.having_seen("p" * 100, 1, {}))
    assert Path(state, "state.json").read_bytes() == before
    assert judge(path, believed(pki), state=state).outcome is TRUSTED


def test_a109_a_floor_far_ahead_needs_two_sources() -> None:
    def after(known: State, issued: datetime, **said: datetime) -> datetime | None:
        return known.after([Seen(time, by) for by, time in said.items()], issued, ENDS, None, None).floor

    first = NOTHING.after([Seen(NOW, "tsa")], NOW - 5 * DAY, ENDS, None, None)
    assert first.floor == NOW
    assert after(NOTHING, NOW, tsa=NOW + 500 * DAY) == NOW
    assert after(first, NOW, tsa=NOW + 300 * DAY) == NOW + 300 * DAY
    assert after(first, NOW, tsa=NOW + 500 * DAY) == NOW
    years = NOW + 1000 * DAY
    assert after(first, years) == NOW
    assert after(first, years, tsa=years + DAY) == years + DAY
    assert after(first, years, tsa=years + 500 * DAY) == years
    assert after(first, NOW, tsa=years, log=years - DAY) == years
    assert after(first, NOW - 2 * DAY, tsa=NOW - DAY) == NOW
    assert after(first, NOW, tsa=ENDS + DAY, log=ENDS + 2 * DAY) == ENDS


@pytest.mark.parametrize(
    ("behind", "outcome"), [(2 * SECOND, TRUSTED), (300 * SECOND, TRUSTED), (400 * SECOND, UNDECIDED)]
)
def test_a109_a_clock_some_seconds_behind_the_authoritys_is_said_and_stops_nothing(
    tmp_path: Path, pki: Pki, behind: timedelta, outcome: Outcome
) -> None:
    path = signed_file(tmp_path, pki.leaf("release"), tsa=pki.tsa(), stamped=NOW)
    assert "SW-TIME-CLOCK-BEHIND" not in [f.code for f in judge(path, believed(pki), NOW).findings]
    verdict = judge(path, believed(pki), NOW - behind)
    assert verdict.outcome is outcome
    assert "SW-TIME-CLOCK-BEHIND" in [f.code for f in verdict.findings]


def test_a109_a_token_beside_a_signature_without_one_shows_that_it_has_ended(tmp_path: Path, pki: Pki) -> None:
    """The clock was put back to when the maker's certificate was good; the plant's timestamp knows better."""
    short, plant, tsa = pki.leaf("short", days=40), pki.leaf("plant"), pki.tsa()
    path = signed_file(tmp_path, short)
    accepted = p7s(plant, path.read_bytes(), tsa=tsa, stamped=NOW + 100 * DAY)
    (tmp_path / "drive.bin.plant.p7s").write_bytes(accepted)
    rule = RULE | {"without_clock": "allow"}
    assert judge(path, believed(pki, rule=[rule]), NOW + DAY).outcome is REJECTED
    (tmp_path / "drive.bin.plant.p7s").unlink()
    assert judge(path, believed(pki, rule=[rule]), NOW + DAY).outcome is TRUSTED


def test_nobody_else_can_hold_the_lock(state: str) -> None:
    update_state(state, lambda known: known.having_seen("plant-7", 1, {}))
    assert stat.S_IMODE(Path(state, module.LOCK).stat().st_mode) & 0o007 == 0
