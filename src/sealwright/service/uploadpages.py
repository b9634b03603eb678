"""What somebody hands in who has the files: a second prepare that they signed, or a file for the service to prepare itself.

POST /v1/requests/ID/prepares          somebody's own key over what they came to (`signing/preparers.py`)
PUT /v1/requests/ID/files/NUMBER       the file of an item, as it is: application/octet-stream, with Content-Length and Content-Digest

A file is read into the spool a block at a time, and only after it is known who sends it, and that it is wanted. It is compressed in no
way, and is no form of several files; its SHA-256 must be the one that was said (RFC 9530). A process without keys prepares it; the
log has what came of it; the file is gone before the answer (A128).
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litestar import Request, Router, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import MalformedArtifact, RequestRefused
from sealwright.log.canonical import read_canonical
from sealwright.log.entryfields import Result
from sealwright.service.apart import prepared_apart
from sealwright.service.bodies import STREAMED
from sealwright.service.spool import received
from sealwright.service.standing import standing_told
from sealwright.service.wire import GivenApproval, StandingRequest
from sealwright.signing.approval import Approval, Scheme
from sealwright.signing.items import Item
from sealwright.signing.preparing import Difference, differences
from sealwright.signing.secondprepare import SecondPrepares
from sealwright.signing.uploads import Uploads

if TYPE_CHECKING:  # Litestar finds both in the application's namespace
    from sealwright.service.office import Office
    from sealwright.signing.people import Principal

OCTETS = "application/octet-stream"
MAX_SAID = 8
MAX_DIGITS = 16
_SHA256 = re.compile(r"[ \t]*sha-256[ \t]*=[ \t]*:([A-Za-z0-9+/]{43}=):[ \t]*")
_UPLOAD = "Upload the file with `sealwright sign --upload`."
_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00]{1,255}")


@post("/prepares", status_code=201, summary="Sign that one's own copy came to the same")
async def prepare(
    id_: FromPath[str], data: JSONBody[GivenApproval], who: NamedDependency[Principal], office: NamedDependency[Office]
) -> StandingRequest:
    """How it stands then: where nothing else is needed, it is being signed."""
    approval = Approval(Scheme(data.scheme), data.proof)
    return standing_told(await asyncio.to_thread(SecondPrepares(office.requests).take, who, id_, approval))


@put(
    "/files/{number:int}",
    status_code=201,
    summary="Upload the file of an item, for the service to prepare it itself",
    request_max_body_size=None,
    opt={STREAMED: True},
)
async def upload(
    id_: FromPath[str],
    number: FromPath[int],
    request: Request[Any, Any, Any],
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
) -> StandingRequest:
    """How the request stands then. 422 where the service came to something else, which the log has too."""
    uploads, spool = Uploads(office.requests), office.spool
    item = await asyncio.to_thread(uploads.expected, who, id_, number)
    size, said = _length(request.headers), _digest(request.headers)
    if spool is None:
        raise RequestRefused("upload", "this service takes no files", "Ask its operator.")
    async with spool.room(who.person, size) as folder:
        path = os.path.join(folder, _name_of(item))
        file = await received(request.stream(), path, size)
        if file != said:
            raise RequestRefused("Content-Digest", f"what came is {file}, and was said to be {said}", _UPLOAD)
        wrong = await asyncio.to_thread(_wrong, path, item, size)
    result = Result.DIFFERENT if wrong else Result.SAME
    standing = await asyncio.to_thread(uploads.record, who, id_, number, file, result)
    if wrong:
        raise RequestRefused(f"item {number}", f"the service came to something else: {wrong}", "Ask who asked.")
    return standing_told(standing)


HANDED_IN = Router("/v1/requests/{id_:str}", route_handlers=[prepare, upload])


def told(found: list[Difference]) -> str:
    """Differences as one clause."""
    parts = [f"{one.what} is {one.found}, wanted {one.wanted}" for one in found[:MAX_SAID]]
    return "; ".join(parts) + (f"; and {len(found) - MAX_SAID} more" if len(found) > MAX_SAID else "")


def _wrong(path: str, item: Item, size: int) -> str:
    """What is not the same, "" where all of it is."""
    try:
        return told(differences(item, prepared_apart(path, item, size)))
    except MalformedArtifact as cause:
        return cause.what


def _name_of(item: Item) -> str:
    """The name that a manifest has of it, where a file can be called so."""
    name = str(read_canonical(item.line).get("file", ""))
    return name if _NAME.fullmatch(name) and len(os.fsencode(name)) < 256 else "file"


def _length(headers: Mapping[str, str]) -> int:
    """RequestRefused unless it is said how long the body is, and it is the file itself."""
    if headers.get("content-type", OCTETS).partition(";")[0].strip().lower() != OCTETS:
        raise RequestRefused("Content-Type", f"a file is {OCTETS}", _UPLOAD)
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RequestRefused("Content-Encoding", "a file comes as it is, not compressed", _UPLOAD)
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not length.isdecimal() or len(length) > MAX_DIGITS:
        raise RequestRefused("Content-Length", "it is not said how long the file is", _UPLOAD)
    return int(length)


def _digest(headers: Mapping[str, str]) -> Digest:
    """The SHA-256 that is said once in Content-Digest (RFC 9530); other algorithms are not looked at."""
    said = [found for part in headers.get("content-digest", "").split(",") if (found := _SHA256.fullmatch(part))]
    if len(said) != 1:
        raise RequestRefused("Content-Digest", "it does not say one sha-256=:...:", _UPLOAD)
    return Digest(HashName.SHA256, base64.b64decode(said[0][1]))
