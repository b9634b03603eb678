"""What a witness that others wrote answers to our questions (litewitness; `vectors/litewitness.py` made the file): ours answers the same, and our log reads it."""

from __future__ import annotations

import base64
import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from kit.writtenlogs import AT, SoftSigner
from sealwright.envelope.verifierkey import NoteType, parse_verifier_key
from sealwright.errors import WitnessRefused
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint
from sealwright.log.witness import Answer, Asked, Witness, ask_witness

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "litewitness.json").read_text())
LOG = parse_verifier_key(VECTORS["log"], NoteType.LOG)
THEIRS = parse_verifier_key(VECTORS["witness"], NoteType.WITNESS)
ASKED = [
    (
        one["case"],
        base64.b64decode(one["question"]),
        Answer(one["status"], one["type"], base64.b64decode(one["answer"])),
    )
    for one in VECTORS["asked"]
]


def test_our_witness_answers_each_question_with_the_same_status(tmp_path: Path) -> None:
    ours = Witness(str(tmp_path), SoftSigner.make("ours.example", NoteType.WITNESS), {LOG.name: [LOG]})
    said = [(case, ours.add_checkpoint(question, AT)) for case, question, _ in ASKED]
    assert [(case, one.status) for case, one in said] == [(case, one.status) for case, _, one in ASKED]
    assert {one.status for _, one in said} == {200, 400, 403, 404, 409, 422}
    for (_, mine), (_, _, theirs) in zip(said, ASKED, strict=True):
        if mine.status == 409:
            assert (mine.type, mine.body) == (theirs.type, theirs.body)


@pytest.mark.parametrize("number", [at for at, one in enumerate(ASKED) if one[2].status == 200])
def test_our_log_takes_their_cosignatures_and_no_other_answer(number: int) -> None:
    _, question, answer = ASKED[number]
    note = question.decode().partition("\n\n")[2]
    answers = deque([answer])
    got = ask_witness(Asked("https://w", THEIRS), note, 0, lambda *_: (), lambda *_: answers.popleft())
    seen = check_checkpoint(read_checkpoint(note + got.line, "note"), [LOG], [THEIRS], "note")
    assert list(seen.times) == ["litewitness.example/w"]
    for _, _, wrong in ASKED:
        if wrong.status not in (200, 409):
            with pytest.raises(WitnessRefused):
                ask_witness(Asked("https://w", THEIRS), note, 0, lambda *_: (), lambda *_, w=wrong: w)  # type: ignore[misc]
