"""The first week in a plant: a share that nobody ever looked at, until a drive is installed in the night by rules that officers signed.

Monday      the share of 600 files is surveyed, a trial trust file drafted
Tuesday     the draft is narrowed by hand, signed by two officers, installed
Wednesday   three files that came unsigned are received, two drives accepted for line 3 alone
Thursday    a stick goes through the checking station; the clean one to a machine without network, whose clock stands at 1970
Friday      in the night one drive is installed and four things are refused, each with its record

After each step a table says what each place makes of each thing; it was written by hand:

    T trusted   R refused   U undecided
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.share import FILES, Share

LETTER = {"trusted": "T", "rejected": "R", "undecided": "U"}


@dataclass
class Week:
    """The plant: a folder for each of its machines, and the commands that were typed."""

    folder: Path
    share: Share
    places: dict[str, list[str | Path]] = field(default_factory=dict)

    def type(self, *words: str | Path, code: int = 0, before: tuple[str, ...] = (), at: Path | None = None) -> str:
        """One command as people type it, in the plant's folder: what it printed. before: words that start it elsewhere."""
        command = [*before, sys.executable, "-m", "sealwright", *map(str, words)]
        done = subprocess.run(
            command, cwd=at or self.folder, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip
        assert done.returncode == code, (command, done.returncode, done.stdout[-3000:] + done.stderr[-3000:])
        return done.stdout

    def table(self, expected: str) -> None:
        """Compare with rows such as `acme/drive-01.bin TR`; the first row names the places, one for each letter."""
        head, *rows = (line.split() for line in expected.strip().splitlines())
        names = [row[0] for row in rows]
        said = {place: self.verdicts(place, names) for place in head}
        found = [[name, *(LETTER[said[place][name]["outcome"]] for place in head)] for name in names]
        wrong = [(row, good) for row, good in zip(found, rows, strict=True) if row != good]
        told = [
            (place, row[0], [(one["severity"], one["code"]) for one in said[place][row[0]]["findings"]])
            for row, good in wrong
            for place, a, b in zip(head, row[1:], good[1:], strict=True)
            if a != b
        ]
        assert not wrong, told

    def verdicts(self, place: str, names: list[str]) -> dict[str, dict]:
        """What a place says of each."""
        before, base, words = self.places[place]
        command = [*before, sys.executable, "-m", "sealwright", "verify", *names, *map(str, words), "--json"]
        done = subprocess.run(command, cwd=base, capture_output=True, text=True, timeout=120, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == len(names), done.stdout + done.stderr
        return dict(zip(names, found, strict=True))


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file and folder below: kind and mode, time of change, content."""
    return {
        str(one.relative_to(folder)): (
            one.lstat().st_mode,
            one.lstat().st_mtime_ns,
            one.read_bytes() if one.is_file() else b"",
        )
        for one in sorted(folder.rglob("*"))
    }


def surveyed(week: Week) -> None:
    """Monday: who signed what on the share, and nothing is written there."""
    share = week.folder / "share"
    before = everything(share)
    words = week.type("survey", "share", "--draft-trust", "trial.toml", "--html", "report.html", "--json", code=1)
    assert everything(share) == before
    lines = [json.loads(line) for line in words.splitlines()]
    states = {os.path.relpath(one["path"], "share"): one["state"] for one in lines if one["kind"] == "file"}
    assert {name: states.get(name, "unsigned") for name in SAMPLES} == SAMPLES
    signers = {one["subject"] for one in lines if one["kind"] == "signer"}
    assert {"CN=ACME Release,O=ACME", "CN=Borg Tools,O=ACME", "CN=Cima Recipes", "CN=Dorn mail"} <= signers
    assert lines[-1]["kind"] == "summary"
    week.places["trial"] = [(), share, ["--trust", week.folder / "trial.toml"]]
    week.table(
        """
        trial
        acme/drive-01.bin T
        acme/drive-38.bin R
        acme/drive-39.bin R
        acme/project T
        borg/line-01.ps1 T
        borg/line-29.ps1 R
        borg/tool-0.ps1 T
        cima/recipe-01.csv T
        cima/recipe-19.csv R
        dorn/sha1-0.bin R
        dorn/small-0.bin R
        dorn/ended-0.bin R
        dorn/mail-0.bin T
        dorn/plain-0.bin R
        eltec/pump-0.bin R
        eltec/pump-1.bin R
        eltec/pump-2.bin R
        notes/000.txt R
        """
    )


SAMPLES = {
    "acme/drive-01.bin": "intact",
    "acme/drive-38.bin": "broken",
    "acme/drive-39.bin": "broken",
    "acme/project": "intact",
    "borg/line-01.ps1": "intact",
    "borg/line-29.ps1": "broken",
    "borg/tool-0.ps1": "intact",
    "cima/recipe-01.csv": "intact",
    "cima/recipe-19.csv": "broken",
    "dorn/sha1-0.bin": "weak",
    "dorn/small-0.bin": "weak",
    "dorn/ended-0.bin": "intact",
    "dorn/mail-0.bin": "intact",
    "dorn/plain-0.bin": "unreadable",
    "eltec/pump-0.bin": "unsigned",
    "eltec/pump-1.bin": "unsigned",
    "eltec/pump-2.bin": "unsigned",
    "notes/000.txt": "unsigned",
}


@pytest.fixture
def week(tmp_path: Path) -> Iterator[Week]:
    """Before Monday."""
    share = Share.make(tmp_path, datetime.now(UTC).replace(microsecond=0))
    share.tamper()
    assert share.count() == FILES
    return Week(tmp_path, share)


@pytest.mark.timeout(300)
def test_the_first_week_in_a_plant(week: Week) -> None:
    surveyed(week)
