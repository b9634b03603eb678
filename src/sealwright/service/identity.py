"""Who asks: from the certificate that TLS judged, or a CI system's token, to a principal of the register, or nobody.

    door = Door(PeopleFile("people.toml"), Tokens([github("https://sign.acme.example")], replay, log), log)
    principal = await door.enter(scope, now)             # raises Unidentified, whose answer is always the same

1. A request brings one proof: a certificate, or one `Authorization: Bearer` with a token. Two refuse it: nobody could say who asked.
2. Certificates and tokens are known by the register as it is now; a register that cannot be read knows nobody (A132).
3. A token is used up only where it is somebody's. Who asked by one waits by the ticket that came with the answer (`tickets.py`).
4. Outside, everybody who is not let in gets one answer, whatever the reason; the log has the reason, with each claim that differs, and
   neither token nor signature (A129). Names are in neither.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.errors import IdentityRefused, SealwrightError
from sealwright.service.issuerkeys import Fetch, IssuerKeys, fetch_keys
from sealwright.service.oidc import Replay, TokenIssuer, VerifiedToken, issuer_of, read_token, refused, verify
from sealwright.service.server import Answer, Log, no_log, plain
from sealwright.service.tickets import PREFIX, Tickets
from sealwright.signing.people import MAX_BYTES, People, Principal, parse_people

_der_of = lru_cache(maxsize=1024)(ssl.PEM_cert_to_DER_cert)  # a client asks again and again
_BEARER = re.compile(rb"bearer ([A-Za-z0-9._-]+)", re.IGNORECASE)
_NEXT = "Use a client certificate, or a token of a CI system for this service."


class Unidentified(Exception):
    """Nobody who is known here. It carries no reason, so that none can get out (A129)."""

    @property
    def answer(self) -> Answer:
        """The one answer, for whatever reason."""
        return plain(401, "who asks is not known here", (b"www-authenticate", b"Bearer"))


class PeopleFile:
    """The register in a file, read again where it is another one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._people: People | None = None

    def current(self) -> People:
        """The register as it is; MalformedPeople or Unreadable where it is not usable now, whatever it was before."""
        try:
            status = os.stat(self.path)
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            seen = (0, 0, 0)
        if self._people is None or seen != self._seen:
            self._people = None
            self._people = parse_people(read_file(self.path, MAX_BYTES), self.path)
            self._seen = seen
        return self._people


class Tokens:
    """The issuers whose tokens are taken, their keys, and what was used."""

    def __init__(
        self, issuers: Sequence[TokenIssuer], replay: Replay, log: Log = no_log, fetch: Fetch = fetch_keys
    ) -> None:
        self._issuers = tuple(issuers)
        self._replay = replay
        self._keys = {one.issuer: IssuerKeys(one, log, fetch) for one in issuers}

    async def verified(self, text: bytes, now: datetime) -> VerifiedToken:
        """A token that holds; IdentityRefused or ServiceUnavailable saying why another one does not."""
        token = read_token(text)
        issuer = issuer_of(token, self._issuers)
        return verify(token, issuer, await self._keys[issuer.issuer].having(token.kid, now), now)

    async def use(self, token: VerifiedToken, now: datetime) -> None:
        """Use it up; IdentityRefused where it was used before."""
        if not await self._replay.first_use(token.once, token.issued, token.expires, now):
            raise refused("it was used before, or nobody can say that it was not")


class Door:
    """Where every request comes in. tokens: None where no CI system asks; tickets: of those that did, None with `tokens`."""

    def __init__(
        self, people: PeopleFile, tokens: Tokens | None = None, log: Log = no_log, tickets: Tickets | None = None
    ) -> None:
        self._people = people
        self._tokens = tokens
        self._log = log
        self._tickets = tickets

    async def enter(self, scope: Mapping[str, Any], now: datetime) -> Principal:
        """Who asks, by an ASGI scope. Raises Unidentified."""
        try:
            return await self._principal(scope, certificate_of(scope), authorization_of(scope), now)
        except SealwrightError as cause:
            client = str(scope["client"][0]) if scope.get("client") else "unix"
            line = {"event": "unidentified", "client": client, "code": cause.code, "by": _by(scope)}
            self._log({**line, "why": display(str(cause))[:4000]})
        raise Unidentified

    async def _principal(
        self, scope: Mapping[str, Any], certificate: bytes | None, authorization: Sequence[bytes], now: datetime
    ) -> Principal:
        if (certificate is not None) + len(authorization) > 1:
            raise _nobody("it brings more than one proof of who asks")
        if certificate is not None:
            return self._people.current().by_certificate(certificate, now)
        if not authorization:
            raise _nobody("it brings neither a client certificate nor a token")
        bearer = _BEARER.fullmatch(authorization[0])
        if bearer is None or self._tokens is None:
            raise _nobody("its Authorization is no Bearer token, or no CI system asks here")
        if self._tickets is not None and bearer[1].startswith(PREFIX.encode()):
            ticket, asked = bearer[1].decode(), (str(scope["method"]), str(scope["path"]))
            return await asyncio.to_thread(self._tickets.principal, ticket, *asked, now)
        token = await self._tokens.verified(bearer[1], now)
        principal = self._people.current().by_token(token.token, now)
        await self._tokens.use(token, now)
        return principal


def certificate_of(scope: Mapping[str, Any]) -> bytes | None:
    """What `tls.py` put there: DER of the client's own certificate."""
    chain = _shown(scope)
    return _der_of(chain[0]) if chain else None


def _shown(scope: Mapping[str, Any]) -> Sequence[str]:
    shown: Sequence[str] = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    return shown


def _by(scope: Mapping[str, Any]) -> str:
    """What somebody tried to be known by."""
    shown = ("certificate" * bool(_shown(scope)), "token" * bool(authorization_of(scope)))
    return " and ".join(one for one in shown if one) or "nothing"


def authorization_of(scope: Mapping[str, Any]) -> list[bytes]:
    """Each Authorization header that came."""
    return [value for name, value in scope["headers"] if name.lower() == b"authorization"]


def _nobody(what: str) -> IdentityRefused:
    return IdentityRefused("request", what, _NEXT)
