"""Log proofs read and checked: those of others as they are, ours as C2SP writes them, and nothing that is only nearly one.

vectors/merkle-inclusion.json: the inclusion tests of transparency-dev/merkle (commit 417fb0c3, Apache-2.0) in one file;
vectors/oak-test.tlog-proof: a proof with a witness of project-oak/oak (commit 578b9511, Apache-2.0), its keys and entry below.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.logs import DASH, WITNESS, NoteSigner, tlog_proof, tree_hash, tree_path
from kit.pki import HOUR, NOW
from sealwright.envelope.verifierkey import NoteType, VerifierKey, parse_verifier_key
from sealwright.errors import BadSignature, LimitExceeded, MalformedEnvelope, SealwrightError
from sealwright.log.checkpoint import Witnessed
from sealwright.log.merkle import leaf_hash, root_of
from sealwright.log.proof import MAX_PROOF_BYTES, check_proof, read_proof

VECTORS = Path(__file__).parent / "vectors"
OAK = (VECTORS / "oak-test.tlog-proof").read_bytes()
OAK_LOG = "fake.log.origin/log+527eabb8+AddT9PtBhhNAsDYZ0V0euiRbXuvrLsw4L6vKARfipnmz"
OAK_WITNESS = "test-witness+26349ef0+BIQDFTUlktisMqJzWn8qhteWrRr4dLcQ9R37T+8LQyQF"
# Of a public log of many entries, in the same repository: entry 76958 of 76959.
REAL_PATH = """fGRlLyuz+L9Jb8+uTSut/2aVc4z7fKFW+clvsb6xjEM= F6LautOHD5eppkWC0xn/lz00X5g2yLlZAkl2jCI/wdE=
qH7OJxFNup+TDvJuohd2HphKVngfMeMzUK8QChEDcas= +Y3g758yXtPCRh/eqhLTA3bdcx+cCV1Uah0JdgB0YEs=
vq8cJSjj8dPVmFBRUqDLlaMqW6aAYR2GKugVhgudXLs= J0z3X5qTb9WFC1gABhVFx0bW1rVZRL+DAoBL2e2h4G4=
NmSbYg25xNFzTRerIsF3HbEMyTIDqW87AQd9ekzopE8= L8BZipjURnkctkjJtGJs+YyTXMssvNKA7+a8nV2JT/s=
pva4RFzCejMkVMVmYc93As2lbk7WAyrw58TvrzEOjNc="""
REAL_ROOT = "QYfrD7XAd4qUHbRBs4dDyDZwpZN4M/cccXr2G56pxkY="

ENTRY = b'{"type":"signature"}'
LOG_SIGNER = NoteSigner.make("log.example/7")
FIRST, SECOND, THIRD = (NoteSigner.make(f"w{number}.example", WITNESS) for number in (1, 2, 3))
LOG = parse_verifier_key(LOG_SIGNER.vkey, NoteType.LOG)
WITNESSES = [parse_verifier_key(one.vkey, NoteType.WITNESS) for one in (FIRST, SECOND)]


def check(data: bytes, entry: bytes = ENTRY, witnesses: list[VerifierKey] = WITNESSES) -> Witnessed:
    return check_proof(read_proof(data, "proof"), entry, [LOG], witnesses, "proof")


def good(**how: object) -> bytes:
    return tlog_proof(ENTRY, LOG_SIGNER, {FIRST: NOW, SECOND: NOW + HOUR}, **how)  # type: ignore[arg-type]


def test_a_proof_that_others_made_is_read_and_holds_for_its_entry_alone() -> None:
    proof = read_proof(OAK, "oak")
    assert (proof.leaf, len(proof.hashes), proof.checkpoint.size, proof.entry) == (3, 2, 4, b"")
    log, witness = parse_verifier_key(OAK_LOG, NoteType.LOG), parse_verifier_key(OAK_WITNESS, NoteType.WITNESS)
    seen = check_proof(proof, b"test entry data", [LOG, log], [*WITNESSES, witness], "oak")
    assert seen.log == log
    assert seen.times == {"test-witness": datetime(2026, 2, 20, 16, 43, 42, tzinfo=UTC)}
    with pytest.raises(BadSignature, match="does not hold this entry"):
        check_proof(proof, b"test entry date", [log], [witness], "oak")
    with pytest.raises(BadSignature, match="no log of the trust file"):
        check_proof(proof, b"test entry data", [LOG], [witness], "oak")


def test_no_flipped_bit_of_that_proof_passes_for_the_same_statement() -> None:
    log, witness = parse_verifier_key(OAK_LOG, NoteType.LOG), parse_verifier_key(OAK_WITNESS, NoteType.WITNESS)
    want = check_proof(read_proof(OAK, "oak"), b"test entry data", [log], [witness], "oak")
    for at in range(len(OAK)):
        for bit in (0, 3, 7):
            data = bytearray(OAK)
            data[at] ^= 1 << bit
            try:
                seen = check_proof(read_proof(bytes(data), "oak"), b"test entry data", [log], [witness], "oak")
            except SealwrightError:
                continue
            # only the witness's name or key id can be another's: then it is one that nobody knows, and counts for nothing
            assert seen.log == want.log
            assert not seen.times


@pytest.mark.parametrize("vector", json.loads((VECTORS / "merkle-inclusion.json").read_text()))
def test_inclusion_proofs_are_judged_as_the_reference_judges_them(vector: dict[str, object]) -> None:
    path = [base64.b64decode(one) for one in vector["proof"] or []]  # type: ignore[attr-defined]
    root, leaf = base64.b64decode(str(vector["root"] or "")), base64.b64decode(str(vector["leafHash"]))
    try:
        holds = root_of(leaf, int(str(vector["leafIdx"])), int(str(vector["treeSize"])), path) == root
    except ValueError:
        holds = False
    assert holds is not vector["wantErr"], vector["desc"]


def test_a_proof_of_a_large_public_log_holds() -> None:
    path = [base64.b64decode(one) for one in REAL_PATH.split()]
    assert root_of(leaf_hash(b"hello tesseroak\n"), 76958, 76959, path) == base64.b64decode(REAL_ROOT)


@given(st.integers(1, 70), st.data())
def test_every_leaf_of_every_small_tree_is_proved_there_and_nowhere_else(size: int, draw: st.DataObject) -> None:
    leaves = [b"leaf %d" % number for number in range(size)]
    index, other = draw.draw(st.integers(0, size - 1)), draw.draw(st.integers(0, size + 1))
    path, root = tree_path(index, leaves), tree_hash(leaves)
    assert root_of(leaf_hash(leaves[index]), index, size, path) == root
    if other != index:
        try:
            assert root_of(leaf_hash(leaves[index]), other, size, path) != root
        except ValueError:
            pass


def test_the_time_of_each_witness_is_handed_back_and_of_one_witness_the_earliest() -> None:
    assert check(good()).times == {"w1.example": NOW, "w2.example": NOW + HOUR}
    twice = good() + FIRST.line(_body(), NOW - HOUR).encode()
    assert check(twice).times["w1.example"] == NOW - HOUR
    assert check(good() + FIRST.line(_body(), NOW + HOUR).encode()).times["w1.example"] == NOW
    renewed = NoteSigner.make("w1.example", WITNESS)
    both = [*WITNESSES, parse_verifier_key(renewed.vkey, NoteType.WITNESS)]
    assert check(good() + renewed.line(_body(), NOW - 2 * HOUR).encode(), witnesses=both).times == {
        "w1.example": NOW - 2 * HOUR,
        "w2.example": NOW + HOUR,
    }


def _body() -> str:
    return good().decode().split("\n\n")[1] + "\n"


def test_a_time_of_zero_says_nothing_and_an_unknown_witness_is_passed_over() -> None:
    data = tlog_proof(ENTRY, LOG_SIGNER, {FIRST: 0, SECOND: NOW, THIRD: NOW - HOUR})
    assert check(data).times == {"w2.example": NOW}


@pytest.mark.parametrize("seconds", [2**62, 2**63 - 1, 2**64 - 1, 300_000_000_000])
def test_a_time_that_no_clock_shows_is_refused(seconds: int) -> None:
    with pytest.raises(BadSignature, match="no clock"):
        check(tlog_proof(ENTRY, LOG_SIGNER, {FIRST: seconds}))


@pytest.mark.parametrize("who", ["log", "witness"])
def test_a_signature_of_a_known_key_that_does_not_hold_refuses_the_whole_note(who: str) -> None:
    signer, other = (LOG_SIGNER, SECOND) if who == "log" else (FIRST, SECOND)
    forged = signer.line(_body().replace("11", "12"), NOW)
    assert check(good())
    with pytest.raises(BadSignature, match="does not hold"):
        check(good() + forged.encode())
    assert other


def test_a_witness_does_not_sign_as_a_log_nor_a_log_as_a_witness() -> None:
    """The same secret under both types: what it signed as one counts for nothing as the other (A097)."""
    both = NoteSigner("log.example/7", WITNESS, LOG_SIGNER.key)
    plain = NoteSigner("w1.example", 1, FIRST.key)
    body = _body()
    head = good().decode().rpartition(body)[0]
    with pytest.raises(BadSignature, match="no log"):
        check((head + body + "\n" + both.line(body, NOW)).encode())
    assert check((head + body + "\n" + LOG_SIGNER.line(body) + plain.line(body)).encode()).times == {}


def test_an_extension_line_is_signed_and_passed_over() -> None:
    body = _body() + "some extension\n"
    head = good().decode().rpartition(_body())[0]
    assert check((head + body + "\n" + LOG_SIGNER.line(body) + FIRST.line(body, NOW)).encode()).times
    with pytest.raises(BadSignature):
        check((head + body + "\n" + LOG_SIGNER.line(_body()) + FIRST.line(body, NOW)).encode())


def test_a_log_speaks_for_its_own_origin_alone() -> None:
    body = _body().replace("log.example/7", "log.example/8")
    head = good().decode().rpartition(_body())[0]
    with pytest.raises(BadSignature, match=r"log\.example/8"):
        check((head + body + "\n" + LOG_SIGNER.line(body)).encode())


def swapped(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "not a log proof"),
        (swapped("@v1", "@v2"), "not a log proof"),
        (swapped("@v1\n", "@v1 \n"), "not a log proof"),
        (lambda text: "\n" + text, "not a log proof"),
        (lambda text: "\ufeff" + text, "not a log proof"),
        (swapped("\n", "\r\n"), "control character"),
        (swapped("index 5", "index 05"), "not a number"),
        (swapped("index 5", "index +5"), "not a number"),
        (swapped("index 5", "index \u0665"), "not a number"),
        (swapped("index 5", "index "), "not a number"),
        (swapped("index 5", "index -1"), "not a number"),
        (swapped("index 5", "index 9223372036854775808"), "too large"),
        (swapped("index 5", "index 99999999999999999999999"), "not a number"),
        (swapped("index 5\n", ""), "which entry"),
        (swapped("index 5\n", "index 5\nindex 5\n"), "not base64"),
        (swapped("extra ", "extra e30=\nextra "), "which entry"),
        (swapped("extra ", "extra  "), "not base64"),
        (swapped("extra ", "extra !"), "not base64"),
        (swapped("\n\n", "\nAAAA\n\n"), "no SHA-256"),
        (swapped("\n\n", "\n" + "A" * 43 + "=\n\n"), "more hashes"),
        (swapped("\n\n", "\n" + ("A" * 43 + "=\n") * 64 + "\n"), "no log is so high"),
        (swapped("\n11\n", "\n011\n"), "not a number"),
        (swapped("\n11\n", "\n0\n"), "is not in a tree"),
        (swapped("\n11\n", "\n5\n"), "is not in a tree"),
        (swapped(f"\n\n{DASH}", f"\n{DASH}"), "no signed checkpoint"),
        (swapped(DASH, "-"), "is no signature"),
        (swapped(f"{DASH} ", f"{DASH}  "), "is no signature"),
        (swapped("log.example/7 ", "log+7 "), "is no signature|not base64"),
        (lambda text: text[:-1], "no signed checkpoint"),
        (lambda text: text + "\n", "is no signature"),
        (lambda text: text + text, "is no signature"),
        (lambda text: text + f"{DASH} nobody AAAA\n", "too short"),
        (lambda text: text + f"{DASH} nobody AAAAAAA=\n" * 64, "at most 64"),
        (swapped(f"{DASH} log.example/7 ", f"{DASH} log.example/9 "), "no log of the trust file"),
    ],
)
def test_what_is_only_nearly_a_proof_is_refused_with_the_reason(change: Callable[[str], str], said: str) -> None:
    text = good().decode()
    changed = change(text)
    assert changed != text
    assert check(text.encode())
    with pytest.raises((MalformedEnvelope, BadSignature), match=said):
        check(changed.encode())


def test_what_is_too_large_or_no_text_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        read_proof(good() + b"x" * MAX_PROOF_BYTES, "proof")
    with pytest.raises(MalformedEnvelope, match="UTF-8"):
        read_proof(good() + b"\xff", "proof")


@given(st.binary(max_size=40), st.integers(0, 2000), st.integers(0, 40))
def test_any_bytes_in_a_proof_end_in_a_typed_error_or_the_same_statement(noise: bytes, at: int, cut: int) -> None:
    data = good()
    at %= len(data)
    try:
        seen = check(data[:at] + noise + data[at + cut :])
    except SealwrightError:
        return
    assert set(seen.times.items()) <= {("w1.example", NOW), ("w2.example", NOW + HOUR)}


@pytest.mark.parametrize("name", ["x" * 401, "x" * 100_000])
def test_names_that_nobody_could_read_are_refused_and_not_repeated(name: str) -> None:
    other = NoteSigner.make(name)
    body = _body().replace(LOG.name, name)
    head = good().decode().rpartition(_body())[0]
    for data in (head + body + "\n" + other.line(body), good().decode() + other.line(_body())):
        with pytest.raises(SealwrightError) as refused:
            check(data.encode())
        assert len(str(refused.value)) < 400
