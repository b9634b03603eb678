"""The service's authorisation: who may do what, as a folder of Cedar rules says, read once and used whole or not at all.

1. Nothing is allowed unless a rule permits it and none forbids it.
2. A set with one wrong file is no set: `load_policies` raises, and the service does not start.
3. Cedar leaves a rule out whose evaluation fails, which for a `forbid` means that it does not forbid. Here any failure refuses, by name.
4. An answer depends on the question alone: what time and quotas mean for it becomes names first (`Facts`), and Cedar's answer is
   remembered by the exact text that Cedar was given.
5. An emergency is asked for, never assumed. What is allowed without it owes nothing; what only an emergency allows says by when two
   officers look at it.

    policies = load_policies("/etc/sealwright/policies")
    decision = policies.decide(question)      # decision.allowed, .deciding, .reason, .follow_up
    needed = policies.needed(question)        # Needed(approvals=2, officers=0); None: never
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cedarpy

from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedPolicy
from sealwright.signing.people import Principal
from sealwright.signing.policyfolder import SETTINGS, PolicyFile, PolicyFolder, read_folder
from sealwright.signing.policyquestion import Action, Facts, Question, Subject
from sealwright.signing.policyrules import BUILT_IN, BUILT_IN_NAME, MAX_RULES, OWN_PREFIX, Rule, parse_rules
from sealwright.signing.policyschema import (
    Asked,
    Circumstances,
    Crowd,
    Seen,
    asked,
    circumstances,
    context_text,
    request,
    schema_text,
)
from sealwright.signing.policysettings import Settings, parse_settings
from sealwright.texts.words import say
from sealwright.trust.place import unsafe_because

MOST_NEEDED = 8
FOLLOW_UP_OFFICERS = 2
REMEMBERED = 4096
_CEDAR_ID = re.compile(r"policy([0-9]+)")


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is owed after an emergency: so many officers look at it within so many hours."""

    officers: int
    hours: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. deciding: the rules that permit, or else those that forbid; () where nothing permits.

    reason: why not, one clause, "" where allowed; advice: what the rules tell the one who is refused, or "".
    """

    allowed: bool
    deciding: tuple[Rule, ...]
    reason: str = ""
    advice: str = ""
    follow_up: FollowUp | None = None


@dataclass(frozen=True, slots=True)
class Needed:
    """The least with which it would be allowed: approvals by distinct persons, so many of them officers.

    prepares: second prepares by distinct others; uploaded: the service must have prepared the files itself. Both are of the question.
    """

    approvals: int
    officers: int
    prepares: int = 0
    uploaded: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What Cedar said. holding: numbers of the rules that decided; failed: what went wrong, and then it is no answer."""

    allowed: bool
    holding: tuple[int, ...] = ()
    failed: str = ""


class Policies:
    """A set of rules and settings that was read and checked whole. It does not change, and threads may share it."""

    def __init__(self, folder: PolicyFolder, rules: tuple[Rule, ...], settings: Settings) -> None:
        self.folder = folder
        self.digest: Digest = folder.digest
        self.rules = rules
        self.settings = settings
        self.seen = Seen.by(name for rule in rules for name in rule.reads)
        text = "\n".join(rule.text for rule in rules)
        self._schema = cedarpy.Schema.from_str(schema_text(settings, self.seen))
        self._cedar = cedarpy.PolicySet.from_str(text)
        if len(self._cedar) != len(rules) or not cedarpy.validate_policies(text, self._schema):
            raise MalformedPolicy(folder.path, "Cedar sees other rules than we do", "Report this with the folder.")
        reads = frozenset[str]().union(*(rule.reads for rule in rules))
        approvals = range(MOST_NEEDED + 1) if reads & {"context.approvals", "context.officers"} else range(1)
        officers = MOST_NEEDED if "context.officers" in reads else 0
        self._crowds = tuple(Crowd(n, k) for n in approvals for k in range(min(n, officers) + 1))
        self._answers = lru_cache(maxsize=REMEMBERED)(self._ask)
        # what Cedar is given, which one asker's artifacts have alike
        self._asked = lru_cache(maxsize=REMEMBERED)(self._asked_of)
        self._texts = lru_cache(maxsize=REMEMBERED)(self._texts_of)

    def decide(self, question: Question) -> Decision:
        """Whether it is allowed, with the approvals that the question has."""
        crowd = Crowd(question.context.approvals, question.context.officers)
        return self.decide_each(question, self.settings.facts(question), (crowd,))[0]

    def needed(self, question: Question) -> Needed | None:
        """The fewest approvals, and with them the fewest officers, with which it would be allowed; None: never, by 0 to 8."""
        decisions = self._decisions(question, self.settings.facts(question), self._crowds)
        return next(
            (
                Needed(*crowd, question.context.prepares, question.context.uploaded)
                for crowd, decision in zip(self._crowds, decisions, strict=True)
                if decision.allowed
            ),
            None,
        )

    def decide_each(self, question: Question, facts: Facts, crowds: Sequence[Crowd]) -> list[Decision]:
        """The same question with other numbers of approvals, and with facts that are given."""
        return list(self._decisions(question, facts, tuple(crowds)))

    def _decisions(self, question: Question, facts: Facts, crowds: tuple[Crowd, ...]) -> Iterator[Decision]:
        """In the order of the crowds; Cedar is asked about all of them at once."""
        one = self._asked(question.principal, question.action, question.resource)
        if isinstance(one, str):
            return iter([Decision(False, (), one) for _ in crowds])

        def given(emergency: bool) -> tuple[Answer, ...]:
            return self._answers(one, self._texts(circumstances(question, facts, emergency), crowds))

        if question.action is Action.BREAK_GLASS:
            return map(self._glass, given(True))
        if not question.context.emergency:
            return map(self._decision, given(False))
        return map(self._emergency, given(False), given(True))

    def _asked_of(self, who: Principal, action: Action, what: Subject) -> Asked | str:
        return asked(who, action, what, self.settings, self.seen)

    def _texts_of(self, about: Circumstances, crowds: tuple[Crowd, ...]) -> tuple[str, ...]:
        return tuple(context_text(about, crowd, self.seen) for crowd in crowds)

    def _ask(self, one: Asked, contexts: tuple[str, ...]) -> tuple[Answer, ...]:
        requests = [request(one, context) for context in contexts]
        try:
            results = cedarpy.is_authorized_batch(requests, self._cedar, one.entities, self._schema)
        except ValueError as cause:
            return tuple(Answer(False, failed=str(cause)) for _ in contexts)
        return tuple(self._answer(result) for result in results)

    def _answer(self, result: cedarpy.AuthzResult) -> Answer:
        """Rule 3: whatever went wrong is no answer."""
        errors = list(result.diagnostics.errors)
        if errors or result.decision is cedarpy.Decision.NoDecision:
            return Answer(False, failed=self._renamed("; ".join(errors)) or "Cedar decided nothing")
        numbers = [_CEDAR_ID.fullmatch(reason) for reason in result.diagnostics.reasons]
        return Answer(result.allowed, tuple(sorted(int(number[1]) for number in numbers if number is not None)))

    def _renamed(self, text: str) -> str:
        """Cedar numbers rules; people know them by id, file and line."""
        return _CEDAR_ID.sub(lambda found: str(self.rules[int(found[1])]), text)

    def _holding(self, answer: Answer) -> tuple[Rule, ...]:
        return tuple(self.rules[number] for number in answer.holding)

    def _decision(self, answer: Answer) -> Decision:
        rules = self._holding(answer)
        if answer.allowed:
            return Decision(True, rules)
        advice = " ".join(dict.fromkeys(rule.advice for rule in rules if rule.advice))
        if answer.failed:
            return Decision(False, (), say("policy.why-failed", what=answer.failed))
        if rules:
            return Decision(False, rules, say("policy.why-forbidden", rules=", ".join(map(str, rules))), advice)
        return Decision(False, (), say("policy.why-nothing"))

    def _emergency(self, before: Answer, after: Answer) -> Decision:
        """Rule 5. A rule that looks at the emergency has @followup, so one of those that changed the answer says by when."""
        if before.failed or after.failed or before.allowed or not after.allowed:
            return self._decision(before if before.failed or before.allowed else after)
        return self._owing(after, (*self._holding(before), *self._holding(after)))

    def _glass(self, answer: Answer) -> Decision:
        """Only a rule with @followup breaks glass: one that permits every action does not."""
        if not answer.allowed:
            return self._decision(answer)
        return self._owing(answer, self._holding(answer))

    def _owing(self, answer: Answer, rules: Sequence[Rule]) -> Decision:
        hours = [rule.follow_up_h for rule in rules if rule.follow_up_h is not None]
        if not hours:
            return Decision(False, (), say("policy.why-no-follow-up"))
        return Decision(True, self._holding(answer), follow_up=FollowUp(FOLLOW_UP_OFFICERS, min(hours)))


def load_policies(path: str) -> Policies:
    """For the service: the folder's rules, where only its administrators can have written them."""
    folder = read_folder(path)
    if why := place_problem(folder):
        raise MalformedPolicy(path, why, "Let only administrators write there.")
    return parse_policies(folder)


def place_problem(folder: PolicyFolder) -> str:
    """Why others than administrators could have written the rules, one clause; "" where they could not."""
    for path in (folder.path, *(folder.shown(file.name) for file in folder.files)):
        if why := unsafe_because(path):
            return why if path == folder.path else f"{os.path.basename(path)}: {why}"
    return ""


def read_policies(path: str) -> Policies:
    """For whoever checks and tests a folder: wherever it lies."""
    return parse_policies(read_folder(path))


def parse_policies(folder: PolicyFolder) -> Policies:
    """The set that was read. MalformedPolicy naming file and line, and none of it is used."""
    settings = Settings()
    for file in folder.files:
        if file.name.endswith(SETTINGS):
            settings = parse_settings(file.data, folder.shown(file.name))
    schema = cedarpy.Schema.from_str(schema_text(settings, Seen.all(settings)))
    rules = list(parse_rules(PolicyFile(BUILT_IN_NAME, BUILT_IN), BUILT_IN_NAME, schema))
    seen = {rule.id: rule for rule in rules}
    for file in folder.files:
        if file.name.endswith(SETTINGS):
            continue
        for rule in parse_rules(file, folder.shown(file.name), schema):
            _check_id(rule, seen, folder)
            seen[rule.id] = rule
            rules.append(rule)
    own = [rule for rule in rules if rule.file != BUILT_IN_NAME]
    if not own or len(own) > MAX_RULES:
        raise MalformedPolicy(
            folder.path, f"it holds {len(own)} rules", f"1 to {MAX_RULES} are used; without one nothing is allowed."
        )
    return Policies(folder, tuple(rules), settings)


def _check_id(rule: Rule, seen: dict[str, Rule], folder: PolicyFolder) -> None:
    where = f"{folder.shown(rule.file)}:{rule.line}"
    if rule.id in seen:
        raise MalformedPolicy(where, f"the id {rule.id} is that of {seen[rule.id]} already", "Give it another id.")
    if rule.id.startswith(OWN_PREFIX):
        raise MalformedPolicy(where, f"ids with {OWN_PREFIX} are Sealwright's own", "Give it another id.")
