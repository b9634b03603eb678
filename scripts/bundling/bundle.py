"""One bundle, from a commit to a folder that was checked.

    NAME/wheels/          every wheel, and requirements.txt that pins each of them
    NAME/portable/        the same unpacked, with launchers
    NAME/install.sh, install.cmd, HOW-TO-CHECK.txt, sbom.cdx.json, README.md, docs/, LICENSE
    NAME.manifest, NAME.manifest.p7s, NAME.ca.pem

It is made in a folder beside its place and renamed last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from bundling import portable, sbom, wheels
from bundling.pins import Pin, written
from bundling.source import Source
from bundling.wheels import Wheel

FILES = Path(__file__).parent / "files"
BESIDE = (".manifest", ".manifest.p7s", ".ca.pem")


def name_of(source: Source) -> str:
    """The bundle's name."""
    return f"sealwright-{source.version}-offline"


def made(source: Source, folder: Path, cache: Path) -> None:
    """Fill an empty folder with a bundle, without its manifest: the same bytes for the same commit."""
    kept = folder / "wheels"
    kept.mkdir(parents=True)
    ours = wheels.built(source, kept)
    theirs = [_copied(wheel, kept) for wheel in wheels.fetched(_base(source), cache)]
    carried = [ours, *theirs]
    (kept / "requirements.txt").write_text(_requirements(source, carried))
    portable.unpacked(carried, folder / "portable" / "lib")
    for name in ("launch.py", "sealwright", "sealwright.cmd"):
        _place(source, name, folder / "portable")
    for name in ("install.sh", "install.cmd", "HOW-TO-CHECK.txt"):
        _place(source, name, folder)
    (folder / "sbom.cdx.json").write_text(sbom.text(source, carried))
    shutil.copytree(source.folder / "docs", folder / "docs")
    for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"):
        shutil.copyfile(source.folder / name, folder / name)
    _even(folder, source.epoch)


def _base(source: Source) -> Path:
    return source.folder / "requirements" / "base.txt"


def _copied(wheel: Wheel, folder: Path) -> Wheel:
    return Wheel.of(Path(shutil.copyfile(wheel.path, folder / wheel.path.name)))


def _requirements(source: Source, carried: Sequence[Wheel]) -> str:
    """Pins of exactly the files that are carried."""

    def hashes(name: str) -> frozenset[str]:
        return frozenset(wheel.sha256 for wheel in carried if wheel.name == name)

    theirs = [Pin(pin.name, pin.version, pin.marker, hashes(pin.name)) for pin in wheels.pinned(_base(source))]
    return written([Pin("sealwright", source.version, "", hashes("sealwright")), *theirs])


def _place(source: Source, name: str, folder: Path) -> None:
    """One of our own files: names filled in, line ends as its system wants them."""
    text = (FILES / name).read_text().replace("@VERSION@", source.version).replace("@NAME@", name_of(source))
    (folder / name).write_bytes(text.encode().replace(b"\n", b"\r\n" if name.endswith(".cmd") else b"\n"))


def _even(folder: Path, epoch: int) -> None:
    """Modes and times that depend on nothing: 0755 for folders and what a person starts, else 0644; the commit's time."""
    started = {folder / "install.sh", folder / "portable" / "sealwright"}
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() or path in started else 0o644)
        os.utime(path, (epoch, epoch))
    folder.chmod(0o755)
    os.utime(folder, (epoch, epoch))
