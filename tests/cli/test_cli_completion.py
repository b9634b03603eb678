"""Completion: the printed script makes a real bash complete commands, options, choices and file names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealwright.cli.main import main

PROGRAM = (sys.executable, "-m", "sealwright")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_names_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "sealwright" in capsys.readouterr().out


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    line = "sealwright verify --tru"
    script = f'exec 8>{answers} 9>/dev/null; "$@"'
    environment = {**os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "IFS": "\013"}
    environment["_ARGCOMPLETE_IFS"] = "\013"
    subprocess.run(["bash", "-c", script, "bash", *PROGRAM], env=environment, check=False, capture_output=True)
    assert set(answers.read_text().split("\013")) >= {"--trust", "--trust-fingerprint"}


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("sealwright ver", {"verify "}),
        ("sealwright trust in", {"install "}),
        ("sealwright verify x --purpose r", {"run", "restore"}),
        ("sealwright verify x --trust tru", {"trust.toml "}),
    ],
)
def test_the_printed_script_makes_bash_complete(typed: str, wanted: set[str], tmp_path: Path) -> None:
    (tmp_path / "trust.toml").touch()
    words = typed.split()
    script = f"""
        source <(sealwright completion bash)
        COMP_LINE="{typed}" COMP_POINT={len(typed)} COMP_CWORD={len(words) - 1} COMP_TYPE=9 COMP_WORDS=({typed})
        "$(complete -p sealwright | sed 's/.*-F \\([^ ]*\\).*/\\1/')" sealwright
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert {line.rstrip() for line in done.stdout.splitlines()} == {one.rstrip() for one in wanted}, done.stderr
