"""The release before a request: the newest one that was signed of the same product, format, tenant and environment.

    previous_of(shelf, principal, id_)

The environment counts because what developers sign needs nobody's approval: else whoever wants to hide a change would have it signed
there first. It is what the service's rows say, to be looked at; nothing is decided by it.
"""

from __future__ import annotations

from sqlalchemy import select

from sealwright.errors import NoSuchRequest
from sealwright.signing.people import Principal
from sealwright.signing.shelf import Shelf
from sealwright.signing.standings import Standing, standing_of
from sealwright.signing.tables import REQUESTS, State

MAX_LOOKED_AT = 200


def previous_of(shelf: Shelf, principal: Principal, id_: str) -> Standing | None:
    """It as it stands; None where there is none among the newest that they may see. NoSuchRequest for a request that they may not."""
    now = shelf.clock()
    with shelf.store.read() as connection:
        stored = shelf.find(connection, principal, id_, now)
        asked = stored.request
        if not asked.claims.product:
            return None
        query = select(REQUESTS.c.id).where(
            REQUESTS.c.tenant == asked.tenant,
            REQUESTS.c.product == asked.claims.product,
            REQUESTS.c.state == State.SIGNED,
            REQUESTS.c.number < stored.number,
        )
        for other in connection.execute(query.order_by(REQUESTS.c.number.desc()).limit(MAX_LOOKED_AT)).scalars().all():
            try:
                found = shelf.find(connection, principal, other, now)
            except NoSuchRequest:
                continue
            before = found.request
            if (before.format, before.claims.environment) == (asked.format, asked.claims.environment):
                return standing_of(connection, found, now)
    return None
