"""Fixtures of key ceremonies: people with homes of their own, and a ceremony that was held."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest

from kit.ceremonies import OFFICERS, Run, begun, come, planned
from sealwright.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one action of the ceremony that must end with an exit code, None for any; what it printed."""

    def call(*arguments: str | Path, code: int | None = 0, of: tuple[str, ...] = ("ca", "ceremony")) -> str:
        capsys.readouterr()
        try:
            found = main([*of, *(str(argument) for argument in arguments)])
        except SystemExit as cause:
            found = int(str(cause.code))
        shown = capsys.readouterr()
        assert code is None or found == code, shown
        return shown.out + shown.err

    return call


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An officer's home each, a stranger's and a witness's."""
    folder = tmp_path_factory.mktemp("officers")
    everyone = (*OFFICERS, "mallory", "wim")
    for name in everyone:
        assert main(["init", str(folder / name), "--title", name]) == 0
    return {name: folder / name for name in everyone}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, homes: dict[str, Path]) -> Path:
    """A ceremony that was held: `plan.txt`, and the home `ca` with its transcript, signed by eva and jan."""
    folder = tmp_path_factory.mktemp("held")

    def call(*arguments: str | Path, code: int = 0) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["ca", "ceremony", *(str(argument) for argument in arguments)]) == code
        return out.getvalue()

    plan = planned(call, homes, folder / "plan.txt", "--step", "timestamp")
    nonce = begun(call, plan)
    present = come(call, homes, plan, nonce, "eva", "jan")
    (folder / "shown").write_text(
        call("run", plan, "--home", folder / "ca", "--nonce", nonce, "--attendance", *present, "--yes")
    )
    for person in ("eva", "jan"):
        call("sign", folder / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    return folder


@pytest.fixture
def copy(held: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(held, tmp_path / "held")
    return tmp_path / "held"
