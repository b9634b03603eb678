"""How far the journals of a home went, on one line: to write down, to print on a page, to send to somebody who keeps it.

    sealwright-home 1 id=4f1d2a… journal=128:9b0c… register=12:77ae… sum=5a1e09c3

Each part is the number of entries and the hash of the last line, which stands for every line before it. `id` is of the first
line of the main journal: two homes never share it, and a journal that a loss record opened has a new one. `sum` is for those
who type the line: a slip of the pen is told from a fork.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from sealwright.errors import JournalError, UsageError
from sealwright.log.canonical import MAX_LINE_BYTES
from sealwright.log.journal import FILE, START, end_of

WORD = "sealwright-home"
MAIN = "journal"
NAMES = (MAIN, "register", "timestamps")
ID_DIGITS = 32
MAX_CHARACTERS = 2000
_PART = re.compile(r"([a-z]+)=([0-9]{1,15}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class End:
    """The end of a journal. count: of its entries; last: SHA-256 of the last line in hexadecimal, `START` where there is none."""

    count: int
    last: str


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of a home's journals, by name."""

    id: str
    journals: Mapping[str, End]

    @property
    def line(self) -> str:
        """The line."""
        parts = [f"{name}={end.count}:{end.last}" for name, end in sorted(self.journals.items())]
        text = " ".join((WORD, "1", f"id={self.id}", *parts))
        return f"{text} sum={_sum(text)}"


def parse_ends(line: str) -> Ends:
    """Read the line; UsageError where it is none or was not copied rightly."""
    text = " ".join(line[:MAX_CHARACTERS].split())
    body, found, told = text.rpartition(" sum=")
    words = body.split(" ")
    if (
        not found
        or len(words) < 4
        or words[:2] != [WORD, "1"]
        or not re.fullmatch(rf"id=[0-9a-f]{{{ID_DIGITS}}}", words[2])
    ):
        raise UsageError(
            "checkpoint",
            "it is no line of `sealwright home checkpoint`",
            f"It begins with {WORD} 1 id= and ends in sum=",
        )
    parts = [_PART.fullmatch(word) for word in words[3:]]
    journals = {part[1]: End(int(part[2]), part[3]) for part in parts if part is not None}
    if told != _sum(body):
        raise UsageError("checkpoint", "it was not copied rightly: its sum is another", "Compare it letter by letter.")
    if len(journals) != len(parts) or set(journals) - set(NAMES) or MAIN not in journals:
        raise UsageError("checkpoint", "its journals are not ones that this version knows", "Use a newer version.")
    return Ends(words[2].removeprefix("id="), journals)


def ends_of(home: str) -> Ends:
    """How far the journals of a home went; JournalError where a last line is damaged."""
    journals = {}
    for name in NAMES:
        if os.path.lexists(path := os.path.join(home, name, FILE)):
            journals[name] = End(*end_of(path))
    return Ends(home_id(home), journals)


def home_id(home: str) -> str:
    """The id of a home's main journal; JournalError where it has none yet."""
    path = os.path.join(home, MAIN, FILE)
    try:
        with open(path, "rb") as lines:
            first = lines.readline(MAX_LINE_BYTES + 2)
    except OSError as cause:
        raise JournalError(path, f"it cannot be read ({cause.strerror})", "Is this a signing home?") from cause
    if not first.endswith(b"\n"):
        raise JournalError(path, "it has no entry yet", "Sign or enrol something first.")
    return sha256(first[:-1]).hexdigest()[:ID_DIGITS]


def hash_at(home: str, name: str, count: int) -> str | None:
    """The hash of the line that was the last when a journal had so many entries; None where it never had as many."""
    if count == 0:
        return START
    try:
        with open(os.path.join(home, name, FILE), "rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES + 2), b""), 1):
                if number == count:
                    return sha256(line.rstrip(b"\n")).hexdigest() if line.endswith(b"\n") else None
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise JournalError(os.path.join(home, name), f"it cannot be read ({cause.strerror})", "Check it.") from cause
    return None


def _sum(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
