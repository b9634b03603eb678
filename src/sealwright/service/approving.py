"""What somebody who approves asks beside the request: the challenge for their authenticator, and the release before it.

GET /v1/requests/ID/challenge      what an authenticator signs, and which credentials of the caller's the register has
GET /v1/requests/ID/previous       the newest signed request of the same product, format and environment that the caller may see
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from sealwright.service.standing import standing_told
from sealwright.service.wire import Challenge, Previous, WireCredential
from sealwright.signing.previous import previous_of
from sealwright.signing.webauthn import challenge_of

if TYPE_CHECKING:  # Litestar finds both in the application's namespace
    from sealwright.service.office import Office
    from sealwright.signing.people import Principal


@get("/challenge", summary="What an authenticator signs to approve it")
async def challenge(id_: FromPath[str], who: NamedDependency[Principal], office: NamedDependency[Office]) -> Challenge:
    """A client computes the challenge itself from the request that it shows, and asks at its own address only."""
    requests = office.requests
    data = await asyncio.to_thread(requests.shelf.request_bytes, who, id_)
    keys = () if who.machine else requests.people().webauthn_keys(who.person, requests.clock())
    return Challenge(challenge_of(data), [WireCredential(one.rp, one.origin, one.credential) for one in keys])


@get("/previous", summary="The release before it")
async def previous(id_: FromPath[str], who: NamedDependency[Principal], office: NamedDependency[Office]) -> Previous:
    """`request` is null where the service knows of none."""
    found = await asyncio.to_thread(previous_of, office.requests.shelf, who, id_)
    return Previous(None if found is None else standing_told(found))


APPROVING = Router("/v1/requests/{id_:str}", route_handlers=[challenge, previous])
