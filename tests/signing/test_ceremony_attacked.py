"""Strangers at a key ceremony, and disks and clocks that fail it: each attack beside the ceremony that goes well."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.ceremonies import Run, begin_to_run, begun, check, come, planned
from kit.mutate import changed
from kit.tokens import PIN, another_token
from sealwright.errors import SealwrightError
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import list_token_keys
from sealwright.log.journal import EntryType, read_journal, sync_folder
from sealwright.signing.attendance import KIND, statement
from sealwright.signing.ceremonyplan import read_plan
from sealwright.signing.home import JOURNAL, open_home
from sealwright.signing.init import signed_text
from sealwright.signing.recordcheck import check_transcript
from sealwright.signing.transcript import parse_transcript

COMMAND = [sys.executable, "-m", "sealwright", "ca", "ceremony"]


def held_now(folder: Path, start: tuple[str | Path, ...], run: Run) -> None:
    """The ceremony that goes well after all."""
    run(*start, "--yes")
    assert (folder / "ca/home.toml").exists()


def test_a_plan_that_was_swapped_after_the_officers_attended_is_not_run(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    text, start = plan.read_text(), begin_to_run(run, homes, plan)
    for old, new in (
        ("ACME CA", "EVIL CA"),
        ("threshold = 2", "threshold = 1"),
        ("# Steps", "# steps"),
        ("p256", "p384"),
    ):
        assert old in text
        plan.write_text(text.replace(old, new))
        assert "no attendance of this plan and nonce" in run(*start, "--yes", code=1)
    plan.write_text(text)
    held_now(tmp_path, start, run)


def test_the_attendance_of_another_plan_or_its_nonce_runs_nothing(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan, other = (planned(run, homes, tmp_path / name) for name in ("plan.txt", "other.txt"))
    other.write_text(other.read_text() + "# the same in other words\n")
    command, _, *rest = begin_to_run(run, homes, plan)
    _, _, *of_other = begin_to_run(run, homes, other)
    assert "no attendance" in run(command, plan, *of_other, "--yes", code=1)
    mixed = [*rest[:5], *of_other[5:]]
    assert "no attendance" in run(command, plan, *mixed, "--yes", code=1)
    held_now(tmp_path, (command, plan, *rest), run)


def test_an_officer_with_two_keys_is_one_officer(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    """Whether both keys attend, or both sign the transcript."""
    eva = tmp_path / "eva"
    shutil.copytree(homes["eva"], eva)
    run("enrol", "approval", "--home", eva, "--name", "second", of=("key",))
    second = eva / "certificates/second.pem"
    plan = planned(run, homes, tmp_path / "plan.txt", f"--officer=eva={second}", "--step", "timestamp")
    nonce = begun(run, plan)
    first = come(run, homes | {"eva": eva}, plan, nonce, "eva", "jan")
    parsed, home = read_plan(str(plan)), open_home(str(eva))
    key = next(one for one in home.keys if one.name == "second")
    by_second = tmp_path / "second.p7s"
    by_second.write_bytes(signed_text(statement(parsed, nonce), KIND, "s", home, key, datetime.now(UTC), None))
    start = ("run", plan, "--home", tmp_path / "ca", "--nonce", nonce, "--yes", "--attendance")
    assert "2 officers must attend, and here is eva" in run(*start, first[0], by_second, code=1)
    run(*start, *first, by_second)
    transcript = tmp_path / "ca/ceremony/transcript.txt"
    assert len(parse_transcript(transcript.read_bytes(), "").present) == 3
    run("sign", transcript, "--home", eva, "--person", "eva")
    text = transcript.read_bytes()
    data = signed_text(text, "transcript", "t", home, key, datetime.now(UTC), None)
    transcript.with_name("transcript.txt.eva2.p7s").write_bytes(data)
    assert "2 officers of the plan must sign it, signed has eva" in check(run, tmp_path, code=1)
    run("sign", transcript, "--home", homes["jan"], "--person", "jan")
    assert "holds" in check(run, tmp_path)


def test_nothing_is_written_through_a_link(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    empty, precious = tmp_path / "empty", tmp_path / "precious"
    empty.mkdir()
    precious.write_text("mine")
    nonce = begun(run, plan)
    attend = ("attend", plan, "--nonce", nonce, "--home", homes["eva"], "--person", "eva", "--out")
    (tmp_path / "out.p7s").symlink_to(precious)
    assert "symbolic link" in run(*attend, tmp_path / "out.p7s", code=1)
    start = [*begin_to_run(run, homes, plan), "--yes"]
    (tmp_path / "linked").symlink_to(empty)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("linked", "dangling", "precious"):
        start[3] = tmp_path / name
        assert "something is there already" in run(*start, code=2)
    start[3] = tmp_path / "ca"
    run(*start)
    transcript = tmp_path / "ca/ceremony/transcript.txt"
    signature = transcript.with_name("transcript.txt.eva.p7s")
    signature.symlink_to(precious)
    assert "symbolic link" in run("sign", transcript, "--home", homes["eva"], "--person", "eva", code=1)
    signature.unlink()
    run("sign", transcript, "--home", homes["eva"], "--person", "eva")
    assert precious.read_text() == "mine"
    assert list(empty.iterdir()) == []


def test_a_home_that_appears_meanwhile_is_not_overwritten_and_keys_in_the_token_are_named(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token, "--step", "timestamp")
    start = (*begin_to_run(run, homes, plan), "--pin-file", pin)

    class Somebody:
        """Says yes, and makes the folder before the last step."""

        asked = 0

        def readline(self) -> str:
            self.asked += 1
            if self.asked == 5:
                (tmp_path / "ca").mkdir()
                (tmp_path / "ca/home.toml").write_text("mine")
            return "y\n"

    monkeypatch.setattr("sys.stdin", Somebody())
    said = run(*start, code=1)
    assert "it cannot be made" in said
    for label in ("root", "intermediate", "timestamp"):
        assert f"object={label}" in said
    assert (tmp_path / "ca/home.toml").read_text() == "mine"
    assert not list(tmp_path.glob(".*.ceremony*"))
    again = run(*begin_to_run(run, homes, plan)[:2], "--home", tmp_path / "new", *begin_to_run(run, homes, plan)[4:],
                "--pin-file", pin, "--yes", code=1)  # fmt: skip
    assert again.count("left by the ceremony that was broken off") == 3
    other = planned(run, homes, tmp_path / "second.txt", "--token", another_token(), "--step", "timestamp")
    command, *rest = begin_to_run(run, homes, other)
    rest[2] = tmp_path / "new"
    run(command, *rest, "--pin-file", pin, "--yes")


def test_a_token_that_is_not_empty_makes_nothing_and_leaves_the_nonce_good(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    assert not list_token_keys(token, Pin(PIN))
    create = ("create", f"{token};object=timestamp", "--algorithm", "p256", "--pin-file", pin)
    run(*create, of=("key",))
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token, "--step", "timestamp")
    start = (*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes")
    assert "already in the token" in run(*start, code=1)
    assert [one.label for one in list_token_keys(token, Pin(PIN))] == ["timestamp"], "no root was made before it"
    for kind in ("privkey", "pubkey"):
        words = ["pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", token.partition("=")[2]]
        subprocess.run([*words, "--login", "--pin", PIN, "--delete-object", "--type", kind, "--label", "timestamp"],
                       capture_output=True, check=kind == "privkey")  # fmt: skip
    held_now(tmp_path, start, run)


def test_a_root_that_cannot_be_vouched_for_ends_it_before_anything_is_made(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    old = homes["mallory"]
    leaf, root = old / "certificates/release.pem", old / "ca.pem"
    plan = planned(run, homes, tmp_path / "plan.txt", f"--cross-sign=old={leaf}")
    assert "it is no authority's certificate" in run(*begin_to_run(run, homes, plan), "--yes", code=1)
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    real = planned(run, homes, tmp_path / "real.txt", f"--cross-sign=old={root}", "--token", token)
    said = run(*begin_to_run(run, homes, real), "--pin-file", pin, "--yes", code=1)
    assert "old is a development root, and the new one is none" in said
    assert not list_token_keys(token, Pin(PIN))
    fine = planned(run, homes, tmp_path / "fine.txt", f"--cross-sign=old={root}")
    run(*begin_to_run(run, homes, fine), "--yes")


@contextmanager
def full_disk(folder: Path, size: int, words: list[str]) -> Iterator[subprocess.CompletedProcess[str]]:
    """Run a command while `folder` is a file system of so many KiB, which nobody else sees; its names are printed at the end."""
    folder.mkdir(exist_ok=True)
    script = 'mount -t tmpfs -o size="$1"k tmpfs "$0" || exit 99; dir="$0"; shift; "$@"; code=$?; echo; find "$dir" -mindepth 1; exit $code'
    command = ["unshare", "--mount", "sh", "-c", script, str(folder), str(size), *words]
    yield subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_disk_that_is_full_at_any_point_leaves_no_key_and_no_half_home(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    codes = []
    for size in (4, 12, 20, 32, 48, 64, 80, 96, 2048):
        command, *start = begin_to_run(run, homes, plan)
        start[2] = tmp_path / "disk" / "ca"
        words = [*COMMAND, command, *(str(one) for one in start), "--yes"]
        with full_disk(tmp_path / "disk", size, words) as done:
            codes.append(done.returncode)
            assert "Traceback" not in done.stderr
            left = done.stdout.rpartition("\n\n")[2].split()
            if done.returncode == 0:
                assert f"{tmp_path}/disk/ca/home.toml" in left
            else:
                assert done.returncode == 1, done
                assert done.stderr.startswith("sealwright: "), done.stderr
                assert left == [], done
    assert codes[0] == 1
    assert codes[-1] == 0
    assert codes.count(1) > 3


def test_a_book_that_cannot_be_written_gives_no_nonce(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    begin = [*COMMAND, "begin", str(tmp_path / "disk/plan.txt")]
    copied = ["sh", "-c", f'cp {plan} {tmp_path}/disk/ && exec "$0" "$@"', *begin]
    with full_disk(tmp_path / "disk", 4, copied) as done:
        assert done.returncode == 1, done
        assert "nonce " not in done.stdout
        assert done.stderr.startswith("sealwright: ")
        assert "Traceback" not in done.stderr
    with full_disk(tmp_path / "disk", 2048, copied) as done:
        assert done.returncode == 0, done
        assert "nonce " in done.stdout
    Path(f"{plan}.book").write_text("a file where the book should be")
    assert "cannot be opened" in run("begin", plan, code=1)


def test_a_clock_that_went_back_on_the_machine_runs_no_attendance_of_yesterday_again(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    """With the real clock of a process put back and forth."""
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    words = [*COMMAND, *(str(one) for one in begin_to_run(run, homes, plan)), "--yes"]

    def at(offset: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["faketime", "-f", offset, *words], capture_output=True, text=True, timeout=120, check=False
        )

    assert "Begin again with a new nonce" in at("+25h").stderr
    assert at("-25h").returncode == 1
    assert not (tmp_path / "ca").exists()
    assert at("-5m").returncode == 0, "clocks differ a little"
    shutil.rmtree(tmp_path / "ca")
    for offset in ("+0h", "-1h", "-25h"):
        assert at(offset).returncode == 1
    assert not (tmp_path / "ca").exists()


def test_a_nonce_in_capitals_is_the_same_nonce(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    start = [*begin_to_run(run, homes, plan)]
    start[5] = str(start[5]).upper()
    run(*start, "--yes")
    for person in ("eva", "jan"):
        run("sign", tmp_path / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    assert "holds" in check(run, tmp_path)
    start[3] = tmp_path / "second"
    start[5] = str(start[5]).lower()
    assert "used this nonce up" in run(*start, "--yes", code=1)


def test_an_officer_s_home_notes_before_it_signs(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    nonce = begun(run, plan)
    come(run, homes, plan, nonce, "ute")
    entries = [one for one in read_journal(str(homes["ute"] / JOURNAL)) if one.fields.get("nonce") == nonce]
    assert [one.type for one in entries] == [EntryType.ATTENDED]
    kinds = [one.type for one in read_journal(str(homes["ute"] / JOURNAL)) if one.number >= entries[0].number]
    assert kinds == [EntryType.ATTENDED, EntryType.INTENT, EntryType.RESULT]


def test_a_plan_asks_a_tpm_for_nothing_that_it_has_not(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    names = [f"--officer={name}={homes[name]}/certificates/officer.pem" for name in ("eva", "jan")]
    common = ("--title", "t", "--root", "r", "--intermediate", "i", "--threshold", "2", "--token", "tpm:", *names)
    for number, kind in enumerate(("p521", "rsa4096")):
        said = run("plan", tmp_path / f"{number}.txt", *common, "--algorithm", kind, code=None)
        assert "one that a TPM makes" in said
    assert "plan of a ceremony" in run("plan", tmp_path / "fine.txt", *common, "--algorithm", "p384")


def test_files_that_lie_beside_a_record_do_not_end_its_check(copy: Path, run: Run) -> None:
    beside = copy / "ca/ceremony"
    os.mkfifo(beside / "fifo")
    (beside / "folder").mkdir()
    (beside / "dangling").symlink_to("nowhere")
    (beside / "large").write_bytes(b"# sealwright transcript 1\n" + b"#" * (1 << 19))
    assert json.loads(check(run, copy, "--json"))["holds"] is True


def test_who_interrupts_a_run_is_told_what_it_left_in_the_token(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token, "--step", "timestamp")
    words = [*COMMAND, *(str(one) for one in begin_to_run(run, homes, plan)), "--pin-file", str(pin)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as asking:  # type: ignore[call-overload]
        asking.stdin.write("y\ny\n")
        asking.stdin.flush()
        said = ""
        while "Step 2 of 4" not in said:
            one = asking.stderr.read(1)
            assert one, said
            said += one
        asking.send_signal(signal.SIGINT)
        _, rest = asking.communicate(timeout=60)
    assert asking.returncode == 1
    assert "it was interrupted" in rest
    assert "In the token remain: pkcs11:" in rest
    assert not list(tmp_path.glob(".*.ceremony*"))
    assert "left by the ceremony" in run(*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes", code=1)


@pytest.mark.parametrize("name", ["plan.txt", "ca/ceremony/transcript.txt", "ca/ceremony/attendance.1.p7s"])
def test_no_byte_of_what_a_check_reads_can_be_changed_or_make_it_fail_untyped(
    copy: Path, name: str, homes: dict[str, Path]
) -> None:
    plan, record, home = copy / "plan.txt", copy / "ca/ceremony/transcript.txt", str(copy / "ca")

    def holds() -> bool:
        try:
            check_transcript(str(record), read_plan(str(plan)), open_home(home))
        except SealwrightError:
            return False
        return True

    assert holds()
    good = (copy / name).read_bytes()
    some = random.Random(name)
    for number, bad in enumerate(changed(good, some)):
        if bad == good or (number > 40 and some.random() > 300 / len(good)):
            continue
        (copy / name).write_bytes(bad)
        started = time.monotonic()
        held = holds()
        assert time.monotonic() - started < 2.0
        # the certificate that an attendance carries only carries the key: what is beside the signature may differ
        assert not held or name.endswith(".p7s"), bad[:200]
    (copy / name).write_bytes(good)
    assert holds()


@pytest.mark.parametrize("fault", ["disk", "Ctrl-C"])
def test_what_fails_when_the_home_is_in_its_place_never_calls_its_keys_leftovers(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The last sync of the folder fails, or somebody presses Ctrl-C meanwhile: the root lives, and nobody is told to delete it."""
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token, "--step", "timestamp")
    start = (*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes")

    def failing(folder: str) -> None:
        if (tmp_path / "ca/home.toml").exists():
            if fault == "disk":
                raise OSError(errno.EIO, "the disk fails")
            os.kill(os.getpid(), signal.SIGINT)
        sync_folder(folder)

    with monkeypatch.context() as broken:
        broken.setattr("sealwright.signing.ceremonybook.sync_folder", failing)
        said = run(*start, code=1 if fault == "disk" else 0)
    assert "remain" not in said
    assert ("whether it is after a power cut is not known" in said) == (fault == "disk")
    for person in ("eva", "jan"):
        run("sign", tmp_path / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    assert "holds" in check(run, tmp_path)
    assert json.loads(run("begin", plan, "--json"))["left"] == []
    command, *again = begin_to_run(run, homes, plan)
    again[2] = tmp_path / "second"
    said = run(command, *again, "--pin-file", pin, "--yes", code=1)
    assert "already in the token" in said
    assert "left by the ceremony" not in said
