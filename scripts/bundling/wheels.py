"""The wheels of a bundle: ours, built from the commit, and the pinned ones for each system and Python it is made for.

pip fetches from the index of its own configuration, checks each file against `requirements/base.txt`, and is told the system it
fetches for, so that the choice does not depend on the machine that builds. What was fetched is kept in a cache folder, whose
files are checked by the same hashes before they are used; with a full cache nothing is fetched.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bundling.pins import Pin, normal, parsed
from bundling.refused import BundleRefused
from bundling.source import Source

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))


@dataclass(frozen=True, slots=True)
class System:
    """name: what `sysconfig.get_platform()` says there; platforms: pip's tags, the one wanted most first."""

    name: str
    platforms: tuple[str, ...]


SYSTEMS = (
    System("linux-x86_64", ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64")),
    System("win-amd64", ("win_amd64",)),
)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel file. tags: its Python, ABI and platform tags, as in its name."""

    path: Path
    name: str
    version: str
    tags: tuple[str, str, str]
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Wheel:
        """The wheel at a path; the name of a wheel file says the rest (PEP 427)."""
        name, version, *_, python, abi, platform = path.name.removesuffix(".whl").split("-")
        return cls(path, normal(name), version, (python, abi, platform), _sha256(path))


def built(source: Source, folder: Path) -> Wheel:
    """Our own wheel. hatchling takes SOURCE_DATE_EPOCH for every time in it and writes modes that no umask changes."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(source.epoch), "PYTHONHASHSEED": "0"}
    program = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, folder.resolve()],
        cwd=source.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BundleRefused("the wheel", done.stderr.strip().splitlines()[-1], "Run `make install`, then try again.")
    return Wheel.of(folder / done.stdout.split()[-1])


def pinned(requirements: Path) -> tuple[Pin, ...]:
    """What a requirements file asks for."""
    return parsed(requirements.read_text(), requirements.name)


def fetched(requirements: Path, cache: Path) -> tuple[Wheel, ...]:
    """The pinned wheels for all systems and Pythons, from the cache where they are, else from the index."""
    text = requirements.read_text()
    allowed = {digest for pin in pinned(requirements) for digest in pin.hashes}
    found: dict[str, Wheel] = {}
    for system in SYSTEMS:
        for version in PYTHONS:
            wanted = hashlib.sha256(repr((text, system, version)).encode()).hexdigest()[:16]
            folder = cache / f"{system.name}-cp{version[0]}{version[1]}-{wanted}"
            if not _complete(folder, allowed):
                print(f"fetching wheels for {system.name}, Python {version[0]}.{version[1]}", file=sys.stderr)
                _fetch(requirements, system, version, folder)
            found |= {path.name: Wheel.of(path) for path in folder.glob("*.whl")}
    strange = [wheel.path.name for wheel in found.values() if wheel.sha256 not in allowed]
    if strange:
        raise BundleRefused(strange[0], "its hash is not one of those that are pinned", f"Remove {cache}.")
    return tuple(found[name] for name in sorted(found))


def _complete(folder: Path, allowed: set[str]) -> bool:
    """Whether an earlier run fetched all of it, and each file still has a pinned hash; what has not is removed."""
    listed = folder / "fetched"
    if not listed.is_file():
        return False
    names = listed.read_text().split()
    bad = [name for name in names if not (folder / name).is_file() or _sha256(folder / name) not in allowed]
    for name in bad:
        print(f"{folder / name}: changed since it was fetched, fetching it again", file=sys.stderr)
        (folder / name).unlink(missing_ok=True)
    return not bad


def _fetch(requirements: Path, system: System, version: tuple[int, int], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    python = f"{version[0]}{version[1]}"
    words = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"]
    words += ["--python-version", python, "--abi", f"cp{python}", "--abi", "abi3", "--abi", "none"]
    for platform in system.platforms:
        words += ["--platform", platform]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*pip, *words, "-r", requirements, "-d", folder], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise BundleRefused(
            f"wheels for {system.name}",
            said[-1][:300] if said else "pip failed",
            "The index is needed once; afterwards the cache serves.",
        )
    names = sorted(path.name for path in folder.glob("*.whl"))
    (folder / "fetched").write_text("\n".join(names) + "\n")


def member(wheel: Wheel, ending: str) -> bytes:
    """The one file of a wheel's metadata folder with this name, such as METADATA."""
    with zipfile.ZipFile(wheel.path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(f".dist-info/{ending}")]
        return archive.read(name)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":  # python -m bundling.wheels REQUIREMENTS CACHE: so that nothing has to be fetched later
    fetched(Path(sys.argv[1]), Path(sys.argv[2]))
