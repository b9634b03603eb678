"""What a new set of policies allows that the old one does not.

1. Weaker is proved absent where each rule that permits in the new set demands all that one of the old set demands, or more
   (`context.approvals >= 3` for `>= 2`); where each rule that forbids in the old set does so in the new one, or in more cases; and
   where named times and quotas are the same or stricter. Files may be renamed, rules moved, advice and notes rewritten. A rule whose
   evaluation can fail refuses when it does, and one with @followup sets a time limit: whoever takes such a one away proves nothing.
2. Otherwise questions are asked of both (`policymatrix`), around the rules that differ. What only the new set allows is weaker.
3. Where neither holds, nothing was found and nothing is proved, and people read the rules that differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sealwright.signing.policy import Decision, Policies
from sealwright.signing.policymatrix import Point, points
from sealwright.signing.policyrules import Effect, Form, Rule, conditions, constants, nodes
from sealwright.signing.policyschema import Crowd
from sealwright.signing.policysettings import Quota
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
    added, removed = _differing(old, new)
    if is_proved_not_weaker(old, new):
        return Comparison(Direction.NOT_WEAKER, (), added, removed, (), 0, 0)
    settings = (*_weaker_settings(old, new), *_newly_trusted(old, new))
    differing = (*added, *removed)
    if any(rule.effect is Effect.FORBID for rule in differing):  # what is no longer forbidden must be permitted to show
        differing += tuple(rule for rule in new.rules if rule.effect is Effect.PERMIT)
    weaker, asked, stricter = _ask(old, new, tuple(dict.fromkeys(differing)))
    direction = Direction.WEAKER if weaker or settings else Direction.UNDECIDED
    return Comparison(direction, weaker, added, removed, settings, asked, stricter)


def is_proved_not_weaker(old: Policies, new: Policies) -> bool:
    """Rule 1 alone, which asks no question."""
    added, removed = _differing(old, new)
    return (
        not any((*_weaker_settings(old, new), *_newly_trusted(old, new)))
        and all(rule.effect is Effect.FORBID or _narrows(rule, old.rules) for rule in added)
        and all(_is_only_permit(rule) or _is_widened(rule, new.rules) for rule in removed)
    )


def _differing(old: Policies, new: Policies) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The rules that only the new set has, and those that only the old one has, by what they say."""
    before, after = _by_meaning(old), _by_meaning(new)
    return (
        tuple(rule for meaning, rule in after.items() if meaning not in before),
        tuple(rule for meaning, rule in before.items() if meaning not in after),
    )


def _is_only_permit(rule: Rule) -> bool:
    """Whether a rule never refuses, by failing, and never shortens a follow-up."""
    return rule.effect is Effect.PERMIT and rule.follow_up_h is None and not _may_fail(rule)


def _narrows(rule: Rule, others: Sequence[Rule]) -> bool:
    """Whether a rule permits nothing that one of the others does not."""
    return any(
        one.effect is Effect.PERMIT and one.follow_up_h == rule.follow_up_h and _implies(rule, one) for one in others
    )


def _is_widened(rule: Rule, others: Sequence[Rule]) -> bool:
    """Whether one of the others forbids whatever a rule forbids."""
    return (
        rule.effect is Effect.FORBID
        and not _may_fail(rule)
        and any(
            one.effect is Effect.FORBID and one.follow_up_h == rule.follow_up_h and _implies(rule, one)
            for one in others
        )
    )


def _may_fail(rule: Rule) -> bool:
    return not {operator for operator, _ in nodes(json.loads(rule.form)["conditions"])} <= _NEVER_FAIL


def _implies(rule: Rule, other: Rule) -> bool:
    """Whether the other holds wherever the rule does, as can be seen from their conditions one by one."""
    ours, theirs = json.loads(rule.form), json.loads(other.form)
    scopes = all(theirs[part] in (ours[part], {"op": "All"}) for part in ("principal", "action", "resource"))
    return scopes and all(any(_demands(one, wanted) for one in conditions(ours)) for wanted in conditions(theirs))


def _demands(one: tuple[str, Form], wanted: tuple[str, Form]) -> bool:
    """Whether a condition is another one, or at least as high a number of the same."""
    if one == wanted:
        return True
    if one[0] != "when" or wanted[0] != "when" or set(one[1]) != {">="} or set(wanted[1]) != {">="}:
        return False
    ours, theirs = one[1][">="], wanted[1][">="]
    numbers = constants(ours["right"]), constants(theirs["right"])
    return bool(ours["left"] == theirs["left"] and all(numbers) and numbers[0] >= numbers[1])


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
    return tuple(sorted(found.values(), key=lambda one: _plainness(one.point))), asked, stricter


def decide(policies: Policies, point: Point) -> Decision:
    """One answer for a point."""
    question = point.question()
    crowd = Crowd(question.context.approvals, question.context.officers)
    return policies.decide_each(question, point.facts(policies.settings), (crowd,))[0]


def _plainness(point: Point) -> tuple[int, int, str]:
    said = list(point.said())
    return point.approvals + point.officers, len(said), str(said)


def _weaker_settings(old: Policies, new: Policies) -> Iterator[str]:
    """What the same names stand for less of; a name that is gone is gone from the rules too, or Cedar would refuse them.

    A longer freeze and a lower quota are stricter only where the one thing that rules do with them is to forbid.
    """
    hours = {one.name: one for one in new.settings.hours}
    freezes = {one.name: one for one in new.settings.freezes}
    quotas = {one.name: one for one in new.settings.quotas}
    for hour in old.settings.hours:
        other = hours.get(hour.name, hour)
        if other != hour or (hour.name in hours and str(old.settings.zone) != str(new.settings.zone)):
            yield say("policy.diff-hours", name=hour.name)
    for freeze in old.settings.freezes:
        now = freezes.get(freeze.name, freeze)
        longer = now.start <= freeze.start and now.end >= freeze.end
        same = (now.start, now.end) == (freeze.start, freeze.end)
        if not same and not (longer and _only_forbids("Freeze", freeze.name, new.rules)):
            yield say("policy.diff-freeze", name=freeze.name)
    for quota in old.settings.quotas:
        limit = quotas.get(quota.name, quota)
        lower = (limit.of, limit.per) == (quota.of, quota.per) and limit.at_most <= quota.at_most
        if limit != quota and not (lower and _only_forbids("Quota", quota.name, new.rules)):
            yield say("policy.diff-quota", name=quota.name, before=_quota(quota), after=_quota(limit))


def _newly_trusted(old: Policies, new: Policies) -> Iterator[str]:
    """Builders of which more is believed. One that is gone allows nothing: whoever asks could always leave its provenance out."""
    for builder in new.settings.builders:
        if not any(one.covers(builder) for one in old.settings.builders):
            yield say("policy.diff-builder", name=builder.name)


def _only_forbids(kind: str, name: str, rules: Sequence[Rule]) -> bool:
    """Whether each rule that names a freeze or quota forbids while it is on, and does nothing else with it."""
    for rule in rules:
        if (kind, name) not in rule.names:
            continue
        form = json.loads(rule.form)
        entity = {"type": kind, "id": name}
        named = sum(operands == entity for operator, operands in nodes(form) if operator == "__entity")
        plain = sum(
            behind == "when" and set(one) == {"contains"} and constants(one["contains"]["right"]) == ((kind, name),)
            for behind, one in conditions(form)
        )
        if rule.effect is not Effect.FORBID or named != plain:
            return False
    return True


def _quota(quota: Quota) -> str:
    return f"{quota.at_most} per {quota.of} and {quota.per}"
