"""Dates that attackers write, replay or wait for: A094, A095, A097, A100, A103, A105, A109 (and RULES 4)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.logs import WITNESS, NoteSigner, write_proof
from kit.pki import DAY, HOUR, NOW, Pki, p7s, token
from kit.trust import RULE, believed, codes, judge, new_state, signed_file
from sealwright.artifact.digest import Digest
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.envelope.cms_write import assemble, signed_attributes, to_be_signed
from sealwright.envelope.kinds import KINDS
from sealwright.trust.belief import Believed
from sealwright.trust.state import read_state
from sealwright.trust.verdict import Outcome, Purpose

TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED
PKI = Pki.make()
TSA = PKI.tsa()
SHORT = PKI.leaf("short", days=30)  # ends 20 days after NOW
LOG, WITNESSES = NoteSigner.make("log.example"), [NoteSigner.make(f"w{one}.example", WITNESS) for one in (1, 2)]
ENDED = NOW + 60 * DAY
Y1970, Y2106 = datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)


def trusting(**changes: object) -> Believed:
    parts: dict[str, object] = {
        "log": [{"name": "log", "vkey": LOG.vkey}],
        "witness": [{"name": one.name, "vkey": one.vkey} for one in WITNESSES],
    }
    return believed(PKI, **(parts | changes))  # type: ignore[arg-type]


def value_in(path: Path) -> bytes:
    (signer,) = read_envelope(path.read_bytes(), Profile.OURS, path.name).signers
    return signer.signature  # type: ignore[union-attr]


def test_a094_an_ended_certificate_installs_nothing_unless_its_signature_is_proved_to_be_older(tmp_path: Path) -> None:
    bare = signed_file(tmp_path, SHORT, name="bare.bin")
    assert judge(bare, trusting()).outcome is TRUSTED
    assert codes(judge(bare, trusting(), ENDED)) == ["SW-CERT-EXPIRED"]
    stamped = signed_file(tmp_path, SHORT, name="stamped.bin", tsa=TSA)
    logged = signed_file(tmp_path, SHORT, name="logged.bin")
    write_proof(logged, SHORT, LOG, dict.fromkeys(WITNESSES, NOW))
    for path in (stamped, logged):
        assert judge(path, trusting(), ENDED).outcome is TRUSTED
    late = signed_file(tmp_path, SHORT, name="late.bin", tsa=TSA, stamped=NOW + 21 * DAY)
    assert codes(judge(late, trusting(), ENDED)) == ["SW-CERT-EXPIRED"]
    write_proof(late, SHORT, LOG, dict.fromkeys(WITNESSES, NOW + 21 * DAY))
    assert codes(judge(late, trusting(), ENDED)) == ["SW-CERT-EXPIRED"]


@pytest.mark.parametrize(
    "written", [NOW - 9 * DAY, NOW, datetime(1990, 1, 1, tzinfo=UTC), datetime(2049, 1, 1, tzinfo=UTC), Y2106]
)
def test_a095_a_date_that_the_signer_writes_counts_for_nothing(tmp_path: Path, written: datetime) -> None:
    """Neither back-dating nor post-dating changes a verdict, its times or its memory; a token beside it does."""
    state = new_state(tmp_path)
    path = signed_file(tmp_path, SHORT, at=written)
    assert codes(judge(path, trusting(), ENDED)) == ["SW-CERT-EXPIRED"]
    early = judge(path, trusting(), state=state)
    assert (early.outcome, early.times.proved, early.times.claimed) == (TRUSTED, None, written)
    assert read_state(state).floor == trusting().trust.issued
    stolen = Pki(PKI.root, PKI.intermediate, PKI.provenance)
    stolen.revoke(SHORT, NOW, x509.ReasonFlags.key_compromise, NOW - DAY)
    assert codes(judge(path, trusting(crls=[stolen.crl()]), NOW + HOUR)) == ["SW-CERT-REVOKED"]
    path.with_name("drive.bin.tsr").write_bytes(token(TSA, value_in(path.with_name("drive.bin.p7s")), NOW))
    assert judge(path, trusting(), ENDED).outcome is TRUSTED


def test_a095_a_time_written_into_the_logs_entry_is_no_field_of_it(tmp_path: Path) -> None:
    path = signed_file(tmp_path, SHORT)
    write_proof(path, SHORT, LOG, dict.fromkeys(WITNESSES, NOW), time="2026-11-01T12:00:00Z")
    assert codes(judge(path, trusting(), ENDED)) == ["SW-CERT-EXPIRED"]
    write_proof(path, SHORT, LOG, dict.fromkeys(WITNESSES, NOW))
    assert judge(path, trusting(), ENDED).outcome is TRUSTED


@pytest.mark.parametrize("how", ["beside", "inside", "log"])
def test_a097_a_date_of_one_signature_is_not_lent_to_another(tmp_path: Path, how: str) -> None:
    """The token or log proof of an honest signature, beside or inside one that was made later by the same key."""
    old = signed_file(tmp_path, SHORT, name="old.bin", tsa=TSA)
    write_proof(old, SHORT, LOG, dict.fromkeys(WITNESSES, NOW))
    assert judge(old, trusting(), ENDED).outcome is TRUSTED
    honest = value_in(tmp_path / "old.bin.p7s")
    new = signed_file(tmp_path, SHORT, b"changed firmware", name="new.bin", at=NOW)
    if how == "beside":
        (tmp_path / "new.bin.tsr").write_bytes(token(TSA, honest, NOW))
    elif how == "inside":
        (signer,) = read_envelope((tmp_path / "old.bin.p7s").read_bytes(), Profile.OURS, "old").signers
        whole = signer.tokens[0]  # type: ignore[union-attr]
        made = SHORT.signing
        attributes = signed_attributes(made, KINDS["file"], Digest.of(b"changed firmware"), NOW)
        value = SHORT.key.sign([to_be_signed(attributes, made.algorithm)])[0]
        (tmp_path / "new.bin.p7s").write_bytes(assemble(made, KINDS["file"], attributes, value, [whole]))
    else:
        (tmp_path / "new.bin.tlog-proof").write_bytes((tmp_path / "old.bin.tlog-proof").read_bytes())
    verdict = judge(new, trusting(), ENDED)
    assert codes(verdict) == ["SW-CERT-EXPIRED"]
    assert {f.code for f in verdict.findings} & {"SW-TIMESTAMP-REFUSED", "SW-LOG-PROOF-REFUSED"}
    assert judge(new, trusting()).outcome is TRUSTED


@pytest.mark.parametrize("by", ["timestamp", "witnesses"])
@pytest.mark.parametrize(("day", "outcome"), [(5, TRUSTED), (15, REJECTED), (25, REJECTED)])
def test_a100_what_was_signed_before_the_theft_counts_and_nothing_after_it(
    tmp_path: Path, by: str, day: int, outcome: Outcome
) -> None:
    """Stolen on day 10, found out and revoked on day 20; judged on day 30."""
    pki = Pki(PKI.root, PKI.intermediate, PKI.provenance)
    signer, when = pki.leaf(), NOW + day * DAY
    path = signed_file(tmp_path, signer, at=when, **({"tsa": TSA} if by == "timestamp" else {}))
    if by == "witnesses":
        write_proof(path, signer, LOG, dict.fromkeys(WITNESSES, when))
    before = trusting(crls=[pki.crl(NOW + 9 * DAY)])
    assert judge(path, before, NOW + 30 * DAY).outcome is TRUSTED
    pki.revoke(signer, NOW + 20 * DAY, x509.ReasonFlags.key_compromise, NOW + 10 * DAY)
    verdict = judge(path, trusting(crls=[pki.crl(NOW + 29 * DAY, number=2)]), NOW + 30 * DAY)
    assert verdict.outcome is outcome
    (tmp_path / "drive.bin.tlog-proof").unlink(missing_ok=True)
    path.with_name("drive.bin.p7s").write_bytes(p7s(signer, path.read_bytes(), at=when))
    unproved = judge(path, trusting(crls=[pki.crl(NOW + 29 * DAY, number=2)]), NOW + 30 * DAY)
    assert codes(unproved) == ["SW-CERT-REVOKED"]  # nothing says that it is not of yesterday


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a103_a_list_held_back_stops_installing_after_its_age_and_never_the_plant(
    tmp_path: Path, purpose: Purpose
) -> None:
    path = signed_file(tmp_path, PKI.leaf(), tsa=TSA)
    policy = [{"issuer": PKI.intermediate.pem, "max_age": {"install": "7d", "restore": "20d"}}]
    trust = trusting(crls=[PKI.crl(NOW + DAY)], crl=policy)
    age = {Purpose.INSTALL: 7, Purpose.RESTORE: 20, Purpose.RUN: 900}[purpose]
    assert judge(path, trust, NOW + DAY + age * DAY, purpose=purpose).outcome is TRUSTED
    late = judge(path, trust, NOW + DAY + age * DAY + HOUR, purpose=purpose)
    if purpose is Purpose.RUN:
        assert late.outcome is TRUSTED
        assert "SW-REVOCATION-UNKNOWN" in {f.code for f in late.findings}
    else:
        assert set(codes(late)) == {"SW-REVOCATION-UNKNOWN"}  # of the signer and of the timestamp authority


@pytest.mark.parametrize("grace", [False, True])
def test_a105_after_eighteen_months_offline_nothing_is_installed_and_everything_runs(
    tmp_path: Path, grace: bool
) -> None:
    """Both are configurable: a rule may let an old file install for longer, up to the file's own end, and always says so."""
    path = signed_file(tmp_path, PKI.leaf(), tsa=TSA)
    timing = {"fresh_for": "90d", "grace": "500d"} if grace else {"fresh_for": "90d"}
    trust = trusting(rule=[RULE | timing], expires=NOW + (700 if grace else 300) * DAY)
    later = NOW + 540 * DAY
    installing, running = judge(path, trust, later), judge(path, trust, later, purpose=Purpose.RUN)
    assert running.outcome is TRUSTED
    if grace:
        assert installing.outcome is TRUSTED
        assert "SW-TRUST-AGEING" in {f.code for f in installing.findings}
    else:
        assert codes(installing) == ["SW-TRUST-EXPIRED", "SW-TRUST-STALE"]
        assert {"SW-TRUST-EXPIRED", "SW-TRUST-STALE"} <= {f.code for f in running.findings}
    assert judge(path, trust, NOW + DAY).outcome is TRUSTED


@pytest.mark.parametrize("clock", [Y1970, Y1970 + DAY, datetime(1, 1, 1, tzinfo=UTC), NOW - 6 * DAY])
def test_a109_a_clock_before_what_is_known_to_be_past_makes_nothing_valid_again(
    tmp_path: Path, clock: datetime
) -> None:
    ended = signed_file(tmp_path, SHORT, name="ended.bin")
    trust = trusting(issued=ENDED - DAY, expires=ENDED + 99 * DAY, rule=[RULE | {"without_clock": "allow"}])
    assert codes(judge(ended, trust, clock)) == ["SW-CERT-EXPIRED"]
    verdict = judge(signed_file(tmp_path, PKI.leaf(), name="good.bin"), trust, clock)
    assert (verdict.outcome, verdict.times.source) == (TRUSTED, "floor")
    assert "SW-TIME-CLOCK-BEHIND" in {f.code for f in verdict.findings}


@pytest.mark.parametrize("clock", [Y2106, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_a109_a_clock_that_ran_ahead_is_forgotten_when_it_is_right_again(tmp_path: Path, clock: datetime) -> None:
    """A clock moves no floor: only what others signed does. While it is ahead, nothing is installed and everything runs."""
    state = new_state(tmp_path)
    path = signed_file(tmp_path, PKI.leaf(), tsa=TSA)
    trust = trusting(crl=[{"issuer": PKI.intermediate.pem}], crls=[PKI.crl(NOW + HOUR / 2)])
    assert judge(path, trust, NOW + HOUR, state=state).outcome is TRUSTED
    before = read_state(state)
    assert judge(path, trust, clock, state=state).outcome is UNDECIDED
    assert judge(path, trust, clock, state=state, purpose=Purpose.RUN).outcome is TRUSTED
    assert read_state(state) == before
    assert judge(path, trust, NOW + 2 * HOUR, state=state).outcome is TRUSTED


def test_a109_a_clock_that_jumps_back_between_check_and_install_finds_the_newest_proof_remembered(
    tmp_path: Path,
) -> None:
    """Checked on day 30 by somebody's newer file; the clock then shows day 1, when a stolen certificate was still valid."""
    state = new_state(tmp_path)
    newer = signed_file(tmp_path, PKI.leaf(), name="newer.bin", tsa=TSA, stamped=NOW + 30 * DAY)
    ended = signed_file(tmp_path, SHORT, name="ended.bin")
    trust = trusting(rule=[RULE | {"without_clock": "allow"}])
    assert judge(ended, trust, NOW + DAY, state=state).outcome is TRUSTED
    assert judge(newer, trust, NOW + 31 * DAY, state=state).outcome is TRUSTED
    verdict = judge(ended, trust, NOW + DAY, state=state)
    assert codes(verdict) == ["SW-CERT-EXPIRED"]
    assert verdict.times.floor is not None
    assert abs(verdict.times.floor - NOW - 30 * DAY) < HOUR
    assert judge(ended, trust, NOW + DAY).outcome is TRUSTED  # without a memory nobody knows


@pytest.mark.parametrize("seconds", [1, 2**31, 2**32, 253_370_764_799, 253_370_764_800, 2**63, 2**64 - 1])
def test_a109_times_of_witnesses_beyond_every_clock_end_in_a_verdict(tmp_path: Path, seconds: int) -> None:
    """All of them say so: one quorum is one source, and moves the floor by 400 days at most."""
    signer = PKI.leaf()
    path = signed_file(tmp_path, signer)
    write_proof(path, signer, LOG, dict.fromkeys(WITNESSES, seconds))
    trust = trusting(rule=[RULE | {"without_clock": "allow"}], expires=NOW + 9000 * DAY)
    verdict = judge(path, trust)
    assert verdict.outcome in (TRUSTED, REJECTED)
    assert verdict.times.floor == trust.trust.issued
