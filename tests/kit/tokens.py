"""One SoftHSM token and one TPM emulator for each test process, shut down when it ends.

SoftHSM stands for a hardware token and swtpm for a TPM; nothing here is certified.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from itertools import count
from pathlib import Path

from sealwright.keys.pin import Pin

PIN = "471147"
LABEL = "line-1"
TOKEN = f"pkcs11:token={LABEL}"
_NUMBERS = count(2)


@cache
def softhsm() -> Pin:
    """Make this process's token and point SoftHSM at it; its PIN."""
    folder = Path(tempfile.mkdtemp(prefix="softhsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["SOFTHSM2_CONF"] = str(make_token(folder, LABEL))
    return Pin(PIN)


def another_token() -> str:
    """The key string of one more token beside this process's own, empty as a new one."""
    softhsm()
    label = f"other-{next(_NUMBERS):04}"  # pkcs11-tool takes a token whose label only begins like the one asked for
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True)
    return f"pkcs11:token={label}"


def make_token(folder: Path, label: str) -> Path:
    """A SoftHSM configuration with one token; for tests that break theirs."""
    (folder / "tokens").mkdir(parents=True, exist_ok=True)
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"SOFTHSM2_CONF": str(conf)})
    return conf


@cache
def tpm() -> str:
    """Start this process's TPM emulator and point the TPM tools at it; the TCTI."""
    folder = Path(tempfile.mkdtemp(prefix="swtpm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    process, os.environ["TPM2TOOLS_TCTI"] = start_tpm(folder)
    atexit.register(process.kill)
    return os.environ["TPM2TOOLS_TCTI"]


def start_tpm(folder: Path, port: int | None = None) -> tuple[subprocess.Popen[bytes], str]:
    """An emulator with its state in a folder, and its TCTI; for tests that end theirs. port: the one that it had before."""
    for _ in range(20):
        chosen = port or _free_pair()
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "not-need-init,startup-clear"]
        command += ["--server", f"type=tcp,port={chosen},bindaddr=127.0.0.1"]
        command += ["--ctrl", f"type=tcp,port={chosen + 1},bindaddr=127.0.0.1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if _answers(process, chosen):
            return process, f"swtpm:host=127.0.0.1,port={chosen}"
        process.kill()
        process.wait()
    raise RuntimeError("swtpm did not start; is the package installed?")


def _free_pair() -> int:
    """A free port whose successor is free too: the TCTI wants the control port there."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    for _ in range(100):
        if process.poll() is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port + 1)) == 0:
                time.sleep(0.1)
                return True
        time.sleep(0.05)
    return False
