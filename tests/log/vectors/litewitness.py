"""Makes litewitness.json: what litewitness (filippo.io/torchwood v0.9.0), a witness that others wrote, answers to our questions.

    go install filippo.io/torchwood/cmd/litewitness@v0.9.0
    PYTHONPATH=src:tests python tests/log/vectors/litewitness.py PATH/TO/litewitness FOLDER > tests/log/vectors/litewitness.json

FOLDER: an empty one. The witness makes a new key in it each time, which an ssh-agent holds; the log's keys are those of SEEDS.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import time

from kit.logs import tree_hash
from kit.writtenlogs import SoftSigner
from sealwright.log.merkle import EMPTY_ROOT, leaf_hash
from sealwright.log.note import sign_checkpoint
from sealwright.log.tree import TiledTree, consistency_path
from sealwright.log.witness import question

PORT = 7381
LOG = SoftSigner.make("log.example/7", seed=bytes(range(32)))
OTHER = SoftSigner.make("log.example/8", seed=bytes(range(1, 33)))
FALSE = SoftSigner.make("log.example/7", seed=bytes(range(2, 34)))


def leaves(size: int, other: str = "") -> list[bytes]:
    """The log's own, or with another last one."""
    return [b"leaf %d" % number for number in range(size - bool(other))] + [other.encode()] * bool(other)


def proof(old: int, size: int, other: str = "") -> tuple[bytes, ...]:
    """That a tree continues another."""
    entries = leaves(size, other)
    hashes = [leaf_hash(one) for one in entries]
    full = [tree_hash(entries[at : at + 256]) for at in range(0, size - size % 256, 256)]
    return consistency_path(
        TiledTree(lambda level, at: full if level else hashes[at * 256 : at * 256 + 256]), old, size
    )


def note(size: int, other: str = "", signer: SoftSigner = LOG) -> str:
    """A signed checkpoint."""
    return sign_checkpoint(size, tree_hash(leaves(size, other)), signer)


QUESTIONS = {
    "the first": question(0, (), note(7)),
    "the same again": question(7, (), note(7)),
    "a grown log": question(7, proof(7, 300), note(300)),
    "an old size that is not the last one": question(7, proof(7, 300), note(300)),
    "an old size beyond": question(400, (), note(300)),
    "an unknown log": question(0, (), note(5, signer=OTHER)),
    "another key of the same name": question(300, (), note(300, signer=FALSE)),
    "a fork of the same size": question(300, (), note(300, "x")),
    "a fork that grows": question(300, proof(300, 400), note(400, "x")),
    "no proof": question(300, (), note(400)),
    "no question": b"hello",
    "a smaller log": question(300, (), note(200)),
    "a log that goes on": question(300, proof(300, 400), note(400)),
}


def main() -> None:
    """Ask it everything and print what it answered."""
    program = os.path.abspath(sys.argv[1])
    os.chdir(sys.argv[2])
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", "agent.sock"], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    env = {**os.environ, "SSH_AUTH_SOCK": "agent.sock"}
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], check=True)
    subprocess.run(["ssh-add", "-q", "key"], env=env, check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", "key"], capture_output=True, text=True, check=True).stdout.split()[1]
    words = [program, "-name", "litewitness.example/w", "-db", "w.db", "-ssh-agent", "agent.sock"]
    with open("log", "w") as log:
        witness = subprocess.Popen([*words, "-listen", f"127.0.0.1:{PORT}", "-key", shown], stderr=log)
    time.sleep(2)
    try:
        database = sqlite3.connect("w.db")
        empty = base64.b64encode(EMPTY_ROOT).decode()
        database.execute("INSERT INTO log VALUES (?, 0, ?)", (LOG.key.name, empty))
        database.execute("INSERT INTO key VALUES (?, ?)", (LOG.key.name, str(LOG.key)))
        database.commit()
        database.close()
        with open("log") as said:
            key = next(line.split("vkey=")[1].split()[0].strip('"') for line in said if "vkey=" in line)
        asked = [
            {"case": name, "question": base64.b64encode(body).decode(), **answer(body)}
            for name, body in QUESTIONS.items()
        ]
        sys.stdout.write(json.dumps({"witness": key, "log": str(LOG.key), "asked": asked}, indent=1) + "\n")
    finally:
        witness.terminate()
        agent.terminate()


def answer(body: bytes) -> dict[str, object]:
    """One question."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("POST", "/add-checkpoint", body)
    got = connection.getresponse()
    return {
        "status": got.status,
        "type": got.getheader("content-type"),
        "answer": base64.b64encode(got.read()).decode(),
    }


if __name__ == "__main__":
    main()
