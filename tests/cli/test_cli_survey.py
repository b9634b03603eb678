"""`sealwright survey`: the report on the screen, as JSON and as a page; exit codes; the draft and what it would refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.certs import made
from kit.efi import GRUB_OF_DEBIAN, SHIM
from kit.html import Page
from kit.pki import Pki, p7s
from sealwright.cli.survey import BROKEN, INCOMPLETE

Run = Callable[..., tuple[int, str, str]]
PKI = Pki.make()
SIGNER = PKI.leaf("release")
EVIL = 'x\x1b[2J\u202e<img src=x onerror=alert(1)>"&.bin'


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A small share of real and our own files."""
    folder = tmp_path / "share"
    (folder / "boot").mkdir(parents=True)
    shutil.copyfile(SHIM.source, folder / "boot" / "shim.efi")
    shutil.copyfile(SHIM.source, folder / "boot" / "copy.efi")
    (folder / "drive.bin").write_bytes(b"firmware")
    (folder / "drive.bin.p7s").write_bytes(p7s(SIGNER, b"firmware"))
    (folder / "readme.txt").write_text("nobody signed me")
    return folder


def broken(folder: Path) -> Path:
    """GRUB with one byte changed."""
    data = bytearray(GRUB_OF_DEBIAN.source.read_bytes())
    data[100_000] ^= 1
    path = folder / "grub.efi"
    path.write_bytes(data)
    return path


def lines(out: str) -> dict[str, list[dict[str, object]]]:
    """The objects by kind; each line is plain ASCII and one object."""
    assert out.isascii()
    found: dict[str, list[dict[str, object]]] = {}
    for line in out.splitlines():
        one = json.loads(line)
        found.setdefault(one["kind"], []).append(one)
    return found


def test_the_screen_says_who_signed_what_and_never_whom_to_trust(run: Run, share: Path) -> None:
    code, out, err = run("survey", share)
    assert (code, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert first.startswith(f"Survey of {share}, ")
    assert "It does not say whom to trust" in second
    assert "CN=Microsoft Windows UEFI Driver Publisher" in out
    assert "ENDED 2026-06" in out
    assert "CN=release,O=ACME" in out
    assert "shim.debian" in out
    assert "copies      2 files of 1.0 MB" in out
    assert "trusted" not in out.lower().replace("whom to trust", "")
    assert " OK" not in out


def test_a_broken_signature_is_exit_code_1_and_names_the_file(run: Run, share: Path) -> None:
    assert run("survey", share)[0] == 0
    path = broken(share)
    code, out, _ = run("survey", share)
    assert code == BROKEN == 1
    assert str(path) in out
    assert "Do not install it" in out


def test_what_cannot_be_read_is_exit_code_3_and_a_broken_signature_is_worse(run: Run, share: Path) -> None:
    code, out, _ = run("survey", share, share / "gone")
    assert code == INCOMPLETE == 3
    assert "NOT COMPLETE: 1 could not be read" in out
    assert str(share / "gone") in out
    broken(share)
    assert run("survey", share, share / "gone")[0] == 1


def test_unsigned_and_weak_files_are_no_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    code, out, _ = run("survey", tmp_path)
    assert code == 0
    assert "1  unsigned" in out


def test_json_has_every_signed_file_every_group_and_a_summary_at_the_end(run: Run, share: Path) -> None:
    path = broken(share)
    code, out, _ = run("survey", share, "--json")
    found = lines(out)
    assert next(iter(found)) == "survey"
    assert json.loads(out.splitlines()[-1])["kind"] == "summary"
    (summary,) = found["summary"]
    assert (summary["files"], summary["exit_code"], summary["complete"]) == (5, code, True)
    assert summary["states"] == {"broken": 1, "intact": 3, "unsigned": 1}
    files = {os.path.basename(str(one["path"])): one for one in found["file"]}
    assert set(files) == {"shim.efi", "copy.efi", "drive.bin", "grub.efi"}
    assert files[path.name]["state"] == "broken"
    (signature,) = files["drive.bin"]["signatures"]  # type: ignore[misc]
    assert (signature["subject"], signature["slot"], signature["format"]) == ("CN=release,O=ACME", "maker", "detached")
    ids = {one["id"] for one in found["signer"]}
    assert signature["signer"] in ids
    assert [one["number"] for one in found["copies"]] == [2]
    assert [one["files"] for one in found["unsigned"]] == [1]


def test_the_page_is_whole_in_itself_and_every_name_is_escaped(run: Run, share: Path, tmp_path: Path) -> None:
    leaf = made("evil</td><script>alert(1)</script>\x1b[2J vendor")
    assert leaf
    (share / EVIL).write_bytes(b"y")
    (share / f"{EVIL}.p7s").write_bytes(b"not a signature")
    broken(share)
    code, _, err = run("survey", share, "--html", tmp_path / "report.html")
    assert code == 1
    assert err == f"wrote {tmp_path / 'report.html'}\n"
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object", "base", "form", "input"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "style") or name.startswith("on")]
    assert {value[:1] for name, value in page.attributes if name == "href"} == {"#"}
    anchors = {value for name, value in page.attributes if name == "id"}
    assert {value[1:] for name, value in page.attributes if name == "href"} <= anchors
    assert "url(" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<img" not in text
    assert "<img src=x onerror=alert(1)>" in page.words
    assert "@media print" in text
    assert "CN=Microsoft Windows UEFI Driver Publisher" in page.words


def test_hostile_names_reach_neither_screen_nor_json_raw(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / EVIL
    folder.mkdir()
    (folder / os.fsdecode(b"\xff\xfe.bin")).write_bytes(b"y")
    (folder / os.fsdecode(b"\xff\xfe.bin.p7s")).write_bytes(b"z")
    for words in (["survey", tmp_path], ["survey", tmp_path, "--json"], ["survey", folder]):
        _, out, err = run(*words)
        for character in ("\x1b", "\u202e", "\udcff"):
            assert character not in out + err


def test_outputs_never_lie_among_what_is_surveyed_and_never_replace_anything(
    run: Run, share: Path, tmp_path: Path
) -> None:
    for option in ("--html", "--draft-trust"):
        code, _, err = run("survey", share, option, share / "boot" / "out")
        assert (code, "a survey writes nothing there" in err) == (2, True)
        (tmp_path / "out").write_text("mine")
        code, _, err = run("survey", share, option, tmp_path / "out")
        assert (code, "already there" in err) == (2, True)
        assert (tmp_path / "out").read_text() == "mine"
    assert not (share / "boot" / "out").exists()


def test_the_draft_can_be_used_and_the_survey_shows_rule_by_rule_what_it_would_refuse(
    run: Run, share: Path, tmp_path: Path
) -> None:
    home = tmp_path / "trust"
    home.mkdir(mode=0o700)
    trial = home / "trial.toml"
    code, _, err = run("survey", share, "--draft-trust", trial)
    assert code == 0
    assert "a TRIAL trust file with 3 anchors and 3 rules in mode audit" in err
    assert f"sealwright survey {share} --trust {trial}" in err
    assert run("trust", "check", trial)[0] == 0
    assert run("verify", share / "boot" / "shim.efi", "--trust", trial)[0] == 0
    assert run("verify", share / "readme.txt", "--trust", trial)[0] == 1

    broken(share)
    other = PKI.leaf("other")
    (share / "other.bin").write_bytes(b"x")
    (share / "other.bin.p7s").write_bytes(p7s(other, b"x"))
    code, out, _ = run("survey", share, "--trust", trial)
    assert code == 1
    assert "What the trust file would do (3)" in out
    assert "files that nobody signed, all refused\n    refused     1" in out
    _, out, _ = run("survey", share, "--trust", trial, "--json")
    rules = {one["rule"]: one for one in lines(out)["rule"]}
    assert len(rules) == 4
    assert (rules["ACME CA detached"]["allowed"], rules["ACME CA detached"]["refused"]) == (1, 1)
    assert [one["code"] for one in rules["ACME CA detached"]["reasons"]] == ["SW-SIGNER-NOT-ALLOWED"]  # type: ignore[index, attr-defined]
    assert [one["code"] for one in rules[None]["reasons"]] == ["SW-FILE-CHANGED"]  # type: ignore[index, attr-defined]


def test_a_trust_file_that_nothing_makes_believable_is_refused_before_anything_is_read(
    run: Run, share: Path, tmp_path: Path
) -> None:
    code, out, err = run("survey", share, "--trust", tmp_path / "none.toml")
    assert code == 1
    assert out == ""
    assert "none.toml" in err


def test_the_first_line_comes_before_the_walk_is_done_and_progress_does_not_mix_with_it(tmp_path: Path) -> None:
    for number in range(2000):
        if number % 200 == 0:
            folder = tmp_path / f"{number}"
            folder.mkdir()
        (folder / f"{number}.txt").write_text(str(number))
    command = [sys.executable, "-m", "sealwright", "survey", str(tmp_path)]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Survey of ")
        assert time.monotonic() - started < 20  # a second on an idle machine; bench/survey.py measures it
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert err == ""
    assert "2,000  unsigned" in out


def test_ctrl_c_ends_it_and_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    for number in range(3000):
        (tmp_path / "share" / f"{number}.bin").write_bytes(os.urandom(20_000))
    command = [
        sys.executable,
        "-m",
        "sealwright",
        "survey",
        *[str(tmp_path / "share")] * 1,
        "--html",
        str(tmp_path / "r.html"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, 2)
        _, err = process.communicate(timeout=60)
    if process.returncode:  # else it was quicker
        assert process.returncode == 130
        assert "Traceback" not in err
        assert not (tmp_path / "r.html").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_survey_opens_no_socket_and_starts_no_program(share: Path) -> None:
    code = (
        "import sys\nseen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(('socket.', 'subprocess.', 'os.system')) else None)\n"
        "from sealwright.cli.main import main\ncode = main(sys.argv[1:])\nsys.exit(f'opened: {seen}' if seen else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "survey", str(share)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_draft_takes_named_officers_and_they_are_checked_before_anything_is_read(
    run: Run, share: Path, tmp_path: Path
) -> None:
    people = {}
    for name in ("eva", "jan", "safe"):
        people[name] = tmp_path / f"{name}.pem"
        people[name].write_text(PKI.leaf(name).pem)
    named = [word for name in ("eva", "jan") for word in ("--officer", f"{name}={people[name]}")]
    recovery = ["--recovery", f"safe={people['safe']}"]
    trial = tmp_path / "trial.toml"
    code, _, err = run("survey", share, "--draft-trust", trial, *named, *recovery)
    assert (code, "placeholder" in err, "nobody has the keys" in err) == (0, False, False)
    text = trial.read_text()
    assert "replace-this" not in text
    assert "NAME YOUR ORGANISATION" not in text
    code, out, _ = run("trust", "show", trial, "--json")
    assert (code, json.loads(out)["officers"]["threshold"]) == (0, 2)
    trial.unlink()
    code, _, err = run("survey", share, "--draft-trust", trial, *named, "--officers-threshold", "1")
    assert (code, "nobody has the keys of replace-this-recovery in it" in err) == (0, True)
    trial.unlink()
    for words, wrong in (
        ([*named, "--officers-threshold", "3"], "at most the 2 different persons"),
        (["--officer", "eva"], "it is not ID=FILE"),
        (["--officer", f"eva={tmp_path / 'gone.pem'}"], "gone.pem"),
        ([*named, "--recovery", f"eva={people['safe']}"], "both in"),
    ):
        code, out, err = run("survey", share, "--draft-trust", trial, *words)
        assert code in (1, 2)
        assert out == ""
        assert wrong in err
        assert not trial.exists()
    code, _, err = run("survey", share, *named)
    assert (code, "Add --draft-trust FILE" in err) == (2, True)
