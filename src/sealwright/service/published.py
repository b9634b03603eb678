"""Revocation lists and authorities' certificates as files over HTTP: `/crl/NAME.crl` and `/ca/NAME.cer` (RFC 5280 section 4.2.1.13).

A name is looked up among the files that are offered, and never becomes part of a path. Each answer carries the caching
headers of what it is: a list may be kept for an hour, and never beyond its end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography import x509

from sealwright.artifact.source import read_file
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import MalformedTrust
from sealwright.service.crlsource import crl_der
from sealwright.trust.revocation import MAX_CRL_BYTES

CRL_TYPE, CERTIFICATE_TYPE = "application/pkix-crl", "application/pkix-cert"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Published:
    """One file as it is served. made, until: of a list; None for a certificate."""

    body: bytes
    type: str
    etag: str
    made: datetime | None = None
    until: datetime | None = None


class Publications:
    """What is offered. lists: asked at each request for the CRL files by name, so that a new list needs no restart."""

    def __init__(self, lists: Callable[[], Mapping[str, str]], certificates: Mapping[str, bytes]) -> None:
        self._lists = lists
        self._certificates = {
            name: Published(der, CERTIFICATE_TYPE, sha256(der).hexdigest()) for name, der in certificates.items()
        }
        self._read: dict[str, tuple[tuple[int, int, int], Published]] = {}

    def crl(self, name: str) -> Published | None:
        """The newest list of that name; MalformedTrust or Unreadable where its file is none."""
        path = self._lists().get(name) if _NAME.fullmatch(name) else None
        if path is None:
            return None
        try:
            found = os.stat(path)
        except OSError:
            return None
        identity = (found.st_ino, found.st_size, found.st_mtime_ns)
        known = self._read.get(path)
        if known is None or known[0] != identity:
            known = identity, _list(path)
            self._read[path] = known
        return known[1]

    def certificate(self, name: str) -> Published | None:
        """The authority's certificate of that name."""
        return self._certificates.get(name)


def _list(path: str) -> Published:
    der = crl_der(read_file(path, MAX_CRL_BYTES), path)
    try:
        crl = x509.load_der_x509_crl(der)
        made, until = crl.last_update_utc, crl.next_update_utc
    except UNREADABLE as cause:
        raise MalformedTrust(path, "it is not a CRL", "Write it again with `sealwright ca crl`.") from cause
    return Published(der, CRL_TYPE, sha256(der).hexdigest(), made, until)
