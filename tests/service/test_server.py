"""The seam under the services: what a client may cost, and what it gets who asks for what is not there."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kit.serving import Served, memory_kib
from sealwright.errors import UsageError
from sealwright.service.server import Listen, parse_listen

PROGRAM = """
import asyncio, json
from sealwright.service.connections import Limits
from sealwright.service.server import Answer, json_log, parse_listen, serve

class Echo:
    methods, types, max_body = ("GET", "POST"), ("a/b",), 100_000
    async def answer(self, request):
        if request.query == b"fail":
            raise RuntimeError("secret\\n reason")
        if request.query == b"slow":
            await asyncio.sleep(0.35)
        if request.query == b"never":
            await asyncio.sleep(60)
        said = [request.method, request.path, request.tail.decode(), request.type, len(request.body)]
        return Answer(200, json.dumps(said).encode(), "application/json", note={"seen": len(request.body)})

limits = Limits(request_s=0.5, head_s=0.5, idle_s=1, stop_s=1, head_bytes=4096, connections=40)
log = json_log()
told = lambda address: print(json.dumps({"address": address}), flush=True)
asyncio.run(serve({"/": Echo(), "/exact": Echo(), "/folder/": Echo()} if WHOLE else {"/exact": Echo()},
                  parse_listen("127.0.0.1:0"), announce=told, access=log, log=log, limits=limits))
"""
GET = b"GET /exact HTTP/1.1\r\nHost: x\r\n\r\n"


class Seam(Served):
    """The program above as a process."""

    def __init__(self, folder: Path, *, whole: bool = True) -> None:
        self.log = folder / f"seam.{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"WHOLE = {whole}\n{PROGRAM}"], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.address = json.loads(self.process.stdout.readline())["address"]
        self.port = int(self.address.rpartition(":")[2])


@pytest.fixture(scope="module")
def seam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seam]:
    with Seam(tmp_path_factory.mktemp("seam")) as one:
        yield one
        assert one.ask("GET", "/exact").status == 200, "it lives after all that"


@pytest.mark.parametrize(
    ("path", "tail"),
    [("/exact", ""), ("/folder/a%2Fb+c", "a%2Fb+c"), ("/folder/", ""), ("/else", "else"), ("/exact/", "exact/")],
)
def test_a_path_leads_to_the_exact_resource_or_the_longest_folder(seam: Seam, path: str, tail: str) -> None:
    assert json.loads(seam.ask("GET", path).body)[2] == tail


def test_without_a_folder_a_wrong_path_is_not_found(tmp_path: Path) -> None:
    with Seam(tmp_path, whole=False) as seam:
        assert (seam.ask("GET", "/exact").status, seam.ask("GET", "/exact/").status) == (200, 404)


def test_a_resource_that_fails_is_a_500_without_its_reason(seam: Seam) -> None:
    reply = seam.ask("GET", "/exact?fail")
    assert (reply.status, reply.body) == (500, b"internal error\n")
    assert any("secret" in str(line.get("why")) for line in seam.events())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /exact HT",
        b"GET /exact HTTP/1.1\r\nA: b\r\n",
        b"POST /exact HTTP/1.1\r\nContent-Type: a/b\r\nContent-Length: 9\r\n\r\nxx",
        b"POST /exact HTTP/1.1\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"GET /exact?never HTTP/1.1\r\n\r\n",
    ],
)
def test_who_sends_or_answers_too_slowly_is_cut(seam: Seam, data: bytes) -> None:
    back, took = seam.raw(data)
    assert back == b""
    assert 0.4 < took < 3


def test_one_octet_at_a_time_does_not_gain_time(seam: Seam) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", seam.port)) as line, pytest.raises(OSError):
        for octet in b"GET /exact HTTP/1.1\r\n" + b"A: b\r\n" * 100:
            line.sendall(bytes([octet]))
            time.sleep(0.1)
    assert time.monotonic() - started < 4


def test_an_idle_connection_is_closed(seam: Seam) -> None:
    back, took = seam.raw(GET)
    assert back.startswith(b"HTTP/1.1 200")
    assert 0.8 < took < 4


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /exact HTTP/1.1\r\nA: " + b"x" * 5000, b"431"),
        (b"GET /" + b"x" * 5000, b"431"),
        (b"GET /exact HTTP/1.1\r\n" + b"A: b\r\n" * 2000, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GET /exact HTTP/9.9\r\n\r\n", b"400"),
        (b"POST /exact HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST /exact HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400"),
        (b"POST /exact HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /exact HTTP/1.1\r\nContent-Type: a/b\r\nContent-Length: 99999999999999999\r\n\r\n", b"413"),
        (b"GET /exact HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"413"),
        (b"GET /exact HTTP/1.1\r\n\r\n" * 1000, b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", b"40"),
        (b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"40"),
        (b"GET http://elsewhere/exact HTTP/1.1\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /\xff\xfe HTTP/1.1\r\nConnection: close\r\n\r\n", b""),
        (b"GET /exact HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b""),
    ],
)
def test_what_is_no_request_is_refused_at_once(seam: Seam, data: bytes, status: bytes) -> None:
    back, took = seam.raw(data)
    assert back.startswith(b"HTTP/1.1 " + status) or back == b""
    assert back.startswith(b"HTTP/1.1 ") or not status
    assert took < 4


def test_a_body_beyond_the_limit_is_refused_before_it_is_in_memory(seam: Seam) -> None:
    before = memory_kib(seam.process.pid)
    for _ in range(5):
        back, _ = seam.raw(
            b"POST /exact HTTP/1.1\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 300
        )
        assert back.startswith(b"HTTP/1.1 413") or back == b""
    assert memory_kib(seam.process.pid) - before < 16 * 1024


def test_pipelined_requests_are_answered_in_order(seam: Seam) -> None:
    parts = [b"GET /folder/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(40)]
    back, _ = seam.raw(b"".join(parts) + b"GET /folder/x HTTP/1.1\r\nConnection: close\r\n\r\n")
    tails = [part.split(b'"')[5] for part in back.split(b"HTTP/1.1 200")[1:]]
    assert tails == [b"%d" % number for number in range(40)] + [b"x"]


def test_more_connections_than_allowed_are_told_so_and_room_comes_back(tmp_path: Path) -> None:
    with Seam(tmp_path) as seam, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", seam.port)))
        time.sleep(0.2)
        assert seam.raw(GET)[0].startswith(b"HTTP/1.1 503")
        time.sleep(1)
        assert seam.ask("GET", "/exact").status == 200


def test_what_was_begun_is_answered_after_the_signal_and_nothing_new(tmp_path: Path) -> None:
    with Seam(tmp_path) as seam, socket.create_connection(("127.0.0.1", seam.port)) as line:
        line.sendall(b"GET /exact?slow HTTP/1.1\r\n\r\n")
        time.sleep(0.1)
        seam.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", seam.port))
        line.settimeout(5)
        assert line.recv(4096).startswith(b"HTTP/1.1 200")
        assert seam.process.wait(10) == 0


def test_an_answer_that_never_comes_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with Seam(tmp_path) as seam, socket.create_connection(("127.0.0.1", seam.port)) as line:
        line.sendall(b"GET /exact?never HTTP/1.1\r\n\r\n")
        time.sleep(0.1)
        started = time.monotonic()
        assert seam.stop() == 0
        assert time.monotonic() - started < 6


def test_the_access_line_cannot_be_forged_by_what_a_client_sends(seam: Seam) -> None:
    seam.raw(b"GET /exact%0a%7b%22status%22:1%7d%1b[31m HTTP/1.1\r\nConnection: close\r\n\r\n")
    time.sleep(0.2)
    last = seam.events()[-1]
    assert last["path"] == '/exact\n{"status":1}\x1b[31m'
    assert "\x1b" not in seam.log.read_text()


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:0", Listen("127.0.0.1", 0)),
        ("tsa.plant:80", Listen("tsa.plant", 80)),
        ("[::1]:99", Listen("::1", 99)),
        ("unix:/run/x", Listen(path="/run/x")),
    ],
)
def test_an_address_is_read(text: str, listen: Listen) -> None:
    assert parse_listen(text) == listen


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "host", "host:", "host:x", "host:65536", "::1:80", "unix:", "host:-1", "host:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_listen(text)
