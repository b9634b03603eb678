"""Proofs that an entry is in a log (C2SP tlog-proof): `FILE.tlog-proof`, checked offline.

    c2sp.org/tlog-proof@v1
    extra eyJhcnRpZmFjdCI6InNo...        base64 of the entry itself (RULES 6); nobody signed it there
    index 73894
    gSKyXoYZUgZ6jduWYrkDOARinO...        the Merkle path, one hash a line
    (empty line)
    a checkpoint                         `checkpoint.py`

1. At most 256 KiB of UTF-8 without control characters; every line as the format says, and nothing more.
2. The entry's hash and the path lead to the root of the checkpoint, so the entry is what the log holds at that index.
3. A known log has signed the checkpoint; which witnesses have seen it, and when, is handed back.
What the entry says is another question, and so is how many witnesses are enough.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sealwright.envelope.verifierkey import VerifierKey
from sealwright.errors import BadSignature, LimitExceeded, MalformedEnvelope
from sealwright.log.checkpoint import (
    Checkpoint,
    Witnessed,
    check_checkpoint,
    read_base64,
    read_checkpoint,
    read_number,
)
from sealwright.log.merkle import HASH_BYTES, leaf_hash, root_of

FIRST_LINE = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 256 * 1024
MAX_HASHES = 63
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_AGAIN = "Fetch the proof again from its log."


class LogProof(NamedTuple):
    """A proof as it stands in its file, unchecked. entry: from the `extra` line, b"" where there is none; leaf: its number."""

    entry: bytes
    leaf: int
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint


def read_proof(data: bytes, subject: str) -> LogProof:
    """Read a proof without checking it; MalformedEnvelope or LimitExceeded where it is none."""
    if len(data) > MAX_PROOF_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_PROOF_BYTES} are read.")
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise MalformedEnvelope(subject, f"byte {cause.start} is not UTF-8", _AGAIN) from cause
    if _CONTROL.search(text):
        raise MalformedEnvelope(subject, "there is a control character in it", _AGAIN)
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != FIRST_LINE or not gap:
        raise MalformedEnvelope(subject, f"it is not a log proof of the form {FIRST_LINE}", _AGAIN)
    extra = lines.pop(1) if len(lines) > 1 and lines[1].startswith("extra ") else ""
    if len(lines) < 2 or not lines[1].startswith("index "):
        raise MalformedEnvelope(subject, "it does not say which entry it is about", _AGAIN)
    if len(lines) - 2 > MAX_HASHES:
        raise MalformedEnvelope(subject, f"{len(lines) - 2} hashes, no log is so high", _AGAIN)
    hashes = tuple(read_base64(line, subject) for line in lines[2:])
    if any(len(one) != HASH_BYTES for one in hashes):
        raise MalformedEnvelope(subject, "one of its hashes is no SHA-256", _AGAIN)
    return LogProof(
        read_base64(extra.removeprefix("extra "), subject),
        read_number(lines[1].removeprefix("index "), subject),
        hashes,
        read_checkpoint(note, subject),
    )


def proof_text(entry: bytes, leaf: int, path: Sequence[bytes], note: str) -> str:
    """A proof as it is written. note: the signed checkpoint."""
    hashes = "".join(base64.b64encode(one).decode() + "\n" for one in path)
    return f"{FIRST_LINE}\nextra {base64.b64encode(entry).decode()}\nindex {leaf}\n{hashes}\n{note}"


def check_proof(
    proof: LogProof, entry: bytes, logs: Iterable[VerifierKey], witnesses: Iterable[VerifierKey], subject: str
) -> Witnessed:
    """Which log holds exactly this entry there, and who has seen it; BadSignature where it does not."""
    checkpoint = proof.checkpoint
    try:
        root = root_of(leaf_hash(entry), proof.leaf, checkpoint.size, proof.hashes)
    except ValueError as cause:
        raise BadSignature(subject, f"its path does not fit: {cause}", _AGAIN) from cause
    if root != checkpoint.root:
        raise BadSignature(subject, "the log does not hold this entry there", _AGAIN)
    return check_checkpoint(checkpoint, logs, witnesses, subject)
