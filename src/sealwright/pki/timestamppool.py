"""A pool of timestamp authorities: who is asked, how often, how long, and who is passed over (RFC 3161, HTTP).

1. Authorities are asked in the order given; one that failed goes behind those that did not.
2. A round asks each once. After a round without a token the pool waits: exponential, with full jitter, so that a hundred
   signing places do not come back in the same second. `tries` rounds, each try and the whole bounded in time.
3. An answer counts once its imprint, nonce, signature and purpose were checked (`envelope/tsp.py`).
4. An authority that answers wrongly, refuses, or was tried in vain is down for `down_s`: of ten thousand signatures, the first
   ones wait for it and no other. With every authority down the rest fail at once.
5. Several tokens for one signature come from distinct authorities, told apart by their keys and not by their addresses.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.certified import certified
from sealwright.envelope.tsp import read_response, read_token, timestamp_request
from sealwright.errors import SealwrightError, TimestampUnavailable, UsageError
from sealwright.pki.timestamp import fetch_timestamp

AT_ONCE = 8
MAX_AUTHORITIES = 16
MAX_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and how many rounds. total_s: for all tokens of one signature; down_s: how long an authority is passed over."""

    try_s: float = 10.0
    total_s: float = 45.0
    rounds: int = 3
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    down_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """One checked token over a signature value. authority: its URL, or `local`; signer: DER, the authority's certificate."""

    token: bytes
    gen_time: datetime
    authority: str
    signer: bytes


@dataclass(slots=True)
class _Standing:
    failures: int = 0
    successes: int = 0
    down_until: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the pool takes from outside, so that tests need neither network nor patience."""

    fetch: Callable[[str, bytes, float], bytes] = fetch_timestamp
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)


class Pool:
    """The authorities and what is known of them; used by many threads at once."""

    def __init__(self, urls: Sequence[str], limits: Limits | None = None, outside: Outside | None = None) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.limits = limits or Limits()
        self.outside = outside or Outside()
        if not 1 <= len(self.urls) <= MAX_AUTHORITIES:
            raise UsageError(
                "--timestamp", f"{len(self.urls)} authorities", f"Name 1 to {MAX_AUTHORITIES} authorities."
            )
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise UsageError(
                    url[:80],
                    "it is not the URL of a timestamp authority",
                    "Write --timestamp https://… , local or none; local and none stand alone.",
                )
        self._lock = threading.Lock()
        self._known = {url: _Standing() for url in self.urls}

    def stamp_all(
        self, imprints: Sequence[Digest], wanted: int = 1, without: Collection[bytes] = ()
    ) -> list[tuple[Stamp, ...]]:
        """For each imprint up to `wanted` tokens, in order; fewer where authorities are down (`reason` says why)."""
        if len(imprints) <= 1:
            return [self.stamp(one, wanted, without) for one in imprints]
        from concurrent.futures import ThreadPoolExecutor  # only where many are stamped

        with ThreadPoolExecutor(min(AT_ONCE, len(imprints))) as workers:
            return list(workers.map(lambda one: self.stamp(one, wanted, without), imprints))

    def stamp(self, imprint: Digest, wanted: int = 1, without: Collection[bytes] = ()) -> tuple[Stamp, ...]:
        """Up to `wanted` tokens by distinct authorities. without: DER certificates of authorities that stamped it before."""
        outside, limits = self.outside, self.limits
        until = outside.clock() + limits.total_s
        keys = {key_digest(certified(der).key) for der in without}
        got: list[Stamp] = []
        seen = {url: known.successes for url, known in self._known.items()}
        passed: set[str] = set()
        for number in range(limits.rounds):
            for url in self._order(passed):
                if len(got) == wanted:
                    return tuple(got)
                left = until - outside.clock()
                if left <= 0:
                    break
                try:
                    stamp = self._ask(url, imprint, min(limits.try_s, left))
                except SealwrightError as cause:
                    self._failed(url, cause)
                    continue
                key = key_digest(certified(stamp.signer).key)
                passed.add(url)
                if key not in keys:
                    keys.add(key)
                    got.append(stamp)
            left = until - outside.clock()
            if len(got) == wanted or left <= 0 or not self._order(passed):
                break
            if number + 1 < limits.rounds:
                most = min(limits.longest_wait_s, limits.first_wait_s * 2**number, left)
                outside.sleep(most * outside.chance())
        if len(got) < wanted:
            self._given_up(seen, passed)
        return tuple(got)

    def reason(self) -> str:
        """Why the authorities that gave nothing did so, one clause; of several, by name."""
        with self._lock:
            failed = [(url, known.why) for url, known in self._known.items() if known.why]
        said = [why if len(self.urls) == 1 else f"{url}: {why}" for url, why in failed]
        return "; ".join(said)[:600] or "no further authority is named that has not stamped it already"

    def unavailable(self, wanted: int) -> TimestampUnavailable:
        """The error for a signature that has fewer tokens than are wanted."""
        what = "no timestamp came" if wanted == 1 else f"not {wanted} distinct authorities gave a timestamp"
        return TimestampUnavailable(
            ", ".join(self.urls)[:200],
            f"{what}: {self.reason()}",
            "Try again, name another authority, or sign with --timestamp-later and run `sealwright stamp` afterwards.",
        )

    def _order(self, passed: Collection[str]) -> list[str]:
        now = self.outside.clock()
        with self._lock:
            up = [url for url in self.urls if url not in passed and self._known[url].down_until <= now]
            return sorted(up, key=lambda url: self._known[url].failures)

    def _ask(self, url: str, imprint: Digest, timeout_s: float) -> Stamp:
        nonce = secrets.randbits(63)
        answer = self.outside.fetch(url, timestamp_request(imprint, nonce), timeout_s)
        try:
            token = read_response(answer, imprint, nonce, url)
        except SealwrightError as cause:
            raise _Wrong(cause.subject, cause.what, cause.next_step) from cause
        read = read_token(token, url)
        with self._lock:
            known = self._known[url]
            known.failures, known.successes, known.why = 0, known.successes + 1, ""
        return Stamp(token, read.gen_time, url, read.certificate)

    def _failed(self, url: str, cause: SealwrightError) -> None:
        with self._lock:
            known = self._known[url]
            known.failures += 1
            known.why = cause.what
            if isinstance(cause, _Wrong):  # another try would be answered in the same way
                known.down_until = self.outside.clock() + self.limits.down_s

    def _given_up(self, seen: dict[str, int], passed: Collection[str]) -> None:
        """Who gave nothing while one signature tried in vain, and nothing to any other meanwhile, is down."""
        until = self.outside.clock() + self.limits.down_s
        with self._lock:
            for url, known in self._known.items():
                if url not in passed and known.why and known.successes == seen[url]:
                    known.down_until = max(known.down_until, until)


class _Wrong(TimestampUnavailable):
    """An answer came, and it is no timestamp for what was asked."""
