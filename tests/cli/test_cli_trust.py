"""A trust file's life on the command line: changed, signed, installed step by step, remembered by a verifier."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.notes import verifier_key
from kit.pki import Pki
from kit.trust import trust_bytes, trust_parts
from sealwright.cli.main import main
from sealwright.envelope.verifierkey import NoteType

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
    state.mkdir()
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


def test_a_deny_list_that_would_not_count_is_not_signed(made: Path, tmp_path: Path, run: Run) -> None:
    home = tmp_path / "home"
    shutil.copytree(made / "home", home)
    id_ = json.loads(run("trust", "show", home / "trust.toml", "--json")[1])["id"]
    good = (
        f'# sealwright deny 1\nversion = 1\ntrust = "{id_}"\n[[deny]]\nkey = "sha256:{"ab" * 32}"\nreason = "stolen"\n'
    )
    deny = home / "deny.toml"
    for text, person, why in (
        (good.replace("ab" * 32, "unknown"), "officer", "must be a digest"),
        (good.replace(id_, "another"), "officer", f'Write `trust = "{id_}"`'),
        (good, "eva", "is not eva's key in [officers]"),
    ):
        deny.write_text(text)
        code, shown = run("trust", "sign", deny, "--home", home, "--person", person)
        assert code in (1, 2)
        assert why in shown
        assert not list(home.glob("deny.toml.*"))
    deny.write_text(good)
    assert run("trust", "sign", deny, "--home", home, "--person", "officer")[0] == 0


def test_signing_and_installing_answer_in_json_and_say_what_comes_next(made: Path, tmp_path: Path, run: Run) -> None:
    shutil.copytree(made / "v2", tmp_path / "next")
    trust = tmp_path / "next/trust.toml"
    signed = json.loads(run("trust", "sign", trust, "--home", made / "home", "--person", "officer", "--json")[1])
    assert signed["output"] == f"{trust}.officer.p7s"
    assert (signed["kind"], signed["person"], signed["missing"]) == ("trust", "officer", 0)
    assert (
        "Next: sealwright trust check" in run("trust", "sign", trust, "--home", made / "home", "--person", "officer")[1]
    )
    shown = json.loads(run("trust", "show", trust, "--json")[1])
    folder = tmp_path / "installed"
    how = ("--to", folder, "--trust-fingerprint", shown["digest"])
    code, said = run("trust", "install", trust, *how, "--json")
    installed = json.loads(said)
    assert (code, installed["version"], installed["digest"]) == (0, 2, shown["digest"])
    assert installed["output"] == str(folder / "trust.toml")
    code, said = run("trust", "install", tmp_path / "none.toml", *how, "--json")
    assert code == 1
    assert json.loads(said.splitlines()[0])["error"]["code"] == "SW-FILE-UNREADABLE"
    other = tmp_path / "other"
    assert "--state" in run("trust", "install", trust, "--to", other, "--trust-fingerprint", shown["digest"])[1]


def test_a_trust_file_without_enough_signatures_says_who_signs_next(made: Path, tmp_path: Path, run: Run) -> None:
    code, shown = run("trust", "check", made / "v2/trust.toml")
    assert (code, shown.splitlines()[0]) == (0, f"{made / 'v2/trust.toml'}: can be used")
    bare = tmp_path / "trust.toml"
    shutil.copy(made / "v2/trust.toml", bare)
    code, shown = run("trust", "check", bare)
    assert (code, shown.splitlines()[0]) == (1, f"{bare}: DO NOT USE")
    assert "signed by nobody; 1 of its officers must have signed" in shown
    assert f"sealwright trust sign {bare}" in shown


def test_trust_show_reads_everything_aloud_that_an_auditor_asks_for(tmp_path: Path, run: Run) -> None:
    pki = Pki.make()
    log, witness = verifier_key("log.example", NoteType.LOG), verifier_key("w.example", NoteType.WITNESS)
    parts = trust_parts(
        pki,
        log=[{"name": "ours", "vkey": log}],
        witness=[{"name": "west", "vkey": witness}],
        crl=[{"issuer": pki.root.pem, "min_number": 7, "max_age": {"install": "30d"}}],
    )
    path = tmp_path / "trust.toml"
    path.write_bytes(trust_bytes(parts))
    code, shown = run("trust", "show", path)
    assert code == 0
    for said in (
        "Officers, who replace this file: 1 of olga",
        "olga of ACME",
        f"Signing log: ours ({log})",
        f"Witness of a log: west ({witness})",
        "list number 7 or newer, to install at most 30 days old",
        "contact: security@plant.example",
    ):
        assert said in shown
    value = json.loads(run("trust", "show", path, "--json")[1])
    assert value["witnesses"] == [
        {"name": "west", "vkey": witness, "key_name": "w.example", "key_id": witness.split("+")[1]}
    ]
    assert value["crls"][0]["min_number"] == 7
    assert {person["id"] for person in value["persons"]} == {"olga", "rolf"}
