"""Rules: the policies of `*.cedar` files, each one read alone and refused where it would not mean what it seems to say.

1. The text is UTF-8 without characters that are not shown; a rule is bounded in size and depth before Cedar sees it, because Cedar's
   reader follows brackets by recursion and ends the process at a few hundred.
2. Each has an `@id` of its own. `@advice("...")` is what the refused one is told, `@followup("24h")` by when two officers look at what
   was done in an emergency, `@note("...")` anything. Other annotations are refused: `@folowup` would owe nothing.
3. It is valid by our schema (`policyschema`).
4. It compares whole texts: no `like`, whose `acme/fw*` is also `acme/fw-evil` (A032, A122). No `has`: every attribute is always there,
   and `principal has repo` is quietly false. An entity is compared with what it can be; Cedar takes `principal == Role::"officer"` for a
   rule that never holds. No templates, which would rule nothing.
5. A rule that looks at `context.emergency` says `@followup`, and one that says it looks at it or is for `break-glass` alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, TypeAlias

import cedarpy

from sealwright.artifact.names import display
from sealwright.errors import MalformedPolicy
from sealwright.signing.policyfolder import PolicyFile
from sealwright.signing.policyquestion import Action
from sealwright.signing.policyschema import ENTITIES

Form: TypeAlias = Mapping[str, Any]  # a policy in Cedar's JSON, as cedarpy gives it
MAX_RULES = 1000
MAX_WORDS = 600  # each may be a level deeper, and Python too follows them by recursion
MAX_DEPTH = 20
ANNOTATIONS = ("id", "advice", "followup", "note")
EMERGENCY = "context.emergency"
OWN_PREFIX = "sealwright-"
BUILT_IN_NAME = "built in"
# A change here is a new version of policyfolder.FIRST_LINE.
BUILT_IN = b"""@id("sealwright-own-tenant")
@advice("Ask with what belongs to your own organisation.")
forbid (principal, action, resource)
unless { principal.tenant == resource.tenant };

@id("sealwright-not-your-own-request")
@advice("Ask somebody else to approve it.")
forbid (principal, action == Action::"approve", resource)
when { context.own };
"""
_WORD = re.compile(r'[ \t\n]++|//[^\n]*+|"(?:[^"\\]|\\.)*+"|[A-Za-z0-9_]++|.', re.DOTALL)
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FOLLOW_UP = re.compile(r"([1-9][0-9]{0,2})h")
_OPEN, _CLOSE = "([{", ")]}"
_ENTITY_OPERATORS = ("==", "!=", "in", "contains", "containsAll", "containsAny")
_PRINCIPALS = ("Person", "Machine")


class Effect(StrEnum):
    """What a rule does where it holds."""

    PERMIT = "permit"
    FORBID = "forbid"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. line: where it begins; form: Cedar's JSON of it; reads: the attributes it looks at, such as "context.approvals";
    names: entities it names, such as ("Freeze", "year-end"); follow_up_h: hours, None where none is owed."""

    id: str
    file: str
    line: int
    effect: Effect
    text: str
    form: str
    reads: frozenset[str]
    names: frozenset[tuple[str, str]]
    follow_up_h: int | None
    advice: str

    def __str__(self) -> str:
        return f"{self.id} ({self.file}:{self.line})" if self.file != BUILT_IN_NAME else f"{self.id} (built in)"


def parse_rules(file: PolicyFile, path: str, schema: cedarpy.Schema) -> tuple[Rule, ...]:
    """All rules of a file. path: of the file, for messages. MalformedPolicy names file, line and what to do."""
    text = _text(file.data, path)
    try:
        return tuple(_rule(file.name, path, line, piece, schema) for line, piece in _pieces(text, path))
    except RecursionError as cause:
        raise MalformedPolicy(path, "a rule is too deep", "Make several rules of it.") from cause


def conditions(form: Form) -> Iterator[tuple[str, Form]]:
    """`when` or `unless`, and one condition; those of a `when` that are joined by && come one by one."""
    for one in form["conditions"]:
        if one["kind"] == "when":
            yield from (("when", part) for part in _conjuncts(one["body"]))
        else:
            yield "unless", one["body"]


def nodes(form: Any) -> Iterator[tuple[str, Any]]:
    """Every operator and its operands, anywhere in an expression. Keys of records are taken for operators too: rather too much."""
    if isinstance(form, Mapping):
        for operator, operands in form.items():
            yield operator, operands
            yield from nodes(operands)
    elif isinstance(form, list):
        for one in form:
            yield from nodes(one)


def attribute(form: Any) -> str:
    """`context.approvals` of an expression that is this and nothing else; "" of others."""
    if not isinstance(form, Mapping):
        return ""
    if set(form) == {"Var"}:
        return str(form["Var"])
    if set(form) == {"."}:
        before = attribute(form["."]["left"])
        return f"{before}.{form['.']['attr']}" if before else ""
    return ""


def constants(form: Any) -> tuple[Any, ...]:
    """The values of an expression that is a constant or a set of constants; () of others. Entities are (type, id)."""
    if isinstance(form, Mapping) and set(form) == {"Value"}:
        value = form["Value"]
        if isinstance(value, Mapping):
            entity = value.get("__entity")
            return ((entity["type"], entity["id"]),) if entity is not None else ()
        return (value,)
    if isinstance(form, Mapping) and set(form) == {"Set"}:
        parts = [constants(one) for one in form["Set"]]
        return tuple(one for part in parts for one in part) if all(parts) else ()
    return ()


def _text(data: bytes, path: str) -> str:
    try:
        text = data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as cause:
        line = data[: cause.start].count(b"\n") + 1
        raise MalformedPolicy(f"{path}:{line}", "it is not UTF-8", "Save it as UTF-8.") from cause
    for number, line_text in enumerate(text.split("\n"), 1):
        shown = line_text.replace("\t", " ")
        if display(shown) != shown:
            raise MalformedPolicy(
                f"{path}:{number}", "it holds a character that is not shown", "Remove it: rules are what one sees."
            )
    return text


def _pieces(text: str, path: str) -> Iterator[tuple[int, str]]:
    """The rules of a text, each with the number of its first line, and bounded. Source: Cedar's grammar, `Policies`."""
    begin, first, line, words, depth, found = 0, 0, 1, 0, 0, 0
    for match in _WORD.finditer(text):
        word = match[0]
        if word[0] not in " \t\n" and not word.startswith("//"):
            if not words:
                begin, first = match.start(), line
            if word == '"':
                raise MalformedPolicy(f"{path}:{line}", "a text that begins here does not end", 'Close it with `"`.')
            words += 1
            depth += (word in _OPEN) - (word in _CLOSE)
            if words > MAX_WORDS or depth > MAX_DEPTH:
                what = f"more than {MAX_WORDS} words" if words > MAX_WORDS else f"more than {MAX_DEPTH} brackets deep"
                raise MalformedPolicy(f"{path}:{first}", f"the rule is {what}", "Make several rules of it.")
            if word == ";":
                found += 1
                if found > MAX_RULES:
                    raise MalformedPolicy(path, f"it holds more than {MAX_RULES} rules", "Take some away.")
                yield first, text[begin : match.end()]
                words = depth = 0
        line += word.count("\n")
    if words:
        raise MalformedPolicy(f"{path}:{first}", "the rule does not end", "Every rule ends with `;`.")


def _rule(name: str, path: str, line: int, piece: str, schema: cedarpy.Schema) -> Rule:
    where = f"{path}:{line}"
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(piece))
    except ValueError as cause:
        raise MalformedPolicy(where, f"Cedar cannot read the rule: {_shown(str(cause))}", "Correct it.") from cause
    if parsed["templates"] or len(parsed["staticPolicies"]) != 1:
        raise MalformedPolicy(where, "it is a template, which rules nothing", "Name the principal and the resource.")
    (form,) = parsed["staticPolicies"].values()
    annotations = _annotations(form, where)
    where = f"{where} ({annotations['id']})"
    outcome = cedarpy.validate_policies(piece, schema)
    if not outcome.validation_passed:
        found = "; ".join(one.error for one in outcome.errors).replace("for policy `policy0`: ", "")
        found = found.replace("for policy `policy0`, ", "")
        raise MalformedPolicy(
            where, f"it does not fit what rules can speak of: {_shown(found)}", "docs/policy.md lists what they can."
        )
    _check_form(form, where)
    reads = frozenset(_reads(form["conditions"]))
    return Rule(
        annotations["id"],
        name,
        line,
        Effect(form["effect"]),
        piece,
        json.dumps(form),
        reads,
        frozenset(_named(form)),
        _follow_up(form, annotations, reads, where),
        annotations.get("advice", ""),
    )


def _annotations(form: Form, where: str) -> dict[str, str]:
    found = {str(key): "" if value is None else str(value) for key, value in form.get("annotations", {}).items()}
    name = found.get("id", "")
    if not _ID.fullmatch(name) or len(name) > 64:
        raise MalformedPolicy(where, "the rule has no usable id", 'Put `@id("small-letters-and-hyphens")` in front.')
    for key in sorted(found):
        if key not in ANNOTATIONS:
            known = ", ".join(f"@{one}" for one in ANNOTATIONS)
            raise MalformedPolicy(f"{where} ({name})", f"nobody reads @{key}", f"Known are {known}.")
    if display(found.get("advice", "")) != found.get("advice", ""):
        raise MalformedPolicy(f"{where} ({name})", "its advice has characters that are not shown", "Remove them.")
    return found


def _check_form(form: Form, where: str) -> None:
    def refuse(what: str, step: str) -> NoReturn:
        raise MalformedPolicy(where, what, step)

    for name in _bare(form["conditions"]):
        refuse(f"it compares `{name}` as a whole", f"Name what of `{name}` is meant.")
    if form["resource"]["op"] != "All":
        refuse(
            "its scope names a resource", "Write `resource` alone there and `resource.product == ...` behind `when`."
        )
    for operator, operands in nodes(form["conditions"]):
        if operator == "like":
            refuse("it uses `like`, by which `acme/fw*` is also acme/fw-evil", "Compare whole texts with `==`.")
        if operator == "has":
            refuse("it uses `has`", 'Every attribute is always there; what is not known is "" or `none`.')
        if operator == "is":
            within = {value[0] for value in constants(operands.get("in"))}
            if operands.get("entity_type") not in _PRINCIPALS or not within <= {*_PRINCIPALS, "Role"}:
                refuse("it asks whether something is what it can never be", "`is` goes with Person and Machine.")
        if operator in _ENTITY_OPERATORS and isinstance(operands, Mapping) and "left" in operands:
            _check_entities(operator, operands["left"], operands["right"], refuse)


def _bare(form: Any) -> Iterator[str]:
    """`resource` and others where they stand alone: as wholes they hold what no rule can know."""
    if isinstance(form, list):
        for one in form:
            yield from _bare(one)
    elif attribute(form) == "principal.claims":
        yield "principal.claims"
    elif isinstance(form, Mapping) and "." not in attribute(form):
        if form.get("Var") in ("resource", "context", "action"):
            yield form["Var"]
        for operands in form.values():
            yield from _bare(operands)


def _check_entities(operator: str, left: Form, right: Form, refuse: Callable[[str, str], NoReturn]) -> None:
    for one, other in ((left, right), (right, left)):
        kinds = {value[0] for value in constants(one) if isinstance(value, tuple)}
        if not kinds:
            continue
        place = attribute(other)
        if place == "principal":
            allowed = {*_PRINCIPALS, "Role"} if operator == "in" else {*_PRINCIPALS}
        else:
            allowed = {ENTITIES[place]} if place in ENTITIES else set()
        if not kinds <= allowed:
            refuse(
                f"it compares {place or 'something'} with {', '.join(sorted(kinds))}, which it never is",
                'A role is asked for by `principal in Role::"officer"`.',
            )


def _reads(form: Any) -> Iterator[str]:
    for operator, operands in nodes(form):
        if operator == "." and isinstance(operands, Mapping):
            yield attribute({".": operands})


def _named(form: Form) -> Iterator[tuple[str, str]]:
    """Entities of conditions and of the scope."""
    for operator, operands in nodes(form):
        if operator in ("__entity", "entity") and isinstance(operands, Mapping):
            yield operands["type"], operands["id"]
        if operator == "entities" and isinstance(operands, list):
            yield from ((one["type"], one["id"]) for one in operands)


def _follow_up(form: Form, annotations: Mapping[str, str], reads: frozenset[str], where: str) -> int | None:
    said, looks = annotations.get("followup"), EMERGENCY in reads
    if said is None:
        if looks:
            raise MalformedPolicy(
                where,
                "it looks at context.emergency and does not say by when two officers look at what was done",
                'Add `@followup("24h")`.',
            )
        return None
    found = _FOLLOW_UP.fullmatch(said)
    if found is None:
        raise MalformedPolicy(where, "its @followup is no number of hours", 'Say it as `@followup("24h")`.')
    if not looks and only_action(form) is not Action.BREAK_GLASS:
        raise MalformedPolicy(
            where,
            "it says @followup and does not look at context.emergency",
            "Add `context.emergency`, or take it out.",
        )
    return int(found[1])


def only_action(form: Form) -> Action | None:
    """The one action that a rule's scope names."""
    scope = form["action"]
    named = [scope["entity"]] if "entity" in scope else scope.get("entities", [])
    return Action(named[0]["id"]) if len(named) == 1 else None


def speaks_of(form: Form, action: Action) -> bool:
    """Whether a rule is about an action: its scope names it, or all of them."""
    scope = form["action"]
    named = [scope["entity"]] if "entity" in scope else scope.get("entities", [])
    return scope["op"] == "All" or any(one["id"] == action.value for one in named)


def _conjuncts(form: Form) -> Iterator[Form]:
    if set(form) == {"&&"}:
        yield from _conjuncts(form["&&"]["left"])
        yield from _conjuncts(form["&&"]["right"])
    else:
        yield form


def _shown(text: str) -> str:
    return display(" ".join(text.split()))[:300]
