"""The stage of the demo: each command shown as typed, what it answered, and the table of what was told beforehand."""

from __future__ import annotations

import shlex
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
OUT = HERE / "demo-out"
SEALWRIGHT = str(HERE / ".venv" / "bin" / "sealwright")
TABLE: list[tuple[str, str, str]] = []


class Expect(StrEnum):
    """What an independent program is known to say beforehand, in the words of the last table."""

    AGREES = "agrees"
    REFUSES = "refuses too"
    CANNOT_SEE = "finds nothing: it knows no such rule"


def openssl(path: str, anchors: str, slot: str = "") -> list[str]:
    """The command anybody can check a signature with; slot: ".plant" for the plant's own."""
    return [
        "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", f"{path}{slot}.p7s", "-content", path,
        "-CAfile", anchors, "-purpose", "any", "-out", "/dev/null",
    ]  # fmt: skip


def step(what: str, wanted: int, *arguments: str) -> None:
    """One verification whose exit code is known beforehand."""
    print(f"\n-- {what}")
    done = run("verify", *arguments, "--trust", "trust.toml", wanted=wanted)
    words = {0: "allowed", 1: "refused", 3: "cannot decide"}
    TABLE.append((f"sealwright: {what}", words[wanted], words.get(done, f"exit code {done}")))


def run(*arguments: str, wanted: int = 0, lines: int = 40) -> int:
    """A sealwright command, shown as typed; only steps may end otherwise than wanted."""
    print(f"   $ sealwright {shlex.join(arguments)}")
    done = subprocess.run([SEALWRIGHT, *arguments], capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines()[:lines]:
        print(f"     {line}")
    if done.returncode != wanted and arguments[0] != "verify":
        sys.exit(f"demo: this ended with exit code {done.returncode}, wanted was {wanted}")
    return done.returncode


def tool(*arguments: str, cwd: str = ".", expect: Expect = Expect.AGREES, quiet: bool = False) -> None:
    """An independent program, shown as typed, and what it is known to say."""
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    if quiet:
        if done.returncode:
            sys.exit(f"demo: {arguments[0]} failed: {done.stderr}")
        return
    place = f"(cd {cwd}; " if cwd != "." else ""
    print(f"   $ {place}{shlex.join(arguments)}{')' if place else ''}")
    for line in reasons(done.stdout + done.stderr) or ["(no complaint)" if done.returncode == 0 else "(nothing found)"]:
        print(f"     {line}")
    held = (done.returncode != 0) == (expect is Expect.REFUSES)
    found = expect if held else "refuses" if done.returncode else "accepts"
    TABLE.append((f"   {shlex.join(arguments[:2])}", expect, found))


def reasons(said: str) -> list[str]:
    """A program's own words, at most three lines, of many those on its verdict; of OpenSSL's error stack only the reason."""
    lines = [line.partition("Verify error: ")[2] if ":error:" in line else line for line in said.splitlines()]
    lines = [line.strip() for line in lines if line.strip()]
    telling = [line for line in lines if "verif" in line.lower()]
    return telling[-3:] if len(lines) > 3 and telling else lines[:3]


def say(*lines: str) -> None:
    """The story's voice."""
    print()
    for line in lines:
        print(line)


def chapter(title: str) -> None:
    """A heading."""
    print(f"\n== {title}")
