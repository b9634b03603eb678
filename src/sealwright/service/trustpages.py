"""What others need to verify by: `GET /v1/certificates`, the paths of the keys in service; `GET /v1/trust`, published trust files.

Trust files are a folder's, as `sealwright trust` wrote it: the file, its officers' signatures, and `trust.d/` beside it. They are handed
out octet by octet as they lie there, for they are believed by their signatures alone. A name is looked up among the files that
are there, and never becomes part of a path; what is no plain file, or too long, is not offered.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from sealwright.artifact.source import read_file
from sealwright.log.canonical import time_text
from sealwright.service.publishing import Publishing
from sealwright.signing.people import Principal
from sealwright.signing.requests import Requests

PAGE = 100
MAX_FILES = 1000
MAX_FILE_BYTES = 16 << 20
BESIDE = "trust.d"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ServedCertificate(Struct):
    """A key in service and its path. name: of the key; key: SHA-256 of SPKI; certificate, chain: DER, the path without its root."""

    name: str
    key: str
    ends: str
    certificate: bytes
    chain: list[bytes]


class Certificates(Struct):
    """A page, by the names of keys. next: what to give as `after` for the next page, null at the end."""

    certificates: list[ServedCertificate]
    next: str | None = None


class TrustFile(Struct):
    """A file that is offered. name: what to ask for behind `/v1/trust/`; digest: of its octets."""

    name: str
    size: int
    digest: str


class TrustFiles(Struct):
    """A page, by their names. next: what to give as `after` for the next page, null at the end."""

    files: list[TrustFile]
    next: str | None = None


class Offered:
    """The files of a published folder. folder: "" where nothing is published."""

    def __init__(self, publishing: Publishing) -> None:
        self.folder = publishing.trust

    def names(self) -> list[str]:
        """What is offered now, sorted; at most `MAX_FILES`. Raises Unreadable."""
        if not self.folder:
            return []
        return sorted((*_plain(self.folder, ""), *_plain(os.path.join(self.folder, BESIDE), f"{BESIDE}/")))[:MAX_FILES]

    def read(self, name: str) -> bytes | None:
        """The octets of a file; None where it is not offered. Raises Unreadable."""
        if name not in self.names():
            return None
        return read_file(os.path.join(self.folder, *name.split("/")), MAX_FILE_BYTES)


def _plain(folder: str, before: str) -> Iterator[str]:
    """Names of the plain files of a folder that are not too long; none where it is not there."""
    try:
        with os.scandir(folder) as found:
            for one in found:
                status = one.stat(follow_symlinks=False)
                if _NAME.fullmatch(one.name) and stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES:
                    yield before + one.name
    except FileNotFoundError:
        return


@get("/v1/certificates", summary="Certificates of the keys of the caller's tenant")
async def certificates(
    who: NamedDependency[Principal],
    serving: NamedDependency[Requests],
    after: Annotated[str, QueryParameter(max_length=200)] = "",
) -> Certificates:
    """A page of them, each with the path above it."""
    mine = sorted(name for name, one in serving.keys.items() if one.tenant == who.tenant and name > after)
    desks = [serving.keys[name].desk for name in mine[:PAGE]]
    shown = [
        ServedCertificate(
            name=desk.enrolled.name,
            key=str(desk.key),
            ends=time_text(desk.ends),
            certificate=desk.enrolled.certificate,
            chain=list(desk.enrolled.chain),
        )
        for desk in desks
    ]
    return Certificates(shown, mine[PAGE - 1] if len(mine) > PAGE else None)


@get("/v1/trust", summary="Published trust files")
async def trust_files(
    who: NamedDependency[Principal],  # noqa: ARG001 - whoever is known here may see them
    offered: NamedDependency[Offered],
    after: Annotated[str, QueryParameter(max_length=200)] = "",
) -> TrustFiles:
    """A page of their names and digests."""

    def listed() -> TrustFiles:
        names = [one for one in offered.names() if one > after]
        found = [(name, offered.read(name)) for name in names[:PAGE]]
        shown = [
            TrustFile(name, len(data), f"sha256:{sha256(data).hexdigest()}") for name, data in found if data is not None
        ]
        return TrustFiles(shown, names[PAGE - 1] if len(names) > PAGE else None)

    return await asyncio.to_thread(listed)


@get("/v1/trust/{name:str}", summary="A published trust file, as it is")
async def trust_file(
    who: NamedDependency[Principal],  # noqa: ARG001 - whoever is known here may see them
    offered: NamedDependency[Offered],
    name: FromPath[str],
) -> Response[bytes]:
    """Its octets, with the ETag of them."""
    return await _file(offered, name)


@get("/v1/trust/trust.d/{name:str}", summary="A published list or certificate beside the trust file, as it is")
async def trust_part(
    who: NamedDependency[Principal],  # noqa: ARG001 - whoever is known here may see them
    offered: NamedDependency[Offered],
    name: FromPath[str],
) -> Response[bytes]:
    """Its octets, with the ETag of them."""
    return await _file(offered, f"{BESIDE}/{name}")


async def _file(offered: NamedDependency[Offered], name: str) -> Response[bytes]:
    body = await asyncio.to_thread(offered.read, name)
    if body is None:
        raise NotFoundException
    return Response(body, media_type="application/octet-stream")
