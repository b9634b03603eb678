"""Witnesses, both ways: what is asked of one, what one answers, and what it never signs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from kit.logs import tree_hash
from kit.writtenlogs import AT, SoftSigner, sqlite_url, written
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import LogRefused, LogRewound, OutputRefused, WitnessRefused
from sealwright.log import witness as subject
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint
from sealwright.log.merkle import EMPTY_ROOT, leaf_hash
from sealwright.log.note import sign_checkpoint
from sealwright.log.proof import check_proof, read_proof
from sealwright.log.tree import TiledTree, consistency_path
from sealwright.log.witness import PLAIN, SIZE_TYPE, Answer, Asked, Witness, ask_witness, keep_cosigned, question

LOG = SoftSigner.make("log.example/7")
OURS = SoftSigner.make("w1.example", NoteType.WITNESS)


def leaves(size: int, other: str = "") -> list[bytes]:
    """The log's own, or with another last one."""
    return [b"leaf %d" % number for number in range(size - bool(other))] + [other.encode()] * bool(other)


def root(size: int, other: str = "") -> bytes:
    return tree_hash(leaves(size, other)) if size else EMPTY_ROOT


def proof(old: int, size: int, other: str = "") -> tuple[bytes, ...]:
    hashes = [leaf_hash(one) for one in leaves(size, other)]
    return consistency_path(TiledTree(lambda *_: hashes), old, size)


def note(size: int, other: str = "", signer: SoftSigner = LOG) -> str:
    return sign_checkpoint(size, root(size, other), signer)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    folder = tmp_path / "witness"
    folder.mkdir()
    return Witness(str(folder), OURS, {LOG.key.name: [LOG.key]})


def asked(witness: Witness, old: int, size: int, other: str = "") -> Answer:
    return witness.add_checkpoint(question(old, proof(old, size, other), note(size, other)), AT)


def test_a_log_that_grows_is_cosigned_at_every_step(witness: Witness) -> None:
    last = 0
    for size in (0, 1, 1, 7, 8, 200):
        answer = asked(witness, last, size)
        assert (answer.status, answer.type) == (200, PLAIN), answer
        seen = read_checkpoint(note(size) + answer.body.decode(), "note")
        assert check_checkpoint(seen, [LOG.key], [OURS.key], "note").times == {"w1.example": AT}
        last = size
    kept = witness.checkpoint(hashlib.sha256(b"log.example/7").hexdigest())
    assert kept == (note(200) + answer.body.decode()).encode()
    assert witness.checkpoint(hashlib.sha256(b"other").hexdigest()) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (lambda: b"", 400),
        (lambda: b"\xff", 400),
        (lambda: question(0, (), note(5))[:-1], 400),
        (lambda: question(0, (), note(5)).replace(b"old 0", b"old 00"), 400),
        (lambda: question(0, (), note(5)).replace(b"old 0", b"old -1"), 400),
        (lambda: question(0, (), note(5)).replace(b"old 0", b"Old 0"), 400),
        (lambda: question(0, [bytes(32)] * 64, note(5)), 400),
        (lambda: question(0, (), note(5)) + b"x" * 200_000, 400),
        (lambda: question(6, (), note(5)), 400),
        (lambda: question(0, (), note(5, signer=SoftSigner.make("log.example/8"))), 404),
        (lambda: question(0, (), note(5, signer=SoftSigner.make("log.example/7"))), 403),
        (lambda: question(0, (), note(5).replace("\n5\n", "\n6\n")), 403),
        (lambda: question(0, [bytes(32)], note(5)), 422),
        (lambda: question(0, (), sign_checkpoint(0, bytes(32), LOG)), 422),
        (lambda: question(3, proof(3, 5), note(5)), 409),
        (lambda: question(0, (), note(5)), 200),
    ],
)
def test_questions_are_answered_as_the_protocol_says(witness: Witness, body: Callable[[], bytes], status: int) -> None:
    answer = witness.add_checkpoint(body(), AT)
    assert answer.status == status, answer
    if status == 409:
        assert (answer.type, answer.body) == (SIZE_TYPE, b"0\n")
    assert (witness.checkpoint(hashlib.sha256(b"log.example/7").hexdigest()) is None) is (status != 200)


def test_an_older_size_is_refused_and_the_newest_stays(witness: Witness) -> None:
    assert asked(witness, 0, 9).status == 200
    assert (asked(witness, 0, 5).status, asked(witness, 5, 5).status) == (409, 409)
    assert witness.add_checkpoint(question(9, (), note(5)), AT).status == 400
    assert asked(witness, 0, 5).body == b"9\n"
    assert asked(witness, 9, 12).status == 200


def test_a_fork_is_never_cosigned_and_both_sides_are_kept(witness: Witness) -> None:
    assert asked(witness, 0, 9).status == 200
    before = witness.checkpoint(hashlib.sha256(b"log.example/7").hexdigest())
    assert asked(witness, 9, 9, other="x").status == 422
    assert witness.add_checkpoint(question(9, proof(9, 12), note(12, "another")), AT).status == 422
    assert witness.add_checkpoint(question(9, (), note(13)), AT).status == 422
    kept = sorted(Path(witness.folder, "evidence").iterdir())
    assert len(kept) == 3
    for one in kept:
        text = one.read_bytes()
        assert before is not None
        assert before in text
        assert b"asked to cosign:" in text
    assert witness.checkpoint(hashlib.sha256(b"log.example/7").hexdigest()) == before
    for _ in range(5):  # the same again fills no disk
        asked(witness, 9, 9, other="x")
    assert len(list(Path(witness.folder, "evidence").iterdir())) == 3
    assert asked(witness, 9, 12).status == 200


def test_a136_questions_without_a_proof_use_up_no_room_for_forks(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who has checkpoints of a log can ask about them with hashes that lead nowhere."""
    monkeypatch.setattr(subject, "MAX_EVIDENCE", 3)
    assert asked(witness, 0, 9).status == 200
    folder = Path(witness.folder, "evidence")
    for size in range(10, 20):
        assert witness.add_checkpoint(question(9, (b"x" * 32,), note(size)), AT).status == 422
    assert len(list(folder.iterdir())) == 3
    newest = sorted(one.read_bytes().partition(b"asked to cosign:")[2].split(b"\n")[6] for one in folder.iterdir())
    assert newest == [b"17", b"18", b"19"]
    assert asked(witness, 9, 9, other="x").status == 422
    (fork,) = folder.glob("*.fork.txt")
    assert note(9, "x").encode() in fork.read_bytes()
    assert asked(witness, 9, 12).status == 200


def test_a_witness_remembers_over_a_restart_and_uses_no_damaged_state(witness: Witness) -> None:
    assert asked(witness, 0, 9).status == 200
    again = Witness(witness.folder, OURS, {LOG.key.name: [LOG.key]})
    assert asked(again, 0, 9).body == b"9\n"
    path = Path(witness.folder, hashlib.sha256(b"log.example/7").hexdigest() + ".checkpoint")
    good = path.read_bytes()
    for wrong in (b"", note(20).encode(), good.replace(b"\n9\n", b"\n8\n"), b"\xff"):
        path.write_bytes(wrong)
        with pytest.raises(LogRefused):
            asked(again, 9, 12)
    path.write_bytes(good)
    assert asked(again, 9, 12).status == 200


def test_a_state_that_cannot_be_written_lets_no_cosignature_out(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputRefused("state", "the disk is full", "Make room.")

    monkeypatch.setattr("sealwright.log.witness.write_atomic", full)
    with pytest.raises(OutputRefused):
        asked(witness, 0, 9)
    monkeypatch.undo()
    assert asked(witness, 0, 5).status == 200


def test_of_two_who_ask_at_once_one_waits_and_none_goes_back(witness: Witness) -> None:
    answers: list[int] = []

    def ask(size: int) -> None:
        answers.append(asked(witness, 0, size).status)

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(1, 20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(answers) == [200] + [409] * 18


# our log asks


def posted(witness: Witness, sent: list[bytes] | None = None) -> Callable[[str, bytes], Answer]:
    def post(url: str, body: bytes) -> Answer:
        assert url == "https://w1.example/add-checkpoint"
        if sent is not None:
            sent.append(body)
        return witness.add_checkpoint(body, AT)

    return post


ASKED = Asked("https://w1.example/", OURS.key)


def test_our_log_gets_a_cosignature_and_its_proofs_carry_it(witness: Witness, tmp_path: Path) -> None:
    with written(sqlite_url(tmp_path), LOG, [b"entry %d" % at for at in range(300)]) as log:
        head, sent = log.head(), list[bytes]()
        got = ask_witness(ASKED, head.note, 0, log.consistency, posted(witness, sent))
        assert (got.size, len(sent)) == (300, 1)
        keep_cosigned(log.store, head.note + got.line)
        proof = read_proof(log.proof(7), "proof")
        assert check_proof(proof, b"entry 7", [LOG.key], [OURS.key], "proof").times == {"w1.example": AT}
    with written(sqlite_url(tmp_path), LOG, [b"entry %d" % at for at in range(300, 400)]) as log:
        later = read_proof(log.proof(399), "proof")
        assert (later.checkpoint.size, len(later.checkpoint.signatures)) == (400, 1)
        assert read_proof(log.proof(7), "proof").checkpoint.size == 300
        keep_cosigned(log.store, head.note + got.line)
        sent.clear()
        again = ask_witness(ASKED, log.head().note, 0, log.consistency, posted(witness, sent))
        assert len(sent) == 2  # the first with a size that the witness corrected
        keep_cosigned(log.store, log.head().note + again.line)
        keep_cosigned(log.store, head.note + got.line)  # an older one changes nothing
        assert read_proof(log.proof(7), "proof").checkpoint.size == 400


def test_a_witness_that_has_seen_more_shows_that_a_backup_was_restored(witness: Witness, tmp_path: Path) -> None:
    assert asked(witness, 0, 350).status == 200
    with (
        written(sqlite_url(tmp_path), LOG, leaves(300)) as log,
        pytest.raises(LogRewound, match="has seen 350 entries, and there are 300"),
    ):
        ask_witness(ASKED, log.head().note, 0, log.consistency, posted(witness))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, PLAIN, b""),
        Answer(200, PLAIN, b"nonsense\n"),
        Answer(200, PLAIN, b"\xff"),
        Answer(200, PLAIN, "— other.example AAAAAAAA\n".encode()),
        Answer(200, PLAIN, f"— w1.example {'A' * 8}\n".encode()),
        Answer(409, PLAIN, b"5\n"),
        Answer(409, SIZE_TYPE, b"5"),
        Answer(409, SIZE_TYPE, b"05\n"),
        Answer(409, SIZE_TYPE, b"2\n"),
        Answer(422, PLAIN, b"no\x1b[31m"),
        Answer(500, PLAIN, b""),
        Answer(301, PLAIN, b""),
    ],
)
def test_what_is_no_cosignature_is_none(answer: Answer) -> None:
    with pytest.raises(WitnessRefused):
        ask_witness(ASKED, note(5), 0, proof, lambda *_: answer)


def test_a_cosignature_of_another_tree_or_without_a_time_is_none(witness: Witness) -> None:
    assert asked(witness, 0, 4).status == 200
    other = asked(witness, 4, 4)
    with pytest.raises(WitnessRefused, match="does not hold"):
        ask_witness(ASKED, note(5), 0, proof, lambda *_: other)
    zero = Witness(witness.folder, OURS, {LOG.key.name: [LOG.key]}).add_checkpoint(
        question(4, proof(4, 5), note(5)), AT - timedelta(seconds=AT.timestamp())
    )
    with pytest.raises(WitnessRefused, match="no cosignature"):
        ask_witness(ASKED, note(5), 0, proof, lambda *_: zero)


def test_a_witness_that_cannot_be_reached_is_named() -> None:
    def away(*_: object) -> Answer:
        raise OSError("no route to host")

    with pytest.raises(WitnessRefused, match="no route"):
        ask_witness(ASKED, note(5), 0, proof, away)
