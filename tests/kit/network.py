"""Running a program where there is no network."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@cache
def without_network() -> tuple[str, ...]:
    """The words before a command that take its network away: as root, in a user namespace, or none where the kernel forbids both.

    Where it forbids both, the audit hook of the same tests still shows that no socket is opened.
    """
    for words in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    return ()


@contextmanager
def network() -> Iterator[tuple[str, ...]]:
    """The words before a command that bring it into a network with nothing but its own loopback, as root; without root none."""
    if os.geteuid() != 0:
        yield ()
        return
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "up\n"
            yield ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "--")
        finally:
            holder.terminate()


def fingerprint(trust: Path) -> tuple[str, str]:
    """The option by which a trust file is believed anywhere: in a user namespace all folders of root are nobody's."""
    return "--trust-fingerprint", hashlib.sha256(trust.read_bytes()).hexdigest()
