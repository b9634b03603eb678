"""Ctrl-C kept from coming between two steps that belong together, such as a fork and the note of whom to end again."""

from __future__ import annotations

import sys


class Interrupts:
    """Ctrl-C, held back in this thread between `hold` and `release`, where it comes then; not on Windows, which has no such mask."""

    def __init__(self) -> None:
        self._before: set[int] | None = None

    def hold(self) -> None:
        """From now on; once more changes nothing."""
        if self._before is None and sys.platform != "win32":
            import signal  # start-up time: most commands hold nothing back

            self._before = set(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}))

    def release(self) -> None:
        """KeyboardInterrupt, if it was pressed meanwhile."""
        if self._before is not None and sys.platform != "win32":
            import signal

            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
