"""An offline bundle of the work tree as it is, and the ways in which tests carry it elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kit.alter import flip
from sealwright.envelope.cms import Profile, Signer, read_envelope

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "bundle"


@dataclass(frozen=True, slots=True)
class Bundle:
    """folder: the bundle; its manifest, signature and certificate lie beside it."""

    folder: Path

    def beside(self, ending: str) -> Path:
        """`.manifest`, `.manifest.p7s` or `.ca.pem`."""
        return self.folder.with_name(self.folder.name + ending)

    @property
    def commit(self) -> str:
        """What it was made of, as its parts list says."""
        parts = json.loads((self.folder / "sbom.cdx.json").read_text())
        (commit,) = [one["value"] for one in parts["metadata"]["properties"] if one["name"] == "sealwright:commit"]
        return str(commit)

    @property
    def trust(self) -> Path:
        """The trust file of the development home that signed it."""
        return CACHE / "development-home" / "trust.toml"

    def carried(self, place: Path) -> Bundle:
        """A copy in another folder, whose files are linked: one that is to be altered is replaced."""
        subprocess.run(["cp", "-al", self.folder, *self.folder.parent.glob(self.folder.name + ".*"), place], check=True)
        return Bundle(place / self.folder.name)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a maker delivers: a signed file, and the trust file of its home."""

    file: Path
    trust: Path


def commit_of_work_tree() -> str:
    """The last commit, or one with what is edited since, which git knows under no name."""
    words = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "stash", "create"]
    made = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return made or "HEAD"


def build(out: Path, revision: str, *words: str | Path, umask: int = 0o022, zone: str = "UTC") -> Bundle:
    """Make a bundle, as `make bundle` does."""
    done = subprocess.run(
        [sys.executable, "-m", "bundling", "--out", out, "--cache", CACHE, "--revision", revision, *words],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}/scripts:{os.environ.get('PYTHONPATH', '')}", "TZ": zone},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    (manifest,) = out.glob("*.manifest")
    return Bundle(manifest.with_suffix(""))


def replace(path: Path, data: bytes) -> None:
    """Other content under the same name; links to the old content keep it."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)


def other_value(path: Path) -> None:
    """A signature file with another signature value."""
    data = path.read_bytes()
    (signer,) = read_envelope(data, Profile.OURS, "the signature").signers
    assert isinstance(signer, Signer)
    replace(path, flip(data, data.index(signer.signature) + len(signer.signature) - 1))


def in_namespaces(mounts: Iterable[tuple[Path, str, str]], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command without rights, network, HOME or any variable but PATH, where /mnt holds what is mounted there.

    mounts: a folder, its name in /mnt, and the options it is mounted with, such as "ro,noexec".
    """
    lines = ["set -e", "mount -t tmpfs -o mode=755 none /mnt"]
    for folder, name, options in mounts:
        place = f"/mnt/{name}"
        lines += [f"mkdir {place}", f"mount --bind '{folder}' {place}", f"mount -o remount,bind,{options} {place}"]
    root = os.geteuid() == 0
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups" if root else ""
    lines += ["cd /", f'exec {nobody} env -i "PATH=$0" "$@"']
    path = f"{sys.base_prefix}/bin:/usr/bin:/bin"
    return subprocess.run(
        [
            "unshare",
            *([] if root else ["--map-root-user"]),
            "--net",
            "--mount",
            "sh",
            "-c",
            "\n".join(lines),
            path,
            *command,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
