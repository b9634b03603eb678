"""Every entry of a signing service's log: what an auditor of 2046 reads, with this page beside it.

An entry is RFC 8785 JSON: one object of texts, whole numbers and lists of texts, no field but those below. A name means the same in
every type. No name of a person, mail address or free text is in any entry: who it was is in the private part, a record kept
elsewhere that can be erased, of which `private` is the salted digest.

| type | what happened | its own fields |
| --- | --- | --- |
| `request` | somebody asked for a signature | asked, prepared, count, format or kind, artifact, key, construction, policy, expires, claimed, claims, build, private |
| `approval` | another person approved it with a key of their own | asked, scheme, approval, key, policy, private |
| `prepare` | another person or machine prepared an own copy, came to the same and signed that | asked, prepared, count, scheme, approval, key, policy, private |
| `upload` | the service prepared an uploaded file of it and came to the same, or not | item, artifact, result, policy, private |
| `withdrawn` | it was taken back | private |
| `expired` | its time ran out | |
| `refusal` | it was refused, and at which stage | stage, code, policy, rules, private |
| `emergency` | it was let through with fewer approvals; a follow-up is due | approvals, policy, until, private |
| `intent` | the key is about to be used; without a `signature` or `refusal` after it nobody knows whether it was | attempt, artifact, key, certificate, construction, policy |
| `signature` | a signature left (`entry.py`; in its private part the request) | |
| `used` | its approvals are used up, and approve nothing else | attempt, approvals, prepares, private |
| `followup` | an emergency was looked at afterwards | outcome, approvals, private |
| `alarm` | more was signed in an hour or a day than is usual; `request` is the one by which | of, per, above, since, count, key |
| `policy` | other rules count from here on; where `previous` is the same they are only said again | policy, edition, previous, change, approvals, private |
| `key` | a key was enrolled, disabled, enabled or retired | event, key, algorithm, construction, purpose, provenance, approvals, private |
| `certificate` | a certificate was issued, revoked, held or released | event, certificate, key, reason, approvals, private |
| `start` | a replica of the service started | replica, version, policy, edition, size, unfinished |

All but `signature` have `time`, the service's own clock, which proves nothing; those about a request have `request`, its id.
asked: SHA-256 of the request as approvers sign it · prepared: of what is to be signed (of several: their Merkle root, and `count`) ·
artifact: the content's digest · key, certificate: SHA-256 of SPKI and TBSCertificate · policy: digest of all rules · edition: of the rules, counted from 1 in
this log · change: SHA-256 of a change of the rules as officers sign it · approval: SHA-256 of an approval's proof; approvals, prepares: of those that count · item: its number in the request, from 0 · build:
digest of the build provenance that came with it · claimed: whether claims
were read from signed bytes or are the requester's word · size: entries of the log then · unfinished: requests with an intent alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.log.canonical import MAX_LINE_BYTES, Field, canonical_json, read_canonical
from sealwright.log.entry import CLAIMS, NAMES, SignatureEntry, claim_fields, entry_of, read_claims
from sealwright.log.entry import TYPE as SIGNATURE
from sealwright.log.entryfields import (
    CertificateEvent,
    Claimed,
    Form,
    KeyEvent,
    Outcome,
    RateOf,
    RatePer,
    Result,
    Scheme,
    Stage,
    form_of,
    read_field,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What all have. time: aware, written to the second."""

    TYPE: ClassVar[str]
    time: datetime

    def encoded(self) -> bytes:
        """The bytes that the log hashes; ValueError naming the field that no entry may hold."""
        return _encoded(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(_Entry):
    """Somebody asked for a signature. format or kind: one of them is "", as of statements and of artifacts."""

    TYPE: ClassVar[str] = "request"
    request: str
    asked: Digest
    prepared: Digest
    count: int
    format: str = ""
    kind: str = ""
    artifact: Digest
    key: Digest
    construction: str
    policy: Digest
    expires: datetime
    claimed: Claimed
    claims: Claims = Claims()
    build: Digest | None = None
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval(_Entry):
    """Another person approved a request. key: of the approver."""

    TYPE: ClassVar[str] = "approval"
    request: str
    asked: Digest
    scheme: Scheme
    approval: Digest
    key: Digest
    policy: Digest
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(_Entry):
    """Another person or machine prepared an own copy and came to the same. approval: of its proof; key: of who signed it."""

    TYPE: ClassVar[str] = "prepare"
    request: str
    asked: Digest
    prepared: Digest
    count: int
    scheme: Scheme
    approval: Digest
    key: Digest
    policy: Digest
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(_Entry):
    """The service prepared an uploaded file of a request. artifact: of the file's octets."""

    TYPE: ClassVar[str] = "upload"
    request: str
    item: int
    artifact: Digest
    result: Result
    policy: Digest
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(_Entry):
    """A request was taken back."""

    TYPE: ClassVar[str] = "withdrawn"
    request: str
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(_Entry):
    """A request's time ran out before it was signed."""

    TYPE: ClassVar[str] = "expired"
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(_Entry):
    """A request was refused. code: one of docs/findings.md; rules: that decided, by id."""

    TYPE: ClassVar[str] = "refusal"
    request: str
    stage: Stage
    code: str
    policy: Digest
    rules: tuple[str, ...] = ()
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency(_Entry):
    """A request was let through in an emergency. until: when the follow-up is due."""

    TYPE: ClassVar[str] = "emergency"
    request: str
    approvals: tuple[Digest, ...] = ()
    policy: Digest
    until: datetime
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent(_Entry):
    """The key is about to be used for one artifact of a request. attempt: 1 for the first."""

    TYPE: ClassVar[str] = "intent"
    request: str
    attempt: int
    artifact: Digest
    key: Digest
    certificate: Digest
    construction: str
    policy: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Used(_Entry):
    """The approvals of a request are used up: it is signed now. attempt: 1 for the first."""

    TYPE: ClassVar[str] = "used"
    request: str
    attempt: int
    approvals: tuple[Digest, ...] = ()
    prepares: tuple[Digest, ...] = ()
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp(_Entry):
    """An emergency was looked at afterwards."""

    TYPE: ClassVar[str] = "followup"
    request: str
    outcome: Outcome
    approvals: tuple[Digest, ...] = ()
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(_Entry):
    """A rate that is not usual. request: by which `above` was exceeded; count: signatures begun since the span began; key: where it is a key's."""

    TYPE: ClassVar[str] = "alarm"
    request: str
    of: RateOf
    per: RatePer
    above: int
    since: datetime
    count: int
    key: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange(_Entry):
    """Other rules count from here on, or the same are said again. previous: None for the first ones.

    change, approvals: what let weaker rules through, None and () where they are proved not weaker.
    """

    TYPE: ClassVar[str] = "policy"
    policy: Digest
    edition: int
    previous: Digest | None = None
    change: Digest | None = None
    approvals: tuple[Digest, ...] = ()
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange(_Entry):
    """A key was enrolled, disabled, enabled or retired."""

    TYPE: ClassVar[str] = "key"
    event: KeyEvent
    key: Digest
    algorithm: str
    construction: str
    purpose: str
    provenance: str
    approvals: tuple[Digest, ...] = ()
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateChange(_Entry):
    """A certificate was issued, revoked, held or released. reason: of RFC 5280, "" where it has none."""

    TYPE: ClassVar[str] = "certificate"
    event: CertificateEvent
    certificate: Digest
    key: Digest
    reason: str = ""
    approvals: tuple[Digest, ...] = ()
    private: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(_Entry):
    """A replica of the service started. replica: its id; version: of the program; unfinished: requests with an intent and no result.

    edition: None in logs of before editions were counted.
    """

    TYPE: ClassVar[str] = "start"
    replica: str
    version: str
    policy: Digest
    edition: int | None = None
    size: int
    unfinished: tuple[str, ...] = ()


AnyEntry = (
    SignatureEntry
    | Request
    | Approval
    | Prepare
    | Upload
    | Withdrawn
    | Expired
    | Refusal
    | Emergency
    | Intent
    | Used
    | FollowUp
    | Alarm
    | PolicyChange
    | KeyChange
    | CertificateChange
    | Start
)
TYPES: dict[str, type[_Entry]] = {
    one.TYPE: one
    for one in (
        Request,
        Approval,
        Prepare,
        Upload,
        Withdrawn,
        Expired,
        Refusal,
        Emergency,
        Intent,
        Used,
        FollowUp,
        Alarm,
        PolicyChange,
        KeyChange,
        CertificateChange,
        Start,
    )
}


def read_any(data: bytes) -> AnyEntry:
    """Read an entry of any type; ValueError with a clause that says what is wrong with it."""
    found = read_canonical(data)
    type_ = found.get("type")
    if type_ == SIGNATURE:
        return entry_of(found)
    found.pop("type", None)
    if not isinstance(type_, str) or type_ not in TYPES:
        raise ValueError("its type is none that this version knows")
    entry: AnyEntry = _read(TYPES[type_], found)
    return entry


class Outline(NamedTuple):
    """What an audit looks at in every entry, as it is written there. signature: of a signature's entry the digest of its value, else "".

    key, time: "" where the entry has none.
    """

    type: str
    signature: str
    key: str
    time: str


def outline(data: bytes) -> Outline:
    """The outline of an entry, in a third of the time of `read_any`; ValueError unless it is canonical, of a known type and without a strange field."""
    found = read_canonical(data)
    type_ = found.get("type")
    names = _NAMES.get(type_) if isinstance(type_, str) else None
    if names is None:
        raise ValueError("its type is none that this version knows")
    if strange := found.keys() - names:
        raise ValueError(f"`{min(strange)[:40]}` is no field of `{type_}`")
    get = found.get
    signature = str(get("signature", "")) if type_ == SIGNATURE else ""
    return Outline(str(type_), signature, str(get("key", "")), str(get("time", "")))


def _claims_of(type_: type[_Entry]) -> tuple[str, ...]:
    return CLAIMS if "claims" in type_.__slots__ else ()


_NAMES: dict[str, frozenset[str]] = {
    SIGNATURE: NAMES,
    **{
        name: frozenset(("type", *(one.name for one in fields(type_) if one.name != "claims"), *_claims_of(type_)))
        for name, type_ in TYPES.items()
    },
}


class _Part(NamedTuple):
    """One field of a type. default: MISSING where there is none; form: None of claims, which are several fields of an entry."""

    name: str
    default: Any
    form: Form | None


_PARTS: dict[str, tuple[_Part, ...]] = {
    name: tuple(
        _Part(one.name, one.default, None if one.name == "claims" else form_of(name, one.name)) for one in fields(type_)
    )
    for name, type_ in TYPES.items()
}
# all values of an entry at once
_VALUES = {name: attrgetter(*(part.name for part in parts)) for name, parts in _PARTS.items()}


def _encoded(entry: _Entry) -> bytes:
    """Nobody's log gets an entry that nobody could read: each field is written by the form that reads it."""
    type_ = type(entry)
    written: dict[str, Field] = {"type": entry.TYPE}
    for (name, default, form), value in zip(_PARTS[type_.TYPE], _VALUES[type_.TYPE](entry), strict=True):
        if form is None:
            if value:
                claimed = claim_fields(value)
                read_claims(claimed)
                written |= claimed
        elif default is MISSING or value != default:
            try:
                written[name] = form.write(value)
            except ValueError as cause:
                raise ValueError(f"`{name}` {cause}") from cause
    _check_form(type_, written)
    data = canonical_json(written)
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"{len(data)} bytes, at most {MAX_LINE_BYTES}")
    return data


def _read(type_: type[_Entry], found: dict[str, Field]) -> Any:
    values: dict[str, Any] = {}
    for name, default, form in _PARTS[type_.TYPE]:
        if form is None:
            values[name] = read_claims(found)
            for claim in CLAIMS:
                found.pop(claim, None)
        elif name in found:
            try:
                values[name] = read_field(form, found.pop(name))
            except ValueError as cause:
                raise ValueError(f"`{name}` {cause}") from cause
        elif default is MISSING:
            raise ValueError(f"`{name}` is missing")
    if found:
        raise ValueError(f"`{min(found)[:40]}` is no field of `{type_.TYPE}`")
    _check_form(type_, values)
    return type_(**values)


def _check_form(type_: type[_Entry], named: Collection[str]) -> None:
    if "format" in type_.__slots__ and ("format" in named) == ("kind" in named):
        raise ValueError("it names neither a format nor a kind, or both")
