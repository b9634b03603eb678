"""The portable folder: wheels unpacked side by side, and launchers that need Python and nothing installed.

    portable/sealwright, sealwright.cmd      what a person starts
    portable/launch.py                       puts the right folders of lib/ in front, and starts the command
    portable/lib/any/                        pure Python, for every system
    portable/lib/SYSTEM/                     compiled for every Python from 3.11 (cryptography)
    portable/lib/SYSTEM-cpXY/                compiled for one Python (cffi, PKCS#11)

A wheel for one system whose Python part is the same on all is unpacked whole for each, so that every folder is what a wheel's own
RECORD says. Commands are those of the wheel: nothing here lists them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from bundling.refused import BundleRefused
from bundling.wheels import SYSTEMS, Wheel

BUILD_ONLY = {"pycparser"}  # cffi parses C with it when a binding is compiled, which nobody does on a stick


def unpacked(wheels: Iterable[Wheel], lib: Path) -> None:
    """Unpack each wheel where the launcher looks; BundleRefused if two would write one file, or one would leave its folder."""
    for wheel in wheels:
        if wheel.name in BUILD_ONLY:
            continue
        root = lib / _place(wheel)
        with zipfile.ZipFile(wheel.path) as archive:
            for name in archive.namelist():
                target = root / name
                if ".." in Path(name).parts or name.startswith("/") or "\\" in name or ".data/" in name:
                    raise BundleRefused(wheel.path.name, f"{name} does not lie in it", "Do not use this wheel.")
                if name.endswith("/"):
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists() and target.read_bytes() != archive.read(name):
                    raise BundleRefused(wheel.path.name, f"{name} is also in another wheel", "Choose one of them.")
                target.write_bytes(archive.read(name))


def _place(wheel: Wheel) -> str:
    python, abi, platform = wheel.tags
    if platform == "any":
        return "any"
    (system,) = [system.name for system in SYSTEMS if set(platform.split(".")) & set(system.platforms)]
    return system if abi == "abi3" else f"{system}-{python}"
