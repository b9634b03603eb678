"""Running a program where there is no network."""

from __future__ import annotations

import hashlib
import subprocess
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


def fingerprint(trust: Path) -> tuple[str, str]:
    """The option by which a trust file is believed anywhere: in a user namespace all folders of root are nobody's."""
    return "--trust-fingerprint", hashlib.sha256(trust.read_bytes()).hexdigest()
