"""`serve signing --check`: every part that a configuration names, each looked at by itself, so that all that is wrong is told at once.

    for cause in wrong_parts(configuration, now): ...

What is found here is found without a log being written or a key being used; what opens all of it together comes after (`signing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from sealwright.envelope.kinds import CHECKPOINT
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import SealwrightError
from sealwright.keys.pin import credential_path, placed_pin
from sealwright.log.headfile import read_head_file
from sealwright.log.note import verifier_key
from sealwright.service.config import Configuration
from sealwright.service.identity import PeopleFile
from sealwright.service.keyfare import served_key
from sealwright.service.stamping import TimestampsEntry, timestamp_key
from sealwright.service.tls import TlsDoor
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.policy import load_policies


def wrong_parts(configuration: Configuration, now: Callable[[], datetime]) -> list[SealwrightError]:
    """What refuses, each with its next step; [] where every part can be used by itself."""
    return [cause for look in _looks(configuration, now) if (cause := _refusal(look)) is not None]


def _looks(configuration: Configuration, now: Callable[[], datetime]) -> Iterator[Callable[[], object]]:
    yield PeopleFile(configuration.people).current
    yield lambda: load_policies(configuration.policies)
    yield lambda: TlsDoor(replace(configuration.tls, key=credential_path(configuration.tls.key)), now)
    yield lambda: _check_log_key(configuration)
    for entry in configuration.keys:
        yield partial(_check_key, configuration.home, entry.name)
    if configuration.timestamps is not None:
        yield partial(_check_timestamps, configuration.home, configuration.timestamps)
    for place in {
        configuration.timestamps.pin_file if configuration.timestamps else "",
        configuration.log_pin_file,
        *(entry.pin_file for entry in configuration.keys),
    } - {""}:
        yield partial(placed_pin, place)


def _check_key(home: str, name: str) -> None:
    served_key(open_home(home), name)


def _check_timestamps(home: str, entry: TimestampsEntry) -> None:
    timestamp_key(open_home(home), entry)


def _check_log_key(configuration: Configuration) -> None:
    enrolled = open_home(configuration.home).key(configuration.log_key or None, KeyPurpose.LOG, CHECKPOINT)
    key = verifier_key(configuration.origin, NoteType.LOG, enrolled.public_key)
    if configuration.head:
        read_head_file(configuration.head, key)


def _refusal(look: Callable[[], object]) -> SealwrightError | None:
    try:
        look()
    except SealwrightError as cause:
        return cause
    return None
