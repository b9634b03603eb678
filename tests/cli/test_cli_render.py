"""What is printed for a verdict: an instruction first, then what, who, when, why and what next."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from kit.verdicts import signer, verdict
from sealwright.cli.render import Detail, name_in, summary, verdict_text
from sealwright.findings import Finding, note, reject, undecided, warning
from sealwright.trust.verdict import Outcome, Purpose, Verdict

CHANGED = reject("SW-FILE-CHANGED", "drive.bin.p7s", found="another digest")
STALE = undecided("SW-TRUST-STALE", "drives", "30 days", "90 days")
ENDED = warning("SW-TRUST-EXPIRED", "the trust file", found="2026-10-01")


def text(of: Verdict) -> str:
    return verdict_text(of, Detail.PLAIN)


@pytest.mark.parametrize(
    ("purpose", "finding", "first_line"),
    [
        (Purpose.INSTALL, None, "INSTALL: allowed"),
        (Purpose.RUN, None, "RUN: allowed"),
        (Purpose.RESTORE, None, "RESTORE: allowed"),
        (Purpose.INSTALL, CHANGED, "DO NOT INSTALL: the file was changed"),
        (Purpose.RUN, CHANGED, "DO NOT RUN: the file was changed"),
        (Purpose.RESTORE, CHANGED, "DO NOT RESTORE: the file was changed"),
        (Purpose.INSTALL, STALE, "CANNOT DECIDE, do not install yet: the trust file is too old"),
        (Purpose.RUN, STALE, "CANNOT DECIDE, do not run yet: the trust file is too old"),
        (Purpose.RUN, ENDED, "KEEP RUNNING, do not reinstall: the trust file has ended"),
        (Purpose.INSTALL, ENDED, "INSTALL: allowed"),
    ],
)
def test_the_first_line_is_an_instruction_for_the_purpose(
    purpose: Purpose, finding: Finding | None, first_line: str
) -> None:
    findings = () if finding is None else (finding,)
    assert text(verdict(*findings, purpose=purpose)).splitlines()[0] == first_line


def test_a_trusted_file_shows_what_it_is_who_signed_it_for_whom_and_one_next_step() -> None:
    shown = text(verdict())
    assert "drive.bin: file of 1,048,576 bytes, product line-3 drive, version 2.4, generation 7" in shown
    assert "Signed by ACME Release 2026 as maker, for hardware cpu-1515 in production use" in shown
    assert "Date proved: signed before 2026-11-01 12:00 UTC." in shown
    assert shown.count("Next: ") == 1
    assert "Contact: OT security, extension 4711" in shown


def test_without_a_timestamp_the_date_is_not_proved_and_the_claimed_one_is_called_the_signers_word() -> None:
    assert "Date not proved; the signer wrote 2026-11-01 12:00 UTC." in text(verdict(proved=None))


def test_a_refusal_shows_its_reason_and_says_what_to_do() -> None:
    shown = text(verdict(CHANGED))
    assert "the delivered file is not the one that was signed." in shown
    assert "not the one that was signed (another digest)" in verdict_text(verdict(CHANGED), Detail.FULL)
    assert "Next: Copy the delivery again from its source and verify it again." in shown


def test_each_missing_changed_and_extra_file_of_a_folder_is_named() -> None:
    findings = [reject("SW-TREE-FILE-MISSING", f"part-{number}.cfg") for number in range(200)]
    shown = text(verdict(*findings, reject("SW-TREE-FILE-EXTRA", "new.exe")))
    assert all(f"part-{number}.cfg" in shown for number in range(200))
    assert "new.exe" in shown


def test_refusals_come_before_warnings_and_notes_only_with_details() -> None:
    findings = (warning("SW-TRUST-AGEING", "drives"), note("SW-SIGNATURE-IGNORED", "drive.bin.pq.p7s"), CHANGED)
    shown = text(verdict(*findings))
    assert shown.index("not the one that was signed") < shown.index("Note: drives: the trust file is")
    assert "pq.p7s" not in shown
    assert "pq.p7s" in verdict_text(verdict(*findings), Detail.FULL)


def test_certificate_words_appear_only_with_details() -> None:
    plain, full = text(verdict()), verdict_text(verdict(), Detail.FULL)
    for word in ("sha256:", "anchor", "certificate", "ecdsa", "CN="):
        assert word not in plain
        assert word in full
    assert "trust file plant-7 version 3" in full


def test_a_subject_of_a_certificate_is_shown_by_its_common_name_alone() -> None:
    ended = reject("SW-CERT-EXPIRED", "CN=ACME Release 2026,O=ACME GmbH", found="2026-10-01")
    assert "The right of ACME Release 2026 to sign has ended" in text(verdict(ended))
    assert "O=ACME GmbH has ended (2026-10-01)" in verdict_text(verdict(ended), Detail.FULL)


def test_a_file_that_begins_a_sentence_keeps_its_name_as_it_is() -> None:
    assert "  drive.bin: there is no signature" in text(verdict(reject("SW-SIGNATURE-MISSING", "drive.bin")))
    assert "  The file motor.st was signed" in text(verdict(reject("SW-TREE-FILE-MISSING", "motor.st")))


def test_a_refused_running_program_is_stopped_safely_not_suddenly() -> None:
    assert "safe state" in text(verdict(CHANGED, purpose=Purpose.RUN))
    assert "safe state" not in text(verdict(CHANGED))


def test_a_hypothetical_verdict_says_so_in_its_first_line() -> None:
    assert "hypothetical" in text(verdict(hypothetical=True)).splitlines()[0]
    assert "hypothetical" not in text(verdict()).splitlines()[0]
    assert "Next: Verify it again without --at" in text(verdict(hypothetical=True))


def test_a_trial_trust_file_is_called_one() -> None:
    assert "Trial trust file" in text(verdict(stage="trial"))
    assert "Trial trust file" not in text(verdict())


def test_quiet_says_nothing_of_what_is_allowed_and_one_line_of_the_rest() -> None:
    assert verdict_text(verdict(), Detail.QUIET) == ""
    assert (
        verdict_text(verdict(CHANGED), Detail.QUIET) == "/media/stick/drive.bin: DO NOT INSTALL: the file was changed\n"
    )


@pytest.mark.parametrize("evil", ["a\x1b[2Jb", "a\nINSTALL: allowed", "exe\u202egpj.bin", "a\rb", "a\x9bb", "\udc80x"])
@pytest.mark.parametrize("detail", list(Detail))
def test_a049_names_can_neither_move_the_cursor_nor_turn_a_line_around(evil: str, detail: Detail) -> None:
    assert "plain" in verdict_text(verdict(CHANGED, path="/in/plain"), Detail.FULL)
    hostile = verdict(
        reject("SW-FILE-CHANGED", evil, evil, evil), path=f"/in/{evil}", signers=(signer(f"CN={evil},O={evil}"),)
    )
    shown = verdict_text(hostile, detail)
    assert all(c == "\n" or c.isprintable() for c in shown)
    assert shown.splitlines()[0].endswith("the file was changed")
    assert all("INSTALL: allowed" not in line[:18] for line in shown.splitlines())


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=ACME Release 2026,O=ACME", "ACME Release 2026"),
        ("O=ACME,CN=Release\\, Plant 7", "Release, Plant 7"),
        ("O=ACME", "O=ACME"),
        ("", ""),
    ],
)
def test_people_see_the_common_name(subject: str, name: str) -> None:
    assert name_in(subject) == name


def test_the_summary_counts_each_outcome() -> None:
    outcomes = [Outcome.TRUSTED] * 3 + [Outcome.REJECTED] + [Outcome.UNDECIDED]
    assert summary(outcomes) == "5 paths: 3 allowed, 1 refused, 1 undecided."
    assert summary([Outcome.TRUSTED]) == "1 path: 1 allowed."


def test_a_file_and_its_manifest_signed_by_one_name_it_once() -> None:
    twice = signer()._replace(source="drive.bin.manifest.p7s")
    assert text(verdict(signers=(signer(), twice))).count("Signed by ACME Release 2026") == 1
    other = signer("CN=Second,O=ACME GmbH")
    assert text(verdict(signers=(signer(), other))).count("Signed by ") == 2


def test_a_file_named_like_a_placeholder_stays_what_it_is() -> None:
    odd = reject("SW-FILE-UNREADABLE", "{found}", found="{subject}")
    assert "{found} cannot be read: {subject}." in text(verdict(odd))


def test_a_rule_without_a_contact_shows_none() -> None:
    assert "Contact: " in text(verdict())
    assert "Contact" not in text(verdict()._replace(contact=""))


def test_times_are_shown_in_utc_whatever_the_zone() -> None:
    shown = text(verdict(proved=datetime(2026, 5, 9, 8, 30, tzinfo=timezone(timedelta(hours=2)))))
    assert "2026-05-09 06:30 UTC" in shown
