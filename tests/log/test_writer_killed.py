"""kill -9 of a writer under load, at random moments: what was answered is in the log, once, and the next one goes on (A133).

The process reports what it asks and what it was answered, each with one write to a pipe before it goes on; what is read there after its
death is what anybody could know. Counted: asked, answered, logged, lost, doubled.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kit.logs import tree_hash
from kit.writtenlogs import SoftSigner, opened
from sealwright.log.reader import LogReader
from sealwright.log.writer import LogWriter

SEED = bytes(range(32))
SIGNER = SoftSigner.make(seed=SEED)
ROUNDS = 12
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
PROGRAM = """
import os, sys, threading
from kit.writtenlogs import SoftSigner
from sealwright.log.writer import LogWriter
from sealwright.store.engine import open_store
url, name = sys.argv[1:]
writer = LogWriter.open(open_store(url), SoftSigner.make(seed=bytes(range(32))))
def say(what, entry, leaf):
    os.write(1, b"%s %s %d\\n" % (what, entry, leaf))
def work(at):
    number = 0
    while True:
        entry = b"%s-%d-%d" % (name.encode(), at, number)
        say(b"asked", entry, -1)
        (leaf,) = writer.append([entry]).result()
        say(b"answered", entry, leaf)
        number += 1
for at in range(8):
    threading.Thread(target=work, args=(at,), daemon=True).start()
threading.Event().wait()
"""


def killed(url: str, name: str, after_s: float) -> list[tuple[str, bytes, int]]:
    """What a writer said until it was killed, that many seconds after its first answer."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, url, name], stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    said = []
    first = process.stdout.readline()
    while first and not first.startswith(b"answered"):
        said.append(first)
        first = process.stdout.readline()
    said.append(first)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    lines = [line.split() for line in said if line.endswith(b"\n")]
    return [(what.decode(), entry, int(leaf)) for what, entry, leaf in lines]


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_writer_that_is_killed_loses_and_doubles_nothing(url: str, replicas: int) -> None:
    chosen = random.Random(replicas)
    asked: set[bytes] = set()
    answered: dict[bytes, int] = {}
    beside = None
    if replicas == 2:  # another one goes on all the time
        beside = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url, "beside"], stdout=subprocess.DEVNULL, env=ENVIRONMENT
        )
    try:
        for number in range(ROUNDS if replicas == 1 else 4):
            for what, entry, leaf in killed(url, f"round{number}", chosen.uniform(0.0, 0.25)):
                asked.add(entry)
                if what == "answered":
                    answered[entry] = leaf
    finally:
        if beside is not None:
            died = beside.poll()
            beside.kill()
            beside.wait()
            assert died is None
    with opened(url) as store:
        LogWriter.open(store, SIGNER).close()  # every start check
        log = LogReader(store)
        entries = log.entries(0, log.head().size)
        assert log.head().checkpoint.root == tree_hash(entries)
    lost = [entry for entry, leaf in answered.items() if entries[leaf] != entry]
    doubled = [entry for entry, times in Counter(entries).items() if times > 1]
    unasked = {entry for entry in entries if not entry.startswith(b"beside")} - asked
    counts = {"asked": asked, "answered": answered, "logged": entries, "lost": lost, "doubled": doubled}
    print(", ".join(f"{name} {len(of)}" for name, of in counts.items()))  # noqa: T201 - pytest -s shows what was counted
    assert (lost, doubled, unasked) == ([], [], set())
    assert len(answered) > 10
