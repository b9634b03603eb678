"""Every file that `verify` reads, changed byte by byte, cut at every length and filled with noise (A168), and keys that come twice (A079).

Each ends in a verdict or a typed error, soon; what was signed is never trusted when it was changed.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.mutate import changed
from sealwright.cli.main import main
from sealwright.errors import MalformedTrust, SealwrightError
from sealwright.trust.belief import load_trust
from sealwright.trust.state import read_state
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, Verifier

SECONDS = 2.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, a file and a folder signed with timestamps, a late timestamp, and a state."""
    place = tmp_path_factory.mktemp("made")
    (place / "drive.bin").write_bytes(b"firmware of a drive")
    (place / "project").mkdir()
    (place / "project" / "main.st").write_bytes(b"PROGRAM main END_PROGRAM\n")
    home = str(place / "home")
    assert main(["init", home]) == 0
    assert main(["sign", str(place / "drive.bin"), str(place / "project"), "--home", home, "--product", "p"]) == 0
    trust = str(place / "home" / "trust.toml")
    (place / "state").mkdir()
    assert main(["verify", str(place / "drive.bin"), "--trust", trust, "--state", str(place / "state")]) == 0
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "place")
    (tmp_path / "place").chmod(0o700)
    return tmp_path / "place"


def judge(place: Path, target: str) -> Verdict | SealwrightError:
    """A verdict as a device would reach it, trust file and state read anew; only typed errors are caught."""
    try:
        request = Request(clock=datetime.now(UTC), state=str(place / "state"))
        believed = load_trust(str(place / "home" / "trust.toml"), fingerprint=None, installed=None)
        return Verifier(believed, request).verify(str(place / target))
    except SealwrightError as cause:
        return cause


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("drive.bin", "drive.bin"),
        ("drive.bin.manifest", "drive.bin"),
        ("project.manifest", "project"),
        ("home/trust.toml", "drive.bin"),
    ],
)
def test_a168_mutation_of_what_is_signed_is_never_trusted(place: Path, name: str, target: str) -> None:
    good = (place / name).read_bytes()
    first = judge(place, target)
    assert isinstance(first, Verdict)
    assert first.outcome is Outcome.TRUSTED
    for bad in changed(good, random.Random(name)):
        if bad == good:
            continue
        (place / name).write_bytes(bad)
        started = time.monotonic()
        found = judge(place, target)
        assert time.monotonic() - started < SECONDS
        assert not isinstance(found, Verdict) or found.outcome is not Outcome.TRUSTED, bad
    (place / name).write_bytes(good)
    again = judge(place, target)
    assert isinstance(again, Verdict)
    assert again.outcome is Outcome.TRUSTED


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("drive.bin.manifest.p7s", "drive.bin"),
        ("project.manifest.p7s", "project"),
        ("home/trust.toml.officer.p7s", "drive.bin"),
        ("state/state.json", "drive.bin"),
    ],
)
def test_a168_mutation_of_what_signs_ends_in_a_verdict_or_a_typed_error(place: Path, name: str, target: str) -> None:
    """Parts of a signature file are not signed themselves (certificates' order, the timestamp); what they say is judged."""
    good = (place / name).read_bytes()
    first = judge(place, target)
    assert isinstance(first, Verdict)
    assert first.outcome is Outcome.TRUSTED
    for bad in changed(good, random.Random(name)):
        (place / name).write_bytes(bad)
        started = time.monotonic()
        judge(place, target)
        assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("key", ["floor", "generations", "trust", "lists"])
def test_a079_a_state_with_a_key_twice_is_damaged(place: Path, key: str) -> None:
    text = (place / "state" / "state.json").read_text()
    state = read_state(str(place / "state"))
    assert state.floor is not None
    value = json.dumps(json.loads(text)[key])
    (place / "state" / "state.json").write_text(text.rstrip()[:-1] + f', "{key}": {value}}}\n')
    with pytest.raises(MalformedTrust, match="damaged"):
        read_state(str(place / "state"))
