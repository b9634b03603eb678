"""Key ceremonies for tests: who attends, and the commands of one from its plan to its signed transcript."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sealwright.signing.home import open_home
from sealwright.signing.init import signed_text
from sealwright.signing.transcript import KIND

Run = Callable[..., str]
OFFICERS = ("eva", "jan", "ute")


def planned(run: Run, homes: dict[str, Path], path: Path, *more: str | Path) -> Path:
    """A plan of two of the three officers."""
    officers = [f"--officer={name}={homes[name]}/certificates/officer.pem" for name in OFFICERS]
    names = ("--title", "Line 3", "--organisation", "ACME", "--root", "ACME root", "--intermediate", "ACME CA")
    run("plan", path, *names, *officers, "--threshold", "2", *more)
    return path


def begun(run: Run, plan: Path) -> str:
    return str(json.loads(run("begin", plan, "--json"))["nonce"])


def come(run: Run, homes: dict[str, Path], plan: Path, nonce: str, *persons: str) -> list[Path]:
    """The attendance of persons, made in their homes."""
    files = [plan.with_name(f"{person}.{nonce[:6]}.p7s") for person in persons]
    for person, file in zip(persons, files, strict=True):
        run("attend", plan, "--nonce", nonce, "--home", homes[person], "--person", person, "--out", file)
    return files


def begin_to_run(run: Run, homes: dict[str, Path], plan: Path, *persons: str) -> tuple[str | Path, ...]:
    """A new nonce, attended by eva and jan unless others are named: what to run."""
    nonce = begun(run, plan)
    files = come(run, homes, plan, nonce, *(persons or ("eva", "jan")))
    return "run", plan, "--home", plan.with_name("ca"), "--nonce", nonce, "--attendance", *files


def check(run: Run, folder: Path, *more: str | Path, code: int = 0) -> str:
    transcript = folder / "ca" / "ceremony" / "transcript.txt"
    return run("check", transcript, "--plan", folder / "plan.txt", *(more or ("--home", folder / "ca")), code=code)


def forge_signatures(transcript: Path, homes: dict[str, Path], *persons: str) -> None:
    """Signatures over whatever stands there now, which officers were made to give: their homes note nothing."""
    for person in persons:
        home = open_home(str(homes[person]))
        key = next(key for key in home.keys if key.name == "officer")
        data = signed_text(transcript.read_bytes(), KIND, "transcript.txt", home, key, datetime.now(UTC), None)
        transcript.with_name(f"{transcript.name}.{person}.p7s").write_bytes(data)
