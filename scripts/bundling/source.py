"""The commit a bundle is made of: its files in a clean folder, its time, its version.

`git archive` gives what is committed and nothing that lies about, so neither an untracked file nor an edit reaches a wheel.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from bundling.refused import BundleRefused


@dataclass(frozen=True, slots=True)
class Source:
    """A commit, unpacked. epoch: its time in seconds since 1970 (SOURCE_DATE_EPOCH); version: that of its pyproject.toml."""

    folder: Path
    commit: str
    epoch: int
    version: str

    @property
    def generation(self) -> int:
        """The anti-rollback counter of a release, 1.2.3 is 1002003: it grows with each version."""
        major, minor, patch = (int(part) for part in self.version.split("."))
        return (major * 1000 + minor) * 1000 + patch


def unpacked(repository: Path, revision: str, folder: Path) -> Source:
    """The files of a revision, written into an empty folder. BundleRefused if there is no such revision."""
    commit = _git(repository, "rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    epoch = int(_git(repository, "show", "-s", "--format=%ct", commit))
    with tarfile.open(fileobj=io.BytesIO(_git(repository, "archive", "--format=tar", commit))) as archive:
        archive.extractall(folder, filter="data")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return Source(folder, commit, epoch, project["version"])


def uncommitted(repository: Path) -> tuple[str, ...]:
    """The files that differ from the last commit, or that it does not know."""
    said = _git(repository, "status", "--porcelain", "--untracked-files=normal").decode()
    return tuple(line[3:] for line in said.splitlines())


def _git(repository: Path, *words: str) -> bytes:
    done = subprocess.run(["git", "-C", repository, *words], capture_output=True)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise BundleRefused(str(repository), why[-1] if why else "git failed", "Work in a clone of the repository.")
    return done.stdout
