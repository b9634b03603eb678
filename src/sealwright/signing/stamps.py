"""Timestamps for fresh signatures: from the home's own authority, from one on the network, or none.

A token of the home's own authority is a signature too: intent and result are recorded like any other.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.tsp import check_token, read_response, read_token, timestamp_request
from sealwright.keys.backends import open_key
from sealwright.keys.pin import Pin
from sealwright.log.journal import Entry, EntryType, Journal
from sealwright.pki.timestamp import Imprint, LocalAuthority, fetch_timestamp
from sealwright.signing.home import Home, KeyPurpose

LOCAL = "local"
NONE = "none"


@dataclass(frozen=True, slots=True)
class Stamp:
    """One token over a signature value, and the time it says."""

    token: bytes
    gen_time: datetime


class Stamper(Protocol):
    """Where timestamps come from."""

    def stamp(self, values: Sequence[bytes]) -> list[Stamp | None]:
        """A stamp for each signature value, None where none is wanted. TimestampUnavailable if one does not come."""
        ...

    def close(self) -> None:
        """Give the key back."""
        ...


def open_stamper(wanted: str, home: Home, pin: Pin | None, journal: Journal) -> Stamper:
    """The stamper for "local", "none" or a URL."""
    if wanted == NONE:
        return _NoStamper()
    if wanted == LOCAL:
        return _LocalStamper(home, pin, journal)
    return _RemoteStamper(wanted)


class _NoStamper:
    def stamp(self, values: Sequence[bytes]) -> list[Stamp | None]:
        return [None] * len(values)

    def close(self) -> None:
        return


class _RemoteStamper:
    """One request for each signature; the answer is checked before it is used, whatever the transport."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stamp(self, values: Sequence[bytes]) -> list[Stamp | None]:
        return [self._one(value) for value in values]

    def close(self) -> None:
        return

    def _one(self, value: bytes) -> Stamp:
        imprint, nonce = Digest.of(value), secrets.randbits(63)
        answer = fetch_timestamp(self.url, timestamp_request(imprint, nonce))
        token = read_response(answer, imprint, nonce, self.url)
        return Stamp(token, read_token(token, self.url).gen_time)


class _LocalStamper:
    def __init__(self, home: Home, pin: Pin | None, journal: Journal) -> None:
        enrolled = home.key(None, KeyPurpose.TIMESTAMP)
        self.journal = journal
        self.name = str(key_digest(enrolled.public_key))
        self.key = open_key(home.uri(enrolled), pin, algorithm=enrolled.algorithm, expected=enrolled.public_key)
        self.authority = LocalAuthority(enrolled.certificate, enrolled.chain, self.key, lambda: datetime.now(UTC))

    def stamp(self, values: Sequence[bytes]) -> list[Stamp | None]:
        imprints = [Imprint(Digest.of(value)) for value in values]
        requests = [secrets.token_hex(16) for _ in values]
        self.journal.append(
            [
                Entry(
                    EntryType.INTENT,
                    {"request": request, "kind": "timestamp", "key": self.name, "artifact": str(imprint.digest)},
                )
                for request, imprint in zip(requests, imprints, strict=True)
            ]
        )
        tokens = self.authority.tokens(imprints)
        self.journal.append(
            [
                Entry(EntryType.RESULT, {"request": request, "token": str(Digest.of(token))})
                for request, token in zip(requests, tokens, strict=True)
            ]
        )
        if not tokens:
            return []
        first = read_token(tokens[0], "timestamp")
        check_token(first, values[0])
        return [Stamp(token, first.gen_time) for token in tokens]

    def close(self) -> None:
        self.key.close()
