"""`[[permit]]` of a trust file: who may let one device do what the rules refuse, and who looks at it afterwards.

    [[permit]]
    name = "night shift"
    kinds = ["break-glass", "unlock"]
    persons = ["p-17", "p-18"]          who may sign; each by a key or certificate of their [[person]]
    threshold = 1                       how many different ones
    longest = "12h"                     how long a permit may count
    products = ["VX-200 drive"]         of which products; none: any
    rules = ["drive firmware"]          of which rules; none: any
    follow_up = ["p-3", "p-4"]          break-glass: who may look at it; not its signers

Where there is no such section, no permit counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import NamedTuple

from sealwright.artifact.lookedat import LOOKERS
from sealwright.artifact.permit import LONGEST, Permit, PermitKind
from sealwright.artifact.section import Section
from sealwright.errors import SealwrightError


class PermitRule(NamedTuple):
    """Permits that count. longest: from a permit's `from` to its `until`; products, rules: () for any; follow_up: () without break-glass."""

    name: str
    kinds: tuple[PermitKind, ...]
    persons: tuple[str, ...]
    threshold: int
    longest: timedelta
    products: tuple[str, ...]
    rules: tuple[str, ...]
    follow_up: tuple[str, ...]


def takes(rule: PermitRule, permit: Permit) -> bool:
    """Whether a section is about a permit's kind, product, length and persons."""
    return (
        permit.kind in rule.kinds
        and (not rule.products or permit.product in rule.products)
        and permit.until - permit.begins <= rule.longest
        and {*permit.persons} <= {*rule.persons}
        and len(permit.persons) >= rule.threshold
    )


def permit_rule(section: Section) -> PermitRule:
    """One `[[permit]]`; the error of the file's kind for what cannot be meant."""
    section.where = f"[[permit]] {section.left.get('name', '')}"
    name, kinds = section.name("name"), section.texts("kinds")
    if not kinds or set(kinds) - set(PermitKind):
        raise section.wrong("kinds", "some of " + ", ".join(PermitKind))
    persons = section.texts("persons")
    if not persons:
        raise section.wrong("persons", "a list of the persons who may sign")
    threshold = section.number("threshold", 1, 1)
    if threshold > len(persons):
        raise section.wrong("threshold", f"at most the {len(persons)} different persons")
    longest = section.duration("longest")
    if longest is None or longest > LONGEST:
        raise section.wrong("longest", f'a duration like "12h", at most "{LONGEST.days}d"')
    follow_up = section.texts("follow_up")
    owed = PermitKind.BREAK_GLASS.value in kinds
    if owed != bool(follow_up):
        raise section.wrong("follow_up", f"given where `kinds` has {PermitKind.BREAK_GLASS}, and only there")
    if owed and len({*follow_up} - {*persons}) < LOOKERS:
        raise section.wrong("follow_up", f"a list with at least {LOOKERS} who are not in `persons`")
    return PermitRule(
        name,
        tuple(map(PermitKind, kinds)),
        persons,
        threshold,
        longest,
        section.texts("products"),
        section.texts("rules"),
        follow_up,
    )


def check_permits(
    permits: Collection[PermitRule],
    persons: Collection[str],
    rules: Collection[str],
    wrong: Callable[[str], SealwrightError],
) -> None:
    """Raises what `wrong` makes where a section names a person or rule that the file does not have."""
    for one in permits:
        for person in (*one.persons, *one.follow_up):
            if person not in persons:
                raise wrong(f"[[permit]] {one.name}: there is no person {person}")
        for rule in one.rules:
            if rule not in rules:
                raise wrong(f"[[permit]] {one.name}: there is no rule {rule}")
