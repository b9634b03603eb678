"""The edge of the signing service, around all its resources: one way to write a path, a number for each request, a line for each answer.

    app = edge(resources, [access_line(access)], LargeBodies(), log)

1. A path is written in one way: no `%`, no empty or dotted segment, no slash at its end. Every other spelling is not there, so that no
   front end can take for another resource what is one here (A121).
2. What changes anything is no form of a web page, has no other body than JSON, and comes from no other site than this one: a browser that
   holds a certificate would send it for anybody (A126). A request has one `Host` and is of HTTP/1.1 or 1.0 (RFC 9112 section 3.2).
3. Each request has a number of ours, in `x-request-id` of its answer and in every line about it. What a client calls it is not looked at.
4. An answer before a body that waits to be called for (RFC 9110 section 10.1.1) closes the connection: what would come next, the body or
   another request, could be told by nobody. What comes unasked is thrown away within bounds (`connections.py`, A128).
5. A line tells the route, the path where it leads to one, never the query, and of who asked a mark alone, by which lines of one run belong together: it is
   salted with what no one keeps, so neither a name nor an id can be got from it (A129).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from sealwright.service.bodies import LargeBodies, has_body
from sealwright.service.server import Log, no_log
from sealwright.service.wire import Problem
from sealwright.signing.people import Principal

PROBLEM = "application/problem+json"
NUMBER, WHO = "sealwright.number", "sealwright.who"  # of a scope's `state`
NOWHERE = "-"
_PATH = re.compile(rb"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:@+=,-]+)+")
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_VERSIONS = frozenset(("1.0", "1.1"))
_JSON = b"application/json"
# what takes bodies of a type of its own, and says so itself
_OWN_TYPES = re.compile(rb"/v1/timestamps|/v1/requests/[0-9a-f]{64}/files/[0-9]{1,9}")
_FORMS = frozenset((b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"))
_OWN_SITE = frozenset((b"same-origin", b"none"))
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """One request and what became of it. route: the resource's template, `NOWHERE` where there is none; status: 0 where the client left."""

    number: str
    client: str
    method: str
    route: str
    path: str
    status: int
    octets: int
    seconds: float
    who: str


Watch = Callable[[Answered], None]


def access_line(access: Log) -> Watch:
    """Tell each request as a line of the access log; what a client chose is cut, and JSON escapes its controls."""

    def tell(one: Answered) -> None:
        line: dict[str, object] = {
            "id": one.number,
            "client": one.client,
            "method": one.method[:_LONGEST],
            "route": one.route,
            "path": one.path[:_LONGEST],
            "status": one.status,
            "bytes": one.octets,
            "ms": round(one.seconds * 1000, 1),
        }
        access({**line, "who": one.who} if one.who else line)

    return tell


def edge(app: ASGIApp, watches: Sequence[Watch], bodies: LargeBodies, log: Log = no_log) -> ASGIApp:
    """An application with all of this around it. bodies: what it took room of; log: of what went wrong in it, which no answer tells."""
    salt = secrets.token_bytes(16)

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        state = scope.setdefault("state", {})
        state[NUMBER] = number = secrets.token_hex(8)
        status = octets = 0
        said = _said(scope)
        uncalled = b"expect" in said

        async def receiving() -> ReceiveMessage:
            nonlocal uncalled
            uncalled = False
            message = await receive()
            if not message.get("more_body"):
                bodies.give_back(scope)
            return message

        async def sending(message: Message) -> None:
            nonlocal status, octets
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(name, value) for name, value in message["headers"] if name.lower() != b"x-request-id"]
                headers.append((b"x-request-id", number.encode()))
                if uncalled:
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            elif message["type"] == "http.response.body":
                octets += len(message.get("body", b""))
            await send(message)

        try:
            if (problem := _refusal(scope, said)) is None:
                await app(scope, receiving, sending)
            else:
                await _say(sending, problem, number)
        except Exception as cause:  # noqa: BLE001 - the edge: whatever was raised is a 500 and a line
            log({"event": "failed", "id": number, "path": str(scope["path"])[:_LONGEST], "why": type(cause).__name__})
            if not status:
                await _say(sending, Problem("about:blank", "Internal error", 500, "internal error", "SW-ERROR"), number)
        finally:
            bodies.give_back(scope)
        answered = Answered(
            number=number,
            client=client[0] if (client := scope.get("client")) else "unix",
            method=str(scope.get("method")),
            route=str(scope.get("path_template") or NOWHERE),
            path=str(scope["path"]) if scope.get("path_template") else NOWHERE,
            status=status,
            octets=octets,
            seconds=time.monotonic() - started,
            who=_mark(state.get(WHO), salt),
        )
        for watch in watches:
            watch(answered)

    return around


def _refusal(scope: Scope, said: Mapping[bytes, Sequence[bytes]]) -> Problem | None:
    """Points 1 and 2."""
    if not _PATH.fullmatch(scope["raw_path"]):
        return Problem("about:blank", "Not Found", 404, "there is no such resource", "SW-USAGE")
    hosts = said.get(b"host", ())
    if scope["http_version"] not in _VERSIONS or len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
        return Problem("about:blank", "Bad Request", 400, "it is no request of HTTP/1.1 to one host", "SW-USAGE")
    if scope.get("method") in _READS:
        return None
    types = [one.partition(b";")[0].strip() for one in said.get(b"content-type", ())]
    own_type = _OWN_TYPES.fullmatch(scope["raw_path"]) is not None
    if _FORMS.intersection(types) or (has_body(scope["headers"]) and types != [_JSON] and not own_type):
        return Problem("about:blank", "Unsupported Media Type", 415, "a body is application/json here", "SW-USAGE")
    own = [b"https://" + one for one in hosts]
    site, origin = said.get(b"sec-fetch-site", ()), said.get(b"origin", ())
    if not _OWN_SITE.issuperset(site) or not set(own).issuperset(origin):
        return Problem("about:blank", "Forbidden", 403, "a page of another site asks", "SW-USAGE")
    return None


def _said(scope: Scope) -> dict[bytes, list[bytes]]:
    """The values of each header, as often as it came, in small letters."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        said.setdefault(name.lower(), []).append(value.strip().lower())
    return said


def _mark(who: object, salt: bytes) -> str:
    return hashlib.sha256(salt + who.id.encode()).hexdigest()[:12] if isinstance(who, Principal) else ""


async def _say(send: Send, problem: Problem, number: str) -> None:
    problem.request_id = number
    body = msgspec.json.encode(problem)
    headers = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
