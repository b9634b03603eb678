"""What a verifier remembers between calls (`--state DIR`): floor, highest generation a product, newest trust version, and
the newest lists that take trust away (`deny.toml`, CRLs), so that an older one put in their place shows.

One JSON file, replaced atomically. It only grows: a lower floor, generation or version never replaces a higher one, also
where two processes write at once: each reads it again under a lock (`state.lock`) and adds what it learned. The one exception
is the floor, which officers may lower by a new trust file (`floor_lowered_in`), once. It is read
before the judgement and written after it; a state that cannot be read or written is an error, because a verifier that
forgets would accept what it refused yesterday. The folder has to be there: it is made once, by whoever sets the verifier up.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sealwright.artifact.source import read_file_or_none
from sealwright.errors import ChangedWhileRead, LimitExceeded, MalformedTrust, OutputRefused, UsageError
from sealwright.trust.times import Seen, moved

FILE = "state.json"
LOCK = "state.lock"
LOCK_WAIT_S = 20.0
MAX_STATE_BYTES = 16 << 20
_PARTS = frozenset(("floor", "generations", "trust", "lists", "permits"))


@dataclass(frozen=True, slots=True)
class State:
    """floor: newest proved time accepted; generations: by product; trust: highest version by trust file id.

    lists: highest version of the deny list by trust file and its version, and highest CRL number by issuer's key.
    permits: uses of permits (`permits.use_name`), with the time until which each counted, in seconds since 1970.
    """

    floor: datetime | None
    generations: Mapping[str, int]
    trust: Mapping[str, int]
    lists: Mapping[str, int] = field(default_factory=dict)
    permits: Mapping[str, int] = field(default_factory=dict)

    def after(
        self,
        seen: Collection[Seen],
        issued: datetime,
        expires: datetime,
        product: str | None,
        generation: int | None,
    ) -> State:
        """The state after an accepted judgement. seen: what its proofs show; issued: the trust file's, one source more."""
        start = issued if self.floor is None else self.floor
        floor, generations = moved(start, (*seen, Seen(issued, "the trust file")), expires), dict(self.generations)
        if product is not None and generation is not None:
            generations[product] = max(generation, generations.get(product, 0))
        return replace(self, floor=floor, generations=generations)

    def having_proved(self, product: str, generation: int) -> State:
        """The state once an installed generation has shown that it works."""
        return replace(
            self, generations={**self.generations, product: max(generation, self.generations.get(product, 0))}
        )

    def lowered(self, id_: str, lowered_in: int, issued: datetime) -> State:
        """The state where a trust file's officers took the floor back in a version that this verifier meets first."""
        known = self.trust.get(id_)
        if self.floor is None or known is None or known >= lowered_in:
            return self
        return replace(self, floor=min(self.floor, issued))

    def having_used(self, use: str, until: datetime) -> State:
        """The state after a permit was used: its nonce counts no second time for the same artifact."""
        return replace(self, permits=dict(self.permits) | {use: int(until.timestamp())})

    def having_seen(self, id_: str, version: int, lists: Mapping[str, int]) -> State:
        """The state after any judgement: what is signed and takes trust away counts whatever the verdict was."""
        trust = dict(self.trust) | {id_: max(version, self.trust.get(id_, 0))}
        seen = dict(self.lists) | {name: max(number, self.lists.get(name, 0)) for name, number in lists.items()}
        return replace(self, trust=trust, lists=seen)


NOTHING = State(None, {}, {})


def read_state(folder: str) -> State:
    """The state kept in a folder; NOTHING if it has none yet. UsageError where the folder is missing, MalformedTrust for what is no state."""
    import json  # only callers with a state folder pay for it

    _check_folder(folder)
    path = os.path.join(folder, FILE)
    data = _whole(path)
    if data is None:
        return NOTHING
    try:
        value = json.loads(data, object_pairs_hook=_once)
        if not isinstance(value, dict) or not set(value) <= _PARTS:
            raise ValueError(sorted(value))
        floor = datetime.fromisoformat(value["floor"]) if value["floor"] != "" else None
        if floor is not None and floor.utcoffset() is None:
            raise ValueError(floor)
        return State(
            floor.astimezone(UTC) if floor else None,
            _numbers(value["generations"]),
            _numbers(value["trust"]),
            _numbers(value.get("lists", {})),
            _numbers(value.get("permits", {})),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as cause:
        raise MalformedTrust(
            path, "the verifier's state is damaged", "Restore it from a backup; do not delete it."
        ) from cause


def _check_folder(folder: str) -> None:
    """A folder is never made: where one is not mounted, or was mistyped, a new one would forget what was refused."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(folder, "it is not a folder", "Name a folder of its own with --state.")
    if not os.path.isdir(folder):
        raise UsageError(
            folder,
            "there is no such folder, and a new one would remember nothing",
            "Make it once and keep it (mount it, where it is elsewhere), or name the one in use with --state.",
        )


def _whole(path: str) -> bytes | None:
    """The file's bytes. One that another verifier replaces just now is read again: the new one lies there whole."""
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return read_file_or_none(path, MAX_STATE_BYTES)
        except ChangedWhileRead:
            if time.monotonic() > until:
                raise


def _numbers(value: Mapping[str, object]) -> dict[str, int]:
    """Whole numbers from 0 by name, as `write_state` writes them."""
    numbers = {name: number for name, number in value.items() if type(number) is int and number >= 0}
    if len(numbers) != len(value):
        raise ValueError(value)
    return numbers


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys come once: of two readers one might take the first and one the last (A079)."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def update_state(folder: str, learn: Callable[[State], State]) -> State:
    """What is kept there now and what was learned, durable; OutputRefused or LimitExceeded if it cannot be."""
    _check_folder(folder)
    with _locked(folder):
        kept = read_state(folder)
        after = learn(kept)
        if after != kept:
            _write(folder, after)
    return after


def _write(folder: str, state: State) -> None:
    import json

    from sealwright.artifact.output import Replace, write_atomic  # a stateless verify writes nothing

    value = {
        "floor": state.floor.isoformat() if state.floor else "",
        "generations": dict(state.generations),
        "trust": dict(state.trust),
        "lists": dict(state.lists),
    }
    if state.permits:
        value["permits"] = dict(state.permits)
    path, data = os.path.join(folder, FILE), (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()
    if len(data) > MAX_STATE_BYTES:  # written, it could never be read again
        raise LimitExceeded(path, f"a state of {len(data)} bytes", f"At most {MAX_STATE_BYTES} are kept.")
    write_atomic(path, data, replace=Replace.YES)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """The lock of the folder, which ends with its holder; OutputRefused where somebody keeps it for too long."""
    path = os.path.join(folder, LOCK)
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o660)
    except OSError as cause:
        raise OutputRefused(
            path, f"it cannot be opened ({cause.strerror})", "Name another folder with --state."
        ) from cause
    try:
        end = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(descriptor, path):
            if time.monotonic() > end:
                raise OutputRefused(path, "another program keeps it locked", "Wait until that one has ended.")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, path: str) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        if cause.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise OutputRefused(
            path, f"it cannot be locked ({cause.strerror})", "Name another folder with --state."
        ) from cause
    return True
