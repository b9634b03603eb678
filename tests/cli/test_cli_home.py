"""`sealwright home` as people and programs type it: what it prints, its exit codes, and that nothing is written where it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.openssl import run as program
from sealwright.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command: exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes")
    assert main(["init", str(folder / "ca")]) == 0
    assert main(["key", "enrol", "backup", "--home", str(folder / "ca")]) == 0
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "ca", tmp_path / "ca")
    return tmp_path / "ca"


def test_programs_read_every_answer_as_one_object_a_line(run: Run, home: Path, tmp_path: Path) -> None:
    ca, tar, new = home / "ca.pem", tmp_path / "b.tar", tmp_path / "new"

    def told(*words: str | Path, code: int = 0) -> dict[str, object]:
        ended, out, _ = run(*words, "--json")
        assert ended == code
        (line,) = out.splitlines()
        value = json.loads(line)
        assert isinstance(value, dict)
        return value

    backup = told("home", "backup", "--home", home, "--out", tar)
    assert (backup["private_keys"], backup["encrypted"]) == (False, False)
    line = told("home", "checkpoint", "--home", home)["checkpoint"]
    assert line == backup["checkpoint"]
    assert told("home", "backup", "--check", tar, "--ca", ca)["files"] == backup["files"]
    assert told("home", "restore", tar, "--to", new, "--ca", ca)["locked"] is True
    assert told("home", "checkpoint", "--home", new, code=1)["error"]["code"] == "SW-HOME-LOCKED"  # type: ignore[index]
    assert told("home", "checkpoint", "--home", new, "--check", str(line))["contained"] is True
    assert told("home", "unlock", "--home", new, "--checkpoint", str(line))["unlocked"] == "complete"
    assert told("home", "checkpoint", "--home", new, "--check", str(line))["more"] == 1
    other = told("home", "checkpoint", "--home", new)["checkpoint"]
    assert told("home", "checkpoint", "--home", home, "--check", str(other), code=1)["contained"] is False
    tar.write_bytes(tar.read_bytes()[:-1])
    assert told("home", "backup", "--check", tar, "--ca", ca, code=1)["error"]["code"] == "SW-BACKUP-REFUSED"  # type: ignore[index]


def test_the_certificates_of_a_home_are_told_to_programs_too(run: Run, home: Path) -> None:
    for words in (["list"], ["expiring", "--within", "9000d"], ["show", "release"]):
        _, out, said = run("cert", *words, "--home", home, "--json")
        assert not said
        assert all(isinstance(json.loads(line), dict) for line in out.splitlines())
        assert out


def test_restoring_with_the_checkpoint_unlocks_at_once(run: Run, home: Path, tmp_path: Path) -> None:
    tar, paper = tmp_path / "b.tar", tmp_path / "paper.txt"
    _, said, _ = run("home", "backup", "--home", home, "--out", tar)
    paper.write_text("Friday:\n" + said.splitlines()[-1] + "\n")
    code, said, _ = run(
        "home", "restore", tar, "--to", tmp_path / "new", "--ca", home / "ca.pem", "--checkpoint", paper
    )
    assert code == 0
    assert "unlocked: nothing is missing" in said
    # on Friday evening somebody enrolled a key: the paper of Saturday is newer, and the home stays locked
    assert run("key", "enrol", "file", "--home", home, "--name", "late")[0] == 0
    paper.write_text(run("home", "checkpoint", "--home", home)[1])
    code, _, said = run(
        "home", "restore", tar, "--to", tmp_path / "two", "--ca", home / "ca.pem", "--checkpoint", paper
    )
    assert code == 1
    assert "newer than the backup" in said
    assert (tmp_path / "two" / "locked").exists()
    copies = [home / "journal" / "journal.jsonl", home / "register" / "journal.jsonl"]
    words = [word for copy in copies for word in ("--entries", copy)]
    code, said, _ = run("home", "unlock", "--home", tmp_path / "two", "--checkpoint", paper, *words)
    assert code == 0
    assert "late; enrol it again" in said


def test_an_encrypted_backup_leaves_nothing_in_clear(run: Run, home: Path, tmp_path: Path) -> None:
    words = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        tmp_path / "k.pem",
        "-out",
        tmp_path / "c.pem",
        "-subj",
        "/CN=eva",
    ]
    assert program(["openssl", "req", "-x509", *words])[0]
    before = sorted(path.name for path in home.iterdir())
    out = tmp_path / "b.p7m"
    code, said, _ = run("home", "backup", "--home", home, "--out", out, "--to-person", tmp_path / "c.pem")
    assert code == 0
    assert "to decrypt" in said
    assert b"journal.jsonl" not in out.read_bytes()
    assert sorted(path.name for path in home.iterdir()) == before
    _, _, said = run("home", "backup", "--check", out, "--ca", home / "ca.pem")
    assert "openssl cms -decrypt" in said
    plain = tmp_path / "b.tar"
    assert program(["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", out, "-inkey", tmp_path / "k.pem",
                    "-out", plain])[0]  # fmt: skip
    assert run("home", "backup", "--check", plain, "--ca", home / "ca.pem")[0] == 0
    code, _, said = run("home", "backup", "--home", home, "--out", tmp_path / "x.p7m", "--to-person", home / "ca.pem")
    assert (code, (tmp_path / "x.p7m").exists()) == (1, False)
    assert "not RSA" in said


WRONG: list[list[str]] = [
    ["backup", "--home", "ca"],
    ["backup", "--check", "b.tar"],
    ["unlock", "--home", "ca"],
    ["unlock", "--home", "ca", "--checkpoint", "x", "--loss", "y"],
    ["unlock", "--home", "ca", "--loss", "y", "--entries", "z"],
    ["loss", "--home", "ca"],
    ["loss", "--home", "ca", "--out", "x"],
    ["loss", "--home", "ca", "--sign", "x"],
    ["loss", "--home", "ca", "--sign", "x", "--person", "eva", "--out", "y"],
    ["loss", "--home", "ca", "--out", "x", "--reason", "y"],
    ["restore", "b.tar", "--to", ".", "--ca", "ca/ca.pem"],
    ["restore", "b.tar", "--to", "ca", "--ca", "ca/ca.pem"],
    ["checkpoint", "--home", "ca", "--check", "ca/ca.pem"],
    ["checkpoint", "--home", "ca", "--check", "sealwright-home 1 id=1 sum=1"],
    ["checkpoint", "--home", "nowhere"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_cannot_be_meant_is_said_and_changes_nothing(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(home.parent)
    before = sorted(home.parent.rglob("*"))
    code, _, said = run("home", *words)
    assert code == 2
    assert said.startswith("sealwright: ")
    assert sorted(home.parent.rglob("*")) == before
