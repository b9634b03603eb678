"""`agent run`: a round every hour or so. Between rounds the process is small; a round is a child that gives its memory back when it ends.

The pause is `interval` and up to a tenth more, drawn anew each time, so that a plant's devices do not all ask at once. SIGTERM ends the
pause at once and a round at its end; a round that is killed all the same is finished by the next one.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

JITTER = 0.1


class Stop:
    """Whether the daemon is to end; told by SIGTERM and SIGINT.

    A signal writes into a pipe: an event of `threading` has a lock, and a signal that came while it is held would wait for ever.
    """

    def __init__(self) -> None:
        self.told, self.tells = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stopped)

    def _stopped(self, _number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):  # it is full of what says the same
            os.write(self.tells, b".")

    def waits(self, seconds: float) -> bool:
        """Pause; True where it is to end."""
        return bool(select.select([self.told], [], [], seconds)[0])


def run_rounds(interval_s: float, one_round: Callable[[], int], rounds: int = 0) -> int:
    """Rounds until a signal ends it, or as many as are wanted; the code of the last round."""
    stop = Stop()
    done, code = 0, 0
    while True:
        code = in_child(one_round)
        done += 1
        if rounds and done >= rounds:
            return code
        if stop.waits(interval_s * (1 + JITTER * random.random())):  # noqa: S311  the pause is no secret
            return 0


def in_child(one_round: Callable[[], int]) -> int:
    """A round in a process of its own; its code, 1 where it died."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # a round ends at its end
            code = one_round()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1
