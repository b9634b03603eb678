"""The keys of a service: opened so that what is lost comes back, and told of as `/health` tells (which token, slot and key does not sign).

    log_key = log_key_of(home, enrolled, configuration)
    fares(requests.keys, log_key)

A worker that dies, hangs or loses its session is replaced (`keys/pool.py`), and a PIN that a token refused is not tried there again,
however often the service is started: the marks are in the folder `pins` of the configuration (A161).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sealwright.errors import UsageError
from sealwright.keys.backends import open_watched
from sealwright.keys.health import KeyHealth, WatchedKey
from sealwright.keys.pin import Pin, placed_pin
from sealwright.keys.pinmark import PinMarks
from sealwright.keys.uri import scheme_of
from sealwright.log.writer import LogWriter
from sealwright.service.config import Configuration, KeyEntry
from sealwright.service.wire import KeyFare
from sealwright.signing.desk import Desk
from sealwright.signing.home import EnrolledKey, Home
from sealwright.signing.wish import ServedKey


def log_key_of(home: Home, enrolled: EnrolledKey, configuration: Configuration) -> WatchedKey:
    """Open the key that signs checkpoints. Raises as `open_watched`."""
    return open_watched(
        home.uri(enrolled),
        _pin(configuration.log_pin_file),
        algorithm=enrolled.algorithm,
        expected=enrolled.public_key,
        marks=PinMarks(configuration.pins),
    )


def desk_of(
    home: Home,
    enrolled: EnrolledKey,
    entry: KeyEntry,
    configuration: Configuration,
    writer: LogWriter,
    clock: Callable[[], datetime],
) -> Desk:
    """Open a key in service. Raises as `open_watched`, UsageError for workers of a key that has none."""
    if entry.workers > 1 and scheme_of(home.uri(enrolled)) != "pkcs11":
        raise UsageError(
            configuration.path,
            f"[[key]] {entry.name}: it has {entry.workers} workers, and only keys in PKCS#11 tokens have any",
            "Leave `workers` out.",
        )
    marks = PinMarks(configuration.pins)
    return Desk(home, enrolled, _pin(entry.pin_file), writer, clock, workers=entry.workers, marks=marks)


def fares(served: Mapping[str, ServedKey], log_key: WatchedKey) -> list[KeyFare]:
    """How each key in service fares, and last the log's own one."""
    return [_fare(one.name, one.desk.health()) for one in served.values()] + [_fare("", log_key.health())]


def problems(served: Mapping[str, ServedKey], log_key: WatchedKey) -> list[str]:
    """Why something is not signed now, a clause for each key."""
    found = [f"key {one.name}: {one.desk.problem}" for one in served.values() if one.desk.problem]
    health = log_key.health()
    return [*found, f"the log's key: {health.why}"] if health.alarm else found


def _fare(name: str, one: KeyHealth) -> KeyFare:
    return KeyFare(
        name=name,
        key=one.key,
        token=one.place.token,
        serial=one.place.serial,
        slot=one.place.slot,
        state=one.state.value,
        since=one.since.isoformat(timespec="seconds"),
        why=one.why,
        workers=one.workers,
        wanted=one.wanted,
    )


def _pin(path: str) -> Pin | None:
    return placed_pin(path) if path else None
