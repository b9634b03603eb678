"""Entries of a log: each type with exactly its fields, read back as it was written, and nothing that is only nearly one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.writtenlogs import AT, digest, every_entry
from sealwright.artifact.claims import Claims
from sealwright.log import entries as types
from sealwright.log.canonical import canonical_json, read_canonical
from sealwright.log.entries import AnyEntry, outline, read_any
from sealwright.log.entry import SignatureEntry

EVERY = every_entry()


def type_of(entry: AnyEntry) -> str:
    return str(json.loads(entry.encoded())["type"])


@pytest.mark.parametrize("entry", EVERY, ids=type_of)
def test_an_entry_is_read_as_it_was_written(entry: AnyEntry) -> None:
    assert read_any(entry.encoded()) == entry
    signature = str(entry.signature) if isinstance(entry, SignatureEntry) else ""
    assert outline(entry.encoded())[:2] == (type_of(entry), signature)
    with pytest.raises(ValueError, match="`person` is no field"):
        outline(canonical_json({**read_canonical(entry.encoded()), "person": "eva"}))


@pytest.mark.parametrize("entry", EVERY, ids=type_of)
def test_no_field_may_be_missing_strange_or_of_another_kind(entry: AnyEntry) -> None:
    whole = json.loads(entry.encoded())
    claims = {"product", "version", "generation", "hardware", "environment"}
    optional = claims | {"approvals", "prepares", "rules", "previous", "change", "edition", "reason", "unfinished"}
    for name in whole:
        without = {key: _tuples(value) for key, value in whole.items() if key != name}
        here = (type_of(entry), name)
        if here == ("alarm", "key") or (name in optional and here not in (("start", "version"), ("policy", "edition"))):
            assert read_any(canonical_json(without)) != entry
        else:
            with pytest.raises(ValueError):
                read_any(canonical_json(without))
        strange: list[object] = ["", -1, (), ("x\n", "")]
        if name not in claims and type_of(entry) != "signature":
            strange.append("x y\n")
        if str(whole[name]).startswith("sha256:"):
            strange += ["sha256:00", f"SHA256:{whole[name][7:]}", whole[name][7:]]
        for wrong in strange:
            if (name, wrong) != ("hardware", ("x\n", "")):
                with pytest.raises(ValueError):
                    read_any(canonical_json({**{k: _tuples(v) for k, v in whole.items()}, name: wrong}))  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="`person` is no field"):
        read_any(canonical_json({**{k: _tuples(v) for k, v in whole.items()}, "person": "eva"}))


def _tuples(value: object) -> str | int | tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]


def test_what_could_not_be_read_back_is_not_written() -> None:
    expired = types.Expired(time=AT, request="0f" * 16)
    assert read_any(expired.encoded()) == expired
    for wrong in ("eva@acme.example", "Eva Brandt", "", "0F" * 16, "0f\n" * 8):
        with pytest.raises(ValueError):
            replace(expired, request=wrong).encoded()


@pytest.mark.parametrize("text", ["2026-1-1T00:00:00Z", "2026-01-01T00:00:00+00:00", "2026-01-01 00:00:00Z", "now"])
def test_a_time_has_one_spelling(text: str) -> None:
    good = {"type": "expired", "request": "0f" * 16, "time": "2026-01-01T00:00:00Z"}
    assert read_any(canonical_json(good)) == types.Expired(time=datetime(2026, 1, 1, tzinfo=UTC), request="0f" * 16)
    with pytest.raises(ValueError):
        read_any(canonical_json({**good, "time": text}))


def test_a_request_names_a_format_or_a_kind() -> None:
    request = next(one for one in EVERY if isinstance(one, types.Request))
    assert read_any(replace(request, format="", kind="manifest", claims=Claims()).encoded())
    for wrong in ({"format": ""}, {"kind": "manifest"}):
        with pytest.raises(ValueError, match="neither"):
            replace(request, **wrong).encoded()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"null", b"[]", b'{"type":"expired"}', b'{"type":"strange"}', b'{"type":7}', b'{"type":["expired"]}',
        b'{"request":"0f0f0f0f0f0f0f0f","time":"2026-01-01T00:00:00Z","type":"expired"} ',
        b'{"request":"0f0f0f0f0f0f0f0f","request":"0f0f0f0f0f0f0f0f","time":"2026-01-01T00:00:00Z","type":"expired"}',
        b'{"time":"2026-01-01T00:00:00Z","request":"0f0f0f0f0f0f0f0f","type":"expired"}',
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_any(data)


@given(st.sampled_from(EVERY), st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_reads_as_the_same_entry(entry: AnyEntry, at: int, bit: int) -> None:
    data = bytearray(entry.encoded())
    data[at % len(data)] ^= 1 << bit
    try:
        assert read_any(bytes(data)) != entry
    except ValueError:
        pass


def test_the_page_on_the_log_names_every_type_and_field() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "log.md").read_text()
    for entry in EVERY:
        for name in json.loads(entry.encoded()):
            assert re.search(rf"`{name}`", page), name
        assert f"`{type_of(entry)}`" in page
    assert digest("x")
