"""A121, A126, A128: what may be sent to the door of a signing service by people who never finish, never stop, lie about lengths, and spell paths their own way."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kit.doors import HOST, Told, ask_body, events, eventually, get, hear, line, post, told
from kit.serving import memory_kib
from kit.signingservice import House, house, running
from sealwright.service.bodies import AT_ONCE, LARGE_BYTES
from sealwright.service.connections import Limits

LIMITS = Limits(
    request_s=3.0, head_s=1.0, idle_s=30, stop_s=2, handshake_s=1.0, connections=24, strangers=8, handshakes=8
)
CHUNKED = b"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
MIB = 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("house"))
    with running(made, LIMITS, access=str(made.folder / "access.log")):
        yield made


@pytest.fixture(scope="module")
def theirs(service: House) -> str:
    """A request of Max, of the tenant acme, that waits."""
    answer = told(service, "max", post("/v1/requests", ask_body("theirs")))
    assert answer.status == 202
    return str(answer.json["id"])


@pytest.fixture(autouse=True)
def _it_lives_after_all_that(service: House) -> Iterator[None]:
    yield
    assert told(service, "max", get("/v1/keys")).status == 200
    assert not [one for one in events(service) if one.get("event") == "failed"]


def access(service: House) -> list[dict[str, Any]]:
    return [json.loads(one) for one in (service.folder / "access.log").read_text().splitlines()]


def ends(opened: socket.socket) -> bool:
    """Whether the other side closes it, without a word beyond an alert of TLS."""
    try:
        while part := opened.recv(4096):
            assert not part.startswith(b"HTTP/")
    except ConnectionError:
        return True
    return True


# who never finishes (A128)


@pytest.mark.parametrize(
    "begun", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01\xff\xff"]
)
def test_a128_a_handshake_that_is_never_finished_is_cut(service: House, begun: bytes) -> None:
    assert told(service, "max", get("/v1/keys")).status == 200
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as opened:
        opened.sendall(begun)
        assert ends(opened)


def test_a128_handshakes_that_stand_still_keep_nobody_out(service: House) -> None:
    with ExitStack() as stack:
        for _ in range(10 * LIMITS.handshakes):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=20)).sendall(b"\x16\x03")
        assert told(service, "max", get("/v1/keys")).status == 200


@pytest.mark.parametrize(
    "head",
    [b"", b"GET /v1/k", b"GET /v1/keys HTTP/1.1\r\n" + HOST, b"POST /v1/requests HTTP/1.1\r\n" + HOST + b"A: b\r\n"],
)
@pytest.mark.parametrize("name", ["max", None])
def test_a128_a_head_that_is_never_finished_is_cut(service: House, name: str | None, head: bytes) -> None:
    with line(service, name) as secured:
        secured.sendall(head)
        assert hear(secured).status == 0
    if head.startswith(b"GET /v1/keys"):
        assert told(service, "max", head, b"\r\n").status == 200


def test_a128_an_octet_at_a_time_gains_no_time(service: House) -> None:
    with line(service, "max") as secured, pytest.raises(OSError):
        for octet in get("/v1/keys", *["A: b"] * 20):
            secured.sendall(bytes([octet]))
            time.sleep(0.05)
    with line(service, "max") as secured:
        for octet in get("/v1/keys"):
            secured.sendall(bytes([octet]))
        assert hear(secured).status == 200


def test_a128_a_body_that_stands_still_is_cut(service: House) -> None:
    whole = post("/v1/requests", ask_body("slow"))
    assert told(service, "max", whole[:-9], whole[-9:]).status == 202
    assert told(service, "max", whole[:-9]).status == 0
    assert told(service, "max", CHUNKED, b'5\r\n{"k').status == 0


def test_a128_people_without_a_certificate_cannot_take_the_room_of_those_with_one(service: House) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(line(service)) for _ in range(LIMITS.strangers)]
        for one in opened:
            one.sendall(get("/health"))
        assert {hear(one).status for one in opened} == {200}
        assert told(service, None).status == 503
        assert told(service, "max", get("/v1/keys")).status == 200
    assert told(service, None, get("/health")).status in (200, 503)  # their room comes back when they are gone


# who never stops


@pytest.mark.parametrize(
    "head", [CHUNKED, post("/v1/requests", b"", "A: b").replace(b"Content-Length: 0", b"Content-Length: 60000000")]
)
def test_a128_the_body_of_nobody_is_not_read(service: House, head: bytes) -> None:
    """A129 too: the answer is the one that everybody gets who is not known."""
    before = memory_kib(service.process)
    with line(service) as secured:
        secured.sendall(head)
        answer = hear(secured)
        assert (answer.status, answer.json["detail"]) == (401, "who asks is not known here")
        with pytest.raises(OSError):
            for _ in range(300):
                secured.sendall(CHUNK)
    with line(service) as secured:
        secured.sendall(head)
        assert hear(secured).status == 401
        assert ends(secured), "nor does it wait for the rest"
    assert memory_kib(service.process) - before < 16 * MIB


def test_a128_who_waits_to_be_called_for_is_told_before(service: House) -> None:
    body = ask_body("called for")
    head = post("/v1/requests", body, "Expect: 100-continue")[: -len(body)]
    answer = told(service, None, head)
    assert (answer.status, answer.closed) == (401, True)
    with line(service, "max") as secured:
        secured.sendall(head)
        assert hear(secured).status == 100
        secured.sendall(body)
        assert hear(secured).status == 202


def test_a128_a_body_without_an_end_is_refused_at_its_bound(service: House) -> None:
    body = ask_body("whole")
    whole = CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    assert told(service, "max", whole).status == 202
    before = memory_kib(service.process)
    answer = told(service, "max", CHUNKED, *[CHUNK] * 1100)
    assert answer.status in (413, 0)
    assert memory_kib(service.process) - before < 400 * MIB


def test_a128_large_bodies_are_read_a_few_at_a_time_and_keep_no_small_one_out(service: House) -> None:
    whole = post("/v1/requests", b"{}" + b" " * 2 * LARGE_BYTES)
    assert told(service, "max", whole).status == 400
    with ExitStack() as stack:
        slow = [stack.enter_context(line(service, "max")) for _ in range(AT_ONCE)]
        for one in slow:
            one.sendall(whole[:LARGE_BYTES])
        waits = stack.enter_context(line(service, "eva"))
        waits.settimeout(0.5)
        with pytest.raises(OSError):  # it is not read: what it sends stands in the sockets
            waits.sendall(whole * 20)
            waits.recv(1)
        assert told(service, "eva", post("/v1/requests", ask_body("small"))).status == 202
        assert {hear(one).status for one in slow} == {0}
    assert told(service, "eva", whole).status == 400


@pytest.mark.parametrize(
    ("length", "status"),
    [("999999999", 413), ("99999999999999999999999", 400), ("-1", 400), ("5, 6", 400), ("0x10", 400), ("+5", 400)],
)
def test_a128_a_wrong_length_is_refused_before_the_body(service: House, length: str, status: int) -> None:
    head = post("/v1/requests", b"{}")[:-2]
    assert told(service, "max", head, b"{}").status == 400  # it is read, and is no request for signatures
    assert told(service, "max", head.replace(b"Length: 2", f"Length: {length}".encode())).status == status


def test_a128_what_is_longer_than_it_says_is_no_second_request(service: House) -> None:
    whole = post("/v1/requests", ask_body("long"))
    with line(service, "max") as secured:
        secured.sendall(whole + b"{}{}\r\n\r\n")
        assert hear(secured).status in (202, 400)
        assert hear(secured).status in (400, 0)


@pytest.mark.parametrize(
    "headers",
    [
        ("Transfer-Encoding: chunked",),
        ("Content-Length: 6",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: \x0bchunked",),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",),
    ],
)
def test_a_length_that_can_be_read_in_two_ways_is_refused(service: House, headers: tuple[str, ...]) -> None:
    hidden = b"5\r\nhello\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert told(service, "max", post("/v1/requests", hidden)).status == 400
    with line(service, "max") as secured:
        secured.sendall(post("/v1/requests", hidden, *headers))
        assert hear(secured).status in (400, 0)
        assert hear(secured).status == 0  # what was hidden in it was not answered


@pytest.mark.parametrize("more", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a128_a_packed_body_is_not_unpacked(service: House, more: str) -> None:
    bomb = gzip.compress(gzip.compress(b"{" + b" " * (100 << 20), 1), 1)
    assert told(service, "max", post("/v1/requests", ask_body("unpacked"))).status == 202
    before = memory_kib(service.process)
    assert told(service, "max", post("/v1/requests", bomb, f"Content-Encoding: {more}")).status in (400, 415)
    assert memory_kib(service.process) - before < 64 * MIB


def test_a128_two_parts_of_one_name_are_no_request(service: House) -> None:
    part = (
        '--x\r\nContent-Disposition: form-data; name="data"; filename="../a"\r\n\r\n'
        + ask_body("part").decode()
        + "\r\n"
    )
    body = (part + part + "--x--\r\n").encode()
    assert told(service, "max", post("/v1/requests", body, kind="multipart/form-data; boundary=x")).status == 415


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (get("/v1/keys", "A: " + "x" * 20_000), 431),
        (get("/v1/keys", *["A: b"] * 5000), 431),
        (get("/v1/keys?" + "x" * 20_000), 431),
        (b"GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nA\x01: b\r\n\r\n", 400),
        (b"GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n folded: b\r\n\r\n", 400),
        (b"GET /v1/keys HTTP/3.0\r\nHost: localhost\r\n\r\n", 400),
        (b"get /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /v1/keys HTTP/1.1\r\n\r\n", 400),
        (get("/v1/keys", "Host: localhost"), 400),
        (get("/v1/keys", "Host: evil.example"), 400),
        (b"GET /v1/keys\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x80\x80\x80\x80\r\n\r\n", 400),
    ],
)
def test_a128_a_head_that_is_none_or_too_long_is_refused(service: House, head: bytes, status: int) -> None:
    assert told(service, "max", get("/v1/keys", "A: b", "A: c")).status == 200
    assert told(service, "max", head).status in (status, 0)


# who spells it another way (A121)


def listed(service: House, name: str) -> list[str]:
    answer = told(service, name, get("/v1/requests"))
    assert answer.status == 200
    return [one["id"] for one in answer.json["requests"]]


SPELLINGS = [
    "/v1/requests/{}/", "/v1/requests//{}", "//v1/requests/{}", "/v1/requests/%2f{}", "/v1/requests%2f{}", "/v1%2Frequests/{}",
    "/v1/requests/x/../{}", "/v1/requests/%2e%2e/requests/{}", "/v1/./requests/{}", "/V1/requests/{}", "/v1/Requests/{}",
    "/v1/requests/{};a=b", "/v1/requests/{}%00", "/v1/requests/{}%20", "/v1/requests/{}.json", "/v1/requests/%7b{}%7d",
    "/v1\\requests\\{}", "/v1/requests/{}%0d%0aA:b", "/v1/requests/{}#a", "/v1/requests/{}?#a", "/v1/requests/%c0%af{}", "/v1/requests/＃{}",
]  # fmt: skip


@pytest.mark.parametrize("path", SPELLINGS)
def test_a121_there_is_one_way_to_write_a_path(service: House, theirs: str, path: str) -> None:
    assert told(service, "max", get(f"/v1/requests/{theirs}")).status == 200
    for name in ("max", "stranger"):
        assert told(service, name, get(path.format(theirs))).status in (400, 404)


@pytest.mark.parametrize("id_", ["{}", "{upper}", "{}?tenant=acme", "{}?requester=max&role=admin"])
@pytest.mark.parametrize("what", ["", "/items", "/signatures", "/proofs"])
def test_a121_what_is_another_tenants_is_not_there(service: House, theirs: str, id_: str, what: str) -> None:
    assert told(service, "max", get(f"/v1/requests/{theirs}{what}")).status == 200
    path = id_.format(theirs, upper=theirs.upper())
    known, _, query = path.partition("?")
    answer = told(service, "stranger", get(f"/v1/requests/{known}{what}?{query}"))
    nowhere = told(service, "stranger", get(f"/v1/requests/{'0' * 64}{what}"))
    assert answer.status == nowhere.status == 404
    known_not = answer.json["detail"].replace(theirs, "ID").replace(theirs.upper(), "ID")
    assert known_not == nowhere.json["detail"].replace("0" * 64, "ID"), "it cannot be told from one that never was"


@pytest.mark.parametrize("what", ["withdrawal", "attempts", "approvals"])
def test_a121_nobody_of_another_tenant_changes_anything(service: House, theirs: str, what: str) -> None:
    body = json.dumps({"scheme": "cms", "proof": "AAAA"}).encode() if what == "approvals" else b""
    assert told(service, "stranger", post(f"/v1/requests/{theirs}/{what}", body)).status == 404
    assert told(service, None, post(f"/v1/requests/{theirs}/{what}", body)).status == 401
    assert told(service, "max", get(f"/v1/requests/{theirs}")).json["state"] == "waiting"
    assert theirs in listed(service, "max")
    assert theirs not in listed(service, "stranger")


METHODS = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method")


@pytest.mark.parametrize("header", METHODS)
def test_a126_no_header_makes_a_get_change_anything(service: House, header: str) -> None:
    own = told(service, "max", post("/v1/requests", ask_body(f"by {header}"))).json["id"]
    path = f"/v1/requests/{own}/withdrawal"
    assert told(service, "max", get(path, f"{header}: POST")).status == 405
    assert told(service, "max", get(f"{path}?{header}=POST")).status == 405
    assert told(service, "max", get(f"/v1/requests/{own}", f"{header}: DELETE")).json["state"] == "waiting"
    assert told(service, "max", post(path, b"")).json["state"] == "withdrawn"


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; a=b", "TEXT/PLAIN"]
)
def test_a126_a_form_of_a_web_page_is_no_request(service: House, kind: str) -> None:
    own = told(service, "max", post("/v1/requests", ask_body(f"form {kind}"))).json["id"]
    for path, body in (("/v1/requests", ask_body("x")), (f"/v1/requests/{own}/withdrawal", b"")):
        assert told(service, "max", post(path, body, kind=kind)).status == 415
    assert told(service, "max", post(f"/v1/requests/{own}/withdrawal", b"")).json["state"] == "withdrawn"


@pytest.mark.parametrize(
    "kinds", [(), ("application/xml",), ("application/octet-stream",), ("application/json", "a/b")]
)
def test_a126_a_body_is_json_and_says_so(service: House, kinds: tuple[str, ...]) -> None:
    """A page of another site can send what has no type, or one that its browser does not ask about."""
    body = ask_body(f"of {kinds}")
    assert told(service, "max", post("/v1/requests", body, kind="application/json; charset=utf-8")).status == 202
    head = [f"Content-Type: {one}" for one in kinds]
    whole = ["POST /v1/requests HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *head, "", ""]
    assert told(service, "max", "\r\n".join(whole).encode() + body).status == 415


@pytest.mark.parametrize(
    "header",
    [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://localhost",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ],
)
def test_a126_a_page_of_another_site_changes_nothing(service: House, header: str) -> None:
    own = told(service, "max", post("/v1/requests", ask_body(f"from {header}"))).json["id"]
    path = f"/v1/requests/{own}/withdrawal"
    assert told(service, "max", post(path, b"", header)).status == 403
    own_page = ("Origin: https://localhost", "Sec-Fetch-Site: same-origin")
    assert told(service, "max", post(path, b"", *own_page)).json["state"] == "withdrawn"


FORGED = (
    "X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: max", "X-Remote-User: max", "X-Client-Cert: max", "X-SSL-Client-Verify: SUCCESS",
    "Forwarded: for=127.0.0.1;by=max", "X-Original-URL: /health", "X-Rewrite-URL: /health", "Cookie: session=max", "Authorization: Basic bWF4Om1heA==",
)  # fmt: skip


@pytest.mark.parametrize("header", FORGED)
def test_a121_no_header_says_who_somebody_is(service: House, header: str) -> None:
    assert told(service, "max", get("/v1/keys")).status == 200
    assert told(service, None, get("/v1/keys", header)).status == 401


def test_a121_every_refusal_is_a_line_of_the_access_log(service: House, theirs: str) -> None:
    answer: Told = told(service, "stranger", get(f"/v1/requests/{theirs}"))
    number = answer.json["request_id"]
    assert f"x-request-id: {number}".encode() in answer.head
    one = eventually(lambda: next((one for one in access(service) if one["id"] == number), None))
    assert (one["status"], one["method"], one["route"]) == (404, "GET", "/v1/requests/{id_}")
