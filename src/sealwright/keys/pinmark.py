"""A wrong PIN is tried once, also across restarts: a mark is durable before a token sees the PIN, and goes when the token took it (A161).

    marks = PinMarks("/var/lib/sealwright/pins")
    with marks.trying("line-1 4f1c…", pin): ...log in...

1. The mark is written and synced before the login. A token that took the PIN clears it.
2. A token that refused the PIN leaves it: this PIN is not tried there again by any process, however often a service is restarted. Another
   PIN is; so is this one when the mark's file was removed, which the refusal names.
3. A login that ended in nothing (the worker crashed or hung) may have cost a try. `BROKEN_OFF` of them are risked, no more.
   Each of the PINs that were tried since the last good login has its mark, so that two wrong ones do not take turns; beyond `MAX_MARKS` none is tried.
4. The mark holds a salted, slow digest of the PIN, readable by its owner alone, who can read the PIN anyway: a file's time would change
   whenever the service manager hands the same wrong PIN over anew.
One process at a time tries PINs on one token; the others wait for the lock, and then read the mark.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import KeyUnavailable, PinRefused, SealwrightError
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11_process import WorkerLost

BROKEN_OFF = 2
MAX_MARKS = 8
MAX_MARK_BYTES = 4096
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "maxmem": 64 << 20, "dklen": 32}


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one PIN at one token. broken_off: logins that ended in nothing; refused: when the token said no, "" if never."""

    salt: bytes
    digest: bytes
    broken_off: int
    refused: str

    def is_of(self, pin: Pin) -> bool:
        """Whether it is about this PIN."""
        return hmac.compare_digest(self.digest, _digest(pin, self.salt))


class PinMarks:
    """The marks in one folder. Safe for threads and processes: each token has a lock file."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @contextmanager
    def trying(self, token: str, pin: Pin | None) -> Iterator[None]:
        """Around one login. PinRefused, before anything is tried, for a PIN that this token refused already."""
        if pin is None:
            yield
            return
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except OSError as cause:
            raise _unwritable(self.folder, cause) from cause
        path = os.path.join(self.folder, f"{hashlib.sha256(token.encode()).hexdigest()[:24]}.pin")
        with _locked(path + ".lock"):
            marks = read_marks(path)
            before = next((one for one in marks if one.is_of(pin)), None)
            others = tuple(one for one in marks if one is not before)
            _refuse_marked(token, path, before, len(others))
            salt = secrets.token_bytes(16)
            trying = Mark(salt, _digest(pin, salt), (before.broken_off if before else 0) + 1, "")
            write_marks(path, (*others, trying))
            try:
                yield
            except PinRefused:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                write_marks(path, (*others, replace(trying, refused=now)))
                raise
            except SealwrightError as cause:
                if not isinstance(cause.__cause__, WorkerLost):  # an answer: the PIN was taken, or not asked for
                    _restore(path, others)
                raise
            _clear(path)


def read_marks(path: str) -> tuple[Mark, ...]:
    """The marks of one token; KeyUnavailable for a file that cannot be read, so that nothing is tried."""
    data = read_file_or_none(path, MAX_MARK_BYTES)
    if data is None:
        return ()
    try:
        value = json.loads(data)
        return tuple(
            Mark(bytes.fromhex(one["salt"]), bytes.fromhex(one["digest"]), int(one["broken_off"]), str(one["refused"]))
            for one in value["marks"]
        )
    except (ValueError, KeyError, TypeError) as cause:
        raise KeyUnavailable(
            path, "the mark of a tried PIN is damaged", "If the PIN is right, remove this file."
        ) from cause


def write_marks(path: str, marks: Sequence[Mark]) -> None:
    """Durable before it returns."""
    value = {
        "about": "PINs that were tried and not yet taken; remove this file to have them tried again",
        "marks": [
            {
                "salt": one.salt.hex(),
                "digest": one.digest.hex(),
                "broken_off": one.broken_off,
                "refused": one.refused,
            }
            for one in marks
        ],
    }
    write_atomic(path, json.dumps(value, indent=1).encode() + b"\n", replace=Replace.YES, mode=0o600)


def _refuse_marked(token: str, path: str, mark: Mark | None, others: int) -> None:
    if mark is None:
        if others >= MAX_MARKS:
            raise PinRefused(
                f"token {token}",
                f"{others} different PINs were tried since it took one, and no more are",
                f"Look with the token's own tool how many tries are left, then remove {path}",
            )
        return
    if mark.refused:
        raise PinRefused(
            f"token {token}",
            f"it refused this PIN on {mark.refused}, and it is not tried again",
            f"Correct the PIN. If the token's was changed to this one, remove {path}",
        )
    if mark.broken_off >= BROKEN_OFF:
        raise PinRefused(
            f"token {token}",
            f"{mark.broken_off} logins with this PIN were broken off, each may have cost a try, and no more are risked",
            f"Look with the token's own tool how many tries are left, then remove {path}",
        )


def _digest(pin: Pin, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.reveal().encode(), salt=salt, **_SCRYPT)


def _restore(path: str, marks: Sequence[Mark]) -> None:
    if marks:
        write_marks(path, marks)
    else:
        _clear(path)


def _clear(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _unwritable(path: str, cause: OSError) -> KeyUnavailable:
    return KeyUnavailable(
        path,
        f"a PIN that was tried cannot be remembered there ({cause.strerror}), so none is tried",
        "Make the folder writable for this user, or name another one.",
    )


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """One process and thread at a time: each opens the lock file anew."""
    if sys.platform == "win32":
        raise KeyUnavailable(path, "keys in tokens are not used on Windows yet", "Sign on Linux.")
    import fcntl  # not everywhere

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as cause:
        raise _unwritable(path, cause) from cause
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
