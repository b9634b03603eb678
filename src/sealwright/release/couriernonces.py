"""Questions that wait for a courier: a nonce goes out, and what answers it was packed after it (A153).

    asked = ask(state, now, timedelta(days=30))         -> told to the sender, on any way
    claim(state, courier.answers, manifest, now)        -> one of them waits: from now on for this courier alone
    answered(state, courier.answers)                    -> used up

They lie in `asked.json` in the verifier's state folder, written atomically; each is good once and until its time. One that was claimed
stays for the same courier, so that a crash in between loses no answer. Times are judgement times, never before the verifier's floor.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import alone_in
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import MalformedTrust, UsageError
from sealwright.log.canonical import read_time, time_text
from sealwright.release.courier import checked_nonce

FILE = "asked.json"
MAX_BYTES = 1 << 20
MAX_WAITING = 1000
NONCE_OCTETS = 16


class Asked(NamedTuple):
    """A question. until: aware; by: the manifest of the courier that claims to answer it, None where none does yet."""

    until: datetime
    by: Digest | None


def ask(state: str, now: datetime, lasting: timedelta) -> str:
    """A new nonce, kept. UsageError where too many wait, OutputRefused, MalformedTrust for a damaged file."""
    with alone_in(state):
        kept = {nonce: one for nonce, one in _read(state).items() if one.until >= now}
        if len(kept) >= MAX_WAITING:
            raise UsageError(
                state, f"{MAX_WAITING} questions wait", "Unpack what answers them, or wait until they end."
            )
        nonce = secrets.token_hex(NONCE_OCTETS)
        _write(state, kept | {nonce: Asked(now + lasting, None)})
    return nonce


def claim(state: str, nonces: Iterable[str], manifest: Digest, now: datetime) -> bool:
    """Whether one of the nonces waits now and no other courier claims it; those are then this courier's, durable. Raises the same."""
    with alone_in(state):
        kept = _read(state)
        own = {
            nonce: Asked(one.until, manifest)
            for nonce in nonces
            if (one := kept.get(nonce)) is not None and one.until >= now and one.by in (None, manifest)
        }
        if own:
            _write(state, kept | own)
    return bool(own)


def answered(state: str, nonces: Iterable[str]) -> None:
    """They were answered: a second courier with the same answer is none."""
    with alone_in(state):
        kept = _read(state)
        left = {nonce: one for nonce, one in kept.items() if nonce not in {*nonces}}
        if left != kept:
            _write(state, left)


def _read(state: str) -> dict[str, Asked]:
    path = os.path.join(state, FILE)
    data = read_file_or_none(path, MAX_BYTES)
    if data is None:
        return {}
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("no object")
        return {checked_nonce(nonce): _asked(text) for nonce, text in value.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, UsageError) as cause:
        raise MalformedTrust(
            path, "what was asked is not readable", "Remove the file and ask again: nothing answers it any more."
        ) from cause


def _asked(text: str) -> Asked:
    until, _, by = text.partition(" ")
    return Asked(read_time(until), Digest.parse(by) if by else None)


def _write(state: str, questions: Mapping[str, Asked]) -> None:
    value = {
        nonce: f"{time_text(one.until)} {one.by}" if one.by is not None else time_text(one.until)
        for nonce, one in questions.items()
    }
    data = json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
    write_atomic(os.path.join(state, FILE), data, replace=Replace.YES)
