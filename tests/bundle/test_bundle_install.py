"""The bundle's own installation: without network, and of nothing but the wheels that were listed (A173)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kit.bundles import Bundle, Delivery, replace
from kit.network import without_network


def install(bundle: Bundle, target: Path) -> subprocess.CompletedProcess[str]:
    command = [*without_network(), "sh", str(bundle.folder / "install.sh"), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_an_installation_without_network_verifies(bundle: Bundle, delivery: Delivery, tmp_path: Path) -> None:
    done = install(bundle, tmp_path / "opt")
    assert done.returncode == 0, done.stderr
    words = ["verify", str(delivery.file), "--trust", str(delivery.trust)]
    judged = subprocess.run([tmp_path / "opt/bin/sealwright", *words], capture_output=True, text=True)
    assert (judged.returncode, judged.stdout.splitlines()[0]) == (0, "INSTALL: allowed")
    again = install(bundle, tmp_path / "opt")
    assert (again.returncode, "is already there" in again.stderr) == (2, True)
    assert (tmp_path / "opt/bin/sealwright").exists()


@pytest.mark.parametrize("name", ["sealwright", "argcomplete"])
def test_a_wheel_with_one_changed_byte_is_refused(name: str, bundle: Bundle, tmp_path: Path) -> None:
    carried = bundle.carried(tmp_path)
    (wheel,) = (carried.folder / "wheels").glob(f"{name}-*.whl")
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    replace(wheel, bytes(data))
    done = install(carried, tmp_path / "opt")
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "nothing was installed" in done.stderr
    assert not (tmp_path / "opt").exists()
