"""`sealwright run` attacked from beside: many at once, closed streams, other names, other environments (A150, A156)."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kit.scripts import SEALWRIGHT, home_for, run_script, signed_script


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_for(tmp_path_factory.mktemp("run"))


def test_a150_many_starts_at_once_are_counted_one_by_one(home: Path, tmp_path: Path) -> None:
    path = signed_script(home, tmp_path / "three.sh", "#!/bin/sh\n# sealwright-run: runs = 3\necho ran\n")
    (tmp_path / "state").mkdir()
    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(lambda _: run_script(home, "--state", tmp_path / "state", path), range(10)))
    assert sorted(code for code, _, _ in ended) == [0] * 3 + [126] * 7
    assert [out for _, out, _ in ended].count("ran\n") == 3
    copy = tmp_path / "other name.sh"
    copy.write_bytes(path.read_bytes())
    (tmp_path / "other name.sh.p7s").write_bytes((tmp_path / "three.sh.p7s").read_bytes())
    assert run_script(home, "--state", tmp_path / "state", copy)[0] == 126


def test_a150_closed_streams_are_no_way_in(home: Path, tmp_path: Path) -> None:
    """The lowest free descriptor would be the script's copy: it must be neither the script's input nor its output."""
    path = signed_script(home, tmp_path / "a.sh", "#!/bin/sh\nif read line; then echo $line; else echo empty; fi\n")
    command = [SEALWRIGHT, "run", "--trust", home / "trust.toml", path]
    words = " ".join(f"'{part}'" for part in command)
    for closed, wanted in (("0<&-", "empty\n"), ("0<&- 2>&-", "empty\n"), ("1>&-", "")):
        done = subprocess.run(
            ["sh", "-c", f"{words} {closed}"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == wanted, closed


def test_a156_what_changes_the_interpreter_does_not_reach_it(home: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "sitecustomize.py").write_text("print('evil')\n")
    (evil / "env").write_text("echo evil\n")
    hostile = {
        "PYTHONSTARTUP": str(evil / "sitecustomize.py"),
        "PYTHONINSPECT": "1",
        "BASH_ENV": str(evil / "env"),
        "ENV": str(evil / "env"),
        "SHELLOPTS": "xtrace",
        "BASH_FUNC_echo%%": "() { /bin/echo evil; }",
        "PS4": "$(/bin/echo evil)",
        "PATH": f"{evil}:{os.environ['PATH']}",
        "IFS": "o",
        "HOME": str(evil),
    }
    for name, text in (
        ("a.sh", "#!/bin/sh\necho good\n"),
        ("b.sh", "#!/bin/bash\necho good\n"),
        ("c.py", "#!/usr/bin/python3\nprint('good')\n"),
    ):
        path = signed_script(home, tmp_path / name, text)
        assert run_script(home, path, environment=hostile) == (0, "good\n", "")


def test_a169_options_behind_the_script_are_its_own(home: Path, tmp_path: Path) -> None:
    for name, text in (
        ("a.sh", '#!/bin/sh\necho "$*"\n'),
        ("b.py", "#!/usr/bin/python3\nimport sys\nprint(*sys.argv[1:])\n"),
    ):
        path = signed_script(home, tmp_path / name, text)
        words = ["-c", "--check", "--trust", "x", "--", "-", "--json"]
        assert run_script(home, path, *words) == (0, " ".join(words) + "\n", "")
    odd = signed_script(home, tmp_path / "--check.sh", "#!/bin/sh\necho odd\n")
    assert run_script(home, "--", odd)[:2] == (0, "odd\n")
