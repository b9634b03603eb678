"""The table of sentences: complete for errors, consistent for printing."""

from __future__ import annotations

import re

import pytest

from sealwright import errors
from sealwright.texts import TEXTS, artifact, certificates, envelope, keys, trust, verdicts
from sealwright.texts import errors as error_texts
from sealwright.texts.text import Text

TABLES = (verdicts, artifact, envelope, certificates, trust, keys, error_texts)


def _kinds(kind: type[errors.SealwrightError]) -> list[type[errors.SealwrightError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _kinds(below))]


@pytest.mark.parametrize("kind", _kinds(errors.SealwrightError), ids=lambda kind: kind.__name__)
def test_every_error_can_become_a_finding_with_a_sentence(kind: type[errors.SealwrightError]) -> None:
    text = TEXTS[kind.code]
    assert "{subject}" in text.sentence
    assert "{found}" in text.sentence


def test_no_code_has_two_sentences() -> None:
    codes = [code for table in TABLES for code in table.TEXTS]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize(("code", "text"), TEXTS.items(), ids=list(TEXTS))
def test_a_text_is_one_sentence_a_next_step_and_a_clause(code: str, text: Text) -> None:
    assert re.fullmatch(r"SW-[A-Z]+(-[A-Z]+)*", code)
    for part in (text.sentence, text.next_step, text.headline):
        assert set(re.findall(r"\{(\w+)\}", part)) <= {"subject", "wanted", "found"}
        assert part.isprintable()
    assert not text.sentence.endswith(".")
    assert text.next_step.endswith(".")
    assert not text.headline.endswith(".")
    assert "{" not in text.headline
