"""Verifier keys of logs and witnesses: those of others are read, and whatever is not one exactly is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.notes import verifier_key
from sealwright.envelope.verifierkey import NoteType, parse_verifier_key

# The Go package `note` documents the first; the others are public witnesses and logs, as their operators print them.
LOGS = (
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
    "sigsum.org+e4ade967+AZuUY6B08pW3QVHu8uvsrxWPcAv9nykap2Nb4oxCee+r",
)
WITNESSES = (
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "rgdd.se/poc-witness+db03732e+BCjJKlo6BU0xfIb8LutqerIFTWIXEA0L5n3tW3QyPFgG",
    "witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G",
)
GOOD = LOGS[0]
NAME, ID, ENCODED = GOOD.split("+", 2)
# The points of order 1, 2, 4 and 8, and encodings of y that are not reduced.
UNSAFE = (
    "01" + "00" * 31,
    "00" * 32,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ec" + "ff" * 30 + "7f",
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
    "ff" * 32,
    "02" + "00" * 31,  # no point at all
)


@pytest.mark.parametrize(
    ("text", "kind"), [(log, NoteType.LOG) for log in LOGS] + [(one, NoteType.WITNESS) for one in WITNESSES]
)
def test_keys_that_others_published_are_read_and_written_back(text: str, kind: NoteType) -> None:
    key = parse_verifier_key(text, kind)
    assert str(key) == text
    assert (key.name, key.id.hex(), key.type, len(key.key)) == (*text.split("+")[:2], kind, 32)


@pytest.mark.parametrize("kind", list(NoteType))
def test_any_new_key_is_read(kind: NoteType) -> None:
    for _ in range(20):
        assert parse_verifier_key(verifier_key("log.example/7", kind), kind).name == "log.example/7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not read"),
        (NAME, "does not read"),
        (f"{NAME}+{ID}", "does not read"),
        (f"+{ID}+{ENCODED}", "name is empty"),
        (f"Peter Neumann+{ID}+{ENCODED}", "name is empty or holds a space"),
        (f"Peter\u2003Neumann+{ID}+{ENCODED}", "name is empty or holds a space"),
        (f"Peter\u202eNeumann+{ID}+{ENCODED}", "does not print"),
        (f"peterneumann+{ID}+{ENCODED}", "mistyped"),
        (f"{NAME}+{ID.upper()}+{ENCODED}", "lower-case"),
        (f"{NAME}+{ID[:-1]}+{ENCODED}", "eight"),
        (f"{NAME}+00000000+{ENCODED}", "mistyped"),
        (f"{NAME}+{ID}+{ENCODED[:-2]}WX", "mistyped"),
        (f"{NAME}+{ID}+", "not base64"),
        (f"{NAME}+{ID}+{ENCODED}=", "not base64"),
        (f"{NAME}+{ID}+{ENCODED}\n", "not base64"),
        (f"{NAME}+{ID}+é{ENCODED}", "not base64"),
        (f"{NAME}+{ID}+{ENCODED.replace('/', '_')}", "not base64"),
        (f"{NAME}+{ID}+{ENCODED * 100}", "does not read"),
    ],
)
def test_what_is_not_a_key_in_every_letter_is_refused(text: str, said: str) -> None:
    assert parse_verifier_key(GOOD, NoteType.LOG)
    with pytest.raises(ValueError, match=said):
        parse_verifier_key(text, NoteType.LOG)


def test_a_spelling_with_spare_bits_is_refused() -> None:
    """Base64 whose last letter carries bits that nobody reads names the same bytes twice."""
    good = verifier_key("log", NoteType.LOG)
    assert parse_verifier_key(good, NoteType.LOG)
    data = base64.b64decode(good.split("+", 2)[2])
    longer = verifier_key("log", NoteType.LOG, data[1:] + b"\0")  # 34 bytes: two letters of padding
    assert longer.endswith("A==")
    with pytest.raises(ValueError, match="one spelling"):
        parse_verifier_key(longer[:-3] + "B==", NoteType.LOG)


def test_a_log_is_no_witness_and_a_witness_no_log() -> None:
    assert parse_verifier_key(LOGS[0], NoteType.LOG)
    with pytest.raises(ValueError, match=r"type 1 \(Ed25519, as logs sign\), wanted is type 4"):
        parse_verifier_key(LOGS[0], NoteType.WITNESS)
    assert parse_verifier_key(WITNESSES[0], NoteType.WITNESS)
    with pytest.raises(ValueError, match="type 4"):
        parse_verifier_key(WITNESSES[0], NoteType.LOG)


@pytest.mark.parametrize(("kind", "said"), [(2, "ECDSA"), (6, "ML-DSA-44"), (255, "unknown")])
def test_another_kind_of_key_is_called_by_its_name(kind: int, said: str) -> None:
    assert parse_verifier_key(verifier_key("w", NoteType.WITNESS), NoteType.WITNESS)
    with pytest.raises(ValueError, match=said):
        parse_verifier_key(verifier_key("w", kind, bytes(1312)), NoteType.WITNESS)


@pytest.mark.parametrize("point", UNSAFE)
def test_a_key_that_would_verify_forged_signatures_is_refused(point: str) -> None:
    assert parse_verifier_key(verifier_key("log", NoteType.LOG), NoteType.LOG)
    key = bytes.fromhex(point)
    for spelled in (key, key[:-1] + bytes((key[-1] ^ 0x80,))):  # and its negative
        with pytest.raises(ValueError, match="may be trusted"):
            parse_verifier_key(verifier_key("log", NoteType.LOG, spelled), NoteType.LOG)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    assert parse_verifier_key(GOOD, NoteType.LOG)
    with pytest.raises(ValueError, match="may be trusted"):
        parse_verifier_key(verifier_key("log", NoteType.LOG, bytes(size)), NoteType.LOG)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 0x10FFFF))
def test_no_mutation_of_one_letter_is_still_a_key(place: int, code: int) -> None:
    changed = GOOD[:place] + chr(code) + GOOD[place + 1 :]
    if changed == GOOD:
        return
    with pytest.raises(ValueError):
        parse_verifier_key(changed, NoteType.LOG)
