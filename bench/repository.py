"""Publishing releases into a repository in a folder, against plain python-tuf doing the same in the same run.

    python bench/repository.py [releases]          (200 releases of 50 targets: 10,000, and as many signatures as releases)

Measured are seconds of the clock and of the processor; the ratio is of processor seconds. Ours copies each release, verifies it by the
trust file, signs through the journal and syncs to disk; the peer is the example of python-tuf's documentation: it hashes the files,
signs one role for all of them with a key in memory, and writes what it signed, without syncing.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from kit.repository import PRODUCT, begun, home_in, now, published, release, trust_of
from sealwright.release.intake import add_releases
from sealwright.release.staging import Staging
from sealwright.signing.home import Home

FILES = 48  # with release.toml and the manifest 50 targets; the signature beside it is one more
SIZE = 4096


class Took:
    """Seconds of the clock and of the processor, children counted."""

    wall_s = 0.0
    processor_s = 0.0


@contextmanager
def timed() -> Iterator[Took]:
    """What the block takes."""
    took, wall, spent = Took(), time.perf_counter(), sum(os.times()[:4])
    yield took
    took.wall_s = time.perf_counter() - wall
    took.processor_s = sum(os.times()[:4]) - spent


def made(folder: Path, home: Home, number: int) -> Path:
    """One signed release."""
    files = {f"application/file-{n:03}.bin": b"%d %d " % (number, n) * (SIZE // 8) for n in range(FILES)}
    return release(folder, home, f"1.{number}", number + 1, files)


def ours(staging: Staging, home: Home, folders: list[Path]) -> Took:
    """Take releases in, sign and publish."""
    believed = trust_of(home)
    with timed() as took:
        add_releases(staging, [str(one) for one in folders], PRODUCT, believed, now())
        published(staging, home)
    return took


class Plain:
    """python-tuf alone: one targets role, keys in memory, consistent snapshots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = CryptoSigner.generate_ecdsa()
        self.ends = now() + timedelta(days=30)
        root = Root(expires=self.ends)
        for role in ("root", "targets", "snapshot", "timestamp"):
            root.add_key(self.signer.public_key, role)
        self.targets = Metadata(Targets(expires=self.ends))
        self.snapshot = Metadata(Snapshot(expires=self.ends))
        self.timestamp = Metadata(Timestamp(expires=self.ends))
        (folder / "metadata").mkdir(parents=True)
        self._write(Metadata(root), "1.root")

    def publish(self, folders: list[Path]) -> Took:
        """Add the files of releases and what lies beside them."""
        with timed() as took:
            for folder in folders:
                for path in (*folder.rglob("*"), *folder.parent.glob(f"{folder.name}.manifest*")):
                    if path.is_file():
                        self._add(path, f"{PRODUCT}/{path.relative_to(folder.parent)}")
            for role in (self.targets, self.snapshot, self.timestamp):
                role.signed.version += 1
            version = self.targets.signed.version
            self.snapshot.signed.meta["targets.json"] = MetaFile(version)
            self.timestamp.signed.snapshot_meta = MetaFile(self.snapshot.signed.version)
            self._write(self.targets, f"{version}.targets")
            self._write(self.snapshot, f"{self.snapshot.signed.version}.snapshot")
            self._write(self.timestamp, "timestamp")
        return took

    def _add(self, path: Path, name: str) -> None:
        target = TargetFile.from_file(name, str(path), ["sha256"])
        self.targets.signed.targets[name] = target
        place = self.folder / "targets" / target.get_prefixed_paths()[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)

    def _write(self, role: Metadata, name: str) -> None:  # type: ignore[type-arg]
        role.sign(self.signer)
        role.to_file(str(self.folder / "metadata" / f"{name}.json"))


def main() -> None:
    """Measure and print."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        home = home_in(folder)
        first = [made(folder / "releases", home, one) for one in range(number)]
        further = [made(folder / "releases", home, number)]
        staging = begun(folder / "desk", home)
        published(staging, home)
        plain = Plain(folder / "plain")
        for what, folders in ((f"{number} releases of 50 targets", first), ("one further release of 50", further)):
            mine, theirs = ours(staging, home, folders), plain.publish(folders)
            print(
                f"{what}: {mine.wall_s:.2f} s of the clock, {mine.processor_s:.2f} s of the processor; "
                f"python-tuf alone {theirs.wall_s:.2f} s and {theirs.processor_s:.2f} s; "
                f"ratio {mine.processor_s / theirs.processor_s:.2f}"
            )


if __name__ == "__main__":
    main()
