"""Witnesses of logs (C2SP tlog-witness): who has seen that a log only grows, and says so with a time.

    ask_witness(Asked("https://witness.example", key), note, size, log.consistency, post)     our log asks others
    Witness(folder, signer, {origin: [log key]}).add_checkpoint(body, now)                    we cosign others' logs

What is asked is `old N`, a proof from there, and the checkpoint; the answer a line for under the checkpoint. As a witness:
1. The checkpoint's origin is a known log (404) and its signature holds (403); the question is well-formed (400).
2. `old` is the size that this witness cosigned last (409, with that size), and the proof leads from there to the checkpoint (422).
3. The new state is durable before the cosignature leaves, and of two questions one is answered after the other.
4. A log's own signature under another tree of the size seen before is a fork: it is refused, and both are kept, in `evidence/*.fork.txt`
   (A136). Under a larger tree without a proof that leads there it is refused and kept too, the last `MAX_EVIDENCE` of them, in
   `*.unproved.txt`: whoever has a checkpoint of the log can ask so, and must not use up the room for forks.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import delete, insert, select

from sealwright.artifact.folders import alone_in
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import (
    BadSignature,
    LogRefused,
    LogRewound,
    MalformedEnvelope,
    OutputRefused,
    SealwrightError,
    WitnessRefused,
)
from sealwright.log.checkpoint import (
    Checkpoint,
    check_checkpoint,
    check_cosignatures,
    read_base64,
    read_checkpoint,
    read_number,
    time_said,
)
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.merkle import EMPTY_ROOT, check_consistency
from sealwright.log.note import NoteSigner, cosign
from sealwright.log.proof import MAX_HASHES
from sealwright.log.tables import COSIGNED
from sealwright.store.engine import Store

ADD_CHECKPOINT = "add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
PLAIN = "text/plain; charset=utf-8"
MAX_BODY = 128 * 1024
MAX_EVIDENCE = 1000
FORK, UNPROVED = ".fork.txt", ".unproved.txt"
_LATER = "The checkpoint stays as it is; the witness is asked again with the next one."


class Answer(NamedTuple):
    """An answer of a witness. type: the content type."""

    status: int
    type: str
    body: bytes


class Asked(NamedTuple):
    """A witness that is asked. prefix: the URL before `/add-checkpoint`; key: whose cosignatures count."""

    prefix: str
    key: VerifierKey


Post = Callable[[str, bytes], Answer]  # URL and body; OSError where there is no answer
Proof = Callable[[int, int], Sequence[bytes]]  # old size and size -> consistency proof


class Cosigned(NamedTuple):
    """What a witness gave. line: under the checkpoint; size: what it has cosigned now, for the next time."""

    line: str
    size: int


def question(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of `add-checkpoint`."""
    hashes = "".join(base64.b64encode(one).decode() + "\n" for one in proof)
    return f"old {old}\n{hashes}\n{note}".encode()


def ask_witness(witness: Asked, note: str, known: int, proof: Proof, post: Post) -> Cosigned:
    """Ask for a cosignature. known: the size that it cosigned last as far as we know, 0 where we do not.

    Raises LogRewound where it has seen more of our log than there is: somebody restored a backup, or signs beside us (A135);
    WitnessRefused for every other refusal, and where its cosignature does not hold.
    """
    checkpoint = read_checkpoint(note, "the checkpoint")
    answer = _posted(witness, question(known, proof(known, checkpoint.size), note), post)
    if answer.status == 409:
        size = _told_size(witness, answer)
        if size > checkpoint.size:
            raise LogRewound(
                checkpoint.origin,
                f"the witness {witness.key.name} has seen {size} entries, and there are {checkpoint.size}",
                "Stop the service: find the newest database, and who signs with the log's key.",
            )
        answer = _posted(witness, question(size, proof(size, checkpoint.size), note), post)
    if answer.status != 200:
        said = answer.body[:100].decode("utf-8", "backslashreplace").strip()
        raise WitnessRefused(witness.key.name, f"it answered {answer.status} {said}".strip(), _LATER)
    return Cosigned(_own_line(witness, note, answer), checkpoint.size)


def keep_cosigned(store: Store, note: str) -> None:
    """Keep a cosigned checkpoint for the proofs that follow, unless a later one is kept already."""
    checkpoint = read_checkpoint(note, "the cosigned checkpoint")
    with store.write() as connection:
        row = connection.execute(select(COSIGNED.c.size, COSIGNED.c.note).with_for_update()).one_or_none()
        if row is not None:
            had = read_checkpoint(row.note, "the cosigned checkpoint")
            if (had.size, len(had.signatures)) >= (checkpoint.size, len(checkpoint.signatures)):
                return
            connection.execute(delete(COSIGNED))
        connection.execute(insert(COSIGNED).values(id=1, size=checkpoint.size, note=note))


class Witness:
    """A witness of others' logs; used by any thread, and by one process at a time for a folder (others wait).

    folder: has the newest checkpoint of each log, and `evidence/`; logs: the keys of each origin.
    """

    def __init__(self, folder: str, signer: NoteSigner, logs: Mapping[str, Sequence[VerifierKey]]) -> None:
        self.folder = folder
        self.key = signer.key
        self._signer = signer
        self._logs = dict(logs)
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes, now: datetime) -> Answer:
        """Answer a question; OutputRefused where the new state cannot be made durable, and then nothing was signed."""
        try:
            asked = _read_question(body)
        except SealwrightError as cause:
            return _plain(400, cause.what)
        keys = self._logs.get(asked.checkpoint.origin)
        if keys is None:
            return _plain(404, "this log is not known here")
        try:
            check_checkpoint(asked.checkpoint, keys, [], "the checkpoint")
        except BadSignature as cause:
            return _plain(403, cause.what)
        with self._lock, alone_in(self.folder):
            return self._judged(asked, body, now)

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The newest checkpoint of a log that this witness cosigned, by SHA-256 of its origin in hexadecimal; None where it has none."""
        if not any(_name(origin) == origin_hash for origin in self._logs):
            return None
        return read_file_or_none(self._path(origin_hash), MAX_NOTE_BYTES)

    def _judged(self, asked: _Question, body: bytes, now: datetime) -> Answer:
        """Steps 2 to 4."""
        new = asked.checkpoint
        last = self._last(new.origin)
        size, root = (0, EMPTY_ROOT) if last is None else (last.size, last.root)
        forked = new.size == size and new.root != root
        if forked:
            self._keep_evidence(new, body, FORK)
        if asked.old > new.size:
            return _plain(400, "its old size is beyond the checkpoint")
        if asked.old != size:
            return Answer(409, SIZE_TYPE, b"%d\n" % size)
        try:
            check_consistency(size, root, new.size, new.root, asked.proof)
        except ValueError as cause:
            if not forked:
                self._keep_evidence(new, body, UNPROVED)
            return _plain(422, f"the checkpoint does not continue the one of size {size}: {cause}")
        line = cosign(new.text, self._signer, now)
        log_lines = "".join(one.line for one in new.signatures if one.name == new.origin)
        note = f"{new.text.decode()}\n{log_lines}{line}"
        write_atomic(self._path(_name(new.origin)), note.encode(), replace=Replace.YES)
        return Answer(200, PLAIN, line.encode())

    def _last(self, origin: str) -> Checkpoint | None:
        """The newest checkpoint that was cosigned; LogRefused where the file is not what this witness wrote."""
        path = self._path(_name(origin))
        data = read_file_or_none(path, MAX_NOTE_BYTES)
        if data is None:
            return None
        try:
            found = read_checkpoint(data.decode(), path)
            seen = check_checkpoint(found, self._logs[origin], [self.key], path)
        except (BadSignature, MalformedEnvelope, UnicodeDecodeError) as cause:
            raise LogRefused(path, "it is not what this witness wrote", "Restore it: nothing is cosigned.") from cause
        if found.origin != origin or self.key.name not in seen.times:
            raise LogRefused(path, "it is not what this witness wrote", "Restore it: nothing is cosigned.")
        return found

    def _keep_evidence(self, new: Checkpoint, body: bytes, end: str) -> None:
        """What was asked and what was seen before, in one file for each checkpoint. end: of its name, `FORK` or `UNPROVED`."""
        folder = os.path.join(self.folder, "evidence")
        path = os.path.join(folder, f"{_name(new.origin)[:16]}-{sha256(new.text).hexdigest()[:16]}{end}")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            kept = [os.path.join(folder, one) for one in os.listdir(folder) if one.endswith(end)]
            if path in kept or (end == FORK and len(kept) >= MAX_EVIDENCE):
                return
            if len(kept) >= MAX_EVIDENCE:
                os.unlink(min(kept, key=os.path.getmtime))
        except OSError as cause:
            raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", "Make room for it.") from cause
        seen = read_file_or_none(self._path(_name(new.origin)), MAX_NOTE_BYTES) or b""
        write_atomic(path, b"seen before:\n\n" + seen + b"\nasked to cosign:\n\n" + body)

    def _path(self, origin_hash: str) -> str:
        return os.path.join(self.folder, f"{origin_hash}.checkpoint")


@dataclass(frozen=True, slots=True)
class _Question:
    old: int
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint


def _read_question(body: bytes) -> _Question:
    """MalformedEnvelope for anything but the form of the protocol."""
    subject, again = "the question", "Ask as C2SP tlog-witness says."
    if len(body) > MAX_BODY:
        raise MalformedEnvelope(subject, f"it has more than {MAX_BODY} bytes", again)
    try:
        head, gap, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as cause:
        raise MalformedEnvelope(subject, "it is not UTF-8", again) from cause
    first, *hashes = head.split("\n")
    if not gap or not first.startswith("old ") or len(hashes) > MAX_HASHES:
        raise MalformedEnvelope(subject, "it has no old size, proof and checkpoint", again)
    proof = tuple(read_base64(one, subject) for one in hashes)
    return _Question(read_number(first[4:], subject), proof, read_checkpoint(note, subject))


def _posted(witness: Asked, body: bytes, post: Post) -> Answer:
    try:
        return post(f"{witness.prefix.rstrip('/')}/{ADD_CHECKPOINT}", body)
    except OSError as cause:
        raise WitnessRefused(witness.key.name, str(cause)[:160] or "it gave no answer", _LATER) from cause


def _told_size(witness: Asked, answer: Answer) -> int:
    try:
        text = answer.body[:32].decode("ascii")
        if answer.type.partition(";")[0].strip() != SIZE_TYPE or not text.endswith("\n"):
            raise ValueError
        return read_number(text[:-1], witness.key.name)
    except (ValueError, MalformedEnvelope) as cause:
        raise WitnessRefused(witness.key.name, "it answered 409 and no size", _LATER) from cause


def _own_line(witness: Asked, note: str, answer: Answer) -> str:
    """The line of this witness's key in an answer, checked: of several the one that says the earliest time, since no other counts,
    and one witness must not fill the note, of which `MAX_SIGNATURES` are read. Those of other keys are left out.
    """
    text = note.partition("\n\n")[0]
    try:
        read = read_checkpoint(f"{text}\n\n{answer.body[:MAX_NOTE_BYTES].decode()}", "its answer")
        seen = check_cosignatures(read, [witness.key], "its answer")
        if not seen:
            raise ValueError("no cosignature of its key is in its answer")
    except (ValueError, BadSignature, MalformedEnvelope) as cause:
        what = cause.what if isinstance(cause, SealwrightError) else str(cause)
        raise WitnessRefused(witness.key.name, what, _LATER) from cause
    return next(
        one.line
        for one in read.signatures
        if (one.name, one.id) == (witness.key.name, witness.key.id) and time_said(one) == seen[witness.key.name]
    )


def _name(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()


def _plain(status: int, what: str) -> Answer:
    return Answer(status, PLAIN, what.encode() + b"\n")
