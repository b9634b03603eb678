"""The build provenance of a request, for those who may see the request: `GET /v1/requests/ID/provenance`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from sealwright.errors import NoSuchRequest
from sealwright.service.wire import WireProvenance
from sealwright.signing.items import prepared_of
from sealwright.signing.requestprovenance import is_verified, shown

if TYPE_CHECKING:
    from sealwright.service.office import Office
    from sealwright.signing.people import Principal


@get("/v1/requests/{id_:str}/provenance", summary="The build provenance that came with it")
async def provenance(
    id_: FromPath[str], who: NamedDependency[Principal], office: NamedDependency[Office]
) -> WireProvenance:
    """The statement as it came; 404 where none did, or it was erased."""
    return await asyncio.to_thread(_found, office, who, id_)


def _found(office: Office, who: Principal, id_: str) -> WireProvenance:
    requests = office.requests
    with requests.store.read() as connection:
        stored = requests.shelf.find(connection, who, id_, requests.clock())
        statement = shown(connection, stored.request)
    if not statement:
        raise NoSuchRequest(id_, "no build provenance came with it, or it is not kept any more", "Ask who asked.")
    artifacts = [prepared_of(item, f"item {number}") for number, item in enumerate(stored.items())]
    return WireProvenance(statement, is_verified(statement, artifacts, requests.policies()))
