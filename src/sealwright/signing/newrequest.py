"""A request made of a wish: its bytes, which the service makes and never a client, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import insert

from sealwright.artifact.digest import Digest
from sealwright.formats.format import Prepared
from sealwright.log.writer import NewRow
from sealwright.signing.home import EnrolledKey
from sealwright.signing.items import common_claims, root_of_items
from sealwright.signing.people import Principal
from sealwright.signing.request import SigningRequest, new_nonce
from sealwright.signing.requestprovenance import provenance_rows
from sealwright.signing.requestrows import millis, packed, private_row
from sealwright.signing.tables import REQUESTS, State
from sealwright.signing.wish import Wish, body_of

_REQUESTED = insert(REQUESTS)


class Serving(NamedTuple):
    """Where a request is good. service, origin: ids of the service and of its log; policy: digest of the policies that count."""

    service: str
    origin: str
    policy: Digest


def new_request(
    where: Serving,
    principal: Principal,
    wish: Wish,
    prepared: Sequence[Prepared],
    key: EnrolledKey,
    provenance: Digest | None,
    now: datetime,
) -> SigningRequest:
    """The request for a wish. prepared: its items, read; provenance: digest of the statement that came with it."""
    return SigningRequest(
        service=where.service,
        origin=where.origin,
        nonce=new_nonce(),
        requester=principal.id,
        tenant=principal.tenant,
        root=root_of_items([item.line for item in wish.items]),
        count=len(prepared),
        format=prepared[0].format,
        kind=prepared[0].kind,
        construction=key.construction.value,
        key=key.digest,
        policy=where.policy,
        claims=common_claims(list(dict.fromkeys(one.claims for one in prepared))),
        not_before=now,
        expires=now + wish.valid,
        provenance=provenance,
        emergency=wish.emergency,
    )


def rows_of(request: SigningRequest, wish: Wish, private: bytes, state: State, holder: str) -> list[NewRow]:
    """What the database has of it. private: who asks; state: SIGNING where it begins at once."""
    return [
        NewRow(_REQUESTED, _row(request, wish, Digest.of(private), state, holder), leaf="leaf"),
        private_row(request.id, private),
        *provenance_rows(request.id, wish.provenance),
    ]


def _row(request: SigningRequest, wish: Wish, private: Digest, state: State, holder: str) -> dict[str, object]:
    return {
        "id": request.id,
        "tenant": request.tenant,
        "requester": request.requester,
        "state": state,
        "request": request.encoded(),
        "items": b"".join(item.line + b"\n" for item in wish.items),
        "contents": packed([item.content for item in wish.items]),
        "private": str(private),
        "product": request.claims.product or "",
        "count": request.count,
        "created": millis(request.not_before),
        "expires": millis(request.expires),
        "attempt": 1 if state is State.SIGNING else 0,
        "holder": holder,
        "problem": "",
        "word": wish.word or None,
        "body": body_of(wish) if wish.word else None,
    }
