"""Signatures inside files from the command line: sign, inspect, strip, and what cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.efi import tiny
from sealwright.cli.main import main


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("embedded") / "home"
    assert main(["init", str(home)]) == 0
    return home


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.efi"
    path.write_bytes(tiny())
    return path


def signed(plain: Path, home: Path, *options: str, out: str = "signed.efi") -> Path:
    path = plain.parent / out
    assert main(["sign", str(plain), "--home", str(home), "--format", "pe", "--out", str(path), *options]) == 0
    return path


def test_inspect_shows_signatures_and_what_they_leave_out(
    plain: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed(plain, home)
    capsys.readouterr()
    assert main(["inspect", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    facts = [(fact["name"], fact["value"]) for fact in shown["facts"]]
    assert ("format", "pe") in facts
    assert ("signatures", "1") in facts
    assert [value.split(":")[0] for name, value in facts if name == "not covered"] == [
        "bytes 152 to 156",
        "bytes 232 to 240",
    ]
    assert [part["kind"] for part in shown["parts"]] == ["CMS signature"]
    assert main(["inspect", str(plain)]) == 0
    assert "signatures" in capsys.readouterr().out


def test_strip_gives_the_program_back(plain: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, bare = signed(plain, home), plain.parent / "bare.efi"
    assert main(["strip", str(path), "--out", str(bare)]) == 0
    before, after = plain.read_bytes(), bare.read_bytes()
    assert before[:152] + before[156:] == after[:152] + after[156:]
    assert main(["strip", str(path), "--out", str(bare)]) == 1
    assert main(["strip", str(path), "--out", str(bare), "--replace"]) == 0
    assert main(["strip", str(path), "--out", str(path), "--replace"]) == 1
    capsys.readouterr()
    assert main(["strip", str(bare), "--out", str(plain.parent / "no.efi"), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["findings"][0]["code"] == "SW-USAGE"
    assert "there is no signature in it" in said.err
    assert not (plain.parent / "no.efi").exists()


def test_signing_again_wants_add_or_replace(plain: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = signed(plain, home)
    words = ["sign", str(path), "--home", str(home), "--format", "pe", "--out"]
    assert main([*words, str(plain.parent / "twice.efi")]) == 1
    assert "signed already" in capsys.readouterr().err
    assert main([*words, str(plain.parent / "added.efi"), "--add"]) == 0
    assert main([*words, str(plain.parent / "replaced.efi"), "--replace"]) == 0
    assert (plain.parent / "added.efi").stat().st_size > (plain.parent / "replaced.efi").stat().st_size
    for name in ("added.efi", "replaced.efi"):
        assert main(["verify", str(plain.parent / name), "--trust", str(home / "trust.toml")]) == 0


def exit_code(words: list[str]) -> object:
    """Also where argparse ends the program itself."""
    try:
        return main(words)
    except SystemExit as usage:
        return usage.code


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--format", "pe"], 2),
        (["--format", "pe", "--out", "OUT", "--as", "plant"], 2),
        (["--format", "pe", "--out", "OUT", "--version", "1.2"], 1),
        (["--format", "elf", "--out", "OUT"], 2),
        (["--add"], 2),
        (["--add", "--replace", "--format", "pe", "--out", "OUT"], 2),
        (["--out", "OUT/"], 2),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    plain: Path, home: Path, options: list[str], code: int
) -> None:
    out = plain.parent / "out.efi"
    words = [word.replace("OUT", str(out)) for word in options]
    assert exit_code(["sign", str(plain), "--home", str(home), *words]) == code
    assert [path.name for path in plain.parent.iterdir()] == ["plain.efi"]


def test_a_file_of_no_such_format_is_refused_where_a_new_file_is_asked_for(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "readme.txt"
    text.write_text("hello")
    assert main(["sign", str(text), "--home", str(home), "--out", str(tmp_path / "new")]) == 2
    assert "no format that keeps its signature inside" in capsys.readouterr().err
    assert main(["sign", str(text), "--home", str(home), "--format", "pe", "--out", str(tmp_path / "new")]) == 1
    assert main(["sign", str(text), "--home", str(home)]) == 0
