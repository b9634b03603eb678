"""Questions that wait for a courier: a nonce goes out, and what answers it was packed after it (A153).

    asked = ask(state, now, timedelta(days=30))         -> told to the sender, on any way
    waiting(state, now)                                 -> what a courier may answer
    answered(state, courier.answers)                    -> used up

They lie in `asked.json` in the verifier's state folder, written atomically; each is good once and until its time.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import MalformedTrust, UsageError
from sealwright.log.canonical import read_time, time_text
from sealwright.release.courier import checked_nonce

FILE = "asked.json"
MAX_BYTES = 1 << 20
MAX_WAITING = 1000
NONCE_OCTETS = 16


def ask(state: str, now: datetime, lasting: timedelta) -> str:
    """A new nonce, kept. UsageError where too many wait, OutputRefused, MalformedTrust for a damaged file."""
    kept = {nonce: until for nonce, until in _read(state).items() if until >= now}
    if len(kept) >= MAX_WAITING:
        raise UsageError(state, f"{MAX_WAITING} questions wait", "Unpack what answers them, or wait until they end.")
    nonce = secrets.token_hex(NONCE_OCTETS)
    _write(state, kept | {nonce: now + lasting})
    return nonce


def waiting(state: str, now: datetime) -> frozenset[str]:
    """The nonces that may be answered now."""
    return frozenset(nonce for nonce, until in _read(state).items() if until >= now)


def answered(state: str, nonces: Iterable[str]) -> None:
    """They were answered: a second courier with the same answer is none."""
    kept = _read(state)
    left = {nonce: until for nonce, until in kept.items() if nonce not in {*nonces}}
    if left != kept:
        _write(state, left)


def _read(state: str) -> dict[str, datetime]:
    path = os.path.join(state, FILE)
    data = read_file_or_none(path, MAX_BYTES)
    if data is None:
        return {}
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("no object")
        return {checked_nonce(nonce): read_time(until) for nonce, until in value.items()}
    except (ValueError, TypeError, RecursionError, UsageError) as cause:
        raise MalformedTrust(
            path, "what was asked is not readable", "Remove the file and ask again: nothing answers it any more."
        ) from cause


def _write(state: str, nonces: Mapping[str, datetime]) -> None:
    value = {nonce: time_text(until) for nonce, until in nonces.items()}
    data = json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
    write_atomic(os.path.join(state, FILE), data, replace=Replace.YES)
