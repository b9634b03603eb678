"""The keys of a service: opened so that what is lost comes back, and told of as `/health` tells (which token, slot and key does not sign).

    log_key = log_key_of(home, enrolled, configuration)
    fares(requests.keys, log_key)

A key in service may be absent, or its PIN be wrong: the others sign, and it comes when its token does or its PIN file was corrected
(`keys/standby.py`). The log's key must be there at the start: without it nothing can be recorded.
A worker that dies, hangs or loses its session is replaced (`keys/pool.py`), and a PIN that a token refused is not tried there again,
however often the service is started: the marks are in the folder `pins` of the configuration (A161).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum, auto
from functools import partial
from importlib.util import find_spec

from sealwright.errors import UsageError
from sealwright.keys.backends import open_watched
from sealwright.keys.health import KeyHealth, Place, WatchedKey
from sealwright.keys.key import KeyInfo
from sealwright.keys.pin import Pin, placed_pin
from sealwright.keys.pinmark import PinMarks
from sealwright.keys.standby import Promised, Standby
from sealwright.keys.uri import parse_pkcs11, scheme_of
from sealwright.log.writer import LogWriter
from sealwright.service.config import Configuration, KeyEntry
from sealwright.service.wire import KeyFare
from sealwright.signing.desk import Desk
from sealwright.signing.home import EnrolledKey, Home, KeyPurpose
from sealwright.signing.pipeline import check_provenance
from sealwright.signing.wish import ServedKey


class Opening(Enum):
    """What for: to serve, or to see whether it could, which awaits no key and records neither a start nor other policies."""

    SERVE = auto()
    CHECK = auto()


def served_key(home: Home, name: str) -> EnrolledKey:
    """A key that is named in the configuration: for artifacts, or for roles of a repository. UsageError where it is neither, or python-tuf,
    which reads the roles, is not installed."""
    of_roles = any((key.name, key.purpose) == (name, KeyPurpose.REPOSITORY) for key in home.keys)
    if of_roles and find_spec("tuf") is None:
        raise UsageError(
            f"key {name}",
            "it signs roles of a repository, and python-tuf is not installed",
            "Install it: pip install 'sealwright[service,release]'",
        )
    return home.key(name, KeyPurpose.REPOSITORY if of_roles else KeyPurpose.ARTIFACT)


def log_key_of(home: Home, enrolled: EnrolledKey, configuration: Configuration) -> WatchedKey:
    """Open the key that signs checkpoints. Raises as `open_watched`."""
    marks = PinMarks(configuration.pins)

    def opening(pin: Pin | None) -> WatchedKey:
        return open_watched(
            home.uri(enrolled), pin, algorithm=enrolled.algorithm, expected=enrolled.public_key, marks=marks
        )

    promised = _promised(home, enrolled, "the log's key", 1)
    return Standby.present(promised, opening, partial(_pin, configuration.log_pin_file))


def desk_of(
    home: Home,
    enrolled: EnrolledKey,
    entry: KeyEntry,
    configuration: Configuration,
    writer: LogWriter,
    clock: Callable[[], datetime],
    opening: Opening,
) -> Desk:
    """The desk of a key in service. Raises as `open_watched`, but to serve no KeyUnavailable; UsageError for workers of a key that has none."""
    if entry.workers > 1 and scheme_of(home.uri(enrolled)) != "pkcs11":
        raise UsageError(
            configuration.path,
            f"[[key]] {entry.name}: it has {entry.workers} workers, and only keys in PKCS#11 tokens have any",
            "Leave `workers` out.",
        )
    marks = PinMarks(configuration.pins)

    def opened(pin: Pin | None) -> WatchedKey:
        key = open_watched(
            home.uri(enrolled),
            pin,
            algorithm=enrolled.algorithm,
            expected=enrolled.public_key,
            construction=enrolled.construction,
            workers=entry.workers,
            marks=marks,
        )
        check_provenance(enrolled, key)
        return key

    begun = Standby.begin if opening is Opening.SERVE else Standby.present
    key = begun(_promised(home, enrolled, f"key {entry.name}", entry.workers), opened, partial(_pin, entry.pin_file))
    return Desk(home, enrolled, key, writer, clock)


def _promised(home: Home, enrolled: EnrolledKey, subject: str, workers: int) -> Promised:
    """What the home knows of a key that nobody has seen yet."""
    uri = home.uri(enrolled)
    place = Place(uri)
    if scheme_of(uri) == "pkcs11":
        token = parse_pkcs11(uri)
        place = Place(token.token, token.serial)
    info = KeyInfo(uri, enrolled.public_key, enrolled.algorithm, enrolled.provenance, uri)
    return Promised(subject, info, place, workers)


def timestamp_key_of(
    home: Home, enrolled: EnrolledKey, pin_file: str, configuration: Configuration, opening: Opening
) -> WatchedKey:
    """The key of a timestamp authority, which may be absent as those in service may."""
    marks = PinMarks(configuration.pins)

    def opened(pin: Pin | None) -> WatchedKey:
        return open_watched(
            home.uri(enrolled), pin, algorithm=enrolled.algorithm, expected=enrolled.public_key, marks=marks
        )

    begun = Standby.begin if opening is Opening.SERVE else Standby.present
    return begun(_promised(home, enrolled, "the timestamp key", 1), opened, partial(_pin, pin_file))


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
