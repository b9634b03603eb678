"""RFC 8785 JSON of what our records hold: one object of texts, whole numbers and lists of texts, its strict reader, and the form of its times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

Field = str | int | tuple[str, ...]
MAX_INTEGER = 2**53 - 1
MAX_LINE_BYTES = 64 * 1024
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def canonical_json(fields: Mapping[str, Field]) -> bytes:
    """The one encoding; ValueError for a number beyond 2**53-1 or a lone surrogate."""
    _check_numbers(fields)
    ordered = {name: list(value) if isinstance(value := fields[name], tuple) else value for name in _in_order(fields)}
    return _ENCODER.encode(ordered).encode()


def read_canonical(data: bytes) -> dict[str, Field]:
    """Read one object; ValueError for anything but its canonical form (duplicate keys, floats, depth, spaces)."""
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"{len(data)} bytes, at most {MAX_LINE_BYTES}")
    try:
        value = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse)
    except RecursionError as cause:
        raise ValueError("nested too deeply") from cause
    if not isinstance(value, dict):
        raise ValueError("not an object")
    fields: dict[str, Field] = {}
    for name, entry in value.items():
        if isinstance(entry, list) and all(isinstance(one, str) for one in entry):
            fields[name] = tuple(entry)
        elif isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
            fields[name] = entry
        else:
            raise ValueError(f"`{name}` is neither a text, a whole number nor a list of texts")
    _check_numbers(fields)
    if (
        list(fields) != _in_order(fields) or _ENCODER.encode(value).encode() != data
    ):  # a name that stands twice is missing here
        raise ValueError("not in canonical form")
    return fields


def _check_numbers(fields: Mapping[str, Field]) -> None:
    for value in fields.values():
        if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError(f"the number {value} has no exact JSON form")


def _in_order(fields: Mapping[str, Field]) -> list[str]:
    """RFC 8785 section 3.2.3: by UTF-16 code units, which for ASCII is the plain order."""
    if "".join(fields).isascii():
        return sorted(fields)
    return sorted(fields, key=lambda name: name.encode("utf-16-be"))


def time_text(time: datetime) -> str:
    """A time as our records write it, RFC 3339 in UTC to the second.

    Not by `strftime`, which writes years before 1000 with fewer digits than `read_time` reads.
    """
    return time.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def read_time(text: Field) -> datetime:
    """A time of our records; ValueError for anything else."""
    wanted = str(text)
    time = datetime.fromisoformat(wanted.removesuffix("Z")).replace(tzinfo=UTC)
    if time_text(time) != wanted:
        raise ValueError(f"{wanted[:40]!r} is no time in UTC to the second")
    return time


def _refuse(text: str) -> float:
    raise ValueError(f"{text[:40]} is not a whole number")
