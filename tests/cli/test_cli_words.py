"""The fixed words: one table, every placeholder filled where they are used, and plain ones for the person at the machine."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pytest

import sealwright
from sealwright.texts import TEXTS
from sealwright.texts.listing import LABELS
from sealwright.texts.text import Text
from sealwright.texts.words import WORDS, say

SOURCE = Path(sealwright.__file__).parent
CERTIFICATE_WORDS = re.compile(
    r"certificate|anchor|\bCA\b|\bCRL|\bOID|\bkey usage|SPKI|sha256|digest|intermediate|issuer|attribute", re.IGNORECASE
)
# About a machine, a token or a trust file: read by whoever signs and by officers, not at the line.
NOT_AT_THE_LINE = {"SW-KEY-REFUSED", "SW-KEY-UNAVAILABLE", "SW-USAGE"}


def placeholders(words: str) -> set[str]:
    """The names between braces."""
    return {name for _, name, _, _ in Formatter().parse(words) if name is not None}


class Use(NamedTuple):
    """A `say(...)` of the source: which names it may ask for, which placeholders it fills (None: by `**`)."""

    line: int
    name: re.Pattern[str]
    filled: set[str] | None


SPEAKERS = [path for path in sorted(SOURCE.rglob("*.py")) if "say(" in path.read_text()]


@cache
def uses(path: Path) -> list[Use]:
    """Each `say(...)` of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"):
            continue
        asked = node.args[0]
        if isinstance(asked, ast.Constant):
            name = re.escape(str(asked.value))
        else:
            assert isinstance(asked, ast.JoinedStr), f"{path}:{node.lineno}: say() wants a name that can be read here"
            name = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z]+" for part in asked.values
            )
        spread = any(keyword.arg is None for keyword in node.keywords)
        filled = None if spread else {str(keyword.arg) for keyword in node.keywords}
        found.append(Use(node.lineno, re.compile(name), filled))
    return found


@pytest.mark.parametrize("path", SPEAKERS, ids=[path.relative_to(SOURCE).as_posix() for path in SPEAKERS])
def test_every_sentence_of_a_file_gets_all_its_placeholders(path: Path) -> None:
    for use in uses(path):
        meant = [words for known, words in WORDS.items() if use.name.fullmatch(known)]
        assert meant, f"line {use.line}: no such words"
        if use.filled is not None:
            assert all(placeholders(words) == use.filled for words in meant), f"line {use.line}"


def test_no_words_are_left_that_nobody_says() -> None:
    said = {use.name for path in SPEAKERS for use in uses(path)}
    literal = {name.pattern.replace("\\", "") for name in said}
    assert [known for known in WORDS if known not in literal and not any(name.fullmatch(known) for name in said)] == []


@pytest.mark.parametrize("name", WORDS)
def test_words_are_printable_and_no_placeholder_is_nameless(name: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)+", name)
    assert WORDS[name].isprintable()
    assert all(re.fullmatch(r"[a-z]+", part) for part in placeholders(WORDS[name]))


def test_a_missing_placeholder_is_an_error_and_a_filled_one_is_not_read_again() -> None:
    assert say("verify.next", step="{contact}") == "Next: {contact}"
    with pytest.raises(KeyError):
        say("verify.next")


def test_every_fact_that_inspect_shows_has_its_label() -> None:
    used = set()
    for name in ("describe.py", "inspect.py", "recordfacts.py", "statementfacts.py"):
        for node in ast.walk(ast.parse((SOURCE / "cli" / name).read_text())):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
                used.add(node.elts[0].value)
    assert {name for name in used if isinstance(name, str) and name[0].isalpha()} == set(LABELS)


@pytest.mark.parametrize(("code", "text"), TEXTS.items(), ids=list(TEXTS))
def test_certificate_words_stay_behind_details(code: str, text: Text) -> None:
    assert placeholders(text.plain) <= {"subject", "wanted", "found"}
    assert not text.plain.endswith(".")
    if code not in NOT_AT_THE_LINE:
        for said in (text.plain or text.sentence, text.headline, text.next_step):
            assert not CERTIFICATE_WORDS.search(said), said
