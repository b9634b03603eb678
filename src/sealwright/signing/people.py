"""`people.toml`: who may speak to the signing service, as people review it in git (docs/people.md for the PKI officer).

    # sealwright people 1
    tenants = ["acme"]

    [[person]]
    id = "p7"                                    # opaque: what the trust file and the log call this person
    tenant = "acme"
    roles = ["requester", "approver"]
    until = 2027-12-31T00:00:00Z
    certificates = ["sha256:…"]                  # of TLS clients, SHA-256 of TBSCertificate

    [[person.approval_key]]
    scheme = "cms"
    key = "sha256:…"                             # SHA-256 of SPKI

    [[machine]]
    id = "m3"
    tenant = "acme"
    roles = ["requester"]
    owner = "p7"

    [machine.oidc]
    issuer = "https://token.actions.githubusercontent.com"
    audience = "https://sign.acme.example"
    subject = "repo:acme/fw:environment:release"
    hand_on = ["ref", "sha"]

    [machine.oidc.claims]
    ref_type = "tag"

1. Who is not here is nobody. A certificate is known by the digest of its TBSCertificate: one that is renewed is another one, and
   is entered before it is used. Two certificates of one id are one principal.
2. A token is a machine's where issuer, audience, subject and every claim listed for it are exactly those of the register: no
   beginnings, no patterns (A122). What could be two machines' token is refused when the file is read.
3. A machine is answered for by its owner, a person of its tenant who is there now: that is who asked where four eyes are counted
   (A114). It asks, operates or reads; it never approves. One that prepares again what others ask for (role `builder`) signs that with a
   key of its own (`prepare_keys`), which approves nothing.
4. An id belongs to one tenant. Somebody who works for two has an id, certificates and keys for each; within a tenant a person is one id.
5. `from` and `until` are judged at the time of the question. Names and addresses are elsewhere (`nameslist.py`), where they can be erased.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import cast

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.errors import IdentityRefused, MalformedPeople
from sealwright.signing.approvalkeys import ApprovalKey, CmsKey, WebauthnKey, approval_keys
from sealwright.trust.certificate import load_certificate, tbs_digest

FIRST_LINE = "# sealwright people 1"
PEOPLE = Complaint(MalformedPeople, 1 << 20, "Correct it; `sealwright people check FILE` reads it.")
MAX_BYTES = PEOPLE.limit_bytes
MAX_CLAIMS = 32
MAX_SHOWN = 8
JUDGED = frozenset(("iss", "aud", "sub", "exp", "nbf", "iat", "jti"))  # claims of every token, which no register lists
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLAIM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")
_ISSUER = re.compile(r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_ASK = "Ask the PKI officer; `sealwright people show` lists who is known."


class Role(StrEnum):
    """What a person or machine is there for."""

    REQUESTER = "requester"
    APPROVER = "approver"
    OFFICER = "officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    BUILDER = "builder"


OF_MACHINES = frozenset((Role.REQUESTER, Role.OPERATOR, Role.AUDITOR, Role.BUILDER))
_APPROVE = frozenset((Role.APPROVER, Role.OFFICER))
PREPARE = _APPROVE | {Role.BUILDER}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. id: register id (never a name); person: the id that counts for four eyes: its own, or of the person who answers for a machine.

    claims: of a CI token, checked, e.g. ("repository", "acme/fw"), ("ref", "refs/tags/v1").
    """

    id: str
    person: str
    machine: bool
    tenant: str
    roles: frozenset[Role]
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """certificates: of TLS clients, SHA-256 of TBSCertificate."""

    id: str
    tenant: str
    roles: frozenset[Role]
    since: datetime | None
    until: datetime | None
    certificates: tuple[Digest, ...]
    approval_keys: tuple[ApprovalKey, ...]


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Which tokens are a machine's: every text exactly. hand_on: claims that must be there, whose values policies see."""

    issuer: str
    audience: str
    subject: str
    claims: Mapping[str, str]
    hand_on: tuple[str, ...]

    @property
    def head(self) -> tuple[str, str, str]:
        """What every rule names."""
        return self.issuer, self.audience, self.subject

    def meets(self, other: TokenRule) -> bool:
        """Whether one token could fit both: no claim that both list says two things."""
        return self.head == other.head and all(
            other.claims.get(name, text) == text for name, text in self.claims.items()
        )

    def differences(self, token: Token) -> list[tuple[str, str, str | None]]:
        """What of a token is not as wanted: name, wanted, found; wanted is "" where any text will do."""
        pairs: list[tuple[str, str, str | None]] = [
            ("aud", self.audience, token.audience),
            ("sub", self.subject, token.subject),
            *((name, text, token.claims.get(name)) for name, text in self.claims.items()),
        ]
        absent = [(name, "", None) for name in self.hand_on if name not in token.claims]
        return [one for one in pairs if one[1] != one[2]] + absent


@dataclass(frozen=True, slots=True)
class Machine:
    """What asks without a person at it. owner: who answers for it; it has certificates or a token rule, never both.

    prepare_keys: by which it signs what it has prepared again, SHA-256 of SPKI.
    """

    id: str
    tenant: str
    roles: frozenset[Role]
    since: datetime | None
    until: datetime | None
    owner: str
    certificates: tuple[Digest, ...]
    token: TokenRule | None
    prepare_keys: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says that was verified (`service/oidc.py`). audience: the one; claims: its other texts by name."""

    issuer: str
    audience: str
    subject: str
    claims: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class People:
    """One register file. digest: of its bytes; every id, certificate, key and credential is there once."""

    digest: Digest
    tenants: tuple[str, ...]
    persons: Mapping[str, Person]
    machines: Mapping[str, Machine]
    _certificates: Mapping[Digest, Person | Machine] = field(repr=False)
    _keys: Mapping[Digest, ApprovalKey] = field(repr=False)
    _prepare_keys: Mapping[Digest, Machine] = field(repr=False)
    _credentials: Mapping[bytes, WebauthnKey] = field(repr=False)
    _rules: Mapping[tuple[str, str, str], tuple[Machine, ...]] = field(repr=False)

    def by_certificate(self, der: bytes, now: datetime) -> Principal:
        """Whose certificate it is that TLS has judged; IdentityRefused where it is nobody's now."""
        digest = tbs_digest(load_certificate(der, "client certificate"))
        found = self._certificates.get(digest)
        if found is None:
            raise IdentityRefused(f"client certificate {digest}", "the register does not have it", _ASK)
        return self._principal(found, now)

    def by_token(self, token: Token, now: datetime) -> Principal:
        """Whose token it is; IdentityRefused with every claim that differs where it is nobody's now (A122)."""
        for machine in self._rules.get((token.issuer, token.audience, token.subject), ()):
            rule = machine.token
            if rule is not None and not rule.differences(token):
                names = sorted({*rule.claims, *rule.hand_on})
                return self._principal(machine, now, tuple((name, token.claims[name]) for name in names))
        raise IdentityRefused(f"token of {display(token.issuer)}", self._mismatch(token), _ASK)

    def principal(self, id_: str, now: datetime) -> Principal:
        """Who an id is now, without a token's claims; IdentityRefused where nobody counts by it, or nobody who answers for it."""
        found = self.persons.get(id_) or self.machines.get(id_)
        if found is None:
            raise IdentityRefused(id_, "the register does not have it", _ASK)
        return self._principal(found, now)

    def again(self, id_: str, head: tuple[str, ...], claims: tuple[tuple[str, str], ...], now: datetime) -> Principal:
        """A machine that showed a token with these claims before; IdentityRefused where the register would not know it by them now.

        head: its issuer, audience and subject.
        """
        machine, told = self.machines.get(id_), dict(claims)
        rule = None if machine is None else machine.token
        known = rule is not None and head == rule.head and told == {**told, **rule.claims}
        if machine is None or rule is None or not known or not set(rule.hand_on) <= set(told):
            raise IdentityRefused(id_, "the register does not know it by these claims any more", _ASK)
        return self._principal(machine, now, claims)

    def approver_key(self, person: str, key: Digest, now: datetime) -> ApprovalKey:
        """The key with which somebody approves now; IdentityRefused where it is not theirs, or they may not."""
        found = self._keys.get(key)
        if found is None or found.person != person:
            raise IdentityRefused(f"key {key}", f"it is no approval key of {display(person)}", _ASK)
        owner = self.persons[person]
        _in_force(owner, now)
        if not owner.roles & _APPROVE:
            raise IdentityRefused(person, "neither `approver` nor `officer` is among the roles", _ASK)
        return found

    def cms_approver(self, key: Digest, tenant: str, now: datetime) -> str | None:
        """Who approves in a tenant now with that key as CMS; None for every other key, also of an authenticator."""
        found = self._keys.get(key)
        return found.person if isinstance(found, CmsKey) and self._approves(found, tenant, now) else None

    def webauthn_key(self, credential: bytes, tenant: str, now: datetime) -> WebauthnKey | None:
        """The authenticator's key of somebody who approves in a tenant now; None for every other."""
        found = self._credentials.get(credential)
        return found if found is not None and self._approves(found, tenant, now) else None

    def webauthn_keys(self, person: str, now: datetime) -> tuple[WebauthnKey, ...]:
        """The authenticators' keys of somebody who approves, or prepares again, now."""
        found = self.persons.get(person)
        if found is None or not _may(found, PREPARE, now):
            return ()
        return tuple(one for one in found.approval_keys if isinstance(one, WebauthnKey))

    def approvers(self, tenant: str, now: datetime) -> Approvers:
        """Who approves in a tenant at a time."""
        return Approvers(self, tenant, now)

    def authenticator(self, credential: bytes) -> WebauthnKey | None:
        """The key of a credential, whosever it is and whenever."""
        return self._credentials.get(credential)

    def prepares_by(self, key: Digest) -> Person | Machine | None:
        """Whose key it is, of those that sign what they have prepared again; None for every other, also of an authenticator."""
        found = self._keys.get(key)
        if isinstance(found, CmsKey):
            return self.persons[found.person]
        return self._prepare_keys.get(key)

    def machines_of(self, person: str) -> tuple[Machine, ...]:
        """What somebody answers for."""
        return tuple(one for one in self.machines.values() if one.owner == person)

    def counts(self, one: Person | Machine, now: datetime) -> bool:
        """Whether somebody is there at that time, and who answers for it too."""
        return in_force(one, now) and (isinstance(one, Person) or in_force(self.persons[one.owner], now))

    def issuers(self) -> frozenset[str]:
        """Whose tokens can be anybody's at all."""
        return frozenset(one.token.issuer for one in self.machines.values() if one.token is not None)

    def _approves(self, key: ApprovalKey, tenant: str, now: datetime) -> bool:
        person = self.persons[key.person]
        return person.tenant == tenant and _may(person, _APPROVE, now)

    def _principal(self, found: Person | Machine, now: datetime, claims: tuple[tuple[str, str], ...] = ()) -> Principal:
        _in_force(found, now)
        if isinstance(found, Person):
            return Principal(found.id, found.id, False, found.tenant, found.roles)
        _in_force(self.persons[found.owner], now)
        return Principal(found.id, found.owner, True, found.tenant, found.roles, claims)

    def _mismatch(self, token: Token) -> str:
        rules = [
            (one.id, one.token) for one in self.machines.values() if one.token and one.token.issuer == token.issuer
        ]
        if not rules:
            return "no machine's tokens come from this issuer"
        nearest = sorted(((name, rule.differences(token)) for name, rule in rules), key=lambda one: len(one[1]))
        said = [f"not that of {name}: " + ", ".join(map(_difference, wrong)) for name, wrong in nearest[:MAX_SHOWN]]
        left = f"; and {len(nearest) - MAX_SHOWN} machines more" if len(nearest) > MAX_SHOWN else ""
        return "; ".join(said) + left


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who approves in a tenant at a time."""

    people: People
    tenant: str
    now: datetime

    def cms(self, key: Digest) -> str | None:
        """The person who signs approvals as CMS by that key."""
        return self.people.cms_approver(key, self.tenant, self.now)

    def webauthn(self, credential: bytes) -> WebauthnKey | None:
        """The authenticator's key of that credential."""
        return self.people.webauthn_key(credential, self.tenant, self.now)


def in_force(one: Person | Machine, now: datetime) -> bool:
    """Whether an id counts at that time: from `from` to `until`, both included."""
    return (one.since is None or one.since <= now) and (one.until is None or now <= one.until)


def is_issuer(text: str) -> bool:
    """Whether it can be the name of a token's issuer: an https address without user, query or fragment."""
    return _ISSUER.fullmatch(text) is not None


def parse_people(data: bytes, subject: str) -> People:
    """Read a register; MalformedPeople naming section, key and what is wanted, LimitExceeded above 1 MiB."""
    top = read_toml(data, subject, FIRST_LINE, PEOPLE)
    tenants = tuple(_id(top, "tenants", one) for one in top.texts("tenants"))
    if not tenants:
        raise top.wrong("tenants", "a list with at least one tenant")
    persons = cast("tuple[Person, ...]", top.each("person", _person))
    machines = cast("tuple[Machine, ...]", top.each("machine", _machine))
    top.done()
    _check(tenants, persons, machines, subject)
    every: tuple[Person | Machine, ...] = (*persons, *machines)
    keys = [key for person in persons for key in person.approval_keys]
    rules: dict[tuple[str, str, str], tuple[Machine, ...]] = {}
    for one in machines:
        if one.token is not None:
            rules[one.token.head] = (*rules.get(one.token.head, ()), one)
    return People(
        digest=Digest.of(data),
        tenants=tenants,
        persons={one.id: one for one in persons},
        machines={one.id: one for one in machines},
        _certificates={digest: one for one in every for digest in one.certificates},
        _keys={key.key: key for key in keys},
        _prepare_keys={key: one for one in machines for key in one.prepare_keys},
        _credentials={key.credential: key for key in keys if isinstance(key, WebauthnKey)},
        _rules=rules,
    )


def _person(section: Section) -> Person:
    person = _id(section, "id", section.text("id"))
    section.where = f"[[person]] {person}"
    return Person(
        id=person,
        tenant=section.text("tenant"),
        roles=_roles(section, frozenset(Role)),
        since=section.time_or_none("from"),
        until=section.time_or_none("until"),
        certificates=section.digests("certificates"),
        approval_keys=tuple(approval_keys(section, person)),
    )


def _machine(section: Section) -> Machine:
    machine = _id(section, "id", section.text("id"))
    section.where = f"[[machine]] {machine}"
    if section.has("oidc") == section.has("certificates"):
        raise section.wrong("oidc", "there, or `certificates`, and not both")
    return Machine(
        id=machine,
        tenant=section.text("tenant"),
        roles=_roles(section, OF_MACHINES),
        since=section.time_or_none("from"),
        until=section.time_or_none("until"),
        owner=section.text("owner"),
        certificates=section.digests("certificates"),
        token=_token_rule(section) if section.has("oidc") else None,
        prepare_keys=section.digests("prepare_keys"),
    )


def _roles(section: Section, allowed: frozenset[Role]) -> frozenset[Role]:
    found = section.texts("roles")
    if not found or set(found) - {role.value for role in allowed}:
        raise section.wrong("roles", "some of " + ", ".join(role for role in Role if role in allowed))
    return frozenset(Role(one) for one in found)


def _token_rule(section: Section) -> TokenRule:
    oidc = section.table("oidc")
    oidc.where = f"[machine.oidc] of {section.where.partition(' ')[2]}"
    issuer, audience, subject = oidc.text("issuer"), oidc.text("audience"), oidc.text("subject")
    if not is_issuer(issuer):
        raise oidc.wrong("issuer", "an https address, letter by letter as its tokens have it")
    claims = _listed_claims(oidc)
    rule = TokenRule(issuer, audience, subject, claims, oidc.texts("hand_on"))
    for name, text in (("audience", audience), ("subject", subject), *claims.items()):
        if "*" in text:
            raise oidc.wrong(name, "the whole text: nothing here is a pattern")
    for name in (*claims, *rule.hand_on):
        if not _CLAIM.fullmatch(name) or name in JUDGED:
            raise oidc.wrong(display(name)[:40], "the name of a claim of the token that is not judged anyway")
    if len(claims) + len(rule.hand_on) > MAX_CLAIMS or set(claims) & set(rule.hand_on):
        raise oidc.wrong("hand_on", f"other claims than those in `claims`, together at most {MAX_CLAIMS}")
    oidc.done()
    return rule


def _listed_claims(oidc: Section) -> dict[str, str]:
    if not oidc.has("claims"):
        return {}
    table = oidc.table("claims")
    table.where = oidc.where
    return {name: table.text(name) for name in list(table.left)}


def _check(tenants: tuple[str, ...], persons: tuple[Person, ...], machines: tuple[Machine, ...], subject: str) -> None:
    """The parts fit together, and everything belongs to one id."""

    def wrong(what: str) -> MalformedPeople:
        return MalformedPeople(subject, what, PEOPLE.next_step)

    every: tuple[Person | Machine, ...] = (*persons, *machines)
    by_id = {one.id: one for one in persons}
    keys = [key for person in persons for key in person.approval_keys]
    for what, names in (
        ("the tenant", [one.casefold() for one in tenants]),
        ("the id", [one.id.casefold() for one in every]),
        ("the certificate", [str(digest) for one in every for digest in one.certificates]),
        (
            "the approval key",
            [*(str(key.key) for key in keys), *(str(key) for one in machines for key in one.prepare_keys)],
        ),
        ("the credential", [key.credential.hex() for key in keys if isinstance(key, WebauthnKey)]),
    ):
        if twice := sorted(name for name, times in Counter(names).items() if times > 1):
            raise wrong(f"{what} {twice[0]} is there twice")
    for one in every:
        if one.tenant not in tenants:
            raise wrong(f"{one.id}: there is no tenant {display(one.tenant)}")
        if one.since is not None and one.until is not None and one.until < one.since:
            raise wrong(f"{one.id}: `until` is before `from`")
    for machine in machines:
        owner = by_id.get(machine.owner)
        if owner is None or owner.tenant != machine.tenant:
            raise wrong(f"{machine.id}: its owner {display(machine.owner)} is no person of {machine.tenant}")
    with_rules: dict[tuple[str, str, str], list[tuple[str, TokenRule]]] = {}
    for machine in machines:
        if machine.token is not None:
            alike = with_rules.setdefault(machine.token.head, [])
            for other, rule in alike:
                if machine.token.meets(rule):
                    raise wrong(
                        f"one token could be that of {other} and of {machine.id}: list a claim that tells them apart"
                    )
            alike.append((machine.id, machine.token))


def _id(section: Section, key: str, text: str) -> str:
    if not _ID.fullmatch(text):
        raise section.wrong(key, "an id of letters, digits, `.`, `_` and `-`: no name, no address")
    return text


def _may(person: Person, roles: frozenset[Role], now: datetime) -> bool:
    return bool(person.roles & roles) and in_force(person, now)


def _in_force(one: Person | Machine, now: datetime) -> None:
    if in_force(one, now):
        return
    begun = one.since is None or one.since <= now
    at = one.until if begun else one.since
    word = "ended" if begun else "begins"
    raise IdentityRefused(one.id, f"it {word} on {at:%Y-%m-%d %H:%M} UTC", _ASK)


def _difference(one: tuple[str, str, str | None]) -> str:
    name, wanted, found = one
    shown = f'"{display(found)[:100]}"' if found is not None else "nothing"
    return f'{display(name)} must be "{display(wanted)}", found {shown}' if wanted else f"{display(name)} is missing"
