"""Witnesses of our own log, asked again and again (C2SP tlog-witness): what enough of them cosigned is published.

    cosigner = Cosigner(writer.reader, configuration.publishing, log)
    cosigner.round()                 # a thread, every ROUND_S
    cosigner.problems                # for /health

1. All witnesses are asked at once, each for `ANSWER_S` at most, whatever it does; one that failed is left alone for a while, longer
   each time. Signing never waits for any of them.
2. A checkpoint counts as cosigned with `cosignatures` lines that hold, each of another witness; until then the one before stays.
3. A witness that says it has seen more than there is, while the log does not grow meanwhile, is told loudly: a backup was restored, or
   somebody signs beside us. It cannot stop the service by that: it has shown no proof (A135).
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from sealwright.artifact.names import display
from sealwright.errors import LogRewound, SealwrightError, WitnessRefused
from sealwright.log.headfile import MAX_NOTE_BYTES
from sealwright.log.reader import LogReader
from sealwright.log.witness import Answer, Asked, Post, ask_witness, keep_cosigned
from sealwright.service.publishing import Publishing, WitnessEntry
from sealwright.service.server import Log, no_log

ROUND_S = 2.0
ANSWER_S = 5.0
LONGEST_PAUSE_S = 60.0
MAX_SAID = 200
PostTo = Callable[[WitnessEntry], Post]


@dataclass(slots=True)
class _Known:
    """What is known of a witness. size: that it cosigned last, line: under the checkpoint that is being cosigned, "" where it has not."""

    entry: WitnessEntry
    size: int = 0
    line: str = ""
    problem: str = ""
    failures: int = 0
    again: float = 0.0


class Cosigner:
    """The witnesses of one log. `round` is for one thread at a time, `problems` for any."""

    def __init__(
        self, reader: LogReader, publishing: Publishing, log: Log = no_log, post_to: PostTo | None = None
    ) -> None:
        self._reader = reader
        self._needed = publishing.cosignatures
        self._log = log
        self._post_to = post_to or posting
        self._known = [_Known(one) for one in publishing.witnesses]
        self._note = ""
        self._lock = threading.Lock()

    @property
    def problems(self) -> list[str]:
        """What is wrong with which witness, without secrets."""
        return [f"witness {one.entry.key.name}: {one.problem}" for one in self._known if one.problem]

    def round(self) -> None:
        """Ask those whose line is missing. Raises StoreUnavailable, LogRefused."""
        with self._lock:
            self._begin(self._reader.head().note)
            now = time.monotonic()
            asked = [one for one in self._known if not one.line and one.again <= now]
            if not asked:
                return
            with ThreadPoolExecutor(len(asked), thread_name_prefix="witness") as threads:
                list(threads.map(self._ask, asked))
            lines = [one.line for one in self._known if one.line]
            if len(lines) >= self._needed:
                keep_cosigned(self._reader.store, self._note + "".join(lines))

    def _begin(self, note: str) -> None:
        """A newer checkpoint needs every line anew."""
        if note != self._note:
            self._note = note
            for one in self._known:
                one.line = ""

    def _ask(self, one: _Known) -> None:
        asked = Asked(one.entry.url, one.entry.key)
        try:
            got = ask_witness(asked, self._note, one.size, self._reader.consistency, self._post_to(one.entry))
        except LogRewound as cause:
            grown = self._reader.head().note != self._note  # another replica was faster than our question
            self._failed(one, "" if grown else display(cause.what)[:MAX_SAID])
        except SealwrightError as cause:
            self._failed(one, display(cause.what)[:MAX_SAID])
        else:
            if one.problem:
                self._log({"event": "witness", "witness": one.entry.key.name, "problem": None})
            one.line, one.size, one.problem, one.failures, one.again = got.line, got.size, "", 0, 0.0

    def _failed(self, one: _Known, what: str) -> None:
        one.failures += bool(what)
        one.again = time.monotonic() + (min(LONGEST_PAUSE_S, 2.0**one.failures) if what else 0.0)
        if what != one.problem:
            self._log({"event": "witness", "witness": one.entry.key.name, "problem": what or None})
        one.problem = what


def posting(entry: WitnessEntry) -> Post:
    """How a witness is asked: HTTP, no redirect, no proxy of the environment, a bound on time and answer."""

    def post(url: str, body: bytes) -> Answer:
        try:
            context = ssl.create_default_context(cafile=entry.authority or None)
            return asyncio.run(_answer(url, body, context))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as cause:
            raise OSError(f"no answer ({type(cause).__name__})") from cause

    return post


async def _answer(url: str, body: bytes, context: ssl.SSLContext) -> Answer:
    async with (
        asyncio.timeout(ANSWER_S),
        httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=ANSWER_S) as client,
        client.stream("POST", url, content=body, headers={"accept-encoding": "identity"}) as answer,
    ):
        data = b""
        async for block in answer.aiter_raw():
            data += block
            if len(data) > MAX_NOTE_BYTES:
                raise WitnessRefused(url, f"it answers more than {MAX_NOTE_BYTES} octets", "Ask who runs it.")
        return Answer(answer.status_code, answer.headers.get("content-type", ""), data)
