"""What a new set of policies allows that the old one does not.

1. Weaker is proved absent where the new set permits by no rule that the old one lacks, keeps every rule that forbids as it was, and
   its named times and quotas are the same or stricter. Files may be renamed, rules moved, advice and notes rewritten. A rule that is
   gone must have done nothing but permit: one whose evaluation can fail refused when it did, and one with @followup set a time limit.
2. Otherwise questions are asked of both (`policymatrix`), around the rules that differ. What only the new set allows is weaker.
3. Where neither holds, nothing was found and nothing is proved, and people read the rules that differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sealwright.signing.policy import Decision, Policies
from sealwright.signing.policymatrix import Point, points
from sealwright.signing.policyrules import Effect, Rule, nodes
from sealwright.signing.policyschema import Crowd
from sealwright.signing.policysettings import Settings
from sealwright.texts.words import say

MAX_QUESTIONS = 20_000
_INERT = ("id", "advice", "note")
# of Cedar's JSON, with the names of its parts; arithmetic overflows, and extension functions are made from texts
_NEVER_FAIL = frozenset(
    (
        *("kind", "body", "left", "right", "attr", "arg", "entity_type", "if", "then", "else"),
        *("Value", "__entity", "type", "id", "Var", "Set", ".", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "!"),
        *("in", "is", "contains", "containsAll", "containsAny", "isEmpty", "if-then-else"),
    )
)


class Direction(Enum):
    """What was found."""

    NOT_WEAKER = auto()  # proved
    UNDECIDED = auto()
    WEAKER = auto()


@dataclass(frozen=True, slots=True)
class Weaker:
    """Something that only the new set allows. point: the plainest such question; number: of the questions like it."""

    point: Point
    before: Decision
    after: Decision
    number: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """added, removed: rules that only one set has, by what they say; settings: what became weaker in them, one clause each.

    asked: how many questions were asked; stricter: how many of them only the old set allowed.
    """

    direction: Direction
    weaker: tuple[Weaker, ...]
    added: tuple[Rule, ...]
    removed: tuple[Rule, ...]
    settings: tuple[str, ...]
    asked: int
    stricter: int


def compare(old: Policies, new: Policies) -> Comparison:
    """Both sets, by rule 1 and then by questions."""
    before, after = _by_meaning(old), _by_meaning(new)
    removed = tuple(rule for meaning, rule in before.items() if meaning not in after)
    added = tuple(rule for meaning, rule in after.items() if meaning not in before)
    settings = tuple(_weaker_settings(old.settings, new.settings))
    proved = (
        not settings
        and all(rule.effect is Effect.FORBID for rule in added)
        and all(_only_permits(rule) for rule in removed)
    )
    if proved:
        return Comparison(Direction.NOT_WEAKER, (), added, removed, (), 0, 0)
    weaker, asked, stricter = _ask(old, new, (*added, *removed))
    direction = Direction.WEAKER if weaker or settings else Direction.UNDECIDED
    return Comparison(direction, weaker, added, removed, settings, asked, stricter)


def _only_permits(rule: Rule) -> bool:
    """Whether a rule never refuses, by failing, and never shortens a follow-up."""
    operators = {operator for operator, _ in nodes(json.loads(rule.form)["conditions"])}
    return rule.effect is Effect.PERMIT and rule.follow_up_h is None and operators <= _NEVER_FAIL


def _less_strict(before: Decision, after: Decision) -> bool:
    if not before.allowed or not after.allowed:
        return after.allowed and not before.allowed
    return before.follow_up is not None and (after.follow_up is None or after.follow_up.hours > before.follow_up.hours)


def _by_meaning(policies: Policies) -> dict[str, Rule]:
    """Rules by what they say, without what changes no answer."""
    return {meaning(rule): rule for rule in policies.rules}


def meaning(rule: Rule) -> str:
    """What a rule says, without what changes no answer."""
    form = json.loads(rule.form)
    form["annotations"] = {name: text for name, text in form["annotations"].items() if name not in _INERT}
    return json.dumps(form, sort_keys=True)


def _ask(old: Policies, new: Policies, about: tuple[Rule, ...]) -> tuple[tuple[Weaker, ...], int, int]:
    found: dict[tuple[str, ...], Weaker] = {}
    asked = stricter = 0
    for point in points(about, (*old.rules, *new.rules), MAX_QUESTIONS):
        asked += 1
        before, after = decide(old, point), decide(new, point)
        stricter += before.allowed and not after.allowed
        if not _less_strict(before, after):
            continue
        alike = (point.action.value, before.reason, *(rule.id for rule in after.deciding))
        known = found.get(alike)
        plainest = point if known is None or _plainness(point) < _plainness(known.point) else known.point
        if known is None or plainest is point:
            found[alike] = Weaker(point, before, after, 1 if known is None else known.number + 1)
        else:
            found[alike] = Weaker(known.point, known.before, known.after, known.number + 1)
    return tuple(found.values()), asked, stricter


def decide(policies: Policies, point: Point) -> Decision:
    """One answer for a point."""
    question = point.question()
    crowd = Crowd(question.context.approvals, question.context.officers)
    return policies.decide_each(question, point.facts(policies.settings), (crowd,))[0]


def _plainness(point: Point) -> tuple[int, int, str]:
    said = list(point.said())
    return point.approvals + point.officers, len(said), str(said)


def _weaker_settings(old: Settings, new: Settings) -> Iterator[str]:
    """What the same names stand for less of. A name that is gone is gone from the rules too, or Cedar would refuse them."""
    hours, freezes, quotas = (
        {one.name: one for one in new.hours},
        {one.name: one for one in new.freezes},
        {one.name: one for one in new.quotas},
    )
    for hour in old.hours:
        if hour.name in hours and (hours[hour.name] != hour or str(old.zone) != str(new.zone)):
            yield say("policy.diff-hours", name=hour.name)
    for freeze in old.freezes:
        other = freezes.get(freeze.name)
        if other is not None and (other.start > freeze.start or other.end < freeze.end):
            yield say("policy.diff-freeze", name=freeze.name)
    for quota in old.quotas:
        limit = quotas.get(quota.name)
        if limit is not None and (limit.of, limit.per) != (quota.of, quota.per):
            yield say("policy.diff-quota-kind", name=quota.name)
        elif limit is not None and limit.at_most > quota.at_most:
            yield say("policy.diff-quota", name=quota.name, before=quota.at_most, after=limit.at_most)
