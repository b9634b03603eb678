"""What a token's worker process may answer: a frame with one JSON object. Every other answer is a lost worker, and never an error of ours."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import pytest

from sealwright.keys import pkcs11_process
from sealwright.keys.frames import frame_of
from sealwright.keys.pkcs11_process import Worker, WorkerLost

Answering = Callable[[bytes], Worker]
_SAYS = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1])); sys.stdout.flush(); sys.stdin.buffer.read()"


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """A process in the worker's place that says these octets, whatever it is asked."""

    def start(said: bytes) -> Worker:
        monkeypatch.setattr(pkcs11_process, "_worker_command", lambda: [sys.executable, "-I", "-c", _SAYS, said.hex()])
        return Worker()

    return start


def framed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@pytest.mark.parametrize(
    "said",
    [
        framed(b"[]"),
        framed(b"7"),
        framed(b"null"),
        framed(b'"error"'),
        framed(b"[" * 50_000),
        framed(b'{"a":' * 5_000),
        framed(b"\xff"),
        framed(b""),
        struct.pack(">I", (16 << 20) + 1),
    ],
    ids=["list", "number", "null", "text", "deep list", "deep object", "no UTF-8", "nothing", "too long"],
)
def test_an_answer_that_is_no_object_is_a_lost_worker(answering: Answering, said: bytes) -> None:
    good = answering(frame_of({"values": []}))
    assert good.ask({"do": "look"}, 20) == {"values": []}
    good.kill()
    worker = answering(said)
    try:
        with pytest.raises(WorkerLost, match="nonsense"):
            worker.ask({"do": "look"}, 20)
    finally:
        worker.kill()
