"""Timestamp authorities on ports of this machine, each in a thread: one that works, and those that behave badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kit.pki import Pki, Signer
from sealwright.artifact.digest import Digest
from sealwright.envelope.tsp import read_request, rejection_bytes, timestamp_request
from sealwright.pki.timestamp import ANSWER_TYPE, LocalAuthority

BAD = (
    "down",
    "error",
    "rejection",
    "nonce",
    "imprint",
    "html",
    "redirect",
    "endless",
    "drip",
    "altered",
    "purpose",
    "cut",
)


@dataclass
class Authority:
    """how: well, or one of BAD; it may be changed while it runs. seen: how many requests came."""

    tsa: Signer
    pki: Pki
    how: str = "well"
    now: datetime | None = None
    seen: int = 0
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: bytes) -> bytes:
        """The body."""
        wanted = read_request(request)
        if self.how == "rejection":
            return rejection_bytes("not today")
        if self.how == "nonce":
            request = timestamp_request(wanted.imprint, (wanted.nonce or 0) ^ 1)
        if self.how == "imprint":
            request = timestamp_request(Digest.of(b"another"), wanted.nonce or 0)
        signer = self.pki.leaf("no authority", at=datetime.now(UTC)) if self.how == "purpose" else self.tsa
        clock = lambda: self.now or datetime.now(UTC)  # noqa: E731
        body = LocalAuthority(signer.certificate, signer.chain, signer.key, clock).respond(request)
        if self.how == "altered":
            body = body[:-1] + bytes([body[-1] ^ 1])
        return body


@contextmanager
def authority(how: str = "well", pki: Pki | None = None, now: datetime | None = None) -> Iterator[Authority]:
    """One at work."""
    made = pki or Pki.make("TSA", at=datetime.now(UTC))
    state = Authority(made.tsa(at=datetime.now(UTC)), made, how, now)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.seen += 1
            request = self.rfile.read(int(self.headers["Content-Length"]))
            if state.how == "down":
                self.connection.close()
                return
            if state.how == "drip":
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                while not state.over.wait(0.05):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                return
            body = state.answer(request)
            self.send_response({"error": 503, "redirect": 302}.get(state.how, 200))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Type", "text/html" if state.how == "html" else ANSWER_TYPE)
            if state.how == "endless":
                self.send_header("Content-Length", str(10 << 30))
            if state.how == "cut":
                self.send_header("Content-Length", str(len(body)))
                body = body[:-10]
            self.end_headers()
            while state.how == "endless" and not state.over.is_set():
                self.wfile.write(bytes(65536))
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{listening.server_port}/"
    try:
        yield state
    finally:
        state.over.set()
        listening.shutdown()
        listening.server_close()
        thread.join()
