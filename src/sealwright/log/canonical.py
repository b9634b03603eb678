"""RFC 8785 JSON of what our records hold: one object of texts, whole numbers and lists of texts, its strict reader, and the form of its times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring

Field = str | int | tuple[str, ...]
MAX_INTEGER = 2**53 - 1
MAX_LINE_BYTES = 64 * 1024
_TO_THE_SECOND = len("2026-11-26T12:00:00")


def _refuse(text: str) -> float:
    raise ValueError(f"{text[:40]} is not a whole number")


_DECODER = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse)


def canonical_json(fields: Mapping[str, Field]) -> bytes:
    """The one encoding; ValueError for a number beyond 2**53-1 or a lone surrogate."""
    values = [
        before + (encode_basestring(value) if (value := fields[name]).__class__ is str else _text(value))
        for name, before in _in_order(tuple(fields))
    ]
    return ("{" + ",".join(values) + "}").encode()


def read_canonical(data: bytes) -> dict[str, Field]:
    """Read one object; ValueError for anything but its canonical form (duplicate keys, floats, depth, spaces)."""
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"{len(data)} bytes, at most {MAX_LINE_BYTES}")
    try:
        value = _DECODER.decode(data.decode())
    except RecursionError as cause:
        raise ValueError("nested too deeply") from cause
    if not isinstance(value, dict):
        raise ValueError("not an object")
    fields: dict[str, Field] = {}
    for name, entry in value.items():
        if isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
            fields[name] = entry
        elif isinstance(entry, list) and all(isinstance(one, str) for one in entry):
            fields[name] = tuple(entry)
        else:
            raise ValueError(f"`{name}` is neither a text, a whole number nor a list of texts")
    if canonical_json(fields) != data:  # a name that stands twice is missing here
        raise ValueError("not in canonical form")
    return fields


def _text(value: Field) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError(f"the number {value} has no exact JSON form")
        return int.__repr__(value)
    return "[" + ",".join(map(encode_basestring, value)) + "]"


@lru_cache(maxsize=128)  # the same names stand in record after record
def _in_order(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Each name with what stands before its value. RFC 8785 section 3.2.3: by UTF-16 code units, which for ASCII is the plain order."""
    ordered = sorted(names) if "".join(names).isascii() else sorted(names, key=lambda name: name.encode("utf-16-be"))
    return tuple((name, encode_basestring(name) + ":") for name in ordered)


def time_text(time: datetime) -> str:
    """A time as our records write it, RFC 3339 in UTC to the second.

    Not by `strftime`, which writes years before 1000 with fewer digits than `read_time` reads.
    """
    at = time if time.tzinfo is UTC else time.astimezone(UTC)
    return at.isoformat()[:_TO_THE_SECOND] + "Z"


def read_time(text: Field) -> datetime:
    """A time of our records; ValueError for anything else."""
    wanted = str(text)
    time = datetime.fromisoformat(wanted.removesuffix("Z")).replace(tzinfo=UTC)
    if time_text(time) != wanted:
        raise ValueError(f"{wanted[:40]!r} is no time in UTC to the second")
    return time
