"""RULES 4 sentence by sentence: which test proves each, and the tests of those that have no better place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kit.logs import WITNESS, NoteSigner, write_proof
from kit.pki import DAY, HOUR, NOW, Pki, Signer, p7s, token
from kit.trust import RULE, believed, codes, judge, new_state, signed_file
from sealwright.cli.main import main
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.state import read_state
from sealwright.trust.times import MAX_FLOOR_STEP, Seen, moved
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, verify_paths

TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED
TESTS = Path(__file__).parents[1]
REASON = x509.ReasonFlags
SECOND = timedelta(seconds=1)

SENTENCES: dict[str, Sequence[str]] = {
    "Claimed: the signer's word, shown, never used": ("test_a095_a_date_that_the_signer_writes_counts_for_nothing",),
    "Proved: the earliest of genTime + accuracy of a valid token": (
        "test_a_token_proves_its_time_and_its_accuracy",
        "test_several_tokens_count_separately_and_the_earliest_that_holds_proves",
        "test_every_combination_is_judged_as_rules_4_says",
    ),
    "or the k-th earliest non-zero time among cosignatures of distinct witnesses": (
        "test_the_proved_time_is_the_kth_earliest_of_distinct_witnesses_that_say_one",
        "test_two_keys_of_one_witness_count_once",
    ),
    "A log's own signature and entry times prove nothing": (
        "test_a_witness_does_not_sign_as_a_log_nor_a_log_as_a_witness",
        "test_the_proved_time_is_the_kth_earliest_of_distinct_witnesses_that_say_one",
    ),
    "Floor: moved only by accepted objects": (
        "test_a109_a_refused_file_moves_no_floor",
        "test_a_refused_signature_moves_no_time_of_the_judgement_beside_it",
        "test_a109_a_clock_that_ran_ahead_is_forgotten_when_it_is_right_again",
    ),
    "(genTime - accuracy, or a trust file's issued)": ("test_a109_a_floor_far_ahead_needs_two_sources",),
    "never past the trust file's expires": ("test_the_floor_never_passes_the_end_of_the_trust_file",),
    "by more than 400 days only with two independent sources": (
        "test_a109_a_floor_far_ahead_needs_two_sources",
        "test_one_source_alone_moves_the_time_of_a_judgement_by_400_days_at_most",
    ),
    "officers may lower it by a new trust file": ("test_officers_take_a_floor_back_by_a_new_version_once",),
    "Judgement time = max(clock, floor)": ("test_a_clock_at_1970_does_not_make_anything_valid_again",),
    "Several tokens count separately; a bad one is a finding and never improves a verdict": (
        "test_several_tokens_count_separately_and_the_earliest_that_holds_proves",
    ),
    "A token is judged with its authority's path at genTime; last_token": (
        "test_a_token_outlives_its_authoritys_certificate_up_to_last_token",
    ),
    "Authority's certificate revoked": (
        "test_only_an_orderly_end_of_an_authority_leaves_its_earlier_tokens_valid",
        "test_a_token_of_a_revoked_authority",
    ),
    "--at replaces the clock only, marks the verdict hypothetical, never moves the floor": (
        "test_at_replaces_the_clock_only_and_leaves_nothing_behind",
    ),
    "CRL signature, issuer and number are checked": (
        "test_a_list_is_signed_by_an_issuer_that_may",
        "test_a147_an_older_revocation_list_is_no_evidence_once_a_newer_one_was_seen",
    ),
    "An entry counts from its invalidity date, else its revocation date": (
        "test_an_entry_counts_from_its_invalidity_date_else_its_revocation_date",
        "test_every_combination_is_judged_as_rules_4_says",
    ),
    "without invalidity date, reject every signature of that key whenever made": (
        "test_revocation_counts_from_its_invalidity_date",
    ),
    "certificateHold rejects while it lasts": ("test_a_hold_ends_with_the_newest_list_that_no_longer_has_it",),
    "a foreign CRL without expiredCertsOnCRL": (
        "test_a_list_made_after_a_certificates_end_knows_of_it_only_if_it_keeps_ended_ones",
    ),
    "Silence is evidence only from a CRL made after the proved time, and fresh now": (
        "test_silence_is_evidence_only_from_a_list_that_could_have_known",
        "test_a_list_that_is_stale_does_not_say_that_nothing_worse_came_later",
    ),
    "several CRLs: the earliest effective date wins": (
        "test_of_several_lists_the_earliest_date_wins_and_a_forgetful_newer_list_heals_nothing",
    ),
    "Indirect, delta and partial CRLs and unknown critical extensions are refused": (
        "test_only_full_and_direct_lists_of_the_issuer_are_used",
    ),
    "One serial table per CRL digest": ("test_a_list_is_walked_once_and_asked_quickly",),
    "A missing or stale CRL is undecided for install, a warning for run": (
        "test_silence_of_a_list_is_evidence_only_if_it_is_newer_than_the_signature_and_fresh",
        "test_every_combination_is_judged_as_rules_4_says",
    ),
}


def test_every_sentence_has_its_test() -> None:
    text = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    missing = [name for names in SENTENCES.values() for name in names if f"def {name}(" not in text]
    assert not missing


@pytest.fixture
def pki() -> Pki:
    return Pki.make()


@pytest.fixture
def state(tmp_path: Path) -> str:
    return new_state(tmp_path)


def signature_value(path: Path) -> bytes:
    (signer,) = read_envelope(path.with_name(f"{path.name}.p7s").read_bytes(), Profile.OURS, "signature").signers
    return signer.signature  # type: ignore[union-attr]


def hypothetically(path: Path, trust: Believed, at: datetime, state: str | None = None) -> Verdict:
    """What a machine without a clock is told of another time."""
    (verdict,) = verify_paths([str(path)], trust, Request(clock=NOW.replace(year=1970), at=at, state=state))
    return verdict


def test_several_tokens_count_separately_and_the_earliest_that_holds_proves(tmp_path: Path, pki: Pki) -> None:
    tsa, stranger, short = pki.tsa(), Pki.make("Other").tsa(), pki.leaf(days=30)
    late = NOW + 40 * DAY
    for inside, beside, holds in (
        ((tsa, NOW), (tsa, late), True),
        ((tsa, late), (tsa, NOW), True),
        ((stranger, NOW), (tsa, NOW), True),
        ((tsa, NOW), (stranger, NOW - DAY), True),
        ((stranger, NOW), (tsa, late), False),
        ((tsa, late), (stranger, NOW), False),
    ):
        path = signed_file(tmp_path, short, tsa=inside[0], stamped=inside[1])
        path.with_name("drive.bin.tsr").write_bytes(token(beside[0], signature_value(path), beside[1]))
        verdict = judge(path, believed(pki), NOW + 60 * DAY)
        assert codes(verdict) == ([] if holds else ["SW-CERT-EXPIRED"])
        refused = [f for f in verdict.findings if f.code == "SW-TIMESTAMP-REFUSED"]
        assert [f.severity for f in refused] == ["warning"] * [inside[0], beside[0]].count(stranger)
        if holds:
            assert verdict.times.proved is not None
            assert abs(verdict.times.proved - NOW) < HOUR


@pytest.mark.parametrize(("since", "holds"), [(SECOND, False), (2 * SECOND, True)])
def test_a_token_proves_its_time_and_its_accuracy(tmp_path: Path, pki: Pki, since: timedelta, holds: bool) -> None:
    """Made on day 0, give or take a second: what was stolen a second later may have been stolen before."""
    signer = pki.leaf()
    path = signed_file(tmp_path, signer, tsa=pki.tsa())
    verdict = judge(path, believed(pki))
    assert (verdict.times.proved, verdict.times.floor) == (NOW + SECOND, NOW - SECOND)
    pki.revoke(signer, NOW + DAY, REASON.key_compromise, NOW + since)
    assert codes(judge(path, believed(pki, crls=[pki.crl(NOW + DAY)]), NOW + 2 * DAY)) == (
        [] if holds else ["SW-CERT-REVOKED"]
    )


def test_a_refused_signature_moves_no_time_of_the_judgement_beside_it(tmp_path: Path, pki: Pki) -> None:
    tsa, denied = pki.tsa(), pki.leaf("stolen")
    path = signed_file(tmp_path, pki.leaf())
    path.with_name("drive.bin.plant.p7s").write_bytes(p7s(denied, path.read_bytes(), tsa=tsa, stamped=NOW + 100 * DAY))
    assert judge(path, believed(pki)).times.floor == NOW + 100 * DAY - SECOND
    trust = believed(pki, denied=[Denied("key", denied.key_digest, 0, "stolen")])
    verdict = judge(path, trust)
    assert (verdict.outcome, verdict.times.floor) == (TRUSTED, trust.trust.issued)


@pytest.mark.parametrize(
    ("stamped", "last", "ends", "holds"),
    [
        (NOW, None, False, True),
        (NOW, NOW - DAY, False, True),  # only asked once the authority's certificate has ended
        (NOW, None, True, True),
        (NOW, NOW + DAY, True, True),
        (NOW, NOW, True, True),
        (NOW, NOW - DAY, True, False),
        (NOW + 40 * DAY, None, True, False),  # made after the certificate's end: no path at genTime
    ],
)
def test_a_token_outlives_its_authoritys_certificate_up_to_last_token(
    tmp_path: Path, pki: Pki, stamped: datetime, last: datetime | None, ends: bool, holds: bool
) -> None:
    tsa = pki.tsa(days=30) if ends else pki.tsa()
    authority: dict[str, object] = {"name": "timestamps", "anchor": pki.root.pem}
    trust = believed(pki, authority=[authority | ({"last_token": last} if last else {})])  # type: ignore[list-item]
    path = signed_file(tmp_path, pki.leaf(days=30), tsa=tsa, stamped=stamped)
    assert codes(judge(path, trust, NOW + 60 * DAY)) == ([] if holds else ["SW-CERT-EXPIRED"])


@pytest.mark.parametrize(
    ("reason", "revoked", "invalid", "holds"),
    [
        (REASON.superseded, NOW + DAY, None, True),
        (REASON.cessation_of_operation, NOW + DAY, None, True),
        (REASON.affiliation_changed, NOW + DAY, None, True),
        (REASON.superseded, NOW - DAY, None, False),
        (REASON.superseded, NOW + DAY, NOW - DAY, False),
        (REASON.key_compromise, NOW + DAY, None, False),
        (REASON.key_compromise, NOW + 2 * DAY, NOW + DAY, False),
        (REASON.certificate_hold, NOW + DAY, None, False),
        (None, NOW + DAY, None, False),
    ],
)
def test_a_token_of_a_revoked_authority(
    tmp_path: Path, pki: Pki, reason: REASON | None, revoked: datetime, invalid: datetime | None, holds: bool
) -> None:
    tsa = pki.tsa()
    path = signed_file(tmp_path, pki.leaf(days=30), tsa=tsa)
    assert judge(path, believed(pki, crls=[pki.crl(NOW + 50 * DAY)]), NOW + 60 * DAY).outcome is TRUSTED
    pki.revoke(tsa, revoked, reason, invalid)
    verdict = judge(path, believed(pki, crls=[pki.crl(NOW + 50 * DAY, number=2)]), NOW + 60 * DAY)
    assert codes(verdict) == ([] if holds else ["SW-CERT-EXPIRED"])


@pytest.mark.parametrize(
    ("judged", "wanted", "purpose", "outcome"),
    [
        (NOW + 20 * DAY, True, Purpose.INSTALL, TRUSTED),
        (NOW + 60 * DAY, True, Purpose.INSTALL, UNDECIDED),
        (NOW + 60 * DAY, True, Purpose.RESTORE, UNDECIDED),
        (NOW + 60 * DAY, True, Purpose.RUN, TRUSTED),
        (NOW + 60 * DAY, False, Purpose.INSTALL, TRUSTED),
    ],
)
def test_a_list_that_is_stale_does_not_say_that_nothing_worse_came_later(
    tmp_path: Path, pki: Pki, judged: datetime, wanted: bool, purpose: Purpose, outcome: Outcome
) -> None:
    """It says superseded from day 5; the next list may say stolen before day 0, and who withholds that one gains nothing (A103)."""
    signer = pki.leaf()
    path = signed_file(tmp_path, signer, tsa=pki.tsa())
    pki.revoke(signer, NOW + 5 * DAY, REASON.superseded)
    policy: dict[str, object] = {"crl": [{"issuer": pki.intermediate.pem}]} if wanted else {}
    verdict = judge(path, believed(pki, crls=[pki.crl(NOW + 6 * DAY)], **policy), judged, purpose=purpose)  # type: ignore[arg-type]
    assert verdict.outcome is outcome
    told = {f.code for f in verdict.findings}
    assert ("SW-REVOCATION-UNKNOWN" in told) is (wanted and judged > NOW + 36 * DAY)
    assert ("SW-CERT-REVOKED-LATER" in told) is (outcome is TRUSTED)


def test_the_floor_never_passes_the_end_of_the_trust_file(tmp_path: Path, pki: Pki, state: str) -> None:
    path = signed_file(tmp_path, pki.leaf(), tsa=pki.tsa(), stamped=NOW + 200 * DAY)
    assert judge(path, believed(pki), NOW, state=state).times.floor == NOW + 200 * DAY - SECOND
    ends = NOW + 100 * DAY
    verdict = judge(path, believed(pki, expires=ends), NOW)
    assert (verdict.times.floor, verdict.times.judged) == (ends, ends)
    assert judge(path, believed(pki, version=2, expires=ends), NOW, state=state).times.floor == ends


def test_one_source_alone_moves_the_time_of_a_judgement_by_400_days_at_most(tmp_path: Path, pki: Pki) -> None:
    """A clock at 1970, a token of 500 days after `issued`, and a log whose witnesses say the same or not."""
    tsa, late = pki.tsa(), NOW + 500 * DAY
    log, witness = NoteSigner.make("log.example"), NoteSigner.make("w.example", WITNESS)
    trust = believed(
        pki,
        issued=NOW,
        expires=NOW + 900 * DAY,
        log=[{"name": "log", "vkey": log.vkey}],
        witness=[{"name": "w", "vkey": witness.vkey}],
        rule=[RULE | {"without_clock": "allow"}],
    )
    early, signer = NOW.replace(year=1970), pki.leaf(days=900)
    path = signed_file(tmp_path, signer, tsa=tsa, stamped=NOW + 399 * DAY)
    assert judge(path, trust, early).times.floor == NOW + 399 * DAY - SECOND
    path = signed_file(tmp_path, signer, tsa=tsa, stamped=late)
    assert judge(path, trust, early).times.floor == NOW
    write_proof(path, signer, log, {witness: late})
    assert judge(path, trust, early).times.floor == late
    write_proof(path, signer, log, {witness: NOW + DAY})
    assert judge(path, trust, early).times.floor == NOW + DAY
    # the same authority twice is one source, also under two names
    path = signed_file(tmp_path, signer, tsa=tsa, stamped=late, name="b.bin")
    path.with_name("b.bin.tsr").write_bytes(token(pki.tsa(), signature_value(path), late + DAY))
    assert judge(path, trust, early).times.floor == NOW


def test_the_floor_moves_as_far_as_two_agree_and_one_step_further() -> None:
    ends, step = NOW + 5000 * DAY, MAX_FLOOR_STEP
    far = NOW + 1000 * DAY
    for seen, floor in (
        ([], NOW),
        ([("a", NOW - DAY)], NOW),
        ([("a", NOW + step)], NOW + step),
        ([("a", NOW + step + HOUR)], NOW),
        ([("a", far), ("a", far)], NOW),
        ([("a", far), ("a", NOW + DAY)], NOW + DAY),
        ([("a", far), ("b", far - DAY)], far),
        ([("a", far), ("b", NOW + 10 * DAY)], NOW + 10 * DAY),
        ([("a", far + step), ("b", far)], far + step),
        ([("a", far + step), ("b", far), ("c", NOW)], far + step),
        ([("a", ends + DAY), ("b", ends + 2 * DAY)], ends),
    ):
        assert moved(NOW, [Seen(time, by) for by, time in seen], ends) == floor


def test_officers_take_a_floor_back_by_a_new_version_once(tmp_path: Path, pki: Pki, state: str) -> None:
    """An authority's clock ran 300 days ahead; a verifier that believed it is helped by the next version of the trust file."""
    path = signed_file(tmp_path, pki.leaf(), tsa=pki.tsa(), stamped=NOW + 250 * DAY)
    plain = signed_file(tmp_path, pki.leaf(days=100), name="plain.bin")
    assert judge(path, believed(pki), state=state).outcome is UNDECIDED  # the clock is behind the token
    allowing = RULE | {"without_clock": "allow"}
    assert judge(path, believed(pki, rule=[allowing]), state=state).outcome is TRUSTED
    ahead = NOW + 250 * DAY - SECOND
    assert read_state(state).floor == ahead
    assert codes(judge(plain, believed(pki, version=2), state=state)) == ["SW-CERT-EXPIRED"]
    issued = NOW - DAY
    third = believed(pki, version=3, issued=issued, floor_lowered_in=3)
    # a question only is no judgement
    assert hypothetically(plain, third, NOW + HOUR, state).outcome is TRUSTED
    assert read_state(state).floor == ahead
    verdict = judge(plain, third, state=state)
    assert (verdict.outcome, verdict.times.floor) == (TRUSTED, issued)
    assert read_state(state).floor == issued
    # once: what is accepted after that counts again, and the same line in later versions does nothing
    lax = believed(pki, version=3, issued=issued, floor_lowered_in=3, rule=[allowing])
    assert judge(path, lax, state=state).outcome is TRUSTED
    assert read_state(state).floor == ahead
    fourth = believed(pki, version=4, issued=NOW, floor_lowered_in=3)
    assert codes(judge(plain, fourth, state=state)) == ["SW-CERT-EXPIRED"]
    assert read_state(state).floor == ahead


def test_a_floor_is_not_lowered_for_who_never_saw_an_earlier_version_nor_raised_by_it(
    tmp_path: Path, pki: Pki, state: str
) -> None:
    path = signed_file(tmp_path, pki.leaf(days=100))
    other = believed(pki, id="other-plant", issued=NOW + 50 * DAY)
    assert judge(path, other, NOW + 60 * DAY, state=state).outcome is TRUSTED
    assert read_state(state).floor == NOW + 50 * DAY
    lowered = believed(pki, version=7, floor_lowered_in=7)  # of an id that is new here
    assert judge(path, lowered, NOW + 60 * DAY, state=state).outcome is TRUSTED
    assert read_state(state).floor == NOW + 50 * DAY
    later = believed(pki, version=9, floor_lowered_in=8, issued=NOW + 55 * DAY)  # from 7 to 9 at once
    assert judge(path, later, NOW + 60 * DAY, state=state).outcome is TRUSTED
    assert read_state(state).floor == NOW + 55 * DAY  # which `issued` itself shows to be past


def test_at_replaces_the_clock_only_and_leaves_nothing_behind(tmp_path: Path, pki: Pki, state: str) -> None:
    path = signed_file(tmp_path, pki.leaf(days=100), tsa=pki.tsa())
    asked = hypothetically(path, believed(pki), NOW + 60 * DAY, state)
    assert (asked.outcome, asked.hypothetical, asked.times.judged) == (TRUSTED, True, NOW + 60 * DAY)
    assert read_state(state).floor is None
    past = hypothetically(path, believed(pki), NOW - 3000 * DAY)  # the floor holds also against it
    assert past.times.judged == past.times.floor
    assert past.hypothetical
    assert judge(path, believed(pki), state=state).outcome is TRUSTED
    assert read_state(state).floor == NOW - SECOND


def test_the_rule_that_says_revoked_later_needs_no_answer_about_its_own_reasons(tmp_path: Path, pki: Pki) -> None:
    """A fresh list of lower number than one seen before is stale too."""
    signer: Signer = pki.leaf()
    path = signed_file(tmp_path, signer, tsa=pki.tsa())
    pki.revoke(signer, NOW + 5 * DAY, REASON.superseded)
    at, state = NOW + 20 * DAY, new_state(tmp_path)
    old, new = pki.crl(NOW + 6 * DAY, number=4), pki.crl(NOW + 7 * DAY, number=5)
    assert judge(path, believed(pki, crls=[new]), at, state=state).outcome is TRUSTED
    assert judge(path, believed(pki, crls=[old]), at, state=state).outcome is UNDECIDED
    assert judge(path, believed(pki, crls=[old]), at).outcome is TRUSTED


def test_what_would_be_at_another_time_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\n")
    words = ["run", "--trust", str(tmp_path / "trust.toml"), "--at", "2030-01-01T00:00:00Z", str(script)]
    assert main(words) == 2
    assert "--check" in capsys.readouterr().err


def test_a_signature_with_two_dates_is_told_once(tmp_path: Path, pki: Pki) -> None:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    path.with_name("drive.bin.p7s").write_bytes(p7s(pki.leaf(), b"firmware", tsa=pki.tsa()))
    path.with_name("drive.bin.tsr").write_bytes(token(pki.tsa(), signature_value(path), NOW + DAY))
    verdict = judge(path, believed(pki), NOW + 2 * DAY)
    assert verdict.times.by == "the timestamp authority timestamps"
    assert verdict.times.floor is not None
    assert abs(verdict.times.floor - NOW - DAY) < HOUR  # of both accepted ones the newer
