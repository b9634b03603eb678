"""Entries by one shape are octet for octet those that are encoded one by one, whatever somebody claims."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kit.writtenlogs import AT, digest
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.log.entries import Intent
from sealwright.log.entry import SignatureEntry, read_entry
from sealwright.log.template import Shape, Shapes

DIGESTS = st.builds(Digest.of, st.binary(max_size=4), st.sampled_from(HashName))
INTENT = Intent(
    time=AT, request="0f" * 32, attempt=1, artifact=digest("a"), key=digest("k"), certificate=digest("c"),
    construction="cms-attributes", policy=digest("p"),
)  # fmt: skip


@given(st.lists(DIGESTS, min_size=1, max_size=4))
def test_intents_by_one_shape_are_those_that_are_encoded_one_by_one(artifacts: list[Digest]) -> None:
    shape = Shape.of(lambda artifact: replace(INTENT, artifact=artifact).encoded(), 1)
    for artifact in artifacts:
        assert shape.encoded(artifact) == replace(INTENT, artifact=artifact).encoded()


@given(st.lists(st.tuples(st.integers(1, 3), DIGESTS), max_size=8))
def test_entries_of_several_attempts_are_those_that_are_encoded_one_by_one(wanted: list[tuple[int, Digest]]) -> None:
    shapes = Shapes()
    for attempt, artifact in wanted:
        entry = replace(INTENT, attempt=attempt)
        made = shapes.encoded(attempt, lambda one, entry=entry: replace(entry, artifact=one).encoded(), artifact)
        assert made == replace(entry, artifact=artifact).encoded()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), DIGESTS, DIGESTS)
def test_claims_that_look_like_digests_or_marks_stay_what_they_are(said: str, artifact: Digest, other: Digest) -> None:
    value = Digest.of(said.encode())

    def entry(of: Digest, signature: Digest) -> bytes:
        claims = Claims(product=said, version=str(other), hardware=(f"\0{said}", "0"))
        common = dict.fromkeys(("key", "certificate", "policy", "private"), digest("k"))
        return SignatureEntry(
            format="detached", kind="", artifact=of, signature=signature, construction="cms-attributes", claims=claims,
            file=of, **common,
        ).encoded()  # fmt: skip

    shape = Shape.of(entry, 2)
    assert shape.encoded(artifact, value) == entry(artifact, value)
    assert shape.encoded(other, value) == entry(other, value)
    assert read_entry(shape.encoded(artifact, value)).signature == value
