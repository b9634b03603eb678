"""An attendance is good for one run: on the machine of the run, in the home, in every officer's home, and for whoever sees two records."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.ceremonies import Run, begin_to_run, begun, check, come, forge_signatures, planned
from sealwright.artifact.digest import Digest
from sealwright.errors import CeremonyRefused
from sealwright.log.journal import EntryType, read_journal
from sealwright.signing.attendance import attend, new_nonce
from sealwright.signing.ceremonybook import open_book
from sealwright.signing.ceremonyplan import parse_plan, read_plan
from sealwright.signing.home import REGISTER, open_home
from sealwright.signing.issued import read_register
from sealwright.signing.transcript import parse_transcript, register_id


def twice(folder: Path, run: Run, homes: dict[str, Path]) -> tuple[Path, Path]:
    """Two ceremonies by one attendance, held on two machines that know nothing of each other: the transcripts."""
    plan = planned(run, homes, folder / "plan.txt", "--step", "timestamp")
    command, *start = begin_to_run(run, homes, plan)
    other = folder / "other machine"
    shutil.copytree(f"{plan}.book", other / "plan.txt.book")
    shutil.copy(plan, other / "plan.txt")
    run(command, *start, "--yes")
    run(command, other / "plan.txt", "--home", other / "ca", *start[3:], "--yes")
    return folder / "ca/ceremony/transcript.txt", other / "ca/ceremony/transcript.txt"


def test_a_second_run_by_the_same_attendance_makes_nothing(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    start = [*begin_to_run(run, homes, plan), "--yes"]
    run(*start)
    start[3] = tmp_path / "second"
    assert "has used this nonce up" in run(*start, code=1)
    assert not (tmp_path / "second").exists()


def test_a_nonce_that_the_book_beside_the_plan_did_not_give_runs_nothing(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    nonce = new_nonce()
    files = come(run, homes, plan, nonce, "eva", "jan")
    start = ("run", plan, "--home", tmp_path / "ca", "--yes", "--attendance", *files, "--nonce")
    assert "gave no such nonce for this plan" in run(*start, nonce, code=1)
    elsewhere = tmp_path / "copied"
    elsewhere.mkdir()
    shutil.copy(plan, elsewhere)
    given = begun(run, plan)
    files = come(run, homes, plan, given, "eva", "jan")
    copied = ("run", elsewhere / "plan.txt", "--home", tmp_path / "ca", "--yes", "--attendance", *files, "--nonce")
    assert "gave no such nonce for this plan" in run(*copied, given, code=1)
    assert not (tmp_path / "ca").exists()
    run("run", plan, *copied[2:], given)


def test_a_home_names_the_ceremony_that_opened_and_closed_its_register(held: Path) -> None:
    home = open_home(str(held / "ca"))
    text = (held / "ca/ceremony/transcript.txt").read_bytes()
    transcript = parse_transcript(text, "transcript")
    first, *_, last = read_journal(home.path(REGISTER))
    assert (first.type, last.type) == (EntryType.CEREMONY, EntryType.TRANSCRIPT)
    ceremony = read_register(home.path(REGISTER)).ceremony
    assert ceremony is not None
    assert (ceremony.nonce, ceremony.plan, ceremony.record) == (transcript.nonce, transcript.plan, Digest.of(text))
    assert register_id(home.folder) == transcript.register


def test_no_officer_signs_two_transcripts_of_one_nonce(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    one, two = twice(tmp_path, run, homes)
    assert parse_transcript(one.read_bytes(), "").made[0].key != parse_transcript(two.read_bytes(), "").made[0].key
    for person in ("eva", "jan"):
        run("sign", one, "--home", homes[person], "--person", person)
        said = run("sign", two, "--home", homes[person], "--person", person, code=1)
        assert "this home signed another transcript of it" in said
        run("sign", one, "--home", homes[person], "--person", person)
    assert "holds" in run("check", one, "--plan", tmp_path / "plan.txt", "--home", tmp_path / "ca")
    said = run("check", two, "--plan", tmp_path / "plan.txt", "--home", two.parent.parent, code=1)
    assert "signed has none of them" in said


def test_whoever_sees_two_transcripts_of_one_nonce_refuses_both(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    one, two = twice(tmp_path, run, homes)
    for transcript in (one, two):
        forge_signatures(transcript, homes, "eva", "jan")
    plan = ("--plan", tmp_path / "plan.txt")
    for transcript in (one, two):
        said = run("check", transcript, *plan, "--home", transcript.parent.parent)
        assert str(parse_transcript(transcript.read_bytes(), "").register) in said, (
            "alone each holds, and names its register"
        )
    for pair in ((one, two), (two, one)):
        assert "another transcript of the same nonce" in run("check", *pair, *plan, code=1)
    assert "another transcript of the same nonce" in run("check", one, *plan, "--home", two.parent.parent, code=1)
    beside = one.with_name("of the other machine.txt")
    shutil.copy(two, beside)
    assert "another transcript of the same nonce" in run("check", one, *plan, code=1)
    beside.write_text(two.read_text().replace("nonce", "nonse"))
    assert "cannot be read" in run("check", one, *plan, code=1)
    beside.unlink()
    assert json.loads(run("check", one, *plan, "--json"))["holds"] is True


def test_transcripts_of_other_ceremonies_lie_beside_one_another(
    copy: Path, tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    run(*begin_to_run(run, homes, plan), "--yes")
    other = copy / "ca/ceremony/of next year.txt"
    shutil.copy(tmp_path / "ca/ceremony/transcript.txt", other)
    assert "holds" in check(run, copy)
    assert "holds" in run("check", copy / "ca/ceremony/transcript.txt", other, "--plan", copy / "plan.txt")


def test_a_nonce_is_attended_for_one_plan(tmp_path: Path, homes: dict[str, Path]) -> None:
    def plan_of(title: str) -> Path:
        text = (tmp_path / "plan.txt").read_text().replace("Line 3", title)
        (tmp_path / title).write_text(text)
        return tmp_path / title

    from sealwright.cli.main import main

    officers = [f"--officer={name}={homes[name]}/certificates/officer.pem" for name in ("eva", "jan")]
    names = ("--title", "Line 3", "--root", "r", "--intermediate", "i", "--threshold", "1")
    assert main(["ca", "ceremony", "plan", str(tmp_path / "plan.txt"), *names, *officers]) == 0
    nonce, home, now = new_nonce(), open_home(str(homes["eva"])), datetime.now(UTC)
    one, two = (read_plan(str(plan_of(title))) for title in ("Line 4", "Line 5"))
    attend(one, nonce, home, "eva", str(tmp_path / "one.p7s"), now)
    attend(one, nonce, home, "eva", str(tmp_path / "again.p7s"), now)
    with pytest.raises(CeremonyRefused, match="this home signed another plan of it"):
        attend(two, nonce, home, "eva", str(tmp_path / "two.p7s"), now)
    assert not (tmp_path / "two.p7s").exists()


def test_half_of_the_officers_or_fewer_are_warned_of(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    officers = [f"--officer={name}={homes[name]}/certificates/officer.pem" for name in ("eva", "jan", "ute")]
    names = ("--title", "Line 3", "--root", "r", "--intermediate", "i", *officers, "--threshold")
    assert "two groups of them" in run("plan", tmp_path / "one.txt", *names, "1")
    assert "two groups of them" not in run("plan", tmp_path / "two.txt", *names, "2")


def test_a_clock_that_was_put_back_begins_and_runs_nothing(tmp_path: Path, held: Path) -> None:
    plan = parse_plan((held / "plan.txt").read_bytes(), str(tmp_path / "plan.txt"))
    now, nonce = datetime(2030, 5, 1, 12, tzinfo=UTC), new_nonce()
    with open_book(plan) as book:
        book.begin(nonce, now)
        book.check(nonce, now + timedelta(hours=23))
        book.check(nonce, now - timedelta(minutes=10))
        with pytest.raises(CeremonyRefused, match="it is 2030-04-30"):
            book.check(nonce, now - timedelta(days=1))
        with pytest.raises(CeremonyRefused, match="its nonce was given on"):
            book.check(nonce, now + timedelta(hours=25))
        with pytest.raises(CeremonyRefused):
            book.begin(new_nonce(), now - timedelta(days=1))
        book.start(nonce, str(tmp_path / "nothing"), now)
        with pytest.raises(CeremonyRefused, match="used this nonce up"):
            book.check(nonce, now)


def test_the_bytes_that_were_attended_are_the_ones_that_are_done(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes the file while the officers look at it changes nothing: it is read once."""
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    text = plan.read_bytes()
    start = begin_to_run(run, homes, plan)

    class Swapping:
        def readline(self) -> str:
            plan.write_bytes(text.replace(b"ACME root", b"EVIL root"))
            return "y\n"

    monkeypatch.setattr("sys.stdin", Swapping())
    shown = run(*start)
    assert "EVIL" not in shown
    assert (tmp_path / "ca/ceremony/plan.txt").read_bytes() == text
    assert re.search(r"made: .*ACME root", shown)
    plan.write_bytes(text.replace(b"ACME root", b"EVIL root"))
    start = (
        "run",
        plan,
        "--home",
        tmp_path / "second",
        *begin_to_run(run, homes, tmp_path / "ca/ceremony/plan.txt")[4:],
    )
    assert "no attendance of this plan" in run(*start, code=1)
