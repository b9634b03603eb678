"""Couriers under another sender's name, and two that are unpacked at once; each with its accepted twin."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit.gap import Gap, copy_gap, make_gap, names_senders, run, unsigned
from sealwright.release import courierunpack


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gap")
    make_gap(folder)
    return folder


@pytest.fixture
def gap(made: Path, tmp_path: Path) -> Gap:
    return copy_gap(made, tmp_path)


def sent(gap: Gap, sender: str, home: Path) -> Path:
    """A courier under a sender's name, packed with a home: the folder that it lies in."""
    out = gap.folder / f"{sender}-{home.name}"
    out.mkdir()
    words = ("--from", sender, "--to", "nordhof", "--file", gap.home / "ca.pem", "--home", home)
    assert run("courier", "pack", out, *words) == 0
    return out


def test_a_maker_whom_a_rule_without_products_takes_packs_under_no_name(
    gap: Gap, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gap.unpack(sent(gap, "acme", gap.home), "--json") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["signer"].startswith("CN=")
    theirs = sent(gap, "zeta", gap.home)
    capsys.readouterr()
    assert gap.unpack(theirs) == 1
    err = capsys.readouterr().err
    assert "no rule of the trust file names who sends as zeta" in err
    assert "signed by" in err
    assert os.listdir(gap.into / "couriers") == ["courier-acme-" + str(said["number"])]


def test_a_maker_with_a_rule_of_their_own_packs_under_their_own_name_alone(
    gap: Gap, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", gap.folder / "zeta") == 0
    trust = unsigned(gap.home)
    words = ("anchor", gap.folder / "zeta" / "ca.pem", "--name", "zeta", "--environment", "development")
    assert run("trust", "add", trust, *words) == 0
    names_senders(trust, "zeta", name="couriers of zeta", anchor="zeta")
    any_product = ("--environment", "development", "--anchor", "zeta", "--purpose", "updatePackageSigning")
    assert run("trust", "add", trust, "rule", "all of zeta", *any_product) == 0
    assert run("trust", "sign", trust, "--home", gap.home, "--person", "officer") == 0
    assert gap.unpack(sent(gap, "zeta", gap.folder / "zeta")) == 0
    for sender in ("acme", "nobody"):
        assert gap.unpack(sent(gap, sender, gap.folder / "zeta")) == 1
    assert gap.unpack(sent(gap, "acme", gap.home)) == 0
    capsys.readouterr()


def test_two_couriers_that_are_unpacked_at_once_with_one_state_come_one_after_the_other(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [gap.folder / name for name in ("old", "new")]
    for folder, number in zip(folders, (41, 42), strict=True):
        folder.mkdir()
        assert gap.pack(folder, "--number", number) == 0
    cache, seen = gap.folder / "state" / courierunpack.CACHE, []

    def is_free() -> bool:
        descriptor = os.open(cache, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    with monkeypatch.context() as patch:
        for name in ("_judged", "place"):
            real = getattr(courierunpack, name)
            patch.setattr(courierunpack, name, lambda *words, real=real: (seen.append(is_free()), real(*words))[1])
        assert gap.unpack(folders[0]) == 0
    assert seen == [False, False]
    assert is_free()


def test_two_processes_with_one_state_leave_two_whole_mirrors_and_the_higher_number(gap: Gap) -> None:
    shutil.copytree(gap.into, gap.folder / "second")
    words = ["--as", "nordhof", "--trust", gap.home / "trust.toml", "--state", gap.folder / "state"]
    running = []
    for number in (41, 42):
        (gap.folder / f"stick-{number}").mkdir()
        assert gap.pack(gap.folder / f"stick-{number}", "--number", number) == 0
    for name, number in (("transfer", 41), ("second", 42)):
        command = ["courier", "unpack", gap.folder / f"stick-{number}", "--into", gap.folder / name, *words]
        running.append(subprocess.Popen([sys.executable, "-m", "sealwright", *map(str, command)]))
    codes = [one.wait(timeout=60) for one in running]
    assert codes in ([0, 0], [1, 0]), "the older one is refused where it comes after the newer one"
    kept = json.loads((gap.folder / "state" / "state.json").read_text())
    assert kept["generations"]["courier from acme"] == 42
    for name, code in zip(("transfer", "second"), codes, strict=True):
        timestamp = gap.folder / name / "repository" / "metadata" / "timestamp.json"
        assert timestamp.is_file() == (code == 0)


def test_it_is_not_unpacked_below_the_state_folder(gap: Gap) -> None:
    assert gap.pack() == 0
    below = gap.folder / "state" / courierunpack.CACHE
    below.mkdir(mode=0o700)
    words = ("courier", "unpack", gap.stick, "--as", "nordhof", "--trust", gap.home / "trust.toml")
    assert run(*words, "--into", below, "--state", gap.folder / "state") == 2
    assert gap.unpack() == 0
