"""Clients that keep asking a service whatever happens to it, and the reckoning afterwards: what was asked, answered, logged, lost, doubled, unlogged.

    books = Books()
    with load([service, replica], books, clients=4):
        ...kill, pause, start again...
    reckoned = reckoning(books, url, log_key)

A client asks by a word of its own (`Idempotency-Key`), again and again until an answer comes, attempts again what failed, and writes each
value and each checkpoint that it was given into the books. The reckoning reads the log as it stands after all of it:
lost       requests that were acknowledged and never came to their signatures, and values that were given and are not those of the service
doubled    items with two signature entries, and words by which two requests were recorded
unlogged   values that were given without being in the log, or with a proof that does not hold
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from kit.killable import Killable
from kit.service import ORIGIN, wanted
from kit.signingservice import House
from sealwright.artifact.digest import Digest
from sealwright.envelope.verifierkey import NoteType, VerifierKey
from sealwright.keys.backends import open_key
from sealwright.log.canonical import read_canonical
from sealwright.log.checkpoint import Checkpoint, check_checkpoint, read_checkpoint
from sealwright.log.note import KeySigner
from sealwright.log.proof import check_proof, read_proof
from sealwright.log.reader import LogReader
from sealwright.signing.home import KeyPurpose
from sealwright.store.engine import open_store

SETTLE_S = 120.0
_PAGE = 100


@dataclass(frozen=True)
class Answered:
    """One value that a client was given, and the proof that came for it."""

    request: str
    artifact: Digest
    value: bytes
    proof: bytes


@dataclass
class Books:
    """What clients were told. Owns its lock."""

    asked: int = 0
    words: int = 0
    acknowledged: set[str] = field(default_factory=set)
    unfinished: list[str] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Reckoning:
    """The counts. asked, answered, logged: items; requests: acknowledged ones; again: attempts after the first; broken_off: intents
    without a result, which is where faults met the key or the log."""

    requests: int
    asked: int
    answered: int
    logged: int
    again: int
    broken_off: int
    checkpoints: int
    lost: int
    doubled: int
    unlogged: int
    unfinished: int

    @property
    def in_order(self) -> bool:
        """Whether nothing is missing, and nothing too much."""
        wrong = self.lost + self.doubled + self.unlogged + self.unfinished
        return not wrong and 0 < self.answered == self.asked <= self.logged

    def __str__(self) -> str:
        return (
            f"requests {self.requests:,}, asked {self.asked:,}, answered {self.answered:,}, logged {self.logged:,}, "
            f"attempted again {self.again}, broken off {self.broken_off:,}, checkpoints {self.checkpoints:,}; lost {self.lost}, doubled {self.doubled}, unlogged {self.unlogged}, "
            f"unfinished {self.unfinished}"
        )


class _Client:
    """One client, in a thread of its own."""

    def __init__(self, services: Sequence[Killable], books: Books, over: threading.Event, most: int, key: str) -> None:
        self._services, self._books, self._over, self._most, self._key = services, books, over, most, key
        self._random = random.Random(secrets.token_bytes(8))
        self._http: dict[str, httpx.Client] = {}
        self._until = float("inf")

    def run(self) -> None:
        while not self._over.is_set():
            self._one()
        for client in self._http.values():
            client.close()

    def _one(self) -> None:
        name = secrets.token_hex(8)
        count = self._random.choice((1, 1, 1, 4, 40, self._most))
        items = wanted([f"{name}-{number}.bin" for number in range(count)])
        artifacts = {number: Digest.of(f"{name}-{number}.bin".encode()) for number in range(count)}
        body = {"key": self._key, "items": [{"line": one.line.decode()} for one in items], "wait_s": 20}
        with self._books.lock:
            self._books.asked += count
            self._books.words += 1
        told = self._call("POST", "/v1/requests", json=body, headers={"idempotency-key": name})
        if told is None:
            return
        id_ = told["id"]
        with self._books.lock:
            self._books.acknowledged.add(id_)
        given = {one["item"]: one["value"] for one in told.get("signatures") or ()}
        while told is not None and told["state"] != "signed":
            if told["state"] == "failed":
                self._call("POST", f"/v1/requests/{id_}/attempts")
            told = self._call("GET", f"/v1/requests/{id_}?wait_s=5")
        if told is None:
            with self._books.lock:
                self._books.unfinished.append(id_)
            return
        self._fetch(id_, artifacts, given)

    def _fetch(self, id_: str, artifacts: dict[int, Digest], given: dict[int, str]) -> None:
        """All values and proofs; what was given at once must be what is given now."""
        values: dict[int, str] = {}
        proofs: dict[str, str] = {}
        for first in range(0, len(artifacts), _PAGE):
            page = self._call("GET", f"/v1/requests/{id_}/signatures?first={first}")
            proved = self._call("GET", f"/v1/requests/{id_}/proofs?first={first}")
            if page is None or proved is None:
                with self._books.lock:
                    self._books.unfinished.append(id_)
                return
            values |= {one["item"]: one["value"] for one in page["signatures"]}
            proofs |= proved["proofs"]
        checkpoint = self._call("GET", "/v1/log/checkpoint")
        with self._books.lock:
            self._books.changed += [f"{id_} {item}" for item, value in given.items() if values.get(item) != value]
            self._books.changed += [f"{id_} {item}" for item in artifacts if item not in values]
            self._books.answered += [
                Answered(id_, artifacts[item], b64decode(value), b64decode(proofs.get(str(item), "")))
                for item, value in values.items()
            ]
            if checkpoint is not None:
                self._books.checkpoints.append(checkpoint["note"])

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        """The answer, from whichever replica gives one; None where none came until the end of patience."""
        patience = 0.0
        while True:
            if self._over.is_set() and not patience:
                patience = time.monotonic() + SETTLE_S
            if patience and time.monotonic() > patience:
                return None
            address = self._random.choice(self._services).address
            try:
                if address:
                    answer = self._client(address).request(method, path, **more)
                    if answer.status_code < 300:
                        return answer.json() if path != "/v1/log/checkpoint" else {"note": answer.text}
                    if answer.status_code == 409 and path.endswith("/attempts"):
                        return {}  # another one was quicker
                    if answer.status_code not in (409, 502, 503, 504):
                        self._surprise(f"{method} {path}: {answer.status_code} {answer.text[:600]}")
            except httpx.HTTPError:
                self._http.pop(address).close()
            time.sleep(0.1)

    def _client(self, address: str) -> httpx.Client:
        if address not in self._http:
            client = self._services[0].client(timeout_s=30.0)
            client.base_url = httpx.URL(address)
            self._http[address] = client
        return self._http[address]

    def _surprise(self, what: str) -> None:
        with self._books.lock:
            self._books.surprises.append(what)


@contextmanager
def load(
    services: Sequence[Killable], books: Books, *, clients: int = 6, most: int = 800, key: str = "release"
) -> Iterator[None]:
    """Ask during the block, then until everything that was asked is settled. most: the largest request."""
    over = threading.Event()
    threads = [
        threading.Thread(target=_Client(services, books, over, most, key).run, daemon=True) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(4 * SETTLE_S)


def replicas_of(made: House, url: str, names: Sequence[str]) -> list[Killable]:
    """Replicas of one house over one PostgreSQL database, not started."""
    text = made.configuration.read_text().replace("sqlite:///service.db", url)
    replicas = []
    for name in names:
        configuration = made.folder / f"{name}.toml"
        configuration.write_text(text.replace('head = "head"', f'head = "head-{name}"'))
        replicas.append(Killable(made, configuration))
    return replicas


def log_key_of(made: House) -> VerifierKey:
    """By which the house's log is known."""
    enrolled = made.home.key("log", KeyPurpose.LOG)
    with closing(open_key(made.home.uri(enrolled), algorithm=enrolled.algorithm)) as key:
        return KeySigner(ORIGIN, NoteType.LOG, key).key


def reckoning(books: Books, url: str, log_key: VerifierKey) -> Reckoning:
    """Compare the books with the log."""
    store = open_store(url)
    try:
        reader = LogReader(store)
        head = reader.head()
        lines = reader.entries(0, head.size)
        check_checkpoint(head.checkpoint, [log_key], [], "log")
        assert reader.root(head.size) == head.checkpoint.root
        for checkpoint in _checkpoints(books, log_key):
            assert checkpoint.size <= head.size
            assert reader.root(checkpoint.size) == checkpoint.root, (
                f"the log of {checkpoint.size} entries was another one"
            )
    finally:
        store.close()
    found = [read_canonical(line) for line in lines]
    by_artifact = Counter(Digest.parse(str(one["artifact"])) for one in found if one["type"] == "signature")
    signatures = {str(one["signature"]) for one in found if one["type"] == "signature"}
    requests = [str(one["request"]) for one in found if one["type"] == "request"]
    return Reckoning(
        requests=len(books.acknowledged),
        asked=books.asked,
        answered=len(books.answered),
        logged=sum(by_artifact.values()),
        again=sum(one["type"] == "used" and one["attempt"] != 1 for one in found),
        broken_off=sum(one["type"] == "intent" for one in found) - sum(by_artifact.values()),
        checkpoints=len(books.checkpoints),
        lost=len(books.changed) + len(books.acknowledged - set(requests)),
        doubled=sum(count - 1 for count in by_artifact.values()) + _twice_recorded(books, requests),
        unlogged=sum(not _is_logged(one, signatures, lines, log_key) for one in books.answered),
        unfinished=len(books.unfinished),
    )


def _twice_recorded(books: Books, requests: Sequence[str]) -> int:
    """Requests in the log beyond one for each word. Of words that were never answered the log may have one each."""
    unanswered = books.words - len(books.acknowledged)
    return len(requests) - len(set(requests)) + max(0, len(set(requests) - books.acknowledged) - unanswered)


def _checkpoints(books: Books, log_key: VerifierKey) -> Iterator[Checkpoint]:
    for note in dict.fromkeys(books.checkpoints):
        checkpoint = read_checkpoint(note, "checkpoint")
        check_checkpoint(checkpoint, [log_key], [], "checkpoint")
        yield checkpoint


def _is_logged(one: Answered, signatures: set[str], lines: Sequence[bytes], log_key: VerifierKey) -> bool:
    """The proof that came with a value holds, and is of this value and artifact, and the log has that entry there still."""
    proof = read_proof(one.proof, "proof")
    check_proof(proof, proof.entry, [log_key], [], "proof")
    entry = read_canonical(proof.entry)
    return (
        entry["signature"] == str(Digest.of(one.value))
        and entry["artifact"] == str(one.artifact)
        and str(entry["signature"]) in signatures
        and lines[proof.leaf] == proof.entry
    )
