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
from sealwright.envelope.cms_write import (
    SigningCertificate,
    assemble,
    signed_attributes,
    signing_certificate,
    to_be_signed,
)
from sealwright.envelope.kinds import TIMESTAMP
from sealwright.envelope.tsp import read_request, rejection_bytes, response_bytes, tst_info
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

    def tokens(self, imprints: Sequence[Imprint]) -> list[bytes]:
        """One token each, all with one use of the key."""
        now = self.clock()
        infos = [
            tst_info(
                imprint.digest,
                policy=self.policy,
                serial=secrets.randbits(64) | 1,
                gen_time=now,
                accuracy=self.accuracy,
                nonce=imprint.nonce,
            )
            for imprint in imprints
        ]
        name = self.signing.algorithm.digest
        attributes = [signed_attributes(self.signing, TIMESTAMP, Digest.of(info, name), now) for info in infos]
        values = self.key.sign([to_be_signed(one, self.signing.algorithm) for one in attributes])
        return [
            assemble(self.signing, TIMESTAMP, one, value, content=info)
            for one, value, info in zip(attributes, values, infos, strict=True)
        ]

    def respond(self, request: bytes) -> bytes:
        """The answer to a request as it came over the network: a token, or a rejection that says why.

        The token always carries its certificates, asked for or not (RFC 3161 section 2.4.1 would leave them out): a token
        that is checked years later without them is lost.
        """
        try:
            wanted = read_request(request)
            if wanted.policy not in (None, self.policy):
                return rejection_bytes("this policy is not offered")
            return response_bytes(self.tokens([Imprint(wanted.imprint, wanted.nonce)])[0])
        except SealwrightError as cause:
            return rejection_bytes(cause.what)


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
        raise TimestampUnavailable(url, f"no timestamp came: {cause}"[:200], _LATER) from cause
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
