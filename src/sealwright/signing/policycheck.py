"""What is dangerous in a set of policies that is valid: found by its rules, and by questions made from them (`policymatrix`).

danger    anybody may do something; production is signed with nobody else's approval or with a key outside hardware; keys or
          policies are changed by one person alone; more approvals allow less
idle      a freeze, quota or hours that no rule looks at; a freeze that is over; a rule for which no deciding question was found
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sealwright.keys.key import Provenance
from sealwright.signing.policy import Decision, Policies
from sealwright.signing.policydiff import decide
from sealwright.signing.policymatrix import SOMEBODY, Point, points
from sealwright.signing.policyquestion import Action
from sealwright.signing.policyrules import BUILT_IN_NAME, Effect, Rule
from sealwright.signing.policyschema import OF_PROVENANCE
from sealwright.texts.words import say
from sealwright.trust.model import Environment

OF_BUILDERS = frozenset(f"context.{name}" for name in (*OF_PROVENANCE, "provenance_verified"))


class Level(StrEnum):
    """How loud."""

    DANGER = "danger"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing to look at. rules: by which it is so; example: a question that shows it, None where the rule's text does."""

    level: Level
    what: str
    rules: tuple[Rule, ...] = ()
    example: Point | None = None


def concerns(policies: Policies, now: datetime) -> tuple[Concern, ...]:
    """Each kind of danger once, with the rules that make it and one example."""
    found: dict[tuple[str, tuple[str, ...]], Concern] = {}
    own = tuple(rule for rule in policies.rules if rule.file != BUILT_IN_NAME)
    for rule in own:
        if _permits_all(rule):
            one = Concern(Level.DANGER, say("policy.check-permit-all"), (rule,))
            found[(one.what, (rule.id,))] = one
    decided: set[str] = set()
    for point in points(own, policies.rules):
        decision = decide(policies, point)
        decided |= {rule.id for rule in decision.deciding}
        for what in _dangers(policies, point, decision) if decision.allowed else ():
            key = (what, tuple(rule.id for rule in decision.deciding))
            if key not in found or _size(point) < _size(found[key].example):
                found[key] = Concern(Level.DANGER, what, decision.deciding, point)
    return (*found.values(), *_idle(policies, now), *_undecided(own, decided))


def _dangers(policies: Policies, point: Point, decision: Decision) -> Iterator[str]:
    """What is wrong with this being allowed."""
    if not point.roles and not point.claims and point.who == SOMEBODY:
        yield say("policy.check-anybody", action=point.action)
    alone = point.approvals == 0 and not point.emergency
    if point.action is Action.SIGN and point.environment is Environment.PRODUCTION:
        if alone:
            yield say("policy.check-production-alone")
        if point.provenance in (None, Provenance.DEVELOPMENT):
            yield say("policy.check-production-key")
    if point.action in (Action.MANAGE_KEYS, Action.CHANGE_POLICY) and alone:
        yield say("policy.check-change-alone", action=point.action)
    if decision.follow_up is None:
        more = (replace(point, approvals=point.approvals + 1), replace(point, approvals=9, officers=9))
        if not all(decide(policies, one).allowed for one in more):
            yield say("policy.check-more-is-less")


def _permits_all(rule: Rule) -> bool:
    form = json.loads(rule.form)
    scopes = (form["principal"], form["action"], form["resource"])
    return rule.effect is Effect.PERMIT and not form["conditions"] and all(scope["op"] == "All" for scope in scopes)


def _idle(policies: Policies, now: datetime) -> Iterator[Concern]:
    named = {name for rule in policies.rules for name in rule.names}
    reads = {name for rule in policies.rules for name in rule.reads}
    settings = policies.settings
    every = [("Hours", "context.hours", one.name) for one in settings.hours]
    every += [("Freeze", "context.freeze", one.name) for one in settings.freezes]
    every += [("Quota", "context.over", one.name) for one in settings.quotas]
    for kind, place, name in every:
        if (kind, name) not in named and not _looks_at_any(policies, place, reads):
            yield Concern(Level.IDLE, say("policy.check-unused", kind=kind, name=name))
    if settings.builders and not reads & OF_BUILDERS:
        yield Concern(Level.IDLE, say("policy.check-unused", kind="Builder", name=settings.builders[0].name))
    if not settings.builders and reads & OF_BUILDERS:
        rules = tuple(rule for rule in policies.rules if rule.reads & OF_BUILDERS)
        yield Concern(Level.IDLE, say("policy.check-no-builder"), rules)
    for freeze in settings.freezes:
        if freeze.end <= now:
            yield Concern(Level.IDLE, say("policy.check-over", name=freeze.name))


def _looks_at_any(policies: Policies, place: str, reads: set[str]) -> bool:
    """A rule may ask for any freeze at all, by `context.freeze.isEmpty()`."""
    return place in reads and any(place in rule.reads and "isEmpty" in rule.text for rule in policies.rules)


def _undecided(own: tuple[Rule, ...], decided: set[str]) -> Iterator[Concern]:
    for rule in own:
        if rule.id not in decided:
            yield Concern(Level.IDLE, say("policy.check-undecided"), (rule,))


def _size(point: Point | None) -> int:
    return 0 if point is None else len(list(point.said()))
