"""What the plant's two statements about an artifact have in common: persons, texts, times and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sealwright.artifact.names import display
from sealwright.artifact.sums import Lines, time_text
from sealwright.errors import LimitExceeded

T = TypeVar("T")
# an id becomes part of a file's name
_PERSON = re.compile(r"[A-Za-z0-9@+_][A-Za-z0-9_.@+-]{0,63}")

MAX_LONG_TEXT = 500  # a link to a download is longer than a name


def check_size(data: bytes, limit_bytes: int, subject: str) -> None:
    """LimitExceeded for a text that is longer than it may be."""
    if len(data) > limit_bytes:
        raise LimitExceeded(subject, f"a text of {len(data)} bytes", f"At most {limit_bytes} bytes are read.")


def is_person(text: str) -> bool:
    """Whether it can be the id of a person who signs statements: 1 to 64 letters, digits and `_.@+-`."""
    return _PERSON.fullmatch(text) is not None


def person_of(lines: Lines, encoded: bytes) -> str:
    """A person id."""
    person = lines.text(encoded)
    if not is_person(person):
        raise lines.wrong(f"{display(person[:70])} is no person id: 1 to 64 letters, digits and `_.@+-`")
    return person


def long_text(lines: Lines, encoded: bytes) -> str:
    """A printable text of 1 to 500 characters: a link, a reason."""
    return lines.text(encoded, MAX_LONG_TEXT)


def sorted_texts(lines: Lines, prefix: bytes, most: int) -> tuple[str, ...]:
    """The texts of the lines with a prefix, sorted, each once."""
    texts = at_most(lines.group(prefix, lines.text), most, lines)
    if list(texts) != sorted(set(texts)):
        raise lines.wrong(f"the lines `{prefix.decode().strip()}` are not sorted or repeat one")
    return texts


def at_most(values: Iterator[T], most: int, lines: Lines) -> tuple[T, ...]:
    """The values of a group of lines; MalformedArtifact where there are too many, of which no more are read."""
    found = tuple(islice(values, most + 1))
    if len(found) > most:
        raise lines.wrong(f"more than {most} of these lines")
    return found


def field(name: str, value: bytes) -> list[bytes]:
    """One `#!` line."""
    return [b"#! ", name.encode(), b" ", value, b"\n"]


def time_field(name: str, moment: datetime | None) -> list[bytes]:
    """The same for a time that may be missing."""
    return [] if moment is None else field(name, time_text(moment))
