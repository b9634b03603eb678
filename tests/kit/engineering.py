"""An engineering station for tests: a maker's release, the plant's trust in it, and a vendor's tool that only root could change."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealwright.cli.main import main
from sealwright.plant.installation import Installation
from sealwright.plant.recordexport import Kept, Wanted, kept

DESCRIPTION = """# sealwright release 1

[[requires]]
product = "VX-200 bootloader"
generation = 4

[[component]]
name = "boot"
path = "boot.bin"

[[component]]
name = "application"
path = "application"

[[document]]
kind = "notes"
path = "notes.txt"
"""
BOOT = bytes(range(251)) * 40
# what it loads becomes the "device"; what it was told beside stands in a file that says how often it ran
TOOL = """#!/bin/sh
device=$1; echo "$3" >> "$device.ran"
rm -rf "$device"; cp -R "$2" "$device" || exit 9
exit ${4:-0}
"""


def release(folder: Path, home: Path, generation: int = 6, boot: bytes = BOOT, *hardware: str) -> Path:
    """A signed release of two components and a document; its folder is named by its generation."""
    path = folder / str(generation)
    (path / "application").mkdir(parents=True)
    (path / "application" / "main.st").write_text(f"program {generation}\n")
    (path / "application" / "hmi.json").write_text("{}\n")
    (path / "boot.bin").write_bytes(boot)
    (path / "notes.txt").write_text("notes\n")
    (path / "release.toml").write_text(DESCRIPTION)
    sign(path, home, generation, *hardware)
    return path


def sign(path: Path, home: Path, generation: int, *hardware: str) -> None:
    """By the maker, as a release of that generation."""
    claims = ["--product", "VX-200", "--version", str(generation), "--generation", str(generation)]
    claims += [word for one in hardware for word in ("--hardware", one)]
    assert main(["sign", str(path), "--home", str(home), "--replace", *claims]) == 0


@contextmanager
def vendor_tool(text: str = TOOL, mode: int = 0o755) -> Iterator[Path]:
    """A program where nobody but root may write; tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="vendor-", dir="/opt"))
    folder.chmod(0o755)
    program = folder / "load"
    program.write_text(text)
    program.chmod(mode)
    try:
        yield program
    finally:
        shutil.rmtree(folder)


def recorded(folder: Path) -> list[Kept]:
    """Every record, in order."""
    return list(kept(str(folder), Wanted()))


def installations(folder: Path) -> list[Installation]:
    """What each record says of a device."""
    every = [one.record.facts.installation for one in recorded(folder) if one.record is not None]
    return [one for one in every if one is not None]
