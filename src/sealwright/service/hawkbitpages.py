"""hawkBit's device interface (DDI, version 1): what SWUpdate's suricatta and rauc-hawkbit-updater ask, below `/TENANT/controller/v1/DEVICE`.

    GET  /                                          is there something to do, and when to ask again
    PUT  /configData                                what the device tells of itself
    GET  /deploymentBase/N                          what to install;   POST …/N/feedback   how it went
    GET  /cancelAction/N                            what to stop;      POST …/N/feedback   whether it did
    GET  /softwaremodules/N/artifacts(/NAME)        the files;         NAME.MD5SUM         as md5sum writes it

A device is known before its body is read (`hawkbitdoor.py`), and sees its own actions alone. What it tells is kept as told. A file is served as the
repository's metadata names it, in ranges too; where it changes meanwhile, the connection is cut before the changed byte leaves. Links lead back by the
listener that was asked: one without TLS is named to nobody who has it, whose token would be read along the way.
Source: hawkBit's "Direct Device Integration API".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from litestar import Litestar, Request, Response, Router, get, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from sealwright import __version__
from sealwright.errors import LimitExceeded, SealwrightError, StoreConflict, StoreUnavailable
from sealwright.service.description import OPEN, PATH, describe
from sealwright.service.edge import NUMBER, PROBLEM
from sealwright.service.hawkbitactions import Action, Doing, Order, Words, order_for, tell
from sealwright.service.hawkbitconfig import Door
from sealwright.service.hawkbitdoor import DeviceDoor
from sealwright.service.hawkbitfiles import ServedFile
from sealwright.service.hawkbitoffers import Bundle, RepositoryOffers, View
from sealwright.service.hawkbitregister import Registered
from sealwright.service.hawkbittables import State
from sealwright.service.hawkbittold import describe_device, note_poll
from sealwright.service.hawkbitwire import (
    Artifact,
    ArtifactLinks,
    BaseConfig,
    BaseLinks,
    CancelAction,
    Chunk,
    ConfigData,
    ControllerBase,
    Deployment,
    DeploymentBase,
    Feedback,
    FeedbackStatus,
    Hashes,
    Health,
    Href,
    Polling,
    Stop,
    Taken,
)
from sealwright.service.server import Log, no_log
from sealwright.service.wire import Problem
from sealwright.store.engine import Store

MAX_BODY = 64 << 10
MAX_NUMBER = 2**31 - 1
ASKED_AT = "sealwright.asked-at"  # of a scope's `state`: the Door that a request came in by
DEVICE = "sealwright.device"
MD5SUM = ".MD5SUM"
OCTETS = "application/octet-stream"
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?")
_NOT_THERE = "there is no such resource"


@dataclass(frozen=True, slots=True)
class HawkbitDesk:
    """What the resources work with. plain: where the same is had without TLS."""

    store: Store
    offers: RepositoryOffers
    door: DeviceDoor
    plain: Door | None
    poll_seconds: int
    clock: Callable[[], datetime]
    log: Log = no_log

    def order(self, device: Registered) -> tuple[Order | None, tuple[Bundle, ...]]:
        """What a device is to do, with the files of what it is to install; nothing where its product cannot be relied on now."""
        view = self.offers.current
        if view is None or device.entry.path not in view.products:
            return None, ()
        return self._of(view, device)

    def begun(self, device: Registered) -> tuple[Order | None, tuple[Bundle, ...]]:
        """The same for a device that has begun: 503 where that is so now. A 404 it would tell as a failure, and be offered nothing more."""
        view = self.offers.current
        if view is None or device.entry.path not in view.products:
            raise HTTPException("nothing is offered now", status_code=503, headers={"retry-after": "10"})
        return self._of(view, device)

    def bundles(self, device: Registered, number: int) -> tuple[Action, tuple[Bundle, ...]]:
        """The action that a device is to install, with its files; NotFoundException where it is none of that number."""
        order, bundles = self.begun(device)
        if order is None or order.doing is not Doing.INSTALL or order.action.number != number:
            raise NotFoundException
        return order.action, bundles

    def _of(self, view: View, device: Registered) -> tuple[Order | None, tuple[Bundle, ...]]:
        offered = view.offered(device.entry)
        order = order_for(self.store, device, offered, self.clock())
        return order, offered.bundles if offered is not None else ()


def resources(desk: HawkbitDesk) -> Litestar:
    """The application, without its edge."""

    async def known_first(request: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        tenant, id_ = (str(request.path_params[name]) for name in ("tenant", "controller"))
        request.scope["state"][DEVICE] = await desk.door.enter(request.scope, tenant, id_)

    def device(request: Request[Any, Any, Any]) -> Registered:
        return cast("Registered", request.scope["state"][DEVICE])

    def refused(request: Request[Any, Any, Any], cause: Exception) -> Response[Problem]:
        return _answer(request, cause, desk.log)

    handlers = [poll, config_data, deployment, feedback, cancel, cancel_feedback, artifacts, artifact]
    of_devices = Router("/{tenant:str}/controller/v1/{controller:str}", route_handlers=handlers, guards=[known_first])
    app = Litestar(
        [of_devices, health],
        dependencies={
            "desk": Provide(lambda: desk, sync_to_thread=False),
            "device": Provide(device, sync_to_thread=False),
        },
        exception_handlers={Exception: refused},
        request_max_body_size=MAX_BODY,
        openapi_config=_document(),
        signature_namespace={"Registered": Registered, "HawkbitDesk": HawkbitDesk},
        logging_config=None,
    )
    describe(app)
    return app


@get("/", summary="Whether there is something to do")
async def poll(
    request: Request[Any, Any, Any], desk: NamedDependency[HawkbitDesk], device: NamedDependency[Registered]
) -> ControllerBase:
    """Links to it, and when to ask again."""

    def asked() -> Order | None:
        note_poll(desk.store, device, desk.clock())
        return desk.order(device)[0]

    order = await asyncio.to_thread(asked)
    links = BaseLinks()
    here = _here(request, device)
    if order is not None and order.doing is Doing.INSTALL:
        links.deployment_base = Href(f"{here}/deploymentBase/{order.action.number}")
    if order is not None and order.doing is Doing.CANCEL:
        links.cancel_action = Href(f"{here}/cancelAction/{order.action.number}")
    if device.described is None:
        links.config_data = Href(f"{here}/configData")
    minutes, seconds = divmod(desk.poll_seconds, 60)
    return ControllerBase(BaseConfig(Polling(f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}")), links)


@put("/configData", status_code=200, summary="What the device tells of itself")
async def config_data(
    data: JSONBody[ConfigData], desk: NamedDependency[HawkbitDesk], device: NamedDependency[Registered]
) -> Taken:
    """Kept as told."""
    await asyncio.to_thread(describe_device, desk.store, device.entry.id, data, desk.clock())
    return Taken()


@get("/deploymentBase/{number:int}", summary="What to install")
async def deployment(
    number: FromPath[int],
    request: Request[Any, Any, Any],
    desk: NamedDependency[HawkbitDesk],
    device: NamedDependency[Registered],
) -> DeploymentBase:
    """A chunk for each component of the release that is for the device's updater."""
    action, bundles = await asyncio.to_thread(desk.bundles, device, number)
    version = action.release.version
    chunks = [
        Chunk(one.component, version, str(device.entry.path), [_artifact(desk, request, device, number, one)])
        for one in bundles
    ]
    return DeploymentBase(str(number), Deployment("forced", "forced", chunks))


@post(
    "/deploymentBase/{number:int}/feedback",
    status_code=200,
    summary="How it goes",
    responses={410: ResponseSpec(Problem, description="The action is over", media_type=PROBLEM)},
)
async def feedback(
    number: FromPath[int],
    data: JSONBody[Feedback],
    desk: NamedDependency[HawkbitDesk],
    device: NamedDependency[Registered],
) -> Taken:
    """Kept as told; 410 where the action is closed."""
    return await _told(desk, device, number, _state(data.status), data.status.details)


@get("/cancelAction/{number:int}", summary="What to stop")
async def cancel(
    number: FromPath[int], desk: NamedDependency[HawkbitDesk], device: NamedDependency[Registered]
) -> CancelAction:
    """The action whose release is not offered any more."""
    await asyncio.to_thread(_cancelling, desk, device, number)
    return CancelAction(str(number), Stop(str(number)))


@post("/cancelAction/{number:int}/feedback", status_code=200, summary="Whether it was stopped")
async def cancel_feedback(
    number: FromPath[int],
    data: JSONBody[Feedback],
    desk: NamedDependency[HawkbitDesk],
    device: NamedDependency[Registered],
) -> Taken:
    """Rejected: the device goes on with it, and is not asked again."""
    await asyncio.to_thread(_cancelling, desk, device, number)
    match data.status.execution:
        case "rejected":
            return await _told(desk, device, number, State.KEPT, data.status.details)
        case "closed" | "canceled":
            return await _told(desk, device, number, State.CANCELED, data.status.details)
    return Taken()


@get("/softwaremodules/{number:int}/artifacts", summary="The files of an action")
async def artifacts(
    number: FromPath[int],
    request: Request[Any, Any, Any],
    desk: NamedDependency[HawkbitDesk],
    device: NamedDependency[Registered],
) -> list[Artifact]:
    """As in the deployment."""
    _, bundles = await asyncio.to_thread(desk.bundles, device, number)
    return [_artifact(desk, request, device, number, one) for one in bundles]


@get(
    "/softwaremodules/{number:int}/artifacts/{name:str}",
    summary="A file, or its MD5 as md5sum writes it",
    media_type=OCTETS,
    responses={206: ResponseSpec(bytes, description="A range of it", media_type=OCTETS)},
)
async def artifact(
    number: FromPath[int],
    name: FromPath[str],
    request: Request[Any, Any, Any],
    desk: NamedDependency[HawkbitDesk],
    device: NamedDependency[Registered],
) -> Stream | Response[bytes]:
    """The whole of it or one range (RFC 9110 section 14); 404 where the file is not what the metadata names any more."""
    _, bundles = await asyncio.to_thread(desk.bundles, device, number)
    bundle = next((one for one in bundles if one.name == name.removesuffix(MD5SUM)), None)
    if bundle is None:
        raise NotFoundException
    if name != bundle.name:
        return Response(f"{bundle.sums.md5}  {bundle.name}\n".encode(), media_type=OCTETS)
    size, etag = bundle.sums.size, f'"{bundle.sums.sha256}"'
    same = request.headers.get("if-range", etag) == etag
    start, end = _range(request.headers.get("range", "") if same else "", size)
    if 0 < start >= size:
        raise HTTPException("the file is shorter", status_code=416, headers={"content-range": f"bytes */{size}"})
    served = await asyncio.to_thread(desk.offers.files.opened, bundle.target)
    headers = {
        "content-length": str(end - start),
        "accept-ranges": "bytes",
        "etag": etag,
        **({"content-range": f"bytes {start}-{end - 1}/{size}"} if end - start < size else {}),
    }
    status = 206 if end - start < size else 200
    return Stream(_blocks(served, start, end, desk.log), media_type=OCTETS, headers=headers, status_code=status)


@get("/health", summary="Whether it serves", opt={OPEN: True})
async def health(desk: NamedDependency[HawkbitDesk]) -> Health:
    """200 while it takes connections; without a number of anything."""
    return Health("ok", __version__, desk.offers.current is not None)


def _state(status: FeedbackStatus) -> State:
    """What a device's words of an action come to. One that gives up by itself is not asked the same again."""
    match status.execution:
        case "closed":
            return State.SUCCESS if status.result.finished == "success" else State.FAILURE
        case "rejected" | "canceled":
            return State.FAILURE
    return State.PROCEEDING


async def _told(desk: HawkbitDesk, device: Registered, number: int, state: State, details: list[str]) -> Taken:
    if not 0 < number <= MAX_NUMBER:
        raise NotFoundException
    words = await asyncio.to_thread(tell, desk.store, device.entry.id, number, state, details, desk.clock())
    if words is Words.UNKNOWN:
        raise NotFoundException
    if words is Words.CLOSED:
        raise HTTPException("the action is over", status_code=410)
    return Taken()


def _cancelling(desk: HawkbitDesk, device: Registered, number: int) -> None:
    order, _ = desk.begun(device)
    if order is None or order.doing is not Doing.CANCEL or order.action.number != number:
        raise NotFoundException


def _artifact(
    desk: HawkbitDesk, request: Request[Any, Any, Any], device: Registered, number: int, bundle: Bundle
) -> Artifact:
    asked_at: Door = request.scope["state"][ASKED_AT]
    file = f"{asked_at.address}{_below(desk.door.tenant, device)}/softwaremodules/{number}/artifacts/{bundle.name}"
    href, md5sum = Href(file), Href(file + MD5SUM)
    if asked_at is desk.plain:
        links = ArtifactLinks(download_http=href, md5sum_http=md5sum)
    else:
        links = ArtifactLinks(href, md5sum)
    sums = bundle.sums
    return Artifact(bundle.name, Hashes(sums.sha1, sums.md5, sums.sha256), sums.size, links)


def _here(request: Request[Any, Any, Any], device: Registered) -> str:
    asked_at: Door = request.scope["state"][ASKED_AT]
    return asked_at.address + _below(str(request.path_params["tenant"]), device)


def _below(tenant: str, device: Registered) -> str:
    return f"/{tenant}/controller/v1/{device.entry.id}"


def _range(said: str, size: int) -> tuple[int, int]:
    """Start and end of what is wanted; the whole file for what is no one range."""
    found = _RANGE.fullmatch(said.strip())
    if found is None or (found[2] is not None and int(found[2]) < int(found[1])):
        return 0, size
    last = size if found[2] is None else min(size, int(found[2]) + 1)
    return int(found[1]), last


async def _blocks(served: ServedFile, start: int, end: int, log: Log) -> AsyncIterator[bytes]:
    try:
        at = start
        while at < end:
            data = (await asyncio.to_thread(served.read, at))[: end - at]
            at += len(data)
            yield data
    except SealwrightError as cause:
        log({"event": "download-cut", "code": cause.code, "why": str(cause)[:500]})
        raise
    finally:
        served.close()


def _document() -> OpenAPIConfig:
    schemes: Any = {
        "certificate": SecurityScheme(type="mutualTLS", description="A device's certificate"),
        "token": SecurityScheme(
            type="apiKey", name="Authorization", security_scheme_in="header", description="TargetToken TOKEN"
        ),
    }
    return OpenAPIConfig(
        "Sealwright: hawkBit's device interface",
        __version__,
        path=PATH,
        components=Components(security_schemes=schemes),
        security=[{"certificate": []}, {"token": []}],
        render_plugins=[JsonRenderPlugin()],
    )


def _answer(request: Request[Any, Any, Any], cause: Exception, log: Log) -> Response[Problem]:
    """Whatever went wrong, as a problem; reasons are the log's alone (A129)."""
    number = str(request.scope["state"][NUMBER])
    headers: dict[str, str] = {}
    match cause:
        case HTTPException(status_code=404):
            problem = Problem("about:blank", "Not Found", 404, _NOT_THERE, "SW-REQUEST-UNKNOWN")
        case HTTPException():
            headers = dict(cause.headers or {})
            problem = Problem("about:blank", type(cause).__name__, cause.status_code, cause.detail[:500], "SW-USAGE")
        case LimitExceeded():
            problem = Problem("about:blank", "Too much", 413, cause.what, cause.code, cause.next_step)
        case RecursionError():
            problem = Problem("about:blank", "Bad request", 400, "it is nested too deeply", "SW-USAGE")
        case StoreUnavailable() | StoreConflict():
            headers["retry-after"] = "10"
            problem = Problem("about:blank", "Unavailable", 503, "nothing can be kept now", cause.code)
        case SealwrightError():
            problem = Problem("about:blank", "Not Found", 404, _NOT_THERE, "SW-REQUEST-UNKNOWN")
        case _:
            problem = Problem("about:blank", "Internal error", 500, "internal error", "SW-ERROR")
    if not isinstance(cause, HTTPException):
        why = f"{type(cause).__name__}: {cause}"
        log({"event": "failed", "id": number, "path": request.url.path[:200], "why": why[:500]})
    problem.request_id = number
    return Response(problem, status_code=problem.status, media_type=PROBLEM, headers=headers)
