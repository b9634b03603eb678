"""docs/hawkbit.md: every command that stands behind a `$` is typed, and answers as the page shows."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from kit.agents import Maker
from kit.hawkbit import hawkbit_house, release_with
from sealwright.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hawkbit.md"


def test_the_page_on_hawkbit_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PAGE.read_text()
    maker = Maker.at(tmp_path / "maker")
    maker.offer(release_with(maker, "1.0.0", 1, b"an archive"))
    made = hawkbit_house(tmp_path / "house", maker)
    os.symlink(maker.repository.folder, made.folder / "repository")
    (made.folder / "plc-5.pem").write_bytes((made.folder / "plc-cert.pem").read_bytes())
    text = re.findall(r"```toml\n(# sealwright hawkbit 1\n.*?)```", page, re.DOTALL)[0]
    made.configuration.write_text(re.sub(r"sha256:[0-9a-f]{64}", str(maker.repository.root_digest), text))
    monkeypatch.chdir(made.folder)
    lines = re.findall(r"^    (.+)$", page, re.MULTILINE)
    typed = [at for at, line in enumerate(lines) if line.startswith("$ sealwright ")]
    assert len(typed) == 5
    for at in typed:
        assert main(shlex.split(lines[at])[2:]) == 0
        following = lines[at + 1] if at + 1 < len(lines) else ""
        shown = "" if following.startswith("$ ") else following
        assert shown in capsys.readouterr().out
