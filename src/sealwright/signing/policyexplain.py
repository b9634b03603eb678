"""Why policies answer as they do: each rule taken apart into its conditions, which of them hold, and all in words.

The conditions of a `when` that are joined by && are asked one by one, in one call: each becomes a rule of its own, and those that
hold are the reasons of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from sealwright.signing.policy import Policies
from sealwright.signing.policyquestion import Question
from sealwright.signing.policyrules import Effect, Form, Rule, attribute, conditions, constants
from sealwright.signing.policyschema import Crowd, asked, circumstances, context_text, request
from sealwright.texts.policy import ATTRIBUTES, FLAGS
from sealwright.texts.words import say

_ALL = {"op": "All"}
_ENTITY_TYPES_SAID = ("Hours", "Freeze", "Quota")


@dataclass(frozen=True, slots=True)
class Part:
    """One condition. holds: as it stands in the rule; excepts: it is behind `unless`, and where it holds the rule does not."""

    words: str
    holds: bool
    excepts: bool = False

    @property
    def fits(self) -> bool:
        """Whether it is as the rule wants it."""
        return self.holds is not self.excepts


@dataclass(frozen=True, slots=True)
class Explained:
    """A rule that is for the action that was asked about."""

    rule: Rule
    parts: tuple[Part, ...]

    @property
    def missing(self) -> tuple[Part, ...]:
        """What is in the way of its holding."""
        return tuple(part for part in self.parts if not part.fits)


def explain(policies: Policies, question: Question) -> tuple[Explained, ...]:
    """Every rule for the action, those nearest to holding first; () where no rule can be asked."""
    one = asked(question.principal, question.action, question.resource, policies.settings, policies.seen)
    if isinstance(one, str):
        return ()
    crowd = Crowd(question.context.approvals, question.context.officers)
    facts = policies.settings.facts(question)
    context = context_text(circumstances(question, facts, question.context.emergency), crowd, policies.seen)
    found = []
    for rule in policies.rules:
        form = json.loads(rule.form)
        if _is_for(form, question.action.value):
            found.append((rule, [("scope", form["principal"]), *conditions(form)]))
    pieces = {f"{n}-{k}": _alone(*part) for n, (_, parts) in enumerate(found) for k, part in enumerate(parts)}
    rules = cedarpy.PolicySet.from_json_str(
        json.dumps({"staticPolicies": pieces, "templates": {}, "templateLinks": []})
    )
    holding = set(cedarpy.is_authorized(request(one, context), rules, one.entities).diagnostics.reasons)
    explained = [
        Explained(
            rule,
            tuple(
                Part(_scope_words(form) if kind == "scope" else in_words(form), f"{n}-{k}" in holding, kind == "unless")
                for k, (kind, form) in enumerate(parts)
                if kind != "scope" or form["op"] != "All"
            ),
        )
        for n, (rule, parts) in enumerate(found)
    ]
    return tuple(sorted(explained, key=lambda one: len(one.missing)))


def in_words(form: Form) -> str:
    """A condition as people say it; Cedar's text where there are no words for it."""
    ((operator, operands),) = form.items()
    if operator == "Value":
        return say("policy.always") if operands is True else say("policy.never") if operands is False else _cedar(form)
    if operator in (".", "Var"):
        return FLAGS.get(attribute(form)) or _cedar(form)
    if operator == "!":
        return say("policy.not", what=in_words(operands["arg"]))
    if operator in ("&&", "||"):
        words = [in_words(one) for one in _joined(form, operator)]
        return (say("policy.and") if operator == "&&" else say("policy.or")).join(f"({one})" for one in words)
    return _compared(operator, operands) or _cedar(form)


def _compared(operator: str, operands: Any) -> str:
    """A comparison of an attribute with constants; "" for any other."""
    if not isinstance(operands, Mapping) or "left" not in operands or "right" not in operands:
        return ""
    left, right = operands["left"], operands["right"]
    if operator == "contains" and constants(left):
        left, right, operator = right, left, "one of"
    place, values = attribute(left), constants(right)
    name = ATTRIBUTES.get(place, "") or _claim(place)
    if not name or not values:
        return ""
    said = ", ".join(str(value[1]) if isinstance(value, tuple) else str(value) for value in values)
    if place == "context.hours" and operator == "contains":
        return say("policy.in-hours", name=said)
    if place == "context.freeze" and operator == "contains":
        return say("policy.in-freeze", name=said)
    if place == "context.over" and operator == "contains":
        return say("policy.over", name=said)
    match operator:
        case "==":
            return say("policy.is-empty", name=name) if said == "" else say("policy.is", name=name, value=said)
        case "!=":
            return say("policy.is-something", name=name) if said == "" else say("policy.is-not", name=name, value=said)
        case ">=":
            return say("policy.at-least", name=name, value=said)
        case ">":
            return say("policy.more-than", name=name, value=said)
        case "<=":
            return say("policy.at-most", name=name, value=said)
        case "<":
            return say("policy.less-than", name=name, value=said)
        case "in":
            return say("policy.has-role", name=name, value=said)
        case "one of":
            return say("policy.one-of", name=name, value=said)
        case "contains":
            return say("policy.contains", name=name, value=said)
    return ""


def _claim(place: str) -> str:
    name = place.removeprefix("principal.claims.")
    return say("policy.claim", name=name) if name != place else ""


def _scope_words(scope: Form) -> str:
    """Who a rule is for."""
    entity = scope.get("entity") or scope.get("in", {}).get("entity")
    words = []
    if "entity_type" in scope:
        words.append(say("policy.who-machine") if scope["entity_type"] == "Machine" else say("policy.who-person"))
    if entity is not None and entity["type"] == "Role":
        words.append(say("policy.who-role", role=entity["id"]))
    elif entity is not None:
        words.append(say("policy.who-is", kind=entity["type"].lower(), name=entity["id"]))
    return say("policy.and").join(words)


def _is_for(form: Form, action: str) -> bool:
    scope = form["action"]
    named = [scope["entity"]] if "entity" in scope else scope.get("entities", [])
    return scope["op"] == "All" or any(one["id"] == action for one in named)


def _alone(kind: str, form: Form) -> Form:
    """A rule that permits where one condition holds."""
    return {
        "effect": Effect.PERMIT.value,
        "principal": form if kind == "scope" else _ALL,
        "action": _ALL,
        "resource": _ALL,
        "conditions": [] if kind == "scope" else [{"kind": "when", "body": form}],
    }


def _joined(form: Form, operator: str) -> Iterator[Form]:
    if set(form) == {operator}:
        yield from _joined(form[operator]["left"], operator)
        yield from _joined(form[operator]["right"], operator)
    else:
        yield form


def _cedar(form: Form) -> str:
    """The condition as Cedar writes it."""
    rule = {"staticPolicies": {"one": _alone("when", form)}, "templates": {}, "templateLinks": []}
    text = cedarpy.policies_from_json_str(json.dumps(rule))
    return text[text.index("{") + 1 : text.rindex("}")].strip()
