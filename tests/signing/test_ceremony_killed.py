"""A run that is killed at any point leaves nothing that the next `begin` or `run` does not find, name and remove."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit.ceremonies import Run, begin_to_run, begun, planned
from kit.openssl import run as program
from kit.tokens import PIN, another_token, tpm
from sealwright.keys.backends import destroy_key
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import list_token_keys

# kills itself with the signal that nothing can hold back, before or after the call number N of a function of the program
DRIVER = """
import importlib, os, signal, sys
place, when, number, *arguments = sys.argv[1:]
module, _, name = place.partition(":")
owner, left = importlib.import_module(module), int(number)
*path, name = name.split(".")
for one in path:
    owner = getattr(owner, one)
real = getattr(owner, name)
def killing(*args, **kwargs):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = real(*args, **kwargs)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
setattr(owner, name, killing)
from sealwright.cli.main import main
sys.exit(main(arguments))
"""
CEREMONY = "sealwright.signing.ceremony"
STEPS = "sealwright.signing.ceremonysteps"
# place, before or after, which call; private keys that lie in the folder then; whether a folder does
POINTS = [
    ("sealwright.signing.ceremonybook:Book.start", "after", 1, 0, False),
    ("os:rename", "before", 1, 0, True),
    (f"{CEREMONY}:Building.make", "after", 1, 0, True),
    (f"{STEPS}:create_key", "before", 1, 0, True),
    (f"{STEPS}:create_key", "after", 1, 1, True),
    (f"{STEPS}:_certified", "after", 1, 1, True),
    (f"{STEPS}:create_key", "after", 3, 3, True),
    (f"{STEPS}:record", "before", 2, 3, True),
    (f"{STEPS}:make_list", "after", 1, 3, True),
    (f"{CEREMONY}:keep", "after", 1, 3, True),
    ("os:rmdir", "before", 1, 3, True),
]


def killed(place: str, when: str, number: int, start: tuple[str | Path, ...]) -> None:
    """Run a ceremony that is killed there."""
    words = ["ca", "ceremony", *(str(one) for one in start), "--yes"]
    command = [sys.executable, "-c", DRIVER, place, when, str(number), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done


def buildings(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.ceremony*"))


@pytest.mark.parametrize(("place", "when", "number", "files", "folder"), POINTS)
def test_the_next_begin_finds_names_and_removes_what_a_killed_run_left(
    tmp_path: Path, homes: dict[str, Path], run: Run, place: str, when: str, number: int, files: int, folder: bool
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    (tmp_path / "ca").mkdir()  # an empty folder, so that it is removed at the end
    start = begin_to_run(run, homes, plan)
    killed(place, when, number, start)
    left = buildings(tmp_path)
    assert len(left) == folder
    assert len([key for one in left for key in one.glob("keys/*.pem")]) == files
    (told,) = json.loads(run("begin", plan, "--json"))["left"] or [None]
    if folder:
        assert told == {"folder": str(left[0]), "private_keys": files, "in_token": []}
    else:
        assert told is None
    assert buildings(tmp_path) == []
    assert "used this nonce up" in run(*start, "--yes", code=1)
    run(*begin_to_run(run, homes, plan), "--yes")
    assert sorted(path.name for path in (tmp_path / "ca/keys").iterdir()) == [
        "intermediate.pem",
        "root.pem",
        "timestamp.pem",
    ]
    assert not (tmp_path / "ca/run").exists()


def test_a_run_that_was_killed_when_all_was_done_leaves_a_home_that_holds(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    start = begin_to_run(run, homes, plan)
    killed("os:rename", "after", 2, start)  # the first one names the folder that is built in
    for person in ("eva", "jan"):
        run("sign", tmp_path / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    said = run("check", tmp_path / "ca/ceremony/transcript.txt", "--plan", plan, "--home", tmp_path / "ca")
    assert "holds" in said
    assert json.loads(run("begin", plan, "--json"))["left"] == []
    assert (tmp_path / "ca/home.toml").exists(), "it is nobody's leftover"


def test_a_run_of_another_plan_in_the_same_folder_finds_it_too(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    killed(f"{STEPS}:create_key", "after", 2, begin_to_run(run, homes, planned(run, homes, tmp_path / "plan.txt")))
    (left,) = buildings(tmp_path)
    (tmp_path / "new").mkdir()
    plan = planned(run, homes, tmp_path / "new/plan.txt")
    command, *start = begin_to_run(run, homes, plan)
    start[2] = tmp_path / "ca"
    shown = run(command, *start, "--yes")
    assert f"removed {left}, with 2 private keys" in shown
    assert buildings(tmp_path) == []


def test_a_run_that_lives_is_nobody_s_leftover(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    """It waits at its second step; a run of the same plan is refused, one of another plan beside it leaves its folder alone."""
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    start = [str(one) for one in begin_to_run(run, homes, plan)]
    (tmp_path / "new").mkdir()
    command, *other = begin_to_run(run, homes, planned(run, homes, tmp_path / "new/plan.txt"))
    other[2] = tmp_path / "other"
    waiting = subprocess.Popen(
        [sys.executable, "-m", "sealwright", "ca", "ceremony", *start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdin is not None
    assert waiting.stderr is not None
    try:
        waiting.stdin.write("y\ny\n")
        waiting.stdin.flush()
        asked = ""
        while "Step 2 of 4" not in asked:
            one = waiting.stderr.read(1)
            assert one, asked
            asked += one
        (building,) = buildings(tmp_path)
        assert "another run of this plan is at work" in run("begin", plan, code=1)
        assert "another run of this plan is at work" in run(*start, "--yes", code=1)
        assert "removed" not in run(command, *other, "--yes")
        assert buildings(tmp_path) == [building]
        waiting.stdin.write("y\ny\ny\n")
        waiting.stdin.close()
        assert waiting.wait(timeout=60) == 0
    finally:
        waiting.kill()
        for stream in (waiting.stdin, waiting.stdout, waiting.stderr):
            if stream is not None:
                stream.close()
    assert (tmp_path / "ca/home.toml").exists()


@pytest.mark.parametrize(
    ("place", "when", "number", "labels"),
    [
        (f"{STEPS}:create_key", "before", 1, []),
        (f"{STEPS}:create_key", "after", 1, ["root"]),
        (f"{CEREMONY}:keep", "after", 1, ["root", "intermediate"]),
    ],
)
def test_keys_that_a_killed_run_left_in_a_token_are_named_with_what_to_do(
    tmp_path: Path, homes: dict[str, Path], run: Run, place: str, when: str, number: int, labels: list[str]
) -> None:
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token, "--step", "ocsp")
    text = plan.read_text()
    plan.write_text(text.replace('"ocsp", ', ""))
    start = (*begin_to_run(run, homes, plan), "--pin-file", pin)
    killed(place, when, number, start)
    assert sorted(one.label for one in list_token_keys(token, Pin(PIN))) == sorted(labels)
    begun_again = run("begin", plan)
    for label in labels:
        assert re.search(
            rf"it left in the token {re.escape(token)};\S*object={label}\S*; nothing trusts it: delete it", begun_again
        )
    if labels:
        again = run(*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes", code=1)
        for label in labels:
            assert re.search(rf"object={label};\S+ \(left by the ceremony that was broken off", again)
        tool = re.search(r"`(pkcs11-tool [^`]*)`", again)
        assert tool is not None
        for label in labels:
            for kind in ("privkey", "pubkey"):
                words = tool[1].split()
                words[words.index("--type") + 1], words[words.index("--label") + 1] = kind, label
                module = "/usr/lib/softhsm/libsofthsm2.so"
                done, said = program([words[0], "--module", module, *words[1:], "--pin", PIN])
                assert done or kind == "pubkey", said
    run(*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes")


def test_keys_of_a_killed_run_in_a_tpm_go_with_their_folder(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    tpm()
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", "tpm:", "--step", "timestamp")
    killed(f"{STEPS}:create_key", "after", 2, begin_to_run(run, homes, plan))
    (left,) = buildings(tmp_path)
    assert len(list(left.glob("keys/*.tss"))) == 2
    assert f"removed {left}, with 2 private keys" in run("begin", plan)
    assert buildings(tmp_path) == []
    run(*begin_to_run(run, homes, plan), "--yes")


def test_what_has_not_the_name_of_a_run_s_folder_is_never_removed(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    """Whoever writes into the book, or lays a link beside it, removes nothing of somebody else's."""
    from datetime import UTC, datetime

    from sealwright.signing.ceremonybook import open_book
    from sealwright.signing.ceremonyplan import read_plan

    plan = planned(run, homes, tmp_path / "plan.txt")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    link = tmp_path / ".ca.0123456789abcdef.ceremony"
    link.symlink_to(precious)
    with open_book(read_plan(str(plan))) as book:
        book.start(begun_nonce(), str(precious), datetime.now(UTC))
        book.start(begun_nonce(), str(link), datetime.now(UTC))
    assert json.loads(run("begin", plan, "--json"))["left"] == []
    run(*begin_to_run(run, homes, plan), "--yes")
    assert (precious / "file").read_text() == "mine"
    assert os.path.islink(link)


def begun_nonce() -> str:
    return os.urandom(32).hex()


def test_a_nonce_that_was_only_given_is_no_leftover(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    first, second = begun(run, plan), begun(run, plan)
    assert first != second
    assert json.loads(run("begin", plan, "--json"))["left"] == []


def test_the_root_of_a_ceremony_that_went_well_is_never_told_as_a_leftover(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    """Its name is that of a key which an earlier run left and which was deleted; whoever believed it would delete the root of a plant."""
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token, "--step", "timestamp")
    killed(f"{STEPS}:create_key", "after", 2, (*begin_to_run(run, homes, plan), "--pin-file", pin))
    assert "it left in the token" in run("begin", plan)
    assert "left by the ceremony" in run(*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes", code=1)
    for seen in list_token_keys(token, Pin(PIN)):
        destroy_key(seen.uri, Pin(PIN))
    run(*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes")
    command, *start = begin_to_run(run, homes, plan)
    start[2] = tmp_path / "second"
    said = run(command, *start, "--pin-file", pin, "--yes", code=1)
    assert "already in the token" in said
    assert "left by the ceremony" not in said
