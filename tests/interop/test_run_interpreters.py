"""`sealwright run` with the interpreters themselves: they run the sealed copy, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kit.scripts import home_for, run_script, signed_script
from sealwright.cli.main import main

MORE = """
[[interpreter]]
kind = "node"
path = "/usr/bin/node"

[[interpreter]]
kind = "ansible"
path = "/usr/bin/ansible-playbook"

[[interpreter]]
kind = "sql"
path = "/usr/bin/sqlite3"
arguments = ["-batch", "-bail", ":memory:"]
"""
SCRIPTS = {
    "a.sh": ('#!/bin/sh\necho "sum $(( 40 + $1 ))"\n', "sum 42"),
    "b.sh": ('#!/bin/bash\nx=(40 "$1"); echo "sum $((x[0]+x[1]))"\n', "sum 42"),
    "c.py": ("# sealwright-run: kind = python\nimport sys\nprint('sum', 40 + int(sys.argv[1]))\n", "sum 42"),
    "d.js": ("#!/usr/bin/env node\nconsole.log('sum', 40 + Number(process.argv[2]))\n", "sum 42"),
    "e.yml": (
        '---\n# sealwright-run: kind = ansible\n- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - debug: msg="sum {{ 40 + 2 }}"\n',
        "sum 42",
    ),
    "f.sql": ("-- sealwright-run: kind = sql\nselect 'sum', 40 + 2;\n", "sum|42"),
}
WITHOUT_ARGUMENTS = ("e.yml", "f.sql")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_for(tmp_path_factory.mktemp("run"), MORE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_signed_scripts_run_and_altered_ones_do_not(home: Path, tmp_path: Path, name: str) -> None:
    text, wanted = SCRIPTS[name]
    path = signed_script(home, tmp_path / name, text)
    arguments = [] if name in WITHOUT_ARGUMENTS else ["2"]
    code, out, err = run_script(home, path, *arguments)
    assert (code, wanted in out) == (0, True), err
    if not arguments:
        code, out, err = run_script(home, path, "-x")
        assert (code, out) == (126, "")
        assert "take no arguments here" in err
    path.write_text(text.replace("40", "41"))
    code, out, err = run_script(home, path, *arguments)
    assert (code, out) == (126, "")
    assert err.startswith("DO NOT RUN: the file was changed")
    (tmp_path / f"{name}.p7s").unlink()
    code, out, err = run_script(home, path, *arguments)
    assert (code, out) == (126, "")
    assert "not signed" in err


def test_what_only_its_name_makes_a_script_is_refused_and_told_the_line(home: Path, tmp_path: Path) -> None:
    good = signed_script(home, tmp_path / "good.sh", "#!/bin/sh\necho ran\n")
    assert run_script(home, good) == (0, "ran\n", "")
    notes = signed_script(home, tmp_path / "notes.txt", "echo ran\n")
    for ending in ("", ".p7s"):
        (tmp_path / f"notes.sh{ending}").write_bytes((tmp_path / f"{notes.name}{ending}").read_bytes())
    code, out, err = run_script(home, tmp_path / "notes.sh")
    assert (code, out) == (126, "")
    assert err.startswith("DO NOT RUN: nothing signed says what runs it")
    assert "`#!/bin/sh`" in err
    named = tmp_path / "named.sql"
    named.write_text("select 40 + 2;\n")
    assert main(["sign", str(named), "--home", str(home), "--product", "historian"]) == 0
    assert run_script(home, named) == (0, "42\n", "")


def test_a_script_swapped_while_it_runs_changes_nothing(home: Path, tmp_path: Path) -> None:
    """A shell reads its script line by line: the path is written over by the script's own first command."""
    path = tmp_path / "self.sh"
    signed_script(home, path, f"#!/bin/sh\nprintf 'echo evil\\necho evil\\n' > {path}\necho first\necho second\n")
    code, out, _ = run_script(home, path)
    assert (code, out) == (0, "first\nsecond\n")
    assert path.read_text().startswith("echo evil")


def test_the_environment_is_clean_and_the_caller_s_code_is_the_script_s(home: Path, tmp_path: Path) -> None:
    path = signed_script(home, tmp_path / "env.sh", "#!/bin/sh\nenv | cut -d= -f1 | sort | tr '\\n' ' '\npwd\nexit 7\n")
    hostile = tmp_path / "hostile"
    hostile.write_text("echo evil\n")
    code, out, err = run_script(home, path, environment={"ENV": str(hostile), "BASH_ENV": str(hostile), "SECRET": "1"})
    assert (code, out) == (7, "HOME LANG LOGNAME PATH PWD USER /\n"), err
    path = signed_script(
        home, tmp_path / "x.py", "#!/usr/bin/python3\nimport os, sys\nprint(sys.flags.isolated, sys.path[0][:4])\n"
    )
    (tmp_path / "os.py").write_text("print('evil')\n")
    code, out, err = run_script(home, path, environment={"PYTHONPATH": str(tmp_path)})
    assert (code, out) == (0, "1 /usr\n"), err


def test_standard_input_is_the_script_s(home: Path, tmp_path: Path) -> None:
    path = signed_script(home, tmp_path / "in.sh", '#!/bin/sh\nread line; echo "got $line"\n')
    assert run_script(home, path, text="this\n") == (0, "got this\n", "")


def test_ssh_clients_name_a_script_of_one_folder(home: Path, tmp_path: Path) -> None:
    signed_script(home, tmp_path / "say.sh", '#!/bin/sh\necho "[$1] [$2]"\n')
    asked = {"SSH_ORIGINAL_COMMAND": "say.sh 'a b; id' '$(id)'"}
    assert run_script(home, "--ssh", tmp_path, environment=asked) == (0, "[a b; id] [$(id)]\n", "")
    for command in ("/bin/sh -c id", "../say.sh", "", "say.sh 'x", ".say.sh"):
        code, out, err = run_script(home, "--ssh", tmp_path, environment={"SSH_ORIGINAL_COMMAND": command})
        assert (code, out) == (2, ""), command
        assert err
    unsigned = tmp_path / "other.sh"
    unsigned.write_text("echo evil\n")
    code, out, _ = run_script(home, "--ssh", tmp_path, environment={"SSH_ORIGINAL_COMMAND": "other.sh"})
    assert (code, out) == (126, "")


def test_check_judges_and_starts_nothing(home: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = signed_script(home, tmp_path / "a.sh", f"#!/bin/sh\n# sealwright-run: runs = 1\ntouch {mark}\n")
    state = tmp_path / "state"
    state.mkdir()
    for _ in range(2):
        code, out, _ = run_script(home, "--state", state, "--check", path)
        assert (code, out.splitlines()[0]) == (0, "RUN: allowed")
    code, out, _ = run_script(home, "--state", state, "--check", "--json", path)
    assert (code, json.loads(out)["purpose"]) == (0, "run")
    assert not mark.exists()
    assert run_script(home, "--state", state, path)[0] == 0
    assert mark.exists()
    code, _, err = run_script(home, "--state", state, path)
    assert code == 126
    assert err.startswith("DO NOT RUN: its number of runs is used up")
    code, out, _ = run_script(home, "--state", state, "--check", "--json", path)
    assert code == 1
    assert "SW-RUN-COUNT" in out


def test_what_cannot_be_read_starts_nothing(home: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none.sh", tmp_path, Path("/dev/null")):
        code, out, err = run_script(home, path)
        assert (code, out) == (126, ""), path
        assert str(path) in err
    assert run_script(home)[0] == 2
    big = tmp_path / "big.sh"
    with big.open("wb") as file:
        os.truncate(file.fileno(), 17 << 20)
    assert run_script(home, big)[0] == 126


def test_descriptors_of_the_caller_stay_behind(home: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"secret")
    os.close(writer)
    path = signed_script(home, tmp_path / "fds.sh", f"#!/bin/bash\ncat <&{reader}\n")
    try:
        code, out, err = run_script(home, path, passing=[reader])
    finally:
        os.close(reader)
    assert (code, out) == (1, "")
    assert "Bad file descriptor" in err
