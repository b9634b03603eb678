"""What a verifier with a state remembers: older trust files, deny lists, revocation lists and clocks put in its way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kit.pki import DAY, HOUR, NOW, Pki
from kit.trust import believed, codes, judge, new_state, signed_file
from sealwright.errors import MalformedTrust
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, verify_paths

TRUSTED, UNDECIDED = Outcome.TRUSTED, Outcome.UNDECIDED


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture
def state(tmp_path: Path) -> str:
    return new_state(tmp_path)


def test_a104_an_older_trust_file_is_refused_once_a_newer_one_was_seen(tmp_path: Path, pki: Pki, state: str) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    old, new = believed(pki), believed(pki, version=2)
    assert judge(path, old, state=state).outcome is TRUSTED
    assert judge(path, new, state=state).outcome is TRUSTED
    with pytest.raises(MalformedTrust, match="older than version 2"):
        judge(path, old, state=state)
    assert judge(path, believed(pki, id="plant-8"), state=state).outcome is TRUSTED
    assert judge(path, old).trust.rollback == "not checked"


@pytest.mark.parametrize("now", [0, 3])
def test_a104_an_older_deny_list_or_none_is_refused_once_a_newer_one_was_seen(
    tmp_path: Path, pki: Pki, state: str, now: int
) -> None:
    path, thief = signed_file(tmp_path, pki.leaf("release")), pki.leaf("thief")
    stolen = signed_file(tmp_path, thief, name="stolen.bin")
    denial = Denied("key", thief.key_digest, 0, "stolen")
    newest = dataclasses.replace(believed(pki, denied=[denial]), deny_version=4)
    older = dataclasses.replace(believed(pki), deny_version=now)
    assert judge(stolen, older, state=state).outcome is TRUSTED
    assert judge(path, newest, state=state).outcome is TRUSTED
    assert codes(judge(stolen, newest, state=state)) == ["SW-DENIED-SIGNER"]
    with pytest.raises(MalformedTrust, match="version 4 was seen"):
        judge(stolen, older, state=state)
    assert judge(path, believed(pki, version=2), state=state).outcome is TRUSTED  # its officers took the denials over


def test_a147_an_older_revocation_list_is_no_evidence_once_a_newer_one_was_seen(
    tmp_path: Path, pki: Pki, state: str
) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    wanted = {"crl": [{"issuer": pki.intermediate.pem}]}
    older = believed(pki, crls=[pki.crl(NOW, number=5)], **wanted)
    newer = believed(pki, crls=[pki.crl(NOW, number=6)], **wanted)
    assert judge(path, older, NOW + HOUR, state=state).outcome is TRUSTED
    assert judge(path, newer, NOW + HOUR, state=state).outcome is TRUSTED
    assert codes(judge(path, older, NOW + HOUR, state=state)) == ["SW-REVOCATION-UNKNOWN"]
    assert judge(path, newer, NOW + HOUR, state=state).outcome is TRUSTED
    assert judge(path, older, NOW + HOUR).outcome is TRUSTED


def test_a109_a_clock_put_back_changes_nothing_that_was_proved_past(tmp_path: Path, pki: Pki, state: str) -> None:
    signer, tsa = pki.leaf("release"), pki.tsa()
    stamped = signed_file(tmp_path, signer, tsa=tsa, stamped=NOW + 100 * DAY, name="new.bin", at=NOW)
    short = signed_file(tmp_path, pki.leaf("short", days=40), name="old.bin")
    assert judge(short, believed(pki), NOW).outcome is TRUSTED
    assert judge(stamped, believed(pki), NOW + 101 * DAY, state=state).outcome is TRUSTED
    verdict = judge(short, believed(pki), NOW, state=state)
    assert codes(verdict) == ["SW-CERT-EXPIRED"]
    assert verdict.times.judged > NOW + 99 * DAY


def test_a109_a_refused_file_moves_no_floor(tmp_path: Path, pki: Pki, state: str) -> None:
    tsa = pki.tsa()
    good = signed_file(tmp_path, pki.leaf("release"))
    assert judge(good, believed(pki), NOW, state=state).outcome is TRUSTED
    wrong = pki.leaf("config", purposes=["1.3.6.1.5.5.7.3.41"])
    late = signed_file(tmp_path, wrong, tsa=tsa, stamped=NOW + 200 * DAY, name="late.bin")
    assert codes(judge(late, believed(pki), NOW + 201 * DAY, state=state)) == ["SW-CERT-PURPOSE"]
    asked = Request(clock=NOW, at=NOW + 201 * DAY, state=state)
    list(verify_paths([str(good)], believed(pki), asked))
    verdict = judge(good, believed(pki), NOW, state=state)
    assert verdict.outcome is TRUSTED
    assert verdict.times.judged == NOW


@pytest.mark.parametrize("text", ["", "{", "[]", '{"floor": 7}', "null", '{"floor":"x","generations":{},"trust":{}}'])
def test_a105_a_damaged_memory_is_an_error_and_never_a_fresh_start(
    tmp_path: Path, pki: Pki, state: str, text: str
) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    assert judge(path, believed(pki), state=state).outcome is TRUSTED
    Path(state, "state.json").write_text(text)
    with pytest.raises(MalformedTrust):
        judge(path, believed(pki), state=state)


def test_a105_stale_trust_installs_nothing_and_stops_no_plant(tmp_path: Path, pki: Pki) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    trust = believed(pki)
    assert judge(path, trust).outcome is TRUSTED
    assert codes(judge(path, trust, NOW + 301 * DAY)) == ["SW-TRUST-EXPIRED"]
    assert judge(path, trust, NOW + 301 * DAY).outcome is UNDECIDED
    assert judge(path, trust, NOW + 301 * DAY, purpose=Purpose.RUN).outcome is TRUSTED
