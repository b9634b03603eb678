"""The program as a process: offline, interrupted, and light on its way to `verify`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kit.network import fingerprint, without_network
from sealwright.cli.main import main

PROGRAM = (sys.executable, "-m", "sealwright")
WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(("socket.", "subprocess.", "os.system")) else None)
from sealwright.cli.main import main
code = main(sys.argv[1:])
if seen:
    sys.exit(f"opened: {seen}")
sys.exit(code)
"""
MODULES = """
import sys
from sealwright.cli.main import main
code = main(sys.argv[1:])
heavy = {"asyncio", "json", "subprocess", "multiprocessing", "ctypes", "logging", "pkcs11", "tpm2_pytss", "ssl",
         "http", "argcomplete", "sealwright.signing", "sealwright.keys", "sealwright.log", "sealwright.artifact.output"}
loaded = heavy & set(sys.modules)
sys.exit(f"loaded: {sorted(loaded)}" if loaded else code)
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A signed file and the trust file that allows it."""
    folder = tmp_path_factory.mktemp("signed")
    drive = folder / "drive.bin"
    drive.write_bytes(b"firmware" * 1000)
    assert main(["init", str(folder / "home")]) == 0
    assert main(["sign", str(drive), "--home", str(folder / "home")]) == 0
    return drive, folder / "home/trust.toml"


def verify_words(signed: tuple[Path, Path]) -> list[str]:
    drive, trust = signed
    return ["verify", str(drive), "--trust", str(trust)]


def test_verify_opens_no_socket_and_starts_no_program(signed: tuple[Path, Path]) -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED, *verify_words(signed)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_verify_works_with_networking_removed(signed: tuple[Path, Path]) -> None:
    command = [*without_network(), *PROGRAM, *verify_words(signed), *fingerprint(signed[1])]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.stdout.startswith(b"INSTALL: allowed\n"), done.stderr


def test_verify_loads_nothing_that_signs(signed: tuple[Path, Path]) -> None:
    done = subprocess.run([sys.executable, "-c", MODULES, *verify_words(signed)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["verify", "sign"])
def test_an_interrupted_command_says_so_in_one_line_and_leaves_nothing_half_written(
    command: str, signed: tuple[Path, Path], tmp_path: Path
) -> None:
    huge = tmp_path / "huge.bin"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    home = signed[1].parent
    where = ["--trust", str(signed[1])] if command == "verify" else ["--home", str(home)]
    if command == "verify":
        (tmp_path / "huge.bin.p7s").write_bytes(Path(f"{signed[0]}.p7s").read_bytes())
    before = sorted(os.listdir(tmp_path))
    with subprocess.Popen(
        [*PROGRAM, command, str(huge), *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        _until_reading(process.pid, huge)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err == b"sealwright: interrupted; no output is half-written\n"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("at", ["the command", "the terminal"])
def test_an_interrupted_command_over_a_folder_leaves_no_worker_behind(
    at: str, signed: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    for number in range(200):
        with (folder / f"{number:03}.bin").open("wb") as file:
            file.truncate(1 << 40)
    with subprocess.Popen(
        [*PROGRAM, "sign", str(folder), "--home", str(signed[1].parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        _until_reading(process.pid, folder)
        send = os.killpg if at == "the terminal" else os.kill
        send(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err == b"sealwright: interrupted; no output is half-written\n"
    assert os.listdir(tmp_path) == ["project"]
    with pytest.raises(ProcessLookupError):  # the group is empty
        os.killpg(process.pid, 0)


def _until_reading(pid: int, path: Path) -> None:
    """Wait until the process has the file open, or one in it."""
    for _ in range(600):
        try:
            with os.scandir(f"/proc/{pid}/fd") as links:
                if any(path in (opened := Path(os.readlink(link.path)), opened.parent) for link in links):
                    return
        except FileNotFoundError:
            pass
        time.sleep(0.05)
    pytest.fail("the file was never opened")
