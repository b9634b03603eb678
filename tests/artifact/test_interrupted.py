"""Ctrl-C and failures in the middle of writing: nothing half-written, nothing of the old lost (A152, A171)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sealwright.artifact.output import OLD, Output, Pair, Replace, replace_pairs, write_batch
from sealwright.errors import OutputRefused

INTERRUPTED = """
import os, signal, sys
from sealwright.artifact import output
from sealwright.artifact.output import *
folder, call, after, pairs = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "pairs"
real, calls = getattr(os, call), []
def interrupt(*a, **k):
    calls.append(1)
    if len(calls) == after: os.kill(os.getpid(), signal.SIGINT)
    return real(*a, **k)
setattr(os, call, interrupt)
new = [Output(folder + '/m', b'new'), Output(folder + '/m.p7s', b'new')]
try:
    replace_pairs([Pair(tuple(new))]) if pairs else write_batch(new, replace=Replace.YES)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", ["pairs", "batch"])
@pytest.mark.parametrize("call", ["open", "write", "replace", "unlink", "link", "fsync"])
def test_a152_ctrl_c_at_any_step_leaves_all_old_or_all_new(tmp_path: Path, how: str, call: str) -> None:
    names = [tmp_path / "m", tmp_path / "m.p7s"]
    for after in range(1, 9):
        for name in names:
            name.write_bytes(b"old")
        command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), call, str(after), how]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, 130)
        states = {name.read_bytes() for name in names}
        assert len(states) == 1, f"{call} {after}: {states}"
        assert code == 130 or states == {b"new"}
        assert sorted(os.listdir(tmp_path)) == ["m", "m.p7s"]
    assert code == 0  # the last one came after everything


def test_ctrl_c_is_as_it_was_after_writing(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    write_batch([Output(str(tmp_path / "m"), b"x")])
    replace_pairs([Pair((Output(str(tmp_path / "m"), b"y"), Output(str(tmp_path / "m.p7s"), b"y")))])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a171_a_pair_that_cannot_be_replaced_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [Output(str(tmp_path / name), b"new") for name in ("m", "m.p7s")]
    for output in outputs:
        Path(output.path).write_bytes(b"old")
    real = os.replace

    def full(source: str, target: str) -> None:
        if target.endswith("m.p7s"):
            raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OutputRefused, match="disk is full"):
            replace_pairs([Pair(tuple(outputs))])
    replaced = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    # the folder says what happened: either all is old, or what the next signing puts back is there
    assert replaced.get(f"m{OLD}", replaced["m"]) == b"old" == replaced["m.p7s"]
    replace_pairs([Pair(tuple(outputs))])
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == {"m": b"new", "m.p7s": b"new"}


def test_a_name_of_the_longest_kind_is_written(tmp_path: Path) -> None:
    name = "\u00fc" * 127
    write_batch([Output(str(tmp_path / name), b"x")], replace=Replace.YES)
    assert os.listdir(tmp_path) == [name]


KILLED = """
import os, signal
from sealwright.trust.many import judge_many
answers = judge_many([(str(number), None) for number in range(2000)], lambda some: [bytes(1 << 16) for _ in some], alone=False)
next(answers)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_when_the_command_was_killed() -> None:
    done = subprocess.Popen([sys.executable, "-c", KILLED], start_new_session=True)
    assert done.wait(60) == -signal.SIGKILL
    for _ in range(200):
        try:
            os.killpg(done.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(done.pid, signal.SIGKILL)
    pytest.fail("a worker waits for ever")
