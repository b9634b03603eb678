"""What a release changes against the one before it: going back, other bytes under one version, and files of several artifacts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kit.service import ORIGIN, wanted
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.signing.changes import Change, Release, compared
from sealwright.signing.items import root_of_items
from sealwright.signing.request import SigningRequest, new_nonce

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def release(*names: str, version: str | None = None, generation: int | None = None, key: bytes = b"key") -> Release:
    items = wanted(names, "production")
    request = SigningRequest(
        service="acme-signing",
        origin=ORIGIN,
        nonce=new_nonce(),
        requester="max",
        tenant="acme",
        root=root_of_items([item.line for item in items]),
        count=len(items),
        format="detached",
        kind="file",
        construction="cms-attributes",
        key=Digest.of(key),
        policy=Digest.of(b"policy"),
        claims=Claims(product="drive", version=version, generation=generation, environment="production"),
        not_before=NOW,
        expires=NOW + timedelta(days=1),
    )
    return Release(request, items)


@pytest.mark.parametrize(
    ("before", "now", "back"),
    [
        (("1.9", None), ("1.10", None), ""),
        (("1.10", None), ("1.9", None), "version 1.9 after 1.10"),
        (("2", None), ("1.9.9", None), "version 1.9.9 after 2"),
        (("2.0", None), ("2", None), ""),
        (("2026-b", None), ("2026-a", None), ""),  # no order is guessed
        ((None, 3), (None, 4), ""),
        ((None, 4), (None, 3), "generation 3 after 4"),
        (("1", 4), ("2", None), "generation none after 4"),
        (("1", 4), ("2", 3), "generation 3 after 4"),
        ((None, None), ("1", 1), ""),
    ],
)
def test_a_release_that_goes_back_is_said(
    before: tuple[str | None, int | None], now: tuple[str | None, int | None], back: str
) -> None:
    old, new = (release("a", version=version, generation=generation) for version, generation in (before, now))
    assert compared(old, new).back == back


def test_other_bytes_under_one_version_are_said_and_the_same_bytes_are_not() -> None:
    assert compared(release("a", version="1"), release("a", version="1")).again == ""
    assert compared(release("a", version="1"), release("b", version="1")).again == "version 1"
    assert compared(release("a", generation=1), release("b", generation=1)).again == "generation 1"
    assert compared(release("a", version="1"), release("b", version="2")).again == ""


def test_artifacts_are_compared_by_name_and_claims_with_the_key() -> None:
    changes = compared(release("a", "b"), release("b", "c", key=b"other"))
    assert [(one.name, one.change) for one in changes.files] == [("a", Change.REMOVED), ("c", Change.ADDED)]
    assert changes.same == 1
    assert [one.name for one in changes.claims] == ["key"]
    twice = compared(release("a"), release("a", "a"))
    assert [(one.name, one.change) for one in twice.files] == [("a (2)", Change.ADDED)]
