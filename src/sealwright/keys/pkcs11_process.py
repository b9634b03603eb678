"""The spawned process of `pkcs11_worker.py` seen from its user: started isolated, spoken to in frames over two pipes, killed when it hangs."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from contextlib import suppress
from typing import BinaryIO, cast

from sealwright.errors import KeyUnavailable
from sealwright.keys.frames import MAX_FRAME, Message, frame_of

_START = "import sys; sys.path[:] = sys.argv[1:]; from sealwright.keys.pkcs11_worker import main; main()"


class WorkerLost(Exception):
    """The worker died, hung or answered nonsense."""


def _worker_command() -> list[str]:
    """Isolated: no module comes from the environment or the current folder. Started without the machine's packages (-S: the
    portable folder of docs/bundle.md), this process is one whose folders the launcher chose; the worker gets the same ones."""
    if sys.platform == "win32":  # whose select() knows sockets alone, so that a token that hangs would hang us
        raise KeyUnavailable(
            "pkcs11:", "keys in tokens are not used on Windows yet", "Sign on Linux; to verify needs no token."
        )
    if sys.flags.isolated and sys.flags.no_site:
        return [sys.executable, "-I", "-S", "-B", "-c", _START, *sys.path]
    return [sys.executable, "-I", "-m", "sealwright.keys.pkcs11_worker"]


class Worker:
    """The spawned process of `pkcs11_worker.py`, and its two pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            _worker_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        if sys.platform != "win32":  # a question larger than the pipe must not wait for ever on a worker that hangs
            os.set_blocking(cast("BinaryIO", self._process.stdin).fileno(), False)

    def ask(self, question: Message, timeout_s: float) -> Message:
        """One question and its answer; WorkerLost if none comes in time."""
        self.send(question, timeout_s)
        return self.receive(timeout_s)

    def send(self, question: Message, timeout_s: float) -> None:
        """Write one frame; WorkerLost if the worker does not take it in time."""
        descriptor = cast("BinaryIO", self._process.stdin).fileno()
        left = memoryview(frame_of(question))
        until = time.monotonic() + timeout_s
        while left:
            if not select.select([], [descriptor], [], max(0.0, until - time.monotonic()))[1]:
                raise WorkerLost("the token did not answer in time")
            try:
                left = left[os.write(descriptor, left) :]
            except OSError as cause:
                raise WorkerLost("the worker process ended") from cause

    def receive(self, timeout_s: float) -> Message:
        """Read one frame."""
        (size,) = struct.unpack(">I", self._read(4, time.monotonic() + timeout_s))
        if size > MAX_FRAME:
            raise WorkerLost("the worker answered nonsense")
        try:
            answer: Message = json.loads(self._read(size, time.monotonic() + timeout_s))
        except (ValueError, RecursionError) as cause:
            raise WorkerLost("the worker answered nonsense") from cause
        if not isinstance(answer, dict):
            raise WorkerLost("the worker answered nonsense")
        return answer

    def close(self) -> None:
        """Let it log out and end; kill it if it does not."""
        with suppress(OSError):
            cast("BinaryIO", self._process.stdin).close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close_pipes()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def end(self) -> None:
        """End the process now and keep the pipes: who reads on finds their end."""
        self._process.kill()

    @property
    def ended(self) -> bool:
        """Whether the process is there no more."""
        return self._process.poll() is not None

    @property
    def answers_at(self) -> int:
        """The descriptor on which answers come, for `select`."""
        return cast("BinaryIO", self._process.stdout).fileno()

    @property
    def pid(self) -> int:
        """The process id, for those who watch it."""
        return self._process.pid

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _read(self, size: int, until: float) -> bytes:
        descriptor = cast("BinaryIO", self._process.stdout).fileno()
        data = b""
        while len(data) < size:
            left = until - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise WorkerLost("the token did not answer in time")
            part = os.read(descriptor, size - len(data))
            if not part:
                raise WorkerLost("the worker process ended")
            data += part
        return data
