"""docs/fleet.md: every command that stands behind a `$` is typed, and answers as the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from kit.fleet import FleetDevice, fleet_house

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fleet.md"


def test_the_page_on_the_fleet_is_typed(tmp_path: Path) -> None:
    page = PAGE.read_text()
    made = fleet_house(tmp_path / "house")
    made.configuration.write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    devices = [FleetDevice("gw-18"), FleetDevice("gw-19")]
    (made.folder / "devices.txt").write_text("# sealwright devices 1\n" + "".join(one.line for one in devices))
    lines = re.findall(r"^    (.+)$", page, re.MULTILINE)
    typed = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    assert len(typed) >= 7
    for at in typed:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines[at][2:]],
            cwd=made.folder,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shown = lines[at + 1] if at + 1 < len(lines) and not lines[at + 1].startswith(("$ ", "sealwright ")) else ""
        assert shown in done.stdout
