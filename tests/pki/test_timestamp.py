"""The local timestamp authority and the way to one on the network; the openssl program asks and checks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import tsp as asn1_tsp

from kit.openssl import run
from kit.pki import NOW, Pki
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.tsp import check_token, read_response, read_token, timestamp_request
from sealwright.errors import SealwrightError, TimestampUnavailable, UsageError
from sealwright.keys.key import KeyKind
from sealwright.pki.oids import TIMESTAMP_POLICY
from sealwright.pki.timestamp import ANSWER_TYPE, MAX_ANSWER_BYTES, Imprint, LocalAuthority, fetch_timestamp

PKI = Pki.make()
VALUE = b"a signature value"


def local(kind: KeyKind = KeyKind.P256) -> LocalAuthority:
    tsa = PKI.tsa(kind=kind)
    return LocalAuthority(tsa.certificate, tsa.chain, tsa.key, lambda: NOW, accuracy=timedelta(milliseconds=1500))


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072])
@pytest.mark.parametrize("name", list(HashName))
def test_openssl_asks_the_local_authority_and_accepts_its_answer(tmp_path: Path, kind: KeyKind, name: HashName) -> None:
    for file, data in (("data", VALUE), ("other", b"x"), ("root", PKI.root.pem.encode())):
        (tmp_path / file).write_bytes(data)
    query = ["openssl", "ts", "-query", "-data", "data", f"-{name}", "-cert", "-out", "q"]
    assert run(query, cwd=tmp_path)[0]
    (tmp_path / "r").write_bytes(local(kind).respond((tmp_path / "q").read_bytes()))
    check = ["openssl", "ts", "-verify", "-in", "r", "-CAfile", "root", "-attime", str(int(NOW.timestamp()))]
    accepted, words = run([*check, "-queryfile", "q"], cwd=tmp_path)
    assert accepted, words
    assert run([*check, "-data", "data"], cwd=tmp_path)[0]
    assert not run([*check, "-data", "other"], cwd=tmp_path)[0]


def test_four_readers_see_the_same_token(tmp_path: Path) -> None:
    imprint = Digest.of(VALUE)
    answer = local().respond(timestamp_request(imprint, 4711))
    token = read_token(read_response(answer, imprint, 4711, "answer"), "token")
    check_token(token, VALUE)
    assert (token.gen_time, token.accuracy, token.policy, token.nonce) == (
        NOW, timedelta(milliseconds=1500), TIMESTAMP_POLICY, 4711,
    )  # fmt: skip

    other = asn1_tsp.TimeStampResp.load(answer, strict=True)
    assert other["status"]["status"].native == "granted"
    signed = asn1_cms.ContentInfo.load(other["time_stamp_token"].dump(), strict=True)["content"]
    info = asn1_tsp.TSTInfo.load(signed["encap_content_info"]["content"].contents, strict=True)
    assert info["gen_time"].native == token.gen_time
    assert info["accuracy"].native == {"seconds": 1, "millis": 500, "micros": None}
    assert info["serial_number"].native == token.serial
    assert info["nonce"].native == 4711
    assert info["message_imprint"]["hashed_message"].native == imprint.value

    (tmp_path / "r").write_bytes(answer)
    accepted, words = run(["openssl", "ts", "-reply", "-in", tmp_path / "r", "-text"])
    assert accepted, words
    for said in ("Nov  1 12:00:00 2026 GMT", "0x01 seconds, 0x01F4 millis", TIMESTAMP_POLICY):
        assert said in words, words

    (tmp_path / "t").write_bytes(read_response(answer, imprint, 4711, "answer"))
    (tmp_path / "root").write_text(PKI.root.pem)
    accepted, words = run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "t", "-CAfile", tmp_path / "root",
         "-purpose", "timestampsign", "-no_check_time", "-out", "/dev/null"]
    )  # fmt: skip
    assert accepted, words


def test_a_batch_of_tokens_has_distinct_serials_and_each_its_own_imprint() -> None:
    digests = [Digest.of(bytes([number])) for number in range(30)]
    tokens = [read_token(one, "t") for one in local().tokens([Imprint(digest) for digest in digests])]
    assert [token.imprint for token in tokens] == digests
    assert len({token.serial for token in tokens}) == 30
    assert {token.nonce for token in tokens} == {None}


@pytest.mark.parametrize("what", ["not DER", "another policy", "SHA-1 imprint", "empty", "trailing octet"])
def test_a_request_that_cannot_be_granted_gets_a_rejection_that_says_so(tmp_path: Path, what: str) -> None:
    imprint = Digest.of(VALUE)
    good = timestamp_request(imprint, 1)
    (tmp_path / "d").write_bytes(VALUE)
    options = {"another policy": ["-tspolicy", "1.2.3.4", "-sha256"], "SHA-1 imprint": ["-sha1"]}
    if what in options:
        run(["openssl", "ts", "-query", "-data", "d", *options[what], "-out", "q"], cwd=tmp_path)
        request = (tmp_path / "q").read_bytes()
    else:
        request = {"not DER": b"nonsense", "empty": b"", "trailing octet": good + b"\0"}[what]
    authority = local()
    assert read_response(authority.respond(good), imprint, 1, "answer")
    refusal = authority.respond(request)
    (tmp_path / "r").write_bytes(refusal)
    _, words = run(["openssl", "ts", "-reply", "-in", tmp_path / "r", "-text"])
    assert "Status: Rejected." in words
    with pytest.raises(SealwrightError):
        read_response(refusal, imprint, 1, "answer")


@contextmanager
def server(how: str) -> Iterator[tuple[str, list[str]]]:
    """An authority on a port of its own that behaves as told, and the requests it saw."""
    seen: list[str] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(f"POST {self.path}")
            body = local().respond(self.rfile.read(int(self.headers["Content-Length"])))
            body = b"x" * (MAX_ANSWER_BYTES + 1) if how == "large" else body
            moved = {
                "redirect": "/elsewhere",
                "redirect to ftp": "ftp://127.0.0.1:9/x",
                "redirect to file": "file:///etc/passwd",
            }
            self.send_response(302 if how in moved else 500 if how == "error" else 200)
            if how in moved:
                self.send_header("Location", moved[how])
            self.send_header("Content-Type", "text/html" if how == "web page" else ANSWER_TYPE)
            self.end_headers()
            if how == "slow":
                while not over.wait(0.05):
                    self.wfile.write(b"x")
                    self.wfile.flush()
            if how == "silent":
                over.wait(20)
            self.wfile.write(body)

        def do_GET(self) -> None:
            seen.append(f"GET {self.path}")

        def log_message(self, *_: object) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/", seen
    finally:
        over.set()
        listening.shutdown()
        listening.server_close()
        thread.join()


def test_a_timestamp_is_fetched_over_http() -> None:
    imprint = Digest.of(VALUE)
    with server("well") as (url, seen):
        answer = fetch_timestamp(url, timestamp_request(imprint, 5))
    check_token(read_token(read_response(answer, imprint, 5, url), url), VALUE)
    assert seen == ["POST /"]


@pytest.mark.parametrize(
    "how", ["large", "web page", "error", "redirect", "redirect to ftp", "redirect to file", "silent", "slow"]
)
def test_an_authority_that_misbehaves_gives_no_timestamp_and_is_asked_once(how: str) -> None:
    started = time.monotonic()
    with server(how) as (url, seen):
        with pytest.raises(TimestampUnavailable):
            fetch_timestamp(url, timestamp_request(Digest.of(VALUE), 5), timeout_s=1)
        assert seen == ["POST /"]
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("url", ["ftp://tsa.example/", "file:///etc/passwd", "tsa.example", ""])
def test_only_http_and_https_are_asked(url: str) -> None:
    with pytest.raises(UsageError):
        fetch_timestamp(url, b"")


@pytest.mark.parametrize("url", ["http://[x", "http://a b/", "http://127.0.0.1:99999/", "http://\udc80/"])
def test_a_url_that_cannot_be_one_is_refused_and_not_a_traceback(url: str) -> None:
    with pytest.raises(TimestampUnavailable):
        fetch_timestamp(url, b"")
