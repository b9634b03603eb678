"""Changing an authority's certificates is old or new after each crash, and the same command once more finishes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sealwright.cli.main import main
from sealwright.envelope.algorithms import key_digest
from sealwright.signing import authority
from sealwright.signing.home import REGISTER, open_home
from sealwright.signing.register import read_register

Say = Callable[..., tuple[int, list[dict[str, object]], str]]


class PowerCut(BaseException):
    """The machine stops here."""


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "kmod", "--home", str(home)]) == 0
    return home


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def say(home: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """A command on the home, with its exit code, lines of JSON and complaints."""

    def run(*words: str) -> tuple[int, list[dict[str, object]], str]:
        capsys.readouterr()
        code = main([*words, "--home", str(home), "--json"])
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run


def power_cut(*_: object, **__: object) -> None:
    raise PowerCut


def current(home: Path, name: str) -> bytes:
    return next(key for key in open_home(str(home)).keys if key.name == name).certificate


def serials(home: Path) -> int:
    return len(read_register(str(home / REGISTER)).issued)


def test_every_command_on_certificates_speaks_json_with_times_in_utc(home: Path, say: Say) -> None:
    code, (renewed,), _ = say("cert", "renew", "release")
    assert code == 0 and str(renewed["until"]).endswith("Z")
    code, (rekeyed,), _ = say("cert", "rekey", "kmod", "--name", "kmod-2")
    assert code == 0 and str(rekeyed["old_signs_until"]).endswith("Z")
    for words in (["cert", "list"], ["cert", "show", "release"], ["cert", "hold", "release"], ["cert", "release", "release"],
                  ["cert", "retire", "release", "--until", "2099-01-01T00:00:00Z"], ["ca", "crl"],
                  ["cert", "revoke", "release", "--reason", "superseded"]):  # fmt: skip
        code, lines, complaint = say(*words)
        assert (code, complaint) == (0, "") and lines, words
    code, lines, _ = say("cert", "expiring", "--within", "4000d")
    assert code == 1 and all(str(line["ends"]).endswith("Z") for line in lines)


@pytest.mark.parametrize("name", ["../../outside", "root", "kmod", "a/b", "Upper", ""])
def test_a_new_key_is_called_like_every_key_of_a_home(home: Path, say: Say, name: str) -> None:
    assert say("cert", "rekey", "kmod", "--name", "kmod-2")[0] == 0
    before, files = serials(home), sorted(home.parent.rglob("*.pem"))
    code, _, complaint = say("cert", "rekey", "release", "--name", name)
    assert code == 2 or code == 1
    assert "--name" in complaint
    assert serials(home) == before and sorted(home.parent.rglob("*.pem")) == files


def test_a_power_cut_while_a_key_is_replaced_is_made_good_by_the_same_command(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = serials(home)
    with monkeypatch.context() as cut, pytest.raises(PowerCut):
        cut.setattr(authority, "save", power_cut)
        main(["cert", "rekey", "kmod", "--name", "kmod-2", "--home", str(home)])
    assert [key.name for key in open_home(str(home)).keys].count("kmod-2") == 0
    assert serials(home) == before + 1
    code, (told,), _ = say("cert", "rekey", "kmod", "--name", "kmod-2")
    assert code == 0
    assert serials(home) == before + 1, "the certificate of the first try is used"
    keys = {key.name: key for key in open_home(str(home)).keys}
    assert keys["kmod"].signs_until is not None
    assert str(key_digest(keys["kmod-2"].public_key)) == told["key"]
    assert (home / "trust.d" / "kmod-2.pem").exists()


def test_a_key_of_that_name_that_is_somebody_elses_is_not_taken_for_ones_own(home: Path, say: Say) -> None:
    assert say("cert", "rekey", "kmod", "--name", "kmod-2")[0] == 0
    assert main(["key", "create", f"file:{home / 'keys' / 'stranger.pem'}", "--algorithm", "p256"]) == 0
    before = serials(home)
    code, _, complaint = say("cert", "rekey", "release", "--name", "stranger")
    assert code != 0 and "stranger.pem" in complaint
    assert serials(home) == before


def test_a_power_cut_while_a_certificate_is_renewed_is_made_good_by_the_same_command(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, before = current(home, "release"), serials(home)
    with monkeypatch.context() as cut, pytest.raises(PowerCut):
        cut.setattr(authority, "save", power_cut)
        main(["cert", "renew", "release", "--home", str(home)])
    assert current(home, "release") == old and serials(home) == before + 1
    assert say("cert", "renew", "release")[0] == 0
    assert current(home, "release") != old and serials(home) == before + 1
    assert say("cert", "renew", "release")[0] == 0, "and a next one is a new one"
    assert serials(home) == before + 2
