"""Permits and follow-ups as texts: each has one form, which is read back as it was, and no damaged one is read as another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from kit.mutate import changed
from kit.permits import permit_for
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.lookedat import LookedAt, PermitFollowUp, follow_up_bytes, parse_follow_up
from sealwright.artifact.permit import Excuse, Permit, PermitKind, parse_permit, permit_bytes
from sealwright.artifact.sums import FileEntry
from sealwright.errors import SealwrightError

DIGESTS = st.binary(min_size=32, max_size=32)
IDS = st.from_regex(r"[A-Za-z0-9@+_][A-Za-z0-9_.@+-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=40)
PERSONS = st.sets(IDS, min_size=2, max_size=8).map(lambda some: tuple(sorted(some)))
START = datetime(2026, 11, 1, tzinfo=UTC)


@st.composite
def permits(draw: st.DrawFn) -> Permit:
    kind = draw(st.sampled_from(PermitKind))
    begins = START + timedelta(seconds=draw(st.integers(0, 10**8)))
    return Permit(
        algorithm=HashName.SHA256,
        kind=kind,
        trust=draw(TEXTS),
        device=draw(IDS),
        product=draw(st.just("") | TEXTS),
        excuses=tuple(sorted(draw(st.sets(st.sampled_from(sorted(kind.excuses)), min_size=1)))),
        begins=begins,
        until=begins + timedelta(seconds=draw(st.integers(1, 7 * 86400))),
        persons=draw(PERSONS),
        nonce=draw(st.binary(min_size=16, max_size=16)).hex(),
        reason=Digest(HashName.SHA256, draw(DIGESTS)),
        artifacts=tuple(
            FileEntry(f"{number:02}.bin".encode(), draw(DIGESTS)) for number in range(draw(st.integers(1, 20)))
        ),
    )


@given(permits())
def test_a_permit_is_read_back_as_it_was_written(permit: Permit) -> None:
    assert parse_permit(permit_bytes(permit), "permit") == permit


@given(st.sampled_from(LookedAt), PERSONS, DIGESTS)
def test_a_follow_up_is_read_back_as_it_was_written(outcome: LookedAt, persons: tuple[str, ...], digest: bytes) -> None:
    one = PermitFollowUp(HashName.SHA256, "plant-7", outcome, persons, FileEntry(b"6.permit", digest))
    assert parse_follow_up(follow_up_bytes(one), "follow-up") == one


def test_what_is_read_from_a_damaged_text_is_written_back_as_it_is() -> None:
    permit = permit_for(Digest.of(b"x"), kind=PermitKind.BREAK_GLASS, excuses=tuple(Excuse))
    one = PermitFollowUp(HashName.SHA256, "p", LookedAt.CONFIRMED, ("a", "b"), FileEntry(b"6.permit", bytes(32)))
    for text, dice in ((permit_bytes(permit), Random(1)), (follow_up_bytes(one), Random(2))):
        for other in changed(text, dice):
            with suppress(SealwrightError):
                assert permit_bytes(parse_permit(other, "x")) == other
            with suppress(SealwrightError):
                assert follow_up_bytes(parse_follow_up(other, "x")) == other


def test_a_permit_names_its_artifacts_by_digest_and_algorithm() -> None:
    permit = permit_for(Digest.of(b"x"))
    assert permit.names(Digest.of(b"x"))
    assert not permit.names(Digest.of(b"y"))
    assert not permit.names(Digest.of(b"x", HashName.SHA512))
    assert not replace(permit, algorithm=HashName.SHA512).names(Digest.of(b"x"))
