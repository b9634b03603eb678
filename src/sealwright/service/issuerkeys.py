"""The keys of a token issuer, fetched from the one address that is configured and kept for a while.

1. Only that https address is asked: no discovery, no redirect, no proxy or authority out of the environment. At most 64 KiB and ten
   seconds, whatever the other side does (A111).
2. Keys are fetched again after `max_age`, and once for a `kid` that is not among them, but never twice within `min_age`: tokens that
   somebody made up cost the issuer nothing.
3. Where it does not answer, or not with keys, the old ones serve on until `stale_age`, and then no token of it is good.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from sealwright.errors import LimitExceeded, SealwrightError, ServiceUnavailable
from sealwright.service.oidc import MAX_KEYS_BYTES, KeySet, TokenIssuer, parse_keys
from sealwright.service.server import Log, no_log

FETCH_S = 10.0
_NEXT = "Check the address of its keys in the service's configuration, and the way to it."
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Ages:
    """How long keys are kept."""

    min_age: timedelta = timedelta(seconds=30)
    max_age: timedelta = timedelta(hours=1)
    stale_age: timedelta = timedelta(hours=24)


Fetch = Callable[[TokenIssuer], Awaitable[bytes]]


async def fetch_keys(issuer: TokenIssuer) -> bytes:
    """The octets of its key set; ServiceUnavailable or LimitExceeded where it gives none. Point 1."""
    try:
        context = ssl.create_default_context(cafile=issuer.ca_file or None)
        async with (
            asyncio.timeout(FETCH_S),
            httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=FETCH_S) as client,
            client.stream("GET", issuer.keys_url, headers={"accept-encoding": "identity"}) as answer,
        ):
            if answer.status_code != 200 or answer.headers.get("content-encoding", "identity") != "identity":
                raise _unavailable(issuer, f"it answers {answer.status_code}, or encoded")
            data = b""
            async for block in answer.aiter_raw():
                data += block
                if len(data) > MAX_KEYS_BYTES:
                    raise LimitExceeded(
                        issuer.keys_url, "a longer answer", f"At most {MAX_KEYS_BYTES} octets are read."
                    )
            return data
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as cause:
        raise _unavailable(issuer, f"{type(cause).__name__}: {cause}"[:200]) from cause


class IssuerKeys:
    """One issuer's keys. Points 2 and 3; the lock lets one fetch at a time."""

    def __init__(
        self, issuer: TokenIssuer, log: Log = no_log, fetch: Fetch = fetch_keys, ages: Ages | None = None
    ) -> None:
        self.issuer = issuer
        self._log = log
        self._fetch = fetch
        self._ages = ages or Ages()
        self._lock = asyncio.Lock()
        self._keys: KeySet | None = None
        self._fetched: datetime | None = None
        self._asked: datetime | None = None

    async def having(self, kid: str, now: datetime) -> KeySet:
        """The keys, with that one where the issuer has it; ServiceUnavailable where there are none young enough."""
        serves = self._knows(kid) and self._usable(now)
        if self._wanted(kid, now) and not (serves and self._lock.locked()):
            async with self._lock:
                if self._wanted(kid, now) and self._may_ask(now):  # another one may have fetched them meanwhile
                    await self._refresh(now)
        if self._keys is None or not self._usable(now):
            raise _unavailable(self.issuer, "there are no keys of it that are young enough")
        return self._keys

    def _wanted(self, kid: str, now: datetime) -> bool:
        old = self._fetched is None or not _NOTHING <= now - self._fetched < self._ages.max_age
        return old or not self._knows(kid)

    def _may_ask(self, now: datetime) -> bool:
        return self._asked is None or not _NOTHING <= now - self._asked < self._ages.min_age

    def _knows(self, kid: str) -> bool:
        return self._keys is not None and (kid in self._keys.keys or kid in self._keys.unusable)

    def _usable(self, now: datetime) -> bool:
        return self._fetched is not None and abs(now - self._fetched) <= self._ages.stale_age

    async def _refresh(self, now: datetime) -> None:
        self._asked = now
        try:
            self._keys = parse_keys(await self._fetch(self.issuer), self.issuer.keys_url)
        except SealwrightError as cause:
            self._log({"event": "issuer-keys", "issuer": self.issuer.issuer, "why": str(cause)[:500]})
            return
        self._fetched = now


def _unavailable(issuer: TokenIssuer, what: str) -> ServiceUnavailable:
    return ServiceUnavailable(issuer.keys_url, what, _NEXT)
