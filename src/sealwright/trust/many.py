"""Many verdicts by all cores: forked workers judge chunks of the paths, the parent yields the answers in order.

Each worker takes the next chunk's number from a pipe and sends `use(verdict)` of its paths back through a pipe of its own.
A worker that ends early loses nothing: the parent judges what is missing itself. Nothing is forked where a state is kept
(one process must own it), where other threads run, or where the system has no fork.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

Q = TypeVar("Q")
T = TypeVar("T")
CHUNK = 64
MAX_CHUNKS = 8000  # 8-byte numbers, all of which fit in a pipe at once
_HEAD = struct.Struct("<QQ")


def can_fork() -> bool:
    """Whether this process may fork workers now."""
    return sys.platform != "win32" and threading.active_count() == 1 and cores() > 1


def cores() -> int:
    """The processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def judge_many(questions: Sequence[Q], judge: Callable[[Sequence[Q]], list[T]], *, alone: bool = False) -> Iterator[T]:
    """`judge` of every chunk of the questions, spread over all cores; its answers, which must be picklable, in order.

    alone: in this process only, because it keeps something from answer to answer.
    """
    size = max(CHUNK, len(questions) // MAX_CHUNKS + 1)
    chunks = [questions[at : at + size] for at in range(0, len(questions), size)]
    if alone or not can_fork():
        for chunk in chunks:
            yield from judge(chunk)
        return
    with _Workers(chunks, judge) as workers:
        ready: dict[int, list[T]] = {}
        for number, chunk in enumerate(chunks):
            while number not in ready and workers.alive:
                ready.update(workers.receive())
            yield from ready.pop(number) if number in ready else judge(chunk)


class _Workers:
    """The forked processes and the parent's ends of their pipes."""

    def __init__(self, chunks: Sequence[Sequence[Q]], judge: Callable[[Sequence[Q]], list[T]]) -> None:
        self.children: list[int] = []
        self.pipes: dict[int, bytearray] = {}
        if sys.platform == "win32":
            return
        numbers, writing = os.pipe()
        os.write(writing, b"".join(struct.pack("<Q", number) for number in range(len(chunks))))
        os.close(writing)
        for _ in range(min(cores(), len(chunks))):
            reading, answers = os.pipe()
            self.pipes[reading] = bytearray()
            child = os.fork()
            if child == 0:
                # a worker that kept a reading end would wait for ever for room in a pipe that nobody empties any more
                for pipe in self.pipes:
                    os.close(pipe)
                _serve(numbers, answers, chunks, judge)
            self.children.append(child)
            os.close(answers)
        os.close(numbers)

    @property
    def alive(self) -> bool:
        """Whether an answer may still come."""
        return bool(self.pipes)

    def receive(self) -> dict[int, list[T]]:
        """What has come: answers by chunk number; waits for something."""
        found: dict[int, list[T]] = {}
        for pipe in select.select(list(self.pipes), [], [])[0]:
            data = os.read(pipe, 1 << 20)
            if not data:
                os.close(pipe)
                del self.pipes[pipe]
                continue
            buffer = self.pipes[pipe]
            buffer += data
            while len(buffer) >= _HEAD.size:
                number, size = _HEAD.unpack_from(buffer)
                if len(buffer) < _HEAD.size + size:
                    break
                body = bytes(buffer[_HEAD.size : _HEAD.size + size])
                found[number] = pickle.loads(body)  # noqa: S301 (our own child wrote it)
                del buffer[: _HEAD.size + size]
        return found

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes:
            os.close(pipe)
        for child in self.children:
            with suppress(OSError):
                os.kill(child, 9)
                os.waitpid(child, 0)


def _serve(numbers: int, answers: int, chunks: Sequence[Sequence[Q]], judge: Callable[[Sequence[Q]], list[T]]) -> None:
    """A worker's life: never returns."""
    code = 1
    try:
        while data := os.read(numbers, 8):
            (number,) = struct.unpack("<Q", data)
            body = pickle.dumps(judge(chunks[number]))
            view = memoryview(_HEAD.pack(number, len(body)) + body)
            while view:
                view = view[os.write(answers, view) :]
        code = 0
    finally:
        os._exit(code)
