"""One bundle for all tests of a run, and one delivery that it judges."""

from __future__ import annotations

import fcntl
import os

import pytest

from kit.bundles import CACHE, Bundle, Delivery, build, commit_of_work_tree
from sealwright.cli.main import main


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Made once, also where several processes test."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bundle"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            return build(out, commit_of_work_tree())
    (manifest,) = out.glob("*.manifest")
    return Bundle(manifest.with_suffix(""))


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """A drive's firmware, signed, and readable by everybody."""
    folder = tmp_path_factory.mktemp("delivery")
    folder.chmod(0o755)
    file = folder / "drive.bin"
    file.write_bytes(b"firmware" * 1000)
    assert main(["init", str(folder / "home")]) == 0
    assert main(["sign", str(file), "--home", str(folder / "home")]) == 0
    return Delivery(file, folder / "home" / "trust.toml")
