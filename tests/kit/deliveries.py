"""What a maker delivers to a plant, for the checking station: a signed file and a signed tree, and the home that trusts them."""

from __future__ import annotations

import os
from pathlib import Path

from sealwright.cli.main import main


def signing_home(folder: Path) -> Path:
    """A signing home with its trust file."""
    assert main(["init", str(folder)]) == 0
    return folder


def delivered(home: Path, folder: Path, name: str = "target.bin", size: int = 300_000, more: int = 0) -> Path:
    """A signed file of that name and size, and a signed tree `release`. more: octets of a second file in the tree, 0 for none."""
    (folder / name).write_bytes(os.urandom(size))
    (folder / "release").mkdir()
    (folder / "release/a.cfg").write_bytes(b"a" * 100)
    if more:
        (folder / "release/b.bin").write_bytes(os.urandom(more))
    assert main(["sign", str(folder / name), str(folder / "release"), "--home", str(home)]) == 0
    return folder
