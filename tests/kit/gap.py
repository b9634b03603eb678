"""Both sides of an air gap: a vendor with a home and a small repository, a plant with its trust file, state and folder.

made = make_gap(folder)                       # once: keys and a repository
gap = copy_gap(made, tmp_path)                # for each test
gap.pack(); gap.unpack()                      # exit codes of the real commands
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kit.tufrepo import TufRepository
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.release.channels import Channels, Named, Offer, Withdrawn, channels_bytes

NOW = datetime.now(UTC).replace(microsecond=0)
MANIFEST = b"a manifest of 1.4.2"
RELEASE = Named("1.4.2", 7, Digest.of(MANIFEST))
WITHDRAWN = Named("1.4.1", 6, Digest.of(b"withdrawn"))


@dataclass
class Gap:
    """Both sides: the sender's home and repository, the receiver's trust file, state and folder."""

    folder: Path
    repo: TufRepository

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    @property
    def into(self) -> Path:
        return self.folder / "transfer"

    def pack(self, out: Path | None = None, *more: object, to: str = "nordhof") -> int:
        return run(
            "courier", "pack", out or self.stick, "--from", "acme", "--to", to, "--home", self.home,
            "--repository", self.repo.folder, "--product", "drives/vx-200", *more,
        )  # fmt: skip

    def unpack(self, path: Path | None = None, *more: object, receiver: str = "nordhof") -> int:
        return run(
            "courier", "unpack", path or self.stick, "--into", self.into, "--as", receiver,
            "--trust", self.home / "trust.toml", "--state", self.folder / "state", *more,
        )  # fmt: skip

    def courier(self) -> Path:
        """The folder of the one courier on the stick."""
        (manifest,) = self.stick.glob("courier-*.manifest")
        return manifest.with_suffix("")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def trusts(home: Path, line: str) -> None:
    """A line at the top of the trust file, which its officer signs."""
    path = unsigned(home)
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\n{line}\n{rest}")
    assert run("trust", "sign", path, "--home", home, "--person", "officer") == 0


def unsigned(home: Path) -> Path:
    """A home's trust file, to be changed."""
    for signature in home.glob("trust.toml.*.p7s"):
        signature.unlink()
    return home / "trust.toml"


def names_senders(path: Path, *senders: str, name: str = "couriers", anchor: str = "root") -> None:
    """One more rule in an unsigned trust file: an anchor's signers send couriers under these names."""
    products = [word for one in senders for word in ("--product", f"courier from {one}")]
    assert run(
        "trust", "add", path, "rule", name, "--environment", "development", "--anchor", anchor,
        "--purpose", "updatePackageSigning", *products,
    ) == 0  # fmt: skip


def make_gap(folder: Path) -> TufRepository:
    """A home whose trust file names a repository with one product, and a sender of couriers; that repository."""
    assert run("init", folder / "home") == 0
    repo = TufRepository(folder / "repo", NOW)
    names_senders(unsigned(folder / "home"), "acme")
    trusts(folder / "home", f'tuf_root = "{repo.root_digest}"')
    channels = Channels("VX-200 drive", 3, (Offer("pilot", RELEASE, 100, ()),), (Withdrawn(WITHDRAWN, "CVE-1"),))
    repo.put("drives/vx-200/channels.json", channels_bytes(channels))
    repo.put("drives/vx-200/1.4.2.manifest", MANIFEST)
    repo.put("drives/vx-200/1.4.2.manifest.p7s", b"signature")
    repo.put("drives/vx-200/1.4.2/app.bin", b"application" * 1000)
    repo.put("drives/vx-200/1.4.1/app.bin", b"withdrawn application")
    repo.put("drives/other/channels.json", b"{}")
    repo.publish()
    return repo


def copy_gap(made: Path, folder: Path) -> Gap:
    """What `make_gap` made, as a test's own."""
    for name in ("home", "repo"):
        shutil.copytree(made / name, folder / name)
    for name in ("stick", "transfer", "state"):
        (folder / name).mkdir(mode=0o700)
    repo = TufRepository.__new__(TufRepository)
    repo.folder = folder / "repo"
    return Gap(folder, repo)
