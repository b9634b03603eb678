"""Every entry of a signing service's log: what an auditor of 2046 reads, with this page beside it.

An entry is RFC 8785 JSON: one object of texts, whole numbers and lists of texts, no field but those below. A name means the same in
every type. No name of a person, mail address or free text is in any entry: who it was is in the private part, a record kept
elsewhere that can be erased, of which `private` is the salted digest.

| type | what happened | its own fields |
| --- | --- | --- |
| `request` | somebody asked for a signature | asked, prepared, count, format or kind, artifact, key, construction, policy, expires, claimed, claims, build, private |
| `approval` | another person approved it with a key of their own | asked, scheme, approval, key, policy, private |
| `withdrawn` | it was taken back | private |
| `expired` | its time ran out | |
| `refusal` | it was refused, and at which stage | stage, code, policy, rules, private |
| `emergency` | it was let through with fewer approvals; a follow-up is due | approvals, policy, until, private |
| `intent` | the key is about to be used; without a `signature` or `refusal` after it nobody knows whether it was | attempt, artifact, key, certificate, construction, policy |
| `signature` | a signature left (`entry.py`; in its private part the request) | |
| `used` | its approvals are used up, and approve nothing else | attempt, approvals, private |
| `followup` | an emergency was looked at afterwards | outcome, approvals, private |
| `policy` | other rules count from here on; where `previous` is the same they are only said again | policy, edition, previous, change, approvals, private |
| `key` | a key was enrolled, disabled, enabled or retired | event, key, algorithm, construction, purpose, provenance, approvals, private |
| `certificate` | a certificate was issued, revoked, held or released | event, certificate, key, reason, approvals, private |
| `start` | a replica of the service started | replica, version, policy, edition, size, unfinished |

All but `signature` have `time`, the service's own clock, which proves nothing; those about a request have `request`, its id.
asked: SHA-256 of the request as approvers sign it · prepared: of what is to be signed (of several: their Merkle root, and `count`) ·
artifact: the content's digest · key, certificate: SHA-256 of SPKI and TBSCertificate · policy: digest of all rules · edition: of the rules, counted from 1 in
this log · change: SHA-256 of a change of the rules as officers sign it · approval: SHA-256 of an approval's proof; approvals: of those that count · build:
digest of the build provenance that came with it · claimed: whether claims
were read from signed bytes or are the requester's word · size: entries of the log then · unfinished: requests with an intent alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.log.canonical import MAX_LINE_BYTES, Field, canonical_json, read_canonical, read_time, time_text
from sealwright.log.entry import CLAIMS, NAMES, SignatureEntry, claim_fields, entry_of, read_claims
from sealwright.log.entry import TYPE as SIGNATURE


class Claimed(StrEnum):
    """Where the claims of a request come from."""

    SIGNED = "signed-bytes"
    ASSERTED = "asserted"


class Stage(StrEnum):
    """At which step a request was refused."""

    REQUEST = "request"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    SIGN = "sign"
    KEY = "key"


class Scheme(StrEnum):
    """How an approver signed (RULES 6)."""

    CMS = "cms"
    WEBAUTHN = "webauthn"


class Outcome(StrEnum):
    """What became of an emergency."""

    CONFIRMED = "confirmed"
    DISPUTED = "disputed"


class KeyEvent(StrEnum):
    """What happened to a key."""

    ENROLLED = "enrolled"
    DISABLED = "disabled"
    ENABLED = "enabled"
    RETIRED = "retired"


class CertificateEvent(StrEnum):
    """What happened to a certificate."""

    ISSUED = "issued"
    REVOKED = "revoked"
    HELD = "held"
    RELEASED = "released"


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
    | Withdrawn
    | Expired
    | Refusal
    | Emergency
    | Intent
    | Used
    | FollowUp
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
        Withdrawn,
        Expired,
        Refusal,
        Emergency,
        Intent,
        Used,
        FollowUp,
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


class _Form(NamedTuple):
    """How a field is written, and read again with ValueError."""

    write: Callable[[Any], Field]
    read: Callable[[Field], Any]


def _text(pattern: str, what: str) -> _Form:
    wanted = re.compile(pattern)

    def read(value: Field) -> str:
        if not isinstance(value, str) or not wanted.fullmatch(value):
            raise ValueError(f"is no {what}")
        return value

    return _Form(str, read)


def _number(least: int) -> _Form:
    def read(value: Field) -> int:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"is no number from {least}")
        return value

    return _Form(lambda value: value, read)


def _word_of(words: type[StrEnum]) -> _Form:
    return _Form(str, lambda value: words(str(value)))


def _list(one: _Form) -> _Form:
    def read(value: Field) -> tuple[Any, ...]:
        if not isinstance(value, tuple) or not 0 < len(value) <= MAX_LIST:
            raise ValueError("is no list of these")
        return tuple(map(one.read, value))

    return _Form(lambda value: tuple(str(one.write(each)) for each in value), read)


@lru_cache(maxsize=4096)  # keys, certificates and policies stand in entry after entry
def _read_digest(value: Field) -> Digest:
    return Digest.parse(str(value))


def _read_sha256(value: Field) -> Digest:
    digest = _read_digest(value)
    if digest.algorithm is not HashName.SHA256:
        raise ValueError("is no SHA-256")
    return digest


MAX_LIST = 256
_SHA256 = _Form(str, _read_sha256)
_TIME = _Form(time_text, read_time)
_ID = _text(r"[0-9a-f]{16,64}", "hexadecimal id")
_WORD = _text(r"[A-Za-z0-9][A-Za-z0-9:._+-]{0,63}", "word")
_RULE = _text(r"[A-Za-z0-9][A-Za-z0-9:._/ -]{0,199}", "id of a rule")


def _claims_of(type_: type[_Entry]) -> tuple[str, ...]:
    return CLAIMS if "claims" in type_.__slots__ else ()


# One meaning of a name in every type
_FORMS: dict[str, _Form] = {
    "time": _TIME,
    "expires": _TIME,
    "until": _TIME,
    "request": _ID,
    "replica": _ID,
    "unfinished": _list(_ID),
    "artifact": _Form(str, _read_digest),
    **dict.fromkeys(
        ("asked", "prepared", "key", "certificate", "policy", "previous", "change", "build", "private"), _SHA256
    ),
    **dict.fromkeys(("approval",), _SHA256),
    "approvals": _list(_SHA256),
    "count": _number(1),
    "attempt": _number(1),
    "edition": _number(1),
    "size": _number(0),
    **dict.fromkeys(("format", "kind", "construction", "algorithm", "purpose", "provenance", "version"), _WORD),
    "reason": _WORD,
    "code": _text(r"SW-[A-Z0-9-]{1,60}", "code"),
    "rules": _list(_RULE),
    "claimed": _word_of(Claimed),
    "stage": _word_of(Stage),
    "scheme": _word_of(Scheme),
    "outcome": _word_of(Outcome),
}
_EVENTS: dict[str, _Form] = {"key": _word_of(KeyEvent), "certificate": _word_of(CertificateEvent)}


_NAMES: dict[str, frozenset[str]] = {
    SIGNATURE: NAMES,
    **{
        name: frozenset(("type", *(one.name for one in fields(type_) if one.name != "claims"), *_claims_of(type_)))
        for name, type_ in TYPES.items()
    },
}


def _read_field(form: _Form, value: Field) -> Any:
    read = form.read(value)
    if form.write(read) != value:
        raise ValueError("is not in its one spelling")
    return read


def _form(type_: str, name: str) -> _Form:
    return _EVENTS[type_] if name == "event" else _FORMS[name]


def _encoded(entry: _Entry) -> bytes:
    written: dict[str, Field] = {"type": entry.TYPE}
    for one in fields(entry):
        value = getattr(entry, one.name)
        if one.name == "claims":
            written |= claim_fields(value)
        elif one.default is MISSING or value != one.default:
            written[one.name] = _form(entry.TYPE, one.name).write(value)
    data = canonical_json(written)
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"{len(data)} bytes, at most {MAX_LINE_BYTES}")
    del written["type"]
    _read(type(entry), written)  # nobody's log gets an entry that nobody could read
    return data


def _read(type_: type[_Entry], found: dict[str, Field]) -> Any:
    values: dict[str, Any] = {}
    for one in fields(type_):
        if one.name == "claims":
            values["claims"] = read_claims(found)
            for name in CLAIMS:
                found.pop(name, None)
        elif one.name in found:
            try:
                values[one.name] = _read_field(_form(type_.TYPE, one.name), found.pop(one.name))
            except ValueError as cause:
                raise ValueError(f"`{one.name}` {cause}") from cause
        elif one.default is MISSING:
            raise ValueError(f"`{one.name}` is missing")
    if found:
        raise ValueError(f"`{min(found)[:40]}` is no field of `{type_.TYPE}`")
    if "format" in type_.__slots__ and ("format" in values) == ("kind" in values):
        raise ValueError("it names neither a format nor a kind, or both")
    return type_(**values)
