"""One table of a TOML file, read key by key: every key is typed and bounded, and a key nobody asked for is refused.

Errors name the section, the key, what is wanted and, for an unknown key, the one that was probably meant.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.errors import LimitExceeded, MalformedTrust, SealwrightError

MAX_TEXT = 400
MAX_ITEMS = 1000
MAX_NUMBER = 2**63 - 1
_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_ALIKE = frozenset(("LATIN", "CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE", "LISU"))
Value = object


class Complaint(NamedTuple):
    """What is raised for a file that is wrong. limit_bytes: the largest that is read; next_step: for the person who wrote it."""

    error: type[SealwrightError]
    limit_bytes: int
    next_step: str


TRUST = Complaint(MalformedTrust, 1 << 20, "Correct it and have the file signed again.")
MAX_DOTS = 100


def read_toml(data: bytes, subject: str, first_line: str, complaint: Complaint = TRUST) -> Section:
    """The top table of a TOML file of ours, whose first line names its kind and version."""
    if len(data) > complaint.limit_bytes:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {complaint.limit_bytes} are read.")
    if data.partition(b"\n")[0] != first_line.encode():
        raise complaint.error(
            subject, f"the first line is not `{first_line}`", "Check that this is the file you meant."
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise complaint.error(subject, f"byte {cause.start} is not UTF-8", complaint.next_step) from cause
    # tomllib takes the square of a dotted key's parts (an hour for 1 MiB of them), and a key lies on one line.
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS:
            raise LimitExceeded(
                subject, f"line {number} holds more than {MAX_DOTS} dots", "Break it into several lines."
            )
    try:
        return Section(tomllib.loads(text), "top", subject, complaint)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as cause:
        raise complaint.error(subject, f"it is not TOML: {cause}"[:300], complaint.next_step) from cause


class Section:
    """A table that is consumed; `done` refuses what is left. where: "[[rule]] firmware" in errors."""

    def __init__(self, table: dict[str, Value], where: str, subject: str, complaint: Complaint = TRUST) -> None:
        self.left = dict(table)
        self.asked: set[str] = set()
        self.where = where
        self.subject = subject
        self.complaint = complaint

    def wrong(self, key: str, wanted: str) -> SealwrightError:
        """The error for one key."""
        return self.complaint.error(self.subject, f"{self.where}: `{key}` must be {wanted}", self.complaint.next_step)

    def text(self, key: str, default: str | None = None) -> str:
        """A printable text; without a default it must be there."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or display(value) != value:
            raise self.wrong(key, f"a printable text of 1 to {MAX_TEXT} characters")
        return value

    def name(self, key: str) -> str:
        """A text by which other places call something: no space around it, and no letters of scripts that look alike mixed."""
        text = self.text(key)
        if text != text.strip():
            raise self.wrong(key, "a name without spaces around it")
        if not text.isascii() and len(_scripts(text)) > 1:
            raise self.wrong(key, "a name in letters of one script: " + " and ".join(sorted(_scripts(text))))
        return text

    def word(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(key, "one of " + ", ".join(f'"{choice}"' for choice in choices))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of different texts; () where it is absent."""
        found = self.listed(key)
        if len(set(found)) != len(found):
            raise self.wrong(key, "a list of different printable texts")
        return found

    def listed(self, key: str) -> tuple[str, ...]:
        """A list of texts that may come again; () where it is absent."""
        value = self._take(key)
        if value is None:
            return ()
        fine = (
            isinstance(value, list)
            and len(value) <= MAX_ITEMS
            and all(
                isinstance(one, str) and one.strip() and len(one) <= MAX_TEXT and display(one) == one for one in value
            )
        )
        if not fine or not isinstance(value, list) or not value:
            raise self.wrong(key, "a list of different printable texts")
        return tuple(value)

    def number(self, key: str, low: int, default: int | None = None) -> int:
        """A whole number from `low`."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= MAX_NUMBER:
            raise self.wrong(key, f"a whole number from {low}")
        return value

    def flag(self, key: str) -> bool:
        """true or false; false where it is absent."""
        value = self._take(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def time(self, key: str) -> datetime:
        """A date and time with a zone."""
        value = self.time_or_none(key)
        if value is None:
            raise self.wrong(key, "a date and time like 2026-11-01T12:00:00Z")
        return value

    def time_or_none(self, key: str) -> datetime | None:
        """The same, or None where it is absent."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None or not 1990 <= value.year <= 9000:
            raise self.wrong(key, "a date and time like 2026-11-01T12:00:00Z")
        return value.astimezone(UTC)

    def duration(self, key: str) -> timedelta | None:
        """A duration like "30d", "12h" or "15m"; None where it is absent."""
        value = self._take(key)
        return None if value is None else self._duration(key, value)

    def durations(self, key: str, names: tuple[str, ...]) -> dict[str, timedelta]:
        """A table of durations; {} where it is absent."""
        value = self._take(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not set(value) <= set(names):
            raise self.wrong(key, "a table of durations for " + ", ".join(names))
        return {name: self._duration(f"{key}.{name}", one) for name, one in value.items()}

    def digests(self, key: str) -> tuple[Digest, ...]:
        """Digests of keys or certificates, like "sha256:…": keys and certificates have no other name (RULES 2)."""
        return tuple(self._digest(key, text, (HashName.SHA256,)) for text in self.texts(key))

    def digest(self, key: str) -> Digest:
        """One digest of a key, certificate or file of ours."""
        return self._digest(key, self.text(key), (HashName.SHA256,))

    def artifact_digest(self, key: str) -> Digest:
        """One digest of an artifact, by any algorithm that signs one."""
        return self._digest(key, self.text(key), tuple(HashName))

    def raw(self, key: str) -> str | None:
        """A text that may hold line feeds (PEM); None where it is absent."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def value(self, key: str) -> Value | None:
        """Whatever stands there, for a reader with types of its own; None where it is absent."""
        return self._take(key)

    def number_or_text(self, key: str) -> int | str:
        """A whole number from 0, or a text that says one."""
        value = self.left.get(key)
        return self.text(key) if isinstance(value, str) else self.number(key, 0)

    def has(self, key: str) -> bool:
        """Whether a key is there; it is then expected to be read."""
        return key in self.left

    def table(self, key: str) -> Section:
        """A table that must be there."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.wrong(key, f"a table [{key}]")
        return Section(value, f"[{key}]", self.subject, self.complaint)

    def tables(self, key: str, where: str | None = None) -> Iterator[Section]:
        """An array of tables; empty where it is absent."""
        value = self._take(key)
        if value is None:
            return
        if not isinstance(value, list) or len(value) > MAX_ITEMS or not all(isinstance(one, dict) for one in value):
            raise self.wrong(key, f"an array of tables [[{key}]]")
        for number, one in enumerate(value, 1):
            yield Section(one, f"[[{where or key}]] {number}", self.subject, self.complaint)

    def items(self) -> Iterator[tuple[str, Value]]:
        """Every key left, for a section whose keys are names."""
        for key in list(self.left):
            yield key, self._take(key)

    def done(self) -> None:
        """Refuse a key that was not asked for."""
        if not self.left:
            return
        import difflib  # only for an error

        key = min(self.left)
        near = difflib.get_close_matches(key, self.asked, n=1)
        meant = f"; did you mean `{near[0]}`?" if near else ""
        raise self.complaint.error(
            self.subject, f"{self.where}: unknown key `{display(key)}`{meant}", "Correct or remove it."
        )

    def each(self, key: str, read: Callable[[Section], object]) -> tuple[object, ...]:
        """Read every table of an array and refuse their unknown keys."""
        found = []
        for section in self.tables(key):
            found.append(read(section))
            section.done()
        return tuple(found)

    def _take(self, key: str) -> Value | None:
        self.asked.add(key)
        return self.left.pop(key, None)

    def _digest(self, key: str, text: str, algorithms: tuple[HashName, ...]) -> Digest:
        try:
            found = Digest.parse(text)
            if found.algorithm not in algorithms:
                raise ValueError(found.algorithm)
        except ValueError as cause:
            raise self.wrong(key, 'a digest like "sha256:" and 64 lower-case hexadecimal digits') from cause
        return found

    def _duration(self, key: str, value: Value) -> timedelta:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise self.wrong(key, 'a duration like "30d", "12h" or "15m"')
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _scripts(text: str) -> set[str]:
    """The scripts in a text whose letters are taken for each other's."""
    return {unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha()} & _ALIKE
