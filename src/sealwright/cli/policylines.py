"""What the commands `policy ...` print: a table of cases, an answer taken apart, dangers, what became weaker; and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sealwright.artifact.names import display
from sealwright.signing.people import Principal
from sealwright.signing.policy import Decision, Needed, Policies
from sealwright.signing.policycase import Outcome, deciding
from sealwright.signing.policycheck import Concern, Level
from sealwright.signing.policydiff import Comparison, Direction, Weaker
from sealwright.signing.policyexplain import Explained, Part, explain
from sealwright.signing.policymatrix import Point
from sealwright.signing.policyquestion import Question
from sealwright.signing.policyrules import BUILT_IN_NAME, Effect, Rule
from sealwright.texts.words import say

NEAREST = 3
MOST_SHOWN = 12


def test_lines(
    policies: Policies, outcomes: Sequence[Outcome], usual: Iterable[Sequence[tuple[str, str]]]
) -> list[str]:
    """What is usual in each table; a line a case, what is wrong below it; the rules that no case tries, and the sum."""
    rows = [_row(outcome) for outcome in outcomes]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [say("policy.test-usual", what=_said(said)) for said in usual if said]
    for outcome, row in zip(outcomes, rows, strict=True):
        standing, answer, who, action, what, rule = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        words = {"standing": standing, "answer": answer, "who": who, "action": action, "what": what, "rule": rule}
        lines.append(say("policy.test-row", **words).rstrip())
        if not outcome.as_expected:
            lines += _unexpected(policies, outcome)
    tried = deciding(outcomes)
    untried = [rule for rule in policies.rules if rule.file != BUILT_IN_NAME and rule.id not in tried]
    lines += [say("policy.test-untested", rule=rule) for rule in untried]
    passed = sum(outcome.as_expected for outcome in outcomes)
    lines.append(say("policy.test-summary", number=len(outcomes), passed=passed, failed=len(outcomes) - passed))
    return [display(line) for line in lines]


def case_object(outcome: Outcome) -> dict[str, object]:
    """One case as JSON."""
    case = outcome.case
    return {
        "case": case.name or None,
        "where": case.where,
        "who": case.question.principal.id,
        "action": case.question.action.value,
        "expected": "allowed" if case.allowed else "refused",
        "as_expected": outcome.as_expected,
        "needed": outcome.needed or None,
        **_decision_object(outcome.decision),
    }


def explain_lines(policies: Policies, question: Question, said: Iterable[tuple[str, str]]) -> list[str]:
    """The answer; the rules that made it, or those that would; what would have to change."""
    decision = policies.decide(question)
    rules = ", ".join(map(str, decision.deciding))
    what = _said(said)
    words = {"who": _who(question.principal), "action": question.action}
    asked = say("policy.explain-asked", what=what, **words) if what else say("policy.explain-asked-bare", **words)
    if decision.allowed:
        lines = [say("policy.explain-allowed", what=say("policy.allowed"), rules=rules), asked]
    else:
        lines = [say("policy.explain-refused", what=say("policy.refused"), reason=decision.reason), asked]
    if decision.follow_up is not None:
        owed = decision.follow_up
        lines.append(say("policy.explain-follow-up", officers=owed.officers, hours=owed.hours))
    if decision.advice:
        lines.append(say("policy.explain-advice", advice=decision.advice))
    for one in _of_interest(decision, explain(policies, question)):
        lines += _taken_apart(one)
    if not decision.allowed:
        lines.append(_needed_line(policies.needed(question)))
    return [display(line) for line in lines]


def explain_object(policies: Policies, question: Question) -> dict[str, object]:
    """The same as JSON, with every rule for the action."""
    decision = policies.decide(question)
    needed = None if decision.allowed else policies.needed(question)
    return {
        "who": question.principal.id,
        "action": question.action.value,
        "policy": str(policies.digest),
        **_decision_object(decision),
        "needed": None if needed is None else {"approvals": needed.approvals, "officers": needed.officers},
        "rules": [
            {
                **_rule_object(one.rule),
                "holds": not one.missing,
                "conditions": [
                    {"words": part.words, "holds": part.holds, "except": part.excepts} for part in one.parts
                ],
            }
            for one in explain(policies, question)
        ],
    }


def check_lines(policies: Policies, found: Sequence[Concern], place: str) -> list[str]:
    """Whether they can be used, and what is dangerous, that first."""
    dangerous = any(one.level is Level.DANGER for one in found)
    own = sum(rule.file != BUILT_IN_NAME for rule in policies.rules)
    said = policies.settings
    settings = len((*said.hours, *said.freezes, *said.quotas, *said.builders))
    words = {"folder": policies.folder.path, "rules": own, "settings": settings}
    lines = [
        say("policy.check-dangerous", **words) if dangerous else say("policy.check-fine", **words),
        say("policy.check-digest", digest=policies.digest),
    ]
    for one in found:
        lines.append(
            say("policy.check-danger", what=one.what)
            if one.level is Level.DANGER
            else say("policy.check-idle", what=one.what)
        )
        if one.rules:
            lines.append(say("policy.check-by", rules=", ".join(map(str, one.rules))))
        if one.example is not None:
            lines.append(say("policy.check-example", example=_point(one.example)))
    if place:
        lines.append(say("policy.check-idle", what=say("policy.check-place", why=place)))
    return [display(line) for line in lines]


def check_object(policies: Policies, found: Sequence[Concern], place: str) -> dict[str, object]:
    """The same as JSON."""
    return {
        "folder": policies.folder.path,
        "digest": str(policies.digest),
        "files": [file.name for file in policies.folder.files],
        "rules": [_rule_object(rule) for rule in policies.rules],
        "dangerous": any(one.level is Level.DANGER for one in found),
        "place": place or None,
        "concerns": [
            {
                "level": one.level.value,
                "what": one.what,
                "rules": [_rule_object(rule) for rule in one.rules],
                "example": None if one.example is None else _point_object(one.example),
            }
            for one in found
        ],
    }


def diff_lines(old: Policies, new: Policies, comparison: Comparison) -> list[str]:
    """What became weaker, by an example each, then the rules that differ."""
    words = {"old": old.folder.path, "new": new.folder.path}
    match comparison.direction:
        case Direction.NOT_WEAKER:
            lines = [say("policy.diff-not-weaker", **words)]
        case Direction.WEAKER:
            lines = [say("policy.diff-weaker", **words)]
        case Direction.UNDECIDED:
            lines = [say("policy.diff-undecided", asked=comparison.asked, new=new.folder.path)]
    lines += [say("policy.diff-setting", what=what) for what in comparison.settings]
    for one in comparison.weaker[:MOST_SHOWN]:
        lines += _weaker_lines(one)
    if len(comparison.weaker) > MOST_SHOWN:
        lines.append(say("policy.diff-more", number=len(comparison.weaker) - MOST_SHOWN))
    lines += [say("policy.diff-added", folder=old.folder.path, rule=rule) for rule in comparison.removed]
    lines += [say("policy.diff-added", folder=new.folder.path, rule=rule) for rule in comparison.added]
    if comparison.stricter:
        lines.append(say("policy.diff-stricter", old=old.folder.path, number=comparison.stricter))
    return [display(line) for line in lines]


def diff_object(old: Policies, new: Policies, comparison: Comparison) -> dict[str, object]:
    """The same as JSON."""
    return {
        "old": str(old.digest),
        "new": str(new.digest),
        "direction": comparison.direction.name.lower().replace("_", "-"),
        "settings": list(comparison.settings),
        "weaker": [
            {
                "example": _point_object(one.point),
                "questions": one.number,
                "before": _decision_object(one.before),
                "after": _decision_object(one.after),
            }
            for one in comparison.weaker
        ],
        "removed": [_rule_object(rule) for rule in comparison.removed],
        "added": [_rule_object(rule) for rule in comparison.added],
        "asked": comparison.asked,
        "stricter": comparison.stricter,
    }


def _said(fields: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{name}={text}" for name, text in fields)


def _row(outcome: Outcome) -> tuple[str, str, str, str, str, str]:
    case, decision = outcome.case, outcome.decision
    what = _said(case.said)
    return (
        say("policy.test-pass") if outcome.as_expected else say("policy.test-fail"),
        say("policy.allowed") if decision.allowed else say("policy.refused"),
        _who(case.question.principal),
        case.question.action.value,
        f"{case.name}: {what}" if case.name else what,
        " ".join(rule.id for rule in decision.deciding),
    )


def _unexpected(policies: Policies, outcome: Outcome) -> Iterator[str]:
    case = outcome.case
    expected = say("policy.allowed") if case.allowed else say("policy.refused")
    if case.rule:
        expected = say("policy.test-rule", expected=expected, rule=case.rule)
    if case.needed:
        expected = say("policy.test-needed", expected=expected, needed=case.needed, found=outcome.needed)
    yield say("policy.test-expected", where=case.where, expected=expected)
    if outcome.decision.reason:
        yield say("policy.test-why", why=outcome.decision.reason)
    if case.allowed and not outcome.decision.allowed:
        for one in _of_interest(outcome.decision, explain(policies, case.question)):
            for line in _taken_apart(one):
                yield say("policy.test-why", why=line)


def _of_interest(decision: Decision, explained: Sequence[Explained]) -> list[Explained]:
    """The rules that decided, or those that permit and are nearest to it."""
    names = {rule.id for rule in decision.deciding}
    if names:
        return [one for one in explained if one.rule.id in names]
    return [one for one in explained if one.rule.effect is Effect.PERMIT and one.missing][:NEAREST]


def _taken_apart(one: Explained) -> Iterator[str]:
    if one.missing:
        yield say("policy.explain-would", rule=one.rule)
    elif one.rule.effect is Effect.FORBID:
        yield say("policy.explain-because", rule=one.rule)
    else:
        yield say("policy.explain-permits", rule=one.rule)
    for part in one.parts:
        words = _part(part)
        yield say("policy.explain-fits", words=words) if part.fits else say("policy.explain-fits-not", words=words)


def _part(part: Part) -> str:
    return say("policy.explain-except", words=part.words) if part.excepts else part.words


def _needed_line(needed: Needed | None) -> str:
    if needed is None:
        return say("policy.explain-needed-none")
    number = say("policy.approvals", number=needed.approvals)
    if needed.officers:
        number = say("policy.approvals-officers", number=needed.approvals, officers=needed.officers)
    return say("policy.explain-needed", number=number)


def _weaker_lines(one: Weaker) -> Iterator[str]:
    yield say("policy.diff-row", question=_point(one.point))
    if one.before.follow_up is not None:
        yield say("policy.diff-before-owed", hours=one.before.follow_up.hours)
    else:
        yield say("policy.diff-before", reason=one.before.reason)
    yield say("policy.diff-after", rules=", ".join(map(str, one.after.deciding)), number=one.number)


def _who(who: Principal) -> str:
    roles = ", ".join(sorted(who.roles)) or say("policy.no-role")
    return (
        say("policy.machine", id=who.id, roles=roles) if who.machine else say("policy.person", id=who.id, roles=roles)
    )


def _point(point: Point) -> str:
    question = point.question()
    what = _said((name, text) for name, text in point.said() if name not in ("machine", "who", "roles"))
    words = {"who": _who(question.principal), "action": question.action}
    return say("policy.explain-asked", what=what, **words) if what else say("policy.explain-asked-bare", **words)


def _point_object(point: Point) -> dict[str, object]:
    return {"action": point.action.value, "who": point.who, **dict(point.said())}


def _decision_object(decision: Decision) -> dict[str, object]:
    owed = decision.follow_up
    return {
        "allowed": decision.allowed,
        "reason": decision.reason or None,
        "advice": decision.advice or None,
        "deciding": [_rule_object(rule) for rule in decision.deciding],
        "follow_up": None if owed is None else {"officers": owed.officers, "hours": owed.hours},
    }


def _rule_object(rule: Rule) -> dict[str, object]:
    return {"id": rule.id, "effect": rule.effect.value, "file": rule.file, "line": rule.line}
