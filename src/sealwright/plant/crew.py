"""Many small questions answered by all cores, while they are still being asked: the memory does not grow with their number.

`trust/many.py` wants every question beforehand; a walk of unknown size has no beforehand. Each worker is a forked process with a
pipe in either direction and one question at a time, so that neither side waits for a reader that is itself writing. A worker
that dies (a parser killed for its memory) costs its question alone: it is asked again in parts, and a part that kills another
worker is answered with None. Where nothing may be forked this process answers.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from sealwright.artifact.interrupts import Interrupts
from sealwright.plant.framing import received, send
from sealwright.trust.many import can_fork, cores

Q = TypeVar("Q")
A = TypeVar("A")


class _Worker(NamedTuple):
    process: int
    asking: int
    answering: int


class Crew(Generic[Q, A]):
    """Used as a context manager, whose end leaves no worker behind. parts: of a question, or nothing where it cannot be divided."""

    def __init__(self, answer: Callable[[Q], A], parts: Callable[[Q], Sequence[Q]]) -> None:
        self.answer = answer
        self.parts = parts
        self.idle: list[_Worker] = []
        self.busy: dict[int, tuple[_Worker, Q]] = {}

    def answers(self, questions: Iterator[Q]) -> Iterator[tuple[Q, A | None]]:
        """Each question with its answer, in any order; None where a worker died of it."""
        if not can_fork():
            for question in questions:
                yield question, self.answer(question)
            return
        again: list[Q] = []
        ahead: list[Q] = []  # the next one, made while all are busy, so that who has answered goes on at once

        def make_ahead() -> None:
            if not ahead:
                ahead.extend([again.pop()] if again else islice(questions, 1))

        while len(self.idle) < cores():
            self._fork()
        while True:
            make_ahead()
            while self.idle and ahead:
                self._ask(ahead.pop())
                make_ahead()
            if not self.busy:
                return
            for ready in select.select(list(self.busy), [], [])[0]:
                worker, question = self.busy.pop(ready)
                data = received(ready)
                if data is not None:
                    self.idle.append(worker)
                    if ahead:
                        self._ask(ahead.pop())
                    yield question, pickle.loads(data)  # noqa: S301 (our own child wrote it)
                    make_ahead()
                    continue
                self._end(worker)
                self._fork()
                parts = self.parts(question)
                if parts:
                    again += parts
                else:
                    yield question, None

    def __enter__(self) -> Crew[Q, A]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self.idle, *(worker for worker, _ in self.busy.values())):
            self._end(worker)

    def _ask(self, question: Q) -> None:
        worker = self.idle.pop()
        self.busy[worker.answering] = (worker, question)
        with suppress(BrokenPipeError):  # it died: its end of the other pipe says so
            send(worker.asking, pickle.dumps(question))

    def _fork(self) -> None:
        if sys.platform == "win32":
            return
        interrupts = Interrupts()
        interrupts.hold()
        try:
            questions, asking = os.pipe()
            answering, answers = os.pipe()
            process = os.fork()
            if process == 0:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends the worker
                for other in (*self.idle, *(worker for worker, _ in self.busy.values())):
                    os.close(other.asking)
                    os.close(other.answering)
                os.close(asking)
                os.close(answering)
                _serve(questions, answers, self.answer)
            os.close(questions)
            os.close(answers)
            self.idle.append(_Worker(process, asking, answering))
        finally:
            interrupts.release()

    @staticmethod
    def _end(worker: _Worker) -> None:
        os.close(worker.asking)
        os.close(worker.answering)
        with suppress(OSError):
            os.kill(worker.process, 9)
        with suppress(OSError):
            os.waitpid(worker.process, 0)


def _serve(questions: int, answers: int, answer: Callable[[Q], A]) -> None:
    """A worker's life: never returns."""
    code = 1
    try:
        while (data := received(questions)) is not None:
            send(answers, pickle.dumps(answer(pickle.loads(data))))  # noqa: S301 (the process we come from wrote it)
        code = 0
    finally:
        os._exit(code)
