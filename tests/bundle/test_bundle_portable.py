"""The portable folder: on a medium that nobody can write to, for a person without rights, network, home or installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kit.bundles import Bundle, Delivery, in_namespaces, other_value, replace
from kit.network import fingerprint
from kit.tokens import PIN, another_token
from sealwright.cli.main import main


def on_site(bundle: Bundle, delivery: Path, options: str = "ro") -> subprocess.CompletedProcess[str]:
    """What the plant engineer types, with the stick and the delivery in /mnt."""
    mounts = [(bundle.folder, "stick", options), (delivery, "delivery", "ro")]
    words = ["verify", "/mnt/delivery/drive.bin", "--trust", "/mnt/delivery/home/trust.toml"]
    words += fingerprint(delivery / "home" / "trust.toml")
    return in_namespaces(mounts, "sh", "/mnt/stick/portable/sealwright", *words)


def altered_content(folder: Path) -> None:
    replace(folder / "drive.bin", (folder / "drive.bin").read_bytes() + b"x")


def altered_signature(folder: Path) -> None:
    other_value(folder / "drive.bin.p7s")


def signed_by_another(folder: Path) -> None:
    assert main(["init", str(folder / "other")]) == 0
    assert main(["sign", str(folder / "drive.bin"), "--home", str(folder / "other"), "--replace"]) == 0


@pytest.mark.parametrize("alter", [altered_content, altered_signature, signed_by_another])
def test_a_file_is_judged_from_a_read_only_stick_without_network_by_anybody(
    alter: Callable[[Path], None], bundle: Bundle, delivery: Delivery, tmp_path: Path
) -> None:
    shutil.copytree(delivery.file.parent, tmp_path / "delivery")
    good = on_site(bundle, tmp_path / "delivery")
    assert (good.returncode, good.stdout.splitlines()[0], good.stderr) == (0, "INSTALL: allowed", "")
    alter(tmp_path / "delivery")
    bad = on_site(bundle, tmp_path / "delivery")
    assert bad.returncode == 1
    assert bad.stdout.startswith("DO NOT INSTALL:")
    assert bad.stderr == ""


def test_a_medium_that_may_start_nothing_says_what_to_do(bundle: Bundle, delivery: Delivery) -> None:
    done = on_site(bundle, delivery.file.parent, "ro,noexec")
    assert done.returncode == 2
    assert "mounted noexec, copy the folder to a disk" in done.stderr


def started(bundle: Bundle, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """From this machine, with its PATH."""
    command = ["sh", bundle.folder / "portable" / "sealwright", *words]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)


def modules_of(bundle: Bundle) -> Sequence[Path]:
    return sorted((bundle.folder / "portable").rglob("*"))


def test_nothing_is_written_beside_it_though_it_could_be(bundle: Bundle, delivery: Delivery) -> None:
    before = modules_of(bundle)
    assert started(bundle, "verify", delivery.file, "--trust", delivery.trust).returncode == 0
    assert modules_of(bundle) == before


def test_neither_a_venv_nor_a_variable_nor_the_current_folder_adds_a_module(
    bundle: Bundle, delivery: Delivery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sealwright", "cryptography", "tomllib", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another module was loaded')")
    monkeypatch.chdir(tmp_path)
    done = started(
        bundle,
        "verify",
        delivery.file,
        "--trust",
        delivery.trust,
        PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin",
        VIRTUAL_ENV=sys.prefix,
        PYTHONPATH=str(tmp_path),
        PYTHONHOME="/nowhere",
        PYTHONSTARTUP=str(tmp_path / "sealwright.py"),
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "INSTALL: allowed")


def test_it_has_every_command_of_the_installation(bundle: Bundle) -> None:
    installed = subprocess.run(
        [sys.executable, "-m", "sealwright", "--help"], capture_output=True, text=True, check=True
    )
    assert started(bundle, "--help").stdout == installed.stdout


def test_a_key_in_a_token_is_used_from_it(bundle: Bundle, tmp_path: Path) -> None:
    """Whoever records at the gate what came in signs there; the worker process finds its modules in the same folder."""
    token = another_token()
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o600)
    (tmp_path / "received").write_text("a delivery")
    made = started(bundle, "init", tmp_path / "home", "--token", token, "--pin-file", tmp_path / "pin")
    assert made.returncode == 0, made.stderr
    signed = started(bundle, "sign", tmp_path / "received", "--home", tmp_path / "home", "--pin-file", tmp_path / "pin")
    assert signed.returncode == 0, signed.stderr
    assert main(["verify", str(tmp_path / "received"), "--trust", str(tmp_path / "home" / "trust.toml")]) == 0


def test_a_machine_without_a_new_python_is_told_which_one(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("sh", "readlink", "dirname"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    done = started(bundle, "--version", PATH=str(tmp_path))
    assert (done.returncode, "Python 3.11 or newer is needed" in done.stderr) == (2, True)


def test_a_python_that_no_wheel_was_made_for_is_told_so(bundle: Bundle, tmp_path: Path) -> None:
    carried = bundle.carried(tmp_path)
    for folder in (carried.folder / "portable" / "lib").glob(f"*-cp{sys.version_info[0]}{sys.version_info[1]}"):
        shutil.rmtree(folder)
    done = started(carried, "--version", PATH=f"{sys.base_prefix}/bin:/usr/bin:/bin")
    assert done.returncode == 2
    assert "this folder has no modules for linux-x86_64-cp" in done.stderr
    assert "It has them for: linux-x86_64-cp3" in done.stderr


def test_a_document_signed_inside_its_xml_is_refused_with_what_is_missing(bundle: Bundle, tmp_path: Path) -> None:
    """lxml is an extra that the bundle does not carry (docs/bundle.md)."""
    home, document = str(tmp_path / "home"), tmp_path / "recipe.xml"
    document.write_text("<recipe><salt>1</salt></recipe>\n")
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "xmldsig", "--home", home]) == 0
    signed = str(tmp_path / "signed.xml")
    assert (
        main(["sign", str(document), "--home", home, "--format", "xmldsig", "--key", "xmldsig", "--out", signed]) == 0
    )
    words = ["verify", signed, "--trust", f"{home}/trust.toml"]
    assert main(words) == 0
    done = started(bundle, *words)
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (1, False)
    assert done.stdout.startswith("DO NOT INSTALL:")
    assert "pip install 'sealwright[xml]'" in done.stdout + done.stderr
