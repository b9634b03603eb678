"""Questions made from rules: around each rule the question that it is about, and what differs from it in one or two things.

A rule is about what its conditions name: `resource.environment == Environment::"production"`, `context.approvals >= 2`. From there every
other value that any rule names is tried, the neighbours of every number, and what no rule names. The questions find what people get
wrong; that none was found proves nothing, since a rule may combine more than two things.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from sealwright.keys.key import Provenance
from sealwright.signing.people import Principal, Role
from sealwright.signing.policyquestion import Action, Context, Facts, Question, Subject
from sealwright.signing.policyrules import Effect, Form, Rule, attribute, constants, nodes
from sealwright.signing.policyschema import NONE
from sealwright.signing.policysettings import Settings
from sealwright.trust.model import Environment

MAX_POINTS = 6000
MAX_NUMBER = 9
TENANT, OTHER_TENANT = "own", "another"
SOMEBODY = "somebody"
ANOTHER = "another"
_NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)  # of no importance: facts are given
_COMPARED = ("==", "!=", ">=", ">", "<=", "<", "in", "contains", "containsAll", "containsAny")


@dataclass(frozen=True, slots=True)
class Point:
    """A question by what rules can see of it; its facts are given, whatever the time."""

    action: Action = Action.SIGN
    machine: bool = False
    who: str = SOMEBODY
    roles: frozenset[Role] = frozenset()
    claims: tuple[tuple[str, str], ...] = ()
    own_tenant: bool = True
    key: str = ""
    provenance: Provenance | None = None
    format: str = ""
    product: str = ""
    version: str = ""
    environment: Environment | None = None
    hardware: tuple[str, ...] = ()
    count: int = 1
    claims_signed: bool = False
    approvals: int = 0
    officers: int = 0
    own: bool = False
    builder: str = ""
    build_type: str = ""
    source: str = ""
    source_ref: str = ""
    second_prepare: bool = False
    prepares: int = 0
    uploaded: bool = False
    emergency: bool = False
    hours: frozenset[str] = frozenset()
    freezes: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()

    def question(self) -> Question:
        """As it is asked."""
        return Question(
            Principal(self.who, self.who, self.machine, TENANT, self.roles, self.claims),
            self.action,
            Subject(
                TENANT if self.own_tenant else OTHER_TENANT,
                self.key,
                self.provenance,
                self.format,
                self.product,
                self.version,
                self.environment,
                self.hardware,
                self.count,
                self.claims_signed,
            ),
            Context(
                _NOW,
                self.approvals,
                min(self.officers, self.approvals),
                self.who if self.own else "",
                self.builder,
                any((self.builder, self.build_type, self.source, self.source_ref)),
                max(self.prepares, int(self.second_prepare)),
                emergency=self.emergency,
                build_type=self.build_type,
                source=self.source,
                source_ref=self.source_ref,
                uploaded=self.uploaded,
            ),
        )

    def facts(self, settings: Settings) -> Facts:
        """Of the names it has, those that these settings know."""
        return Facts(
            self.hours & {one.name for one in settings.hours},
            self.freezes & {one.name for one in settings.freezes},
            self.over & {one.name for one in settings.quotas},
        )

    def said(self) -> Iterator[tuple[str, str]]:
        """What differs from nothing at all, name and value as a table of tests writes them."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("action", "own_tenant") or value == field.default:
                continue
            yield field.name, shown(value)
        if not self.own_tenant:
            yield "of", "another tenant"


class Change(NamedTuple):
    """One thing of a point to differ. field: of Point."""

    field: str
    value: Any


def points(about: Sequence[Rule], known: Sequence[Rule], limit: int = MAX_POINTS) -> Iterator[Point]:
    """Different points around the rules `about`, with every value that one of `known` names; the nearest first."""
    changes = _changes(known)
    favours = [change for rule in known if rule.effect is Effect.FORBID for change in _favours(rule)]
    bases = list(dict.fromkeys(base for rule in about for base in _bases(rule, favours)))
    seen: set[Point] = set()
    for point in _around(bases, changes):
        if point not in seen:
            seen.add(point)
            yield point
            if len(seen) == limit:
                return


def shown(value: object) -> str:
    """A value as people write it in a table of tests."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset):
        return " ".join(sorted(map(str, value)))
    if isinstance(value, tuple):
        return " ".join("=".join(one) if isinstance(one, tuple) else str(one) for one in value)
    return str(value)


def _around(bases: Sequence[Point], changes: Sequence[Change]) -> Iterator[Point]:
    """The bases, then one thing changed, then two; of every base a few in turn, since there may be more than are asked."""
    yield from bases
    for one in changes:
        yield from (_changed(base, one) for base in bases)
    turns = [_changed_twice(base, changes) for base in bases]
    while turns:
        left = []
        for turn in turns:
            few = list(islice(turn, 20))
            yield from few
            left += [turn] if few else []
        turns = left


def _changed_twice(base: Point, changes: Sequence[Change]) -> Iterator[Point]:
    for number, one in enumerate(changes):
        near = _changed(base, one)
        yield from (_changed(near, two) for two in changes[number + 1 :] if two.field != one.field)


def _changed(point: Point, change: Change) -> Point:
    if change.field == "claims" and len(change.value) == 1:
        ((name, _),) = change.value
        kept = tuple(one for one in point.claims if one[0] != name)
        return replace(point, claims=tuple(sorted((*kept, *change.value))))
    if change.field == "who":
        machine, who = change.value
        return replace(point, machine=machine, who=who)
    return replace(point, **{change.field: change.value})


def _bases(rule: Rule, favours: Sequence[Change]) -> Iterator[Point]:
    """What the rule is about: by what it demands, with what it excepts, and with what keeps others from forbidding it."""
    form = json.loads(rule.form)
    demanded = list(_scope(form))
    demanded += [change for one in form["conditions"] if one["kind"] == "when" for change in _named(one["body"])]
    excepted = [change for one in form["conditions"] if one["kind"] == "unless" for change in _named(one["body"])]
    said = {change.field for change in demanded}
    yield _all_changed(Point(), demanded)
    yield _all_changed(Point(), demanded + excepted)
    yield _all_changed(Point(), [*(change for change in favours if change.field not in said), *demanded])


def _favours(rule: Rule) -> Iterator[Change]:
    """What makes a rule not forbid: its exceptions, but for an emergency, and what something must not be different from."""
    for one in json.loads(rule.form)["conditions"]:
        if one["kind"] == "unless":
            yield from (change for change in _named(one["body"]) if change.field not in ("emergency", "own"))
        else:
            for operator, operands in nodes(one["body"]):
                if operator == "!=":
                    yield from _named({"==": operands})


def _all_changed(point: Point, changes: Iterable[Change]) -> Point:
    for change in changes:
        point = _changed(point, change)
    return point


def _scope(form: Form) -> Iterator[Change]:
    principal, action = form["principal"], form["action"]
    kind = principal.get("entity_type")
    if kind is not None:
        yield Change("machine", kind == "Machine")
    entity = principal.get("entity") or principal.get("in", {}).get("entity")
    if entity is not None:
        yield from _entity(entity["type"], entity["id"], "principal")
    for one in ([action["entity"]] if "entity" in action else action.get("entities", []))[:1]:
        yield Change("action", Action(one["id"]))


def _named(form: Form) -> Iterator[Change]:
    """What an expression compares with constants, and the truth values it looks at, in its order."""
    for operator, operands in nodes(form):
        if operator in _COMPARED and isinstance(operands, Mapping):
            for one, other in ((operands["left"], operands["right"]), (operands["right"], operands["left"])):
                place = attribute(other)
                for value in constants(one):
                    yield from _of(place, value, operator)
        elif operator == ".":
            name = attribute({".": operands})
            if name in _FLAGS:
                yield Change(_FLAGS[name], True)


_FLAGS = {
    "context.own": "own",
    "context.emergency": "emergency",
    "context.second_prepare": "second_prepare",
    "context.uploaded": "uploaded",
    "resource.claims_signed": "claims_signed",
}
_TEXTS = {
    "resource.key": "key",
    "resource.product": "product",
    "resource.version": "version",
    "context.builder": "builder",
    "context.build_type": "build_type",
    "context.source": "source",
    "context.source_ref": "source_ref",
}
_NUMBERS = {
    "resource.count": "count",
    "context.approvals": "approvals",
    "context.officers": "officers",
    "context.prepares": "prepares",
}
_ENTITIES: dict[str, tuple[str, Callable[[str], object]]] = {
    "Provenance": ("provenance", Provenance),
    "Environment": ("environment", Environment),
    "Format": ("format", str),
    "Hours": ("hours", lambda name: frozenset({name})),
    "Freeze": ("freezes", lambda name: frozenset({name})),
    "Quota": ("over", lambda name: frozenset({name})),
}


def _of(place: str, value: Any, operator: str) -> Iterator[Change]:
    if isinstance(value, tuple):
        yield from _entity(value[0], value[1], place)
    elif place in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        number = min(max(value + (operator == ">"), 0), MAX_NUMBER if place != "resource.count" else 2**62)
        yield Change(_NUMBERS[place], max(number, 1) if place == "resource.count" else number)
        if place == "context.officers":
            yield Change("approvals", number)
    elif place in _TEXTS and isinstance(value, str):
        yield Change(_TEXTS[place], value)
    elif place == "resource.layout" and isinstance(value, str) and value:
        yield Change("format", f"layout:{value}")
    elif place == "resource.hardware" and isinstance(value, str):
        yield Change("hardware", (value,))
    elif place.startswith("principal.claims.") and isinstance(value, str):
        yield Change("claims", ((place.rpartition(".")[2], value),))


def _entity(kind: str, name: str, place: str) -> Iterator[Change]:
    if kind == "Role":
        yield Change("roles", frozenset({Role(name)}))
    elif kind in ("Person", "Machine") and place == "principal":
        yield Change("who", (kind == "Machine", name))
    elif kind in _ENTITIES:
        field, read = _ENTITIES[kind]
        empty = "" if kind == "Format" else None
        yield Change(field, empty if name == NONE else read(name))


def _changes(known: Iterable[Rule]) -> list[Change]:
    """Every value of every field that is tried, in the order of the fields."""
    named: list[Change] = []
    for rule in known:
        form = json.loads(rule.form)
        named += _scope(form)
        for one in form["conditions"]:
            named += _named(one["body"])
    found: list[Change] = [Change("action", action) for action in Action]
    found += [Change("machine", value) for value in (False, True)]
    found += [Change("roles", frozenset()), *(Change("roles", frozenset({role})) for role in Role)]
    found += [Change("roles", frozenset(Role)), Change("claims", ()), Change("own_tenant", False)]
    found += [Change("provenance", value) for value in (None, *Provenance)]
    found += [Change("environment", value) for value in (None, *Environment)]
    for flag in ("claims_signed", "own", "second_prepare", "uploaded", "emergency"):
        found += [Change(flag, value) for value in (False, True)]
    for field in ("key", "product", "version", "builder", "build_type", "source", "source_ref"):
        found += [Change(field, value) for value in ("", ANOTHER)]
    found += [Change("hardware", value) for value in ((), (ANOTHER,))]
    found += [Change("format", value) for value in ("", "detached")]
    found += [Change(field, frozenset()) for field in ("hours", "freezes", "over")]
    found += [Change("count", 1), Change("approvals", 0), Change("officers", 0), Change("prepares", 0)]
    for change in named:
        found.append(change)
        if change.field in ("count", "approvals", "officers", "prepares"):
            low = 1 if change.field == "count" else 0
            found += [Change(change.field, max(low, change.value + step)) for step in (-1, 1)]
        if change.field == "claims":
            ((name, value),) = change.value
            found.append(Change("claims", ((name, f"{value}-{ANOTHER}"),)))
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda change: [field.name for field in fields(Point)].index(change.field))
