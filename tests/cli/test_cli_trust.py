"""A trust file's life on the command line: changed, signed, installed step by step, remembered by a verifier."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sealwright.cli.main import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command: exit code, everything printed."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, and `v2`: the next version of its trust file, signed by its officer."""
    folder = tmp_path_factory.mktemp("trust")
    home = folder / "home"
    assert main(["init", str(home)]) == 0
    (folder / "v2").mkdir()
    text = (home / "trust.toml").read_text()
    (folder / "v2/trust.toml").write_text(re.sub(r"(?m)^version = 1$", "version = 2", text))
    assert main(["trust", "sign", str(folder / "v2/trust.toml"), "--home", str(home), "--person", "officer"]) == 0
    return folder


@pytest.fixture
def installed(made: Path, tmp_path: Path, run: Run) -> Path:
    """A folder where version 1 was installed by its fingerprint."""
    digest = json.loads(run("trust", "show", made / "home/trust.toml", "--json")[1])["digest"]
    folder = tmp_path / "installed"
    assert run("trust", "install", made / "home/trust.toml", "--to", folder, "--trust-fingerprint", digest)[0] == 0
    return folder


def test_the_next_version_follows_without_a_fingerprint_and_the_old_one_does_not_come_back(
    made: Path, installed: Path, run: Run
) -> None:
    code, shown = run("trust", "install", made / "v2/trust.toml", "--to", installed)
    assert code == 0
    assert "installed version 2" in shown
    assert "follows the installed version 1" in shown
    assert (installed / "trust.history/1.toml").exists()
    code, shown = run("trust", "install", made / "home/trust.toml", "--to", installed)
    assert code == 1
    assert "not newer than the installed version 2" in shown
    assert b"version = 2" in (installed / "trust.toml").read_bytes()


@pytest.mark.parametrize("spoil", ["unsigned", "another home's officer", "altered after signing"])
def test_a106_a_next_version_that_its_officers_did_not_sign_is_refused(
    spoil: str, made: Path, installed: Path, tmp_path: Path, run: Run
) -> None:
    shutil.copytree(made / "v2", tmp_path / "next")
    trust, signature = tmp_path / "next/trust.toml", tmp_path / "next/trust.toml.officer.p7s"
    if spoil == "unsigned":
        signature.unlink()
    elif spoil == "altered after signing":
        trust.write_text(trust.read_text().replace("signing home", "signing hole", 1))
    else:
        other = tmp_path / "other"
        assert run("init", other)[0] == 0
        shutil.copy(other / "trust.toml.officer.p7s", signature)
    before = sorted(installed.rglob("*"))
    assert run("trust", "install", trust, "--to", installed)[0] == 1
    assert sorted(installed.rglob("*")) == before
    assert run("trust", "install", made / "v2/trust.toml", "--to", installed)[0] == 0


def test_a104_a_verifier_with_state_refuses_an_older_trust_file_once_it_has_seen_a_newer_one(
    made: Path, tmp_path: Path, run: Run
) -> None:
    drive, state = tmp_path / "drive.bin", tmp_path / "state"
    drive.write_bytes(b"firmware")
    run("sign", drive, "--home", made / "home")
    assert run("verify", drive, "--trust", made / "home/trust.toml", "--state", state)[0] == 0
    assert run("verify", drive, "--trust", made / "v2/trust.toml", "--state", state)[0] == 0
    code, shown = run("verify", drive, "--trust", made / "home/trust.toml", "--state", state)
    assert (code, shown.splitlines()[0]) == (1, "DO NOT INSTALL: the trust file cannot be used")
    assert "older than version 2" in shown
    code, shown = run("verify", drive, "--trust", made / "home/trust.toml", "--details")
    assert code == 0
    assert "rollback: not checked" in shown


def test_a_verifier_whose_state_holds_an_installed_trust_file_takes_only_what_follows_it(
    made: Path, installed: Path, tmp_path: Path, run: Run
) -> None:
    drive = tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    run("sign", drive, "--home", made / "home")
    code, shown = run("verify", drive, "--trust", made / "v2/trust.toml", "--state", installed, "--details")
    assert code == 0
    assert "follows the installed version 1" in shown
    other = tmp_path / "other"
    run("init", other)
    code, shown = run("verify", drive, "--trust", other / "trust.toml", "--state", installed)
    assert (code, shown.splitlines()[0]) == (1, "DO NOT INSTALL: the trust file is not believed here")


def test_only_a_listed_officer_signs_a_trust_file(made: Path, tmp_path: Path, run: Run) -> None:
    shutil.copytree(made / "v2", tmp_path / "next")
    trust = tmp_path / "next/trust.toml"
    assert run("trust", "sign", trust, "--home", made / "home", "--person", "officer")[0] == 0
    code, shown = run("trust", "sign", trust, "--home", made / "home", "--person", "mallory")
    assert code == 2
    assert "mallory" in shown


def test_a_deny_list_of_an_officer_takes_trust_away_and_any_other_is_refused(
    made: Path, tmp_path: Path, run: Run
) -> None:
    drive = tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    home = tmp_path / "home"
    shutil.copytree(made / "home", home)
    run("sign", drive, "--home", home)
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0
    id_ = json.loads(run("trust", "show", home / "trust.toml", "--json")[1])["id"]
    artifact = json.loads(run("verify", drive, "--trust", home / "trust.toml", "--json")[1])["artifact"]
    deny = home / "deny.toml"
    deny.write_text(
        f'# sealwright deny 1\nversion = 1\ntrust = "{id_}"\n[[deny]]\nartifact = "{artifact}"\nreason = "recalled"\n'
    )
    code, shown = run("verify", drive, "--trust", home / "trust.toml")
    assert (code, shown.splitlines()[0]) == (1, "DO NOT INSTALL: the trust file is not believed here")
    assert run("trust", "sign", deny, "--home", home, "--person", "officer")[0] == 0
    code, shown = run("verify", drive, "--trust", home / "trust.toml")
    assert (code, shown.splitlines()[0]) == (1, "DO NOT INSTALL: this very file was withdrawn")
    assert "recalled" in shown
