"""What rules can speak of, as a Cedar schema, and a question in its terms.

    principal   Person::"ID" or Machine::"ID"; in Role::"officer"; .tenant .claims.NAME
    action      Action::"sign" and the others of `Action`
    resource    .tenant .key .provenance .format .layout .product .version .environment .hardware .count .claims_signed
    context     .approvals .officers .own .emergency .second_prepare .prepares .uploaded .hours .freeze .over
                .provenance_verified .builder .build_type .source .source_ref

Every attribute is always there: what is not known is "" or `none`, so no rule depends on what is absent. Whatever has a closed list
of values (roles, formats, environments, provenances, the settings' names) is an enumerated entity, and Cedar refuses a rule with a
value that is not in it: `Freeze::"year-ned"` would otherwise be a freeze that never comes.

Cedar is asked with those attributes only that some rule looks at (`Seen`): it takes half the time, and questions that differ in
nothing a rule can see have one remembered answer. Were one left out that a rule does look at, the rule would not be valid by the
smaller schema, and the set would be refused.

A question reaches Cedar as JSON made by `json.dumps` out of texts, numbers and truth values at fixed places; nothing that an asker
says is ever part of a policy's text or of a name of an attribute (A132).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from sealwright.envelope import kinds
from sealwright.formats.registry import NAMES
from sealwright.keys.key import Provenance
from sealwright.signing.people import Principal, Role
from sealwright.signing.policyquestion import Action, Facts, Question, Subject
from sealwright.signing.policysettings import Settings
from sealwright.trust.model import Environment

NONE = "none"
LAYOUT = "layout"
STATEMENTS = tuple(
    kind.name
    for kind in (
        kinds.TRUST,
        kinds.DENY,
        kinds.CEREMONY,
        kinds.TRANSCRIPT,
        kinds.BACKUP,
        kinds.LOSS,
        kinds.RECORD,
        kinds.REPORT,
        kinds.ACCEPTANCE,
        kinds.RECEIVING,
        kinds.TIMESTAMP,
    )
)
FORMATS = (*NAMES, "uefi-variable", kinds.TUF.name, *STATEMENTS, NONE)
MAX_LONG = 2**63 - 1
_SUBJECT = "asked-for"
_RESOURCE = {
    "tenant": "String",
    "key": "String",
    "provenance": "Provenance",
    "format": "Format",
    "layout": "String",
    "product": "String",
    "version": "String",
    "environment": "Environment",
    "hardware": "Set<String>",
    "count": "Long",
    "claims_signed": "Bool",
}
_CONTEXT = {
    "approvals": "Long",
    "officers": "Long",
    "own": "Bool",
    "emergency": "Bool",
    "builder": "String",
    "build_type": "String",
    "source": "String",
    "source_ref": "String",
    "provenance_verified": "Bool",
    "second_prepare": "Bool",
    "prepares": "Long",
    "uploaded": "Bool",
    "hours": "Set<Hours>",
    "freeze": "Set<Freeze>",
    "over": "Set<Quota>",
}
# what a build provenance says, which counts only where it is verified
OF_PROVENANCE = ("builder", "build_type", "source", "source_ref")
# what an attribute that is an entity can be compared with
ENTITIES = {
    "resource.format": "Format",
    "resource.environment": "Environment",
    "resource.provenance": "Provenance",
    "context.hours": "Hours",
    "context.freeze": "Freeze",
    "context.over": "Quota",
}


class Asked(NamedTuple):
    """A question in Cedar's terms, without its numbers and emergency. principal: entity type and id; entities: JSON."""

    principal: tuple[str, str]
    action: Action
    entities: str


class Crowd(NamedTuple):
    """How many have approved, and how many of those are officers."""

    approvals: int
    officers: int


class Circumstances(NamedTuple):
    """What of a question's context rules can see, by their names for it, without the crowd. builder and its like: "" where nobody verified them."""

    own: bool
    emergency: bool
    provenance_verified: bool
    second_prepare: bool
    prepares: int
    uploaded: bool
    builder: str
    build_type: str
    source: str
    source_ref: str
    hours: frozenset[str]
    freeze: frozenset[str]
    over: frozenset[str]


class Seen(NamedTuple):
    """The attributes that Cedar is given, by their names behind `principal.claims.`, `resource.` and `context.`."""

    claims: tuple[str, ...]
    resource: frozenset[str]
    context: frozenset[str]

    @classmethod
    def all(cls, settings: Settings) -> Seen:
        """Everything that a rule may look at."""
        return cls(settings.claims, frozenset(_RESOURCE), frozenset(_CONTEXT))

    @classmethod
    def by(cls, reads: Iterable[str]) -> Seen:
        """What rules do look at. reads: such as "context.approvals"."""
        names = sorted(set(reads))
        claims = tuple(_behind("principal.claims.", names))
        return cls(claims, frozenset(_behind("resource.", names)), frozenset(_behind("context.", names)))


def schema_text(settings: Settings, seen: Seen) -> str:
    """The schema in Cedar's own notation."""
    claims = ", ".join(f"{name}: String" for name in seen.claims)
    person = "{ tenant: String, claims: Claims }"
    return f"""
entity Role enum [{_quoted(Role)}];
entity Format enum [{_quoted(FORMATS)}];
entity Environment enum [{_quoted((*Environment, NONE))}];
entity Provenance enum [{_quoted((*Provenance, NONE))}];
entity Hours enum [{_quoted(one.name for one in settings.hours)}];
entity Freeze enum [{_quoted(one.name for one in settings.freezes)}];
entity Quota enum [{_quoted(one.name for one in settings.quotas)}];
type Claims = {{ {claims} }};
entity Person in [Role] = {person};
entity Machine in [Role] = {person};
entity Subject = {{ {_typed(_RESOURCE, seen.resource)} }};
type Circumstances = {{ {_typed(_CONTEXT, seen.context)} }};
action {_quoted(Action)} appliesTo {{ principal: [Person, Machine], resource: [Subject], context: Circumstances }};
"""


def asked(who: Principal, action: Action, what: Subject, settings: Settings, seen: Seen) -> Asked | str:
    """Who wants to do what with what; a text says why that cannot be asked."""
    form, _, layout = what.format.partition(":")
    if (form or NONE) not in FORMATS or (layout and form != LAYOUT):
        return f"no rule can speak of the format {what.format!r}"
    told = [name for name, _ in who.claims]
    twice = sorted({name for name in told if told.count(name) > 1 and name in settings.claims})
    if twice:
        return f"the token says `{twice[0]}` twice"
    if not 1 <= what.count <= MAX_LONG:
        return f"no rule can speak of {what.count} artifacts"
    claims = dict(who.claims)
    person = {
        "uid": {"type": _kind(who), "id": who.id},
        "attrs": {"tenant": who.tenant, "claims": {name: claims.get(name, "") for name in seen.claims}},
        "parents": [{"type": "Role", "id": role.value} for role in sorted(who.roles)],
    }
    attributes: dict[str, object] = {
        "tenant": what.tenant,
        "key": what.key,
        "provenance": _entity("Provenance", what.provenance),
        "format": _entity("Format", form or None),
        "layout": layout,
        "product": what.product,
        "version": what.version,
        "environment": _entity("Environment", what.environment),
        "hardware": sorted(set(what.hardware)),
        "count": what.count,
        "claims_signed": what.claims_signed,
    }
    subject = {
        "uid": {"type": "Subject", "id": _SUBJECT},
        "attrs": {name: attributes[name] for name in sorted(seen.resource)},
        "parents": [],
    }
    return Asked((_kind(who), who.id), action, json.dumps([person, subject]))


def circumstances(question: Question, facts: Facts, emergency: bool) -> Circumstances:
    """All of them but the crowd. A builder that nobody verified is none, and so nobody's own is a request without a requester."""
    context = question.context
    return Circumstances(
        own=context.requester != "" and context.requester == question.principal.person,
        emergency=emergency,
        provenance_verified=context.provenance_verified,
        second_prepare=context.prepares > 0,
        prepares=context.prepares,
        uploaded=context.uploaded,
        builder=context.builder if context.provenance_verified else "",
        build_type=context.build_type if context.provenance_verified else "",
        source=context.source if context.provenance_verified else "",
        source_ref=context.source_ref if context.provenance_verified else "",
        hours=facts.hours,
        freeze=facts.freezes,
        over=facts.over,
    )


def context_text(about: Circumstances, crowd: Crowd, seen: Seen) -> str:
    """The context as JSON."""
    attributes: dict[str, object] = {
        **about._asdict(),
        **crowd._asdict(),
        "hours": _entities("Hours", about.hours),
        "freeze": _entities("Freeze", about.freeze),
        "over": _entities("Quota", about.over),
    }
    return json.dumps({name: attributes[name] for name in sorted(seen.context)})


def request(one: Asked, context: str) -> dict[str, object]:
    """What `cedarpy.is_authorized_batch` takes."""
    return {
        "principal": {"type": one.principal[0], "id": one.principal[1]},
        "action": {"type": "Action", "id": one.action.value},
        "resource": {"type": "Subject", "id": _SUBJECT},
        "context": context,
    }


def _kind(who: Principal) -> str:
    return "Machine" if who.machine else "Person"


def _entity(kind: str, value: StrEnum | str | None) -> dict[str, object]:
    return {"__entity": {"type": kind, "id": NONE if value is None else str(value)}}


def _entities(kind: str, names: frozenset[str]) -> list[dict[str, object]]:
    return [_entity(kind, name) for name in sorted(names)]


def _quoted(names: Iterable[str]) -> str:
    """Cedar has no empty enumeration; `none` is of no question."""
    return ", ".join(f'"{name}"' for name in names) or f'"{NONE}"'


def _behind(prefix: str, names: Iterable[str]) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _typed(types: Mapping[str, str], names: frozenset[str]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items() if name in names)
