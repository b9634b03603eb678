"""The signing service's resources (OpenAPI 3.1 at `/openapi.json`): requests, approvals, signatures, proofs, keys, the log's checkpoint.

    app = application(Office(requests, reader, door, "acme-signing"), log)

Every request comes in by the door (`identity.py`); what is not the caller's is not there (A121). Nothing changes on a GET (A126). A
refusal is a problem of RFC 9457 with the code of docs/findings.md; what went wrong inside is in the log, with the request's id, and
never in an answer (A129). Waiting is in the event loop, and what works on the database in threads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from litestar import Litestar, MediaType, Request, Response, Router, get, post
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from sealwright import __version__
from sealwright.errors import (
    IdentityRefused,
    JournalError,
    KeyUnavailable,
    LimitExceeded,
    NoSuchRequest,
    PolicyRefused,
    RequestOver,
    RequestRefused,
    SealwrightError,
    StoreConflict,
    StoreUnavailable,
    UsageError,
)
from sealwright.log.canonical import time_text
from sealwright.service.auditpages import audit_entries
from sealwright.service.conditional import conditional
from sealwright.service.cosigning import Cosigner
from sealwright.service.identity import Door, Unidentified
from sealwright.service.logpages import PREFIX, LogPages, published_checkpoint, tile
from sealwright.service.publishing import Publishing
from sealwright.service.server import Log, no_log
from sealwright.service.trustpages import Offered, certificates, trust_file, trust_files, trust_part
from sealwright.service.wire import (
    Ask,
    GivenApproval,
    Health,
    Items,
    Keys,
    Problem,
    Proofs,
    Signatures,
    StandingRequest,
    WireItem,
    WireKey,
    WireSignature,
)
from sealwright.service.wire import (
    Requests as Page,
)
from sealwright.signing.approval import Approval, Scheme
from sealwright.signing.desk import Value
from sealwright.signing.items import Item
from sealwright.signing.people import Principal
from sealwright.signing.requests import PAGE, Requests, Standing
from sealwright.signing.tables import State
from sealwright.signing.wish import ServedKey, Wish

MAX_BODY = 64 << 20
MANY = 64  # items from which a request is read in a thread
PROBLEM = "application/problem+json"
# the nearest kind that an error is of
STATUS: Mapping[type[SealwrightError], int] = {
    NoSuchRequest: 404,
    PolicyRefused: 403,
    RequestOver: 409,
    RequestRefused: 422,
    LimitExceeded: 413,
    UsageError: 400,
    IdentityRefused: 401,
    KeyUnavailable: 503,
    JournalError: 503,
    StoreUnavailable: 503,
}
_AGAIN_S = "2"


@dataclass(frozen=True, slots=True)
class Office:
    """What the resources work on. name: the service's id; cosigner: None where no witness is configured."""

    requests: Requests
    door: Door
    name: str
    publishing: Publishing = Publishing()
    cosigner: Cosigner | None = None


def application(office: Office, log: Log = no_log, access: Log = no_log) -> ASGIApp:
    """The ASGI application. access: gets a line for each request."""
    app = conditional(_resources(office, log))
    if access is no_log:
        return app

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await app(scope, receive, sending)
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        path = str(scope["path"])[:200]
        access({"method": str(scope.get("method")), "path": path, "status": status, "ms": milliseconds})

    return told


def _resources(office: Office, log: Log) -> Litestar:
    pages = LogPages(office.requests, office.door, office.publishing)
    offered = Offered(office.publishing)

    async def who(request: Request[Any, Any, Any]) -> Principal:
        return await office.door.enter(request.scope, office.requests.clock())

    def refused(request: Request[Any, Any, Any], cause: Exception) -> Response[Problem]:
        return _answer(request, cause, log)

    return Litestar(
        [
            ask,
            listed,
            standing,
            items,
            approve,
            withdraw,
            attempt,
            signatures,
            proofs,
            keys,
            checkpoint,
            health,
            audit_entries,
            certificates,
            trust_files,
            trust_file,
            trust_part,
            Router(PREFIX, route_handlers=[published_checkpoint, tile]),
        ],
        dependencies={
            "who": Provide(who),
            "office": Provide(lambda: office, sync_to_thread=False),
            "serving": Provide(lambda: office.requests, sync_to_thread=False),
            "pages": Provide(lambda: pages, sync_to_thread=False),
            "offered": Provide(lambda: offered, sync_to_thread=False),
        },
        exception_handlers={Exception: refused},
        request_max_body_size=MAX_BODY,
        openapi_config=OpenAPIConfig("Sealwright signing service", __version__, path="/openapi"),
        signature_namespace={"Principal": Principal, "Office": Office},
        logging_config=None,
    )


@post("/v1/requests", status_code=201, summary="Ask for signatures", sync_to_thread=False)
async def ask(
    data: Ask,
    who: Principal,
    office: Office,
    word: Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=200)] = None,
) -> Response[StandingRequest]:
    """The request as it stands, with its signatures where they were made within `wait_s`; 202 where they are still to come."""
    wish = Wish(
        key=data.key,
        items=[Item(one.line.encode(), one.content) for one in data.items],
        reason=data.reason,
        word=word or "",
        valid=timedelta(seconds=data.valid_s),
    )
    requests = office.requests
    asking = await asyncio.to_thread(requests.ask, who, wish) if len(wish.items) > MANY else requests.ask(who, wish)
    try:
        await asyncio.wrap_future(asking.recorded)
    except StoreConflict:
        if not wish.word:
            raise
        before = await asyncio.to_thread(requests.said_before, who, wish)
        return Response(_standing(before), status_code=200)
    location = {"location": f"/v1/requests/{asking.id}"}
    values: dict[int, Value] | None = None
    if asking.order is not None:
        future = asyncio.wrap_future(requests.begin(asking))
        done, _ = await asyncio.wait([future], timeout=data.wait_s)
        values = future.result() if done else None
    now = asking.request.not_before
    state = State.SIGNED if values is not None else State.SIGNING if asking.order is not None else State.WAITING
    told = StandingRequest(
        id=asking.id,
        number=0,
        state=state.value,
        request=asking.request.encoded().decode(),
        requester=who.id,
        created=time_text(now),
        expires=time_text(asking.request.expires),
        count=asking.request.count,
        signed=len(values or ()),
        attempt=1 if asking.order is not None else 0,
        approvals=[],
        reason=wish.reason,
        needed=asking.needed.approvals,
        signatures=None if values is None else [_signature(number, one) for number, one in sorted(values.items())],
    )
    return Response(told, status_code=201 if values is not None else 202, headers=location)


@get("/v1/requests", summary="Requests of the caller's tenant, oldest first")
async def listed(
    who: Principal,
    office: Office,
    wanted: Annotated[list[State] | None, QueryParameter(name="state")] = None,
    after: Annotated[int, QueryParameter(ge=0, le=2**62)] = 0,
) -> Page:
    """A page of them."""
    found = await asyncio.to_thread(office.requests.listed, who, tuple(wanted or ()), after)
    return Page([_standing(one) for one in found.standings], found.next)


@get("/v1/requests/{id_:str}", summary="How a request stands")
async def standing(
    id_: str, who: Principal, office: Office, wait_s: Annotated[int, QueryParameter(ge=0, le=60)] = 0
) -> Response[StandingRequest]:
    """With `wait_s` the answer comes when it is signed, failed or over, or after so many seconds."""
    until = asyncio.get_running_loop().time() + wait_s
    while True:
        found = await asyncio.to_thread(office.requests.standing, who, id_)
        going_on = found.state in (State.WAITING, State.SIGNING)
        if not going_on or asyncio.get_running_loop().time() >= until:
            tag = f'"{found.state}-{found.attempt}-{len(found.approvals)}-{found.signed}"'
            return Response(_standing(found), headers={"etag": tag})
        await asyncio.sleep(0.2)


@get("/v1/requests/{id_:str}/items", summary="What it asks to sign")
async def items(
    id_: str, who: Principal, office: Office, first: Annotated[int, QueryParameter(ge=0, le=2**31)] = 0
) -> Items:
    """A page of the lines, each with its small content."""
    found = await asyncio.to_thread(office.requests.items, who, id_, first)
    lines = [WireItem(one.line.decode(), one.content) for one in found]
    return Items(lines, first + PAGE if len(found) == PAGE else None)


@post("/v1/requests/{id_:str}/approvals", status_code=201, summary="Approve it by one's own key")
async def approve(id_: str, data: GivenApproval, who: Principal, office: Office) -> StandingRequest:
    """How it stands then: where this was the last approval needed, it is being signed."""
    approval = Approval(Scheme(data.scheme), data.proof)
    return _standing(await asyncio.to_thread(office.requests.approve, who, id_, approval))


@post("/v1/requests/{id_:str}/withdrawal", status_code=200, summary="Take it back")
async def withdraw(id_: str, who: Principal, office: Office) -> StandingRequest:
    """How it stands then."""
    return _standing(await asyncio.to_thread(office.requests.withdraw, who, id_))


@post("/v1/requests/{id_:str}/attempts", status_code=202, summary="Sign again what failed")
async def attempt(id_: str, who: Principal, office: Office) -> StandingRequest:
    """How it stands then; what has a signature is not signed again."""
    return _standing(await asyncio.to_thread(office.requests.attempt, who, id_))


@get("/v1/requests/{id_:str}/signatures", summary="The signatures that are made")
async def signatures(
    id_: str, who: Principal, office: Office, first: Annotated[int, QueryParameter(ge=0, le=2**31)] = 0
) -> Signatures:
    """A page of them, by the number of their item."""
    found = await asyncio.to_thread(office.requests.signatures, who, id_, first, 10 * PAGE)
    made = [_signature(number, one) for number, one in sorted(found.items())]
    return Signatures(made, first + 10 * PAGE if len(made) == 10 * PAGE else None)


@get("/v1/requests/{id_:str}/proofs", summary="That the signatures are in the log")
async def proofs(
    id_: str, who: Principal, office: Office, first: Annotated[int, QueryParameter(ge=0, le=2**31)] = 0
) -> Proofs:
    """A page of `.tlog-proof` files."""

    def made() -> dict[int, bytes]:
        found = office.requests.signatures(who, id_, first, PAGE)
        return {number: office.requests.writer.proof(one.leaf) for number, one in sorted(found.items())}

    found = await asyncio.to_thread(made)
    return Proofs(found, first + PAGE if len(found) == PAGE else None)


@get("/v1/keys", summary="The keys of the caller's tenant")
async def keys(who: Principal, office: Office) -> Keys:
    """Each with its certificate and path, and why it does not sign now."""
    return Keys([_key(one) for one in office.requests.keys.values() if one.tenant == who.tenant])


@get("/v1/log/checkpoint", summary="The log's newest signed checkpoint", media_type=MediaType.TEXT)
async def checkpoint(who: Principal, office: Office) -> str:  # noqa: ARG001 - whoever is known here may see it
    """A signed note (C2SP tlog-checkpoint)."""
    return (await asyncio.to_thread(office.requests.writer.reader.head)).note


@get("/health", summary="Whether it signs", dependencies={"who": Provide(lambda: None, sync_to_thread=False)})
async def health(office: Office) -> Response[Health]:
    """200 while it does, 503 otherwise; what is told is no secret."""
    problems = [f"key {one.name}: {one.desk.problem}" for one in office.requests.keys.values() if one.desk.problem]
    warnings = [] if office.cosigner is None else office.cosigner.problems
    size = office.requests.writer.head.size
    told = Health("stopped" if problems else "ok", office.name, __version__, size, problems, warnings)
    return Response(told, status_code=503 if problems else 200)


def _standing(one: Standing) -> StandingRequest:
    request = one.request
    return StandingRequest(
        id=one.id,
        number=one.number,
        state=one.state.value,
        request=request.encoded().decode(),
        requester=request.requester,
        created=time_text(one.created),
        expires=time_text(request.expires),
        count=request.count,
        signed=one.signed,
        attempt=one.attempt,
        approvals=list(one.approvals),
        reason=one.reason,
        problem=one.problem,
    )


def _signature(number: int, one: Value) -> WireSignature:
    return WireSignature(number, one.value, time_text(one.at), one.leaf)


def _key(one: ServedKey) -> WireKey:
    enrolled, desk = one.desk.enrolled, one.desk
    return WireKey(
        name=enrolled.name,
        key=str(desk.key),
        algorithm=enrolled.algorithm.name,
        construction=enrolled.construction.value,
        provenance=enrolled.provenance.value,
        certificate=enrolled.certificate,
        chain=list(enrolled.chain),
        ends=time_text(desk.ends),
        waiting=desk.waiting,
        problem=desk.problem,
    )


def _answer(request: Request[Any, Any, Any], cause: Exception, log: Log) -> Response[Problem]:
    """Whatever went wrong, as a problem; reasons that are nobody's business are in the log alone."""
    number = secrets.token_hex(8)
    headers = {"x-request-id": number}
    match cause:
        case Unidentified():
            headers["www-authenticate"] = "Bearer"
            problem = Problem("about:blank", "Unauthorized", 401, "who asks is not known here", "SW-IDENTITY-REFUSED")
        case SealwrightError():
            status = next((STATUS[kind] for kind in type(cause).__mro__ if kind in STATUS), 500)
            if status == 503:
                headers["retry-after"] = _AGAIN_S
            told = (
                f"{cause.subject}: {cause.what}"
                if status != 500
                else "it cannot be done now; the operator's log has why"
            )
            problem = Problem("about:blank", type(cause).__name__, status, told, cause.code, cause.next_step)
            if status >= 500:
                log({"event": "failed", "id": number, "path": request.url.path[:200], "why": str(cause)[:500]})
        case HTTPException():
            detail = "; ".join(
                [cause.detail, *(str(one.get("message", one)) for one in cause.extra or () if isinstance(one, dict))]
            )
            problem = Problem("about:blank", type(cause).__name__, cause.status_code, detail[:500], "SW-USAGE")
        case RecursionError():
            problem = Problem("about:blank", "Bad request", 400, "it is nested too deeply", "SW-USAGE")
        case _:
            why = f"{type(cause).__name__}: {cause}"
            log({"event": "failed", "id": number, "path": request.url.path[:200], "why": why[:500]})
            problem = Problem("about:blank", "Internal error", 500, "internal error", "SW-ERROR")
    problem.request_id = number
    return Response(problem, status_code=problem.status, media_type=PROBLEM, headers=headers)
