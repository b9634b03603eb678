"""The signing service's resources (OpenAPI 3.1 at `/openapi.json`): requests, approvals, signatures, proofs, keys, the log's checkpoint.

    app = application(Office(requests, door, "acme-signing", log_key), log)

Every request comes in by the door (`identity.py`); what is not the caller's is not there (A121). Nothing changes on a GET (A126). A
refusal is a problem of RFC 9457 with the code of docs/findings.md; what went wrong inside is in the log, with the request's id, and
never in an answer (A129). Waiting is in the event loop, and what works on the database in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import Annotated, Any, cast

from litestar import Litestar, MediaType, Request, Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.types import ASGIApp

from sealwright import __version__
from sealwright.errors import (
    IdentityRefused,
    JournalError,
    KeyCloned,
    KeyUnavailable,
    LimitExceeded,
    NoSuchRequest,
    PolicyChangeRefused,
    PolicyRefused,
    RequestOver,
    RequestRefused,
    SealwrightError,
    SpoolFull,
    StoreConflict,
    StoreUnavailable,
    UsageError,
)
from sealwright.log.canonical import time_text
from sealwright.log.entryfields import Outcome
from sealwright.service.approving import APPROVING
from sealwright.service.arrivals import Arrivals
from sealwright.service.auditpages import audit_entries
from sealwright.service.bodies import STREAMED, LargeBodies, has_body
from sealwright.service.conditional import conditional
from sealwright.service.description import OPEN, configuration, describe
from sealwright.service.edge import NUMBER, PROBLEM, WHO, Watch, access_line, edge
from sealwright.service.identity import Unidentified
from sealwright.service.keyfare import fares, problems
from sealwright.service.logpages import PREFIX, LogPages, published_checkpoint, tile
from sealwright.service.metricspage import metrics_at_the_door
from sealwright.service.office import Office
from sealwright.service.provenancepage import provenance
from sealwright.service.server import Log, no_log
from sealwright.service.stamping import timestamps
from sealwright.service.standing import standing_told
from sealwright.service.trustpages import Offered, certificates, trust_file, trust_files, trust_part
from sealwright.service.uploadpages import HANDED_IN
from sealwright.service.wire import (
    Ask,
    GivenApproval,
    GivenFollowUp,
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
from sealwright.signing.followup import FollowUps
from sealwright.signing.items import Item
from sealwright.signing.orders import Value
from sealwright.signing.people import Principal
from sealwright.signing.request import SigningRequest
from sealwright.signing.requests import Asking
from sealwright.signing.shelf import PAGE
from sealwright.signing.tables import State
from sealwright.signing.wish import ServedKey, Wish

MAX_BODY = 64 << 20
MANY = 64  # items from which a request is read in a thread; so is one that quotas are counted for, in the database
# the nearest kind that an error is of
STATUS: Mapping[type[SealwrightError], int] = {
    NoSuchRequest: 404,
    PolicyRefused: 403,
    PolicyChangeRefused: 503,
    RequestOver: 409,
    RequestRefused: 422,
    LimitExceeded: 413,
    UsageError: 400,
    IdentityRefused: 401,
    KeyUnavailable: 503,
    JournalError: 503,
    StoreUnavailable: 503,
    SpoolFull: 503,
}
_AGAIN_S = "2"


def application(office: Office, log: Log = no_log, access: Log = no_log) -> ASGIApp:
    """The ASGI application. access: gets a line for each request."""
    watches: list[Watch] = [] if access is no_log else [access_line(access)]
    if office.watched is not None:
        watches.append(office.watched.metrics.watch)
    bodies = LargeBodies()
    return edge(conditional(_resources(office, bodies, log)), watches, bodies, log)


def _resources(office: Office, bodies: LargeBodies, log: Log) -> Litestar:
    pages = LogPages(office.requests, office.door, office.publishing)
    offered = Offered(office.publishing)

    async def who(request: Request[Any, Any, Any], office: NamedDependency[Office]) -> Principal:
        """It takes the office, so that Litestar finds the two one after the other: for two at once it makes a task of each."""
        state = request.scope["state"]
        if WHO not in state:
            state[WHO] = await office.door.enter(request.scope, office.requests.clock())
        return cast("Principal", state[WHO])

    async def known_first(request: Request[Any, Any, Any]) -> None:
        """No guard: Litestar copies a resource for each of those that it asks."""
        if has_body(request.scope["headers"]):  # nobody's body is read (A128)
            request.scope["state"][WHO] = await office.door.enter(request.scope, office.requests.clock())
            if not request.scope["route_handler"].opt.get(STREAMED):
                await bodies.take(request.scope)

    def refused(request: Request[Any, Any, Any], cause: Exception) -> Response[Problem]:
        return _answer(request, cause, log)

    app = Litestar(
        [
            ask,
            listed,
            standing,
            items,
            approve,
            APPROVING,
            HANDED_IN,
            withdraw,
            attempt,
            follow_up,
            owed,
            signatures,
            proofs,
            provenance,
            keys,
            checkpoint,
            health,
            audit_entries,
            certificates,
            trust_files,
            trust_file,
            trust_part,
            Router(PREFIX, route_handlers=[published_checkpoint, tile]),
            *([] if office.watched is None else [metrics_at_the_door]),
            *([] if office.stamping is None else [timestamps]),
        ],
        dependencies={
            "who": Provide(who),
            "office": Provide(lambda: office, sync_to_thread=False),
            "watched": Provide(lambda: office.watched, sync_to_thread=False),
            "serving": Provide(lambda: office.requests, sync_to_thread=False),
            "pages": Provide(lambda: pages, sync_to_thread=False),
            "stamping": Provide(lambda: office.stamping, sync_to_thread=False),
            "offered": Provide(lambda: offered, sync_to_thread=False),
        },
        before_request=known_first,
        exception_handlers={Exception: refused},
        request_max_body_size=MAX_BODY,
        openapi_config=configuration(),
        signature_namespace={"Principal": Principal, "Office": Office},
        logging_config=None,
    )
    describe(app)
    return app


@post(
    "/v1/requests",
    status_code=201,
    summary="Ask for signatures",
    responses={
        200: ResponseSpec(StandingRequest, description="It was asked before, by the same word"),
        202: ResponseSpec(StandingRequest, description="Its signatures are still to come"),
    },
)
async def ask(
    data: JSONBody[Ask],
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
    word: Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=200)] = None,
) -> Response[StandingRequest]:
    """The request as it stands, with its signatures where they were made within `wait_s`; 202 where they are still to come."""
    wish = Wish(
        key=data.key,
        items=[Item(one.line.encode(), one.content) for one in data.items],
        reason=data.reason,
        word=word or "",
        emergency=data.emergency,
        provenance=data.provenance or b"",
        valid=timedelta(seconds=data.valid_s),
    )
    requests = office.requests
    large = len(wish.items) > MANY or wish.provenance or requests.policies().settings.quotas
    asking = await asyncio.to_thread(requests.ask, who, wish) if large else requests.ask(who, wish)
    try:
        values = await _made_within(office.arrivals, asking, data.wait_s)
    except StoreConflict:
        if not wish.word:
            raise
        before = await asyncio.to_thread(requests.shelf.said_before, who, wish)
        told = standing_told(before)
        told.ticket = await _ticket(office, who, before.request, before.id)
        return Response(told, status_code=200)
    location = {"location": f"/v1/requests/{asking.id}"}
    answer = asking.answer
    if wish.emergency and asking.needed.approvals == 0:
        answer = await asyncio.to_thread(requests.use, asking.id)
        values = None if answer is None else await _within(office.arrivals, answer, data.wait_s)
    now = asking.request.not_before
    state = State.SIGNED if values is not None else State.SIGNING if answer is not None else State.WAITING
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
        attempt=1 if answer is not None else 0,
        approvals=[],
        reason=wish.reason,
        needed=asking.needed.approvals,
        needed_prepares=asking.needed.prepares,
        needs_upload=asking.needed.uploaded,
        signatures=None if values is None else [_signature(number, one) for number, one in sorted(values.items())],
    )
    told.ticket = await _ticket(office, who, asking.request, asking.id)
    return Response(told, status_code=201 if values is not None else 202, headers=location)


@get("/v1/requests", summary="Requests of the caller's tenant, oldest first")
async def listed(
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
    wanted: Annotated[list[State] | None, QueryParameter(name="state")] = None,
    after: Annotated[int, QueryParameter(ge=0, le=2**62)] = 0,
) -> Page:
    """A page of them."""
    found = await asyncio.to_thread(office.requests.shelf.listed, who, tuple(wanted or ()), after)
    return Page([standing_told(one) for one in found.standings], found.next)


@get("/v1/requests/{id_:str}", summary="How a request stands")
async def standing(
    id_: FromPath[str],
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
    wait_s: Annotated[int, QueryParameter(ge=0, le=60)] = 0,
) -> StandingRequest:
    """With `wait_s` the answer comes when it is signed, failed or over, or after so many seconds."""
    until = asyncio.get_running_loop().time() + wait_s
    while True:
        found = await asyncio.to_thread(office.requests.shelf.standing, who, id_)
        going_on = found.state in (State.WAITING, State.SIGNING)
        if not going_on or asyncio.get_running_loop().time() >= until:
            return standing_told(found)
        await asyncio.sleep(0.2)


@get("/v1/requests/{id_:str}/items", summary="What it asks to sign")
async def items(
    id_: FromPath[str],
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
    first: Annotated[int, QueryParameter(ge=0, le=2**31)] = 0,
) -> Items:
    """A page of the lines, each with its small content."""
    found = await asyncio.to_thread(office.requests.shelf.items, who, id_, first)
    lines = [WireItem(one.line.decode(), one.content) for one in found]
    return Items(lines, first + PAGE if len(found) == PAGE else None)


@post("/v1/requests/{id_:str}/approvals", status_code=201, summary="Approve it by one's own key")
async def approve(
    id_: FromPath[str], data: JSONBody[GivenApproval], who: NamedDependency[Principal], office: NamedDependency[Office]
) -> StandingRequest:
    """How it stands then: where this was the last approval needed, it is being signed."""
    approval = Approval(Scheme(data.scheme), data.proof)
    return standing_told(await asyncio.to_thread(office.requests.approve, who, id_, approval))


@post("/v1/requests/{id_:str}/withdrawal", status_code=200, summary="Take it back")
async def withdraw(
    id_: FromPath[str], who: NamedDependency[Principal], office: NamedDependency[Office]
) -> StandingRequest:
    """How it stands then."""
    return standing_told(await asyncio.to_thread(office.requests.withdraw, who, id_))


@post("/v1/requests/{id_:str}/attempts", status_code=202, summary="Sign again what failed")
async def attempt(
    id_: FromPath[str], who: NamedDependency[Principal], office: NamedDependency[Office]
) -> StandingRequest:
    """How it stands then; what has a signature is not signed again."""
    return standing_told(await asyncio.to_thread(office.requests.attempt, who, id_))


@get("/v1/follow-ups", summary="Emergencies that nobody has settled")
async def owed(who: NamedDependency[Principal], office: NamedDependency[Office]) -> Page:
    """The hundred of the caller's tenant that are due first."""
    return Page([standing_told(one) for one in await asyncio.to_thread(office.requests.shelf.owing, who)], None)


@post("/v1/requests/{id_:str}/follow-ups", status_code=201, summary="Say as an officer what an emergency was")
async def follow_up(
    id_: FromPath[str], data: JSONBody[GivenFollowUp], who: NamedDependency[Principal], office: NamedDependency[Office]
) -> StandingRequest:
    """How it stands then: with the second officer's word it is settled."""
    word = FollowUps(office.requests).look
    approval = Approval(Scheme(data.scheme), data.proof)
    return standing_told(await asyncio.to_thread(word, who, id_, Outcome(data.outcome), approval))


@get("/v1/requests/{id_:str}/signatures", summary="The signatures that are made")
async def signatures(
    id_: FromPath[str],
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
    first: Annotated[int, QueryParameter(ge=0, le=2**31)] = 0,
) -> Signatures:
    """A page of them, by the number of their item."""
    found = await asyncio.to_thread(office.requests.shelf.signatures, who, id_, first, 10 * PAGE)
    made = [_signature(number, one) for number, one in sorted(found.items())]
    return Signatures(made, first + 10 * PAGE if len(made) == 10 * PAGE else None)


@get("/v1/requests/{id_:str}/proofs", summary="That the signatures are in the log")
async def proofs(
    id_: FromPath[str],
    who: NamedDependency[Principal],
    office: NamedDependency[Office],
    first: Annotated[int, QueryParameter(ge=0, le=2**31)] = 0,
) -> Proofs:
    """A page of `.tlog-proof` files."""

    def made() -> dict[int, bytes]:
        found = office.requests.shelf.signatures(who, id_, first, PAGE)
        return {number: office.requests.writer.proof(one.leaf) for number, one in sorted(found.items())}

    found = await asyncio.to_thread(made)
    return Proofs(found, first + PAGE if len(found) == PAGE else None)


@get("/v1/keys", summary="The keys of the caller's tenant")
async def keys(who: NamedDependency[Principal], office: NamedDependency[Office]) -> Keys:
    """Each with its certificate and path, and why it does not sign now."""
    mine = [_key(one) for one in office.requests.keys.values() if one.tenant == who.tenant]
    return Keys(mine, office.stamping is not None)


@get("/v1/log/checkpoint", summary="The log's newest signed checkpoint", media_type=MediaType.TEXT)
async def checkpoint(who: NamedDependency[Principal], office: NamedDependency[Office]) -> str:  # noqa: ARG001 - whoever is known here may see it
    """A signed note (C2SP tlog-checkpoint)."""
    return (await asyncio.to_thread(office.requests.writer.reader.head)).note


@get(
    "/health",
    summary="Whether it signs",
    dependencies={"who": Provide(lambda: None, sync_to_thread=False)},
    responses={503: ResponseSpec(Health, description="It does not, and why")},
    opt={OPEN: True},
)
async def health(office: NamedDependency[Office]) -> Response[Health]:
    """200 while it does, 503 otherwise; what is told is no secret. Policies that are refused stop nothing while the former count."""
    served = office.requests.keys
    found = problems(served, office.log_key)
    stopped = bool(found) or not office.policies.decide
    if office.policies.problem:
        found.append(f"policies: {office.policies.problem}")
    told = Health(
        status="stopped" if stopped else "ok",
        service=office.name,
        version=__version__,
        log_size=office.requests.writer.head.size,
        problems=found,
        keys=fares(served, office.log_key),
        warnings=office.warnings,
    )
    return Response(told, status_code=503 if stopped else 200)


async def _made_within(arrivals: Arrivals, asking: Asking, wait_s: float) -> dict[int, Value] | None:
    """The signatures, None where they are still to come; in the log it is then in any case. Raises what refused either."""
    values = None if asking.answer is None else await _within(arrivals, asking.answer, wait_s)
    if values is None:
        await asyncio.wrap_future(asking.recorded)
    return values


async def _within(arrivals: Arrivals, answer: Future[dict[int, Value]], wait_s: float) -> dict[int, Value] | None:
    return answer.result() if await arrivals.within(answer, wait_s) else None


async def _ticket(office: Office, who: Principal, request: SigningRequest, id_: str) -> str:
    """For whoever cannot show their token again."""
    if office.tickets is None or not who.machine:
        return ""
    return await asyncio.to_thread(office.tickets.give, who, id_, request.expires, office.requests.clock())


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
    number = str(request.scope["state"][NUMBER])
    headers = {}
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
            if isinstance(cause, KeyCloned):
                log({"event": "alarm", "id": number, "path": request.url.path[:200], "why": str(cause)[:500]})
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
