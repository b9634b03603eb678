"""docs/release.md, typed: each command behind a `$` ends as it says, with the first line of its answer where that is shown."""

from __future__ import annotations

import re
from pathlib import Path

from test_docs import ROOT, bash


def test_the_page_on_releases_is_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "release.md").read_text().partition("## Channels")[0]
    lines = re.findall(r"^    (.+)$", page, re.MULTILINE)
    typed = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    assert len(typed) == 26
    for at in typed:
        command, _, remark = lines[at][2:].partition("     # exit code ")
        code, said = bash(tmp_path, command)
        assert code == int(remark or 0), said
        following = "".join(lines[at + 1 : at + 2])
        assert following.startswith("$ ") or following in said, said
