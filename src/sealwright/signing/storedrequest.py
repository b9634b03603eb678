"""A request as the database holds it: its row, its bytes, and the private part that says who asked, each compared with its digest.

    stored = read_stored(connection, id_, "acme-signing", "log.acme.example")
    stored.request, stored.asker, stored.items()

The private part may be erased once nothing is signed by the request any more; what can be looked at then is nobody's.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import LogRefused, NoSuchRequest
from sealwright.formats.format import Prepared
from sealwright.log import entries
from sealwright.log.canonical import Field, canonical_json, read_canonical
from sealwright.log.entryfields import Claimed
from sealwright.signing.items import Item, prepared_of
from sealwright.signing.people import Principal, Role
from sealwright.signing.pipeline import says_claims
from sealwright.signing.request import SigningRequest, read_request
from sealwright.signing.requestrows import items_of, time_of
from sealwright.signing.tables import PRIVATE, REQUESTS, State

SALT_BYTES = 16
TAMPERED = "Keep the database as evidence: somebody has written into it. Ask for the signatures anew."


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked, with the roles and claims of then, and why."""

    principal: Principal
    reason: str


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """number: of its row; leaf: of its entry in the log, as the row says; state, attempt, problem: as the row says, which proves nothing.

    private: digest of who asked; asker: None where that was erased.
    """

    number: int
    leaf: int
    state: State
    attempt: int
    problem: str
    created: datetime
    request: SigningRequest
    private: Digest
    asker: Asker | None
    _lines: bytes
    _contents: bytes

    @property
    def id(self) -> str:
        """What everybody calls it."""
        return self.request.id

    @property
    def person(self) -> str:
        """Who answers for it, "" where that was erased."""
        return "" if self.asker is None else self.asker.principal.person

    def items(self) -> Iterator[Item]:
        """What it asks to sign, in order, as the row says."""
        return items_of(self._lines, self._contents)

    def entry(self) -> bytes:
        """The log's entry of it, as it must be there."""
        return requested(self.request, self.id, self.private, self.created, prepared_of(next(self.items()), "item 0"))


def read_stored(
    connection: Connection, id_: str, service: str, origin: str, tenant: str | None = None
) -> StoredRequest:
    """Find a request by its id. NoSuchRequest; LogRefused where its bytes or its private part are not what they are named by (A130, A118).

    tenant: whose it must be, None for anybody's. The database is asked for both at once: another's is found no more than one that is not
    there, and takes no longer (A129).
    """
    query = select(REQUESTS).where(REQUESTS.c.id == id_)
    row = connection.execute(query if tenant is None else query.where(REQUESTS.c.tenant == tenant)).one_or_none()
    if row is None:
        raise NoSuchRequest(id_[:80], "there is no such request", "Check its number.")
    data = bytes(row.request)
    if Digest.of(data).value.hex() != id_:
        raise LogRefused(id_, "its bytes are not those that it is named by", TAMPERED)
    request = read_request(data, id_)
    if (request.service, request.origin) != (service, origin):
        raise LogRefused(id_, f"it was made by the service {request.service} for the log {request.origin}", TAMPERED)
    private = connection.execute(select(PRIVATE.c.text).where(PRIVATE.c.digest == row.private)).scalar()
    if private is not None and str(Digest.of(bytes(private))) != row.private:
        raise LogRefused(id_, "the record of who asked is another one", TAMPERED)
    return StoredRequest(
        number=row.number,
        leaf=row.leaf,
        state=State(row.state),
        attempt=row.attempt,
        problem=row.problem,
        created=time_of(row.created),
        request=request,
        private=Digest.parse(row.private),
        asker=None if private is None else _asker(request, read_canonical(bytes(private))),
        _lines=bytes(row.items),
        _contents=bytes(row.contents),
    )


def requested(request: SigningRequest, id_: str, private: Digest, now: datetime, first: Prepared) -> bytes:
    """The log's entry of a request. first: of what it asks to sign."""
    return entries.Request(
        time=now,
        request=id_,
        asked=Digest.parse(f"sha256:{id_}"),
        prepared=Digest(HashName.SHA256, request.root),
        count=request.count,
        format=request.format,
        artifact=next(iter(first.digests.values())),
        key=request.key,
        construction=request.construction,
        policy=request.policy,
        expires=request.expires,
        claimed=Claimed.SIGNED if says_claims(first) else Claimed.ASSERTED,
        claims=request.claims,
        build=request.provenance,
        private=private,
    ).encoded()


def asker_text(principal: Principal, nonce: str, reason: str) -> bytes:
    """The private part of a request: who asks and why."""
    fields: dict[str, Field] = {
        "salt": secrets.token_hex(SALT_BYTES),
        "nonce": nonce,
        "requester": principal.id,
        "person": principal.person,
        "roles": tuple(sorted(role.value for role in principal.roles)),
        "claims": tuple(f"{name}={value}" for name, value in principal.claims),
    }
    if principal.machine:
        fields["machine"] = "yes"
    if reason:
        fields["reason"] = reason
    return canonical_json(fields)


def doer_text(did: str, person: str, id_: str) -> bytes:
    """The private part of what somebody did with a request. did: e.g. "approver"."""
    return canonical_json({"salt": secrets.token_hex(SALT_BYTES), "request": id_, did: person})


def doers_text(did: str, persons: Collection[str], id_: str) -> bytes:
    """The same of several."""
    return canonical_json({"salt": secrets.token_hex(SALT_BYTES), "request": id_, did: tuple(sorted(persons))})


def used_text(principal: Principal, id_: str, persons: Collection[str], preparers: Collection[str]) -> bytes:
    """The private part of its use: for whom it is signed, who let it through, and who prepared it too."""
    fields: dict[str, Field] = {
        "salt": secrets.token_hex(SALT_BYTES),
        "request": id_,
        "requester": principal.id,
        "person": principal.person,
        "approvers": tuple(sorted(persons)),
    }
    if preparers:
        fields["preparers"] = tuple(sorted(preparers))
    return canonical_json(fields)


def read_users(connection: Connection, used: Digest) -> frozenset[str]:
    """Who had a part in a use: for whom it was signed, and who let it through. used: digest of its private part, as the log has it.

    LogRefused where that part is gone, or another one: nobody can say then who had none.
    """
    text = connection.execute(select(PRIVATE.c.text).where(PRIVATE.c.digest == str(used))).scalar()
    if text is None or Digest.of(bytes(text)) != used:
        raise LogRefused(f"private part {used}", "the record of who let it through is gone, or another one", TAMPERED)
    found = read_canonical(bytes(text))
    approvers = found.get("approvers", ())
    return frozenset((str(found["person"]), *(approvers if isinstance(approvers, tuple) else ())))


def _asker(request: SigningRequest, private: Mapping[str, Field]) -> Asker:
    claims = private.get("claims", ())
    pairs = [tuple(one.partition("=")[::2]) for one in claims] if isinstance(claims, tuple) else []
    return Asker(
        Principal(
            id=str(private["requester"]),
            person=str(private["person"]),
            machine="machine" in private,
            tenant=request.tenant,
            roles=frozenset(Role(str(one)) for one in private["roles"]),  # type: ignore[union-attr]
            claims=tuple((name, value) for name, value in pairs),
        ),
        str(private.get("reason", "")),
    )
