"""Lines `sealwright-run: KEY = VALUE` in comments in front of a script's first command.

    -- sealwright-run: kind = sql
    -- sealwright-run: runs = 1
    select 1;

How a comment begins is the kind's own (`COMMENT`), so a line that is one to SQL says nothing to a shell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MARK = "sealwright-run:"
COMMENT = {
    "sh": "#",
    "bash": "#",
    "python": "#",
    "powershell": "#",
    "ansible": "#",
    "node": "//",
    "sql": "--",
}
_DOCUMENT_START = "---"  # playbooks begin with it, above or below their comments


class Unclear(ValueError):
    """A declaration that cannot be read; its text says where and why."""


class Marked(NamedTuple):
    """One such line. number: from 1."""

    number: int
    key: str
    value: str


def marked(text: str, comment: str) -> Iterator[Marked]:
    """The marked lines of a text whose comments begin so; Unclear for one behind the first command, or of another form."""
    in_front = True
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if number == 1 and stripped.startswith("#!"):
            continue
        if not stripped.startswith(comment):
            in_front = in_front and stripped in ("", _DOCUMENT_START)
            continue
        words = stripped[len(comment) :].lstrip(comment[0]).strip()
        if not words.lower().startswith(MARK[:-1]):
            continue
        if not in_front:
            raise Unclear(f"line {number}: it stands behind the first command")
        key, separator, value = words[len(MARK) :].partition("=")
        key, value = key.strip(), value.strip()
        if not words.startswith(MARK) or not separator or not value:
            raise Unclear(f"line {number}: `{MARK} KEY = VALUE`")
        yield Marked(number, key, value)


def said_kind(text: str) -> str | None:
    """The kind that a text says of itself in comments of that kind; None where it says none, or several."""
    said = {kind for comment in ("#", "//", "--") for kind in _kinds(text, comment) if COMMENT.get(kind) == comment}
    return said.pop() if len(said) == 1 else None


def _kinds(text: str, comment: str) -> list[str]:
    try:
        return [line.value for line in marked(text, comment) if line.key == "kind"]
    except Unclear:
        return []
