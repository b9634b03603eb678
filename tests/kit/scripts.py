"""Signed scripts, and the command that runs them as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealwright.cli.main import main

SEALWRIGHT = Path(sys.executable).with_name("sealwright")


def home_for(folder: Path, interpreters: str = "") -> Path:
    """A development home; interpreters: more [[interpreter]] sections for its trust file."""
    home = folder / "home"
    assert main(["init", str(home)]) == 0
    if interpreters:
        trust = home / "trust.toml"
        trust.write_text(trust.read_text() + interpreters)
        assert main(["trust", "sign", str(trust), "--home", str(home), "--person", "officer"]) == 0
    return home


def signed_script(home: Path, path: Path, text: str | bytes) -> Path:
    """A script with its signature beside it."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["sign", str(path), "--home", str(home), "--replace"]) == 0
    return path


def run_script(
    home: Path,
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    text: str = "",
    passing: Sequence[int] = (),
) -> tuple[int, str, str]:
    """`sealwright run`: exit code, standard output, standard error. passing: descriptors that it gets."""
    done = subprocess.run(
        [SEALWRIGHT, "run", "--trust", home / "trust.toml", *arguments],
        env=os.environ | (environment or {}),
        input=text.encode(),
        pass_fds=passing,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
