"""`[[permit]]` of a trust file: what is read, and what is refused because it could never mean anything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from kit.permits import ANY, PermitPlant
from sealwright.artifact.permit import PermitKind
from sealwright.errors import SealwrightError
from sealwright.trust.toml import Toml

PLANT = PermitPlant()


def test_a_section_says_who_may_permit_what_and_for_how_long() -> None:
    (one,) = PLANT.trust({**ANY, "products": ["VX-200"], "rules": ["firmware"], "threshold": 2}).trust.permits
    assert (one.name, one.threshold, one.longest) == ("night shift", 2, timedelta(hours=12))
    assert (one.persons, one.follow_up) == (("p-1", "p-2"), ("p-3", "p-4"))
    assert (one.products, one.rules, {*one.kinds}) == (("VX-200",), ("firmware",), {*PermitKind})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kinds": ["everything"]}, "`kinds` must be some of break-glass"),
        ({"kinds": None}, "`kinds` must be"),
        ({"persons": None}, "`persons` must be"),
        ({"persons": ["p-9"]}, "there is no person p-9"),
        ({"persons": ["p-1", "p-1"]}, "different"),
        ({"threshold": 3}, "at most the 2 different persons"),
        ({"threshold": 0}, "a whole number from 1"),
        ({"longest": None}, "`longest` must be"),
        ({"longest": "8d"}, 'at most "7d"'),
        ({"longest": "12"}, "a duration"),
        ({"rules": ["other"]}, "there is no rule other"),
        ({"follow_up": None}, "given where `kinds` has break-glass"),
        ({"follow_up": ["p-3"]}, "at least 2 who are not in `persons`"),
        ({"follow_up": ["p-1", "p-3"]}, "at least 2 who are not in `persons`"),
        ({"follow_up": ["p-3", "p-9"]}, "there is no person p-9"),
        ({"kinds": ["unlock"]}, "and only there"),
        ({"excuses": ["altered-file"]}, "unknown key `excuses`"),
        ({"name": None}, "`name` must be"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_section_that_cannot_be_meant_is_refused(change: Mapping[str, Toml], why: str) -> None:
    assert PLANT.trust(ANY).trust.permits
    changed = {name: value for name, value in {**ANY, **change}.items() if value is not None}
    with pytest.raises(SealwrightError, match="permit") as refused:
        PLANT.trust(changed)
    assert why in str(refused.value)


def test_two_sections_of_one_name_are_refused() -> None:
    assert len(PLANT.trust(ANY, {**ANY, "name": "day shift"}).trust.permits) == 2
    with pytest.raises(SealwrightError, match="used twice"):
        PLANT.trust(ANY, {**ANY, "name": "Night Shift"})
