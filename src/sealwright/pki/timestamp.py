"""Timestamps made and fetched: a local RFC 3161 authority, and requests to one on the network."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest
from sealwright.envelope.cms_write import SigningCertificate, signing_certificate
from sealwright.envelope.tsp import (
    Failure,
    TimestampRequest,
    UnacceptedPolicy,
    failure_of,
    read_request,
    rejection_bytes,
    response_bytes,
)
from sealwright.envelope.tsp_write import Certificates, Draft, TokenMaker
from sealwright.errors import SealwrightError, TimestampUnavailable, UsageError
from sealwright.keys.key import OpenKey
from sealwright.pki.oids import TIMESTAMP_POLICY

if TYPE_CHECKING:
    from http.client import HTTPResponse

MAX_ANSWER_BYTES = 64 * 1024
TIMEOUT_S = 20.0
REQUEST_TYPE = "application/timestamp-query"
ANSWER_TYPE = "application/timestamp-reply"
DEFAULT_ACCURACY = timedelta(seconds=1)
_LATER = "Try again, or sign with --timestamp-later and run `sealwright stamp` afterwards."


@dataclass(frozen=True, slots=True)
class Imprint:
    """What one token is made over; nonce None where nobody asked."""

    digest: Digest
    nonce: int | None = None


class LocalAuthority:
    """An RFC 3161 authority beside the signer. What it proves is worth as much as the clock and the key it has."""

    def __init__(
        self,
        certificate: bytes,
        chain: Sequence[bytes],
        key: OpenKey,
        clock: Callable[[], datetime],
        *,
        policy: str = TIMESTAMP_POLICY,
        accuracy: timedelta = DEFAULT_ACCURACY,
    ) -> None:
        self.signing: SigningCertificate = signing_certificate(certificate, chain, key.info.algorithm)
        self.key = key
        self.clock = clock
        self.policy = policy
        self.accuracy = accuracy
        self.maker = TokenMaker(self.signing, policy, accuracy)

    def tokens(self, imprints: Sequence[Imprint]) -> list[bytes]:
        """One token each, all with one use of the key; each carries its certificates, without which it is lost in some years."""
        now = self.clock()
        drafts = [self.maker.draft(one.digest, secrets.randbits(64) | 1, now, one.nonce) for one in imprints]
        return self.sealed(drafts, [Certificates.INCLUDED] * len(drafts))

    def sealed(self, drafts: Sequence[Draft], certificates: Sequence[Certificates]) -> list[bytes]:
        """The tokens of drafts, all with one use of the key."""
        values = self.key.sign([self.maker.to_be_signed(draft) for draft in drafts])
        return [self.maker.token(*one) for one in zip(drafts, values, certificates, strict=True)]

    def read(self, request: bytes) -> TimestampRequest:
        """A request that can be granted; `rejection_of` says what to answer where this raises."""
        wanted = read_request(request)
        if wanted.policy not in (None, self.policy):
            raise UnacceptedPolicy("timestamp request", "this policy is not offered", f"Offered is {self.policy}.")
        return wanted

    def respond(self, request: bytes) -> bytes:
        """The answer to a request as it came over the network: a token, or a rejection that says why."""
        try:
            wanted = self.read(request)
            draft = self.maker.draft(wanted.imprint, secrets.randbits(64) | 1, self.clock(), wanted.nonce)
            return response_bytes(self.sealed([draft], [certificates_for(wanted)])[0])
        except SealwrightError as cause:
            return rejection_of(cause)


def certificates_for(request: TimestampRequest) -> Certificates:
    """As the asker wants it: without certReq "the certificates field MUST not be present" (RFC 3161 section 2.4.1).

    Our own client always asks. What we make for ourselves carries them in any case.
    """
    return Certificates.INCLUDED if request.certificate_wanted else Certificates.LEFT_OUT


def rejection_of(cause: SealwrightError) -> bytes:
    """The rejection for an error. What is the service's own fault is named no further: paths and keys are no stranger's."""
    failure = failure_of(cause)
    return rejection_bytes("the service failed" if failure is Failure.SYSTEM_FAILURE else cause.what, failure)


def fetch_timestamp(url: str, request: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """Ask an authority over HTTP or HTTPS; the answer's bytes, at most 64 KiB. TimestampUnavailable if none comes.

    timeout_s: for everything, from the look-up of the name to the last byte: who drips is left. Redirects are not followed, because a redirected POST
    loses its request (RFC 9110 section 15.4) and another address is another authority. The environment's proxies are used, as
    plants need. The token is checked by its signature, not by the transport.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            url[:80], "it is not the URL of a timestamp authority", "Write --timestamp https://… , local or none."
        )
    # the look-up of a name, and headers that come byte by byte, know no time limit of their own
    answered: list[bytes | SealwrightError] = []

    def ask() -> None:
        try:
            answered.append(_fetched(url, request, timeout_s))
        except SealwrightError as cause:
            answered.append(cause)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_s)
    if not answered:
        raise TimestampUnavailable(url, f"no timestamp came within {timeout_s:g} seconds", _LATER)
    if isinstance(answered[0], SealwrightError):
        raise answered[0]
    return answered[0]


def _fetched(url: str, request: bytes, timeout_s: float) -> bytes:
    import http.client  # only where a network is asked for
    import urllib.error
    import urllib.request

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    try:
        query = urllib.request.Request(url, request, {"Content-Type": REQUEST_TYPE, "Accept": ANSWER_TYPE})
        with opener.open(query, timeout=timeout_s) as answer:
            kind = answer.headers.get_content_type()
            data = _body(answer, time.monotonic() + timeout_s)
    except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException) as cause:
        why = cause.reason if isinstance(cause, urllib.error.URLError) else cause
        said = why.strerror or why if isinstance(why, OSError) else why
        raise TimestampUnavailable(url, f"it does not answer: {said}"[:200], _LATER) from cause
    if kind != ANSWER_TYPE:
        raise TimestampUnavailable(url, f"it answered {kind}, not a timestamp", "Check the URL of the authority.")
    if len(data) > MAX_ANSWER_BYTES:
        raise TimestampUnavailable(
            url, f"it answered more than {MAX_ANSWER_BYTES} bytes", "Check the URL of the authority."
        )
    return data


def _body(answer: HTTPResponse, until: float) -> bytes:
    data = bytearray()
    while len(data) <= MAX_ANSWER_BYTES and (part := answer.read1(MAX_ANSWER_BYTES + 1)):
        data += part
        if time.monotonic() > until:
            raise TimeoutError("the answer comes too slowly")
    return bytes(data)
